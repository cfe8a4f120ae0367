#include "bench/workload/synthetic.h"

#include <fmt/format.h>

#include "compat/syntax/save_parser.h"

namespace nfarena {
namespace {

/// 10.x.y.z or fd00::x:y, never 10.0.0.0 itself.
std::string Source(Family family, uint64_t index) {
  const uint64_t n = index + 1;
  if (family == Family::kIpv6) {
    return fmt::format("fd00::{:x}:{:x}", (n >> 16) & 0xffff, n & 0xffff);
  }
  return fmt::format("10.{}.{}.{}", (n >> 16) & 0xff, (n >> 8) & 0xff,
                     n & 0xff);
}

uint64_t Port(uint64_t index) { return 1024 + index % 60000; }

std::string Line(Family family, std::string_view source, uint64_t port) {
  return fmt::format(
      "IN=eth0 OUT= SRC={} DST={} {}=64 PROTO=TCP SPT=40000 DPT={} SYN\n",
      source, family == Family::kIpv4 ? "192.0.2.1" : "2001:db8::1",
      family == Family::kIpv4 ? "TTL" : "HOPLIMIT", port);
}

}  // namespace

std::string SyntheticRule(Family family, uint64_t index) {
  return fmt::format("-s {}/{} -p tcp -m tcp --dport {} -j ACCEPT",
                     Source(family, index), family == Family::kIpv4 ? 32 : 128,
                     Port(index));
}

std::string SyntheticText(Family family, uint64_t rules_count) {
  std::string text =
      "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
      ":OUTPUT ACCEPT [0:0]\n";
  for (uint64_t i = 0; i < rules_count; ++i) {
    text += "-A INPUT " + SyntheticRule(family, i) + "\n";
  }
  return text + "COMMIT\n";
}

Result<Ruleset> SyntheticRuleset(Family family, uint64_t rules_count) {
  ParseOptions options;
  options.file = fmt::format("synthetic:{}", rules_count);
  options.family = family;
  return ParseSave(SyntheticText(family, rules_count), options, nullptr);
}

std::string SyntheticHit(Family family, uint64_t index) {
  return Line(family, Source(family, index), Port(index));
}

std::string SyntheticMiss(Family family) {
  return Line(family, family == Family::kIpv4 ? "172.16.9.9" : "fd01::9", 7);
}

}  // namespace nfarena
