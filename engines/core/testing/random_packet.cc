#include "engines/core/testing/random_packet.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/packet_state.h"

namespace nfarena::testing {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kTcp = 6, kUdp = 17, kIcmp = 1, kIcmpv6 = 58;

Address HostAddress(Family family, uint8_t network, uint8_t host) {
  if (family == Family::kIpv4) return {10, 0, network, host};
  return {0x20, 1, 0x0d, 0xb8, 0, 0, 0, network, 0, 0, 0, 0, 0, 0, 0, host};
}

uint16_t Port(Choices* choices) {
  constexpr uint16_t kPorts[] = {22, 80, 1024, 1025};
  return kPorts[choices->Below(std::size(kPorts))];
}

void AppendBe16(uint16_t value, Bytes* bytes) {
  bytes->resize(bytes->size() + 2);
  StoreBe16(bytes->data() + bytes->size() - 2, value);
}

Bytes TcpHeader(Choices* choices) {
  Bytes bytes;
  AppendBe16(Port(choices), &bytes);
  AppendBe16(Port(choices), &bytes);
  bytes.resize(20);
  bytes[7] = choices->Byte();   // sequence
  bytes[11] = choices->Byte();  // acknowledgement
  constexpr uint8_t kFlags[] = {0x02, 0x12, 0x10, 0x11, 0x04, 0x18, 0x14, 0};
  bytes[13] = kFlags[choices->Below(std::size(kFlags))];
  StoreBe16(bytes.data() + 14, 0x7fff);
  const size_t options = 4 * choices->Below(4);
  const Bytes some = choices->Take(options);
  bytes.insert(bytes.end(), some.begin(), some.end());
  bytes[12] = static_cast<uint8_t>((20 + options) / 4 << 4);
  return bytes;
}

Bytes UdpHeader(size_t payload, Choices* choices) {
  Bytes bytes;
  AppendBe16(Port(choices), &bytes);
  AppendBe16(Port(choices), &bytes);
  AppendBe16(static_cast<uint16_t>(8 + payload), &bytes);
  AppendBe16(0, &bytes);
  return bytes;
}

Bytes IcmpHeader(Family family, Choices* choices) {
  constexpr uint8_t kTypes4[] = {8, 0, 3, 11, 12, 5, 13};
  constexpr uint8_t kTypes6[] = {128, 129, 1, 2, 3, 4, 135};
  const size_t at = choices->Below(std::size(kTypes4));
  Bytes bytes(8);
  bytes[0] = family == Family::kIpv4 ? kTypes4[at] : kTypes6[at];
  bytes[1] = static_cast<uint8_t>(choices->Below(5));
  bytes[5] = choices->Byte();
  bytes[7] = choices->Byte();
  return bytes;
}

/// Hop-by-hop, routing, fragment and destination headers in any order.
Bytes ExtensionHeaders(uint8_t protocol, uint8_t* first, Choices* choices) {
  constexpr uint8_t kKinds[] = {0, 43, 44, 60, 51, 59};
  Bytes all;
  uint8_t* next = first;
  std::vector<size_t> next_at;
  for (size_t n = choices->Below(4); n != 0; --n) {
    const uint8_t kind = kKinds[choices->Below(std::size(kKinds))];
    if (next_at.empty()) {
      *next = kind;
    } else {
      all[next_at.back()] = kind;
    }
    next_at.push_back(all.size());
    const uint8_t length = static_cast<uint8_t>(choices->Below(3));
    Bytes header = choices->Take(kind == 44 ? 8 : 8 + 8 * size_t{length});
    if (kind != 44) header[1] = length;
    all.insert(all.end(), header.begin(), header.end());
  }
  if (next_at.empty()) {
    *first = protocol;
  } else {
    all[next_at.back()] = protocol;
  }
  return all;
}

void Append(const Bytes& more, Bytes* bytes) {
  bytes->insert(bytes->end(), more.begin(), more.end());
}

Bytes IpHeader(Family family, uint8_t protocol, Choices* choices) {
  const size_t address = family == Family::kIpv4 ? 4 : 16;
  Bytes bytes(family == Family::kIpv4 ? 20 : 40);
  bytes[0] = family == Family::kIpv4 ? 0x45 : 0x60;
  bytes[family == Family::kIpv4 ? 8 : 7] = choices->OneIn(8) ? 1 : 64;
  bytes[family == Family::kIpv4 ? 9 : 6] = protocol;
  const size_t at = bytes.size() - 2 * address;
  for (size_t i = 0; i < 2; ++i) {
    const Address a =
        HostAddress(family, static_cast<uint8_t>(choices->Below(2)),
                    static_cast<uint8_t>(1 + choices->Below(3)));
    std::copy_n(a.begin(), address, bytes.begin() + at + i * address);
  }
  if (family == Family::kIpv4 && choices->OneIn(8)) {
    StoreBe16(bytes.data() + 4, choices->Byte());
    const uint16_t offset = static_cast<uint16_t>(choices->Below(4));
    StoreBe16(bytes.data() + 6,
              static_cast<uint16_t>(offset | (choices->OneIn(2) ? 0x2000 : 0)));
  }
  return bytes;
}

void FixLength(Family family, Bytes* bytes) {
  if (family == Family::kIpv4) {
    StoreBe16(bytes->data() + 2, static_cast<uint16_t>(bytes->size()));
    FixIpv4Checksum(*bytes);
  } else {
    StoreBe16(bytes->data() + 4, static_cast<uint16_t>(bytes->size() - 40));
  }
}

Bytes FreshPacket(Family family, std::span<const uint8_t> before,
                  Choices* choices) {
  constexpr uint8_t kProtocols[] = {kTcp, kTcp, kUdp, 0, 132, 50, 33, 99};
  uint8_t protocol = kProtocols[choices->Below(std::size(kProtocols))];
  if (protocol == 0) protocol = family == Family::kIpv4 ? kIcmp : kIcmpv6;
  Bytes bytes = IpHeader(family, protocol, choices);
  Bytes payload = choices->Take(choices->Below(32));
  if (family == Family::kIpv6 && choices->OneIn(4)) {
    uint8_t first = protocol;
    Append(ExtensionHeaders(protocol, &first, choices), &bytes);
    bytes[6] = first;
  }
  const size_t transport = bytes.size();
  if (protocol == kTcp) {
    Append(TcpHeader(choices), &bytes);
  } else if (protocol == kUdp) {
    Append(UdpHeader(payload.size(), choices), &bytes);
  } else if (protocol == kIcmp || protocol == kIcmpv6) {
    Append(IcmpHeader(family, choices), &bytes);
    const uint8_t type = bytes[transport];
    if (type != 8 && type != 0 && type < 128 && !before.empty()) {
      const size_t quoted =
          std::min<size_t>(before.size(), 28 + payload.size());
      payload.assign(before.begin(), before.begin() + quoted);
    }
  }
  Append(payload, &bytes);
  FixLength(family, &bytes);
  if (!choices->OneIn(8)) {
    FixTransportChecksum(family, bytes, transport, protocol);
  }
  return bytes;
}

/// Addresses and ports of `before` the other way round.
Bytes Answer(Family family, std::span<const uint8_t> before) {
  Bytes bytes(before.begin(), before.end());
  const Headers headers = HeadersOf(family, bytes);
  if (!headers.ok) return bytes;
  const size_t address = family == Family::kIpv4 ? 4 : 16;
  const size_t at = family == Family::kIpv4 ? 12 : 8;
  std::swap_ranges(bytes.begin() + at, bytes.begin() + at + address,
                   bytes.begin() + at + address);
  const size_t transport = headers.transport;
  if (transport + 4 <= bytes.size()) {
    std::swap(bytes[transport], bytes[transport + 2]);
    std::swap(bytes[transport + 1], bytes[transport + 3]);
  }
  return bytes;
}

}  // namespace

