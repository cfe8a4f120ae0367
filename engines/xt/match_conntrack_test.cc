#include <gtest/gtest.h>

#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::xt {
namespace {

using testing::Ipv4;
using testing::Ipv6;
using testing::ParseAddress;
using testing::RuleRunner;
using testing::Standing;

/// A flow 10.0.0.1:1000 -> 192.0.2.9:80 that DNAT sends to 10.9.9.9:8080.
void Fill(Connection* connection) {
  connection->original = {.family = Family::kIpv4,
                          .protocol = 6,
                          .src = ParseAddress("10.0.0.1"),
                          .dst = ParseAddress("192.0.2.9"),
                          .src_port = 1000,
                          .dst_port = 80};
  connection->reply = {.family = Family::kIpv4,
                       .protocol = 6,
                       .src = ParseAddress("10.9.9.9"),
                       .dst = ParseAddress("10.0.0.1"),
                       .src_port = 8080,
                       .dst_port = 1000};
  connection->status = kStatusConfirmed | kStatusDstNat;
}

struct Case {
  const char* rule;
  CtInfo info;
  bool want;
};

bool Matches(const char* rule, CtInfo info, bool tracked,
             uint32_t status = kStatusConfirmed | kStatusDstNat) {
  RuleRunner runner(Family::kIpv4, TableKind::kFilter, rule);
  EXPECT_EQ(runner.error(), "") << rule;
  Standing standing(Ipv4().Tcp(1000, 80).Build(), Hook::kForward);
  standing.state.ct_info = info;
  Fill(&standing.connection);
  standing.connection.status = status;
  if (tracked) standing.Track(info);
  return runner.Matches(&standing);
}

TEST(MatchConntrack, States) {
  const Case cases[] = {
      {"-m conntrack --ctstate NEW", CtInfo::kNew, true},
      {"-m conntrack --ctstate NEW", CtInfo::kEstablished, false},
      {"-m conntrack --ctstate ESTABLISHED", CtInfo::kEstablished, true},
      {"-m conntrack --ctstate ESTABLISHED", CtInfo::kEstablishedReply, true},
      {"-m conntrack --ctstate ESTABLISHED", CtInfo::kRelated, false},
      {"-m conntrack --ctstate RELATED", CtInfo::kRelated, true},
      {"-m conntrack --ctstate RELATED", CtInfo::kRelatedReply, true},
      {"-m conntrack --ctstate RELATED,ESTABLISHED", CtInfo::kRelated, true},
      {"-m conntrack --ctstate RELATED,ESTABLISHED", CtInfo::kNew, false},
      {"-m conntrack ! --ctstate NEW", CtInfo::kNew, false},
      {"-m conntrack ! --ctstate NEW", CtInfo::kEstablished, true},
      {"-m conntrack --ctstate DNAT", CtInfo::kNew, true},
      {"-m conntrack --ctstate SNAT", CtInfo::kNew, false},
      {"-m conntrack --ctstate INVALID", CtInfo::kNew, false},
      {"-m conntrack --ctstate UNTRACKED", CtInfo::kNew, false},
      {"-m state --state NEW", CtInfo::kNew, true},
      {"-m state --state NEW", CtInfo::kEstablishedReply, false},
      {"-m state --state RELATED,ESTABLISHED", CtInfo::kEstablishedReply, true},
      {"-m state --state INVALID", CtInfo::kNew, false},
      {"-m state ! --state INVALID", CtInfo::kNew, true},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Matches(c.rule, c.info, true), c.want)
        << c.rule << " of " << static_cast<int>(c.info);
  }
  EXPECT_TRUE(Matches("-m conntrack --ctstate SNAT", CtInfo::kNew, true,
                      kStatusSrcNat));
  EXPECT_FALSE(Matches("-m conntrack --ctstate DNAT", CtInfo::kNew, true,
                       kStatusSrcNat));
}

TEST(MatchConntrack, WithoutConnection) {
  const Case cases[] = {
      {"-m conntrack --ctstate INVALID", CtInfo::kInvalid, true},
      {"-m conntrack --ctstate INVALID", CtInfo::kUntracked, false},
      {"-m conntrack --ctstate UNTRACKED", CtInfo::kUntracked, true},
      {"-m conntrack --ctstate UNTRACKED", CtInfo::kInvalid, false},
      {"-m conntrack ! --ctstate NEW", CtInfo::kInvalid, true},
      {"-m conntrack --ctstate NEW", CtInfo::kInvalid, false},
      {"-m state --state INVALID", CtInfo::kInvalid, true},
      {"-m state --state UNTRACKED", CtInfo::kUntracked, true},
      {"-m state --state UNTRACKED", CtInfo::kInvalid, false},
      // The state is all that is asked then: the port is never looked at.
      {"-m conntrack --ctstate INVALID --ctorigdstport 1", CtInfo::kInvalid,
       true},
      {"-m conntrack --ctorigdstport 80", CtInfo::kInvalid, false},
      {"-m conntrack ! --ctorigdstport 80", CtInfo::kInvalid, false},
      {"-m connmark --mark 0", CtInfo::kInvalid, false},
      {"-m connmark ! --mark 5", CtInfo::kInvalid, false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Matches(c.rule, c.info, false), c.want)
        << c.rule << " of " << static_cast<int>(c.info);
  }
}

