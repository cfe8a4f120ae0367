#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "engines/core/tracker.h"
#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::kAck;
using testing::kRst;
using testing::kSyn;
using testing::PacketBuilder;
using testing::RuleRunner;
using testing::Standing;

class MatchConnlimitTest : public ::testing::Test {
 protected:
  void Rule(const char* text) {
    rule_ =
        std::make_unique<RuleRunner>(Family::kIpv4, TableKind::kFilter, text,
                                     uint8_t{1 << 2}, std::nullopt, &net_);
    ASSERT_EQ(rule_->error(), "");
  }
  /// 'y' or 'n', in capitals where the clock decides; '!' when hotdropped.
  /// What does not match goes on and its connection stays.
  char Run(const PacketBuilder& builder) {
    Standing standing(builder.Build(), hook_);
    standing.state.tracker = &tracker_;
    EXPECT_TRUE(tracker_.Track(&standing.state));
    const bool match = rule_->Matches(&standing);
    if (!match) tracker_.Confirm(&standing.state);
    tracker_.Release(&standing.state);
    if (standing.state.hotdrop) return '!';
    if (!standing.outcome.indeterminate.empty()) return match ? 'Y' : 'N';
    return match ? 'y' : 'n';
  }
  char Syn(const char* source, uint16_t port) {
    return Run(Ipv4().From(source).Tcp(port, 80, kSyn));
  }

  Hook hook_ = Hook::kForward;
  Tracker tracker_;
  NetState net_;
  std::unique_ptr<RuleRunner> rule_;
};

TEST_F(MatchConnlimitTest, EachSourceHasSoMany) {
  Rule("-p tcp --syn -m connlimit --connlimit-above 2");
  EXPECT_EQ(Syn("10.0.0.1", 1), 'n');
  EXPECT_EQ(Syn("10.0.0.1", 2), 'n');
  EXPECT_EQ(Syn("10.0.0.1", 3), 'y');
  EXPECT_EQ(Syn("10.0.0.1", 4), 'y');
  EXPECT_EQ(Syn("10.0.0.2", 1), 'n');
  // A SYN that comes again is no connection more.
  EXPECT_EQ(Syn("10.0.0.2", 1), 'n');
}

TEST_F(MatchConnlimitTest, UptoMaskAndDestination) {
  Rule("-p tcp -m connlimit --connlimit-upto 2 --connlimit-mask 24");
  EXPECT_EQ(Syn("10.0.0.1", 1), 'y');
  Rule("-p tcp -m connlimit --connlimit-above 1 --connlimit-mask 24");
  EXPECT_EQ(Syn("10.0.0.1", 11), 'n');
  EXPECT_EQ(Syn("10.0.0.9", 12), 'y');
  EXPECT_EQ(Syn("10.0.1.9", 13), 'n');
  Rule("-p tcp -m connlimit --connlimit-above 1 --connlimit-daddr");
  EXPECT_EQ(Syn("10.0.3.1", 21), 'n');
  EXPECT_EQ(Syn("10.0.4.9", 22), 'y');
}

TEST_F(MatchConnlimitTest, AClosedConnectionIsNotCountedForLong) {
  Rule("-p tcp -m connlimit --connlimit-above 1");
  EXPECT_EQ(Syn("10.0.0.1", 1), 'n');
  Run(Ipv4().From("10.0.0.1").Tcp(1, 80, kRst));
  // The kernel may not have noticed yet.
  EXPECT_EQ(Syn("10.0.0.1", 2), 'N');
}

TEST_F(MatchConnlimitTest, OffersToThisHostMayHaveBeenReset) {
  Rule("-p tcp -m connlimit --connlimit-above 1");
  hook_ = Hook::kInput;
  EXPECT_EQ(Syn("10.0.0.1", 1), 'n');
  EXPECT_EQ(Syn("10.0.0.1", 2), 'Y');
}

TEST_F(MatchConnlimitTest, RulesCountForThemselves) {
  Rule("-p tcp -m connlimit --connlimit-above 1");
  EXPECT_EQ(Syn("10.0.0.1", 1), 'n');
  const auto first = std::move(rule_);
  Rule("-p tcp -m connlimit --connlimit-above 1");
  EXPECT_EQ(Syn("10.0.0.1", 2), 'n');
}

}  // namespace
}  // namespace nfarena::xt
