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

#include <span>

#include "engines/core/engine.h"
#include "engines/core/packet_state.h"
#include "engines/core/tracker.h"

namespace nfarena {

class Path {
 public:
  /// All three must outlive the path.
  Path(const Topology* topology, Tracker* tracker, StageEvaluator* evaluator);

  /// Walks one packet to its end and fills `outcome`, which is cleared first.
  /// Answers (REJECT) are walked from OUTPUT to their end within this call.
  void Run(const Packet& packet, const ClassifyOptions& options,
           Outcome* outcome);

  /// Prepares a PacketState that stands at `stage` with no path before it; for
  /// benchmarks of one stage.
  void Place(const Packet& packet, Stage stage, PacketState* state) const;

  /// Queues an answer made by REJECT; called by the target while Run walks.
  void AddAnswer(const PacketState& rejected, std::vector<uint8_t> bytes);

 private:
  const Topology* topology_;
  Tracker* tracker_;
  StageEvaluator* evaluator_;
};

}  // namespace nfarena
