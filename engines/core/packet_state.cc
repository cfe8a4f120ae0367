#include "engines/core/packet_state.h"

#include <algorithm>

#include "engines/core/bytes.h"
#include "engines/core/tracker.h"

namespace nfarena {
namespace {

// Next-header numbers of RFC 8200, RFC 4302.
constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kAuth = 51,
                  kNoNext = 59, kDestination = 60;

/// ipv6_ext_hdr() of net/ipv6/exthdrs_core.c.
bool IsExtensionHeader(uint8_t next) {
  switch (next) {
    case kHopByHop:
    case kRouting:
    case kFragment:
    case kAuth:
    case kNoNext:
    case kDestination:
      return true;
    default:
      return false;
  }
}

Headers Ipv4HeadersOf(std::span<const uint8_t> bytes) {
  Headers headers;
  if (bytes.size() < 20 || (bytes[0] >> 4) != 4) return headers;
  const size_t length = static_cast<size_t>(bytes[0] & 0xf) * 4;
  const uint16_t total = LoadBe16(&bytes[2]);
  if (length < 20 || length > bytes.size() || total < length ||
      total > bytes.size()) {
    return headers;
  }
  const uint16_t fragment = LoadBe16(&bytes[6]);
  headers.ok = true;
  headers.transport_ok = true;
  headers.protocol = bytes[9];
  headers.transport = static_cast<uint16_t>(length);
  headers.fragment_offset = fragment & 0x1fff;
  headers.fragment = (fragment & 0x3fff) != 0;
  headers.total_length = total;
  return headers;
}

Headers Ipv6HeadersOf(std::span<const uint8_t> bytes) {
  Headers headers;
  if (bytes.size() < 40 || (bytes[0] >> 4) != 6) return headers;
  const size_t total = 40u + LoadBe16(&bytes[4]);
  if (total > bytes.size() || total > 0xffff) return headers;
  headers.ok = true;
  headers.total_length = static_cast<uint16_t>(total);
  const UpperHeader upper = FindUpperHeader(bytes, 0, /*stop_at_ah=*/false);
  headers.fragment = upper.fragment;
  headers.fragment_offset = upper.fragment_offset;
  headers.transport = upper.offset;
  if (upper.protocol >= 0) {
    headers.transport_ok = true;
    headers.protocol = static_cast<uint8_t>(upper.protocol);
  }
  return headers;
}

}  // namespace

UpperHeader FindUpperHeader(std::span<const uint8_t> bytes, size_t network,
                            bool stop_at_ah) {
  UpperHeader result;
  if (bytes.size() < network + 40) return result;
  uint8_t next = bytes[network + 6];
  size_t at = network + 40;
  // Each round consumes at least 8 bytes, so this ends.
  while (IsExtensionHeader(next) && next != kNoNext) {
    result.offset = static_cast<uint16_t>(std::min<size_t>(at, 0xffff));
    if (at + 2 > bytes.size()) return result;
    const uint8_t following = bytes[at];
    size_t length = (static_cast<size_t>(bytes[at + 1]) + 1) * 8;
    if (next == kRouting && at + 4 > bytes.size()) return result;
    if (next == kFragment) {
      if (at + 4 > bytes.size()) return result;
      const uint16_t word = LoadBe16(&bytes[at + 2]);
      result.fragment = true;
      if ((word & ~7) != 0) {
        // The rest of the chain is in the first fragment.
        if (IsExtensionHeader(following) && following != kNoNext) {
          return result;
        }
        result.protocol = following;
        result.fragment_offset = static_cast<uint16_t>(word >> 3);
        result.offset = static_cast<uint16_t>(std::min<size_t>(at + 8, 0xffff));
        return result;
      }
      length = 8;
    } else if (next == kAuth) {
      if (stop_at_ah) break;
      length = (static_cast<size_t>(bytes[at + 1]) + 2) * 4;
    }
    if (bytes.size() - at < length) return result;
    next = following;
    at += length;
  }
  result.protocol = next;
  result.offset = static_cast<uint16_t>(std::min<size_t>(at, 0xffff));
  return result;
}

Headers HeadersOf(Family family, std::span<const uint8_t> bytes) {
  return family == Family::kIpv4 ? Ipv4HeadersOf(bytes) : Ipv6HeadersOf(bytes);
}

void ParseHeaders(PacketState* packet) {
  packet->headers = HeadersOf(packet->family, packet->bytes);
}

Address SourceOf(const PacketState& packet) {
  Address address{};
  if (packet.family == Family::kIpv4) {
    std::copy_n(&packet.bytes[12], 4, address.begin());
  } else {
    std::copy_n(&packet.bytes[8], 16, address.begin());
  }
  return address;
}

Address DestinationOf(const PacketState& packet) {
  Address address{};
  if (packet.family == Family::kIpv4) {
    std::copy_n(&packet.bytes[16], 4, address.begin());
  } else {
    std::copy_n(&packet.bytes[24], 16, address.begin());
  }
  return address;
}

std::optional<LinkLayer> LinkLayerOf(const PacketState& packet) {
  if (packet.local_out || packet.answer || packet.origin == nullptr) {
    return std::nullopt;
  }
  const Packet& origin = *packet.origin;
  const bool given = origin.mac_src || origin.mac_dst;
  if (!given && (packet.topology == nullptr ||
                 !packet.topology->HasLinkLayer(origin.in))) {
    return std::nullopt;
  }
  LinkLayer layer;
  if (origin.mac_src) layer.src = *origin.mac_src;
  if (origin.mac_dst) layer.dst = *origin.mac_dst;
  return layer;
}

std::optional<uint32_t> ConnectionMarkOf(const PacketState& packet) {
  if (packet.connection != nullptr) return packet.connection->mark;
  if (packet.ct_template.set) return 0;
  return std::nullopt;
}

std::string_view DeviceName(const std::array<char, 16>& device) {
  const auto end = std::find(device.begin(), device.end(), '\0');
  return {device.data(), static_cast<size_t>(end - device.begin())};
}

void SetDeviceName(std::string_view name, std::array<char, 16>* device) {
  device->fill('\0');
  // IFNAMSIZ counts the NUL.
  std::copy_n(name.begin(), std::min<size_t>(name.size(), 15), device->begin());
}

void PacketState::MarkIndeterminate(std::string_view construct) {
  if (outcome != nullptr && outcome->indeterminate.empty()) {
    outcome->indeterminate = construct;
  }
}

}  // namespace nfarena
