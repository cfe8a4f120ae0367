#include <gtest/gtest.h>

#include <algorithm>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv4;
using testing::Ipv6;
using testing::kAck;
using testing::kCwr;
using testing::kEce;
using testing::kSyn;
using testing::RuleRunner;
using testing::Standing;

bool Hotdropped(Family family, const char* rule, const Packet& packet) {
  RuleRunner runner(family, TableKind::kFilter, rule);
  EXPECT_EQ(runner.error(), "") << rule;
  Standing standing(packet, Hook::kForward);
  EXPECT_FALSE(runner.Matches(&standing)) << rule;
  return standing.state.hotdrop;
}

Packet Esp(uint8_t spi) {
  return Ipv4().Protocol(50, {0, 0, 1, spi, 0, 0, 0, 1}).Build();
}
Packet Ah(uint8_t spi) {
  return Ipv4().Protocol(51, {17, 1, 0, 0, 0, 0, 1, spi, 0, 0, 0, 1}).Build();
}

TEST(MatchTransport, SecurityParameters) {
  ExpectMatches(Family::kIpv4,
                {
                    {"-p esp -m esp --espspi 256:272", Esp(0), true},
                    {"-p esp -m esp --espspi 256:272", Esp(16), true},
                    {"-p esp -m esp --espspi 256:272", Esp(17), false},
                    {"-p esp -m esp --espspi 257", Esp(0), false},
                    {"-p esp -m esp ! --espspi 257", Esp(0), true},
                    {"-p esp -m esp ! --espspi 257", Esp(1), false},
                    {"-p ah -m ah --ahspi 256:272", Ah(16), true},
                    {"-p ah -m ah --ahspi 256:272", Ah(17), false},
                    {"-p ah -m ah ! --ahspi 256:272", Ah(17), true},
                });
  EXPECT_TRUE(Hotdropped(Family::kIpv4, "-p esp -m esp --espspi 1",
                         Ipv4().Protocol(50, {0, 0, 1, 0, 0, 0, 0}).Build()));
}

std::vector<uint8_t> Chunk(uint8_t type, uint8_t flags, uint8_t length) {
  std::vector<uint8_t> chunk(std::max((length + 3u) & ~3u, 4u));
  chunk[0] = type;
  chunk[1] = flags;
  chunk[3] = length;
  return chunk;
}

Packet Sctp(const std::vector<std::vector<uint8_t>>& chunks) {
  std::vector<uint8_t> bytes = {0x03, 0xe8, 0, 80, 0, 0, 0, 0, 0, 0, 0, 0};
  for (const auto& chunk : chunks) {
    bytes.insert(bytes.end(), chunk.begin(), chunk.end());
  }
  return Ipv4().Protocol(132, bytes).Build();
}

TEST(MatchTransport, Sctp) {
  const Packet init = Sctp({Chunk(1, 0, 20)});
  const Packet data = Sctp({Chunk(0, 3, 17), Chunk(3, 0, 16)});
  ExpectMatches(
      Family::kIpv4,
      {
          {"-p sctp -m sctp --dport 80", init, true},
          {"-p sctp -m sctp --dport 81", init, false},
          {"-p sctp -m sctp ! --dport 81", init, true},
          {"-p sctp -m sctp --sport 1000:1001", init, true},
          {"-p sctp -m sctp --sport 1001:1002", init, false},
          {"-p sctp -m sctp --chunk-types any INIT", init, true},
          {"-p sctp -m sctp --chunk-types any INIT", data, false},
          {"-p sctp -m sctp ! --chunk-types any INIT", data, true},
          {"-p sctp -m sctp --chunk-types any SACK,INIT", data, true},
          {"-p sctp -m sctp --chunk-types all DATA,SACK", data, true},
          {"-p sctp -m sctp --chunk-types all DATA,INIT", data, false},
          {"-p sctp -m sctp --chunk-types only DATA,SACK", data, true},
          {"-p sctp -m sctp --chunk-types only DATA", data, false},
          {"-p sctp -m sctp --chunk-types only INIT", init, true},
          {"-p sctp -m sctp --chunk-types any DATA:BE", data, true},
          {"-p sctp -m sctp --chunk-types any DATA:U", data, false},
      });
  EXPECT_TRUE(Hotdropped(Family::kIpv4,
                         "-p sctp -m sctp --chunk-types any INIT",
                         Sctp({Chunk(0, 0, 0)})));
  EXPECT_TRUE(Hotdropped(Family::kIpv4, "-p sctp -m sctp --dport 1",
                         Ipv4().Protocol(132, {0, 1, 0, 1}).Build()));
}

