// The engine interface: what the arena asks of everyone who enters it.
//
// An Engine is a stateless description; an Instance is one place where a
// ruleset of one family is in force (a twin's memory, or a kernel's namespace).
// The virtual call is per update or per batch of packets, never per packet.
// An engine that cannot do something says so with kUnsupported and the
// construct; it never guesses.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/delta.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/outcome.h"
#include "engines/core/packet.h"
#include "engines/core/topology.h"

namespace nfarena {

/// What one update cost.
struct UpdateCost {
  uint64_t wall_ns = 0;         // whole update: lowering, transport, commit
  uint64_t lower_ns = 0;        // of it, making the wire form
  uint64_t commit_ns = 0;       // of it, the engine taking it (the syscall)
  uint64_t bytes_sent = 0;      // over the interface, towards the engine
  uint64_t bytes_received = 0;  // and back
  uint64_t messages = 0;        // system calls or netlink messages
};

struct DumpResult {
  Ruleset ruleset;  // with counters
  UpdateCost cost;  // bytes_received is the interesting one
};

struct Footprint {
  uint64_t program_bytes = 0;  // what the packet path reads
  uint64_t control_bytes = 0;  // kept for updates and dumps
  uint64_t state_bytes = 0;    // counters, match state
};

struct ClassifyOptions {
  bool trace = false;      // fill Outcome::trace
  bool decided_by = true;  // kernel engines: costs a trace
  bool full_path = true;   // all hooks; false: only `table` at `hook`
  TableKind table = TableKind::kFilter;  // full_path == false
  Hook hook = Hook::kInput;              // full_path == false
};

/// Time for `packets` through one hook of one table, for the packet benchmarks.
struct PacketTiming {
  double ns_per_packet = 0;  // kernel engines: floor already measured apart
  uint64_t packets = 0;
};

struct OpenOptions {
  Family family = Family::kIpv4;
  Topology topology;
  /// "ipset save" text of the sets the ruleset refers to; empty = none.
  std::string ipset_save;
  /// Kernel engines: act on the calling process's own namespace instead of a
  /// private one.  Classify is then refused.
  bool in_place = false;
};

class Instance {
 public:
  virtual ~Instance() = default;

  /// Puts `ruleset` in force, whole.  Tables it does not name are emptied; in
  /// place they are left alone, as iptables-restore does.
  /// On error the ruleset in force is unchanged.
  [[nodiscard]] virtual Result<UpdateCost> Replace(const Ruleset& ruleset) = 0;
  /// The same for a caller who does not need the ruleset any more: an engine
  /// that keeps it is spared a copy.
  [[nodiscard]] virtual Result<UpdateCost> Adopt(Ruleset ruleset) {
    return Replace(ruleset);
  }
  /// Applies `delta` to the ruleset in force, all or nothing, in the way this
  /// engine really has (the legacy engine reads, modifies and puts back).
  [[nodiscard]] virtual Result<UpdateCost> Apply(const Delta& delta) = 0;
  /// Reads the ruleset in force back from the engine's own form.
  [[nodiscard]] virtual Result<DumpResult> Dump() = 0;
  /// Sends the packets through, in order; conntrack and match state carry over
  /// from one to the next.  outcomes.size() == packets.size().  Twins allocate
  /// nothing here once the outcomes have grown their buffers.
  [[nodiscard]] virtual Status Classify(std::span<const Packet> packets,
                                        std::span<Outcome> outcomes,
                                        const ClassifyOptions& options) = 0;
  /// Times `rounds` passes of the packets through one table at one hook (or,
  /// for a kernel engine, through the whole path: take the difference to an
  /// empty ruleset).  Outcomes are not recorded.
  [[nodiscard]] virtual Result<PacketTiming> Time(
      std::span<const Packet> packets, uint32_t rounds,
      const ClassifyOptions& options) = 0;
  virtual Footprint BytesUsed() const = 0;
  /// The program in a readable form, for people.
  virtual std::string Disassemble() const = 0;
};

enum class EngineKind : uint8_t { kTwin, kKernel };

/// What a person should know of one rule on one engine, although it loads.
struct RuleNote {
  RuleRef rule;
  std::string
      reason;  // "match recent is carried by nft_compat: no native form"
};

class Engine {
 public:
  virtual ~Engine() = default;
  virtual std::string_view name() const = 0;
  virtual EngineKind kind() const = 0;
  /// One line: what it is.
  virtual std::string_view description() const = 0;
  /// The twin's kernel engine, "" when it has none.
  virtual std::string_view checked_against() const { return ""; }
  /// Ok, or why it cannot run on this host (missing right or feature).
  [[nodiscard]] virtual Status Available() const = 0;
  /// Ok, or the first construct that this engine cannot express: kUnsupported
  /// with line and column in `place`.
  [[nodiscard]] virtual Status Supports(const Ruleset& ruleset) const = 0;
  /// Rules that keep their meaning here only through another subsystem
  /// (nft_compat), each with the reason.  Empty for a ruleset that is not
  /// supported.
  virtual std::vector<RuleNote> Notes(const Ruleset& ruleset) const {
    (void)ruleset;
    return {};
  }
  [[nodiscard]] virtual Result<std::unique_ptr<Instance>> Open(
      const OpenOptions& options) const = 0;
};

}  // namespace nfarena
