#include "engines/legacy/legacy_walk.h"

#include <cstring>

#include "compat/lower/xt_layout.h"

namespace nfarena {
namespace {

/// How many entries ahead of the walk memory is asked for.  Their places are
/// guessed from this one's size: neighbours are mostly of one kind.
constexpr size_t kPrefetchEntries = 4;

struct Words16 {
  uint64_t low, high;
};

inline Words16 Load16(const void* bytes) {
  Words16 words;
  std::memcpy(&words, bytes, sizeof(words));
  return words;
}

/// ifname_compare_aligned(): no bit that counts differs.
inline bool SameName(const Words16& device, const char* name,
                     const unsigned char* mask) {
  const Words16 n = Load16(name);
  const Words16 m = Load16(mask);
  return (((device.low ^ n.low) & m.low) | ((device.high ^ n.high) & m.high)) ==
         0;
}

/// The packet's side of the selector test, held in registers over the walk.
template <typename Traits>
struct Subject;

template <>
struct Subject<XtTraits<Family::kIpv4>> {
  explicit Subject(const PacketState& packet)
      : in(Load16(packet.in.data())), out(Load16(packet.out.data())) {
    later_fragment = packet.headers.fragment_offset != 0;
    Reload(packet);
  }

  /// After a target, which may have rewritten the header.
  void Reload(const PacketState& packet) {
    std::memcpy(&src, packet.bytes.data() + 12, sizeof(src));
    std::memcpy(&dst, packet.bytes.data() + 16, sizeof(dst));
    protocol = packet.bytes[9];
  }

  /// ip_packet_match()
  bool Matches(const ipt_ip& ip, PacketState*) const {
    const unsigned inverted = ip.invflags;
    if (((src & ip.smsk.s_addr) != ip.src.s_addr) !=
        ((inverted & IPT_INV_SRCIP) != 0)) {
      return false;
    }
    if (((dst & ip.dmsk.s_addr) != ip.dst.s_addr) !=
        ((inverted & IPT_INV_DSTIP) != 0)) {
      return false;
    }
    if (!SameName(in, ip.iniface, ip.iniface_mask) !=
        ((inverted & IPT_INV_VIA_IN) != 0)) {
      return false;
    }
    if (!SameName(out, ip.outiface, ip.outiface_mask) !=
        ((inverted & IPT_INV_VIA_OUT) != 0)) {
      return false;
    }
    if (ip.proto != 0 &&
        (protocol != ip.proto) != ((inverted & IPT_INV_PROTO) != 0)) {
      return false;
    }
    return ((ip.flags & IPT_F_FRAG) != 0 && !later_fragment) ==
           ((inverted & IPT_INV_FRAG) != 0);
  }

  Words16 in, out;
  uint32_t src = 0, dst = 0;
  uint16_t protocol = 0;
  bool later_fragment = false;
};

template <>
struct Subject<XtTraits<Family::kIpv6>> {
  explicit Subject(const PacketState& packet)
      : in(Load16(packet.in.data())), out(Load16(packet.out.data())) {
    Reload(packet);
  }

  void Reload(const PacketState& packet) {
    src = Load16(packet.bytes.data() + 8);
    dst = Load16(packet.bytes.data() + 24);
  }

  static bool SameAddress(const Words16& address, const in6_addr& mask,
                          const in6_addr& wanted) {
    const Words16 m = Load16(&mask);
    const Words16 w = Load16(&wanted);
    return (((address.low & m.low) ^ w.low) |
            ((address.high & m.high) ^ w.high)) == 0;
  }

  /// ip6_packet_match()
  bool Matches(const ip6t_ip6& ip, PacketState* packet) const {
    const unsigned inverted = ip.invflags;
    if (!SameAddress(src, ip.smsk, ip.src) !=
        ((inverted & IP6T_INV_SRCIP) != 0)) {
      return false;
    }
    if (!SameAddress(dst, ip.dmsk, ip.dst) !=
        ((inverted & IP6T_INV_DSTIP) != 0)) {
      return false;
    }
    if (!SameName(in, ip.iniface, ip.iniface_mask) !=
        ((inverted & IP6T_INV_VIA_IN) != 0)) {
      return false;
    }
    if (!SameName(out, ip.outiface, ip.outiface_mask) !=
        ((inverted & IP6T_INV_VIA_OUT) != 0)) {
      return false;
    }
    if ((ip.flags & IP6T_F_PROTO) == 0) return true;
    const Headers& headers = packet->headers;
    if (!headers.transport_ok) {
      // The header chain is broken: no rule can tell, so none may pass it.
      packet->hotdrop = true;
      return false;
    }
    const bool same = headers.protocol == ip.proto;
    if (same) return (inverted & IP6T_INV_PROTO) == 0;
    return ip.proto == 0 || (inverted & IP6T_INV_PROTO) != 0;
  }

  Words16 in, out;
  Words16 src{}, dst{};
};

LegacyBound BoundAt(const uint8_t* header) {
  LegacyBound bound;
  std::memcpy(&bound, header, sizeof(bound));
  return bound;
}

VerdictKind KindOf(int32_t standard) {
  switch (standard) {
    case kXtAccept:
      return VerdictKind::kAccept;
    case kXtQueue:
      return VerdictKind::kQueue;
    default:
      return VerdictKind::kDrop;
  }
}

template <typename Traits>
class Walker {
 public:
  using Entry = typename Traits::Entry;

  Walker(const LegacyProgram& program, Hook hook, bool trace,
         LegacyContext* context, PacketState* packet)
      : program_(program),
        base_(program.entries()),
        trace_(trace),
        context_(*context),
        packet_(*packet),
        subject_(*packet),
        xt_{packet, program.kind(), nullptr, program.net()},
        hook_(static_cast<size_t>(hook)) {}

