#include "engines/kernel/testing/summary.h"

#include <arpa/inet.h>
#include <fmt/format.h>

namespace nfarena::testing {
namespace {

constexpr int kTcp = 6;
constexpr int kUdp = 17;
constexpr int kIcmp = 1;
constexpr int kIcmp6 = 58;

std::string AddressText(bool ipv4, const uint8_t* at) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(ipv4 ? AF_INET : AF_INET6, at, text, sizeof text);
  return text;
}

unsigned Word(const std::vector<uint8_t>& bytes, size_t at) {
  return bytes[at] * 256u + bytes[at + 1];
}

}  // namespace

std::string Flow(const std::vector<uint8_t>& bytes) {
  if (bytes.size() < 20) return "-";
  const bool ipv4 = bytes[0] >> 4 == 4;
  if (!ipv4 && bytes.size() < 40) return "-";
  const std::string src = AddressText(ipv4, &bytes[ipv4 ? 12 : 8]);
  const std::string dst = AddressText(ipv4, &bytes[ipv4 ? 16 : 24]);
  const int protocol = bytes[ipv4 ? 9 : 6];
  const int ttl = bytes[ipv4 ? 8 : 7];
  const size_t transport = ipv4 ? (bytes[0] & 15u) * 4 : 40;
  if (bytes.size() < transport + 4) {
    return fmt::format("{}>{} proto={} ttl={}", src, dst, protocol, ttl);
  }
  if (protocol == kTcp || protocol == kUdp) {
    std::string text =
        fmt::format("{}:{}>{}:{} ttl={}", src, Word(bytes, transport), dst,
                    Word(bytes, transport + 2), ttl);
    if (protocol == kTcp && bytes.size() > transport + 13 &&
        (bytes[transport + 13] & 4) != 0) {
      text += " RST";
    }
    return text;
  }
  if (protocol == kIcmp || protocol == kIcmp6) {
    return fmt::format("{}>{} icmp {}/{} ttl={}", src, dst, bytes[transport],
                       bytes[transport + 1], ttl);
  }
  return fmt::format("{}>{} proto={} ttl={}", src, dst, protocol, ttl);
}

std::string Summary(const Ruleset& ruleset, const Outcome& outcome) {
  std::string text = VerdictKindName(outcome.verdict);
  if (outcome.verdict == VerdictKind::kQueue) {
    text += fmt::format(" {}", outcome.queue);
  }
  text += ' ' + RuleRefName(ruleset, outcome.decided_by);
  if (outcome.verdict == VerdictKind::kAccept) {
    text += outcome.out.empty() ? " here" : " out=" + outcome.out;
  }
  if (outcome.verdict == VerdictKind::kAccept ||
      outcome.verdict == VerdictKind::kQueue) {
    text += ' ' + Flow(outcome.bytes);
    if (outcome.mark != 0) text += fmt::format(" mark={:#x}", outcome.mark);
    if (outcome.priority != 0) {
      text += fmt::format(" priority={:#x}", outcome.priority);
    }
  }
  for (const Emission& emission : outcome.emissions) {
    text += fmt::format(" answer[{} {}]", emission.out, Flow(emission.bytes));
  }
  for (const LogRecord& log : outcome.logs) {
    text += log.nflog ? fmt::format(" nflog[{} {}]", log.group, log.prefix)
                      : fmt::format(" log[{}]", log.prefix);
  }
  return text;
}

}  // namespace nfarena::testing
