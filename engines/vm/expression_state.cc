// counter, limit, quota, connlimit, last, numgen, hash: what keeps state from
// packet to packet, or makes a number.
// Source: net/netfilter/nft_counter.c, nft_limit.c, nft_quota.c,
// nft_connlimit.c, nft_last.c, nft_numgen.c, nft_hash.c.
#include <errno.h>
#include <linux/netfilter/nf_tables.h>

#include "engines/vm/connlimit.h"
#include "engines/vm/control_plane.h"
#include "engines/vm/expression.h"

namespace nfarena::vm {

// ---- counter ----

constexpr AttributePolicy kCounterPolicy{
    NFTA_COUNTER_MAX,
    {{NFTA_COUNTER_PACKETS, AttributeKind::kU64, 0},
     {NFTA_COUNTER_BYTES, AttributeKind::kU64, 0}}};

Errno SelectCounter(const DecodeContext&, const AttributeTable&,
                    Selected* selected) {
  selected->opcode = Opcode::kCounterAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           CounterCode* code) {
  code->counters = context->control->NewCounters();
  if (attributes[NFTA_COUNTER_PACKETS]) {
    code->counters->packets = attributes[NFTA_COUNTER_PACKETS].Be64();
  }
  if (attributes[NFTA_COUNTER_BYTES]) {
    code->counters->bytes = attributes[NFTA_COUNTER_BYTES].Be64();
  }
  return 0;
}

void Dump(const DumpContext&, const CounterCode& code, MessageWriter* writer) {
  writer->PutBe64(NFTA_COUNTER_BYTES, code.counters->bytes);
  writer->PutBe64(NFTA_COUNTER_PACKETS, code.counters->packets);
}

void Destroy(ControlPlane* control, CounterCode* code) {
  if (code->counters != nullptr) control->FreeCounters(code->counters);
  code->counters = nullptr;
}

void Clone(ControlPlane* control, CounterCode* code) {
  const Counters value = *code->counters;
  code->counters = control->NewCounters();
  *code->counters = value;
}

// ---- limit ----

constexpr AttributePolicy kLimitPolicy{
    NFTA_LIMIT_MAX,
    {{NFTA_LIMIT_RATE, AttributeKind::kU64, 0},
     {NFTA_LIMIT_UNIT, AttributeKind::kU64, 0},
     {NFTA_LIMIT_BURST, AttributeKind::kU32, 0},
     {NFTA_LIMIT_TYPE, AttributeKind::kU32, 0},
     {NFTA_LIMIT_FLAGS, AttributeKind::kU32, 0}}};

Errno SelectLimit(const DecodeContext&, const AttributeTable& attributes,
                  Selected* selected) {
  selected->opcode = Opcode::kLimitPackets;
  if (!attributes[NFTA_LIMIT_TYPE]) return 0;
  switch (attributes[NFTA_LIMIT_TYPE].Be32()) {
    case NFT_LIMIT_PKTS:
      return 0;
    case NFT_LIMIT_PKT_BYTES:
      selected->opcode = Opcode::kLimitBytes;
      return 0;
    default:
      return EOPNOTSUPP;
  }
}

namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint32_t kDefaultPacketBurst = 5;

Errno InitLimit(ControlPlane* control, const AttributeTable& attributes,
                bool packets, LimitBytesCode* code) {
  if (!attributes[NFTA_LIMIT_RATE] || !attributes[NFTA_LIMIT_UNIT]) {
    return EINVAL;
  }
  code->rate = attributes[NFTA_LIMIT_RATE].Be64();
  if (code->rate == 0) return EINVAL;
  if (__builtin_mul_overflow(attributes[NFTA_LIMIT_UNIT].Be64(), kNsPerSecond,
                             &code->nsecs)) {
    return EOVERFLOW;
  }
  if (attributes[NFTA_LIMIT_BURST]) {
    code->burst = attributes[NFTA_LIMIT_BURST].Be32();
  }
  if (packets && code->burst == 0) code->burst = kDefaultPacketBurst;
  uint64_t rate_with_burst = 0;
  if (__builtin_add_overflow(code->rate, uint64_t{code->burst},
                             &rate_with_burst)) {
    return EOVERFLOW;
  }
  uint64_t tokens = 0;
  if (packets) {
    if (__builtin_mul_overflow(code->nsecs / code->rate, uint64_t{code->burst},
                               &tokens)) {
      return EOVERFLOW;
    }
  } else {
    // The bucket holds the burst over what one unit of time gives.
    uint64_t product = 0;
    if (__builtin_mul_overflow(code->nsecs, rate_with_burst, &product)) {
      return EOVERFLOW;
    }
    tokens = product / code->rate;
  }
  if (attributes[NFTA_LIMIT_FLAGS]) {
    const uint32_t flags = attributes[NFTA_LIMIT_FLAGS].Be32();
    if ((flags & ~uint32_t{NFT_LIMIT_F_INV}) != 0) return EOPNOTSUPP;
    code->inverted = (flags & NFT_LIMIT_F_INV) != 0;
  }
  code->tokens_max = tokens;
  code->state = new LimitState{control->now_ns(), tokens, tokens};
  return 0;
}

void DumpLimit(const LimitBytesCode& code, uint32_t type,
               MessageWriter* writer) {
  writer->PutBe64(NFTA_LIMIT_RATE, code.rate);
  writer->PutBe64(NFTA_LIMIT_UNIT, code.nsecs / kNsPerSecond);
  writer->PutBe32(NFTA_LIMIT_BURST, code.burst);
  writer->PutBe32(NFTA_LIMIT_TYPE, type);
  writer->PutBe32(NFTA_LIMIT_FLAGS, code.inverted ? NFT_LIMIT_F_INV : 0);
}

}  // namespace

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           LimitPacketsCode* code) {
  const Errno error =
      InitLimit(context->control, attributes, true, &code->base);
  if (error != 0) return error;
  code->cost = code->base.nsecs / code->base.rate;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           LimitBytesCode* code) {
  return InitLimit(context->control, attributes, false, code);
}

