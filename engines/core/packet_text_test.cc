#include "engines/core/packet_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <pcap/pcap.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <random>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/packet_state.h"

namespace nfarena {
namespace {

using ::testing::HasSubstr;

Packet One(std::string_view line) {
  auto packets = ParsePackets(line, "t");
  EXPECT_TRUE(packets) << line << "\n"
                       << (packets ? "" : packets.error().ToString());
  if (!packets || packets->size() != 1) return {};
  return packets->front();
}

std::string Hex(const Packet& packet) {
  std::string text;
  char digits[3];
  for (uint8_t byte : packet.bytes) {
    std::snprintf(digits, sizeof(digits), "%02x", byte);
    text += digits;
  }
  return text;
}

TEST(PacketText, TcpSynHasEveryFieldAndRightChecksums) {
  const Packet p = One(
      "IN=eth0 OUT= MAC=02:00:00:00:00:01:02:00:00:00:00:02:08:00 "
      "SRC=192.0.2.1 DST=198.51.100.7 LEN=44 TOS=0x10 PREC=0x20 TTL=63 ID=7 DF "
      "PROTO=TCP SPT=1024 DPT=22 SEQ=1 ACK=0 WINDOW=512 RES=0x00 SYN URGP=0 "
      "OPT (020405B4) UID=3 GID=4 MARK=0x11");
  EXPECT_EQ(Hex(p),
            "4530002c000740003f064f59c0000201c6336407"
            "04000016000000010000000060020200"
            "a5d30000"
            "020405b4");
  EXPECT_EQ(p.in, "eth0");
  EXPECT_EQ(p.out, "");
  EXPECT_EQ(p.mark, 0x11u);
  EXPECT_EQ(p.uid, 3u);
  EXPECT_EQ(p.gid, 4u);
  EXPECT_EQ((*p.mac_dst)[5], 1);
  EXPECT_EQ((*p.mac_src)[5], 2);
  EXPECT_EQ(ChecksumFold(ChecksumPartial(std::span(p.bytes).first(20))), 0);
  EXPECT_TRUE(TransportChecksumOk(Family::kIpv4, p.bytes, 20, 6));
}

TEST(PacketText, RealKernelLinesAreRead) {
  const Packet p = One(
      "Nov 24 18:02:11 fw kernel: [  123.456789] [UFW BLOCK] IN=eth0 OUT= "
      "MAC=52:54:00:12:34:56:52:54:00:65:43:21:08:00 SRC=203.0.113.9 "
      "DST=192.0.2.10 LEN=60 TOS=0x00 PREC=0x00 TTL=51 ID=54321 DF PROTO=TCP "
      "SPT=40000 DPT=23 WINDOW=64240 RES=0x00 SYN URGP=0 ");
  EXPECT_EQ(p.bytes.size(), 60u);
  EXPECT_EQ(p.bytes[20 + 13], 0x02);
  const Packet glued = One(
      "kernel: drop:IN=eth1 OUT=eth2 SRC=10.0.0.1 DST=10.0.0.2 LEN=36 TOS=0x00 "
      "PREC=0x00 TTL=64 ID=0 PROTO=UDP SPT=5 DPT=53 LEN=16");
  EXPECT_EQ(glued.in, "eth1");
  EXPECT_EQ(glued.out, "eth2");
  EXPECT_EQ(LoadBe16(&glued.bytes[24]), 16);
  const Packet v6 = One(
      "IN=eth0 OUT= MAC=33:33:00:00:00:01:02:00:00:00:00:02:86:dd "
      "SRC=fe80:0000:0000:0000:0000:0000:0000:0001 "
      "DST=ff02:0000:0000:0000:0000:0000:0000:0001 LEN=64 TC=0 HOPLIMIT=255 "
      "FLOWLBL=5 PROTO=ICMPv6 TYPE=135 CODE=0 ");
  EXPECT_EQ(v6.family, Family::kIpv6);
  EXPECT_EQ(v6.bytes.size(), 64u);
  EXPECT_TRUE(TransportChecksumOk(Family::kIpv6, v6.bytes, 40, 58));
}

TEST(PacketText, IcmpErrorQuotesAPacket) {
  const Packet p = One(
      "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 LEN=56 TOS=0x00 PREC=0xC0 "
      "TTL=64 ID=1 PROTO=ICMP TYPE=3 CODE=4 [SRC=192.0.2.2 DST=198.51.100.1 "
      "LEN=1500 TOS=0x00 PREC=0x00 TTL=60 ID=9 DF PROTO=UDP SPT=1 DPT=2 "
      "LEN=1480 ] MTU=1400");
  ASSERT_EQ(p.bytes.size(), 56u);
  EXPECT_EQ(LoadBe32(&p.bytes[24]), 1400u);
  EXPECT_EQ(LoadBe16(&p.bytes[28 + 2]), 1500);  // what it was, not what is here
  EXPECT_EQ(LoadBe16(&p.bytes[28 + 20 + 2]), 2);
  EXPECT_TRUE(TransportChecksumOk(Family::kIpv4, p.bytes, 20, 1));
  // Without LEN: header and 8 bytes, as the oldest hosts quote.
  const Packet brief =
      One("IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=ICMP TYPE=11 CODE=0 "
          "[SRC=192.0.2.2 DST=198.51.100.1 PROTO=TCP SPT=1 DPT=2 SYN]");
  EXPECT_EQ(brief.bytes.size(), 56u);
}

TEST(PacketText, DefaultsMakeAWholePacket) {
  const Packet p =
      One("IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=UDP "
          "SPT=1 DPT=2 PAYLOAD=0102");
  EXPECT_EQ(p.bytes.size(), 30u);
  EXPECT_EQ(p.bytes[8], 64);
  EXPECT_EQ(LoadBe16(&p.bytes[24]), 10);
  const Packet icmp = One("OUT=eth0 SRC=::1 DST=::2 PROTO=ICMPv6");
  EXPECT_EQ(icmp.bytes[40], 128);
  EXPECT_EQ(One("IN=lo OUT= SRC=127.0.0.1 DST=127.0.0.1 PROTO=ICMP").out, "lo");
}

TEST(PacketText, FragmentsAndNumbers) {
  const Packet p =
      One("IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 LEN=28 TOS=0x00 PREC=0x00 "
          "TTL=64 ID=7 MF FRAG:185 PROTO=UDP PAYLOAD=ff");
  EXPECT_EQ(LoadBe16(&p.bytes[6]), 0x2000 | 185);
  EXPECT_EQ(p.bytes[20], 0xff);
  EXPECT_EQ(p.bytes.size(), 28u);
  const Packet six =
      One("IN=eth0 OUT= SRC=2001:db8::1 DST=2001:db8::2 LEN=64 TC=1 HOPLIMIT=9 "
          "FLOWLBL=0 FRAG:16 INC ID:0000abcd PROTO=UDP ");
  EXPECT_EQ(six.bytes[6], 44);
  EXPECT_EQ(LoadBe16(&six.bytes[42]), 16 | 1);
  EXPECT_EQ(LoadBe32(&six.bytes[44]), 0xabcdu);
  const Packet incomplete =
      One("IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 LEN=24 TOS=0x00 PREC=0x00 "
          "TTL=64 ID=7 PROTO=TCP INCOMPLETE [4 bytes] ");
  EXPECT_EQ(incomplete.bytes.size(), 24u);
}

struct Bad {
  const char* line;
  const char* message;
  uint32_t column;
};

TEST(PacketText, RefusalsNameThePlace) {
  const Bad cases[] = {
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=TCP SPT=1 NONSENSE",
       "not a word", 54},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=TCP SPT=65536", "value", 48},
      {"IN=eth0 OUT= SRC=1.2.3.400 DST=1.2.3.5 PROTO=TCP", "address", 14},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=::1 PROTO=TCP", "two families", 26},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5", "PROTO", 1},
      {"IN=eth0 OUT= DST=1.2.3.5 PROTO=TCP", "SRC", 1},
      {"SRC=1.2.3.4 DST=1.2.3.5 PROTO=TCP", "begins with", 1},
      {"IN= OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=TCP", "both empty", 1},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=ICMP SPT=1", "no such field",
       49},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=UDP SYN", "no such field",
       48},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 LEN=20 PROTO=UDP SPT=1", "LEN=20",
       1},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=UDP PAYLOAD=0", "value", 48},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=TCP OPT (02)x",
       "hexadecimal", 52},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=ICMP TYPE=3 [SRC=1.2.3.4 "
       "DST=1.1.1.1 PROTO=TCP",
       "ends with", 81},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=ICMP ]", "without", 49},
      {"IN=eth0 OUT= PHYSIN=eth1 SRC=1.2.3.4 DST=1.2.3.5 PROTO=ICMP", "bridge",
       14},
      {"IN=averyveryverylongname OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=ICMP",
       "value", 1},
      {"IN=eth0 OUT= SRC=1.2.3.4 DST=1.2.3.5 PROTO=TCP PROTO=UDP", "twice", 48},
      {"IN=eth0 OUT= BYTES=4", "value", 14},
      {"IN=eth0 OUT= MAC=00:11 SRC=1.2.3.4 DST=1.2.3.5 PROTO=TCP", "value", 14},
  };
  for (const Bad& bad : cases) {
    const auto result = ParsePackets(std::string("# head\n\n") + bad.line, "f");
    ASSERT_FALSE(result) << bad.line;
    EXPECT_THAT(result.error().message, HasSubstr(bad.message)) << bad.line;
    EXPECT_EQ(result.error().place.line, 3u) << bad.line;
    EXPECT_EQ(result.error().place.column, bad.column) << bad.line;
  }
}

