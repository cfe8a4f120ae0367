// One rule, read from iptables' own words, run against one packet.
//
// The rule's options become payloads by the project's parser, so that a test
// line reads like a line of a ruleset and the payload is the one real rulesets
// have.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engines/core/packet_state.h"
#include "engines/core/tracker.h"
#include "engines/xt/extension.h"

namespace nfarena::xt::testing {

/// eth0 192.0.2.254/24 and 2001:db8::fe/64, eth1 198.51.100.254/24 and
/// 2001:db8:1::fe/64; the rest by eth1.
Topology TestTopology(Family family);

/// A packet that stands at a hook, with all that a match can ask about.
struct Standing {
  /// The packet is forwarded from eth0 to eth1 unless its IN and OUT say
  /// otherwise; devices are filled in as the hook has them.
  Standing(const Packet& packet, Hook hook);
  Standing(const Standing&) = delete;
  Standing& operator=(const Standing&) = delete;

  Packet packet;
  Topology topology;
  Outcome outcome;
  Connection connection;  // in force once Track() was called
  PacketState state;

  void Track(CtInfo info);
};

class RuleRunner {
 public:
  /// Parses and checks the rule; a failure of either is in `error()`.  The
  /// check may be told another table than the parser, which has its own
  /// opinion of what belongs where.  Rules that are to share sets and named
  /// states are given one `net`.
  RuleRunner(Family family, TableKind table, std::string_view text,
             uint8_t hooks = 1 << static_cast<int>(Hook::kForward),
             std::optional<TableKind> checked_in = std::nullopt,
             NetState* net = nullptr);

  /// Empty when the rule was taken.
  const std::string& error() const { return error_; }
  int error_number() const { return error_number_; }

  /// Entry and matches, stopping at the first miss as the kernel does.
  bool Matches(Standing* standing);
  XtTargetResult RunTarget(Standing* standing);

 private:
  struct Part {
    const XtMatch* match = nullptr;
    const XtTarget* target = nullptr;
    std::vector<uint64_t> payload;  // 8-aligned
    std::vector<uint64_t> state;

    const uint8_t* data() const {
      return reinterpret_cast<const uint8_t*>(payload.data());
    }
  };

  XtContext ContextOf(Part& part, Standing* standing);
  bool Prepare(const Rule& rule, uint8_t hooks);

  Family family_;
  TableKind table_;
  NetState own_net_;
  NetState* net_;
  NamedHolds holds_;
  Selector selector_;
  std::vector<Part> matches_;
  std::optional<Part> target_;
  std::string error_;
  int error_number_ = 0;
};

/// One line of a table of cases.
struct MatchCase {
  const char* rule;
  Packet packet;
  bool want;
};

/// Runs the cases in FORWARD of filter and names the ones that fail.
void ExpectMatches(Family family, const std::vector<MatchCase>& cases,
                   Hook hook = Hook::kForward);

}  // namespace nfarena::xt::testing
