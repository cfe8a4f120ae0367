// log, reject, nat, masq, redir, queue: what does something with the packet.
// Source: net/netfilter/nft_log.c, nft_reject.c, nft_nat.c, nft_masq.c,
// nft_redir.c, nft_queue.c.
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>

#include <cstring>
#include <string_view>

#include "engines/vm/control_plane.h"
#include "engines/vm/expression.h"

namespace nfarena::vm {
namespace {

constexpr uint32_t kPrerouting = 1u << NF_INET_PRE_ROUTING;
constexpr uint32_t kInput = 1u << NF_INET_LOCAL_IN;
constexpr uint32_t kForward = 1u << NF_INET_FORWARD;
constexpr uint32_t kOutput = 1u << NF_INET_LOCAL_OUT;
constexpr uint32_t kPostrouting = 1u << NF_INET_POST_ROUTING;

constexpr uint32_t kPortLength = 2;
constexpr uint32_t kLogFlagsMask = 0x2f;    // NF_LOG_MASK
constexpr uint32_t kLogPrefixLength = 128;  // NF_LOG_PREFIXLEN
constexpr uint8_t kLogHasSnapLength = 1;

// A pair of port registers; the second defaults to the first.
Errno ParsePorts(const DecodeContext& context, const Attribute& minimum,
                 const Attribute& maximum, uint8_t* min_reg, uint8_t* max_reg) {
  const Errno error = ParseLoad(context, minimum, kPortLength, min_reg);
  if (error != 0) return error;
  if (!maximum) {
    *max_reg = *min_reg;
    return 0;
  }
  return ParseLoad(context, maximum, kPortLength, max_reg);
}

}  // namespace

// ---- log ----

constexpr AttributePolicy kLogPolicy{
    NFTA_LOG_MAX,
    {{NFTA_LOG_GROUP, AttributeKind::kU16, 0},
     {NFTA_LOG_PREFIX, AttributeKind::kString, kLogPrefixLength - 1},
     {NFTA_LOG_SNAPLEN, AttributeKind::kU32, 0},
     {NFTA_LOG_QTHRESHOLD, AttributeKind::kU16, 0},
     {NFTA_LOG_LEVEL, AttributeKind::kU32, 0},
     {NFTA_LOG_FLAGS, AttributeKind::kU32, 0}}};

Errno SelectLog(const DecodeContext&, const AttributeTable&,
                Selected* selected) {
  selected->opcode = Opcode::kLogAny;
  return 0;
}

namespace {

Errno InitSyslog(const AttributeTable& attributes, LogCode* code) {
  uint32_t level = NFT_LOGLEVEL_WARNING;
  if (attributes[NFTA_LOG_LEVEL]) level = attributes[NFTA_LOG_LEVEL].Be32();
  // The kernel keeps the level in a byte before it looks at it.
  code->level = static_cast<uint8_t>(level);
  if (code->level > NFT_LOGLEVEL_AUDIT) return EINVAL;
  if (attributes[NFTA_LOG_FLAGS]) {
    const auto flags = static_cast<uint8_t>(attributes[NFTA_LOG_FLAGS].Be32());
    if ((flags & ~kLogFlagsMask) != 0) return EINVAL;
    code->flags = flags;
  }
  return 0;
}

void InitNflog(const AttributeTable& attributes, LogCode* code) {
  code->nflog = 1;
  code->group = attributes[NFTA_LOG_GROUP].Be16();
  if (attributes[NFTA_LOG_SNAPLEN]) {
    code->flags = kLogHasSnapLength;
    code->snap_length = attributes[NFTA_LOG_SNAPLEN].Be32();
  }
  if (attributes[NFTA_LOG_QTHRESHOLD]) {
    code->threshold = attributes[NFTA_LOG_QTHRESHOLD].Be16();
  }
}

}  // namespace

Errno Init(DecodeContext*, const AttributeTable& attributes, LogCode* code) {
  if (attributes[NFTA_LOG_LEVEL] && attributes[NFTA_LOG_GROUP]) return EINVAL;
  if (attributes[NFTA_LOG_GROUP]) {
    if (attributes[NFTA_LOG_FLAGS]) return EINVAL;
    InitNflog(attributes, code);
  } else {
    const Errno error = InitSyslog(attributes, code);
    if (error != 0) return error;
  }
  if (attributes[NFTA_LOG_PREFIX]) {
    const std::string_view text = attributes[NFTA_LOG_PREFIX].Text();
    code->prefix = new char[text.size() + 1];
    std::memcpy(code->prefix, text.data(), text.size());
    code->prefix[text.size()] = '\0';
  }
  return 0;
}

void Dump(const DumpContext&, const LogCode& code, MessageWriter* writer) {
  if (code.prefix != nullptr) writer->PutString(NFTA_LOG_PREFIX, code.prefix);
  if (!code.nflog) {
    writer->PutBe32(NFTA_LOG_LEVEL, code.level);
    if (code.flags != 0) writer->PutBe32(NFTA_LOG_FLAGS, code.flags);
    return;
  }
  writer->PutBe16(NFTA_LOG_GROUP, code.group);
  if (code.flags == kLogHasSnapLength) {
    writer->PutBe32(NFTA_LOG_SNAPLEN, code.snap_length);
  }
  if (code.threshold != 0) {
    writer->PutBe16(NFTA_LOG_QTHRESHOLD, code.threshold);
  }
}

void Destroy(ControlPlane*, LogCode* code) {
  delete[] code->prefix;
  code->prefix = nullptr;
}

// ---- reject ----

constexpr AttributePolicy kRejectPolicy{
    NFTA_REJECT_MAX,
    {{NFTA_REJECT_TYPE, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_REJECT_ICMP_CODE, AttributeKind::kU8, 0}}};

Errno SelectReject(const DecodeContext&, const AttributeTable&,
                   Selected* selected) {
  selected->opcode = Opcode::kRejectAny;
  return 0;
}

Errno Init(DecodeContext*, const AttributeTable& attributes, RejectCode* code) {
  if (!attributes[NFTA_REJECT_TYPE]) return EINVAL;
  code->type = static_cast<uint8_t>(attributes[NFTA_REJECT_TYPE].Be32());
  switch (code->type) {
    case NFT_REJECT_ICMP_UNREACH:
    case NFT_REJECT_ICMPX_UNREACH:
      if (!attributes[NFTA_REJECT_ICMP_CODE]) return EINVAL;
      code->icmp_code = attributes[NFTA_REJECT_ICMP_CODE].U8();
      if (code->type == NFT_REJECT_ICMPX_UNREACH &&
          code->icmp_code > NFT_REJECT_ICMPX_MAX) {
        return EINVAL;
      }
      return 0;
    case NFT_REJECT_TCP_RST:
      return 0;
    default:
      return EINVAL;
  }
}

void Dump(const DumpContext&, const RejectCode& code, MessageWriter* writer) {
  writer->PutBe32(NFTA_REJECT_TYPE, code.type);
  if (code.type != NFT_REJECT_TCP_RST) {
    writer->PutU8(NFTA_REJECT_ICMP_CODE, code.icmp_code);
  }
}

Errno Validate(ValidateContext* context, const RejectCode&) {
  return CheckHooks(*context, kInput | kForward | kOutput | kPrerouting);
}

// ---- nat ----

// NF_NAT_RANGE_MASK of this kernel generation.
constexpr uint32_t kNatFlagsMask = 0x7f;

constexpr AttributePolicy kNatPolicy{
    NFTA_NAT_MAX,
    {{NFTA_NAT_TYPE, AttributeKind::kU32, 0},
     {NFTA_NAT_FAMILY, AttributeKind::kU32, 0},
     {NFTA_NAT_REG_ADDR_MIN, AttributeKind::kU32, 0},
     {NFTA_NAT_REG_ADDR_MAX, AttributeKind::kU32, 0},
     {NFTA_NAT_REG_PROTO_MIN, AttributeKind::kU32, 0},
     {NFTA_NAT_REG_PROTO_MAX, AttributeKind::kU32, 0},
     {NFTA_NAT_FLAGS, AttributeKind::kMask32, kNatFlagsMask}}};

Errno SelectNat(const DecodeContext&, const AttributeTable&,
                Selected* selected) {
  selected->opcode = Opcode::kNatAny;
  return 0;
}

namespace {

Errno ParseNatAddresses(const DecodeContext& context,
                        const AttributeTable& attributes, uint32_t length,
                        NatCode* code) {
  const Errno error = ParseLoad(context, attributes[NFTA_NAT_REG_ADDR_MIN],
                                length, &code->sreg_addr_min);
  if (error != 0) return error;
  if (!attributes[NFTA_NAT_REG_ADDR_MAX]) {
    code->sreg_addr_max = code->sreg_addr_min;
    return 0;
  }
  return ParseLoad(context, attributes[NFTA_NAT_REG_ADDR_MAX], length,
                   &code->sreg_addr_max);
}

}  // namespace

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           NatCode* code) {
  if (!attributes[NFTA_NAT_TYPE] || (!attributes[NFTA_NAT_REG_ADDR_MIN] &&
                                     !attributes[NFTA_NAT_REG_PROTO_MIN])) {
    return EINVAL;
  }
  const uint32_t type = attributes[NFTA_NAT_TYPE].Be32();
  if (type != NFT_NAT_SNAT && type != NFT_NAT_DNAT) return EOPNOTSUPP;
  code->destination = type == NFT_NAT_DNAT;
  if (!attributes[NFTA_NAT_FAMILY]) return EINVAL;
  const uint32_t family = attributes[NFTA_NAT_FAMILY].Be32();
  if (context->family != NFPROTO_INET && context->family != family) {
    return EOPNOTSUPP;
  }
  code->family = static_cast<uint8_t>(family);
  uint32_t flags = 0;
  if (attributes[NFTA_NAT_REG_ADDR_MIN]) {
    if (family != NFPROTO_IPV4 && family != NFPROTO_IPV6) return EAFNOSUPPORT;
    const Errno error = ParseNatAddresses(
        *context, attributes, family == NFPROTO_IPV4 ? 4 : 16, code);
    if (error != 0) return error;
    flags |= NF_NAT_RANGE_MAP_IPS;
  }
  if (attributes[NFTA_NAT_REG_PROTO_MIN]) {
    const Errno error =
        ParsePorts(*context, attributes[NFTA_NAT_REG_PROTO_MIN],
                   attributes[NFTA_NAT_REG_PROTO_MAX], &code->sreg_proto_min,
                   &code->sreg_proto_max);
    if (error != 0) return error;
    flags |= NF_NAT_RANGE_PROTO_SPECIFIED;
  }
  if (attributes[NFTA_NAT_FLAGS]) flags |= attributes[NFTA_NAT_FLAGS].Be32();
  code->flags = static_cast<uint16_t>(flags);
  return 0;
}

