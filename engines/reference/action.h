// What a target does to a packet, from its meaning.
#pragma once

#include <cstdint>

#include "compat/meaning/target.h"
#include "engines/core/packet_state.h"
#include "engines/reference/shared_memory.h"

namespace nfarena::reference {

enum class EffectKind : uint8_t {
  kContinue,  // the next rule is asked
  kAccept,
  kDrop,
  kQueue,
};

struct Effect {
  EffectKind kind = EffectKind::kContinue;
  uint16_t queue = 0;
};

/// Does what `action` says: changes the packet, its connection, its outcome's
/// logs, the ipsets, or sends an answer.
Effect Perform(const Action& action, SharedMemory* shared, PacketState* packet);

}  // namespace nfarena::reference
