// MARK, CONNMARK, CLASSIFY, LOG, NFLOG, TRACE, NFQUEUE, CT and NOTRACK.
#include <gtest/gtest.h>

#include <array>
#include <cstring>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Ipv6;
using testing::RuleRunner;
using testing::Standing;

struct MarkCase {
  const char* rule;
  uint32_t mark, connmark;
  uint32_t want_mark, want_connmark;
};

TEST(TargetMark, MarkAndConnmark) {
  const MarkCase cases[] = {
      {"-j MARK --set-mark 0x15", 0xff, 0, 0x15, 0},
      {"-j MARK --set-xmark 0x15/0x0f", 0xff, 0, 0xe5, 0},
      {"-j MARK --set-mark 0x15/0x0f", 0xff, 0, 0xf5, 0},
      {"-j MARK --and-mark 0x0f", 0xff, 0, 0x0f, 0},
      {"-j MARK --or-mark 0x100", 0xff, 0, 0x1ff, 0},
      {"-j MARK --xor-mark 0xf0", 0xff, 0, 0x0f, 0},
      {"-j CONNMARK --set-mark 0x15", 1, 0xff, 1, 0x15},
      {"-j CONNMARK --set-xmark 0x15/0x0f", 1, 0xff, 1, 0xe5},
      {"-j CONNMARK --and-mark 0x0f", 1, 0xff, 1, 0x0f},
      {"-j CONNMARK --or-mark 0x100", 1, 0xff, 1, 0x1ff},
      {"-j CONNMARK --save-mark", 0x12345678, 0xff, 0x12345678, 0x12345678},
      {"-j CONNMARK --save-mark --nfmask 0xff --ctmask 0xffff", 0x12345678,
       0xabcdef01, 0x12345678, 0xabcd0078},
      {"-j CONNMARK --restore-mark", 0xff, 0x12345678, 0x12345678, 0x12345678},
      {"-j CONNMARK --restore-mark --nfmask 0xffff --ctmask 0xff", 0xabcdef01,
       0x12345678, 0xabcd0078, 0x12345678},
  };
  for (const MarkCase& c : cases) {
    for (const Family family : {Family::kIpv4, Family::kIpv6}) {
      RuleRunner runner(family, TableKind::kMangle, c.rule);
      ASSERT_EQ(runner.error(), "") << c.rule;
      testing::PacketBuilder builder(family);
      Standing standing(builder.Mark(c.mark).Build(), Hook::kForward);
      standing.Track(CtInfo::kNew);
      standing.connection.mark = c.connmark;
      EXPECT_EQ(runner.RunTarget(&standing).verdict, XtVerdict::kContinue);
      EXPECT_EQ(standing.state.mark, c.want_mark) << c.rule;
      EXPECT_EQ(standing.connection.mark, c.want_connmark) << c.rule;
    }
  }
}

