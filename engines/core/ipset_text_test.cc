#include "engines/core/ipset_text.h"

#include <gtest/gtest.h>

#include <string>

namespace nfarena {
namespace {

TEST(IpSetText, WhatIpsetSavePrints) {
  const auto sets = ReadIpSets(
      "create d hash:net,iface family inet hashsize 1024 maxelem 65536 timeout "
      "100 counters comment skbinfo bucketsize 12 initval 0x2fd69d4c\n"
      "add d 10.0.0.0/8,eth0 timeout 99 nomatch wildcard packets 7 bytes 900 "
      "comment \"a b\" skbmark 0x11/0xff skbprio 1:1f skbqueue 3\n"
      "add d 0.0.0.0/0,physdev:eth1 timeout 99 packets 0 bytes 0\n"
      "\n"
      "create e bitmap:port range 10-20\r\n"
      "add e 11\r\n"
      "create g list:set size 8\n"
      "add g d\n");
  ASSERT_TRUE(sets.has_value()) << sets.error().ToString();
  ASSERT_EQ(sets->size(), 3u);
  const IpSet& d = sets->at(0);
  EXPECT_EQ(d.family, Family::kIpv4);
  EXPECT_EQ(d.timeout_s, 100u);
  EXPECT_TRUE(d.counters && d.mappings && !d.force_add);
  EXPECT_EQ(d.elements_count, 2u);
  const auto prefixes = d.prefixes[0];
  ASSERT_EQ(prefixes.size(), 2u);
  EXPECT_EQ(prefixes[0].first, 8);
  EXPECT_EQ(prefixes[1].first, 0);
  IpSetKey key;
  key.address[0][0] = 10;
  key.prefix_bits = {8, 0};
  ASSERT_EQ(d.elements.count(key), 1u);
  const IpSetElement& net = d.elements.at(key)[0];
  EXPECT_EQ(DeviceName(net.device), "eth0");
  EXPECT_TRUE(net.wildcard && net.nomatch);
  EXPECT_EQ(net.expires_ms, 99000u);
  EXPECT_EQ(net.counters, (Counters{7, 900}));
  EXPECT_EQ(net.mapping, (IpSetMapping{0x11, 0xff, 0x1001f}));
  EXPECT_EQ(sets->at(1).family, std::nullopt);
  EXPECT_EQ(sets->Find("g"), 2);
  EXPECT_EQ(sets->at(2).list.at(0).set, 0);
}

TEST(IpSetText, RestoreFormsAndRenewal) {
  const auto sets = ReadIpSets(
      "# comment\n-N a hash:ip -exist\n-A a 10.0.0.1\n"
      "-exist add a 10.0.0.1\nadd a 10.0.0.1 -exist\n"
      "n b hash:ip,port\na b 10.0.0.0/30,tcp:80-81\n-! create b hash:ip\n"
      "COMMIT\n");
  // -exist is no option of a set in front of its type's options.
  ASSERT_FALSE(sets.has_value());
  EXPECT_EQ(sets.error().place.line, 2u);
  const auto good = ReadIpSets(
      "-! create a hash:ip\n-A a 10.0.0.1\n-exist add a 10.0.0.1\n"
      "add a 10.0.0.1 -exist\nn b hash:ip,port\n"
      "a b 10.0.0.0/30,tcp:80-81\n-! create b hash:ip\nCOMMIT\n");
  ASSERT_TRUE(good.has_value()) << good.error().ToString();
  EXPECT_EQ(good->at(0).elements_count, 1u);
  EXPECT_EQ(good->at(1).elements_count, 8u);
}

TEST(IpSetText, UnknownTypesAreKeptAndRefusedWhenAsked) {
  const auto sets = ReadIpSets(
      "create a hash:ip,foo bar 7\nadd a whatever\ncreate b hash:ip\n"
      "create c hash:net,net netmask 24\n");
  ASSERT_TRUE(sets.has_value()) << sets.error().ToString();
  EXPECT_TRUE(sets->Check(1).has_value());
  ASSERT_FALSE(sets->Check(0).has_value());
  EXPECT_EQ(sets->Check(0).error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(sets->Check(0).error().message,
            "ipset 'a': type 'hash:ip,foo' is not modelled (line 1, column "
            "10)");
  EXPECT_FALSE(sets->Check(2).has_value());
  EXPECT_EQ(sets->Check(3).error().errno_value, ENOENT);
}

struct BadCase {
  const char* text;
  ErrorCode code;
  uint32_t line, column;
};

TEST(IpSetText, ErrorsHaveTheirPlace) {
  const BadCase cases[] = {
      {"destroy a\n", ErrorCode::kUnsupported, 1, 1},
      {"create a\n", ErrorCode::kSyntax, 1, 8},
      {"create a hash:ip family ipx\n", ErrorCode::kSyntax, 1, 25},
      {"create a hash:ip foo\n", ErrorCode::kSyntax, 1, 18},
      {"create a hash:ip maxelem x\n", ErrorCode::kRange, 1, 26},
      {"create a hash:ip netmask 33\n", ErrorCode::kSyntax, 1, 26},
      {"create a bitmap:ip\n", ErrorCode::kSyntax, 1, 10},
      {"create a bitmap:ip range 10.0.0.0/8\n", ErrorCode::kRange, 1, 26},
      {"create a hash:ip\ncreate a hash:ip\n", ErrorCode::kConflict, 2, 8},
      {"add a 10.0.0.1\n", ErrorCode::kConflict, 1, 5},
      {"create a hash:ip\nadd a\n", ErrorCode::kSyntax, 2, 5},
      {"create a hash:ip\nadd a 10.0.0\n", ErrorCode::kSyntax, 2, 7},
      {"create a hash:ip\nadd a 0.0.0.0\n", ErrorCode::kRange, 2, 7},
      {"create a hash:ip\nadd a 10.0.0.0/8\n", ErrorCode::kRange, 2, 7},
      {"create a hash:ip\nadd a 10.0.0.1,80\n", ErrorCode::kSyntax, 2, 7},
      {"create a hash:ip\nadd a 2001:db8::1\n", ErrorCode::kSyntax, 2, 7},
      {"create a hash:ip\nadd a 10.0.0.1\nadd a 10.0.0.1\n",
       ErrorCode::kConflict, 3, 7},
      {"create a hash:ip maxelem 1\nadd a 10.0.0.1\nadd a 10.0.0.2\n",
       ErrorCode::kRange, 3, 7},
      {"create a hash:ip\nadd a 10.0.0.1 timeout 5\n", ErrorCode::kConflict, 2,
       16},
      {"create a hash:ip\nadd a 10.0.0.1 nomatch\n", ErrorCode::kConflict, 2,
       16},
      {"create a hash:net\nadd a 10.0.0.0/0\n", ErrorCode::kRange, 2, 7},
      {"create a hash:net\nadd a 10.0.0.0/33\n", ErrorCode::kSyntax, 2, 7},
      {"create a hash:ip,port\nadd a 10.0.0.1\n", ErrorCode::kSyntax, 2, 7},
      {"create a hash:ip,port\nadd a 10.0.0.1,foo:80\n", ErrorCode::kSyntax, 2,
       7},
      {"create a hash:ip,port\nadd a 10.0.0.1,tcp:65536\n", ErrorCode::kSyntax,
       2, 7},
      {"create a hash:mac\nadd a 02:00:00:00:00:0g\n", ErrorCode::kSyntax, 2,
       7},
      {"create a hash:mac\nadd a 00:00:00:00:00:00\n", ErrorCode::kRange, 2, 7},
      {"create a bitmap:port range 10-20\nadd a 9\n", ErrorCode::kRange, 2, 7},
      {"create a hash:net,iface\nadd a 10.0.0.0/8,waytoolongdevicename\n",
       ErrorCode::kSyntax, 2, 7},
      {"create a list:set\nadd a b\n", ErrorCode::kConflict, 2, 7},
      {"create a list:set\ncreate b list:set\nadd a b\n", ErrorCode::kConflict,
       3, 7},
      {"create a hash:ip skbinfo\nadd a 10.0.0.1 skbprio 5\n",
       ErrorCode::kRange, 2, 24},
  };
  for (const BadCase& c : cases) {
    SCOPED_TRACE(c.text);
    const auto sets = ReadIpSets(c.text);
    ASSERT_FALSE(sets.has_value());
    EXPECT_EQ(sets.error().code, c.code) << sets.error().ToString();
    EXPECT_EQ(sets.error().place.line, c.line);
    EXPECT_EQ(sets.error().place.column, c.column);
  }
}

}  // namespace
}  // namespace nfarena