  StageVerdict Run() {
    packet_.hotdrop = false;
    size_t at = program_.hook_entry()[hook_];
    for (;;) {
      const Entry* e = EntryAt(at);
      const uint8_t* ahead = base_ + at + kPrefetchEntries * e->next_offset;
      __builtin_prefetch(ahead);
      __builtin_prefetch(ahead + offsetof(Entry, next_offset));
      if (!subject_.Matches(Traits::selector(*e), &packet_) ||
          !MatchesHold(e)) {
        if (packet_.hotdrop) return Say(*e, VerdictKind::kDrop);
        at += e->next_offset;
        continue;
      }
      Count(*e);
      const uint8_t* target = TargetOf(e);
      const LegacyBound bound = BoundAt(target);
      if (bound.target == nullptr) {
        int32_t verdict;
        std::memcpy(&verdict, target + kXtHeaderBytes, sizeof(verdict));
        if (verdict < 0 && verdict != kXtReturn) {
          return Say(*e,
                     packet_.hotdrop ? VerdictKind::kDrop : KindOf(verdict));
        }
        if (!Move(e, verdict, &at)) return Say(*e, VerdictKind::kDrop);
      } else {
        const XtTargetResult result =
            bound.target(target + kXtHeaderBytes, WithState(bound));
        if (result.verdict != XtVerdict::kContinue || packet_.hotdrop) {
          StageVerdict said =
              Say(*e, packet_.hotdrop ? VerdictKind::kDrop
                                      : VerdictKindOf(result.verdict));
          said.queue = result.queue;
          return said;
        }
        if (packet_.bytes.size() < kHeaderBytes) {
          return Say(*e, VerdictKind::kDrop);
        }
        subject_.Reload(packet_);
        at += e->next_offset;
      }
      if (packet_.hotdrop) return Say(*e, VerdictKind::kDrop);
    }
  }

  /// Fewer bytes hold no IP header: no hook of the kernel sees such a packet.
  static constexpr size_t kHeaderBytes =
      Traits::kFamily == Family::kIpv4 ? 20 : 40;

 private:
  const Entry* EntryAt(size_t offset) const {
    return reinterpret_cast<const Entry*>(base_ + offset);
  }
  static const uint8_t* TargetOf(const Entry* e) {
    return reinterpret_cast<const uint8_t*>(e) + e->target_offset;
  }

  const XtContext& WithState(const LegacyBound& bound) {
    xt_.state = bound.state_offset == kLegacyNoState
                    ? nullptr
                    : context_.state.data() + bound.state_offset / 8;
    return xt_;
  }

  bool MatchesHold(const Entry* e) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(e);
    for (size_t m = sizeof(Entry); m < e->target_offset;) {
      const LegacyBound bound = BoundAt(bytes + m);
      if (!bound.match(bytes + m + kXtHeaderBytes, WithState(bound))) {
        return false;
      }
      m += bound.size;
    }
    return true;
  }

  RuleRef RefOf(const Entry& e) const {
    return RuleRef{program_.kind(),
                   static_cast<uint32_t>(e.counters.bcnt >> 32),
                   static_cast<uint32_t>(e.counters.bcnt)};
  }

  void Count(const Entry& e) {
    Counters& counters = context_.counters[e.counters.pcnt];
    ++counters.packets;
    counters.bytes += packet_.bytes.size();
    if (trace_ && packet_.outcome != nullptr) {
      packet_.outcome->trace.push_back(RefOf(e));
    }
  }

  StageVerdict Say(const Entry& e, VerdictKind kind) const {
    return StageVerdict{.kind = kind, .queue = 0, .rule = RefOf(e)};
  }

  /// A jump, goto, fall-through or return.  False: the stack is full, which
  /// loop-free chains cannot do.
  bool Move(const Entry* e, int32_t verdict, size_t* at) {
    if (verdict == kXtReturn) {
      if (depth_ == 0) {
        *at = program_.underflow()[hook_];
      } else {
        *at = context_.jump_stack[--depth_];
        *at += EntryAt(*at)->next_offset;
      }
      return true;
    }
    const auto to = static_cast<size_t>(verdict);
    if (to != *at + e->next_offset &&
        (Traits::selector(*e).flags & Traits::kFlagGoto) == 0) {
      if (depth_ >= context_.jump_stack.size()) return false;
      context_.jump_stack[depth_++] = static_cast<uint32_t>(*at);
    }
    *at = to;
    return true;
  }

  const LegacyProgram& program_;
  const uint8_t* base_;
  const bool trace_;
  LegacyContext& context_;
  PacketState& packet_;
  Subject<Traits> subject_;
  XtContext xt_;
  size_t hook_;
  size_t depth_ = 0;
};

}  // namespace

LegacyContext::LegacyContext(const LegacyProgram& program)
    : counters(program.entries_count()),
      state(program.state_bytes() / 8),
      jump_stack(program.stack_size()) {
  for (const LegacyExtensionUse& use : program.uses()) {
    if (use.state == nullptr || use.state->init == nullptr) continue;
    use.state->init(program.entries() + use.payload_offset,
                    state.data() + use.state_offset / 8);
  }
}

StageVerdict WalkLegacy(const LegacyProgram& program, Hook hook, bool trace,
                        LegacyContext* context, PacketState* packet) {
  return WithXtTraits(program.family(), [&]<typename Traits>() {
    using W = Walker<Traits>;
    if (packet->family != program.family() ||
        packet->bytes.size() < W::kHeaderBytes) {
      return StageVerdict{.kind = VerdictKind::kAccept,
                          .rule = {program.kind(), 0, 0}};
    }
    return W(program, hook, trace, context, packet).Run();
  });
}

}  // namespace nfarena
