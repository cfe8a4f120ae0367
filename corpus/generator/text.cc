// Generated rules and packets as text.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <string>
#include <string_view>

#include "corpus/generator/generator.h"
#include "corpus/generator/random.h"

namespace nfarena {
namespace {

constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kEsp = 50, kIcmpv6 = 58;

using Out = std::back_insert_iterator<std::string>;

std::string AddressText(const GeneratedAddress& address, bool ipv6) {
  if (!ipv6) {
    return fmt::format("{}.{}.{}.{}", address[0], address[1], address[2],
                       address[3]);
  }
  char text[INET6_ADDRSTRLEN];
  inet_ntop(AF_INET6, address.data(), text, sizeof(text));
  return text;
}

void AppendPrefix(char option, const GeneratedAddress& address, uint8_t bits,
                  bool ipv6, Out out) {
  if (bits == 0) return;
  fmt::format_to(out, " -{} {}/{}", option, AddressText(address, ipv6), bits);
}

/// The name that iptables-save prints, or nullptr for any.
const char* ProtocolName(uint8_t protocol, bool ipv6) {
  switch (protocol) {
    case kTcp:
      return "tcp";
    case kUdp:
      return "udp";
    case kIcmp:
      return ipv6 ? "ipv6-icmp" : "icmp";
    case kEsp:
      return "esp";
    default:
      return nullptr;
  }
}

void AppendPorts(const char* option, const PortRange& range, Out out) {
  if (range.any()) return;
  if (range.low == range.high) {
    fmt::format_to(out, " --{} {}", option, range.low);
  } else {
    fmt::format_to(out, " --{} {}:{}", option, range.low, range.high);
  }
}

void AppendRule(const char* chain, bool ipv6, const GeneratedRule& rule,
                Out out) {
  fmt::format_to(out, "-A {}", chain);
  AppendPrefix('s', rule.src, rule.src_bits, ipv6, out);
  AppendPrefix('d', rule.dst, rule.dst_bits, ipv6, out);
  if (const char* protocol = ProtocolName(rule.protocol, ipv6)) {
    fmt::format_to(out, " -p {}", protocol);
    if (!rule.sport.any() || !rule.dport.any()) {
      fmt::format_to(out, " -m {}", protocol);
      AppendPorts("sport", rule.sport, out);
      AppendPorts("dport", rule.dport, out);
    }
  }
  fmt::format_to(out, " -j {}\n", rule.accept ? "ACCEPT" : "DROP");
}

/// Where in a range or prefix a packet lies.
enum class Corner : uint8_t { kLowest, kHighest, kWithin };

Corner DrawCorner(Random* random) {
  return static_cast<Corner>(random->Below(3));
}

GeneratedAddress AddressIn(const GeneratedAddress& prefix, uint8_t bits,
                           bool ipv6, Random* random) {
  GeneratedAddress address = prefix;
  const unsigned size = ipv6 ? 128 : 32;
  Corner corner = DrawCorner(random);
  unsigned first = bits;
  if (bits == 0) {
    // The ends of all addresses are no host's.
    corner = Corner::kWithin;
    address[0] = ipv6 ? 0x20 : static_cast<uint8_t>(random->Between(1, 126));
    first = ipv6 ? 3 : 8;
  }
  for (unsigned bit = first; bit < size; ++bit) {
    const bool one = corner == Corner::kHighest ||
                     (corner == Corner::kWithin && random->Below(2) == 1);
    if (one) address[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
  }
  return address;
}

uint16_t PortIn(const PortRange& range, Random* random) {
  switch (DrawCorner(random)) {
    case Corner::kLowest:
      return range.low;
    case Corner::kHighest:
      return range.high;
    case Corner::kWithin:
      break;
  }
  return static_cast<uint16_t>(random->Between(range.low, range.high));
}

/// A line of a packet that the rule covers, without its end.
std::string PacketLineFor(const GeneratorOptions& options,
                          const GeneratedRule& rule, Random* random) {
  std::string line;
  const auto out = std::back_inserter(line);
  const bool ipv6 = options.ipv6;
  fmt::format_to(
      out, "IN=eth0 OUT={} SRC={} DST={}", options.input ? "" : "eth1",
      AddressText(AddressIn(rule.src, rule.src_bits, ipv6, random), ipv6),
      AddressText(AddressIn(rule.dst, rule.dst_bits, ipv6, random), ipv6));
  // A rule for any protocol is met by the most common two.
  uint8_t protocol = rule.protocol;
  if (protocol == 0) protocol = random->Below(2) == 0 ? kTcp : kUdp;
  switch (protocol) {
    case kTcp:
    case kUdp:
      fmt::format_to(out, " PROTO={} SPT={} DPT={}{}",
                     protocol == kTcp ? "TCP" : "UDP",
                     PortIn(rule.sport, random), PortIn(rule.dport, random),
                     protocol == kTcp ? " SYN" : "");
      break;
    case kIcmp:
      // Echo request.
      fmt::format_to(out, " PROTO={} TYPE={} CODE=0 ID={} SEQ=1",
                     ipv6 ? "ICMPv6" : "ICMP", ipv6 ? 128 : 8,
                     random->Between(1, 65535));
      break;
    case kEsp:
      fmt::format_to(out, " PROTO=ESP SPI=0x{:x}",
                     random->Between(256, 0xffffffff));
      break;
  }
  return line;
}

/// How often a packet comes: Pareto with a = 1 and scale b in hundredths, so
/// that more than n copies have the probability b / n.
uint32_t Copies(uint32_t locality_percent, Random* random) {
  if (locality_percent == 0) return 1;
  // u is uniform over 1 to 2^20 of 2^20; b / u rounded up.
  const uint64_t u = uint64_t{random->Below(1u << 20)} + 1;
  const uint64_t scaled = (uint64_t{locality_percent} << 20) / (100 * u);
  return static_cast<uint32_t>(scaled + 1);
}

/// Gathers lines and hands them on in pieces.
class Pieces {
 public:
  explicit Pieces(const TextSink& sink) : sink_(sink) {
    text_.reserve(kPieceBytes + 1024);
  }
  Out out() { return std::back_inserter(text_); }
  /// To be called after each line.
  [[nodiscard]] bool LineDone() {
    return text_.size() < kPieceBytes || Finish();
  }
  [[nodiscard]] bool Finish() {
    const bool taken = text_.empty() || sink_(text_);
    text_.clear();
    return taken;
  }

 private:
  static constexpr size_t kPieceBytes = 1 << 16;

  const TextSink& sink_;
  std::string text_;
};

TextSink AppendTo(std::string* text) {
  return [text](std::string_view piece) {
    text->append(piece);
    return true;
  };
}

}  // namespace

bool WriteRules(const GeneratorOptions& options,
                const std::vector<GeneratedRule>& rules, const TextSink& sink) {
  const char* chain = options.input ? "INPUT" : "FORWARD";
  Pieces pieces(sink);
  fmt::format_to(pieces.out(),
                 "# Generated by {}-save (profile {}, {} rules, seed {})\n"
                 "*filter\n"
                 ":INPUT {} [0:0]\n"
                 ":FORWARD {} [0:0]\n"
                 ":OUTPUT ACCEPT [0:0]\n",
                 options.ipv6 ? "ip6tables" : "iptables",
                 RuleProfileName(options.profile), rules.size(), options.seed,
                 options.input ? "DROP" : "ACCEPT",
                 options.input ? "ACCEPT" : "DROP");
  for (const GeneratedRule& rule : rules) {
    AppendRule(chain, options.ipv6, rule, pieces.out());
    if (!pieces.LineDone()) return false;
  }
  fmt::format_to(pieces.out(), "COMMIT\n");
  return pieces.Finish();
}

std::string RulesText(const GeneratorOptions& options,
                      const std::vector<GeneratedRule>& rules) {
  std::string text;
  text.reserve(rules.size() * (options.ipv6 ? 130 : 90) + 200);
  (void)WriteRules(options, rules, AppendTo(&text));  // this sink takes all
  return text;
}

bool WritePackets(const GeneratorOptions& options,
                  const std::vector<GeneratedRule>& rules,
                  const TraceOptions& trace, const TextSink& sink) {
  if (rules.empty()) return true;
  Pieces pieces(sink);
  Random random(Mix(trace.seed) ^ 0x7061636b657473);
  const auto count = static_cast<uint32_t>(rules.size());
  uint32_t left = trace.packets;
  while (left > 0) {
    const GeneratedRule& rule = rules[random.Below(count)];
    const std::string line = PacketLineFor(options, rule, &random);
    const uint32_t copies =
        std::min(left, Copies(trace.locality_percent, &random));
    for (uint32_t i = 0; i < copies; ++i) {
      fmt::format_to(pieces.out(), "{}\n", line);
      if (!pieces.LineDone()) return false;
    }
    left -= copies;
  }
  return pieces.Finish();
}

std::string PacketsText(const GeneratorOptions& options,
                        const std::vector<GeneratedRule>& rules,
                        const TraceOptions& trace) {
  std::string text;
  (void)WritePackets(options, rules, trace, AppendTo(&text));
  return text;
}

}  // namespace nfarena
