// What became of one packet: all that two engines must agree on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compat/model/ruleset.h"

namespace nfarena {

enum class VerdictKind : uint8_t {
  kAccept,    // delivered or sent
  kDrop,      // dropped by a rule, a policy or a REJECT
  kQueue,     // handed to user space (NFQUEUE, QUEUE)
  kStolen,    // consumed by a target (SYNPROXY, TEE's original goes on)
  kUnrouted,  // dropped by the stack itself, between the hooks
};

/// "accept", "drop", "queue", "stolen", "unrouted".
const char* VerdictKindName(VerdictKind kind);

/// A packet that leaves as a consequence: REJECT's answer, a TEE copy.
struct Emission {
  std::string out;             // device; "lo" or "" = this host
  std::vector<uint8_t> bytes;  // from the IP header
  uint32_t mark = 0;
  bool operator==(const Emission&) const = default;
};

/// One LOG or NFLOG record.
struct LogRecord {
  std::string prefix;
  uint16_t group = 0;  // NFLOG
  bool nflog = false;
  uint8_t level = 0;  // LOG
  bool operator==(const LogRecord&) const = default;
};

struct Outcome {
  VerdictKind verdict = VerdictKind::kAccept;
  uint16_t queue = 0;  // kQueue: the queue number
  RuleRef decided_by;  // last rule, policy or end that gave a verdict
  /// False when an engine cannot tell it: a kernel does not say in which match
  /// of ip_tables a malformed packet was dropped.
  bool decided_by_known = true;
  std::string out;             // kAccept: device it left by; "" = this host
  std::vector<uint8_t> bytes;  // kAccept, kQueue: the packet at its end
  uint32_t mark = 0;           // kAccept, kQueue: fwmark at its end
  uint32_t priority = 0;       // kAccept: skb->priority (CLASSIFY)
  std::vector<Emission> emissions;
  std::vector<LogRecord> logs;
  /// Every rule that matched, in order; only when asked for.
  std::vector<RuleRef> trace;
  /// Not empty: this outcome depends on chance or the clock; names the
  /// construct ("statistic --mode random at line 12").  Such an outcome is
  /// counted, never compared.
  std::string indeterminate;

  /// Empties everything, keeps the capacity.
  void Clear();
};

/// What of an outcome two engines are compared on.  Fields that the IP stack
/// makes from a counter or clock (IP id of an answer) are masked out first.
struct OutcomeComparison {
  bool decided_by = true;
  bool bytes = true;
  bool logs = true;
};

/// Empty when equal, else "verdict: accept / drop; mark: 0x0 / 0x1 ...".
std::string DescribeDifference(const Ruleset& ruleset, const Outcome& a,
                               const Outcome& b,
                               const OutcomeComparison& what = {});

/// One line for a person: "drop filter/INPUT/3 (rule) ...".
std::string OutcomeLine(const Ruleset& ruleset, const Outcome& outcome);

}  // namespace nfarena
