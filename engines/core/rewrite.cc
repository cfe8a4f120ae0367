#include "engines/core/rewrite.h"

#include <algorithm>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"

namespace nfarena {
namespace {

constexpr uint8_t kTcp = 6, kUdp = 17, kDccp = 33, kSctp = 132, kIcmpv6 = 58,
                  kUdplite = 136;

/// Where the upper-layer checksum of this packet is, or nullptr: it covers the
/// addresses only in the protocols with a pseudo header.
uint8_t* TransportChecksum(PacketState* packet) {
  const Headers& headers = packet->headers;
  if (!headers.transport_ok || headers.fragment_offset != 0) return nullptr;
  size_t offset = 0;
  size_t needed = 0;
  switch (headers.protocol) {
    case kTcp:
      offset = 16, needed = 20;
      break;
    case kUdp:
    case kUdplite:
      offset = 6, needed = 8;
      break;
    case kDccp:
      offset = 6, needed = 12;
      break;
    case kIcmpv6:
      if (packet->family != Family::kIpv6) return nullptr;
      offset = 2, needed = 8;
      break;
    default:
      return nullptr;
  }
  if (headers.transport + needed > packet->bytes.size()) return nullptr;
  uint8_t* field = &packet->bytes[headers.transport + offset];
  // A UDP packet without a checksum keeps none.
  if (headers.protocol == kUdp && LoadRaw16(field) == 0) return nullptr;
  return field;
}

/// UDP never sends a computed zero.
void StoreChecksum(uint8_t protocol, uint8_t* field, uint16_t check) {
  if (check == 0 && (protocol == kUdp || protocol == kUdplite)) check = 0xffff;
  StoreRaw16(field, check);
}

}  // namespace

bool RewriteAddress(PacketState* packet, bool source, const Address& address) {
  if (!packet->headers.ok) return false;
  const bool v4 = packet->family == Family::kIpv4;
  const size_t at = v4 ? (source ? 12 : 16) : (source ? 8 : 24);
  const size_t size = v4 ? 4 : 16;
  uint8_t* field = &packet->bytes[at];
  Address old{};
  std::copy_n(field, size, old.begin());
  if (uint8_t* check = TransportChecksum(packet)) {
    const uint16_t value =
        v4 ? ChecksumReplace4(LoadRaw16(check), LoadRaw32(old.data()),
                              LoadRaw32(address.data()))
           : ChecksumReplace16(LoadRaw16(check), old, address);
    StoreChecksum(packet->headers.protocol, check, value);
  }
  if (v4) {
    uint8_t* check = &packet->bytes[10];
    StoreRaw16(check, ChecksumReplace4(LoadRaw16(check), LoadRaw32(old.data()),
                                       LoadRaw32(address.data())));
  }
  std::copy_n(address.begin(), size, field);
  return true;
}

bool RewritePort(PacketState* packet, bool source, uint16_t port) {
  const Headers& headers = packet->headers;
  if (!headers.transport_ok || headers.fragment_offset != 0) return false;
  switch (headers.protocol) {
    case kTcp:
    case kUdp:
    case kUdplite:
    case kDccp:
    case kSctp:
      break;
    default:
      return false;
  }
  if (headers.transport + 8u > packet->bytes.size()) return false;
  uint8_t* field = &packet->bytes[headers.transport + (source ? 0u : 2u)];
  const uint16_t old = LoadRaw16(field);
  uint8_t* check = TransportChecksum(packet);
  StoreBe16(field, port);
  if (check != nullptr) {
    StoreChecksum(headers.protocol, check,
                  ChecksumReplace2(LoadRaw16(check), old, LoadRaw16(field)));
  }
  return true;
}

bool RewriteTos(PacketState* packet, uint8_t keep_mask, uint8_t value) {
  if (!packet->headers.ok) return false;
  uint8_t* bytes = packet->bytes.data();
  if (packet->family == Family::kIpv6) {
    const auto old = static_cast<uint8_t>(LoadBe16(bytes) >> 4);
    const auto tos = static_cast<uint8_t>((old & keep_mask) | value);
    StoreBe16(bytes,
              static_cast<uint16_t>((LoadBe16(bytes) & 0xf00f) | (tos << 4)));
    return true;
  }
  // ipv4_change_dsfield() of include/net/dsfield.h, with its own carry rule.
  uint32_t check = LoadBe16(bytes + 10);
  const auto tos = static_cast<uint8_t>((bytes[1] & keep_mask) | value);
  check += bytes[1];
  if (((check + 1) >> 16) != 0) check = (check + 1) & 0xffff;
  check -= tos;
  check += check >> 16;
  StoreBe16(bytes + 10, static_cast<uint16_t>(check));
  bytes[1] = tos;
  return true;
}

bool RewriteTtl(PacketState* packet, uint8_t ttl) {
  if (!packet->headers.ok) return false;
  uint8_t* bytes = packet->bytes.data();
  if (packet->family == Family::kIpv6) {
    bytes[7] = ttl;
    return true;
  }
  // ttl_tg() of net/netfilter/xt_HL.c: the word of TTL as the high byte.
  const auto from = static_cast<uint16_t>(bytes[8] << 8);
  const auto to = static_cast<uint16_t>(ttl << 8);
  if (from == to) return true;
  std::array<uint8_t, 4> words{};
  StoreBe16(&words[0], from);
  StoreBe16(&words[2], to);
  StoreRaw16(bytes + 10,
             ChecksumReplace2(LoadRaw16(bytes + 10), LoadRaw16(&words[0]),
                              LoadRaw16(&words[2])));
  bytes[8] = ttl;
  return true;
}

}  // namespace nfarena
