#include "engines/vm/operations.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstring>

#include "engines/core/bytes.h"
#include "engines/core/tracker.h"
#include "engines/vm/connlimit.h"
#include "engines/vm/set.h"
#include "engines/xt/extension.h"

namespace nfarena::vm {
namespace {

constexpr size_t kIpv4HeaderSize = 20;
constexpr size_t kIpv6HeaderSize = 40;

// reciprocal_scale(): a 32-bit number onto [0, end).
uint32_t Scale(uint32_t value, uint32_t end) {
  return static_cast<uint32_t>(uint64_t{value} * end >> 32);
}

}  // namespace

PacketView::PacketView(PacketState* state)
    : packet(state),
      data(state->bytes.data()),
      size(state->bytes.size()),
      has_transport(false),
      protocol(0),
      transport(0),
      fragment_offset(0) {
  if (state->family == Family::kIpv4) {
    if (size < kIpv4HeaderSize) return;
    has_transport = true;
    protocol = data[9];
    transport = static_cast<uint16_t>((data[0] & 0x0f) * 4);
    fragment_offset = LoadBe16(data + 6) & 0x1fff;
    return;
  }
  if (size < kIpv6HeaderSize) return;
  const UpperHeader upper = FindUpperHeader(state->bytes, 0, true);
  if (upper.protocol < 0) return;
  has_transport = true;
  protocol = static_cast<uint8_t>(upper.protocol);
  transport = upper.offset;
  fragment_offset = upper.fragment_offset;
}

int32_t RunInstruction(const uint8_t* code, Frame* frame) {
  switch (reinterpret_cast<const Instruction*>(code)->opcode) {
#define VM_OPCODE(id, expression, layout, size) \
  case Opcode::k##id:                           \
    return Run(*reinterpret_cast<const layout*>(code), frame);
#include "engines/vm/opcodes.def"
#undef VM_OPCODE
  }
  return kVerdictBreak;
}

// ---- registers ----

int32_t Run(const CmpFastCode& code, Frame* frame) {
  const bool equal =
      (*frame->registers->at(code.sreg) & code.mask) == code.data;
  const bool wanted = code.head.opcode == Opcode::kCmpFastEqual;
  return equal == wanted ? kVerdictContinue : kVerdictBreak;
}

int32_t Run(const Cmp16Code& code, Frame* frame) {
  uint64_t value[2];
  std::memcpy(value, frame->registers->at(code.sreg), sizeof(value));
  const bool equal = (value[0] & code.mask[0]) == code.data[0] &&
                     (value[1] & code.mask[1]) == code.data[1];
  return equal != (code.inverted != 0) ? kVerdictContinue : kVerdictBreak;
}

int32_t Run(const CmpCode& code, Frame* frame) {
  const int order =
      std::memcmp(frame->registers->at(code.sreg), code.data, code.length);
  bool match = false;
  switch (code.op) {
    case NFT_CMP_EQ:
      match = order == 0;
      break;
    case NFT_CMP_NEQ:
      match = order != 0;
      break;
    case NFT_CMP_LT:
      match = order < 0;
      break;
    case NFT_CMP_LTE:
      match = order <= 0;
      break;
    case NFT_CMP_GT:
      match = order > 0;
      break;
    case NFT_CMP_GTE:
      match = order >= 0;
      break;
  }
  return match ? kVerdictContinue : kVerdictBreak;
}

int32_t Run(const RangeCode& code, Frame* frame) {
  const uint32_t* value = frame->registers->at(code.sreg);
  const bool inside = std::memcmp(value, code.from, code.length) >= 0 &&
                      std::memcmp(value, code.to, code.length) <= 0;
  return inside == (code.op == NFT_RANGE_EQ) ? kVerdictContinue : kVerdictBreak;
}

int32_t Run(const BitwiseFastCode& code, Frame* frame) {
  *frame->registers->at(code.dreg) =
      (*frame->registers->at(code.sreg) & code.mask) ^ code.exclusive_or;
  return kVerdictContinue;
}

int32_t Run(const BitwiseCode& code, Frame* frame) {
  const uint32_t* from = frame->registers->at(code.sreg);
  uint32_t* to = frame->registers->at(code.dreg);
  const size_t words = (code.length + 3u) / 4;
  constexpr uint32_t kWordBits = 32;
  uint32_t carry = 0;
  switch (code.op) {
    case NFT_BITWISE_LSHIFT:
      for (size_t i = words; i > 0; --i) {
        const uint32_t word = from[i - 1];
        to[i - 1] = word << code.shift | carry;
        carry = word >> (kWordBits - code.shift);
      }
      break;
    case NFT_BITWISE_RSHIFT:
      for (size_t i = 0; i < words; ++i) {
        const uint32_t word = from[i];
        to[i] = carry | word >> code.shift;
        carry = word << (kWordBits - code.shift);
      }
      break;
    default:
      for (size_t i = 0; i < words; ++i) {
        to[i] = (from[i] & code.mask[i]) ^ code.exclusive_or[i];
      }
      break;
  }
  return kVerdictContinue;
}

int32_t Run(const ByteorderCode& code, Frame* frame) {
  Registers& registers = *frame->registers;
  // Both directions swap on a little-endian machine.  Several values lie in a
  // word each, also those of two bytes; a length that would leave the register
  // file is cut off.
  const size_t words = code.size == 8 ? 2 : 1;
  for (size_t i = 0; i < code.length / code.size; ++i) {
    const size_t from = code.sreg + i * words;
    const size_t to = code.dreg + i * words;
    if (std::max(from, to) + words > kRegisterWords) break;
    const auto sreg = static_cast<uint8_t>(from);
    const auto dreg = static_cast<uint8_t>(to);
    switch (code.size) {
      case 8: {
        uint64_t value;
        std::memcpy(&value, registers.at(sreg), sizeof(value));
        registers.Store64(dreg, __builtin_bswap64(value));
        break;
      }
      case 4:
        *registers.at(dreg) = __builtin_bswap32(*registers.at(sreg));
        break;
      case 2:
        registers.Store16(dreg, __builtin_bswap16(registers.Load16(sreg)));
        break;
    }
  }
  return kVerdictContinue;
}

int32_t Run(const ImmediateCode& code, Frame* frame) {
  if (code.head.opcode == Opcode::kImmediateVerdict) {
    return code.data.verdict.code;
  }
  // nft_data_copy(): whole words; what is beyond the value is zero.
  std::memcpy(frame->registers->at(code.dreg), code.data.words,
              (code.length + 3u) & ~3u);
  return kVerdictContinue;
}

// ---- state ----

int32_t Run(const CounterCode& code, Frame* frame) {
  ++code.counters->packets;
  code.counters->bytes += frame->view->size;
  return kVerdictContinue;
}

namespace {

// nft_limit_eval().  The clock that a kernel engine runs by is not the
// packets' own; where a clock that stood still, or one that was two seconds
// ahead, would have given another answer, the outcome is left to chance.
bool TakeTokens(const LimitBytesCode& code, uint64_t cost, Frame* frame) {
  constexpr uint64_t kClockDoubtNs = 2'000'000'000;
  LimitState& state = *code.state;
  const uint64_t now_ns = frame->view->packet->now_ms * 1'000'000;
  const uint64_t elapsed = now_ns > state.last_ns ? now_ns - state.last_ns : 0;
  state.last_ns = std::max(now_ns, state.last_ns);
  const auto capped = [&code](uint64_t tokens, uint64_t more) {
    return tokens > code.tokens_max || more > code.tokens_max - tokens
               ? code.tokens_max
               : tokens + more;
  };
  state.tokens = capped(state.tokens, elapsed);
  const bool enough = state.tokens >= cost;
  if (state.least_tokens >= cost) {
    state.least_tokens -= cost;
  } else if (capped(state.tokens, kClockDoubtNs) >= cost) {
    state.least_tokens = 0;
    frame->view->packet->MarkIndeterminate("limit");
  }
  if (enough) state.tokens -= cost;
  return enough;
}

}  // namespace

int32_t Run(const LimitPacketsCode& code, Frame* frame) {
  const bool within = TakeTokens(code.base, code.cost, frame);
  return within != (code.base.inverted != 0) ? kVerdictContinue : kVerdictBreak;
}

int32_t Run(const LimitBytesCode& code, Frame* frame) {
  const uint64_t cost = code.nsecs * frame->view->size / code.rate;
  const bool within = TakeTokens(code, cost, frame);
  return within != (code.inverted != 0) ? kVerdictContinue : kVerdictBreak;
}

int32_t Run(const QuotaCode& code, Frame* frame) {
  *code.consumed += frame->view->size;
  const bool over = *code.consumed > code.quota;
  const bool inverted = (code.flags & NFT_QUOTA_F_INV) != 0;
  return over != inverted ? kVerdictBreak : kVerdictContinue;
}

int32_t Run(const ConnlimitCode& code, Frame* frame) {
  const PacketState& packet = *frame->view->packet;
  // Without a connection there is nothing to count; the kernel drops then.
  if (packet.connection == nullptr) return kVerdictDrop;
  const Connection& connection = *packet.connection;
  const bool confirmed = (connection.status & kStatusConfirmed) != 0;
  const uint64_t expires_ms =
      connection.expires_ms + (confirmed ? 0 : packet.now_ms);
  const size_t count =
      code.list->Add(connection.original, expires_ms, packet.now_ms);
  return (count > code.limit) != (code.inverted != 0) ? kVerdictBreak
                                                      : kVerdictContinue;
}

int32_t Run(const LastCode& code, Frame* frame) {
  code.state->last_ms = frame->view->packet->now_ms;
  if (code.state->set == 0) code.state->set = 1;
  return kVerdictContinue;
}

int32_t Run(const NumgenIncrementalCode& code, Frame* frame) {
  const uint32_t next =
      *code.counter + 1 < code.modulus ? *code.counter + 1 : 0;
  *code.counter = next;
  *frame->registers->at(code.dreg) = next + code.offset;
  return kVerdictContinue;
}

int32_t Run(const NumgenRandomCode& code, Frame* frame) {
  if (code.modulus > 1) {
    frame->view->packet->MarkIndeterminate("numgen random");
  }
  *frame->registers->at(code.dreg) =
      Scale(frame->control->NextRandom(), code.modulus) + code.offset;
  return kVerdictContinue;
}

namespace {

uint32_t Rotate(uint32_t value, unsigned bits) {
  return value << bits | value >> (32 - bits);
}

// jhash() of include/linux/jhash.h: Bob Jenkins' lookup3.
uint32_t JenkinsHash(const uint8_t* key, uint32_t length, uint32_t seed) {
  constexpr uint32_t kInitial = 0xdeadbeef;
  uint32_t a = kInitial + length + seed;
  uint32_t b = a;
  uint32_t c = a;
  while (length > 12) {
    a += LoadRaw32(key);
    b += LoadRaw32(key + 4);
    c += LoadRaw32(key + 8);
    a = (a - c) ^ Rotate(c, 4);
    c += b;
    b = (b - a) ^ Rotate(a, 6);
    a += c;
    c = (c - b) ^ Rotate(b, 8);
    b += a;
    a = (a - c) ^ Rotate(c, 16);
    c += b;
    b = (b - a) ^ Rotate(a, 19);
    a += c;
    c = (c - b) ^ Rotate(b, 4);
    b += a;
    length -= 12;
    key += 12;
  }
  if (length == 0) return c;
  // The last words, little-endian, missing bytes zero.
  uint8_t rest[12] = {};
  std::memcpy(rest, key, length);
  a += LoadRaw32(rest);
  b += LoadRaw32(rest + 4);
  c += LoadRaw32(rest + 8);
  c = (c ^ b) - Rotate(b, 14);
  a = (a ^ c) - Rotate(c, 11);
  b = (b ^ a) - Rotate(a, 25);
  c = (c ^ b) - Rotate(b, 16);
  a = (a ^ c) - Rotate(c, 4);
  b = (b ^ a) - Rotate(a, 14);
  c = (c ^ b) - Rotate(b, 24);
  return c;
}

}  // namespace

int32_t Run(const HashJenkinsCode& code, Frame* frame) {
  if (code.autogen_seed && code.modulus > 1) {
    frame->view->packet->MarkIndeterminate("jhash without a seed");
  }
  const auto* key =
      reinterpret_cast<const uint8_t*>(frame->registers->at(code.sreg));
  const uint32_t hash = JenkinsHash(key, code.length, code.seed);
  *frame->registers->at(code.dreg) = Scale(hash, code.modulus) + code.offset;
  return kVerdictContinue;
}

int32_t Run(const HashSymmetricCode& code, Frame* frame) {
  // The kernel's flow hash has a key of its own, drawn at boot.
  if (code.modulus > 1) frame->view->packet->MarkIndeterminate("symhash");
  const PacketView& view = *frame->view;
  uint32_t sum = view.protocol;
  const bool ipv4 = view.packet->family == Family::kIpv4;
  const size_t first = ipv4 ? 12 : 8;
  const size_t bytes = ipv4 ? 8 : 32;
  if (view.size >= first + bytes) {
    for (size_t i = 0; i < bytes; i += 4)
      sum += LoadRaw32(view.data + first + i);
  }
  *frame->registers->at(code.dreg) =
      Scale(JenkinsHash(reinterpret_cast<const uint8_t*>(&sum), 4, 0),
            code.modulus) +
      code.offset;
  return kVerdictContinue;
}

// ---- sets ----

namespace {

// nft_set_elem_update_expr(): an element's own expressions run with it.
int32_t RunElement(Element* element, Frame* frame) {
  int32_t verdict = kVerdictContinue;
  if (element->expressions_count == 0) return verdict;
  ForEachInstruction(element->instructions(),
                     element->code.size() * sizeof(uint64_t),
                     [&verdict, frame](uint8_t* code) {
                       if (verdict == kVerdictContinue) {
                         verdict = RunInstruction(code, frame);
                       }
                     });
  return verdict;
}

}  // namespace

int32_t Run(const LookupCode& code, Frame* frame) {
  Element* element = code.set->Find(frame->registers->at(code.sreg),
                                    frame->view->packet->now_ms);
  if ((element != nullptr) == (code.inverted != 0)) return kVerdictBreak;
  if (element == nullptr) return kVerdictContinue;
  if (code.has_dreg) {
    std::memcpy(frame->registers->at(code.dreg), element->data.data(),
                (code.set->d.data_size + 3) & ~3u);
  }
  return RunElement(element, frame);
}

const Data* LookupVerdict(const LookupCode& code, Frame* frame) {
  Element* element = code.set->Find(frame->registers->at(code.sreg),
                                    frame->view->packet->now_ms);
  if (element == nullptr || !element->has_data) return nullptr;
  if (RunElement(element, frame) == kVerdictBreak) return nullptr;
  return &element->verdict;
}

int32_t Run(const DynsetCode& code, Frame* frame) {
  Set& set = *code.set;
  const uint64_t now_ms = frame->view->packet->now_ms;
  const uint32_t* key = frame->registers->at(code.sreg_key);
  Element* element = set.FindOwn(key, now_ms);
  if (code.op == NFT_DYNSET_OP_DELETE) {
    if (element != nullptr) {
      frame->control->DropElement(&set, element);
    }
    return kVerdictContinue;
  }
  if (element == nullptr) {
    element =
        frame->control->AddDynamicElement(code, *frame->registers, now_ms);
    if (element == nullptr) {
      return code.inverted ? kVerdictContinue : kVerdictBreak;
    }
  } else if (code.op == NFT_DYNSET_OP_UPDATE && element->timeout_ms != 0) {
    element->expires_ms =
        now_ms + (code.timeout_ms != 0 ? code.timeout_ms : set.d.timeout_ms);
  }
  const int32_t verdict = RunElement(element, frame);
  if (verdict != kVerdictContinue) return verdict;
  return code.inverted ? kVerdictBreak : kVerdictContinue;
}

int32_t Run(const ObjrefCode& code, Frame* frame) {
  return RunInstruction(code.object->instruction(), frame);
}

int32_t Run(const ObjrefMapCode& code, Frame* frame) {
  const Element* element = code.set->Find(frame->registers->at(code.sreg),
                                          frame->view->packet->now_ms);
  if (element == nullptr || element->object == nullptr) return kVerdictBreak;
  return RunInstruction(element->object->instruction(), frame);
}

// ---- extensions of xtables ----

namespace {

int32_t RunMatch(const CompatUse& use, const uint8_t* payload, Frame* frame) {
  PacketState* packet = frame->view->packet;
  const XtContext context{packet, frame->table, use.state,
                          frame->control->net()};
  packet->hotdrop = false;
  const bool match = use.match->match(payload, context);
  if (packet->hotdrop) return kVerdictDrop;
  return match ? kVerdictContinue : kVerdictBreak;
}

}  // namespace

int32_t Run(const CompatCode& code, Frame* frame) {
  const CompatUse& use = frame->control->compat_use(code.head.aux);
  if (code.head.opcode == Opcode::kMatchInline) {
    return RunMatch(use, code.payload(), frame);
  }
  PacketState* packet = frame->view->packet;
  const XtContext context{packet, frame->table, use.state,
                          frame->control->net()};
  packet->hotdrop = false;
  const XtTargetResult result = use.target->target(code.payload(), context);
  frame->view->Refresh();
  if (packet->hotdrop) return kVerdictDrop;
  switch (result.verdict) {
    case XtVerdict::kContinue:
      return kVerdictContinue;
    case XtVerdict::kAccept:
      return kVerdictAccept;
    case XtVerdict::kDrop:
      return kVerdictDrop;
    case XtVerdict::kQueue:
      return kVerdictQueue | result.queue << 16;
    case XtVerdict::kStolen:
      return kVerdictStolen;
  }
  return kVerdictDrop;
}

int32_t Run(const CompatLargeCode& code, Frame* frame) {
  return RunMatch(frame->control->compat_use(code.head.aux), code.payload,
                  frame);
}

}  // namespace nfarena::vm