void Dump(const DumpContext&, const LimitPacketsCode& code,
          MessageWriter* writer) {
  DumpLimit(code.base, NFT_LIMIT_PKTS, writer);
}

void Dump(const DumpContext&, const LimitBytesCode& code,
          MessageWriter* writer) {
  DumpLimit(code, NFT_LIMIT_PKT_BYTES, writer);
}

void Destroy(ControlPlane*, LimitBytesCode* code) {
  delete code->state;
  code->state = nullptr;
}

void Destroy(ControlPlane* control, LimitPacketsCode* code) {
  Destroy(control, &code->base);
}

void Clone(ControlPlane* control, LimitBytesCode* code) {
  code->state =
      new LimitState{control->now_ns(), code->tokens_max, code->tokens_max};
}

void Clone(ControlPlane* control, LimitPacketsCode* code) {
  Clone(control, &code->base);
}

// ---- quota ----

constexpr AttributePolicy kQuotaPolicy{
    NFTA_QUOTA_MAX,
    {{NFTA_QUOTA_BYTES, AttributeKind::kU64, 0},
     {NFTA_QUOTA_FLAGS, AttributeKind::kU32, 0},
     {NFTA_QUOTA_CONSUMED, AttributeKind::kU64, 0}}};

Errno SelectQuota(const DecodeContext&, const AttributeTable&,
                  Selected* selected) {
  selected->opcode = Opcode::kQuotaAny;
  return 0;
}

Errno Init(DecodeContext*, const AttributeTable& attributes, QuotaCode* code) {
  if (!attributes[NFTA_QUOTA_BYTES]) return EINVAL;
  code->quota = attributes[NFTA_QUOTA_BYTES].Be64();
  if (code->quota > INT64_MAX) return EOVERFLOW;
  uint64_t consumed = 0;
  if (attributes[NFTA_QUOTA_CONSUMED]) {
    consumed = attributes[NFTA_QUOTA_CONSUMED].Be64();
    if (consumed > code->quota) return EINVAL;
  }
  if (attributes[NFTA_QUOTA_FLAGS]) {
    code->flags = attributes[NFTA_QUOTA_FLAGS].Be32();
    if ((code->flags & ~uint64_t{NFT_QUOTA_F_INV}) != 0) return EINVAL;
  }
  code->consumed = new uint64_t{consumed};
  return 0;
}

