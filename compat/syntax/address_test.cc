#include "compat/syntax/address.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace nfarena {
namespace {

using ::testing::HasSubstr;

std::string Text(const Address& address, Family family) {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(family == Family::kIpv4 ? AF_INET : AF_INET6, address.data(),
                   text, sizeof(text));
}

// "address/mask address/mask", or the error's message.
std::string Parse(std::string_view text, Family family) {
  std::vector<AddressAndMask> parsed;
  std::vector<std::string> resolved;
  const Status status =
      ParseAddressList(text, family, false, &parsed, &resolved);
  if (!status) return status.error().message;
  EXPECT_TRUE(resolved.empty());
  std::string out;
  for (const AddressAndMask& item : parsed) {
    if (!out.empty()) out += ' ';
    out += Text(item.address, family) + "/" + Text(item.mask, family);
  }
  return out;
}

TEST(ParseAddressList, Ipv4) {
  const struct {
    const char* text;
    const char* expected;
  } kCases[] = {
      {"192.0.2.1", "192.0.2.1/255.255.255.255"},
      {"192.0.2.129/25", "192.0.2.128/255.255.255.128"},
      {"192.0.2.1/255.0.255.0", "192.0.2.0/255.0.255.0"},
      {"192.0.2.1/0", "0.0.0.0/0.0.0.0"},
      {"any/0", "0.0.0.0/0.0.0.0"},
      {"10", "10.0.0.0/255.255.255.255"},
      {"10.1/16", "10.1.0.0/255.255.0.0"},
      {"0x0a.1.2.3", "10.1.2.3/255.255.255.255"},
      {"010.1.2.3", "8.1.2.3/255.255.255.255"},
      {"10.1.2.3/0x10", "10.1.0.0/255.255.0.0"},
      {"10.1.2.3/255.255.0x0.0", "10.1.0.0/255.255.0.0"},
      {"10.0.0.1,10.0.0.2/31",
       "10.0.0.1/255.255.255.255 10.0.0.2/255.255.255.254"},
      {"10.0.0.1, 10.0.0.2",
       "10.0.0.1/255.255.255.255 10.0.0.2/255.255.255.255"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Parse(c.text, Family::kIpv4), c.expected) << c.text;
  }
}

TEST(ParseAddressList, Ipv6) {
  const struct {
    const char* text;
    const char* expected;
  } kCases[] = {
      {"2001:db8::1", "2001:db8::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
      {"2001:db8:ffff::/33", "2001:db8:8000::/ffff:ffff:8000::"},
      {"2001:db8::1/ffff::", "2001::/ffff::"},
      {"2001:db8::1/ffff::ffff", "2001::1/ffff::ffff"},
      {"::/0", "::/::"},
      {"any/0", "::/::"},
      {"::1,::2/127",
       "::1/ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
       "::2/ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe"},
  };
  for (const auto& c : kCases) {
    EXPECT_EQ(Parse(c.text, Family::kIpv6), c.expected) << c.text;
  }
}

TEST(ParseAddressList, Refuses) {
  EXPECT_THAT(Parse("192.0.2.1/33", Family::kIpv4), HasSubstr("invalid mask"));
  EXPECT_THAT(Parse("192.0.2.1/x", Family::kIpv4), HasSubstr("invalid mask"));
  EXPECT_THAT(Parse("192.0.2.256", Family::kIpv4), HasSubstr("not an address"));
  EXPECT_THAT(Parse("192.0.2.1,", Family::kIpv4), HasSubstr("not an address"));
  EXPECT_THAT(Parse("2001:db8::/129", Family::kIpv6),
              HasSubstr("invalid mask"));
  EXPECT_THAT(Parse("192.0.2.1", Family::kIpv6), HasSubstr("not an address"));
  EXPECT_THAT(Parse(std::string(300, 'a'), Family::kIpv4),
              HasSubstr("too long"));
}

TEST(ParseAddressList, NamesFromTheHostsFile) {
  std::vector<AddressAndMask> parsed;
  std::vector<std::string> resolved;
  ASSERT_TRUE(
      ParseAddressList("localhost", Family::kIpv4, true, &parsed, &resolved));
  ASSERT_FALSE(parsed.empty());
  EXPECT_EQ(Text(parsed[0].address, Family::kIpv4), "127.0.0.1");
  EXPECT_THAT(resolved, ::testing::ElementsAre("localhost"));
}

TEST(SetPrefixMask, EveryLength) {
  for (unsigned bits = 0; bits <= 128; ++bits) {
    uint8_t mask[16];
    SetPrefixMask(bits, 16, mask);
    for (unsigned i = 0; i < 128; ++i) {
      EXPECT_EQ((mask[i / 8] >> (7 - i % 8)) & 1, i < bits) << bits << " " << i;
    }
  }
}

}  // namespace
}  // namespace nfarena