TEST(PacketText, LinesGiveThePacketBack) {
  const char* lines[] = {
      "IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=TCP SPT=1 DPT=2 SYN ACK "
      "MSS=1400",
      "IN= OUT=eth0 SRC=192.0.2.1 DST=192.0.2.2 PROTO=UDP SPT=1 DPT=2 "
      "PAYLOAD=00ff00 UID=0 GID=5",
      "IN=a OUT=b SRC=192.0.2.1 DST=192.0.2.2 PROTO=ICMP TYPE=5 CODE=1 "
      "GATEWAY=1.2.3.4 [SRC=1.1.1.1 DST=2.2.2.2 PROTO=UDP SPT=1 DPT=2]",
      "IN=a OUT=b SRC=192.0.2.1 DST=192.0.2.2 PROTO=ICMP TYPE=12 CODE=0 "
      "PARAMETER=20 [SRC=1.1.1.1 DST=2.2.2.2 PROTO=TCP SPT=1 DPT=2]",
      "IN=a OUT=b SRC=192.0.2.1 DST=192.0.2.2 PROTO=47 PAYLOAD=30 TIME=5000",
      "IN=a OUT=b SRC=192.0.2.1 DST=192.0.2.2 PROTO=SCTP SPT=1 DPT=2 "
      "PAYLOAD=01000014",
      "IN=a OUT=b SRC=192.0.2.1 DST=192.0.2.2 PROTO=ESP SPI=0x100",
      "IN=a OUT=b SRC=192.0.2.1 DST=192.0.2.2 PROTO=AH SPI=0x100",
      "IN=a OUT=b SRC=192.0.2.1 DST=192.0.2.2 PROTO=UDPLITE SPT=9 DPT=8",
      "IN=a OUT=b SRC=2001:db8::1 DST=2001:db8::2 TC=5 FLOWLBL=77 PROTO=ICMPv6 "
      "TYPE=128 ID=4 SEQ=5",
      "IN=a OUT=b SRC=2001:db8::1 DST=2001:db8::2 PROTO=ICMPv6 TYPE=2 CODE=0 "
      "[SRC=2001:db8::2 DST=::1 PROTO=UDP SPT=1 DPT=2] MTU=1280",
      "IN=a OUT=b SRC=2001:db8::1 DST=2001:db8::2 PROTO=ICMPv6 TYPE=4 CODE=0 "
      "POINTER=00000028 [SRC=2001:db8::2 DST=::1 PROTO=UDP SPT=1 DPT=2]",
      "IN=a OUT= MACSRC=02:00:00:00:00:01 SRC=1.1.1.1 DST=2.2.2.2 PROTO=2 "
      "MARK=7",
      "IN=a OUT= FAMILY=6 BYTES=45",
      "IN=a OUT= BYTES=",
  };
  for (const char* line : lines) {
    const Packet p = One(line);
    const std::string printed = PacketLine(p);
    const Packet again = One(printed);
    EXPECT_EQ(Hex(again), Hex(p)) << line << "\n" << printed;
    EXPECT_EQ(PacketLine(again), printed);
    EXPECT_EQ(again.mark, p.mark);
    EXPECT_EQ(again.uid, p.uid);
    EXPECT_EQ(again.time_ms, p.time_ms);
    EXPECT_EQ(again.mac_src, p.mac_src);
    EXPECT_EQ(again.family, p.family);
  }
  // The words suffice for ordinary packets.
  EXPECT_EQ(PacketLine(One(lines[0])).find("BYTES="), std::string::npos);
  EXPECT_EQ(PacketLine(One(lines[10])).find("BYTES="), std::string::npos);
}

