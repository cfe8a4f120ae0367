// Update cost of every engine: load, the workloads of workloads.h, dump.
//
// Names are workload/engine/rules:N.  The time is that of the update as the
// engine reports it (lowering, transport, commit), without our own set-up; the
// counters say how many bytes and messages crossed its interface.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <map>
#include <memory>
#include <utility>

#include "bench/update/workloads.h"
#include "bench/workload/benchmark_main.h"
#include "bench/workload/synthetic.h"
#include "compat/syntax/save_parser.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

constexpr uint64_t kSizes[] = {10, 100, 1000, 10000, 100000};
constexpr Family kFamily = Family::kIpv4;

/// Adds up what updates cost over the iterations.
class CostMeter {
 public:
  void Add(benchmark::State& state, const UpdateCost& cost) {
    state.SetIterationTime(static_cast<double>(cost.wall_ns) * 1e-9);
    last_ = cost;
    commit_ns_ += static_cast<double>(cost.commit_ns);
  }
  void Report(benchmark::State& state) const {
    const auto iterations = static_cast<double>(state.iterations());
    state.counters["bytes_sent"] = static_cast<double>(last_.bytes_sent);
    state.counters["bytes_received"] =
        static_cast<double>(last_.bytes_received);
    state.counters["messages"] = static_cast<double>(last_.messages);
    state.counters["commit_ns"] = commit_ns_ / iterations;
  }

 private:
  UpdateCost last_;
  double commit_ns_ = 0;
};

/// The ruleset of this size, made once a process; nullptr after Refuse.
const Ruleset* Synthetic(benchmark::State& state, uint64_t rules_count) {
  static std::map<uint64_t, Ruleset> made;
  const auto at = made.find(rules_count);
  if (at != made.end()) return &at->second;
  auto ruleset = SyntheticRuleset(kFamily, rules_count);
  if (!ruleset) {
    Refuse(state, ruleset.error().ToString());
    return nullptr;
  }
  return &made.emplace(rules_count, std::move(*ruleset)).first->second;
}

/// A ruleset and an instance that has it in force.
struct Loaded {
  const Ruleset* ruleset = nullptr;
  std::unique_ptr<Instance> instance;  // nullptr after Refuse
};

/// A ruleset of this size, loaded and found right.
Loaded Prepare(benchmark::State& state, const Engine& engine,
               uint64_t rules_count) {
  const Ruleset* ruleset = Synthetic(state, rules_count);
  if (ruleset == nullptr) return {};
  auto instance = OpenLoaded(engine, *ruleset, {});
  if (!instance) {
    Refuse(state, instance.error().ToString());
    return {};
  }
  const auto dump = (*instance)->Dump();
  if (!dump) {
    Refuse(state, dump.error().ToString());
    return {};
  }
  if (!SameRules(dump->ruleset, *ruleset)) {
    Refuse(state, "what is dumped is not what was loaded");
    return {};
  }
  return {ruleset, std::move(*instance)};
}

void Load(benchmark::State& state, const Engine& engine, uint64_t n) {
  const auto [ruleset, instance] = Prepare(state, engine, n);
  if (instance == nullptr) return;
  CostMeter meter;
  for (auto _ : state) {
    const auto cost = instance->Replace(*ruleset);
    if (!cost) return Refuse(state, cost.error().ToString());
    meter.Add(state, *cost);
  }
  meter.Report(state);
}

void Dump(benchmark::State& state, const Engine& engine, uint64_t n) {
  const auto [ruleset, instance] = Prepare(state, engine, n);
  if (instance == nullptr) return;
  CostMeter meter;
  for (auto _ : state) {
    const auto dump = instance->Dump();
    if (!dump) return Refuse(state, dump.error().ToString());
    meter.Add(state, dump->cost);
  }
  meter.Report(state);
}

void Update(benchmark::State& state, const UpdateWorkload& workload,
            const Engine& engine, uint64_t n) {
  const auto [ruleset, instance] = Prepare(state, engine, n);
  if (instance == nullptr) return;
  const auto spare =
      ParseRule(SyntheticRule(kFamily, n), kFamily, TableKind::kFilter);
  if (!spare) return Refuse(state, spare.error().ToString());

  const Delta change = workload.change(n, *spare);
  const Delta undo = workload.undo(n, *ruleset);
  // Checked before timed: the change makes what the model says, and the way
  // back leads back.
  Ruleset changed = *ruleset;
  if (const Status ok = ApplyDelta(change, &changed); !ok) {
    return Refuse(state, ok.error().ToString());
  }
  const std::pair<const Delta*, const Ruleset*> steps[] = {{&change, &changed},
                                                           {&undo, ruleset}};
  for (const auto& [delta, expected] : steps) {
    const auto cost = instance->Apply(*delta);
    if (!cost) return Refuse(state, cost.error().ToString());
    const auto dump = instance->Dump();
    if (!dump) return Refuse(state, dump.error().ToString());
    if (!SameRules(dump->ruleset, *expected)) {
      return Refuse(state, "the update did not make what the model says");
    }
  }
  CostMeter meter;
  for (auto _ : state) {
    const auto cost = instance->Apply(change);
    if (!cost) return Refuse(state, cost.error().ToString());
    meter.Add(state, *cost);
    const auto back = instance->Apply(undo);
    if (!back) return Refuse(state, back.error().ToString());
  }
  meter.Report(state);
}

void RegisterAll() {
  const auto add = [](std::string_view workload, const Engine& engine,
                      uint64_t n, auto body) {
    benchmark::RegisterBenchmark(
        fmt::format("{}/{}/rules:{}", workload, engine.name(), n).c_str(), body)
        ->UseManualTime()
        ->Unit(benchmark::kMicrosecond);
  };
  for (const Engine* engine : Engines()) {
    if (!engine->Available()) continue;
    for (uint64_t n : kSizes) {
      add("load", *engine, n,
          [=](benchmark::State& state) { Load(state, *engine, n); });
      for (const UpdateWorkload& workload : UpdateWorkloads()) {
        add(workload.name, *engine, n, [=, &workload](benchmark::State& state) {
          Update(state, workload, *engine, n);
        });
      }
      add("dump", *engine, n,
          [=](benchmark::State& state) { Dump(state, *engine, n); });
    }
  }
}

}  // namespace
}  // namespace nfarena

int main(int argc, char** argv) {
  return nfarena::BenchmarkMain(argc, argv, nfarena::RegisterAll);
}
