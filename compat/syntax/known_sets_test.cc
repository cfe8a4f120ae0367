#include "compat/syntax/known_sets.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "compat/syntax/save_parser.h"
#include "compat/syntax/save_printer.h"

namespace nfarena {
namespace {

using ::testing::HasSubstr;

constexpr char kSaved[] =
    "create four hash:ip family inet hashsize 1024 maxelem 65536\n"
    "add four 192.0.2.1\n"
    "create six hash:net family inet6 hashsize 1024 maxelem 65536\n"
    "create ports hash:ip,port family inet hashsize 1024\n"
    "create macs hash:mac hashsize 1024\n"
    "create all list:set size 8\n"
    "add all four\n";

TEST(ReadKnownSets, InOrderOfCreation) {
  const auto sets = ReadKnownSets(kSaved);
  ASSERT_TRUE(sets);
  ASSERT_EQ(sets->size(), 5u);
  EXPECT_EQ((*sets)[0].name, "four");
  EXPECT_EQ((*sets)[0].family, Family::kIpv4);
  EXPECT_EQ((*sets)[1].family, Family::kIpv6);
  EXPECT_EQ((*sets)[2].name, "ports");
  EXPECT_EQ((*sets)[3].family, std::nullopt);
  EXPECT_EQ((*sets)[4].family, std::nullopt);
  EXPECT_TRUE(ReadKnownSets("")->empty());
}

TEST(ReadKnownSets, Refuses) {
  const auto twice = ReadKnownSets("create a hash:ip\n\ncreate a hash:net\n");
  ASSERT_FALSE(twice);
  EXPECT_EQ(twice.error().place.line, 3u);
  EXPECT_FALSE(ReadKnownSets("create a\n"));
}

// Printed by us, with our numbers; save_kernel_test compares with libxtables.
TEST(KnownSets, RoundTrip) {
  const auto sets = ReadKnownSets(kSaved);
  ASSERT_TRUE(sets);
  const std::string text =
      "*filter\n"
      ":INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
      "-A INPUT -m set --match-set four src -j DROP\n"
      "-A INPUT -m set ! --match-set ports src,dst\n"
      "-A INPUT -m set --match-set all dst --return-nomatch "
      "! --update-counters ! --update-subcounters --packets-gt 5 "
      "! --bytes-eq 100\n"
      "-A INPUT -j SET --add-set ports dst,src --exist --timeout 60\n"
      "-A INPUT -j SET --del-set four src\n"
      "-A INPUT -j SET --map-set four src --map-mark --map-prio\n"
      "COMMIT\n";
  const auto parsed = ParseSave(text, {.sets = &*sets}, nullptr);
  ASSERT_TRUE(parsed) << parsed.error().ToString();
  EXPECT_EQ(PrintSave(*parsed, {.header = false, .sets = &*sets}), text);
  // Number 2, two dimensions, the first of them src, inverted.
  const Extension& match = parsed->tables[0].chains[0].rules[1].matches[0];
  EXPECT_EQ(match.revision, 4);
  EXPECT_EQ(match.payload[0], 2);
  EXPECT_EQ(match.payload[2], 2);
  EXPECT_EQ(match.payload[3], 0x01 | 1u << 1);
}

TEST(KnownSets, Refuses) {
  const auto sets = ReadKnownSets(kSaved);
  ASSERT_TRUE(sets);
  const struct {
    const char* rule;
    uint32_t column;
    const char* message;
  } kCases[] = {
      {"-m set --match-set none src", 17, "Set none doesn't exist."},
      {"-m set --match-set six src", 17, "IPv6, which is not applicable"},
      {"-m set --match-set four", 17, "requires two args"},
      {"-m set --match-set four --match-set four src", 17, "two args"},
      {"-m set --match-set four src --match-set four src", 38, "only once"},
      {"-m set --match-set four up", 17, "'src' and 'dst'"},
      {"-m set --match-set four src,src,src,src,src,src,src", 17,
       "more src/dst"},
      {"-m set --match-set a-name-of-more-than-31-characters src", 17,
       "too long"},
      {"-m set -j DROP", 10, "match-set"},
      {"-j SET --exist", 10, "--add-set"},
  };
  for (const auto& c : kCases) {
    const auto parsed =
        ParseSave(std::string("*filter\n-A INPUT ") + c.rule + "\nCOMMIT\n",
                  {.sets = &*sets}, nullptr);
    ASSERT_FALSE(parsed) << c.rule;
    EXPECT_THAT(parsed.error().message, HasSubstr(c.message)) << c.rule;
    EXPECT_EQ(parsed.error().place.column, c.column) << c.rule;
  }
}

}  // namespace
}  // namespace nfarena