TEST(TargetMark, ConnmarkShifts) {
  const XtTarget* target = FindXtTarget(Family::kIpv4, "CONNMARK", 2);
  ASSERT_NE(target, nullptr);
  const auto run = [&](xt_connmark_tginfo2 info, uint32_t mark,
                       uint32_t connmark) {
    Standing standing(Ipv4().Mark(mark).Build(), Hook::kForward);
    standing.Track(CtInfo::kNew);
    standing.connection.mark = connmark;
    std::array<uint8_t, 16> payload{};
    std::memcpy(payload.data(), &info, sizeof(info));
    EXPECT_TRUE(target->check(payload, {}).has_value());
    target->target(payload.data(),
                   {&standing.state, TableKind::kMangle, nullptr});
    return std::pair(standing.state.mark, standing.connection.mark);
  };
  using Marks = std::pair<uint32_t, uint32_t>;
  xt_connmark_tginfo2 info{};
  info.ctmask = info.nfmask = 0xffffffff;
  info.shift_bits = 4;
  info.mode = XT_CONNMARK_SAVE;
  info.shift_dir = D_SHIFT_LEFT;
  EXPECT_EQ(run(info, 0x123, 0), Marks(0x123, 0x1230));
  info.shift_dir = D_SHIFT_RIGHT;
  EXPECT_EQ(run(info, 0x123, 0), Marks(0x123, 0x12));
  info.mode = XT_CONNMARK_RESTORE;
  EXPECT_EQ(run(info, 0, 0x123), Marks(0x12, 0x123));
  info.mode = XT_CONNMARK_SET;
  info.ctmark = 0x560;
  EXPECT_EQ(run(info, 0, 0x123), Marks(0, 0x56));

  std::array<uint8_t, 16> payload{};
  info.shift_bits = 32;
  std::memcpy(payload.data(), &info, sizeof(info));
  EXPECT_EQ(target->check(payload, {}).error().errno_value, EINVAL);
  info.shift_bits = 31;
  info.shift_dir = 2;
  std::memcpy(payload.data(), &info, sizeof(info));
  EXPECT_EQ(target->check(payload, {}).error().errno_value, EINVAL);
}

TEST(TargetMark, ConnmarkWithoutConnectionDoesNothing) {
  RuleRunner runner(Family::kIpv4, TableKind::kMangle,
                    "-j CONNMARK --restore-mark");
  ASSERT_EQ(runner.error(), "");
  Standing standing(Ipv4().Mark(7).Build(), Hook::kForward);
  EXPECT_EQ(runner.RunTarget(&standing).verdict, XtVerdict::kContinue);
  EXPECT_EQ(standing.state.mark, 7u);
}

TEST(TargetMark, Classify) {
  RuleRunner runner(Family::kIpv4, TableKind::kMangle,
                    "-j CLASSIFY --set-class 1:ffff");
  ASSERT_EQ(runner.error(), "");
  Standing standing(Ipv4().Build(), Hook::kForward);
  EXPECT_EQ(runner.RunTarget(&standing).verdict, XtVerdict::kContinue);
  EXPECT_EQ(standing.state.priority, 0x1ffffu);
  EXPECT_EQ(RuleRunner(Family::kIpv4, TableKind::kMangle,
                       "-j CLASSIFY --set-class 1:1",
                       1 << static_cast<int>(Hook::kPrerouting))
                .error_number(),
            EINVAL);
}

TEST(TargetLog, RecordsAreKept) {
  RuleRunner log(Family::kIpv4, TableKind::kFilter,
                 "-j LOG --log-prefix \"IN drop: \" --log-level 3");
  RuleRunner nflog(Family::kIpv4, TableKind::kFilter,
                   "-j NFLOG --nflog-group 30 --nflog-prefix \"x y\"");
  ASSERT_EQ(log.error(), "");
  ASSERT_EQ(nflog.error(), "");
  Standing standing(Ipv4().Build(), Hook::kForward);
  EXPECT_EQ(log.RunTarget(&standing).verdict, XtVerdict::kContinue);
  EXPECT_EQ(nflog.RunTarget(&standing).verdict, XtVerdict::kContinue);
  const std::vector<LogRecord> want = {
      {.prefix = "IN drop: ", .group = 0, .nflog = false, .level = 3},
      {.prefix = "x y", .group = 30, .nflog = true, .level = 0},
  };
  EXPECT_EQ(standing.outcome.logs, want);
}

TEST(TargetLog, BadPayloadsAreRefused) {
  const XtTarget* target = FindXtTarget(Family::kIpv4, "LOG", 0);
  ASSERT_NE(target, nullptr);
  xt_log_info info{};
  info.level = 7;
  std::memset(info.prefix, 'x', sizeof(info.prefix) - 1);
  const auto check = [&] {
    std::array<uint8_t, 32> payload{};
    std::memcpy(payload.data(), &info, sizeof(info));
    const Status status = target->check(payload, {});
    return status ? 0 : status.error().errno_value;
  };
  EXPECT_EQ(check(), 0);
  info.level = 8;
  EXPECT_EQ(check(), EINVAL);
  info.level = 4;
  info.prefix[sizeof(info.prefix) - 1] = 'x';
  EXPECT_EQ(check(), EINVAL);
}

