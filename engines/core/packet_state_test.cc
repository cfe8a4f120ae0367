#include "engines/core/packet_state.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engines/core/packet_text.h"

namespace nfarena {
namespace {

std::vector<uint8_t> Bytes(std::string_view words) {
  const auto packets =
      ParsePackets("IN=eth0 OUT= " + std::string(words), "test");
  EXPECT_TRUE(packets) << words;
  return packets && !packets->empty() ? packets->front().bytes
                                      : std::vector<uint8_t>();
}

std::vector<uint8_t> Ipv6(uint8_t next, const std::vector<uint8_t>& payload) {
  std::vector<uint8_t> bytes(40 + payload.size());
  bytes[0] = 0x60;
  bytes[5] = static_cast<uint8_t>(payload.size());
  bytes[6] = next;
  std::copy(payload.begin(), payload.end(), bytes.begin() + 40);
  return bytes;
}

TEST(Headers, Ipv4) {
  auto bytes =
      Bytes("SRC=192.0.2.1 DST=192.0.2.2 MF FRAG:3 PROTO=UDP PAYLOAD=01");
  Headers h = HeadersOf(Family::kIpv4, bytes);
  EXPECT_TRUE(h.ok);
  EXPECT_TRUE(h.fragment);
  EXPECT_EQ(h.fragment_offset, 3);
  EXPECT_EQ(h.protocol, 17);
  EXPECT_EQ(h.transport, 20);
  EXPECT_EQ(h.total_length, 21);

  // What ip_rcv() refuses.
  for (auto [at, value] : {std::pair<size_t, uint8_t>{0, 0x44},
                           {0, 0x65},
                           {0, 0x46},
                           {3, 19},
                           {3, 22}}) {
    auto bad = bytes;
    bad[at] = value;
    EXPECT_FALSE(HeadersOf(Family::kIpv4, bad).ok) << at << ' ' << int{value};
  }
  bytes.resize(19);
  EXPECT_FALSE(HeadersOf(Family::kIpv4, bytes).ok);
  EXPECT_FALSE(HeadersOf(Family::kIpv4, {}).ok);
}

struct Chain {
  const char* name;
  uint8_t next;
  std::vector<uint8_t> payload;
  int protocol;  // -1 = broken
  uint16_t transport;
  uint16_t fragment_offset;
};

TEST(Headers, Ipv6ExtensionHeadersAreFollowedAsTheKernelDoes) {
  const std::vector<Chain> cases = {
      {"plain", 17, {1, 2, 3, 4}, 17, 40, 0},
      {"hop by hop", 0, {6, 0, 1, 4, 0, 0, 0, 0, 9}, 6, 48, 0},
      {"AH is skipped",
       51,
       {17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7},
       17,
       52,
       0},
      {"no next header", 59, {1}, 59, 40, 0},
      {"first fragment", 44, {17, 0, 0, 1, 0, 0, 0, 1, 8}, 17, 48, 0},
      {"later fragment", 44, {17, 0, 0, 9, 0, 0, 0, 1, 8}, 17, 48, 1},
      {"later fragment of a chain", 44, {60, 0, 0, 9, 0, 0, 0, 1}, -1, 40, 0},
      {"cut off", 0, {6}, -1, 40, 0},
      {"longer than the packet", 60, {6, 3, 0, 0, 0, 0, 0, 0}, -1, 40, 0},
      {"routing header cut off", 43, {6, 0, 0}, -1, 40, 0},
  };
  for (const Chain& c : cases) {
    const auto bytes = Ipv6(c.next, c.payload);
    const Headers h = HeadersOf(Family::kIpv6, bytes);
    EXPECT_TRUE(h.ok) << c.name;
    EXPECT_EQ(h.transport_ok, c.protocol >= 0) << c.name;
    EXPECT_EQ(h.protocol, std::max(c.protocol, 0)) << c.name;
    EXPECT_EQ(h.transport, c.transport) << c.name;
    EXPECT_EQ(h.fragment_offset, c.fragment_offset) << c.name;
  }
  // nf_tables asks to stop at AH.
  const auto ah = Ipv6(51, {17, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  const UpperHeader upper = FindUpperHeader(ah, 0, /*stop_at_ah=*/true);
  EXPECT_EQ(upper.protocol, 51);
  EXPECT_EQ(upper.offset, 40);
}

TEST(PacketState, DeviceNamesArePaddedWithNul) {
  std::array<char, 16> device;
  device.fill('x');
  SetDeviceName("eth0", &device);
  EXPECT_EQ(DeviceName(device), "eth0");
  EXPECT_EQ(device[15], '\0');
  SetDeviceName("0123456789abcdefgh", &device);
  EXPECT_EQ(DeviceName(device), "0123456789abcde");
}

TEST(PacketState, TheFirstReasonForChanceStays) {
  Outcome outcome;
  PacketState state;
  state.MarkIndeterminate("nowhere to say it");
  state.outcome = &outcome;
  state.MarkIndeterminate("statistic");
  state.MarkIndeterminate("limit");
  EXPECT_EQ(outcome.indeterminate, "statistic");
}

}  // namespace
}  // namespace nfarena