void Dump(const DumpContext&, const NatCode& code, MessageWriter* writer) {
  writer->PutBe32(NFTA_NAT_TYPE,
                  code.destination ? NFT_NAT_DNAT : NFT_NAT_SNAT);
  writer->PutBe32(NFTA_NAT_FAMILY, code.family);
  if (code.sreg_addr_min != 0) {
    PutRegister(writer, NFTA_NAT_REG_ADDR_MIN, code.sreg_addr_min);
    PutRegister(writer, NFTA_NAT_REG_ADDR_MAX, code.sreg_addr_max);
  }
  if (code.sreg_proto_min != 0) {
    PutRegister(writer, NFTA_NAT_REG_PROTO_MIN, code.sreg_proto_min);
    PutRegister(writer, NFTA_NAT_REG_PROTO_MAX, code.sreg_proto_max);
  }
  if (code.flags != 0) writer->PutBe32(NFTA_NAT_FLAGS, code.flags);
}

Errno Validate(ValidateContext* context, const NatCode& code) {
  const Errno error = CheckChainType(*context, ChainType::kNat);
  if (error != 0) return error;
  return CheckHooks(*context, code.destination ? kPrerouting | kOutput
                                               : kPostrouting | kInput);
}

// ---- masq ----

constexpr AttributePolicy kMasqPolicy{
    NFTA_MASQ_MAX,
    {{NFTA_MASQ_FLAGS, AttributeKind::kMask32, kNatFlagsMask},
     {NFTA_MASQ_REG_PROTO_MIN, AttributeKind::kU32, 0},
     {NFTA_MASQ_REG_PROTO_MAX, AttributeKind::kU32, 0}}};

