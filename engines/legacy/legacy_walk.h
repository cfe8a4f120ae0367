// ipt_do_table() and ip6t_do_table(): one packet through one chain.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/core/packet_state.h"
#include "engines/legacy/legacy_program.h"

namespace nfarena {

/// What one walker changes; one a thread, sized for one program.
struct LegacyContext {
  std::vector<Counters> counters;    // one an entry
  std::vector<uint64_t> state;       // match and target state, 8-aligned
  std::vector<uint32_t> jump_stack;  // offsets of jumping entries

  LegacyContext() = default;
  /// Zero counters, initial state.
  explicit LegacyContext(const LegacyProgram& program);
};

/// Runs `packet` through the chain of `hook`, which the table must have.
/// Rules that match are counted, and added to packet->outcome's trace when
/// `trace` is set.
StageVerdict WalkLegacy(const LegacyProgram& program, Hook hook, bool trace,
                        LegacyContext* context, PacketState* packet);

}  // namespace nfarena
