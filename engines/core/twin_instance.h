// What all instances of twins do alike: packets are sent along the path, one
// after the other, and timed.  How a stage judges is each twin's own.
//
// Invariant: every packet of a call is of the instance's family; a call that
// holds another one is refused before the first packet moves.
#pragma once

#include <span>

#include "engines/core/engine.h"
#include "engines/core/net_state.h"
#include "engines/core/path.h"
#include "engines/core/topology.h"
#include "engines/core/tracker.h"

namespace nfarena {

class TwinInstance : public Instance, protected StageEvaluator {
 public:
  Status Classify(std::span<const Packet> packets, std::span<Outcome> outcomes,
                  const ClassifyOptions& options) final;
  /// A stage is timed without its path: a packet that a target rewrites is
  /// rewritten again in the next round.
  Result<PacketTiming> Time(std::span<const Packet> packets, uint32_t rounds,
                            const ClassifyOptions& options) final;

 protected:
  TwinInstance(const OpenOptions& options, IpSets sets);

  /// Around each packet of Classify, and around all of Time.
  virtual void Arrive(const Packet& packet) { (void)packet; }
  virtual void Leave() {}

  [[nodiscard]] Status CheckFamily(const Ruleset& ruleset) const;
  Family family() const { return family_; }
  bool trace() const { return trace_; }
  Path& path() { return path_; }
  /// With the sets of the options; it outlives every ruleset.
  NetState* net() { return &net_; }

 private:
  Status CheckFamily(std::span<const Packet> packets) const;
  Result<double> TimePath(std::span<const Packet> packets, uint32_t rounds,
                          const ClassifyOptions& options);
  Result<double> TimeStage(std::span<const Packet> packets, uint32_t rounds,
                           Stage stage);

  const Family family_;
  Topology topology_;
  Tracker tracker_;
  NetState net_;
  bool trace_ = false;
  Path path_;
};

}  // namespace nfarena
