#include "engines/vm/machine.h"

#include <linux/netfilter.h>

#include <cstring>

#include "engines/vm/operations.h"

namespace nfarena::vm {
namespace {

// What a rule came to.
struct RuleEnd {
  int32_t verdict;  // kVerdictContinue: it ran to its end
  Chain* target;    // meaningful for jump and goto only
};

template <typename Layout>
const Layout& As(const uint8_t* code) {
  return *reinterpret_cast<const Layout*>(code);
}

// Loads `kSize` bytes at a checked offset into a zeroed word.
template <size_t kSize>
void LoadWord(const uint8_t* from, uint32_t* to) {
  uint32_t word = 0;
  std::memcpy(&word, from, kSize);
  *to = word;
}

// payload_fast: false when the general form has to decide (it will break).
template <size_t kSize>
inline bool LoadNetwork(const PayloadCode& code, const PacketView& view,
                        Registers* registers) {
  if (size_t{code.offset} + kSize > view.size) return false;
  LoadWord<kSize>(view.data + code.offset, registers->at(code.dreg));
  return true;
}

// Unlike the general form, this one does not look at the fragment offset, and
// so reads the payload of a later fragment as if a header were there.
template <size_t kSize>
inline bool LoadTransport(const PayloadCode& code, const PacketView& view,
                          Registers* registers) {
  const size_t at = size_t{view.transport} + code.offset;
  if (!view.has_transport || at + kSize > view.size) return false;
  LoadWord<kSize>(view.data + at, registers->at(code.dreg));
  return true;
}

template <bool kTrace>
inline RuleEnd RunRule(const uint8_t* code, const uint8_t* end, Frame* frame,
                       bool* counted) {
  Registers& registers = *frame->registers;
  PacketView& view = *frame->view;
  while (code != end) {
    int32_t verdict = kVerdictContinue;
    size_t size = 0;
    switch (As<Instruction>(code).opcode) {
#define VM_FAST_PAYLOAD(opcode, load, bytes)                     \
  case Opcode::opcode:                                           \
    size = sizeof(PayloadCode);                                  \
    if (!load<bytes>(As<PayloadCode>(code), view, &registers)) { \
      verdict = Run(As<PayloadCode>(code), frame);               \
    }                                                            \
    break;
      VM_FAST_PAYLOAD(kPayloadNetwork1, LoadNetwork, 1)
      VM_FAST_PAYLOAD(kPayloadNetwork2, LoadNetwork, 2)
      VM_FAST_PAYLOAD(kPayloadNetwork4, LoadNetwork, 4)
      VM_FAST_PAYLOAD(kPayloadTransport1, LoadTransport, 1)
      VM_FAST_PAYLOAD(kPayloadTransport2, LoadTransport, 2)
      VM_FAST_PAYLOAD(kPayloadTransport4, LoadTransport, 4)
#undef VM_FAST_PAYLOAD
      case Opcode::kCmpFastEqual: {
        const auto& cmp = As<CmpFastCode>(code);
        size = sizeof(cmp);
        if ((*registers.at(cmp.sreg) & cmp.mask) != cmp.data) {
          return {kVerdictBreak, nullptr};
        }
        break;
      }
      case Opcode::kCmpFastNotEqual: {
        const auto& cmp = As<CmpFastCode>(code);
        size = sizeof(cmp);
        if ((*registers.at(cmp.sreg) & cmp.mask) == cmp.data) {
          return {kVerdictBreak, nullptr};
        }
        break;
      }
      case Opcode::kCmp16: {
        const auto& cmp = As<Cmp16Code>(code);
        size = sizeof(cmp);
        uint64_t value[2];
        std::memcpy(value, registers.at(cmp.sreg), sizeof(value));
        const bool equal = (value[0] & cmp.mask[0]) == cmp.data[0] &&
                           (value[1] & cmp.mask[1]) == cmp.data[1];
        if (equal == (cmp.inverted != 0)) return {kVerdictBreak, nullptr};
        break;
      }
      case Opcode::kBitwiseFast: {
        const auto& bitwise = As<BitwiseFastCode>(code);
        size = sizeof(bitwise);
        *registers.at(bitwise.dreg) =
            (*registers.at(bitwise.sreg) & bitwise.mask) ^ bitwise.exclusive_or;
        break;
      }
      case Opcode::kMetaLoad:
        size = sizeof(MetaCode);
        verdict = Run(As<MetaCode>(code), frame);
        break;
      case Opcode::kCounterAny: {
        Counters* counters = As<CounterCode>(code).counters;
        size = sizeof(CounterCode);
        ++counters->packets;
        counters->bytes += view.size;
        if constexpr (kTrace) *counted = true;
        break;
      }
      case Opcode::kImmediateVerdict: {
        const auto& immediate = As<ImmediateCode>(code);
        size = sizeof(immediate);
        const int32_t given = immediate.data.verdict.code;
        if (given == kVerdictContinue) break;
        return {given, static_cast<Chain*>(immediate.data.verdict.chain)};
      }
      case Opcode::kLookupAny: {
        const auto& lookup = As<LookupCode>(code);
        size = sizeof(lookup);
        // A verdict map gives jumps, which only this loop can follow.
        if (lookup.has_dreg && lookup.dreg == 0) {
          const Data* found = LookupVerdict(lookup, frame);
          if (found == nullptr) return {kVerdictBreak, nullptr};
          const int32_t given = found->verdict.code;
          if (given == kVerdictContinue) break;
          return {given, static_cast<Chain*>(found->verdict.chain)};
        }
        verdict = Run(lookup, frame);
        break;
      }
      default:
        size = As<Instruction>(code).size;
        verdict = RunInstruction(code, frame);
        break;
    }
    if (verdict != kVerdictContinue) return {verdict, nullptr};
    code += size;
  }
  return {kVerdictContinue, nullptr};
}

void Trace(TableKind table, const Chain& chain, uint32_t rule,
           PacketState* packet) {
  if (packet->outcome == nullptr) return;
  packet->outcome->trace.push_back({table, chain.model_index, rule});
}

}  // namespace

template <bool kTrace>
StageVerdict Machine::RunChain(Chain* base, TableKind table,
                               PacketState* packet) {
  struct Caller {
    Chain* chain;
    const uint8_t* rule;  // where to go on
  };
  std::array<Caller, kJumpStackSize> stack;
  size_t depth = 0;

  Registers registers;
  PacketView view(packet);
  Frame frame{control_, &registers, &view, table, base->table->family};
  // The generation is looked up once: a packet never sees parts of two.
  const unsigned generation = control_->cursor();
  Chain* chain = base;
  const uint8_t* rule = chain->generation[generation]->rules();
  StageVerdict result;
  for (;;) {
    const auto& head = As<RuleHead>(rule);
    RuleEnd end{kVerdictReturn, nullptr};
    bool counted = false;
    const uint8_t* next = rule + sizeof(RuleHead) + head.size;
    if (head.last) [[unlikely]] {
      if constexpr (kTrace) {
        if (chain != base) Trace(table, *chain, 0, packet);
      }
    } else {
      end = RunRule<kTrace>(rule + sizeof(RuleHead), next, &frame, &counted);
      if constexpr (kTrace) {
        if (counted || end.verdict != kVerdictBreak) {
          Trace(table, *chain, head.number, packet);
        }
      }
      if (end.verdict == kVerdictBreak || end.verdict == kVerdictContinue) {
        rule = next;
        continue;
      }
    }
    switch (end.verdict) {
      case kVerdictJump:
        // Validation allows no deeper nesting.
        stack[depth++] = {chain, next};
        [[fallthrough]];
      case kVerdictGoto:
        chain = end.target;
        rule = chain->generation[generation]->rules();
        continue;
      case kVerdictReturn:
        if (depth > 0) {
          --depth;
          chain = stack[depth].chain;
          rule = stack[depth].rule;
          continue;
        }
        if constexpr (kTrace) Trace(table, *base, 0, packet);
        if (base->base->counted) {
          ++base->base->counters.packets;
          base->base->counters.bytes += view.size;
        }
        result.kind = base->base->policy == NF_DROP ? VerdictKind::kDrop
                                                    : VerdictKind::kAccept;
        result.rule = {table, base->model_index, 0};
        return result;
      default:
        break;
    }
    result.rule = {table, chain->model_index, head.number};
    switch (static_cast<uint32_t>(end.verdict) & kVerdictMask) {
      case NF_ACCEPT:
        result.kind = VerdictKind::kAccept;
        break;
      case NF_QUEUE:
        result.kind = VerdictKind::kQueue;
        result.queue =
            static_cast<uint16_t>(static_cast<uint32_t>(end.verdict) >> 16);
        break;
      case NF_STOLEN:
        result.kind = VerdictKind::kStolen;
        break;
      default:
        result.kind = VerdictKind::kDrop;
        break;
    }
    return result;
  }
}

StageVerdict Machine::Run(Chain* base, TableKind table, bool trace,
                          PacketState* packet) {
  return trace ? RunChain<true>(base, table, packet)
               : RunChain<false>(base, table, packet);
}

}  // namespace nfarena::vm
