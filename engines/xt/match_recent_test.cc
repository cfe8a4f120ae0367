#include <gtest/gtest.h>

#include <cstring>
#include <memory>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Ipv6;
using testing::PacketBuilder;
using testing::RuleRunner;
using testing::Standing;

/// Rules that share one network namespace.
class MatchRecentTest : public ::testing::Test {
 protected:
  /// 'y' or 'n', in capitals where the clock decides; '!' when hotdropped.
  char Run(const char* rule, const PacketBuilder& builder,
           Hook hook = Hook::kInput) {
    const Packet packet = builder.Build();
    RuleRunner runner(packet.family, TableKind::kFilter, rule,
                      static_cast<uint8_t>(1 << static_cast<int>(hook)));
    EXPECT_EQ(runner.error(), "") << rule;
    Standing standing(packet, hook);
    standing.state.tracker = &tracker_;
    const bool match = runner.Matches(&standing);
    if (!standing.outcome.indeterminate.empty()) return match ? 'Y' : 'N';
    return match ? 'y' : 'n';
  }

  Tracker tracker_;
};

PacketBuilder From(const char* address, uint64_t time_ms = 0) {
  return Ipv4().In("eth0").From(address).At(time_ms);
}

TEST_F(MatchRecentTest, SetCheckAndRemove) {
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.1")), 'n');
  EXPECT_EQ(Run("-m recent ! --rcheck --name a", From("10.0.0.1")), 'y');
  EXPECT_EQ(Run("-m recent --set --name a", From("10.0.0.1")), 'y');
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.1")), 'y');
  EXPECT_EQ(Run("-m recent ! --rcheck --name a", From("10.0.0.1")), 'n');
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.2")), 'n');
  EXPECT_EQ(Run("-m recent --rcheck --name b", From("10.0.0.1")), 'n');
  EXPECT_EQ(Run("-m recent --remove --name a", From("10.0.0.2")), 'n');
  EXPECT_EQ(Run("-m recent --remove --name a", From("10.0.0.1")), 'y');
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.1")), 'n');
}

TEST_F(MatchRecentTest, HitCountIsWhatUfwLimitsWith) {
  const char* set = "-m recent --set --name ssh";
  const char* update =
      "-m recent --update --seconds 30 --hitcount 6 --name ssh";
  std::string results;
  for (int i = 0; i < 8; ++i) {
    Run(set, From("10.0.0.1"));
    results += Run(update, From("10.0.0.1"));
  }
  // An update that matches counts as seen once more.
  EXPECT_EQ(results, "nnnnnyyy");
  EXPECT_EQ(Run(update, From("10.0.0.2")), 'n');
}