Errno SelectMasq(const DecodeContext&, const AttributeTable&,
                 Selected* selected) {
  selected->opcode = Opcode::kMasqAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           MasqCode* code) {
  if (attributes[NFTA_MASQ_FLAGS]) {
    code->flags = attributes[NFTA_MASQ_FLAGS].Be32();
  }
  if (!attributes[NFTA_MASQ_REG_PROTO_MIN]) return 0;
  return ParsePorts(*context, attributes[NFTA_MASQ_REG_PROTO_MIN],
                    attributes[NFTA_MASQ_REG_PROTO_MAX], &code->sreg_proto_min,
                    &code->sreg_proto_max);
}

void Dump(const DumpContext&, const MasqCode& code, MessageWriter* writer) {
  if (code.flags != 0) writer->PutBe32(NFTA_MASQ_FLAGS, code.flags);
  if (code.sreg_proto_min != 0) {
    PutRegister(writer, NFTA_MASQ_REG_PROTO_MIN, code.sreg_proto_min);
    PutRegister(writer, NFTA_MASQ_REG_PROTO_MAX, code.sreg_proto_max);
  }
}

Errno Validate(ValidateContext* context, const MasqCode&) {
  const Errno error = CheckChainType(*context, ChainType::kNat);
  if (error != 0) return error;
  return CheckHooks(*context, kPostrouting);
}

// ---- redir ----

