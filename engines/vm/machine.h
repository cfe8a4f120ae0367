// The machine that runs a chain's program on a packet.
//
// One loop over rules and instructions as nft_do_chain(): the frequent forms
// (payload of 1, 2 or 4 bytes, cmp and bitwise of up to 4, counter, verdict)
// are cases of its switch, the rest are calls (operations.h).  A rule whose
// instruction breaks counts for nothing; RETURN and the end of a chain pop the
// jump stack, and with nothing on it the base chain's policy speaks.
// Source: net/netfilter/nf_tables_core.c.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/core/packet_state.h"
#include "engines/vm/control_plane.h"

namespace nfarena::vm {

class Machine {
 public:
  explicit Machine(ControlPlane* control) : control_(control) {}

  /// Runs one base chain on the packet.  `table` names the chain in the rules
  /// it reports; with `trace`, every rule that matched joins the outcome's
  /// trace (its counter was reached, or it ran to its end), and as rule 0 the
  /// end of a user chain and the policy.
  StageVerdict Run(Chain* base, TableKind table, bool trace,
                   PacketState* packet);

 private:
  template <bool kTrace>
  StageVerdict RunChain(Chain* base, TableKind table, PacketState* packet);

  ControlPlane* control_;
};

}  // namespace nfarena::vm
