// The probe: an nf_tables table of our own around the ruleset under test, and
// the socket on which it reports.
//
//   chain       hook         priority   what it does
//   mark        PREROUTING   first      gives arriving packets their fwmark
//   pre_begin   PREROUTING   first      switches tracing on (not for lo)
//   out_begin   OUTPUT       first      the same for packets of a socket; what
//                                       the stack says on its own (IGMP, MLD,
//                                       neighbour discovery) ends here
//   *_begin,    each hook    first,     empty: a traced packet's passing is a
//   *_end                    last       trace record, which tells a drop in a
//                                       hook from a drop between the hooks
//   in_end      INPUT        last       logs the packet with its bytes, mark
//   post_end    POSTROUTING  last       and devices, and drops it; out of lo it
//                                       goes on
//
// A log record of the last chains is the proof that the packet was accepted;
// since it then ends, no socket answers and no device has to be read.
//
// Priority "last" is INT_MAX, that of conntrack's confirmation.  Of hooks with
// equal priority the one registered later runs first (nf_hook_entries_grow()),
// so a probe made before any ruleset stays behind the confirmation.
//
// REJECT's answers and other packets made by the stack have no socket and are
// not traced: by that they are told from the packet that caused them.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/kernel/events.h"
#include "engines/kernel/namespace.h"
#include "engines/kernel/netlink.h"

namespace nfarena::kernel {

inline constexpr std::string_view kProbeTable = "nfarena_probe";

enum class ProbeMode : uint8_t {
  kObserve,  // trace, log, drop at the end
  kTime,     // only drop at the end
};

/// The probe's chains whose trace records mean something.
enum class Marker : uint8_t {
  kPreroutingBegin,
  kPreroutingEnd,
  kInputBegin,
  kInputEnd,
  kForwardBegin,
  kForwardEnd,
  kOutputBegin,
  kOutputEnd,
  kPostroutingBegin,
  kPostroutingEnd,
};
/// nullopt when the event is not a trace record of one of these chains.
std::optional<Marker> MarkerOf(const Event& event);

class Probe {
 public:
  /// Sets the probe up in `ns`; to be called before any ruleset is loaded.
  /// Errors: kSystem (nf_tables, nfnetlink_log or nfnetlink_queue missing).
  [[nodiscard]] static Result<Probe> Create(const Namespace& ns, Family family);

  [[nodiscard]] Status SetMode(ProbeMode mode);
  ProbeMode mode() const { return mode_; }
  /// The fwmark of packets arriving from now on.
  [[nodiscard]] Status SetMark(uint32_t mark);
  /// Listens to these nflog groups and queues besides those before.
  [[nodiscard]] Status Listen(const std::set<uint16_t>& groups,
                              const std::set<uint16_t>& queues);

  /// Reads what has been reported since the last call; the views of the events
  /// are valid until the next call.
  /// Errors: kSystem (reports were lost: the receive buffer was too small).
  [[nodiscard]] Result<std::span<const Event>> Drain();
  /// Waits up to `timeout_ms` for something to be reported.
  bool Wait(int timeout_ms) const;
  /// Drops a queued packet.
  [[nodiscard]] Status DropQueued(const Event& event);
  /// Throws away all that is reported, also when some of it was lost.
  void Discard();

 private:
  Probe(Family family, NetlinkSocket control, NetlinkSocket events);
  Status SendBatch(const MessageBuilder& batch, std::string_view what);

  Family family_;
  ProbeMode mode_ = ProbeMode::kObserve;
  uint32_t mark_ = 0;
  NetlinkSocket control_;
  NetlinkSocket events_;
  std::set<uint16_t> groups_, queues_;
  std::vector<uint8_t> arena_;  // what Drain received
  std::vector<Event> drained_;  // views into arena_
};

}  // namespace nfarena::kernel
