// Literal values read here against the same values read by libxtables.
#include "compat/syntax/extension_instance.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "compat/syntax/rule_parser.h"

namespace nfarena {
namespace {

// The payload of the only match or target, or the error.
std::string Payload(const std::string& line, Family family, TableKind table,
                    bool literals) {
  LibrarySession session(family);
  RuleParser parser(&session, table, nullptr, {.literals = literals});
  ParsedCommand command;
  Rule rule;
  const Status status = parser.Parse(line, 0, false, &command, &rule);
  if (!status) return "error: " + status.error().message;
  std::string out;
  const auto dump = [&](const Extension& extension) {
    for (uint8_t byte : extension.payload) out += fmt::format("{:02x}", byte);
  };
  for (const Extension& match : rule.matches) dump(match);
  dump(rule.target.extension);
  return out;
}

void ExpectSame(const std::string& line, Family family,
                TableKind table = TableKind::kFilter) {
  const std::string fast = Payload(line, family, table, true);
  const std::string slow = Payload(line, family, table, false);
  EXPECT_FALSE(fast.empty()) << line;
  // A refused value may be refused with other words.
  if (fast.starts_with("error") && slow.starts_with("error")) return;
  EXPECT_EQ(fast, slow) << line;
}

TEST(LiteralValues, PortRanges) {
  const char* kValues[] = {"0",      "1",     "53",      "65535", "65536",
                           "053",    "00053", "000053",  "1:2",   ":2",
                           "1:",     ":",     "2:1",     "1:2:3", "",
                           "domain", "http:", "1:https", "-1",    "+5",
                           "0x35",   " 5",    "5 ",      "1-2",   "99999999"};
  for (const char* value : kValues) {
    for (const char* form :
         {"-p udp -m udp --dport {}", "-p udp -m udp ! --sport {}",
          "-p dccp -m dccp --dport {}", "-m conntrack --ctorigsrcport {}",
          "-m conntrack ! --ctrepldstport {}"}) {
      const std::string quoted = fmt::format("\"{}\"", value);
      ExpectSame(fmt::format(fmt::runtime(form), quoted), Family::kIpv4);
      ExpectSame(fmt::format(fmt::runtime(form), quoted), Family::kIpv6);
    }
  }
  for (int port = 0; port <= 65535; port += 257) {
    ExpectSame(fmt::format("-p udp --dport {}:{}", port, 65535 - port),
               Family::kIpv4);
  }
}

TEST(LiteralValues, PortInNetworkOrder) {
  for (const char* value : {"0", "1", "258", "65535", "65536", "http", "x"}) {
    ExpectSame(fmt::format("-p tcp -j TPROXY --on-port {}", value),
               Family::kIpv4, TableKind::kMangle);
    ExpectSame(fmt::format("-p tcp -j TPROXY --on-port {}", value),
               Family::kIpv6, TableKind::kMangle);
    ExpectSame(fmt::format("-m ipvs --vport {}", value), Family::kIpv4);
  }
}

TEST(LiteralValues, Hosts) {
  for (const char* value :
       {"192.0.2.1", "0.0.0.0", "255.255.255.255", "10", "10.1", "0x7f.1",
        "010.0.0.1", "192.0.2.1/24", "192.0.2.1/0", "192.0.2.1/32",
        "192.0.2.1/33", "192.0.2.1/024", "192.0.2.1/255.255.255.0",
        "192.0.2.1/255.0.255.0", "192.0.2.1/"}) {
    ExpectSame(fmt::format("-m conntrack --ctorigsrc {}", value),
               Family::kIpv4);
    ExpectSame(fmt::format("-m conntrack ! --ctrepldst {}", value),
               Family::kIpv4);
    ExpectSame(fmt::format("-m policy --dir in --pol ipsec --mode tunnel "
                           "--tunnel-src {}",
                           value),
               Family::kIpv4);
    ExpectSame(fmt::format("-m recent --set --mask {}", value), Family::kIpv4);
    ExpectSame(fmt::format("-p tcp -j TPROXY --on-port 1 --on-ip {}", value),
               Family::kIpv4, TableKind::kMangle);
    ExpectSame(fmt::format("-j NETMAP --to {}", value), Family::kIpv4,
               TableKind::kNat);
  }
  for (const char* value :
       {"2001:db8::1", "::", "::ffff:192.0.2.1", "2001:db8::1/64",
        "2001:db8::1/0", "2001:db8::1/1", "2001:db8::1/128", "2001:db8::1/129",
        "2001:db8::1/127", "2001:db8::1/33"}) {
    ExpectSame(fmt::format("-m conntrack --ctorigsrc {}", value),
               Family::kIpv6);
    ExpectSame(fmt::format("-j NETMAP --to {}", value), Family::kIpv6,
               TableKind::kNat);
    ExpectSame(fmt::format("-p tcp -j TPROXY --on-port 1 --on-ip {}", value),
               Family::kIpv6, TableKind::kMangle);
    ExpectSame(fmt::format("-j TEE --gateway {}", value), Family::kIpv6,
               TableKind::kMangle);
    ExpectSame(fmt::format("-m srh --srh-psid {}", value), Family::kIpv6);
  }
}

TEST(LiteralValues, NamesAreRefusedWhenNotResolved) {
  const std::string error = Payload("-m conntrack --ctorigsrc host.invalid",
                                    Family::kIpv4, TableKind::kFilter, true);
  EXPECT_NE(error.find("names are not looked up"), std::string::npos) << error;
}

}  // namespace
}  // namespace nfarena
