// The kernel's reports on one packet -> its Outcome.
//
// The stream of events tells the story in order: begin and end of each hook,
// each rule that matched, log records, and at the end a final record or none.
//   - a final record of a traced packet: accepted, with bytes, mark, device;
//   - a queued packet: its queue;
//   - none: dropped in the hook that began and did not end, or, when no hook is
//     open, by the stack between the hooks.
// A final record of a packet that is not traced is one that the stack made as
// a consequence: an emission.
//
// LOG writes to the kernel's own log, which a namespace does not get; that its
// rule matched is in the trace, and what it writes is in the rule.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/outcome.h"
#include "engines/kernel/events.h"
#include "engines/kernel/network.h"
#include "engines/kernel/probe.h"

namespace nfarena::kernel {

/// Finds the rule that a trace record names.
class RuleIndex {
 public:
  /// `ruleset` must outlive the index.
  explicit RuleIndex(const Ruleset* ruleset);

  /// Rule handles of nf_tables, for the records of a kernel that counts so.
  /// A handle of 0 is not a rule.
  void AddHandle(const RuleRef& rule, uint64_t handle);

  const Ruleset& ruleset() const { return *ruleset_; }
  /// nullopt when no such table or chain is in the ruleset.
  std::optional<RuleRef> Find(const Event& trace) const;
  const Chain& ChainOf(const RuleRef& ref) const;
  /// nullptr for the end of a chain.
  const Rule* RuleOf(const RuleRef& ref) const;

 private:
  struct TextHash {
    using is_transparent = void;
    size_t operator()(std::string_view text) const {
      return std::hash<std::string_view>()(text);
    }
  };
  struct TableIndex {
    const Table* table = nullptr;
    std::unordered_map<std::string, uint32_t, TextHash, std::equal_to<>> chains;
    std::unordered_map<uint64_t, RuleRef> rules;
  };
  const Ruleset* ruleset_;
  std::array<TableIndex, kTableKindCount> tables_;
};

struct ObserverOptions {
  bool arrives = false;   // the packet comes in by a device
  bool fragment = false;  // it may be kept until the others are there
  bool trace = false;     // fill Outcome::trace
  std::span<const uint8_t> bytes = {};  // as it was sent
};

class Observer {
 public:
  /// All must outlive it.
  Observer(const RuleIndex* rules, const Network* network,
           const ObserverOptions& options, Outcome* outcome);

  void Take(const Event& event);
  /// The bytes of the events taken so far are about to go.
  void EndBatch() { SettlePending(); }
  /// A packet out of lo has not yet come in again: more is to be reported.
  bool ExpectsMore() const { return on_loopback_; }
  /// No more events: settles the verdict.
  void Finish();

 private:
  void TakeMarker(Marker marker);
  /// The pending record is of the packet's own end.
  void AcceptPending();
  /// Nothing was asked about the fragment: it waits for the others.
  bool KeptByDefrag() const;
  /// A log in the hook this packet is in may be of an answer to it that passes
  /// the same hook.
  bool IsOfAnAnswer(const Event& event) const;
  void TakeTrace(const Event& event);
  void Open(Hook hook);
  void SettlePending();
  void AddEmission(const Event& event);
  bool Stranger(const Event& event);
  std::optional<Hook> HookOf(const Event& event) const;

  const RuleIndex* rules_;
  const Network* network_;
  ObserverOptions options_;
  Outcome* outcome_;

  std::optional<Event> pending_;  // a final record whose owner is not known yet
  std::optional<uint32_t> pending_priority_;
  bool any_rule_ = false;     // a rule or policy was asked
  std::optional<Hook> open_;  // the hook the packet is in
  const Rule* last_rule_ = nullptr;
  /// The last record of the open hook explains a drop there.
  bool drop_explained_ = false;
  bool decided_ = false;  // accepted or queued
  bool on_loopback_ = false;
  bool output_seen_ = false;
  /// Events belong to a packet the stack made, up to its final record...
  bool aside_ = false;
  /// ...or for ever, when it answers a packet that is dropped thereafter.
  bool aside_for_good_ = false;
};

}  // namespace nfarena::kernel
