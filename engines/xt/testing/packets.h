// Packets for the tests of matches and targets, built field by field.
//
//   Ipv4().From("192.0.2.9").Tcp(40000, 22, kSyn).Build()
//
// Lengths and checksums are right unless a test cuts the packet afterwards.
#pragma once

#include <netinet/in.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/testing/addresses.h"
#include "engines/core/packet.h"

namespace nfarena::xt::testing {

inline constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08,
                         kAck = 0x10, kUrg = 0x20, kEce = 0x40, kCwr = 0x80;

using nfarena::testing::ParseAddress;

class PacketBuilder {
 public:
  explicit PacketBuilder(Family family);

  PacketBuilder& From(std::string_view address);
  PacketBuilder& To(std::string_view address);
  PacketBuilder& Tos(uint8_t tos);
  PacketBuilder& Ttl(uint8_t ttl);
  PacketBuilder& DontFragment();
  /// IPv4: the header's fields; IPv6: a fragment header.  `offset` in units of
  /// 8 bytes.
  PacketBuilder& Fragment(uint16_t offset, bool more);
  /// IPv6 extension header of any kind but fragment, `body` from its third
  /// byte on; the length is computed.
  PacketBuilder& Extension(uint8_t kind, std::vector<uint8_t> body);

  PacketBuilder& Tcp(uint16_t sport, uint16_t dport, uint8_t flags = kSyn,
                     std::vector<uint8_t> options = {});
  PacketBuilder& Sequence(uint32_t sequence, uint32_t acknowledgement);
  PacketBuilder& Udp(uint16_t sport, uint16_t dport, uint8_t protocol = 17);
  PacketBuilder& Icmp(uint8_t type, uint8_t code);  // ICMPv6 for IPv6
  PacketBuilder& Protocol(uint8_t protocol, std::vector<uint8_t> bytes);
  PacketBuilder& Data(std::vector<uint8_t> data);
  PacketBuilder& Data(std::string_view data);

  PacketBuilder& In(std::string_view device);
  PacketBuilder& Out(std::string_view device);
  PacketBuilder& Mark(uint32_t mark);
  PacketBuilder& Owner(uint32_t uid, uint32_t gid);
  PacketBuilder& Mac(std::array<uint8_t, 6> src, std::array<uint8_t, 6> dst);
  PacketBuilder& At(uint64_t time_ms);
  /// Keeps only so many bytes of the upper layer; lengths say the same.
  PacketBuilder& Cut(size_t upper_bytes);

  Packet Build() const;

 private:
  struct ExtensionHeader {
    uint8_t kind;
    std::vector<uint8_t> body;
  };

  Family family_;
  Packet packet_;  // everything but the bytes
  Address src_, dst_;
  uint8_t tos_ = 0;
  uint8_t ttl_ = 64;
  bool dont_fragment_ = false;
  bool fragment_ = false;
  uint16_t fragment_offset_ = 0;
  bool more_fragments_ = false;
  std::vector<ExtensionHeader> extensions_;
  uint8_t protocol_ = 17;
  std::vector<uint8_t> upper_;
  size_t cut_ = SIZE_MAX;
};

inline PacketBuilder Ipv4() { return PacketBuilder(Family::kIpv4); }
inline PacketBuilder Ipv6() { return PacketBuilder(Family::kIpv6); }

}  // namespace nfarena::xt::testing