constexpr AttributePolicy kRedirPolicy{
    NFTA_REDIR_MAX,
    {{NFTA_REDIR_REG_PROTO_MIN, AttributeKind::kU32, 0},
     {NFTA_REDIR_REG_PROTO_MAX, AttributeKind::kU32, 0},
     {NFTA_REDIR_FLAGS, AttributeKind::kMask32, kNatFlagsMask}}};

Errno SelectRedir(const DecodeContext&, const AttributeTable&,
                  Selected* selected) {
  selected->opcode = Opcode::kRedirAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           RedirCode* code) {
  if (attributes[NFTA_REDIR_REG_PROTO_MIN]) {
    const Errno error =
        ParsePorts(*context, attributes[NFTA_REDIR_REG_PROTO_MIN],
                   attributes[NFTA_REDIR_REG_PROTO_MAX], &code->sreg_proto_min,
                   &code->sreg_proto_max);
    if (error != 0) return error;
    code->flags = NF_NAT_RANGE_PROTO_SPECIFIED;
  }
  // Given flags replace what the ports implied; user space repeats it.
  if (attributes[NFTA_REDIR_FLAGS]) {
    code->flags = static_cast<uint16_t>(attributes[NFTA_REDIR_FLAGS].Be32());
  }
  return 0;
}

void Dump(const DumpContext&, const RedirCode& code, MessageWriter* writer) {
  if (code.sreg_proto_min != 0) {
    PutRegister(writer, NFTA_REDIR_REG_PROTO_MIN, code.sreg_proto_min);
    PutRegister(writer, NFTA_REDIR_REG_PROTO_MAX, code.sreg_proto_max);
  }
  if (code.flags != 0) writer->PutBe32(NFTA_REDIR_FLAGS, code.flags);
}

Errno Validate(ValidateContext* context, const RedirCode&) {
  const Errno error = CheckChainType(*context, ChainType::kNat);
  if (error != 0) return error;
  return CheckHooks(*context, kPrerouting | kOutput);
}

// ---- queue ----

constexpr AttributePolicy kQueuePolicy{
    NFTA_QUEUE_MAX,
    {{NFTA_QUEUE_NUM, AttributeKind::kU16, 0},
     {NFTA_QUEUE_TOTAL, AttributeKind::kU16, 0},
     {NFTA_QUEUE_FLAGS, AttributeKind::kU16, 0},
     {NFTA_QUEUE_SREG_QNUM, AttributeKind::kU32, 0}}};

Errno SelectQueue(const DecodeContext&, const AttributeTable& attributes,
                  Selected* selected) {
  const bool number{attributes[NFTA_QUEUE_NUM]};
  const bool reg{attributes[NFTA_QUEUE_SREG_QNUM]};
  if (number == reg) return EINVAL;
  selected->opcode = number ? Opcode::kQueueNumber : Opcode::kQueueRegister;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           QueueCode* code) {
  constexpr uint16_t kFlagsMask = NFT_QUEUE_FLAG_MASK;
  if (code->head.opcode == Opcode::kQueueRegister) {
    const Errno error =
        ParseLoad(*context, attributes[NFTA_QUEUE_SREG_QNUM], 4, &code->sreg);
    if (error != 0) return error;
  } else {
    code->number = attributes[NFTA_QUEUE_NUM].Be16();
    code->total =
        attributes[NFTA_QUEUE_TOTAL] ? attributes[NFTA_QUEUE_TOTAL].Be16() : 1;
    if (code->total == 0) return EINVAL;
    if (uint32_t{code->total} - 1 + code->number > UINT16_MAX) return ERANGE;
  }
  if (attributes[NFTA_QUEUE_FLAGS]) {
    code->flags = attributes[NFTA_QUEUE_FLAGS].Be16();
    if ((code->flags & ~kFlagsMask) != 0) return EINVAL;
    if (code->head.opcode == Opcode::kQueueRegister &&
        (code->flags & NFT_QUEUE_FLAG_CPU_FANOUT) != 0) {
      return EOPNOTSUPP;
    }
  }
  return 0;
}

void Dump(const DumpContext&, const QueueCode& code, MessageWriter* writer) {
  if (code.head.opcode == Opcode::kQueueRegister) {
    PutRegister(writer, NFTA_QUEUE_SREG_QNUM, code.sreg);
  } else {
    writer->PutBe16(NFTA_QUEUE_NUM, code.number);
    writer->PutBe16(NFTA_QUEUE_TOTAL, code.total);
  }
  writer->PutBe16(NFTA_QUEUE_FLAGS, code.flags);
}

Errno Validate(ValidateContext* context, const QueueCode&) {
  return CheckHooks(*context,
                    kPrerouting | kInput | kForward | kOutput | kPostrouting);
}

}  // namespace nfarena::vm