Topology RandomPacketHost(Family family) {
  const uint8_t bits = family == Family::kIpv4 ? 24 : 64;
  Topology host;
  host.family = family;
  for (uint8_t i = 0; i < 2; ++i) {
    const std::string device = i == 0 ? "eth0" : "eth1";
    host.devices.push_back(
        {device, {{HostAddress(family, i, 1), bits}}, i == 0});
    host.routes.push_back({.in = "*",
                           .destination = {HostAddress(family, i, 0), bits},
                           .out = device});
  }
  host.routes.push_back({.in = "*", .destination = {}, .out = "eth1"});
  host.BuildIndex();
  return host;
}

Packet RandomPacket(Family family, std::span<const uint8_t> before,
                    Choices* choices) {
  Packet packet;
  packet.family = family;
  switch (choices->Below(16)) {
    case 0:
      packet.bytes = choices->Take(choices->Below(120));
      break;
    case 1:
    case 2:
    case 3:
      packet.bytes = Answer(family, before);
      break;
    case 4:
      packet.bytes = FreshPacket(family, before, choices);
      choices->Damage(&packet.bytes);
      break;
    case 5:
      packet.bytes = FreshPacket(family, before, choices);
      packet.bytes.resize(choices->Byte() % (packet.bytes.size() + 1));
      break;
    default:
      packet.bytes = FreshPacket(family, before, choices);
  }
  switch (choices->Below(4)) {
    case 0:
      packet.in = "eth0";
      packet.out = "eth1";
      break;
    case 1:
      packet.in = "eth1";
      break;
    case 2:
      packet.out = choices->OneIn(4) ? "lo" : "eth1";
      packet.uid = choices->Number();
      break;
    default:
      packet.in = "eth0";
      packet.mac_src.emplace();
      packet.mac_dst.emplace();
  }
  packet.mark = choices->Number();
  return packet;
}

}  // namespace nfarena::testing