TEST(MatchConntrack, TupleAndStatus) {
  const Case cases[] = {
      {"-m conntrack --ctproto tcp", CtInfo::kNew, true},
      {"-m conntrack --ctproto udp", CtInfo::kNew, false},
      {"-m conntrack ! --ctproto udp", CtInfo::kNew, true},
      {"-m conntrack --ctorigsrc 10.0.0.0/24", CtInfo::kNew, true},
      {"-m conntrack --ctorigsrc 10.0.1.0/24", CtInfo::kNew, false},
      {"-m conntrack ! --ctorigsrc 10.0.1.0/24", CtInfo::kNew, true},
      {"-m conntrack --ctorigdst 192.0.2.9", CtInfo::kNew, true},
      {"-m conntrack --ctorigdst 192.0.2.8", CtInfo::kNew, false},
      {"-m conntrack --ctreplsrc 10.9.9.9", CtInfo::kNew, true},
      {"-m conntrack --ctreplsrc 192.0.2.9", CtInfo::kNew, false},
      {"-m conntrack --ctrepldst 10.0.0.1", CtInfo::kNew, true},
      {"-m conntrack ! --ctrepldst 10.0.0.1", CtInfo::kNew, false},
      {"-m conntrack --ctorigsrcport 1000", CtInfo::kNew, true},
      {"-m conntrack --ctorigsrcport 999", CtInfo::kNew, false},
      {"-m conntrack --ctorigdstport 80", CtInfo::kNew, true},
      {"-m conntrack --ctorigdstport 79:80", CtInfo::kNew, true},
      {"-m conntrack --ctorigdstport 81:90", CtInfo::kNew, false},
      {"-m conntrack ! --ctorigdstport 81:90", CtInfo::kNew, true},
      {"-m conntrack --ctreplsrcport 8080", CtInfo::kNew, true},
      {"-m conntrack --ctreplsrcport 80", CtInfo::kNew, false},
      {"-m conntrack --ctrepldstport 1000", CtInfo::kNew, true},
      {"-m conntrack --ctrepldstport 1001", CtInfo::kNew, false},
      {"-m conntrack --ctdir ORIGINAL", CtInfo::kEstablished, true},
      {"-m conntrack --ctdir ORIGINAL", CtInfo::kEstablishedReply, false},
      {"-m conntrack --ctdir REPLY", CtInfo::kRelatedReply, true},
      {"-m conntrack --ctdir REPLY", CtInfo::kNew, false},
      {"-m conntrack --ctstatus CONFIRMED", CtInfo::kNew, true},
      {"-m conntrack --ctstatus ASSURED", CtInfo::kNew, false},
      {"-m conntrack ! --ctstatus ASSURED", CtInfo::kNew, true},
      {"-m conntrack --ctstatus SEEN_REPLY,CONFIRMED", CtInfo::kNew, true},
      // Everything that is asked must hold.
      {"-m conntrack --ctstate NEW --ctorigdstport 80 --ctstatus CONFIRMED",
       CtInfo::kNew, true},
      {"-m conntrack --ctstate NEW --ctorigdstport 80 --ctstatus ASSURED",
       CtInfo::kNew, false},
  };
  for (const Case& c : cases) {
    EXPECT_EQ(Matches(c.rule, c.info, true), c.want)
        << c.rule << " of " << static_cast<int>(c.info);
  }
}

TEST(MatchConntrack, Ipv6Addresses) {
  RuleRunner runner(Family::kIpv6, TableKind::kFilter,
                    "-m conntrack --ctorigsrc 2001:db8:5::/48");
  ASSERT_EQ(runner.error(), "");
  Standing standing(Ipv6().Build(), Hook::kForward);
  standing.Track(CtInfo::kNew);
  standing.connection.original.src = ParseAddress("2001:db8:5:ffff::1");
  EXPECT_TRUE(runner.Matches(&standing));
  standing.connection.original.src = ParseAddress("2001:db8:6::1");
  EXPECT_FALSE(runner.Matches(&standing));
}