void Dump(const DumpContext&, const QuotaCode& code, MessageWriter* writer) {
  // Packets go on being counted over the quota; user space is told the quota.
  uint64_t consumed = *code.consumed;
  auto flags = static_cast<uint32_t>(code.flags);
  if (consumed >= code.quota) {
    consumed = code.quota;
    flags |= NFT_QUOTA_F_DEPLETED;
  }
  writer->PutBe64(NFTA_QUOTA_BYTES, code.quota);
  writer->PutBe64(NFTA_QUOTA_CONSUMED, consumed);
  writer->PutBe32(NFTA_QUOTA_FLAGS, flags);
}

void Destroy(ControlPlane*, QuotaCode* code) {
  delete code->consumed;
  code->consumed = nullptr;
}

void Clone(ControlPlane*, QuotaCode* code) {
  code->consumed = new uint64_t{*code->consumed};
}

// ---- connlimit ----

constexpr AttributePolicy kConnlimitPolicy{
    NFTA_CONNLIMIT_MAX,
    {{NFTA_CONNLIMIT_COUNT, AttributeKind::kU32, 0},
     {NFTA_CONNLIMIT_FLAGS, AttributeKind::kU32, 0}}};

Errno SelectConnlimit(const DecodeContext&, const AttributeTable&,
                      Selected* selected) {
  selected->opcode = Opcode::kConnlimitAny;
  return 0;
}

Errno Init(DecodeContext*, const AttributeTable& attributes,
           ConnlimitCode* code) {
  if (!attributes[NFTA_CONNLIMIT_COUNT]) return EINVAL;
  code->limit = attributes[NFTA_CONNLIMIT_COUNT].Be32();
  if (attributes[NFTA_CONNLIMIT_FLAGS]) {
    const uint32_t flags = attributes[NFTA_CONNLIMIT_FLAGS].Be32();
    if ((flags & ~uint32_t{NFT_CONNLIMIT_F_INV}) != 0) return EOPNOTSUPP;
    code->inverted = (flags & NFT_CONNLIMIT_F_INV) != 0;
  }
  code->list = new ConnectionCount;
  return 0;
}

void Dump(const DumpContext&, const ConnlimitCode& code,
          MessageWriter* writer) {
  writer->PutBe32(NFTA_CONNLIMIT_COUNT, code.limit);
  if (code.inverted) {
    writer->PutBe32(NFTA_CONNLIMIT_FLAGS, NFT_CONNLIMIT_F_INV);
  }
}

void Destroy(ControlPlane*, ConnlimitCode* code) {
  delete code->list;
  code->list = nullptr;
}

void Clone(ControlPlane*, ConnlimitCode* code) {
  code->list = new ConnectionCount;
}

// ---- last ----

constexpr AttributePolicy kLastPolicy{
    NFTA_LAST_MAX,
    {{NFTA_LAST_SET, AttributeKind::kU32, 0},
     {NFTA_LAST_MSECS, AttributeKind::kU64, 0}}};

Errno SelectLast(const DecodeContext&, const AttributeTable&,
                 Selected* selected) {
  selected->opcode = Opcode::kLastAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           LastCode* code) {
  LastState state{0, 0};
  if (attributes[NFTA_LAST_SET]) state.set = attributes[NFTA_LAST_SET].Be32();
  if (state.set != 0 && attributes[NFTA_LAST_MSECS]) {
    const uint64_t ago_ms = attributes[NFTA_LAST_MSECS].Be64();
    if (ago_ms >= UINT64_MAX / 1'000'000) return ERANGE;
    const uint64_t now_ms = context->control->now_ms();
    state.last_ms = now_ms > ago_ms ? now_ms - ago_ms : 0;
  }
  code->state = new LastState{state};
  return 0;
}

