// payload, exthdr, meta, rt, fib: what reads or writes the packet and what
// the stack knows of it.
// Source: net/netfilter/nft_payload.c, nft_exthdr.c, nft_meta.c, nft_rt.c,
// nft_fib.c.
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "engines/vm/control_plane.h"
#include "engines/vm/expression.h"

namespace nfarena::vm {
namespace {

constexpr uint32_t kPrerouting = 1u << NF_INET_PRE_ROUTING;
constexpr uint32_t kInput = 1u << NF_INET_LOCAL_IN;
constexpr uint32_t kForward = 1u << NF_INET_FORWARD;
constexpr uint32_t kOutput = 1u << NF_INET_LOCAL_OUT;
constexpr uint32_t kPostrouting = 1u << NF_INET_POST_ROUTING;

// Later than the headers of Debian 12.
constexpr uint32_t kPayloadInnerHeader = 3;  // NFT_PAYLOAD_INNER_HEADER
constexpr uint32_t kSctpChecksumOffset = 8;  // offsetof(sctphdr, checksum)

bool PowerOfTwo(uint32_t value) {
  return value != 0 && (value & (value - 1)) == 0;
}

Opcode FastPayload(uint32_t base, uint32_t length) {
  if (base == NFT_PAYLOAD_NETWORK_HEADER) {
    return length == 1   ? Opcode::kPayloadNetwork1
           : length == 2 ? Opcode::kPayloadNetwork2
                         : Opcode::kPayloadNetwork4;
  }
  return length == 1   ? Opcode::kPayloadTransport1
         : length == 2 ? Opcode::kPayloadTransport2
                       : Opcode::kPayloadTransport4;
}

}  // namespace

// ---- payload ----

constexpr AttributePolicy kPayloadPolicy{
    NFTA_PAYLOAD_MAX,
    {{NFTA_PAYLOAD_SREG, AttributeKind::kU32, 0},
     {NFTA_PAYLOAD_DREG, AttributeKind::kU32, 0},
     {NFTA_PAYLOAD_BASE, AttributeKind::kU32, 0},
     {NFTA_PAYLOAD_OFFSET, AttributeKind::kU32, 0},
     {NFTA_PAYLOAD_LEN, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_PAYLOAD_CSUM_TYPE, AttributeKind::kU32, 0},
     {NFTA_PAYLOAD_CSUM_OFFSET, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_PAYLOAD_CSUM_FLAGS, AttributeKind::kU32, 0}}};

Errno SelectPayload(const DecodeContext&, const AttributeTable& attributes,
                    Selected* selected) {
  if (!attributes[NFTA_PAYLOAD_BASE] || !attributes[NFTA_PAYLOAD_OFFSET] ||
      !attributes[NFTA_PAYLOAD_LEN]) {
    return EINVAL;
  }
  const uint32_t base = attributes[NFTA_PAYLOAD_BASE].Be32();
  if (base > kPayloadInnerHeader) return EOPNOTSUPP;
  if (attributes[NFTA_PAYLOAD_SREG]) {
    if (attributes[NFTA_PAYLOAD_DREG]) return EINVAL;
    selected->opcode = Opcode::kPayloadStore;
    return 0;
  }
  if (!attributes[NFTA_PAYLOAD_DREG]) return EINVAL;
  const uint32_t offset = attributes[NFTA_PAYLOAD_OFFSET].Be32();
  if (offset > UINT16_MAX) return ERANGE;
  const uint32_t length = attributes[NFTA_PAYLOAD_LEN].Be32();
  const bool fast = length <= 4 && PowerOfTwo(length) && offset % length == 0 &&
                    (base == NFT_PAYLOAD_NETWORK_HEADER ||
                     base == NFT_PAYLOAD_TRANSPORT_HEADER);
  selected->opcode = fast ? FastPayload(base, length) : Opcode::kPayloadLoad;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           PayloadCode* code) {
  code->base = static_cast<uint8_t>(attributes[NFTA_PAYLOAD_BASE].Be32());
  code->offset = static_cast<uint16_t>(attributes[NFTA_PAYLOAD_OFFSET].Be32());
  code->length = static_cast<uint8_t>(attributes[NFTA_PAYLOAD_LEN].Be32());
  return ParseStore(context, attributes[NFTA_PAYLOAD_DREG], DataType::kValue,
                    code->length, &code->dreg);
}

void Dump(const DumpContext&, const PayloadCode& code, MessageWriter* writer) {
  PutRegister(writer, NFTA_PAYLOAD_DREG, code.dreg);
  writer->PutBe32(NFTA_PAYLOAD_BASE, code.base);
  writer->PutBe32(NFTA_PAYLOAD_OFFSET, code.offset);
  writer->PutBe32(NFTA_PAYLOAD_LEN, code.length);
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           PayloadStoreCode* code) {
  if (attributes[NFTA_PAYLOAD_OFFSET].Be32() > UINT16_MAX) return ERANGE;
  code->base = static_cast<uint8_t>(attributes[NFTA_PAYLOAD_BASE].Be32());
  code->offset = static_cast<uint16_t>(attributes[NFTA_PAYLOAD_OFFSET].Be32());
  code->length = static_cast<uint8_t>(attributes[NFTA_PAYLOAD_LEN].Be32());
  uint32_t type = NFT_PAYLOAD_CSUM_NONE;
  if (attributes[NFTA_PAYLOAD_CSUM_TYPE]) {
    type = attributes[NFTA_PAYLOAD_CSUM_TYPE].Be32();
  }
  if (attributes[NFTA_PAYLOAD_CSUM_OFFSET]) {
    code->csum_offset =
        static_cast<uint8_t>(attributes[NFTA_PAYLOAD_CSUM_OFFSET].Be32());
  }
  if (attributes[NFTA_PAYLOAD_CSUM_FLAGS]) {
    const uint32_t flags = attributes[NFTA_PAYLOAD_CSUM_FLAGS].Be32();
    if ((flags & ~uint32_t{NFT_PAYLOAD_L4CSUM_PSEUDOHDR}) != 0) return EINVAL;
    code->csum_flags = static_cast<uint8_t>(flags);
  }
  switch (type) {
    case NFT_PAYLOAD_CSUM_NONE:
    case NFT_PAYLOAD_CSUM_INET:
      break;
    case NFT_PAYLOAD_CSUM_SCTP:
      if (code->base != NFT_PAYLOAD_TRANSPORT_HEADER ||
          code->csum_offset != kSctpChecksumOffset) {
        return EINVAL;
      }
      break;
    default:
      return EOPNOTSUPP;
  }
  code->csum_type = static_cast<uint8_t>(type);
  return ParseLoad(*context, attributes[NFTA_PAYLOAD_SREG], code->length,
                   &code->sreg);
}

void Dump(const DumpContext&, const PayloadStoreCode& code,
          MessageWriter* writer) {
  PutRegister(writer, NFTA_PAYLOAD_SREG, code.sreg);
  writer->PutBe32(NFTA_PAYLOAD_BASE, code.base);
  writer->PutBe32(NFTA_PAYLOAD_OFFSET, code.offset);
  writer->PutBe32(NFTA_PAYLOAD_LEN, code.length);
  writer->PutBe32(NFTA_PAYLOAD_CSUM_TYPE, code.csum_type);
  writer->PutBe32(NFTA_PAYLOAD_CSUM_OFFSET, code.csum_offset);
  writer->PutBe32(NFTA_PAYLOAD_CSUM_FLAGS, code.csum_flags);
}

// ---- exthdr ----

constexpr AttributePolicy kExthdrPolicy{
    NFTA_EXTHDR_MAX,
    {{NFTA_EXTHDR_DREG, AttributeKind::kU32, 0},
     {NFTA_EXTHDR_TYPE, AttributeKind::kU8, 0},
     {NFTA_EXTHDR_OFFSET, AttributeKind::kU32, 0},
     {NFTA_EXTHDR_LEN, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_EXTHDR_FLAGS, AttributeKind::kU32, 0},
     {NFTA_EXTHDR_OP, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_EXTHDR_SREG, AttributeKind::kU32, 0}}};

Errno SelectExthdr(const DecodeContext& context,
                   const AttributeTable& attributes, Selected* selected) {
  selected->opcode = Opcode::kExthdrLoad;
  if (!attributes[NFTA_EXTHDR_OP]) return 0;
  const bool sreg{attributes[NFTA_EXTHDR_SREG]};
  const bool dreg{attributes[NFTA_EXTHDR_DREG]};
  if (sreg && dreg) return EOPNOTSUPP;
  switch (attributes[NFTA_EXTHDR_OP].Be32()) {
    case NFT_EXTHDR_OP_TCPOPT:
      if (sreg) {
        selected->opcode = Opcode::kExthdrTcpStore;
      } else if (!dreg) {
        selected->opcode = Opcode::kExthdrTcpStrip;
      }
      return 0;
    case NFT_EXTHDR_OP_IPV6:
      return dreg ? 0 : EOPNOTSUPP;
    case NFT_EXTHDR_OP_IPV4:
      return dreg && context.family != NFPROTO_IPV6 ? 0 : EOPNOTSUPP;
    default:
      // SCTP and DCCP have no twin here.
      return EOPNOTSUPP;
  }
}

namespace {

constexpr uint8_t kIpOptionRecordRoute = 7;
constexpr uint8_t kIpOptionLooseRoute = 131;
constexpr uint8_t kIpOptionStrictRoute = 137;
constexpr uint8_t kIpOptionRouterAlert = 148;

Errno InitExthdrLoad(DecodeContext* context, const AttributeTable& attributes,
                     ExthdrCode* code) {
  if (!attributes[NFTA_EXTHDR_DREG] || !attributes[NFTA_EXTHDR_TYPE] ||
      !attributes[NFTA_EXTHDR_OFFSET] || !attributes[NFTA_EXTHDR_LEN]) {
    return EINVAL;
  }
  const uint32_t offset = attributes[NFTA_EXTHDR_OFFSET].Be32();
  if (offset > UINT8_MAX) return ERANGE;
  const uint32_t length = attributes[NFTA_EXTHDR_LEN].Be32();
  uint32_t flags = 0;
  if (attributes[NFTA_EXTHDR_FLAGS]) {
    flags = attributes[NFTA_EXTHDR_FLAGS].Be32();
    if (flags > UINT8_MAX) return ERANGE;
    if ((flags & ~uint32_t{NFT_EXTHDR_F_PRESENT}) != 0) return EINVAL;
  }
  if ((flags & NFT_EXTHDR_F_PRESENT) != 0 && length != 1) return EINVAL;
  code->type = attributes[NFTA_EXTHDR_TYPE].U8();
  code->offset = static_cast<uint8_t>(offset);
  code->length = static_cast<uint8_t>(length);
  code->flags = static_cast<uint8_t>(flags);
  const Errno error = ParseStore(context, attributes[NFTA_EXTHDR_DREG],
                                 DataType::kValue, length, &code->reg);
  if (error != 0) return error;
  if (code->op == NFT_EXTHDR_OP_IPV4 && code->type != kIpOptionRecordRoute &&
      code->type != kIpOptionLooseRoute && code->type != kIpOptionStrictRoute &&
      code->type != kIpOptionRouterAlert) {
    return EOPNOTSUPP;
  }
  return 0;
}

Errno InitExthdrStore(DecodeContext* context, const AttributeTable& attributes,
                      ExthdrCode* code) {
  if (!attributes[NFTA_EXTHDR_SREG] || !attributes[NFTA_EXTHDR_TYPE] ||
      !attributes[NFTA_EXTHDR_OFFSET] || !attributes[NFTA_EXTHDR_LEN] ||
      attributes[NFTA_EXTHDR_DREG] || attributes[NFTA_EXTHDR_FLAGS]) {
    return EINVAL;
  }
  const uint32_t offset = attributes[NFTA_EXTHDR_OFFSET].Be32();
  if (offset > UINT8_MAX) return ERANGE;
  const uint32_t length = attributes[NFTA_EXTHDR_LEN].Be32();
  if (offset < 2) return EOPNOTSUPP;
  if (length != 2 && length != 4) return EOPNOTSUPP;
  code->type = attributes[NFTA_EXTHDR_TYPE].U8();
  code->offset = static_cast<uint8_t>(offset);
  code->length = static_cast<uint8_t>(length);
  return ParseLoad(*context, attributes[NFTA_EXTHDR_SREG], length, &code->reg);
}

}  // namespace

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           ExthdrCode* code) {
  code->op = NFT_EXTHDR_OP_IPV6;
  if (attributes[NFTA_EXTHDR_OP]) {
    code->op = static_cast<uint8_t>(attributes[NFTA_EXTHDR_OP].Be32());
  }
  switch (code->head.opcode) {
    case Opcode::kExthdrTcpStore:
      return InitExthdrStore(context, attributes, code);
    case Opcode::kExthdrTcpStrip:
      if (attributes[NFTA_EXTHDR_FLAGS] || attributes[NFTA_EXTHDR_OFFSET] ||
          attributes[NFTA_EXTHDR_LEN] || !attributes[NFTA_EXTHDR_TYPE]) {
        return EINVAL;
      }
      code->type = attributes[NFTA_EXTHDR_TYPE].U8();
      return 0;
    default:
      return InitExthdrLoad(context, attributes, code);
  }
}

