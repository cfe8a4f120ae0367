#include "engines/core/rewrite.h"

#include <gtest/gtest.h>

#include <random>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/packet_text.h"
#include "engines/core/tracker_impl.h"

namespace nfarena {
namespace {

PacketState State(const std::string& words) {
  PacketState state;
  const auto packets = ParsePackets("IN=eth0 OUT= " + words, "test");
  EXPECT_TRUE(packets) << words;
  if (!packets) return state;
  state.family = packets->front().family;
  state.bytes = packets->front().bytes;
  ParseHeaders(&state);
  return state;
}

bool ChecksumsOk(const PacketState& state) {
  if (state.family == Family::kIpv4 &&
      ChecksumFold(ChecksumPartial(
          std::span(state.bytes).first((state.bytes[0] & 0xf) * 4u))) != 0) {
    return false;
  }
  return TransportChecksumOk(state.family, state.bytes, state.headers.transport,
                             state.headers.protocol);
}

TEST(Checksum, KnownValues) {
  // RFC 1071 section 3.
  const std::array<uint8_t, 8> data = {0x00, 0x01, 0xf2, 0x03,
                                       0xf4, 0xf5, 0xf6, 0xf7};
  std::array<uint8_t, 2> sum;
  StoreRaw16(sum.data(), ChecksumFold(ChecksumPartial(data)));
  EXPECT_EQ(LoadBe16(sum.data()), static_cast<uint16_t>(~0xddf2));
  // An odd byte is the high half of a word.
  const std::array<uint8_t, 3> odd = {0x12, 0x34, 0x56};
  StoreRaw16(sum.data(), ChecksumFold(ChecksumPartial(odd)));
  EXPECT_EQ(LoadBe16(sum.data()), static_cast<uint16_t>(~(0x1234 + 0x5600)));
}

TEST(Checksum, IncrementalEqualsAnew) {
  std::mt19937 random(1);
  for (int i = 0; i < 2000; ++i) {
    std::array<uint8_t, 32> data;
    for (uint8_t& byte : data) byte = static_cast<uint8_t>(random());
    const uint16_t before = ChecksumFold(ChecksumPartial(data));
    const auto old = data;
    const size_t at = 4 * (random() % 8);
    for (size_t k = 0; k < 4; ++k) {
      data[at + k] = static_cast<uint8_t>(random());
    }
    EXPECT_EQ(
        ChecksumReplace4(before, LoadRaw32(&old[at]), LoadRaw32(&data[at])),
        ChecksumFold(ChecksumPartial(data)));
    const uint16_t half =
        ChecksumReplace2(before, LoadRaw16(&old[at]), LoadRaw16(&data[at]));
    EXPECT_EQ(ChecksumReplace2(half, LoadRaw16(&old[at + 2]),
                               LoadRaw16(&data[at + 2])),
              ChecksumFold(ChecksumPartial(data)));
  }
}

TEST(Checksum, Crc32cOfSctp) {
  // RFC 3720 B.4: 32 bytes of zeros give aa 36 91 8a.
  const std::vector<uint8_t> zeros(32);
  const uint32_t crc = SctpChecksum(zeros);
  std::array<uint8_t, 4> stored;
  std::memcpy(stored.data(), &crc, 4);
  EXPECT_EQ(stored, (std::array<uint8_t, 4>{0xaa, 0x36, 0x91, 0x8a}));
}

TEST(Rewrite, EveryFieldKeepsTheChecksumsRight) {
  const char* packets[] = {
      "SRC=192.0.2.1 DST=192.0.2.2 PROTO=TCP SPT=1 DPT=2 SYN PAYLOAD=010203",
      "SRC=192.0.2.1 DST=192.0.2.2 PROTO=UDP SPT=1 DPT=2 PAYLOAD=0102",
      "SRC=192.0.2.1 DST=192.0.2.2 PROTO=ICMP TYPE=8 ID=1",
      "SRC=2001:db8::1 DST=2001:db8::2 PROTO=TCP SPT=1 DPT=2 SYN",
      "SRC=2001:db8::1 DST=2001:db8::2 PROTO=UDP SPT=1 DPT=2",
      "SRC=2001:db8::1 DST=2001:db8::2 PROTO=ICMPv6 TYPE=128 ID=1",
  };
  Address to{};
  for (size_t i = 0; i < 16; ++i) to[i] = static_cast<uint8_t>(0xa0 + i);
  for (const char* words : packets) {
    for (bool source : {true, false}) {
      PacketState state = State(words);
      ASSERT_TRUE(RewriteAddress(&state, source, to)) << words;
      const Address now = source ? SourceOf(state) : DestinationOf(state);
      EXPECT_EQ(now[3], to[3]);
      EXPECT_TRUE(ChecksumsOk(state)) << words;
      const bool ports =
          state.headers.protocol == 6 || state.headers.protocol == 17;
      EXPECT_EQ(RewritePort(&state, source, 4711), ports) << words;
      if (ports) {
        EXPECT_EQ(
            LoadBe16(
                &state.bytes[state.headers.transport + (source ? 0u : 2u)]),
            4711);
      }
      EXPECT_TRUE(ChecksumsOk(state)) << words;
    }
    PacketState state = State(words);
    const bool v4 = state.family == Family::kIpv4;
    ASSERT_TRUE(RewriteTos(&state, 0x03, 0xb8));
    EXPECT_EQ(v4 ? state.bytes[1] : (LoadBe16(&state.bytes[0]) >> 4 & 0xff),
              0xb8);
    ASSERT_TRUE(RewriteTtl(&state, 1));
    EXPECT_EQ(state.bytes[v4 ? 8 : 7], 1);
    EXPECT_TRUE(ChecksumsOk(state)) << words;
  }
}

TEST(Rewrite, AWrongChecksumStaysWrongAndNoneStaysNone) {
  PacketState state =
      State("SRC=192.0.2.1 DST=192.0.2.2 PROTO=UDP SPT=1 DPT=2");
  StoreBe16(&state.bytes[26], 0);
  ASSERT_TRUE(RewritePort(&state, true, 9));
  ASSERT_TRUE(RewriteAddress(&state, true, {10, 0, 0, 1}));
  EXPECT_EQ(LoadBe16(&state.bytes[26]), 0);

  PacketState tcp = State("SRC=192.0.2.1 DST=192.0.2.2 PROTO=TCP SPT=1 DPT=2");
  tcp.bytes[36] ^= 0xff;
  ASSERT_TRUE(RewriteAddress(&tcp, true, {10, 0, 0, 1}));
  EXPECT_FALSE(ChecksumsOk(tcp));
}

TEST(Rewrite, LaterFragmentsHaveNoPorts) {
  PacketState state = State(
      "SRC=192.0.2.1 DST=192.0.2.2 FRAG:5 PROTO=UDP PAYLOAD=0102030405060708");
  const auto before = state.bytes;
  EXPECT_FALSE(RewritePort(&state, true, 9));
  EXPECT_EQ(state.bytes, before);
  EXPECT_TRUE(RewriteAddress(&state, false, {10, 0, 0, 1}));
  EXPECT_TRUE(std::equal(state.bytes.begin() + 20, state.bytes.end(),
                         before.begin() + 20));
}

TEST(Jhash, KnownValues) {
  // Made with the definition in include/linux/jhash.h.
  const std::array<uint32_t, 4> words = {0x050200c0, 0, 0, 0};
  EXPECT_EQ(Jhash2(words, 0), Jhash2(words, 0));
  EXPECT_NE(Jhash2(words, 0), Jhash2(words, 1));
  // Nothing hashed: the initial value itself.
  EXPECT_EQ(Jhash2({}, 0), 0xdeadbeefu);
  EXPECT_EQ(Jhash2({}, 5), 0xdeadbeefu + 5);
}

}  // namespace
}  // namespace nfarena