void Dump(const DumpContext& context, const LastCode& code,
          MessageWriter* writer) {
  const LastState& state = *code.state;
  const bool set = state.set != 0 && state.last_ms <= context.now_ms;
  writer->PutBe32(NFTA_LAST_SET, set ? state.set : 0);
  writer->PutBe64(NFTA_LAST_MSECS, set ? context.now_ms - state.last_ms : 0);
}

void Destroy(ControlPlane*, LastCode* code) {
  delete code->state;
  code->state = nullptr;
}

void Clone(ControlPlane*, LastCode* code) {
  code->state = new LastState{*code->state};
}

// ---- numgen ----

constexpr AttributePolicy kNumgenPolicy{
    NFTA_NG_MAX,
    {{NFTA_NG_DREG, AttributeKind::kU32, 0},
     {NFTA_NG_MODULUS, AttributeKind::kU32, 0},
     {NFTA_NG_TYPE, AttributeKind::kU32, 0},
     {NFTA_NG_OFFSET, AttributeKind::kU32, 0}}};

Errno SelectNumgen(const DecodeContext&, const AttributeTable& attributes,
                   Selected* selected) {
  if (!attributes[NFTA_NG_DREG] || !attributes[NFTA_NG_MODULUS] ||
      !attributes[NFTA_NG_TYPE]) {
    return EINVAL;
  }
  switch (attributes[NFTA_NG_TYPE].Be32()) {
    case NFT_NG_INCREMENTAL:
      selected->opcode = Opcode::kNumgenIncremental;
      return 0;
    case NFT_NG_RANDOM:
      selected->opcode = Opcode::kNumgenRandom;
      return 0;
    default:
      return EINVAL;
  }
}

namespace {

// Modulus and offset, as numgen and hash check them.
Errno ParseModulus(const Attribute& modulus_attribute,
                   const Attribute& offset_attribute, uint32_t* modulus,
                   uint32_t* offset) {
  if (offset_attribute) *offset = offset_attribute.Be32();
  *modulus = modulus_attribute.Be32();
  if (*modulus == 0) return ERANGE;
  if (*offset + *modulus - 1 < *offset) return EOVERFLOW;
  return 0;
}

void DumpNumgen(MessageWriter* writer, uint8_t dreg, uint32_t modulus,
                uint32_t type, uint32_t offset) {
  PutRegister(writer, NFTA_NG_DREG, dreg);
  writer->PutBe32(NFTA_NG_MODULUS, modulus);
  writer->PutBe32(NFTA_NG_TYPE, type);
  writer->PutBe32(NFTA_NG_OFFSET, offset);
}

}  // namespace

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           NumgenIncrementalCode* code) {
  Errno error =
      ParseModulus(attributes[NFTA_NG_MODULUS], attributes[NFTA_NG_OFFSET],
                   &code->modulus, &code->offset);
  if (error != 0) return error;
  error = ParseStore(context, attributes[NFTA_NG_DREG], DataType::kValue, 4,
                     &code->dreg);
  if (error != 0) return error;
  code->counter = new uint32_t{code->modulus - 1};
  return 0;
}

void Dump(const DumpContext&, const NumgenIncrementalCode& code,
          MessageWriter* writer) {
  DumpNumgen(writer, code.dreg, code.modulus, NFT_NG_INCREMENTAL, code.offset);
}

void Destroy(ControlPlane*, NumgenIncrementalCode* code) {
  delete code->counter;
  code->counter = nullptr;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           NumgenRandomCode* code) {
  const Errno error =
      ParseModulus(attributes[NFTA_NG_MODULUS], attributes[NFTA_NG_OFFSET],
                   &code->modulus, &code->offset);
  if (error != 0) return error;
  return ParseStore(context, attributes[NFTA_NG_DREG], DataType::kValue, 4,
                    &code->dreg);
}

void Dump(const DumpContext&, const NumgenRandomCode& code,
          MessageWriter* writer) {
  DumpNumgen(writer, code.dreg, code.modulus, NFT_NG_RANDOM, code.offset);
}

// ---- hash ----

