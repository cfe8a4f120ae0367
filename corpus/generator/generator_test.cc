#include "corpus/generator/generator.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>

#include "corpus/generator/random.h"

namespace nfarena {
namespace {

constexpr RuleProfile kProfiles[] = {RuleProfile::kAcl, RuleProfile::kFw,
                                     RuleProfile::kIpc};

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

uint64_t Fingerprint(const std::string& text) {
  uint64_t hash = 0;
  for (const char c : text) hash = Mix(hash ^ static_cast<uint8_t>(c));
  return hash;
}

std::string Ruleset(const GeneratorOptions& options) {
  return RulesText(options, GenerateRules(options));
}

TEST(Generator, SameSeedSameText) {
  for (const RuleProfile profile : kProfiles) {
    const GeneratorOptions options = {.profile = profile, .rules = 500};
    const std::string text = Ruleset(options);
    EXPECT_EQ(text, Ruleset(options));
    GeneratorOptions other = options;
    other.seed = 2;
    EXPECT_NE(text, Ruleset(other));
    const TraceOptions trace;
    const auto rules = GenerateRules(options);
    const std::string packets = PacketsText(options, rules, trace);
    EXPECT_EQ(packets, PacketsText(options, rules, trace));
    EXPECT_NE(packets, PacketsText(options, rules, {.seed = 2}));
  }
}

/// Published figures name a profile, a size and a seed; they must go on to
/// mean the same rules.
TEST(Generator, TextIsWhatItAlwaysWas) {
  const GeneratorOptions options = {.profile = RuleProfile::kFw, .rules = 200};
  const auto rules = GenerateRules(options);
  EXPECT_EQ(Fingerprint(RulesText(options, rules)), 14987775481205124101u);
  EXPECT_EQ(Fingerprint(PacketsText(options, rules, {})),
            13467404458624744279u);
}

TEST(Generator, ExactlySoManyDifferentRules) {
  for (const RuleProfile profile : kProfiles) {
    for (const bool ipv6 : {false, true}) {
      for (const uint32_t count : {1u, 2u, 4000u}) {
        const GeneratorOptions options = {
            .profile = profile, .ipv6 = ipv6, .rules = count};
        std::set<std::string> tests;
        uint32_t rules = 0;
        for (const std::string& line : Lines(Ruleset(options))) {
          if (line.rfind("-A ", 0) != 0) continue;
          ++rules;
          tests.insert(line.substr(0, line.find(" -j ")));
        }
        EXPECT_EQ(rules, count) << RuleProfileName(profile);
        EXPECT_EQ(tests.size(), count) << RuleProfileName(profile);
      }
    }
  }
}

TEST(Generator, LinesAreThoseOfIptablesSave) {
  const std::string option4 = R"(\d+\.\d+\.\d+\.\d+/\d+)";
  const std::string option6 = R"([0-9a-f:]+/\d+)";
  for (const bool ipv6 : {false, true}) {
    const std::string& prefix = ipv6 ? option6 : option4;
    const std::regex rule(
        "-A INPUT( -s " + prefix + ")?( -d " + prefix +
        ")?( -p (tcp|udp|icmp|ipv6-icmp|esp)( -m (tcp|udp)( --sport "
        "\\d+(:\\d+)?)?( --dport \\d+(:\\d+)?)?)?)? -j (ACCEPT|DROP)");
    const GeneratorOptions options = {.profile = RuleProfile::kIpc,
                                      .ipv6 = ipv6,
                                      .input = true,
                                      .rules = 500};
    const std::vector<std::string> lines = Lines(Ruleset(options));
    ASSERT_EQ(lines.size(), 500u + 6);
    EXPECT_EQ(lines[1], "*filter");
    EXPECT_EQ(lines[2], ":INPUT DROP [0:0]");
    EXPECT_EQ(lines.back(), "COMMIT");
    for (size_t i = 5; i + 1 < lines.size(); ++i) {
      EXPECT_TRUE(std::regex_match(lines[i], rule)) << lines[i];
    }
  }
}

TEST(Generator, PrefixesHaveNoBitsBeyondThem) {
  for (const bool ipv6 : {false, true}) {
    for (const GeneratedRule& rule :
         GenerateRules({.ipv6 = ipv6, .rules = 3000})) {
      const auto clean = [](const GeneratedAddress& address, unsigned bits) {
        for (unsigned bit = bits; bit < 128; ++bit) {
          if (address[bit / 8] >> (7 - bit % 8) & 1) return false;
        }
        return true;
      };
      EXPECT_TRUE(clean(rule.src, rule.src_bits));
      EXPECT_TRUE(clean(rule.dst, rule.dst_bits));
      if (rule.protocol != 6 && rule.protocol != 17) {
        EXPECT_TRUE(rule.sport.any() && rule.dport.any());
      }
      EXPECT_LE(rule.sport.low, rule.sport.high);
      EXPECT_LE(rule.dport.low, rule.dport.high);
      if (!ipv6 && rule.src_bits > 0) {
        EXPECT_NE(rule.src[0], 0);
        EXPECT_NE(rule.src[0], 127);
        EXPECT_LT(rule.src[0], 224);
      }
    }
  }
}

/// Whether everything `inner` tests true for is tested true by `outer`.
bool Covers(const GeneratedRule& outer, const GeneratedRule& inner) {
  const auto prefix = [](const GeneratedAddress& o, unsigned o_bits,
                         const GeneratedAddress& i, unsigned i_bits) {
    if (o_bits > i_bits) return false;
    for (unsigned bit = 0; bit < o_bits; ++bit) {
      if ((o[bit / 8] ^ i[bit / 8]) >> (7 - bit % 8) & 1) return false;
    }
    return true;
  };
  const auto range = [](const PortRange& o, const PortRange& i) {
    return o.low <= i.low && o.high >= i.high;
  };
  return prefix(outer.src, outer.src_bits, inner.src, inner.src_bits) &&
         prefix(outer.dst, outer.dst_bits, inner.dst, inner.dst_bits) &&
         (outer.protocol == 0 || outer.protocol == inner.protocol) &&
         range(outer.sport, inner.sport) && range(outer.dport, inner.dport);
}

TEST(Generator, NoRuleIsHiddenByAnEarlierOne) {
  for (const RuleProfile profile : kProfiles) {
    const auto rules = GenerateRules({.profile = profile, .rules = 1500});
    for (size_t i = 0; i < rules.size(); ++i) {
      for (size_t j = i + 1; j < rules.size(); ++j) {
        ASSERT_FALSE(Covers(rules[i], rules[j]))
            << RuleProfileName(profile) << " rules " << i << " and " << j;
      }
    }
  }
}

TEST(Generator, ProfilesDifferAsTheirTablesSay) {
  std::map<RuleProfile, double> wildcard_sides, exact_dports;
  for (const RuleProfile profile : kProfiles) {
    const auto rules = GenerateRules({.profile = profile, .rules = 2000});
    for (const GeneratedRule& rule : rules) {
      wildcard_sides[profile] += (rule.src_bits == 0) + (rule.dst_bits == 0);
      exact_dports[profile] += rule.dport.low == rule.dport.high;
    }
  }
  // Firewalls leave a side open most often, access lists name ports.
  EXPECT_GT(wildcard_sides[RuleProfile::kFw],
            wildcard_sides[RuleProfile::kIpc]);
  EXPECT_GT(exact_dports[RuleProfile::kAcl], exact_dports[RuleProfile::kFw]);
  EXPECT_GT(exact_dports[RuleProfile::kAcl], 1000);
}

TEST(Generator, AddressesShareNetworks) {
  const auto rules =
      GenerateRules({.profile = RuleProfile::kIpc, .rules = 5000});
  std::map<std::pair<uint8_t, uint8_t>, int> networks;
  int hosts = 0;
  for (const GeneratedRule& rule : rules) {
    if (rule.dst_bits < 16) continue;
    ++networks[{rule.dst[0], rule.dst[1]}];
    ++hosts;
  }
  // Far fewer networks than hosts, and some far fuller than others.
  EXPECT_LT(networks.size(), static_cast<size_t>(hosts / 10));
  const auto fullest = std::max_element(
      networks.begin(), networks.end(),
      [](const auto& a, const auto& b) { return a.second < b.second; });
  EXPECT_GT(fullest->second, 4 * hosts / static_cast<int>(networks.size()));
}

TEST(Packets, AreAsManyAsAskedFor) {
  const GeneratorOptions options = {.rules = 50};
  const auto rules = GenerateRules(options);
  for (const uint32_t count : {0u, 1u, 7u, 5000u}) {
    const auto lines = Lines(PacketsText(options, rules, {.packets = count}));
    EXPECT_EQ(lines.size(), count);
  }
  EXPECT_EQ(PacketsText(options, {}, {.packets = 5}), "");
}

TEST(Packets, LinesAreThoseOfALog) {
  const std::regex line(
      "IN=eth0 OUT=eth1 SRC=\\d+\\.\\d+\\.\\d+\\.\\d+ "
      "DST=\\d+\\.\\d+\\.\\d+\\.\\d+ (PROTO=(TCP|UDP) SPT=\\d+ DPT=\\d+( SYN)?"
      "|PROTO=ICMP TYPE=8 CODE=0 ID=\\d+ SEQ=1|PROTO=ESP SPI=0x[0-9a-f]+)");
  const GeneratorOptions options = {.profile = RuleProfile::kFw, .rules = 300};
  for (const std::string& packet :
       Lines(PacketsText(options, GenerateRules(options), {.packets = 300}))) {
    EXPECT_TRUE(std::regex_match(packet, line)) << packet;
  }
  const GeneratorOptions input = {.ipv6 = true, .input = true, .rules = 10};
  // 2000::/3, the global unicast addresses, is 2000: to 3fff:.
  const std::regex line6(
      "IN=eth0 OUT= SRC=[23][0-9a-f]{3}:[0-9a-f:]+ DST=[23][0-9a-f]{3}:.*");
  for (const std::string& packet :
       Lines(PacketsText(input, GenerateRules(input), {.packets = 100}))) {
    EXPECT_TRUE(std::regex_match(packet, line6)) << packet;
  }
}

TEST(Packets, LocalityIsHowOftenTheyComeAgain) {
  const GeneratorOptions options = {.rules = 2000};
  const auto rules = GenerateRules(options);
  const auto distinct = [&](uint32_t locality) {
    const auto lines = Lines(PacketsText(
        options, rules, {.packets = 20000, .locality_percent = locality}));
    size_t runs = 1;
    for (size_t i = 1; i < lines.size(); ++i) runs += lines[i] != lines[i - 1];
    return runs;
  };
  const size_t none = distinct(0), some = distinct(10), all = distinct(100);
  EXPECT_GT(none, 19900u);
  EXPECT_LT(some, none);
  EXPECT_LT(all, 10001u);
  EXPECT_LT(all, some);
}

TEST(Pieces, AreTheTextAndEndWhenTheSinkSaysSo) {
  const GeneratorOptions options = {.rules = 5000};
  const auto rules = GenerateRules(options);
  const TraceOptions trace = {.packets = 5000};
  std::string text;
  size_t pieces = 0;
  const TextSink keep = [&](std::string_view piece) {
    text += piece;
    ++pieces;
    return true;
  };
  EXPECT_TRUE(WriteRules(options, rules, keep));
  EXPECT_EQ(text, RulesText(options, rules));
  EXPECT_GT(pieces, 2u);
  text.clear();
  EXPECT_TRUE(WritePackets(options, rules, trace, keep));
  EXPECT_EQ(text, PacketsText(options, rules, trace));

  size_t taken = 0;
  const TextSink full = [&](std::string_view) { return ++taken < 2; };
  EXPECT_FALSE(WriteRules(options, rules, full));
  EXPECT_EQ(taken, 2u);
  EXPECT_FALSE(WritePackets(options, rules, trace, full));
  EXPECT_EQ(taken, 3u);
}

TEST(Names, RoundTrip) {
  for (const RuleProfile profile : kProfiles) {
    RuleProfile back = RuleProfile::kAcl;
    EXPECT_TRUE(RuleProfileFromName(RuleProfileName(profile), &back));
    EXPECT_EQ(back, profile);
  }
  RuleProfile ignored;
  EXPECT_FALSE(RuleProfileFromName("ACL", &ignored));
  EXPECT_FALSE(RuleProfileFromName("", &ignored));
}

TEST(Generator, AMillionRules) {
  const GeneratorOptions options = {.profile = RuleProfile::kFw,
                                    .rules = kGeneratedRulesMax};
  const std::string text = Ruleset(options);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 1'000'006);
}

}  // namespace
}  // namespace nfarena
