// The way of a packet through the host, as every twin walks it: hooks, tables
// in order of priority, conntrack, NAT, routing, REJECT answers.
//
//   arriving:  PREROUTING raw, [conntrack], mangle, nat
//              -> route -> INPUT mangle, filter, security, nat, [confirm]
//              -> route -> FORWARD mangle, filter, security
//                          -> POSTROUTING mangle, nat, [confirm]
//   sent here: OUTPUT raw, [conntrack], mangle, nat, filter, security
//              -> POSTROUTING
// Source: include/uapi/linux/netfilter_ipv4.h (enum nf_ip_hook_priorities),
// net/ipv4/ip_input.c, ip_forward.c, ip_output.c and their ipv6 twins.
#pragma once

#include <memory>
#include <span>

#include "engines/core/engine.h"
#include "engines/core/packet_state.h"
#include "engines/core/tracker.h"

namespace nfarena {

class Path {
 public:
  /// All three must outlive the path.
  Path(const Topology* topology, Tracker* tracker, StageEvaluator* evaluator);
  ~Path();
  Path(const Path&) = delete;
  Path& operator=(const Path&) = delete;

  /// Walks one packet to its end and fills `outcome`, which is cleared first.
  /// Answers (REJECT) are walked from OUTPUT to their end within this call.
  void Run(const Packet& packet, const ClassifyOptions& options,
           Outcome* outcome);

  /// Prepares a PacketState that stands at `stage` with no path before it; for
  /// benchmarks of one stage.
  void Place(const Packet& packet, Stage stage, PacketState* state) const;

  /// Queues the answer to the packet that Run walks; called by REJECT.  It is
  /// attached to that packet's connection (nf_ct_attach).
  /// The answer is walked once the evaluation of the stage has returned; the
  /// kernel sends it from inside the target, before the rejected packet is
  /// dropped, which no ruleset can tell apart.
  void AddAnswer(std::span<const uint8_t> bytes);

  /// Whether conntrack's hooks are registered; false to begin with.  Instances
  /// call it with NeedsTracking(ruleset) at every Replace.
  void SetTracking(bool tracking);
  bool tracking() const;
  /// Whether nat's hooks are: a nat table exists.
  void SetNat(bool nat);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// Whether the kernel would track connections with this ruleset in force: some
/// rule holds a match or target whose checkentry calls nf_ct_netns_get().
/// Chains that no hook reaches count too.
/// Source: net/netfilter/xt_*.c, ipt_SYNPROXY.c.
bool NeedsTracking(const Ruleset& ruleset);

}  // namespace nfarena