TEST(PacketText, AnyBytesSurviveTheRoundTrip) {
  std::mt19937 random(7);
  for (int i = 0; i < 20000; ++i) {
    Packet p;
    p.family = (random() & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
    p.bytes.resize(random() % 120);
    for (uint8_t& byte : p.bytes) byte = static_cast<uint8_t>(random());
    if (p.bytes.size() > 9) {
      p.bytes[0] = p.family == Family::kIpv4 ? 0x45 : 0x60;
      static constexpr uint8_t kProtocols[] = {1,  6,   17,  50, 51,
                                               58, 132, 136, 44};
      p.bytes[p.family == Family::kIpv4 ? 9 : 6] = kProtocols[random() % 9];
      if ((random() & 1) != 0 && p.bytes.size() > 20) p.bytes[20] = 3;
    }
    p.in = "eth0";
    const auto again = ParsePackets(PacketLine(p), "");
    ASSERT_TRUE(again) << PacketLine(p) << again.error().ToString();
    ASSERT_EQ(again->size(), 1u);
    ASSERT_EQ(again->front().bytes, p.bytes) << PacketLine(p);
    ASSERT_EQ(again->front().family, p.family);
  }
}

class PcapTest : public ::testing::Test {
 protected:
  // A name of its own: tests run side by side.
  std::string path_ =
      ::testing::TempDir() + "nfarena_pcap_" + std::to_string(getpid());
  void TearDown() override { std::remove(path_.c_str()); }

  void Write(int link, const std::vector<uint8_t>& frame, uint32_t length = 0) {
    pcap_t* dead = pcap_open_dead(link, 65535);
    pcap_dumper_t* dump = pcap_dump_open(dead, path_.c_str());
    ASSERT_NE(dump, nullptr);
    for (int i = 0; i < 2; ++i) {
      pcap_pkthdr header{};
      header.ts.tv_sec = 1000 + i;
      header.caplen = static_cast<uint32_t>(frame.size());
      header.len = length != 0 ? length : header.caplen;
      pcap_dump(reinterpret_cast<u_char*>(dump), &header, frame.data());
    }
    pcap_dump_close(dump);
    pcap_close(dead);
  }

  Result<std::vector<Packet>> Read(std::string_view device) {
    std::ifstream in(path_, std::ios::binary);
    const std::string bytes((std::istreambuf_iterator<char>(in)), {});
    return ParsePcap(bytes, path_, device);
  }
};

TEST_F(PcapTest, EveryLinkTypeGivesTheSamePacket) {
  const Packet p = One("IN=eth7 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=ICMP");
  struct Link {
    int type;
    std::vector<uint8_t> header;
  };
  const Link links[] = {
      {DLT_RAW, {}},
      {DLT_EN10MB, {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0}},
      {DLT_EN10MB, {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0, 0, 5, 8, 0}},
      {DLT_LINUX_SLL, {0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0}},
      {DLT_LINUX_SLL2,
       {8, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0}},
      {DLT_NULL, {2, 0, 0, 0}},
  };
  for (const Link& link : links) {
    std::vector<uint8_t> frame = link.header;
    frame.insert(frame.end(), p.bytes.begin(), p.bytes.end());
    Write(link.type, frame);
    const auto packets = Read("eth7");
    ASSERT_TRUE(packets) << link.type << packets.error().ToString();
    ASSERT_EQ(packets->size(), 2u);
    EXPECT_EQ((*packets)[1].bytes, p.bytes);
    EXPECT_EQ((*packets)[1].in, "eth7");
    EXPECT_EQ((*packets)[1].time_ms, 1000u);
    EXPECT_EQ((*packets)[1].line, 2u);
    EXPECT_EQ((*packets)[0].mac_src.has_value(), link.type == DLT_EN10MB);
  }
}

// pcapng has 64 bits for a time.
TEST_F(PcapTest, ATimeThatNoClockShowsIsRefused) {
  const auto block = [](uint32_t type, std::vector<uint32_t> words) {
    const uint32_t length = static_cast<uint32_t>(4 * words.size() + 12);
    words.insert(words.begin(), {type, length});
    words.push_back(length);
    return std::string(reinterpret_cast<const char*>(words.data()),
                       4 * words.size());
  };
  // Section header, interface (raw IP), two packets of 4 bytes.
  const std::string bytes =
      block(0x0a0d0d0a, {0x1a2b3c4d, 1, 0xffffffff, 0xffffffff}) +
      block(1, {101, 65535}) + block(6, {0, 0, 7, 4, 4, 0x45}) +
      block(6, {0, 0xff000000, 0, 4, 4, 0x45});
  const auto result = ParsePcap(bytes, "file", "eth0");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kRange);
  EXPECT_EQ(result.error().place.line, 2u);
}

TEST_F(PcapTest, WhatIsCutOffIsNamed) {
  const Packet p = One("IN=eth7 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=ICMP");
  Write(DLT_RAW, p.bytes, 100);
  auto result = Read("eth0");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("packet 1: only 28 of 100"));
  Write(DLT_RAW, p.bytes);
  std::ifstream in(path_, std::ios::binary);
  std::string file((std::istreambuf_iterator<char>(in)), {});
  std::ofstream(path_, std::ios::binary) << file.substr(0, file.size() - 5);
  result = Read("eth0");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("packet 2"));
  Write(DLT_EN10MB, {1, 2, 3});
  result = Read("eth0");
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("link header is cut off"));
  Write(DLT_IEEE802_11, p.bytes);
  result = Read("eth0");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kUnsupported);
  for (const char* bytes : {"", "\xd4\xc3\xb2\xa1\x02", "no capture at all"}) {
    result = ParsePcap(bytes, "file", "eth0");
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code, ErrorCode::kSyntax);
    EXPECT_EQ(result.error().place.file, "file");
  }
}

}  // namespace
}  // namespace nfarena
