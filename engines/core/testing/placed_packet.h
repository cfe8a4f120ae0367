// A packet that stands in front of one stage, for tests of the stage alone.
#pragma once

#include <array>
#include <cstring>
#include <string_view>

#include "engines/core/packet_state.h"

namespace nfarena::testing {

struct PlacedV4 {
  std::array<uint8_t, 4> src{192, 0, 2, 1};
  std::array<uint8_t, 4> dst{198, 51, 100, 1};
  uint8_t protocol = 6;
  uint16_t dport = 80;
  uint16_t fragment_offset = 0;  // in 8-byte units
  size_t transport_bytes = 20;
  std::string_view in = "eth0";
  std::string_view out = "";
};

inline void PlaceDevices(std::string_view in, std::string_view out,
                         PacketState* p) {
  std::memcpy(p->in.data(), in.data(), in.size());
  std::memcpy(p->out.data(), out.data(), out.size());
}

/// TCP's ports and data offset, as much of it as there is room for.
inline void FillTransport(uint16_t dport, uint8_t* at, size_t bytes) {
  const uint8_t head[20] = {0x80,
                            0x01,
                            static_cast<uint8_t>(dport >> 8),
                            static_cast<uint8_t>(dport),
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0,
                            0x50,
                            0x02};
  std::memcpy(at, head, bytes < sizeof(head) ? bytes : sizeof(head));
}

inline PacketState Placed(const PlacedV4& v, Hook hook = Hook::kInput) {
  PacketState p;
  p.hook = hook;
  p.bytes.resize(20 + v.transport_bytes);
  p.bytes[0] = 0x45;
  p.bytes[2] = static_cast<uint8_t>(p.bytes.size() >> 8);
  p.bytes[3] = static_cast<uint8_t>(p.bytes.size());
  p.bytes[6] = static_cast<uint8_t>(v.fragment_offset >> 8);
  p.bytes[7] = static_cast<uint8_t>(v.fragment_offset);
  p.bytes[8] = 64;
  p.bytes[9] = v.protocol;
  std::memcpy(p.bytes.data() + 12, v.src.data(), 4);
  std::memcpy(p.bytes.data() + 16, v.dst.data(), 4);
  FillTransport(v.dport, p.bytes.data() + 20, v.transport_bytes);
  PlaceDevices(v.in, v.out, &p);
  ParseHeaders(&p);
  return p;
}

struct PlacedV6 {
  std::array<uint8_t, 16> src{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,
                              0,    0,    0,    0,    0, 0, 0, 1};
  std::array<uint8_t, 16> dst{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 0,
                              0,    0,    0,    0,    0, 0, 0, 2};
  uint8_t protocol = 6;
  uint16_t dport = 80;
  std::string_view in = "eth0";
  std::string_view out = "";
  /// A hop-by-hop header that claims to be longer than the packet.
  bool broken = false;
};

inline PacketState Placed(const PlacedV6& v, Hook hook = Hook::kInput) {
  PacketState p;
  p.family = Family::kIpv6;
  p.hook = hook;
  p.bytes.resize(60);
  p.bytes[0] = 0x60;
  p.bytes[5] = 20;
  p.bytes[6] = v.broken ? 0 : v.protocol;
  p.bytes[7] = 64;
  std::memcpy(p.bytes.data() + 8, v.src.data(), 16);
  std::memcpy(p.bytes.data() + 24, v.dst.data(), 16);
  if (v.broken) {
    p.bytes[40] = v.protocol;
    p.bytes[41] = 0xff;
  } else {
    FillTransport(v.dport, p.bytes.data() + 40, 20);
  }
  PlaceDevices(v.in, v.out, &p);
  ParseHeaders(&p);
  return p;
}

}  // namespace nfarena::testing