TEST_F(MatchRecentTest, OldTimesDoNotCount) {
  const char* check = "-m recent --rcheck --seconds 60 --name a";
  Run("-m recent --set --name a", From("10.0.0.1", 0));
  EXPECT_EQ(Run(check, From("10.0.0.1", 0)), 'y');
  // A faster clock would say yes, a slower one no.
  EXPECT_EQ(Run(check, From("10.0.0.1", 57'000)), 'y');
  EXPECT_EQ(Run(check, From("10.0.0.1", 59'000)), 'Y');
  EXPECT_EQ(Run(check, From("10.0.0.1", 60'000)), 'Y');
  EXPECT_EQ(Run(check, From("10.0.0.1", 60'001)), 'N');
  EXPECT_EQ(Run("-m recent --rcheck --seconds 1 --name a", From("10.0.0.1", 0)),
            'Y');
}

TEST_F(MatchRecentTest, UpdateMovesTheTime) {
  const char* update = "-m recent --update --seconds 60 --name a";
  Run("-m recent --set --name a", From("10.0.0.1", 0));
  EXPECT_EQ(Run(update, From("10.0.0.1", 50'000)), 'y');
  EXPECT_EQ(Run(update, From("10.0.0.1", 100'000)), 'y');
  // The one at 100 s keeps it alive.
  EXPECT_EQ(Run("-m recent --rcheck --seconds 60 --name a",
                From("10.0.0.1", 150'000)),
            'y');
}

TEST_F(MatchRecentTest, ReapForgets) {
  Run("-m recent --set --name a", From("10.0.0.1", 0));
  Run("-m recent --set --name a", From("10.0.0.2", 50'000));
  EXPECT_EQ(Run("-m recent --rcheck --seconds 60 --reap --name a",
                From("10.0.0.2", 61'000)),
            'y');
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.1", 61'000)), 'n');
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.2", 61'000)), 'y');
}

TEST_F(MatchRecentTest, DestinationMaskAndTtl) {
  Run("-m recent --set --rdest --name a", Ipv4().In("eth0").To("10.0.0.9"));
  EXPECT_EQ(Run("-m recent --rcheck --rsource --name a", From("10.0.0.9")),
            'y');
  const char* masked_set = "-m recent --set --mask 255.255.255.0 --name m";
  const char* masked = "-m recent --rcheck --mask 255.255.255.0 --name m";
  Run(masked_set, From("10.0.5.1"));
  EXPECT_EQ(Run(masked, From("10.0.5.200")), 'y');
  EXPECT_EQ(Run(masked, From("10.0.6.1")), 'n');

  Run("-m recent --set --name t", From("10.0.0.1").Ttl(60));
  EXPECT_EQ(Run("-m recent --rcheck --rttl --name t", From("10.0.0.1").Ttl(60)),
            'y');
  EXPECT_EQ(Run("-m recent --rcheck --rttl --name t", From("10.0.0.1").Ttl(61)),
            'n');
  // In FORWARD the TTL has been lowered already.
  EXPECT_EQ(Run("-m recent --rcheck --rttl --name t",
                Ipv4().In("eth0").Out("eth1").From("10.0.0.1").Ttl(59),
                Hook::kForward),
            'y');
}

TEST_F(MatchRecentTest, TheLongestUnseenOfAHundredGivesWay) {
  for (int i = 0; i < 100; ++i) {
    Run("-m recent --set --name a",
        From(("10.0.0." + std::to_string(i)).c_str()));
  }
  Run("-m recent --set --name a", From("10.0.0.0"));  // seen again
  Run("-m recent --set --name a", From("10.0.1.1"));  // one too many
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.0")), 'y');
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.1")), 'n');
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.2")), 'y');
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.1.1")), 'y');
}

TEST_F(MatchRecentTest, FamiliesShareAList) {
  Run("-m recent --set --name a", From("0.0.0.1"));
  EXPECT_EQ(Run("-m recent --rcheck --name a", Ipv6().In("eth0").From("0:1::")),
            'n');
  Run("-m recent --set --name a", Ipv6().In("eth0").From("2001:db8::5"));
  EXPECT_EQ(
      Run("-m recent --rcheck --name a", Ipv6().In("eth0").From("2001:db8::5")),
      'y');
}

TEST_F(MatchRecentTest, ClearForgetsAll) {
  Run("-m recent --set --name a", From("10.0.0.1"));
  tracker_.Clear();
  EXPECT_EQ(Run("-m recent --rcheck --name a", From("10.0.0.1")), 'n');
}

TEST(MatchRecentCheck, Refusals) {
  const XtMatch* recent = FindXtMatch(Family::kIpv4, "recent", 1);
  ASSERT_NE(recent, nullptr);
  const auto check = [&](uint32_t seconds, uint32_t hits, uint8_t modes,
                         std::string name) {
    std::vector<uint8_t> payload((recent->payload_size + 7) / 8 * 8);
    std::memcpy(&payload[0], &seconds, 4);
    std::memcpy(&payload[4], &hits, 4);
    payload[8] = modes;
    std::memcpy(&payload[10], name.data(), name.size());
    const Status status = recent->check(payload, {});
    return status ? 0 : status.error().errno_value;
  };
  constexpr uint8_t kCheck = 1, kSet = 2, kReap = 32;
  EXPECT_EQ(check(0, 0, kSet, "a"), 0);
  EXPECT_EQ(check(0, 0, kCheck, "a"), 0);
  EXPECT_EQ(check(0, 0, kCheck | kSet, "a"), EINVAL);
  EXPECT_EQ(check(0, 0, 0, "a"), EINVAL);
  EXPECT_EQ(check(0, 0, 64 | kSet, "a"), EINVAL);
  EXPECT_EQ(check(5, 0, kSet, "a"), EINVAL);
  EXPECT_EQ(check(0, 0, kCheck | kReap, "a"), EINVAL);
  EXPECT_EQ(check(5, 0, kCheck | kReap, "a"), 0);
  EXPECT_EQ(check(0, 255, kCheck, "a"), 0);
  EXPECT_EQ(check(0, 256, kCheck, "a"), EINVAL);
  EXPECT_EQ(check(0, 0, kSet, ""), EINVAL);
  EXPECT_EQ(check(0, 0, kSet, ".."), EINVAL);
  EXPECT_EQ(check(0, 0, kSet, "a/b"), EINVAL);
  EXPECT_EQ(check(0, 0, kSet, std::string(200, 'a')), ENAMETOOLONG);
}

}  // namespace
}  // namespace nfarena::xt
