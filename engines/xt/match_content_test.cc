#include <gtest/gtest.h>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv4;
using testing::Ipv6;
using testing::RuleRunner;

TEST(MatchContent, String) {
  // The data starts at byte 28.
  const Packet get = Ipv4().Udp(1, 2).Data("GET /index HTTP/1.1").Build();
  ExpectMatches(
      Family::kIpv4,
      {
          {"-m string --algo bm --string \"/index\"", get, true},
          {"-m string --algo kmp --string \"/index\"", get, true},
          {"-m string --algo bm --string \"/Index\"", get, false},
          {"-m string --algo bm --icase --string \"/Index\"", get, true},
          {"-m string --algo bm ! --string \"/index\"", get, false},
          {"-m string --algo bm ! --string \"/other\"", get, true},
          {"-m string --algo bm --hex-string \"|474554 2f|\"", get, false},
          {"-m string --algo bm --hex-string \"|47455420|/\"", get, true},
          {"-m string --algo bm --from 28 --string \"GET\"", get, true},
          {"-m string --algo bm --from 29 --string \"GET\"", get, false},
          {"-m string --algo bm --to 31 --string \"GET\"", get, true},
          {"-m string --algo bm --to 30 --string \"GET\"", get, false},
          {"-m string --algo bm --from 1000 --string \"GET\"", get, false},
          {"-m string --algo bm --from 1000 ! --string \"GET\"", get, true},
          {"-m string --algo bm --string \"GET\"",
           Ipv6().Udp(1, 2).Data("xGET").Build(), true},
      });
}

TEST(MatchContent, StringLooksOnlyAtTheFirstFind) {
  // The first "aa" lies across the end of the range, as the kernel's search
  // reports it; a later range would not help.
  const Packet packet = Ipv4().Udp(1, 2).Data("..aa").Build();
  ExpectMatches(Family::kIpv4,
                {
                    {"-m string --algo kmp --from 28 --to 32 --string \"aa\"",
                     packet, true},
                    {"-m string --algo kmp --from 28 --to 31 --string \"aa\"",
                     packet, false},
                });
}

TEST(MatchContent, U32) {
  const Packet tcp = Ipv4().Tcp(0x1234, 80).Ttl(9).Build();
  const Packet udp = Ipv4().Udp(0x1234, 80).Build();
  ExpectMatches(
      Family::kIpv4,
      {
          // Protocol.
          {"-m u32 --u32 \"6&0xFF=6\"", tcp, true},
          {"-m u32 --u32 \"6&0xFF=6\"", udp, false},
          {"-m u32 ! --u32 \"6&0xFF=6\"", udp, true},
          {"-m u32 --u32 \"6&0xFF=6,17\"", udp, true},
          {"-m u32 --u32 \"6&0xFF=7:16\"", udp, false},
          {"-m u32 --u32 \"6&0xFF=7:17\"", udp, true},
          // TTL, shifted down.
          {"-m u32 --u32 \"8>>24=9\"", tcp, true},
          {"-m u32 --u32 \"8>>24=8\"", tcp, false},
          {"-m u32 --u32 \"8<<8>>24=6\"", tcp, true},
          // Source port, behind the header's own length.
          {"-m u32 --u32 \"0>>22&0x3C@0>>16=0x1234\"", tcp, true},
          {"-m u32 --u32 \"0>>22&0x3C@0>>16=0x1235\"", tcp, false},
          // All operands must hold.
          {"-m u32 --u32 \"6&0xFF=6&&0>>22&0x3C@0&0xFFFF=80\"", tcp, true},
          {"-m u32 --u32 \"6&0xFF=6&&0>>22&0x3C@0&0xFFFF=81\"", tcp, false},
          // The last word of the packet, and one byte further.
          {"-m u32 --u32 \"36=0:0xFFFFFFFF\"", tcp, true},
          {"-m u32 --u32 \"37=0:0xFFFFFFFF\"", tcp, false},
          {"-m u32 ! --u32 \"37=0:0xFFFFFFFF\"", tcp, true},
          {"-m u32 --u32 \"0>>22&0x3C@16=0:0xFFFFFFFF\"", tcp, true},
          {"-m u32 --u32 \"0>>22&0x3C@17=0:0xFFFFFFFF\"", tcp, false},
          {"-m u32 --u32 \"12@0=0\"", tcp, false},
      });
}

}  // namespace
}  // namespace nfarena::xt
