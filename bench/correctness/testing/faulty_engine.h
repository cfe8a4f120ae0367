// An engine with a fault on purpose, to show that a differential run finds it.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "engines/core/engine.h"

namespace nfarena::testing {

/// What is wrong with it.  Each is empty when that part is sound.
struct Fault {
  /// A broken lowering: this is put in force instead of what was asked for.
  std::function<Ruleset(const Ruleset&)> lowering;
  /// A broken packet path: called with each outcome.
  std::function<void(Outcome*)> outcome;
  /// Broken counters: called with each dump.
  std::function<void(Ruleset*)> dump;
};

class FaultyInstance : public Instance {
 public:
  FaultyInstance(std::unique_ptr<Instance> sound, const Fault& fault)
      : sound_(std::move(sound)), fault_(fault) {}

  Result<UpdateCost> Replace(const Ruleset& ruleset) override {
    return sound_->Replace(fault_.lowering ? fault_.lowering(ruleset)
                                           : ruleset);
  }
  Result<UpdateCost> Apply(const Delta& delta) override {
    return sound_->Apply(delta);
  }
  Result<DumpResult> Dump() override {
    auto dump = sound_->Dump();
    if (dump && fault_.dump) fault_.dump(&dump->ruleset);
    return dump;
  }
  Status Classify(std::span<const Packet> packets, std::span<Outcome> outcomes,
                  const ClassifyOptions& options) override {
    RETURN_IF_ERROR(sound_->Classify(packets, outcomes, options));
    if (fault_.outcome) {
      for (Outcome& outcome : outcomes) fault_.outcome(&outcome);
    }
    return {};
  }
  Result<PacketTiming> Time(std::span<const Packet> packets, uint32_t rounds,
                            const ClassifyOptions& options) override {
    return sound_->Time(packets, rounds, options);
  }
  Footprint BytesUsed() const override { return sound_->BytesUsed(); }
  std::string Disassemble() const override { return sound_->Disassemble(); }

 private:
  std::unique_ptr<Instance> sound_;
  const Fault& fault_;
};

class FaultyEngine : public Engine {
 public:
  FaultyEngine(const Engine& sound, Fault fault)
      : sound_(sound), fault_(std::move(fault)) {}

  std::string_view name() const override { return "faulty"; }
  EngineKind kind() const override { return sound_.kind(); }
  std::string_view description() const override { return "wrong on purpose"; }
  Status Available() const override { return sound_.Available(); }
  Status Supports(const Ruleset& ruleset) const override {
    return sound_.Supports(ruleset);
  }
  Result<std::unique_ptr<Instance>> Open(
      const OpenOptions& options) const override {
    ASSIGN_OR_RETURN(std::unique_ptr<Instance> sound, sound_.Open(options));
    return std::make_unique<FaultyInstance>(std::move(sound), fault_);
  }

 private:
  const Engine& sound_;
  Fault fault_;
};

}  // namespace nfarena::testing
