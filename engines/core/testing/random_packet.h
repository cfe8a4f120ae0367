// Any choices as a packet: of a shape that means something, whole or damaged.
#pragma once

#include <span>

#include "compat/model/testing/choices.h"
#include "engines/core/packet.h"
#include "engines/core/topology.h"

namespace nfarena::testing {

/// A host with eth0 (10.0.0.1/24, 2001:db8::1/64) and eth1 (10.0.1.1/24,
/// 2001:db8:0:1::1/64), and a default route by eth1.
Topology RandomPacketHost(Family family);

/// A packet between few addresses and ports of that host's networks, so that
/// flows come together; sometimes a fragment, an ICMP error that quotes
/// `before`, its answer, or bytes that are no packet at all.
Packet RandomPacket(Family family, std::span<const uint8_t> before,
                    Choices* choices);

}  // namespace nfarena::testing