Packet Dccp(uint8_t type, uint8_t offset_words,
            const std::vector<uint8_t>& rest) {
  std::vector<uint8_t> bytes = {
      0x03, 0xe8, 0, 80, offset_words, 0, 0, 0, static_cast<uint8_t>(type << 1),
      0,    0,    0};
  bytes.insert(bytes.end(), rest.begin(), rest.end());
  return Ipv4().Protocol(33, bytes).Build();
}

TEST(MatchTransport, Dccp) {
  // A request carries a 4-byte service code, then options.
  const Packet request = Dccp(0, 5, {0, 0, 0, 7, 32, 3, 1, 0});
  const Packet data = Dccp(2, 3, {32, 3, 1, 0});
  ExpectMatches(Family::kIpv4,
                {
                    {"-p dccp -m dccp --dport 80", request, true},
                    {"-p dccp -m dccp --dport 79", request, false},
                    {"-p dccp -m dccp --sport 1000", request, true},
                    {"-p dccp -m dccp ! --sport 1000", request, false},
                    {"-p dccp -m dccp --dccp-types REQUEST", request, true},
                    {"-p dccp -m dccp --dccp-types REQUEST", data, false},
                    {"-p dccp -m dccp --dccp-types DATA,ACK", data, true},
                    {"-p dccp -m dccp ! --dccp-types DATA,ACK", data, false},
                    {"-p dccp -m dccp --dccp-option 32", request, true},
                    {"-p dccp -m dccp --dccp-option 33", request, false},
                    {"-p dccp -m dccp ! --dccp-option 33", request, true},
                    // What lies behind the header is data.
                    {"-p dccp -m dccp --dccp-option 32", data, false},
                });
  EXPECT_TRUE(Hotdropped(Family::kIpv4, "-p dccp -m dccp --dccp-option 32",
                         Dccp(0, 3, {})));
  EXPECT_TRUE(Hotdropped(Family::kIpv4, "-p dccp -m dccp --dccp-option 32",
                         Dccp(0, 9, {0, 0, 0, 7})));
}

TEST(MatchTransport, Tcpmss) {
  const auto with = [](std::vector<uint8_t> options) {
    return Ipv4().Tcp(1, 2, kSyn, std::move(options)).Build();
  };
  const Packet mss1000 = with({1, 1, 4, 2, 2, 4, 3, 0xe8});
  ExpectMatches(
      Family::kIpv4,
      {
          {"-p tcp -m tcpmss --mss 1000", mss1000, true},
          {"-p tcp -m tcpmss --mss 1001", mss1000, false},
          {"-p tcp -m tcpmss --mss 500:1000", mss1000, true},
          {"-p tcp -m tcpmss --mss 500:999", mss1000, false},
          {"-p tcp -m tcpmss ! --mss 500:999", mss1000, true},
          {"-p tcp -m tcpmss --mss 0:65535", with({}), false},
          {"-p tcp -m tcpmss ! --mss 1000", with({}), true},
          {"-p tcp -m tcpmss --mss 0:65535", with({2, 3, 5, 1}), false},
      });
  EXPECT_TRUE(Hotdropped(Family::kIpv4, "-p tcp -m tcpmss --mss 1000",
                         Ipv4().Tcp(1, 2).Cut(19).Build()));
}

TEST(MatchTransport, Ecn) {
  const auto tos4 = [](uint8_t tos) { return Ipv4().Tos(tos).Build(); };
  const auto flags = [](unsigned f) {
    return Ipv6().Tcp(1, 2, static_cast<uint8_t>(f)).Build();
  };
  ExpectMatches(Family::kIpv4,
                {
                    {"-m ecn --ecn-ip-ect 2", tos4(0xfe), true},
                    {"-m ecn --ecn-ip-ect 2", tos4(0x01), false},
                    {"-m ecn ! --ecn-ip-ect 2", tos4(0x01), true},
                    {"-m ecn ! --ecn-ip-ect 2", tos4(0x02), false},
                    {"-m ecn --ecn-ip-ect 0", tos4(0xfc), true},
                });
  ExpectMatches(
      Family::kIpv6,
      {
          {"-m ecn --ecn-ip-ect 3", Ipv6().Tos(0x03).Build(), true},
          {"-m ecn --ecn-ip-ect 3", Ipv6().Tos(0x02).Build(), false},
          {"-p tcp -m ecn --ecn-tcp-ece", flags(kAck | kEce), true},
          {"-p tcp -m ecn --ecn-tcp-ece", flags(kAck), false},
          {"-p tcp -m ecn ! --ecn-tcp-ece", flags(kAck), true},
          {"-p tcp -m ecn --ecn-tcp-cwr", flags(kCwr), true},
          {"-p tcp -m ecn ! --ecn-tcp-cwr", flags(kCwr), false},
          {"-p tcp -m ecn --ecn-tcp-cwr --ecn-tcp-ece", flags(kCwr), false},
      });
}

}  // namespace
}  // namespace nfarena::xt
