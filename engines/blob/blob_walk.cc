// One packet through one section of the blob.
#include <cstring>

#include "engines/blob/blob_table.h"

namespace nfarena {
namespace {

constexpr uint32_t kRuleHead = sizeof(BlobRuleHead);
constexpr uint32_t kActionHead = sizeof(BlobActionHead);
/// How far ahead memory is asked for; rules of one address and one small match
/// have 64 bytes.
constexpr size_t kPrefetchBytes = 384;

template <typename T>
inline T LoadAt(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

struct Words16 {
  uint64_t low, high;
};

/// The first `count` bytes of two 16-byte names are equal.
inline bool SameName(const Words16& device, const uint8_t* name,
                     uint32_t count) {
  const auto n = LoadAt<Words16>(name);
  const auto keep = [](uint32_t bytes) {
    return bytes >= 8 ? ~uint64_t{0} : (uint64_t{1} << (8 * bytes)) - 1;
  };
  const uint64_t low = (device.low ^ n.low) & keep(count);
  const uint64_t high =
      count > 8 ? (device.high ^ n.high) & keep(count - 8) : 0;
  return (low | high) == 0;
}

/// Held around a call that changes match state which all readers share.
class StateLock {
 public:
  explicit StateLock(uint64_t* word) : lock_(*word) {
    while (lock_.exchange(1, std::memory_order_acquire) != 0) {
      std::this_thread::yield();
    }
  }
  ~StateLock() { lock_.store(0, std::memory_order_release); }
  StateLock(const StateLock&) = delete;
  StateLock& operator=(const StateLock&) = delete;

 private:
  std::atomic_ref<uint64_t> lock_;
};

class Walker {
 public:
  Walker(BlobGeneration* generation, BlobGeneration::Slot* counters,
         std::vector<BlobPosition>* stack, Stage stage, bool trace,
         PacketState* packet)
      : program_(generation->program()),
        base_(program_.base()),
        state_(generation->state()),
        counters_(counters),
        stack_(*stack),
        stage_(stage),
        trace_(trace),
        packet_(*packet),
        xt_{packet, stage.table, nullptr, program_.net()},
        in_(LoadAt<Words16>(
            reinterpret_cast<const uint8_t*>(packet->in.data()))),
        out_(LoadAt<Words16>(
            reinterpret_cast<const uint8_t*>(packet->out.data()))),
        later_fragment_(packet->headers.fragment_offset != 0),
        least_bytes_(packet->family == Family::kIpv4 ? 20 : 40) {}

  StageVerdict Run() {
    packet_.hotdrop = false;
    stack_.clear();
    // Where the walk is; local, so that it stays in registers.
    Position here{program_.EntryChain(stage_.table, stage_.hook),
                  base_ + program_.Entry(stage_.table, stage_.hook)};
    const uint8_t* net = packet_.bytes.data();
    for (;;) {
      const uint8_t* at = here.rule + kRuleHead;
      __builtin_prefetch(here.rule + kPrefetchBytes);
    next_action:
      const auto head = LoadAt<BlobActionHead>(at);
      const bool invert = (head.flags & kBlobInvert) != 0;
      bool holds = true;
      switch (static_cast<BlobOp>(head.op)) {
        case BlobOp::kField4:
          holds = ((LoadAt<uint32_t>(net + head.argument) &
                    LoadAt<uint32_t>(at + 12)) == LoadAt<uint32_t>(at + 8)) !=
                  invert;
          break;
        case BlobOp::kField16: {
          const auto field = LoadAt<Words16>(net + head.argument);
          const auto value = LoadAt<Words16>(at + 8);
          const auto mask = LoadAt<Words16>(at + 24);
          holds = ((((field.low & mask.low) ^ value.low) |
                    ((field.high & mask.high) ^ value.high)) == 0) != invert;
          break;
        }
        case BlobOp::kIn:
          holds = SameName(in_, at + kActionHead, head.argument) != invert;
          break;
        case BlobOp::kOut:
          holds = SameName(out_, at + kActionHead, head.argument) != invert;
          break;
        case BlobOp::kProtocol:
          holds = Protocol(head.argument, invert);
          break;
        case BlobOp::kFragment:
          holds = (head.argument != 0 && !later_fragment_) == invert;
          break;
        case BlobOp::kMatch:
          holds = Match(at, head);
          break;
        case BlobOp::kCount:
          Count(head.argument);
          break;
        case BlobOp::kTarget: {
          const XtTargetResult said = Target(at, head);
          if (said.verdict != XtVerdict::kContinue || packet_.hotdrop) {
            Trace(here);
            return Say(here, VerdictKindOf(said.verdict), said.queue);
          }
          // It may have rewritten the packet.
          if (packet_.bytes.size() < least_bytes_) {
            Trace(here);
            return Say(here, VerdictKind::kDrop);
          }
          net = packet_.bytes.data();
          break;
        }
        case BlobOp::kVerdict: {
          Trace(here);
          const auto verdict = static_cast<BlobVerdict>(head.flags);
          if (verdict == BlobVerdict::kContinue) {
            holds = false;
            break;
          }
          if (verdict == BlobVerdict::kAccept) {
            return Say(here, VerdictKind::kAccept);
          }
          if (verdict == BlobVerdict::kDrop) {
            return Say(here, VerdictKind::kDrop);
          }
          if (verdict == BlobVerdict::kQueue) {
            return Say(here, VerdictKind::kQueue);
          }
          if (packet_.hotdrop) return Say(here, VerdictKind::kDrop);
          here = Move(here, verdict, head.argument);
          continue;
        }
      }
      if (holds) {
        at += head.size;
        goto next_action;
      }
      if (packet_.hotdrop) return Say(here, VerdictKind::kDrop);
      here.rule += LoadAt<uint32_t>(here.rule);
    }
  }

 private:
  using Position = BlobPosition;

  /// IPv4 has it in the header; in IPv6 a broken chain of extension headers
  /// drops the packet of whoever asks.
  bool Protocol(uint32_t wanted, bool invert) {
    if (wanted == 0) return true;
    if (packet_.family == Family::kIpv4) {
      return (packet_.bytes[9] == wanted) != invert;
    }
    if (!packet_.headers.transport_ok) {
      packet_.hotdrop = true;
      return false;
    }
    return (packet_.headers.protocol == wanted) != invert;
  }

  bool Match(const uint8_t* at, const BlobActionHead& head) {
    const BlobUse& use = program_.uses()[head.argument];
    if (use.state_offset == kBlobNoState) {
      xt_.state = nullptr;
      return use.match(at + kActionHead, xt_);
    }
    uint64_t* state = state_ + use.state_offset / 8;
    const StateLock lock(state);
    xt_.state = state + 1;
    return use.match(at + kActionHead, xt_);
  }

  XtTargetResult Target(const uint8_t* at, const BlobActionHead& head) {
    const BlobUse& use = program_.uses()[head.argument];
    if (use.state_offset == kBlobNoState) {
      xt_.state = nullptr;
      return use.target(at + kActionHead, xt_);
    }
    uint64_t* state = state_ + use.state_offset / 8;
    const StateLock lock(state);
    xt_.state = state + 1;
    return use.target(at + kActionHead, xt_);
  }

  void Count(uint32_t slot) {
    BlobGeneration::Slot& mine = counters_[slot];
    const auto add = [](std::atomic<uint64_t>* to, uint64_t n) {
      to->store(to->load(std::memory_order_relaxed) + n,
                std::memory_order_relaxed);
    };
    add(&mine.packets, 1);
    add(&mine.bytes, packet_.bytes.size());
  }

  /// Jump, goto or return; a return without caller goes to the policy of the
  /// section's chain.
  Position Move(Position from, BlobVerdict verdict, uint32_t argument) {
    if (verdict != BlobVerdict::kReturn) {
      // Loops were refused at load, so the stack cannot grow for ever.
      if (verdict == BlobVerdict::kJump) stack_.push_back(from);
      return {argument, base_ + program_.chains()[argument].first};
    }
    if (stack_.empty()) {
      const uint32_t chain = program_.EntryChain(stage_.table, stage_.hook);
      return {chain, base_ + program_.EndRule(chain)};
    }
    Position caller = stack_.back();
    stack_.pop_back();
    caller.rule += LoadAt<uint32_t>(caller.rule);
    return caller;
  }

  RuleRef Ref(Position at) const {
    return RuleRef{stage_.table, program_.ChainInTable(at.chain),
                   LoadAt<BlobRuleHead>(at.rule).number};
  }

  void Trace(Position at) {
    if (trace_ && packet_.outcome != nullptr) {
      packet_.outcome->trace.push_back(Ref(at));
    }
  }

  /// A packet that a match found malformed is dropped, whatever was said.
  StageVerdict Say(Position at, VerdictKind kind, uint16_t queue = 0) const {
    return StageVerdict{.kind = packet_.hotdrop ? VerdictKind::kDrop : kind,
                        .queue = queue,
                        .rule = Ref(at)};
  }

  const BlobProgram& program_;
  const uint8_t* base_;
  uint64_t* state_;
  BlobGeneration::Slot* counters_;
  std::vector<BlobPosition>& stack_;  // the jumping rules
  Stage stage_;
  bool trace_;
  PacketState& packet_;
  XtContext xt_;
  Words16 in_, out_;
  bool later_fragment_;
  size_t least_bytes_;
};

}  // namespace

StageVerdict BlobTable::Reader::Evaluate(Stage stage, bool trace,
                                         PacketState* packet) {
  const Family family = generation_->program().family();
  const size_t least = family == Family::kIpv4 ? 20 : 40;
  if (packet->family != family || packet->bytes.size() < least) {
    // No hook of the kernel sees such a packet.
    return StageVerdict{.kind = VerdictKind::kAccept,
                        .rule = {stage.table, 0, 0}};
  }
  return Walker(generation_, counters_, &jump_stack_, stage, trace, packet)
      .Run();
}

}  // namespace nfarena
