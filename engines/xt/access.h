// Reading payloads and packets, as every match and target here does it.
//
// A payload is the uapi struct of its extension as bytes.  It is read by
// memcpy, a field at a time where the struct is large, so that no object of
// that type has to exist there; compilers turn this into plain loads.  Packet
// bytes are reached through HeaderAt, which is skb_header_pointer(): nullptr
// when the packet ends before the header does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include "engines/core/bytes.h"
#include "engines/core/packet_state.h"
#include "engines/xt/extension.h"

namespace nfarena::xt {

template <typename T>
T LoadAt(const uint8_t* bytes, size_t offset = 0) {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, bytes + offset, sizeof(value));
  return value;
}

/// LOAD_FIELD(payload, xt_rateinfo, avg)
#define LOAD_FIELD(payload, type, member)                          \
  (::nfarena::xt::LoadAt<                                          \
      std::remove_cvref_t<decltype(std::declval<type>().member)>>( \
      payload, offsetof(type, member)))

/// skb_header_pointer(): `size` bytes at `offset`, or nullptr.
inline const uint8_t* HeaderAt(const PacketState& packet, size_t offset,
                               size_t size) {
  if (offset > packet.bytes.size() || packet.bytes.size() - offset < size) {
    return nullptr;
  }
  return packet.bytes.data() + offset;
}

inline bool IsIpv4(const PacketState& packet) {
  return packet.family == Family::kIpv4;
}

/// Where the addresses are, and how long they are.
inline size_t AddressBytes(const PacketState& packet) {
  return IsIpv4(packet) ? 4 : 16;
}
inline const uint8_t* SourceBytes(const PacketState& packet) {
  return packet.bytes.data() + (IsIpv4(packet) ? 12 : 8);
}
inline const uint8_t* DestinationBytes(const PacketState& packet) {
  return packet.bytes.data() + (IsIpv4(packet) ? 16 : 24);
}
inline Address ToAddress(const uint8_t* bytes, size_t size) {
  Address address{};
  std::memcpy(address.data(), bytes, size);
  return address;
}

/// The TOS byte or traffic class.
inline uint8_t DsField(const PacketState& packet) {
  const uint8_t* p = packet.bytes.data();
  return IsIpv4(packet) ? p[1]
                        : static_cast<uint8_t>((p[0] & 0x0f) << 4 | p[1] >> 4);
}

/// min <= value <= max, inverted or not.
template <typename T>
bool InRange(T value, T min, T max, bool invert) {
  return (value >= min && value <= max) != invert;
}

/// The packet was cut off before a header that a rule asks about: the kernel
/// drops it, because it cannot answer.
inline bool Hotdrop(const XtContext& context) {
  context.packet->hotdrop = true;
  return false;
}

}  // namespace nfarena::xt
