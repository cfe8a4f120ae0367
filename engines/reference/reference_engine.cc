#include "engines/reference/reference_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "engines/core/ipset_text.h"
#include "engines/core/stopwatch.h"
#include "engines/core/twin_instance.h"
#include "engines/reference/describe.h"
#include "engines/reference/evaluator.h"

namespace nfarena {
namespace {

/// The model is the interface: nothing is lowered and no bytes cross.
UpdateCost CostOf(const Stopwatch& watch) {
  UpdateCost cost;
  cost.wall_ns = watch.nanoseconds();
  cost.commit_ns = cost.wall_ns;
  cost.messages = 1;
  return cost;
}

size_t BytesOf(const Rule& rule) {
  size_t bytes = sizeof(Rule) + rule.target.chain.size() +
                 rule.target.extension.payload.size();
  for (const Extension& match : rule.matches) {
    bytes += sizeof(Extension) + match.payload.size();
  }
  return bytes;
}

class ReferenceInstance final : public TwinInstance {
 public:
  ReferenceInstance(const OpenOptions& options, IpSets ipsets)
      : TwinInstance(options, std::move(ipsets)), evaluator_(&net()->sets) {
    Ruleset empty;
    empty.family = family();
    // An empty ruleset holds nothing to refuse.
    (void)evaluator_.Load(empty);
  }

  Result<UpdateCost> Replace(const Ruleset& ruleset) override {
    const Stopwatch watch;
    RETURN_IF_ERROR(CheckFamily(ruleset));
    RETURN_IF_ERROR(evaluator_.Load(ruleset));
    FitPath();
    return CostOf(watch);
  }

  Result<UpdateCost> Apply(const Delta& delta) override {
    const Stopwatch watch;
    Ruleset changed = evaluator_.ruleset();
    RETURN_IF_ERROR(ApplyDelta(delta, &changed));
    std::array<bool, kTableKindCount> touched{};
    for (const Change& change : delta) {
      touched[static_cast<size_t>(change.table)] = true;
    }
    RETURN_IF_ERROR(evaluator_.Change(std::move(changed), touched));
    FitPath();
    return CostOf(watch);
  }

  Result<DumpResult> Dump() override {
    const Stopwatch watch;
    DumpResult result;
    result.ruleset = evaluator_.ruleset();
    result.cost = CostOf(watch);
    return result;
  }

  Footprint BytesUsed() const override {
    Footprint footprint;
    for (const Table& table : evaluator_.ruleset().tables) {
      for (const Chain& chain : table.chains) {
        for (const Rule& rule : chain.rules) {
          footprint.program_bytes += BytesOf(rule);
          footprint.state_bytes +=
              sizeof(Counters) +
              rule.matches.size() * sizeof(reference::Memory);
        }
      }
    }
    return footprint;
  }

  std::string Disassemble() const override {
    return reference::Describe(evaluator_.ruleset());
  }

 private:
  bool HasStage(Stage stage) const override {
    return evaluator_.HasStage(stage);
  }
  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    evaluator_.set_trace(trace());
    return evaluator_.Evaluate(stage, packet);
  }

  /// Conntrack and NAT run when the ruleset asks for them.
  void FitPath() {
    const Ruleset& ruleset = evaluator_.ruleset();
    path().SetTracking(NeedsTracking(ruleset));
    path().SetNat(ruleset.table(TableKind::kNat) != nullptr);
  }

  reference::Evaluator evaluator_;
};

class ReferenceEngineImpl : public Engine {
 public:
  std::string_view name() const override { return "reference"; }
  EngineKind kind() const override { return EngineKind::kTwin; }
  std::string_view description() const override {
    return "plain evaluator of the model, slow and obviously right: the oracle";
  }
  Status Available() const override { return {}; }
  Status Supports(const Ruleset& ruleset) const override {
    return reference::CheckRuleset(ruleset);
  }
  Result<std::unique_ptr<Instance>> Open(
      const OpenOptions& options) const override {
    if (options.in_place) {
      return Fail(ErrorCode::kUnsupported,
                  "only a kernel engine acts on the caller's namespace");
    }
    ASSIGN_OR_RETURN(IpSets sets, ReadIpSets(options.ipset_save));
    return std::make_unique<ReferenceInstance>(options, std::move(sets));
  }
};

}  // namespace

const Engine& ReferenceEngine() {
  static const ReferenceEngineImpl engine;
  return engine;
}

}  // namespace nfarena