TEST(TargetLog, Trace) {
  RuleRunner runner(Family::kIpv6, TableKind::kRaw, "-j TRACE",
                    1 << static_cast<int>(Hook::kPrerouting));
  ASSERT_EQ(runner.error(), "");
  Standing standing(Ipv6().Build(), Hook::kPrerouting);
  EXPECT_FALSE(standing.state.traced);
  EXPECT_EQ(runner.RunTarget(&standing).verdict, XtVerdict::kContinue);
  EXPECT_TRUE(standing.state.traced);
  EXPECT_EQ(
      RuleRunner(Family::kIpv4, TableKind::kRaw, "-j TRACE",
                 1 << static_cast<int>(Hook::kPrerouting), TableKind::kMangle)
          .error_number(),
      EINVAL);
}

TEST(TargetQueue, Numbers) {
  struct Case {
    const char* rule;
    uint16_t queue;
    bool sure;
  };
  const Case cases[] = {
      {"-j NFQUEUE", 0, true},
      {"-j NFQUEUE --queue-num 65535", 65535, true},
      {"-j NFQUEUE --queue-num 5 --queue-bypass", 5, true},
      {"-j NFQUEUE --queue-balance 10:13", 10, false},
      {"-j NFQUEUE --queue-balance 10:13 --queue-cpu-fanout", 10, false},
      {"-j NFQUEUE --queue-balance 10:13 --queue-bypass", 10, false},
  };
  for (const Case& c : cases) {
    RuleRunner runner(Family::kIpv4, TableKind::kFilter, c.rule);
    ASSERT_EQ(runner.error(), "") << c.rule;
    Standing standing(Ipv4().Build(), Hook::kForward);
    const XtTargetResult result = runner.RunTarget(&standing);
    EXPECT_EQ(result.verdict, XtVerdict::kQueue) << c.rule;
    EXPECT_EQ(result.queue, c.queue) << c.rule;
    EXPECT_EQ(standing.outcome.indeterminate.empty(), c.sure) << c.rule;
  }
}

TEST(TargetQueue, OldRevisionsAndChecks) {
  const auto run = [](uint8_t revision, std::vector<uint8_t> payload) {
    payload.resize(8);
    const XtTarget* target = FindXtTarget(Family::kIpv4, "NFQUEUE", revision);
    EXPECT_NE(target, nullptr);
    if (Status status = target->check(payload, {}); !status) {
      return -status.error().errno_value;
    }
    Standing standing(Ipv4().Build(), Hook::kForward);
    return int{target
                   ->target(payload.data(),
                            {&standing.state, TableKind::kFilter, nullptr})
                   .queue};
  };
  EXPECT_EQ(run(0, {7, 0}), 7);
  EXPECT_EQ(run(1, {7, 0, 1, 0}), 7);
  EXPECT_EQ(run(1, {7, 0, 0, 0}), -EINVAL);
  EXPECT_EQ(run(1, {0xff, 0xff, 1, 0}), 65535);
  EXPECT_EQ(run(1, {0xff, 0xff, 2, 0}), -ERANGE);
  EXPECT_EQ(run(2, {7, 0, 1, 0, 1, 0}), 7);
  EXPECT_EQ(run(2, {7, 0, 1, 0, 2, 0}), -EINVAL);
  EXPECT_EQ(run(3, {7, 0, 1, 0, 3, 0}), 7);
  EXPECT_EQ(run(3, {7, 0, 1, 0, 4, 0}), -EINVAL);
}

class TargetCtTest : public ::testing::Test {
 protected:
  static constexpr uint8_t kPrerouting = 1
                                         << static_cast<int>(Hook::kPrerouting);

