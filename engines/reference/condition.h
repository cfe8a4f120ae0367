// Whether one match holds for a packet, from its meaning.
#pragma once

#include "engines/core/packet_state.h"
#include "engines/reference/program.h"
#include "engines/reference/shared_memory.h"

namespace nfarena::reference {

/// The entry's own test: addresses, devices, protocol, fragment.  Sets
/// `packet->hotdrop` when an IPv6 rule asks for a protocol and the packet's
/// extension headers are broken.
/// Source: ip_packet_match(), ip6_packet_match().
bool SelectorHolds(const Selector& selector, PacketState* packet);

/// Sets `packet->hotdrop` when the packet is too broken to be asked about (the
/// answer is then false), and marks its outcome indeterminate when the answer
/// depends on chance or the clock.
bool Holds(MatchMeaning* match, SharedMemory* shared, PacketState* packet);

}  // namespace nfarena::reference
