// Rulesets and packets that look like those of firewalls, of any size, the
// same for the same seed.
//
// The idea and the three kinds of ruleset (access lists, firewalls, Linux
// chains) are those of ClassBench: D. E. Taylor and J. S. Turner, "ClassBench:
// A Packet Classification Benchmark", INFOCOM 2005.  ClassBench reads parameter
// files that were extracted from real, confidential rulesets.  Those are not
// here: the tables in parameters.cc are our own, made up after what that paper
// says about its seeds (which pairs of prefix lengths and of port classes are
// common, how skewed the addresses are), and simplified.  So no figure measured
// on these rulesets may be compared with one measured on ClassBench's own.
//
// Rules are written as iptables-save text and packets in the words of an
// iptables LOG line, so that everything that reads those reads this.
//
// Invariants: equal options give equal text on every machine (no library
// random numbers, no floating point in a decision); no two rules of a set test
// the same thing; a more specific rule comes before a more general one, so that
// no rule is hidden entirely by one that has the same shape.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace nfarena {

/// The parameter set a ruleset is drawn from.
enum class RuleProfile : uint8_t {
  kAcl,  // access list of a router: destination prefixes, exact ports
  kFw,   // firewall: many wildcards, port ranges
  kIpc,  // Linux chains: a mixture, hosts on both sides
};

/// "acl", "fw", "ipc".
const char* RuleProfileName(RuleProfile profile);
/// False for an unknown name.
bool RuleProfileFromName(std::string_view name, RuleProfile* profile);

inline constexpr uint32_t kGeneratedRulesMax = 1'000'000;

struct GeneratorOptions {
  RuleProfile profile = RuleProfile::kAcl;
  bool ipv6 = false;
  /// FORWARD (packets from eth0 to eth1) or INPUT (packets for this host).
  bool input = false;
  uint32_t rules = 1000;  // 1 to kGeneratedRulesMax
  uint64_t seed = 1;
};

/// An address, network byte order; IPv4 uses the first 4 bytes.
using GeneratedAddress = std::array<uint8_t, 16>;

struct PortRange {
  uint16_t low = 0, high = 65535;
  bool any() const { return low == 0 && high == 65535; }
  auto operator<=>(const PortRange&) const = default;
};

struct GeneratedRule {
  GeneratedAddress src{}, dst{};  // bits beyond the prefix are zero
  uint8_t src_bits = 0, dst_bits = 0;
  uint8_t protocol = 0;  // 0 = any; ports are any unless TCP or UDP
  PortRange sport, dport;
  bool accept = true;
};

/// A ruleset of exactly `options.rules` rules.
/// Precondition: 1 <= rules <= kGeneratedRulesMax.
/// Complexity: O(n log n); a million rules take a few seconds.
std::vector<GeneratedRule> GenerateRules(const GeneratorOptions& options);

/// Takes the next piece of a text; false = it cannot be written, stop.
using TextSink = std::function<bool(std::string_view piece)>;

/// The rules as the text of iptables-save (ip6tables-save), policy DROP, with
/// its header lines, in pieces of about 64 KiB: a million rules are 130 MB.
/// False when the sink said so.
[[nodiscard]] bool WriteRules(const GeneratorOptions& options,
                              const std::vector<GeneratedRule>& rules,
                              const TextSink& sink);
/// The same in one string.
std::string RulesText(const GeneratorOptions& options,
                      const std::vector<GeneratedRule>& rules);

struct TraceOptions {
  uint32_t packets = 1000;
  /// How often a packet comes again: the scale b of a Pareto distribution with
  /// a = 1, in hundredths.  0: never; 10: one in ten comes twice or more, one
  /// in a hundred eleven times or more; 100: every one comes twice or more.
  uint32_t locality_percent = 10;
  uint64_t seed = 1;
};

/// `trace.packets` packets, one a line, each of which fits some rule: a rule is
/// drawn, then a corner of what it covers (lowest or highest address and port)
/// or a point within; the packet is repeated as the locality says.  In pieces,
/// as WriteRules(); no rules, no packets.
[[nodiscard]] bool WritePackets(const GeneratorOptions& options,
                                const std::vector<GeneratedRule>& rules,
                                const TraceOptions& trace,
                                const TextSink& sink);
/// The same in one string.
std::string PacketsText(const GeneratorOptions& options,
                        const std::vector<GeneratedRule>& rules,
                        const TraceOptions& trace);

}  // namespace nfarena