void Dump(const DumpContext&, const ExthdrCode& code, MessageWriter* writer) {
  if (code.head.opcode == Opcode::kExthdrLoad) {
    PutRegister(writer, NFTA_EXTHDR_DREG, code.reg);
  } else if (code.head.opcode == Opcode::kExthdrTcpStore) {
    PutRegister(writer, NFTA_EXTHDR_SREG, code.reg);
  }
  writer->PutU8(NFTA_EXTHDR_TYPE, code.type);
  writer->PutBe32(NFTA_EXTHDR_OFFSET, code.offset);
  writer->PutBe32(NFTA_EXTHDR_LEN, code.length);
  writer->PutBe32(NFTA_EXTHDR_FLAGS, code.flags);
  writer->PutBe32(NFTA_EXTHDR_OP, code.op);
}

// ---- meta ----

constexpr AttributePolicy kMetaPolicy{
    NFTA_META_MAX,
    {{NFTA_META_DREG, AttributeKind::kU32, 0},
     {NFTA_META_KEY, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_META_SREG, AttributeKind::kU32, 0}}};

Errno SelectMeta(const DecodeContext&, const AttributeTable& attributes,
                 Selected* selected) {
  if (!attributes[NFTA_META_KEY]) return EINVAL;
  const bool load{attributes[NFTA_META_DREG]};
  const bool store{attributes[NFTA_META_SREG]};
  if (load == store) return EINVAL;
  selected->opcode = load ? Opcode::kMetaLoad : Opcode::kMetaStore;
  return 0;
}