  static void Run(const char* rule, Standing* standing) {
    RuleRunner runner(Family::kIpv4, TableKind::kRaw, rule, kPrerouting);
    ASSERT_EQ(runner.error(), "") << rule;
    EXPECT_EQ(runner.RunTarget(standing).verdict, XtVerdict::kContinue);
  }
  static int Refused(Family family, const char* rule,
                     TableKind table = TableKind::kRaw) {
    return RuleRunner(family, TableKind::kRaw, rule, kPrerouting, table)
        .error_number();
  }
};

TEST_F(TargetCtTest, Notrack) {
  for (const char* rule : {"-j NOTRACK", "-j CT --notrack"}) {
    Standing fresh(Ipv4().Build(), Hook::kPrerouting);
    Run(rule, &fresh);
    EXPECT_EQ(fresh.state.ct_info, CtInfo::kUntracked) << rule;
    Standing tracked(Ipv4().Build(), Hook::kPrerouting);
    tracked.Track(CtInfo::kEstablished);
    Run(rule, &tracked);
    EXPECT_EQ(tracked.state.ct_info, CtInfo::kEstablished) << rule;
  }
}

TEST_F(TargetCtTest, Zones) {
  Standing standing(Ipv4().Build(), Hook::kPrerouting);
  Run("-j CT --zone 7", &standing);
  EXPECT_TRUE(standing.state.ct_template.set);
  EXPECT_EQ(standing.state.ct_template.zone, 7);
  EXPECT_EQ(standing.state.ct_template.zone_directions, 3);
  EXPECT_FALSE(standing.state.ct_template.zone_from_mark);
  // The first one counts.
  Run("-j CT --zone 8", &standing);
  EXPECT_EQ(standing.state.ct_template.zone, 7);
  Run("-j NOTRACK", &standing);
  EXPECT_NE(standing.state.ct_info, CtInfo::kUntracked);

  Standing original(Ipv4().Build(), Hook::kPrerouting);
  Run("-j CT --zone-orig 5", &original);
  EXPECT_EQ(original.state.ct_template.zone_directions, 1);
  Standing reply(Ipv4().Build(), Hook::kPrerouting);
  Run("-j CT --zone-reply mark", &reply);
  EXPECT_EQ(reply.state.ct_template.zone_directions, 2);
  EXPECT_TRUE(reply.state.ct_template.zone_from_mark);
}

TEST_F(TargetCtTest, Checks) {
  EXPECT_EQ(Refused(Family::kIpv4, "-p tcp -j CT --helper ftp"), 0);
  EXPECT_EQ(Refused(Family::kIpv4, "-j CT --helper ftp"), ENOENT);
  EXPECT_EQ(Refused(Family::kIpv4, "! -p udp -j CT --helper ftp"), ENOENT);
  EXPECT_EQ(Refused(Family::kIpv4, "-p udp -j CT --helper ftp"), ENOENT);
  EXPECT_EQ(Refused(Family::kIpv4, "-p udp -j CT --helper tftp"), 0);
  EXPECT_EQ(Refused(Family::kIpv4, "-p tcp -j CT --helper irc"), 0);
  EXPECT_EQ(Refused(Family::kIpv6, "-p tcp -j CT --helper irc"), ENOENT);
  EXPECT_EQ(Refused(Family::kIpv4, "-p tcp -j CT --helper nonesuch"), ENOENT);
  EXPECT_EQ(Refused(Family::kIpv4, "-p tcp -j CT --timeout nonesuch"), ENOENT);
  EXPECT_EQ(Refused(Family::kIpv4, "-j CT --zone 1", TableKind::kMangle),
            EINVAL);
  EXPECT_EQ(Refused(Family::kIpv4, "-j NOTRACK", TableKind::kMangle), EINVAL);
}

}  // namespace
}  // namespace nfarena::xt
