#include "engines/core/path.h"

#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <vector>

#include "engines/core/answers.h"
#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/fragments.h"
#include "engines/core/rewrite.h"

namespace nfarena {
namespace {

/// rt_tos2priority(): the priority a forwarded packet gets from its TOS.
/// Source: net/ipv4/route.c ip_tos2prio[], include/uapi/linux/pkt_sched.h.
uint32_t PriorityOfTos(uint8_t tos) {
  constexpr uint32_t kBestEffort = 0, kBulk = 2, kInteractiveBulk = 4,
                     kInteractive = 6;
  static constexpr std::array<uint32_t, 8> kPriorities = {
      kBestEffort,  kBestEffort,      kBulk,           kBulk, kInteractive,
      kInteractive, kInteractiveBulk, kInteractiveBulk};
  return kPriorities[(tos & 0x1e) >> 2];
}

/// ip_rcv_options(): false when the stack drops the packet.  What it does with
/// the options that are written on the way (record route, timestamp, source
/// routes) is not modelled.
bool Ipv4OptionsOk(PacketState* packet) {
  if (packet->family != Family::kIpv4) return true;
  const size_t end = packet->headers.transport;
  for (size_t at = 20; at < end;) {
    const uint8_t kind = packet->bytes[at];
    if (kind == 0) return true;
    if (kind == 1) {
      ++at;
      continue;
    }
    const size_t length = at + 1 < end ? packet->bytes[at + 1] : 0;
    if (length < 2 || length > end - at) {
      packet->MarkIndeterminate("malformed IPv4 options");
      return false;
    }
    switch (kind) {
      case 7:    // record route
      case 68:   // timestamp
      case 131:  // loose source route
      case 134:  // CIPSO
      case 137:  // strict source route
        packet->MarkIndeterminate("an IPv4 option that the stack writes");
        break;
      case 148:  // router alert
        if (length < 4) {
          packet->MarkIndeterminate("malformed IPv4 options");
          return false;
        }
        break;
      default:
        break;
    }
    at += length;
  }
  return true;
}

/// ipv6_parse_hopopts(): false when the stack drops the packet.
bool HopByHopOk(PacketState* packet) {
  const std::vector<uint8_t>& bytes = packet->bytes;
  if (bytes.size() < 48) return false;
  const size_t end = 40 + (static_cast<size_t>(bytes[41]) + 1) * 8;
  if (end > bytes.size()) return false;
  size_t padding = 0;
  size_t options = 0;
  for (size_t at = 42; at < end;) {
    const uint8_t kind = bytes[at];
    if (kind == 0) {
      if (++padding > 7) return false;
      ++at;
      continue;
    }
    if (end - at < 2) return false;
    const size_t length = static_cast<size_t>(bytes[at + 1]) + 2;
    if (length > end - at) return false;
    if (kind == 1) {
      padding += length;
      if (padding > 7) return false;
      for (size_t i = 2; i < length; ++i) {
        if (bytes[at + i] != 0) return false;
      }
      at += length;
      continue;
    }
    if (++options > 8) return false;  // max_hbh_opts_number
    padding = 0;
    switch (kind) {
      case 5:  // router alert
        if (length != 4) return false;
        break;
      case 7:     // CALIPSO
      case 0x31:  // IOAM
      case 0xc2:  // jumbo payload
        packet->MarkIndeterminate("a hop-by-hop option of its own");
        return false;
      default:
        if ((kind & 0xc0) == 0x40) return false;
        if ((kind & 0xc0) != 0) {
          // Dropped with a parameter problem.
          packet->MarkIndeterminate("an unknown hop-by-hop option");
          return false;
        }
        break;
    }
    at += length;
  }
  // Without a payload it would be a jumbogram.
  return LoadBe16(&bytes[4]) != 0;
}

/// What mangle's OUTPUT hook compares to see whether to route again:
/// addresses, mark and, of IPv4, the type of service, of IPv6 traffic class,
/// flow label and hop limit.
/// Source: net/ipv4/netfilter/iptable_mangle.c ipt_mangle_out(),
/// net/ipv6/netfilter/ip6table_mangle.c.
struct RouteKey {
  Address src, dst;
  uint32_t mark, first_word;
  uint8_t hop_limit;
  bool operator==(const RouteKey&) const = default;
};

RouteKey RouteKeyOf(const PacketState& state) {
  const bool v4 = state.family == Family::kIpv4;
  return {.src = SourceOf(state),
          .dst = DestinationOf(state),
          .mark = state.mark,
          .first_word = v4 ? state.bytes[1] : LoadBe32(state.bytes.data()),
          .hop_limit = v4 ? uint8_t{0} : state.bytes[7]};
}

}  // namespace

struct Path::Impl {
  const Topology* topology;
  Tracker* tracker;
  StageEvaluator* evaluator;
  bool tracking = false;
  bool nat = false;
  Reassembler reassembler;

