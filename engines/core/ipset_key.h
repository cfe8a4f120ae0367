// The element of a set that a packet stands for.
#pragma once

#include <array>
#include <cstdint>

#include "engines/core/ipset.h"

namespace nfarena {

struct IpSetPoint {
  IpSetKey key;  // nets whole: the set's prefix lengths are for the caller
  std::array<char, 16> device{};
  std::array<uint8_t, 6> mac{};  // of bitmap:ip,mac, which keeps it apart
};

/// What the kadt() function of the type reads out of the packet; nothing when
/// the packet has no such element (no port, no Ethernet header, no device, or
/// outside of a bitmap's range).
std::optional<IpSetPoint> IpSetPointOf(const IpSet& set,
                                       const IpSetQuery& query,
                                       const PacketState& packet);

/// Keeps the first `bits`.
Address PrefixOf(const Address& address, uint8_t bits);

/// Address & mask, byte by byte.
Address MaskedBy(const Address& address, const Address& mask);

}  // namespace nfarena