TEST(MatchConntrack, Expiry) {
  const auto matches = [](const char* rule, uint64_t left_ms, uint32_t status) {
    RuleRunner runner(Family::kIpv4, TableKind::kFilter, rule);
    EXPECT_EQ(runner.error(), "") << rule;
    Standing standing(Ipv4().At(5000).Build(), Hook::kForward);
    standing.Track(CtInfo::kEstablished);
    standing.connection.status = status;
    standing.connection.expires_ms = 5000 + left_ms;
    const bool match = runner.Matches(&standing);
    return std::pair(match, !standing.outcome.indeterminate.empty());
  };
  using Result = std::pair<bool, bool>;
  const char* rule = "-m conntrack --ctexpire 100:200";
  EXPECT_EQ(matches(rule, 150'000, kStatusConfirmed), Result(true, false));
  EXPECT_EQ(matches(rule, 200'999, kStatusConfirmed), Result(true, false));
  EXPECT_EQ(matches(rule, 102'000, kStatusConfirmed), Result(true, false));
  EXPECT_EQ(matches(rule, 50'000, kStatusConfirmed), Result(false, false));
  EXPECT_EQ(matches(rule, 300'000, kStatusConfirmed), Result(false, false));
  // Two seconds of real time would change these.
  EXPECT_EQ(matches(rule, 101'999, kStatusConfirmed), Result(true, true));
  EXPECT_EQ(matches(rule, 201'000, kStatusConfirmed), Result(false, true));
  // The timeout of a connection that is not confirmed has not started.
  EXPECT_EQ(matches(rule, 150'000, 0), Result(false, false));
  EXPECT_EQ(matches("-m conntrack --ctexpire 0", 150'000, 0),
            Result(true, false));
}

TEST(MatchConntrack, Connmark) {
  const auto matches = [](const char* rule, uint32_t mark) {
    RuleRunner runner(Family::kIpv4, TableKind::kFilter, rule);
    EXPECT_EQ(runner.error(), "") << rule;
    Standing standing(Ipv4().Mark(0x99).Build(), Hook::kForward);
    standing.Track(CtInfo::kNew);
    standing.connection.mark = mark;
    return runner.Matches(&standing);
  };
  EXPECT_TRUE(matches("-m connmark --mark 0x15", 0x15));
  EXPECT_FALSE(matches("-m connmark --mark 0x15", 0x14));
  EXPECT_TRUE(matches("-m connmark --mark 0x10/0xf0", 0x15));
  EXPECT_FALSE(matches("-m connmark --mark 0x10/0xf0", 0x25));
  EXPECT_TRUE(matches("-m connmark ! --mark 0x15", 0x14));
  EXPECT_FALSE(matches("-m connmark ! --mark 0x15", 0x15));
}

TEST(MatchConntrack, Connbytes) {
  const auto matches = [](const char* options) {
    const std::string rule = std::string("-m connbytes ") + options;
    RuleRunner runner(Family::kIpv4, TableKind::kFilter, rule);
    EXPECT_EQ(runner.error(), "") << rule;
    Standing standing(Ipv4().Build(), Hook::kForward);
    EXPECT_FALSE(runner.Matches(&standing)) << "without a connection";
    standing.Track(CtInfo::kEstablished);
    standing.connection.direction[0] = {.packets = 10, .bytes = 1000};
    standing.connection.direction[1] = {.packets = 5, .bytes = 4000};
    return runner.Matches(&standing);
  };
  const auto ask = [&](const char* range, const char* dir, const char* mode) {
    return matches((std::string("--connbytes ") + range + " --connbytes-dir " +
                    dir + " --connbytes-mode " + mode)
                       .c_str());
  };
  EXPECT_TRUE(ask("10:10", "original", "packets"));
  EXPECT_FALSE(ask("11:", "original", "packets"));
  EXPECT_TRUE(ask("5:9", "reply", "packets"));
  EXPECT_FALSE(ask("6:9", "reply", "packets"));
  EXPECT_TRUE(ask("15:", "both", "packets"));
  EXPECT_FALSE(ask("16:", "both", "packets"));
  EXPECT_TRUE(ask("1000:1000", "original", "bytes"));
  EXPECT_TRUE(ask("5000:", "both", "bytes"));
  EXPECT_FALSE(ask("5001:", "both", "bytes"));
  EXPECT_TRUE(ask("100:100", "original", "avgpkt"));
  EXPECT_TRUE(ask("800:800", "reply", "avgpkt"));
  EXPECT_TRUE(ask("333:333", "both", "avgpkt"));
  EXPECT_FALSE(
      matches("! --connbytes 10:20 --connbytes-dir original "
              "--connbytes-mode packets"));
  EXPECT_TRUE(
      matches("! --connbytes 11:20 --connbytes-dir original "
              "--connbytes-mode packets"));
}

}  // namespace
}  // namespace nfarena::xt
