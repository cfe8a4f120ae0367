#include <gtest/gtest.h>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::ExpectMatches;
using testing::Ipv4;
using testing::Ipv6;
using testing::RuleRunner;
using testing::Standing;

TEST(MatchIcmp, TypesAndCodes) {
  const auto icmp = [](uint8_t type, uint8_t code) {
    return Ipv4().Icmp(type, code).Build();
  };
  ExpectMatches(
      Family::kIpv4,
      {
          {"-p icmp -m icmp --icmp-type echo-request", icmp(8, 0), true},
          {"-p icmp -m icmp --icmp-type echo-request", icmp(0, 0), false},
          {"-p icmp -m icmp --icmp-type 8", icmp(8, 77), true},
          {"-p icmp -m icmp ! --icmp-type 8", icmp(8, 0), false},
          {"-p icmp -m icmp ! --icmp-type 8", icmp(9, 0), true},
          {"-p icmp -m icmp --icmp-type 3/4", icmp(3, 4), true},
          {"-p icmp -m icmp --icmp-type 3/4", icmp(3, 3), false},
          {"-p icmp -m icmp --icmp-type 3/4", icmp(3, 5), false},
          {"-p icmp -m icmp ! --icmp-type 3/4", icmp(3, 5), true},
          {"-p icmp -m icmp --icmp-type any", icmp(200, 3), true},
          {"-p icmp -m icmp --icmp-type 8",
           Ipv4().Icmp(8, 0).Fragment(5, false).Build(), false},
          {"-p icmp -m icmp ! --icmp-type 0",
           Ipv4().Icmp(8, 0).Fragment(5, false).Build(), false},
      });
}

TEST(MatchIcmp, Icmpv6TypesAndCodes) {
  const auto icmp = [](uint8_t type, uint8_t code) {
    return Ipv6().Icmp(type, code).Build();
  };
  ExpectMatches(
      Family::kIpv6,
      {
          {"-p ipv6-icmp -m icmp6 --icmpv6-type 128", icmp(128, 0), true},
          {"-p ipv6-icmp -m icmp6 --icmpv6-type 128", icmp(129, 0), false},
          {"-p ipv6-icmp -m icmp6 --icmpv6-type 128", icmp(127, 0), false},
          {"-p ipv6-icmp -m icmp6 ! --icmpv6-type 128", icmp(129, 0), true},
          {"-p ipv6-icmp -m icmp6 --icmpv6-type 1/3", icmp(1, 3), true},
          {"-p ipv6-icmp -m icmp6 --icmpv6-type 1/3", icmp(1, 4), false},
          // 255 is a type like any other here.
          {"-p ipv6-icmp -m icmp6 --icmpv6-type 255", icmp(128, 0), false},
          {"-p ipv6-icmp -m icmp6 --icmpv6-type 255", icmp(255, 0), true},
          {"-p ipv6-icmp -m icmp6 --icmpv6-type 128",
           Ipv6().Extension(0, {5, 2, 0, 0}).Icmp(128, 0).Build(), true},
      });
}

TEST(MatchIcmp, TruncatedHeadersAreDropped) {
  for (const size_t bytes : {0u, 1u, 7u}) {
    RuleRunner runner(Family::kIpv4, TableKind::kFilter,
                      "-p icmp -m icmp --icmp-type 8");
    ASSERT_EQ(runner.error(), "");
    Standing standing(Ipv4().Icmp(8, 0).Cut(bytes).Build(), Hook::kForward);
    EXPECT_FALSE(runner.Matches(&standing));
    EXPECT_TRUE(standing.state.hotdrop) << bytes;
  }
  ExpectMatches(Family::kIpv4,
                {{"-p icmp -m icmp --icmp-type 8",
                  Ipv4().Icmp(8, 0).Data("ping").Cut(8).Build(), true}});
}

}  // namespace
}  // namespace nfarena::xt
