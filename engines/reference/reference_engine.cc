#include "engines/reference/reference_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "engines/core/path.h"
#include "engines/core/tracker.h"
#include "engines/reference/describe.h"
#include "engines/reference/evaluator.h"

namespace nfarena {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t NanosecondsSince(Clock::time_point start) {
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start)
          .count());
}

/// The model is the interface: nothing is lowered and no bytes cross.
UpdateCost CostSince(Clock::time_point start) {
  UpdateCost cost;
  cost.wall_ns = NanosecondsSince(start);
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

class ReferenceInstance : public Instance {
 public:
  explicit ReferenceInstance(const OpenOptions& options)
      : family_(options.family),
        topology_(options.topology),
        path_(&topology_, &tracker_, &evaluator_) {
    topology_.BuildIndex();
    Ruleset empty;
    empty.family = family_;
    // An empty ruleset holds nothing to refuse.
    (void)evaluator_.Load(empty);
  }

  Result<UpdateCost> Replace(const Ruleset& ruleset) override {
    const auto start = Clock::now();
    if (ruleset.family != family_) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("this instance is for {}, the ruleset for {}",
                              FamilyName(family_), FamilyName(ruleset.family)));
    }
    RETURN_IF_ERROR(evaluator_.Load(ruleset));
    FitPath();
    return CostSince(start);
  }

  Result<UpdateCost> Apply(const Delta& delta) override {
    const auto start = Clock::now();
    Ruleset changed = evaluator_.ruleset();
    RETURN_IF_ERROR(ApplyDelta(delta, &changed));
    std::array<bool, kTableKindCount> touched{};
    for (const Change& change : delta) {
      touched[static_cast<size_t>(change.table)] = true;
    }
    RETURN_IF_ERROR(evaluator_.Change(std::move(changed), touched));
    FitPath();
    return CostSince(start);
  }

  Result<DumpResult> Dump() override {
    const auto start = Clock::now();
    DumpResult result;
    result.ruleset = evaluator_.ruleset();
    result.cost = CostSince(start);
    return result;
  }

  Status Classify(std::span<const Packet> packets, std::span<Outcome> outcomes,
                  const ClassifyOptions& options) override {
    if (packets.size() != outcomes.size()) {
      return Fail(ErrorCode::kRange, "not one outcome a packet");
    }
    RETURN_IF_ERROR(CheckFamily(packets));
    evaluator_.set_trace(options.trace);
    for (size_t i = 0; i < packets.size(); ++i) {
      path_.Run(packets[i], options, &outcomes[i]);
    }
    return {};
  }

  Result<PacketTiming> Time(std::span<const Packet> packets, uint32_t rounds,
                            const ClassifyOptions& options) override {
    RETURN_IF_ERROR(CheckFamily(packets));
    evaluator_.set_trace(options.trace);
    const Stage stage{options.table, options.hook};
    std::vector<PacketState> placed(packets.size());
    for (size_t i = 0; i < packets.size(); ++i) {
      path_.Place(packets[i], stage, &placed[i]);
    }
    PacketTiming timing;
    timing.packets = uint64_t{rounds} * packets.size();
    // A target may change the packet, so each one starts from a copy; the
    // copying is not timed.
    PacketState scratch;
    Outcome outcome;
    uint64_t total_ns = 0;
    for (uint32_t round = 0; round < rounds; ++round) {
      for (size_t i = 0; i < packets.size(); ++i) {
        outcome.Clear();
        if (options.full_path) {
          const auto start = Clock::now();
          path_.Run(packets[i], options, &outcome);
          total_ns += NanosecondsSince(start);
        } else {
          scratch = placed[i];
          scratch.outcome = &outcome;
          const auto start = Clock::now();
          evaluator_.Evaluate(stage, &scratch);
          total_ns += NanosecondsSince(start);
        }
      }
    }
    if (timing.packets != 0) {
      timing.ns_per_packet =
          static_cast<double>(total_ns) / static_cast<double>(timing.packets);
    }
    return timing;
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
  Status CheckFamily(std::span<const Packet> packets) const {
    for (const Packet& packet : packets) {
      if (packet.family == family_) continue;
      SourcePlace place;
      place.line = packet.line;
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("the packet is {}, the instance {}",
                              FamilyName(packet.family), FamilyName(family_)),
                  std::move(place));
    }
    return {};
  }

  /// Conntrack and NAT run when the ruleset asks for them.
  void FitPath() {
    const Ruleset& ruleset = evaluator_.ruleset();
    path_.SetTracking(NeedsTracking(ruleset));
    path_.SetNat(ruleset.table(TableKind::kNat) != nullptr);
  }

  const Family family_;
  Topology topology_;
  Tracker tracker_;
  reference::Evaluator evaluator_;
  Path path_;
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
    return std::make_unique<ReferenceInstance>(options);
  }
};

}  // namespace

const Engine& ReferenceEngine() {
  static const ReferenceEngineImpl engine;
  return engine;
}

}  // namespace nfarena
