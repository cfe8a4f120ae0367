// Reading a packet: the few accesses that conditions and actions share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engines/core/bytes.h"
#include "engines/core/packet_state.h"

namespace nfarena::reference {

inline bool IsIpv4(const PacketState& packet) {
  return packet.family == Family::kIpv4;
}

/// `length` bytes at `offset`, or nothing when the packet ends before.
inline std::optional<std::span<const uint8_t>> BytesAt(
    const PacketState& packet, size_t offset, size_t length) {
  if (offset > packet.bytes.size() || packet.bytes.size() - offset < length) {
    return std::nullopt;
  }
  return std::span<const uint8_t>(packet.bytes).subspan(offset, length);
}

/// `length` bytes of the upper-layer header.
inline std::optional<std::span<const uint8_t>> Transport(
    const PacketState& packet, size_t length) {
  return BytesAt(packet, packet.headers.transport, length);
}

/// TOS byte or traffic class.
inline uint8_t TosOf(const PacketState& packet) {
  if (IsIpv4(packet)) return packet.bytes[1];
  return static_cast<uint8_t>(LoadBe16(packet.bytes.data()) >> 4 & 0xff);
}

/// TTL or hop limit.
inline uint8_t TtlOf(const PacketState& packet) {
  return packet.bytes[IsIpv4(packet) ? 8 : 7];
}

}  // namespace nfarena::reference
