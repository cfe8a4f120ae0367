#include <gtest/gtest.h>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv4;
using testing::Ipv6;
using testing::RuleRunner;

TEST(MatchHeader, Length) {
  const auto of4 = [](size_t data) {
    return Ipv4().Udp(1, 2).Data(std::vector<uint8_t>(data)).Build();
  };
  const auto of6 = [](size_t data) {
    return Ipv6().Udp(1, 2).Data(std::vector<uint8_t>(data)).Build();
  };
  const char* rule = "-m length --length 100:200";
  ExpectMatches(Family::kIpv4,
                {
                    {rule, of4(71), false},  // 99 bytes
                    {rule, of4(72), true},
                    {rule, of4(172), true},
                    {rule, of4(173), false},
                    {"-m length ! --length 100:200", of4(71), true},
                    {"-m length ! --length 100:200", of4(72), false},
                    {"-m length --length 28", of4(0), true},
                    {"-m length --length 28", of4(1), false},
                    {"-m length --length 29:", of4(0), false},
                    {"-m length --length :28", of4(0), true},
                });
  ExpectMatches(Family::kIpv6, {
                                   {rule, of6(51), false},
                                   {rule, of6(52), true},
                                   {rule, of6(152), true},
                                   {rule, of6(153), false},
                               });
}

TEST(MatchHeader, DscpAndTos) {
  const auto tos4 = [](uint8_t tos) { return Ipv4().Tos(tos).Build(); };
  const auto tos6 = [](uint8_t tos) { return Ipv6().Tos(tos).Build(); };
  ExpectMatches(
      Family::kIpv4,
      {
          {"-m dscp --dscp 0x2e", tos4(0xb8), true},
          {"-m dscp --dscp 0x2e", tos4(0xbb), true},  // ECN bits do not count
          {"-m dscp --dscp 0x2e", tos4(0xbc), false},
          {"-m dscp ! --dscp 0x2e", tos4(0xbc), true},
          {"-m dscp ! --dscp-class EF", tos4(0xb8), false},
          {"-m tos --tos 0x10/0x3f", tos4(0x10), true},
          {"-m tos --tos 0x10/0x3f", tos4(0xd0), true},
          {"-m tos --tos 0x10/0x3f", tos4(0x11), false},
          {"-m tos ! --tos 0x10/0x3f", tos4(0x11), true},
          {"-m tos --tos 0x10", tos4(0x10), true},
          {"-m tos --tos 0x10", tos4(0x50), false},
      });
  ExpectMatches(Family::kIpv6, {
                                   {"-m dscp --dscp 0x2e", tos6(0xb8), true},
                                   {"-m dscp --dscp 0x2e", tos6(0xb4), false},
                                   {"-m tos --tos 0x1f", tos6(0x1f), true},
                                   {"-m tos --tos 0x1f", tos6(0x1e), false},
                               });
}

TEST(MatchHeader, TtlAndHopLimit) {
  const auto ttl = [](uint8_t value) { return Ipv4().Ttl(value).Build(); };
  const auto hl = [](uint8_t value) { return Ipv6().Ttl(value).Build(); };
  ExpectMatches(Family::kIpv4, {
                                   {"-m ttl --ttl-eq 64", ttl(64), true},
                                   {"-m ttl --ttl-eq 64", ttl(63), false},
                                   {"-m ttl ! --ttl-eq 64", ttl(64), false},
                                   {"-m ttl ! --ttl-eq 64", ttl(65), true},
                                   {"-m ttl --ttl-lt 64", ttl(63), true},
                                   {"-m ttl --ttl-lt 64", ttl(64), false},
                                   {"-m ttl --ttl-gt 64", ttl(65), true},
                                   {"-m ttl --ttl-gt 64", ttl(64), false},
                               });
  ExpectMatches(Family::kIpv6, {
                                   {"-m hl --hl-eq 255", hl(255), true},
                                   {"-m hl --hl-eq 255", hl(254), false},
                                   {"-m hl ! --hl-eq 255", hl(254), true},
                                   {"-m hl --hl-lt 2", hl(1), true},
                                   {"-m hl --hl-lt 2", hl(2), false},
                                   {"-m hl --hl-gt 2", hl(3), true},
                                   {"-m hl --hl-gt 2", hl(2), false},
                               });
}

}  // namespace
}  // namespace nfarena::xt