constexpr AttributePolicy kHashPolicy{
    NFTA_HASH_MAX,
    {{NFTA_HASH_SREG, AttributeKind::kU32, 0},
     {NFTA_HASH_DREG, AttributeKind::kU32, 0},
     {NFTA_HASH_LEN, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_HASH_MODULUS, AttributeKind::kU32, 0},
     {NFTA_HASH_SEED, AttributeKind::kU32, 0},
     {NFTA_HASH_OFFSET, AttributeKind::kU32, 0},
     {NFTA_HASH_TYPE, AttributeKind::kU32, 0}}};

Errno SelectHash(const DecodeContext&, const AttributeTable& attributes,
                 Selected* selected) {
  selected->opcode = Opcode::kHashJenkins;
  if (!attributes[NFTA_HASH_TYPE]) return 0;
  switch (attributes[NFTA_HASH_TYPE].Be32()) {
    case NFT_HASH_JENKINS:
      return 0;
    case NFT_HASH_SYM:
      selected->opcode = Opcode::kHashSymmetric;
      return 0;
    default:
      return EOPNOTSUPP;
  }
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           HashJenkinsCode* code) {
  if (!attributes[NFTA_HASH_SREG] || !attributes[NFTA_HASH_DREG] ||
      !attributes[NFTA_HASH_LEN] || !attributes[NFTA_HASH_MODULUS]) {
    return EINVAL;
  }
  const uint32_t length = attributes[NFTA_HASH_LEN].Be32();
  if (length == 0) return ERANGE;
  code->length = static_cast<uint8_t>(length);
  Errno error =
      ParseLoad(*context, attributes[NFTA_HASH_SREG], length, &code->sreg);
  if (error != 0) return error;
  error =
      ParseModulus(attributes[NFTA_HASH_MODULUS], attributes[NFTA_HASH_OFFSET],
                   &code->modulus, &code->offset);
  if (error != 0) return error;
  // The kernel draws a seed that user space did not give; a run of the twin
  // has to be repeatable, so its seed is then 0.
  code->autogen_seed = !attributes[NFTA_HASH_SEED];
  if (attributes[NFTA_HASH_SEED]) {
    code->seed = attributes[NFTA_HASH_SEED].Be32();
  }
  return ParseStore(context, attributes[NFTA_HASH_DREG], DataType::kValue, 4,
                    &code->dreg);
}

void Dump(const DumpContext&, const HashJenkinsCode& code,
          MessageWriter* writer) {
  PutRegister(writer, NFTA_HASH_SREG, code.sreg);
  PutRegister(writer, NFTA_HASH_DREG, code.dreg);
  writer->PutBe32(NFTA_HASH_LEN, code.length);
  writer->PutBe32(NFTA_HASH_MODULUS, code.modulus);
  if (!code.autogen_seed) writer->PutBe32(NFTA_HASH_SEED, code.seed);
  if (code.offset != 0) writer->PutBe32(NFTA_HASH_OFFSET, code.offset);
  writer->PutBe32(NFTA_HASH_TYPE, NFT_HASH_JENKINS);
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           HashSymmetricCode* code) {
  if (!attributes[NFTA_HASH_DREG] || !attributes[NFTA_HASH_MODULUS]) {
    return EINVAL;
  }
  const Errno error =
      ParseModulus(attributes[NFTA_HASH_MODULUS], attributes[NFTA_HASH_OFFSET],
                   &code->modulus, &code->offset);
  if (error != 0) return error;
  return ParseStore(context, attributes[NFTA_HASH_DREG], DataType::kValue, 4,
                    &code->dreg);
}

void Dump(const DumpContext&, const HashSymmetricCode& code,
          MessageWriter* writer) {
  PutRegister(writer, NFTA_HASH_DREG, code.dreg);
  writer->PutBe32(NFTA_HASH_MODULUS, code.modulus);
  if (code.offset != 0) writer->PutBe32(NFTA_HASH_OFFSET, code.offset);
  writer->PutBe32(NFTA_HASH_TYPE, NFT_HASH_SYM);
}

}  // namespace nfarena::vm
