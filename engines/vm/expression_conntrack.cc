// ct and notrack.
// Source: net/netfilter/nft_ct.c.
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "engines/vm/expression.h"

namespace nfarena::vm {
namespace {

constexpr uint8_t kNoDirection = 2;  // IP_CT_DIR_MAX

// Whether the kernel refuses, wants or ignores NFTA_CT_DIRECTION for a key.
enum class Direction : uint8_t { kRefused, kNeeded, kFree };

struct CtKey {
  uint8_t length = 0;  // 0: no such key
  Direction direction = Direction::kRefused;
};

CtKey LoadKey(uint32_t key, uint8_t family) {
  switch (key) {
    case NFT_CT_DIRECTION:
      return {1, Direction::kRefused};
    case NFT_CT_STATE:
    case NFT_CT_STATUS:
    case NFT_CT_MARK:
    case NFT_CT_EXPIRATION:
    case NFT_CT_ID:
      return {4, Direction::kRefused};
    case NFT_CT_LABELS:
    case NFT_CT_HELPER:
      return {16, Direction::kRefused};
    case NFT_CT_L3PROTOCOL:
    case NFT_CT_PROTOCOL:
      return {1, Direction::kFree};
    case NFT_CT_SRC:
    case NFT_CT_DST:
      return {static_cast<uint8_t>(family == NFPROTO_IPV4 ? 4 : 16),
              Direction::kNeeded};
    case NFT_CT_SRC_IP:
    case NFT_CT_DST_IP:
      return {4, Direction::kNeeded};
    case NFT_CT_SRC_IP6:
    case NFT_CT_DST_IP6:
      return {16, Direction::kNeeded};
    case NFT_CT_PROTO_SRC:
    case NFT_CT_PROTO_DST:
      return {2, Direction::kNeeded};
    case NFT_CT_BYTES:
    case NFT_CT_PKTS:
    case NFT_CT_AVGPKT:
      return {8, Direction::kFree};
    case NFT_CT_ZONE:
      return {2, Direction::kFree};
    default:
      return {};
  }
}

CtKey StoreKey(uint32_t key) {
  switch (key) {
    case NFT_CT_MARK:
    case NFT_CT_EVENTMASK:
      return {4, Direction::kRefused};
    case NFT_CT_ZONE:
      return {2, Direction::kFree};
    default:
      // Labels are not modelled.
      return {};
  }
}

// Whether the dump carries the direction when one was given.
bool DumpsDirection(const CtCode& code) {
  if (code.head.opcode == Opcode::kCtStore) return code.key == NFT_CT_ZONE;
  switch (code.key) {
    case NFT_CT_SRC:
    case NFT_CT_DST:
    case NFT_CT_SRC_IP:
    case NFT_CT_DST_IP:
    case NFT_CT_SRC_IP6:
    case NFT_CT_DST_IP6:
    case NFT_CT_PROTO_SRC:
    case NFT_CT_PROTO_DST:
    case NFT_CT_BYTES:
    case NFT_CT_PKTS:
    case NFT_CT_AVGPKT:
    case NFT_CT_ZONE:
      return true;
    default:
      return false;
  }
}

}  // namespace

constexpr AttributePolicy kCtPolicy{
    NFTA_CT_MAX,
    {{NFTA_CT_DREG, AttributeKind::kU32, 0},
     {NFTA_CT_KEY, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_CT_DIRECTION, AttributeKind::kU8, 0},
     {NFTA_CT_SREG, AttributeKind::kU32, 0}}};

Errno SelectCt(const DecodeContext&, const AttributeTable& attributes,
               Selected* selected) {
  if (!attributes[NFTA_CT_KEY]) return EINVAL;
  const bool load{attributes[NFTA_CT_DREG]};
  const bool store{attributes[NFTA_CT_SREG]};
  if (load == store) return EINVAL;
  selected->opcode = load ? Opcode::kCtLoad : Opcode::kCtStore;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           CtCode* code) {
  const bool load = code->head.opcode == Opcode::kCtLoad;
  const uint32_t number = attributes[NFTA_CT_KEY].Be32();
  const CtKey key = load ? LoadKey(number, context->family) : StoreKey(number);
  if (key.length == 0) return EOPNOTSUPP;
  const Attribute& direction = attributes[NFTA_CT_DIRECTION];
  if (key.direction == Direction::kRefused && direction) return EINVAL;
  if (key.direction == Direction::kNeeded && !direction) return EINVAL;
  code->direction = kNoDirection;
  if (direction) {
    code->direction = direction.U8();
    if (code->direction >= kNoDirection) return EINVAL;
  }
  code->key = static_cast<uint8_t>(number);
  code->length = key.length;
  if (!load) {
    return ParseLoad(*context, attributes[NFTA_CT_SREG], key.length,
                     &code->reg);
  }
  return ParseStore(context, attributes[NFTA_CT_DREG], DataType::kValue,
                    key.length, &code->reg);
}

void Dump(const DumpContext&, const CtCode& code, MessageWriter* writer) {
  PutRegister(writer,
              code.head.opcode == Opcode::kCtLoad ? NFTA_CT_DREG : NFTA_CT_SREG,
              code.reg);
  writer->PutBe32(NFTA_CT_KEY, code.key);
  if (code.direction != kNoDirection && DumpsDirection(code)) {
    writer->PutU8(NFTA_CT_DIRECTION, code.direction);
  }
}

// ---- notrack ----

constexpr AttributePolicy kNotrackPolicy{0, {}};

Errno SelectNotrack(const DecodeContext&, const AttributeTable&,
                    Selected* selected) {
  selected->opcode = Opcode::kNotrackAny;
  return 0;
}

Errno Init(DecodeContext*, const AttributeTable&, NotrackCode*) { return 0; }

void Dump(const DumpContext&, const NotrackCode&, MessageWriter*) {}

}  // namespace nfarena::vm
