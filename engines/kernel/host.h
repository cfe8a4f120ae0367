// A little host of one's own: a namespace with its network, the probe around
// the ruleset, and the way in for packets.
//
// Both kinds of kernel engine (ip_tables, nf_tables) judge and time packets in
// the same way, so it is here once; they differ only in how a ruleset comes in
// and goes out.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/engine.h"
#include "engines/kernel/inject.h"
#include "engines/kernel/namespace.h"
#include "engines/kernel/network.h"
#include "engines/kernel/observe.h"
#include "engines/kernel/probe.h"

namespace nfarena::kernel {

class Host {
 public:
  /// Errors: kSystem (rights.h says what may be missing), those of
  /// Network::Build and of `ipset restore`.
  [[nodiscard]] static Result<std::unique_ptr<Host>> Create(
      const OpenOptions& options);

  const Namespace& ns() const { return ns_; }
  const Network& network() const { return network_; }

  /// Listens to what this ruleset may report: NFLOG groups and queues.
  /// To be called before it is put in force.
  [[nodiscard]] Status Expect(const Ruleset& ruleset);
  /// The same for the rules of a change.
  [[nodiscard]] Status Expect(const Delta& delta);

  /// Instance::Classify.  `rules` names what the traces speak of.
  [[nodiscard]] Status Classify(const RuleIndex& rules,
                                std::span<const Packet> packets,
                                std::span<Outcome> outcomes,
                                const ClassifyOptions& options);
  /// Instance::Time: the median of the rounds.
  [[nodiscard]] Result<PacketTiming> Time(std::span<const Packet> packets,
                                          uint32_t rounds,
                                          const ClassifyOptions& options);

 private:
  Host(Namespace ns, Network network, Probe probe, Family family);
  Status ClassifyOne(const RuleIndex& rules, const Packet& packet,
                     const ClassifyOptions& options, Outcome* outcome);

  Family family_;
  Namespace ns_;
  Network network_;
  Probe probe_;
  Injector injector_;
};

/// Runs `ipset restore` with this text in `ns`.
/// Errors: kSystem (the program is missing), kSyntax (it refuses the text).
[[nodiscard]] Status RestoreSets(const Namespace& ns, const std::string& text);

}  // namespace nfarena::kernel