  /// What is left to do with a packet after a step.
  enum class Step : uint8_t { kGoOn, kEnd };

  PacketState main;
  /// The answer that waits for the stage to return (REJECT ends a stage, so
  /// there is one at most); its buffer is kept.
  std::vector<uint8_t> waiting;
  bool has_waiting = false;
  /// An answer may be rejected in its turn, an error about that may not.
  static constexpr size_t kMaxDepth = 4;
  std::array<PacketState, kMaxDepth> answers;
  std::array<Packet, kMaxDepth> answer_origins;
  size_t depth = 0;
  /// The copy of a broadcast that comes back to this host.
  PacketState copy;

  void Reset(const Packet& packet, Outcome* outcome, PacketState* state);
  void Walk(PacketState* state);
  void WalkArriving(PacketState* state);
  void WalkOutgoing(PacketState* state);
  RouteDecision RouteOfAnswer(const PacketState& state) const;
  Step RouteAgain(std::string_view* out, PacketState* state);
  void SendWaiting(const PacketState& rejected);

  Step Evaluate(TableKind table, Hook hook, PacketState* state);
  Step Nat(Hook hook, PacketState* state);
  Step Confirm(PacketState* state);
  Step TrackIfOn(PacketState* state);
  Step Defragment(DefragUser user, PacketState* state);
  Step Accept(PacketState* state);
  Step Receive(PacketState* state);
  Step ForwardChecks(PacketState* state);
  Step Deliver(PacketState* state);
  Step Forward(std::string_view out, PacketState* state);
  Step Postrouting(std::string_view out, PacketState* state);
  Step PostroutingHook(std::string_view out, PacketState* state);
  bool SendCopy(std::string_view out, const PacketState& state);
  Step Broadcast(std::string_view out, PacketState* state);
  void Loop(PacketState* state);
  Step End(VerdictKind kind, PacketState* state);
  void Answer(uint8_t type, uint8_t code, PacketState* state);
};

Path::Path(const Topology* topology, Tracker* tracker,
           StageEvaluator* evaluator)
    : impl_(std::make_unique<Impl>()) {
  impl_->topology = topology;
  impl_->tracker = tracker;
  impl_->evaluator = evaluator;
}

Path::~Path() = default;

void Path::SetTracking(bool tracking) { impl_->tracking = tracking; }
bool Path::tracking() const { return impl_->tracking; }
void Path::SetNat(bool nat) { impl_->nat = nat; }

void Path::Impl::Reset(const Packet& packet, Outcome* outcome,
                       PacketState* state) {
  state->family = packet.family;
  state->bytes.assign(packet.bytes.begin(), packet.bytes.end());
  state->in.fill('\0');
  state->out.fill('\0');
  state->hook = Hook::kPrerouting;
  state->route = RouteKind::kNone;
  state->origin = &packet;
  state->local_out = packet.in.empty() || packet.in == "lo";
  state->answer = false;
  state->looped = false;
  state->mark = packet.mark;
  state->priority = 0;
  state->traced = false;
  state->hotdrop = false;
  state->refragmented = false;
  state->ct_template = {};
  state->ct_info = CtInfo::kInvalid;
  state->connection = nullptr;
  state->topology = topology;
  state->tracker = tracker;
  state->now_ms = packet.time_ms;
  state->outcome = outcome;
  ParseHeaders(state);
}

void Path::Place(const Packet& packet, Stage stage, PacketState* state) const {
  impl_->Reset(packet, nullptr, state);
  state->path = const_cast<Path*>(this);
  state->hook = stage.hook;
  switch (stage.hook) {
    case Hook::kPrerouting:
      SetDeviceName(packet.in, &state->in);
      break;
    case Hook::kInput:
      SetDeviceName(packet.in, &state->in);
      state->route = RouteKind::kLocal;
      break;
    case Hook::kForward:
      SetDeviceName(packet.in, &state->in);
      SetDeviceName(packet.out, &state->out);
      state->route = RouteKind::kForward;
      break;
    case Hook::kOutput:
    case Hook::kPostrouting:
      SetDeviceName(packet.out, &state->out);
      state->route = RouteKind::kOutput;
      break;
  }
}

void Path::AddAnswer(std::span<const uint8_t> bytes) {
  impl_->waiting.assign(bytes.begin(), bytes.end());
  impl_->has_waiting = true;
}

void Path::Run(const Packet& packet, const ClassifyOptions& options,
               Outcome* outcome) {
  Impl& impl = *impl_;
  outcome->Clear();
  PacketState* state = &impl.main;
  impl.has_waiting = false;
  impl.depth = 0;
  if (!options.full_path) {
    Place(packet, {options.table, options.hook}, state);
    state->outcome = outcome;
    if (impl.Evaluate(options.table, options.hook, state) ==
        Impl::Step::kGoOn) {
      outcome->verdict = VerdictKind::kAccept;
      outcome->bytes.assign(state->bytes.begin(), state->bytes.end());
      outcome->mark = state->mark;
      outcome->priority = state->priority;
    }
    return;
  }
  impl.Reset(packet, outcome, state);
  state->path = this;
  impl.Walk(state);
  if (impl.tracking && !outcome->indeterminate.empty()) {
    impl.tracker->Taint(*state, outcome->indeterminate);
  }
  impl.tracker->Release(state);
}

void Path::Impl::Walk(PacketState* state) {
  if (state->local_out) {
    WalkOutgoing(state);
  } else {
    SetDeviceName(state->origin->in, &state->in);
    WalkArriving(state);
  }
}

Path::Impl::Step Path::Impl::End(VerdictKind kind, PacketState* state) {
  // An answer's fate shows only in that it is sent or not, a copy's not at all.
  if (state->answer || state->looped) return Step::kEnd;
  Outcome* outcome = state->outcome;
  outcome->verdict = kind;
  if (kind == VerdictKind::kAccept || kind == VerdictKind::kQueue) {
    outcome->bytes.assign(state->bytes.begin(), state->bytes.end());
    outcome->mark = state->mark;
  }
  if (kind == VerdictKind::kAccept) {
    outcome->priority = state->priority;
    if (state->hook == Hook::kPostrouting) {
      outcome->out = DeviceName(state->out);
    }
  }
  return Step::kEnd;
}

Path::Impl::Step Path::Impl::Evaluate(TableKind table, Hook hook,
                                      PacketState* state) {
  const Stage stage{table, hook};
  if (!evaluator->HasStage(stage)) return Step::kGoOn;
  state->hook = hook;
  const size_t trace = state->outcome->trace.size();
  const size_t logs = state->outcome->logs.size();
  const StageVerdict verdict = evaluator->Evaluate(stage, state);
  if (state->answer || state->looped) {
    // The outcome tells the packet's own story, not that of its answers.
    state->outcome->trace.resize(trace);
    state->outcome->logs.resize(logs);
  } else {
    state->outcome->decided_by = verdict.rule;
  }
  if (has_waiting) SendWaiting(*state);
  if (verdict.kind == VerdictKind::kAccept) return Step::kGoOn;
  if (verdict.kind == VerdictKind::kQueue && !state->answer && !state->looped) {
    state->outcome->queue = verdict.queue;
  }
  return End(verdict.kind, state);
}

void Path::Impl::SendWaiting(const PacketState& rejected) {
  has_waiting = false;
  if (depth == kMaxDepth) return;
  PacketState* state = &answers[depth];
  Packet* origin = &answer_origins[depth];
  ++depth;
  origin->family = rejected.family;
  origin->bytes.swap(waiting);
  origin->time_ms = rejected.now_ms;
  Reset(*origin, rejected.outcome, state);
  state->path = rejected.path;
  state->answer = true;
  if (rejected.family == Family::kIpv6) {
    SetDeviceName(LinkOfError(rejected), &state->out);
  }
  tracker->Attach(state, rejected);
  if (state->headers.ok && state->headers.protocol == IPPROTO_TCP) {
    tracker->SetClosing(state);
  }
  WalkOutgoing(state);
  tracker->Release(state);
  --depth;
}

void Path::Impl::Answer(uint8_t type, uint8_t code, PacketState* state) {
  if (BuildIcmpError(*state, type, code, 0, &waiting)) SendWaiting(*state);
}

Path::Impl::Step Path::Impl::TrackIfOn(PacketState* state) {
  if (!tracking) return Step::kGoOn;
  if (!tracker->Track(state)) return End(VerdictKind::kDrop, state);
  return Step::kGoOn;
}

Path::Impl::Step Path::Impl::Defragment(DefragUser user, PacketState* state) {
  switch (reassembler.Add(state, user)) {
    case DefragResult::kWhole:
      return Step::kGoOn;
    case DefragResult::kQueued:
    case DefragResult::kDropped:
      // ipv4_conntrack_defrag() steals both; of IPv6 nobody can tell them apart
      // from outside.  On delivery no hook of a rule sees the fragment.
      return End(user == DefragUser::kDelivery ? VerdictKind::kUnrouted
                                               : VerdictKind::kStolen,
                 state);
  }
  return Step::kGoOn;
}

Path::Impl::Step Path::Impl::Nat(Hook hook, PacketState* state) {
  state->hook = hook;
  if (!tracking || !nat || state->connection == nullptr) return Step::kGoOn;
  if (tracker->WantsNatRules(*state, hook)) {
    if (Evaluate(TableKind::kNat, hook, state) == Step::kEnd) return Step::kEnd;
    if (tracker->WantsNatRules(*state, hook) &&
        !tracker->SetupNullNat(state, hook)) {
      return End(VerdictKind::kDrop, state);
    }
  }
  if (!tracker->TranslatePacket(state, hook)) {
    return End(VerdictKind::kDrop, state);
  }
  return Step::kGoOn;
}

Path::Impl::Step Path::Impl::Confirm(PacketState* state) {
  if (!tracking || tracker->Confirm(state)) return Step::kGoOn;
  return End(VerdictKind::kDrop, state);
}

Path::Impl::Step Path::Impl::Receive(PacketState* state) {
  // ip_rcv_core(), ip6_rcv_core().
  if (!state->headers.ok) return End(VerdictKind::kUnrouted, state);
  const bool lo = DeviceName(state->in) == "lo";
  if (state->family == Family::kIpv4) {
    const size_t length = static_cast<size_t>(state->bytes[0] & 0xf) * 4;
    if (ChecksumFold(
            ChecksumPartial(std::span(state->bytes).subspan(0, length))) != 0) {
      return End(VerdictKind::kUnrouted, state);
    }
  } else {
    const Address src = SourceOf(*state);
    const Address dst = DestinationOf(*state);
    Address loopback{};
    loopback[15] = 1;
    const int scope = dst[1] & 0xf;
    if ((!lo && (src == loopback || dst == loopback)) || src[0] == 0xff ||
        (dst[0] == 0xff &&
         (scope == 0 || (scope == 1 && !lo && !state->looped)))) {
      return End(VerdictKind::kUnrouted, state);
    }
    if (state->bytes[6] == 0 && !HopByHopOk(state)) {
      return End(VerdictKind::kUnrouted, state);
    }
  }
  // The device may have padded the frame.
  state->bytes.resize(state->headers.total_length);
  return Step::kGoOn;
}

void Path::Impl::WalkArriving(PacketState* state) {
  state->hook = Hook::kPrerouting;
  if (Receive(state) == Step::kEnd) return;
  if (tracking && Defragment(DefragUser::kTrackingIn, state) == Step::kEnd) {
    return;
  }
  if (Evaluate(TableKind::kRaw, Hook::kPrerouting, state) == Step::kEnd) return;
  state->hook = Hook::kPrerouting;
  if (TrackIfOn(state) == Step::kEnd) return;
  if (Evaluate(TableKind::kMangle, Hook::kPrerouting, state) == Step::kEnd) {
    return;
  }
  const Address dst = DestinationOf(*state);
  if (Nat(Hook::kPrerouting, state) == Step::kEnd) return;

  // What came over lo has its route from the sending side, until it is sent
  // elsewhere.
  const bool kept = state->looped || DeviceName(state->in) == "lo";
  if (kept && DestinationOf(*state) == dst) {
    Deliver(state);
    return;
  }
  const RouteDecision route = topology->FindRoute(
      DeviceName(state->in), SourceOf(*state), DestinationOf(*state));
  if (!route.ok || !Ipv4OptionsOk(state)) {
    // ip6_pkt_discard(): no route to the destination.
    if (!route.ok && state->family == Family::kIpv6) Answer(1, 0, state);
    End(VerdictKind::kUnrouted, state);
    return;
  }
  if (route.local) {
    state->route = route.broadcast   ? RouteKind::kBroadcast
                   : route.multicast ? RouteKind::kMulticast
                                     : RouteKind::kLocal;
    Deliver(state);
    return;
  }
  state->route = RouteKind::kForward;
  Forward(route.out, state);
}

Path::Impl::Step Path::Impl::Deliver(PacketState* state) {
  if (state->route == RouteKind::kNone || state->route == RouteKind::kOutput) {
    state->route = RouteKind::kLocal;
  }
  state->out.fill('\0');
  // ip_local_deliver() comes with whole datagrams only; IPv6 puts them together
  // behind the hook.
  if (state->family == Family::kIpv4 &&
      Defragment(DefragUser::kDelivery, state) == Step::kEnd) {
    return Step::kEnd;
  }
  for (TableKind table :
       {TableKind::kMangle, TableKind::kFilter, TableKind::kSecurity}) {
    if (Evaluate(table, Hook::kInput, state) == Step::kEnd) return Step::kEnd;
  }
  if (Nat(Hook::kInput, state) == Step::kEnd) return Step::kEnd;
  if (Confirm(state) == Step::kEnd) return Step::kEnd;
  state->hook = Hook::kInput;
  return Accept(state);
}

Path::Impl::Step Path::Impl::Accept(PacketState* state) {
  if (!state->answer || state->looped) {
    return End(VerdictKind::kAccept, state);
  }
  const bool here = state->hook == Hook::kInput;
  state->outcome->emissions.push_back(
      Emission{.out = here ? "lo" : std::string(DeviceName(state->out)),
               .bytes = state->bytes,
               .mark = state->mark});
  return Step::kEnd;
}

Path::Impl::Step Path::Impl::ForwardChecks(PacketState* state) {
  // ip_forward(), ip6_forward(), up to the hook.
  const auto& mac = state->origin->mac_dst;
  if (mac && ((*mac)[0] & 1) != 0) return End(VerdictKind::kUnrouted, state);
  const bool v4 = state->family == Family::kIpv4;
  const uint8_t ttl = state->bytes[v4 ? 8 : 7];
  if (ttl <= 1) {
    Answer(v4 ? 11 : 3, 0, state);
    return End(VerdictKind::kUnrouted, state);
  }
  if (v4) {
    state->priority = PriorityOfTos(state->bytes[1]);
  } else if (state->in != state->out) {
    const Address src = SourceOf(*state);
    Address loopback{};
    loopback[15] = 1;
    if (src == Address{} || src == loopback || src[0] == 0xff) {
      return End(VerdictKind::kUnrouted, state);
    }
    if (IsIpv6LinkLocal(src)) {
      Answer(1, 2, state);  // not a neighbour
      return End(VerdictKind::kUnrouted, state);
    }
  }
  RewriteTtl(state, static_cast<uint8_t>(ttl - 1));
  return Step::kGoOn;
}

Path::Impl::Step Path::Impl::Forward(std::string_view out, PacketState* state) {
  SetDeviceName(out, &state->out);
  if (ForwardChecks(state) == Step::kEnd) return Step::kEnd;
  for (TableKind table :
       {TableKind::kMangle, TableKind::kFilter, TableKind::kSecurity}) {
    if (Evaluate(table, Hook::kForward, state) == Step::kEnd) return Step::kEnd;
  }
  return Postrouting(out, state);
}

Path::Impl::Step Path::Impl::PostroutingHook(std::string_view out,
                                             PacketState* state) {
  SetDeviceName(out, &state->out);
  if (Evaluate(TableKind::kMangle, Hook::kPostrouting, state) == Step::kEnd ||
      Nat(Hook::kPostrouting, state) == Step::kEnd ||
      Confirm(state) == Step::kEnd) {
    return Step::kEnd;
  }
  state->hook = Hook::kPostrouting;
  return Step::kGoOn;
}

Path::Impl::Step Path::Impl::Postrouting(std::string_view out,
                                         PacketState* state) {
  if (state->route == RouteKind::kOutput && out != "lo") {
    const Address dst = DestinationOf(*state);
    switch (topology->TypeOf(dst)) {
      case AddressType::kBroadcast:
        return Broadcast(out, state);
      case AddressType::kMulticast:
        // What the stack itself sends to a group of this host comes back;
        // sockets are taken to have IP_MULTICAST_LOOP off.
        if (state->answer && topology->IsMember(out, dst)) {
          return Broadcast(out, state);
        }
        // ip_mc_output() keeps what has no hop left; what ip6_finish_output2()
        // keeps has passed its last hook.
        if (state->family == Family::kIpv4 && state->bytes[8] == 0 &&
            topology->IsMember(out, dst)) {
          return End(VerdictKind::kUnrouted, state);
        }
        break;
      default:
        break;
    }
  }
  if (PostroutingHook(out, state) == Step::kEnd) return Step::kEnd;
  if (state->refragmented) {
    // The fragments it leaves in are those it came in, which is the stack's
    // affair and no ruleset's.
    state->MarkIndeterminate("a datagram that leaves in fragments");
  }
  if (out == "lo") {
    Loop(state);
    return Step::kEnd;
  }
  return Accept(state);
}

bool Path::Impl::SendCopy(std::string_view out, const PacketState& state) {
  // The copy shares connection and mark; PacketState's assignment copies the
  // pointer, Share() the reference.
  copy = state;
  copy.looped = true;
  tracker->Share(&copy);
  if (PostroutingHook(out, &copy) == Step::kGoOn) return true;
  tracker->Release(&copy);
  return false;
}

Path::Impl::Step Path::Impl::Broadcast(std::string_view out,
                                       PacketState* state) {
  // ip_mc_output() sends a copy through POSTROUTING before the original; what
  // passes is received on the same device once the original is gone.
  state->MarkIndeterminate("a broadcast of this host, which comes back to it");
  const bool back = SendCopy(out, *state);
  if (PostroutingHook(out, state) == Step::kGoOn) Accept(state);
  if (back) {
    SetDeviceName(out, &copy.in);
    copy.out.fill('\0');
    copy.route = RouteKind::kBroadcast;
    WalkArriving(&copy);
    tracker->Release(&copy);
  }
  return Step::kEnd;
}

void Path::Impl::Loop(PacketState* state) {
  // loopback_xmit(): connection and mark stay, the route too.
  SetDeviceName("lo", &state->in);
  state->out.fill('\0');
  WalkArriving(state);
}

RouteDecision Path::Impl::RouteOfAnswer(const PacketState& state) const {
  // nf_send_reset() asks as if a rule had changed the packet, icmp6_send() for
  // the device of the packet in question; nf_send_reset6() and the socket of
  // icmp_send() for any.
  const Address src = SourceOf(state);
  const Address dst = DestinationOf(state);
  const bool v4 = state.family == Family::kIpv4;
  const bool reset = state.headers.protocol == IPPROTO_TCP;
  if (v4 != reset) return topology->FindRoute("", src, dst);
  return topology->FindRouteAgain(v4 ? "" : DeviceName(state.out), src, dst);
}

Path::Impl::Step Path::Impl::RouteAgain(std::string_view* out,
                                        PacketState* state) {
  // The hook keeps the device it began with: filter's -o sees the old one.
  const RouteDecision route =
      topology->FindRouteAgain(*out, SourceOf(*state), DestinationOf(*state));
  if (!route.ok) return End(VerdictKind::kDrop, state);
  *out = route.out;
  state->routed_here = route.out == "lo";
  return Step::kGoOn;
}

void Path::Impl::WalkOutgoing(PacketState* state) {
  state->hook = Hook::kOutput;
  if (!state->headers.ok) {
    End(VerdictKind::kUnrouted, state);
    return;
  }
  state->bytes.resize(state->headers.total_length);
  // A raw socket routes by the destination alone.
  const RouteDecision route =
      state->answer ? RouteOfAnswer(*state)
                    : topology->FindRoute("", Address{}, DestinationOf(*state));
  if (!route.ok) {
    End(VerdictKind::kUnrouted, state);
    return;
  }
  std::string_view out = route.out;
  if (state->family == Family::kIpv4 && !state->answer) {
    // raw_send_hdrinc() fills in a missing source and the checksum.
    if (SourceOf(*state) == Address{}) {
      const auto source = out == "lo"
                              ? std::optional<Address>(DestinationOf(*state))
                              : topology->PrimaryAddress(out);
      if (source) std::copy_n(source->begin(), 4, &state->bytes[12]);
    }
    FixIpv4Checksum(state->bytes);
  }
  state->route = RouteKind::kOutput;
  state->routed_here = out == "lo";
  SetDeviceName(out, &state->out);
  if (tracking && Defragment(DefragUser::kTrackingOut, state) == Step::kEnd) {
    return;
  }
  if (Evaluate(TableKind::kRaw, Hook::kOutput, state) == Step::kEnd) return;
  state->hook = Hook::kOutput;
  if (TrackIfOn(state) == Step::kEnd) return;
  const RouteKey before = RouteKeyOf(*state);
  if (Evaluate(TableKind::kMangle, Hook::kOutput, state) == Step::kEnd) return;
  if (RouteKeyOf(*state) != before && RouteAgain(&out, state) == Step::kEnd) {
    return;
  }
  const Address dst = DestinationOf(*state);
  if (Nat(Hook::kOutput, state) == Step::kEnd) return;
  if (DestinationOf(*state) != dst && RouteAgain(&out, state) == Step::kEnd) {
    return;
  }
  if (Evaluate(TableKind::kFilter, Hook::kOutput, state) == Step::kEnd ||
      Evaluate(TableKind::kSecurity, Hook::kOutput, state) == Step::kEnd) {
    return;
  }
  Postrouting(out, state);
}

namespace {

constexpr std::array<std::string_view, 8> kTrackingMatches = {
    "state",     "conntrack", "connmark", "connbytes",
    "connlimit", "connlabel", "helper",   "cluster"};
constexpr std::array<std::string_view, 8> kTrackingTargets = {
    "CONNMARK", "CONNSECMARK", "SNAT",   "DNAT",
    "REDIRECT", "MASQUERADE",  "NETMAP", "SYNPROXY"};

/// Whether the checkentry of this extension calls nf_ct_netns_get().
bool MatchTracks(const Extension& match) {
  return std::find(kTrackingMatches.begin(), kTrackingMatches.end(),
                   match.name) != kTrackingMatches.end();
}

bool TargetTracks(const Extension& target) {
  if (target.name == "CT") {
    // XT_CT_NOTRACK, the first bit of the first word, needs no tracker.
    return target.payload.size() < 2 ||
           (LoadRaw16(target.payload.data()) & 1) == 0;
  }
  return std::find(kTrackingTargets.begin(), kTrackingTargets.end(),
                   target.name) != kTrackingTargets.end();
}

}  // namespace

bool NeedsTracking(const Ruleset& ruleset) {
  for (const Table& table : ruleset.tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        if (rule.target.kind == TargetKind::kExtension &&
            TargetTracks(rule.target.extension)) {
          return true;
        }
        for (const Extension& match : rule.matches) {
          if (MatchTracks(match)) return true;
        }
      }
    }
  }
  return false;
}

}  // namespace nfarena