namespace {

// Bytes of a key that can be read, 0 for those that cannot.
uint8_t MetaLoadLength(uint32_t key) {
  switch (key) {
    case NFT_META_PROTOCOL:
    case NFT_META_IIFTYPE:
    case NFT_META_OIFTYPE:
      return 2;
    case NFT_META_NFPROTO:
    case NFT_META_L4PROTO:
    case NFT_META_LEN:
    case NFT_META_PRIORITY:
    case NFT_META_MARK:
    case NFT_META_IIF:
    case NFT_META_OIF:
    case NFT_META_SDIF:
    case NFT_META_SKUID:
    case NFT_META_SKGID:
    case NFT_META_RTCLASSID:
    case NFT_META_PKTTYPE:
    case NFT_META_CPU:
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
    case NFT_META_CGROUP:
    case NFT_META_PRANDOM:
    case NFT_META_TIME_HOUR:
      return 4;
    case NFT_META_IIFNAME:
    case NFT_META_OIFNAME:
    case NFT_META_IIFKIND:
    case NFT_META_OIFKIND:
    case NFT_META_SDIFNAME:
      return 16;
    case NFT_META_SECPATH:
    case NFT_META_TIME_DAY:
      return 1;
    case NFT_META_TIME_NS:
      return 8;
    default:
      return 0;
  }
}

uint8_t MetaStoreLength(uint32_t key) {
  switch (key) {
    case NFT_META_MARK:
    case NFT_META_PRIORITY:
      return 4;
    case NFT_META_NFTRACE:
      return 1;
    default:
      // Setting pkttype or secmark has no twin.
      return 0;
  }
}

}  // namespace

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           MetaCode* code) {
  const uint32_t key = attributes[NFTA_META_KEY].Be32();
  code->key = static_cast<uint8_t>(key);
  if (code->head.opcode == Opcode::kMetaStore) {
    code->length = MetaStoreLength(key);
    if (code->length == 0) return EOPNOTSUPP;
    return ParseLoad(*context, attributes[NFTA_META_SREG], code->length,
                     &code->reg);
  }
  code->length = MetaLoadLength(key);
  if (code->length == 0) return EOPNOTSUPP;
  return ParseStore(context, attributes[NFTA_META_DREG], DataType::kValue,
                    code->length, &code->reg);
}

void Dump(const DumpContext&, const MetaCode& code, MessageWriter* writer) {
  writer->PutBe32(NFTA_META_KEY, code.key);
  PutRegister(
      writer,
      code.head.opcode == Opcode::kMetaLoad ? NFTA_META_DREG : NFTA_META_SREG,
      code.reg);
}

Errno Validate(ValidateContext* context, const MetaCode& code) {
  if (code.head.opcode == Opcode::kMetaStore) return 0;
  switch (code.key) {
    case NFT_META_SECPATH:
      return CheckHooks(*context, kPrerouting | kInput | kForward);
    case NFT_META_SDIF:
    case NFT_META_SDIFNAME:
      return CheckHooks(*context, kInput | kForward);
    default:
      return 0;
  }
}

// ---- rt ----

constexpr AttributePolicy kRtPolicy{
    NFTA_RT_MAX,
    {{NFTA_RT_DREG, AttributeKind::kU32, 0},
     {NFTA_RT_KEY, AttributeKind::kMax32, UINT8_MAX}}};

Errno SelectRt(const DecodeContext&, const AttributeTable&,
               Selected* selected) {
  selected->opcode = Opcode::kRtAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           RtCode* code) {
  if (!attributes[NFTA_RT_KEY] || !attributes[NFTA_RT_DREG]) return EINVAL;
  code->key = static_cast<uint8_t>(attributes[NFTA_RT_KEY].Be32());
  uint32_t length = 0;
  switch (code->key) {
    case NFT_RT_CLASSID:
    case NFT_RT_NEXTHOP4:
      length = 4;
      break;
    case NFT_RT_NEXTHOP6:
      length = 16;
      break;
    case NFT_RT_TCPMSS:
      length = 2;
      break;
    case NFT_RT_XFRM:
      length = 1;
      break;
    default:
      return EOPNOTSUPP;
  }
  return ParseStore(context, attributes[NFTA_RT_DREG], DataType::kValue, length,
                    &code->dreg);
}

void Dump(const DumpContext&, const RtCode& code, MessageWriter* writer) {
  writer->PutBe32(NFTA_RT_KEY, code.key);
  PutRegister(writer, NFTA_RT_DREG, code.dreg);
}

Errno Validate(ValidateContext* context, const RtCode& code) {
  if (code.key != NFT_RT_TCPMSS) return 0;
  return CheckHooks(*context, kForward | kOutput | kPostrouting);
}

// ---- fib ----

constexpr uint32_t kFibAllFlags = NFTA_FIB_F_SADDR | NFTA_FIB_F_DADDR |
                                  NFTA_FIB_F_MARK | NFTA_FIB_F_IIF |
                                  NFTA_FIB_F_OIF | NFTA_FIB_F_PRESENT;

constexpr AttributePolicy kFibPolicy{
    NFTA_FIB_MAX,
    {{NFTA_FIB_DREG, AttributeKind::kU32, 0},
     {NFTA_FIB_RESULT, AttributeKind::kU32, 0},
     {NFTA_FIB_FLAGS, AttributeKind::kMask32, kFibAllFlags}}};

Errno SelectFib(const DecodeContext& context, const AttributeTable& attributes,
                Selected* selected) {
  selected->opcode = Opcode::kFibAny;
  // The inet family picks by packet and looks at the result in Init.
  if (context.family == NFPROTO_INET) return 0;
  if (!attributes[NFTA_FIB_RESULT]) return EINVAL;
  const uint32_t result = attributes[NFTA_FIB_RESULT].Be32();
  return result < NFT_FIB_RESULT_OIF || result > NFT_FIB_RESULT_ADDRTYPE
             ? EOPNOTSUPP
             : 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           FibCode* code) {
  if (!attributes[NFTA_FIB_DREG] || !attributes[NFTA_FIB_RESULT] ||
      !attributes[NFTA_FIB_FLAGS]) {
    return EINVAL;
  }
  const uint32_t flags = attributes[NFTA_FIB_FLAGS].Be32();
  constexpr uint32_t kAddresses = NFTA_FIB_F_SADDR | NFTA_FIB_F_DADDR;
  constexpr uint32_t kDevices = NFTA_FIB_F_IIF | NFTA_FIB_F_OIF;
  if (flags == 0 || (flags & kAddresses) == kAddresses ||
      (flags & kDevices) == kDevices || (flags & kAddresses) == 0) {
    return EINVAL;
  }
  const uint32_t result = attributes[NFTA_FIB_RESULT].Be32();
  uint32_t length = 0;
  switch (result) {
    case NFT_FIB_RESULT_OIF:
      if ((flags & NFTA_FIB_F_OIF) != 0) return EINVAL;
      length = 4;
      break;
    case NFT_FIB_RESULT_OIFNAME:
      if ((flags & NFTA_FIB_F_OIF) != 0) return EINVAL;
      length = 16;
      break;
    case NFT_FIB_RESULT_ADDRTYPE:
      length = 4;
      break;
    default:
      return EINVAL;
  }
  if ((flags & NFTA_FIB_F_PRESENT) != 0) {
    if (result != NFT_FIB_RESULT_OIF) return EINVAL;
    length = 1;
  }
  code->flags = flags;
  code->result = static_cast<uint8_t>(result);
  return ParseStore(context, attributes[NFTA_FIB_DREG], DataType::kValue,
                    length, &code->dreg);
}

void Dump(const DumpContext&, const FibCode& code, MessageWriter* writer) {
  PutRegister(writer, NFTA_FIB_DREG, code.dreg);
  writer->PutBe32(NFTA_FIB_RESULT, code.result);
  writer->PutBe32(NFTA_FIB_FLAGS, code.flags);
}

Errno Validate(ValidateContext* context, const FibCode& code) {
  constexpr uint32_t kIncoming = kPrerouting | kInput | kForward;
  if (code.result != NFT_FIB_RESULT_ADDRTYPE) {
    return CheckHooks(*context, kIncoming);
  }
  if ((code.flags & NFTA_FIB_F_IIF) != 0)
    return CheckHooks(*context, kIncoming);
  if ((code.flags & NFTA_FIB_F_OIF) != 0) {
    return CheckHooks(*context, kOutput | kPostrouting | kForward);
  }
  return CheckHooks(*context, kIncoming | kOutput | kPostrouting);
}

}  // namespace nfarena::vm
