// Packet cost of every engine: one table, one hook, N rules.
//
// Names are workload/engine/rules:N.  Twins walk filter/INPUT alone.  Kernel
// engines take the whole path of a packet written to a TUN device, so the same
// packets are timed against an empty ruleset too and the difference is
// reported; the floor is in the counter floor_ns.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <random>

#include "bench/workload/benchmark_main.h"
#include "bench/workload/synthetic.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

constexpr uint64_t kSizes[] = {10, 100, 1000, 10000, 100000};
constexpr Family kFamily = Family::kIpv4;
constexpr uint64_t kPacketsCount = 64;

/// Which rule a packet of the sequence hits.
struct PacketWorkload {
  std::string_view name;
  std::string (*line)(uint64_t rules_count, uint64_t packet);
};

std::string Miss(uint64_t, uint64_t) { return SyntheticMiss(kFamily); }
std::string First(uint64_t, uint64_t) { return SyntheticHit(kFamily, 0); }
std::string Last(uint64_t n, uint64_t) { return SyntheticHit(kFamily, n - 1); }
std::string Uniform(uint64_t n, uint64_t packet) {
  std::mt19937_64 random(packet);  // the same packets in every run
  return SyntheticHit(kFamily, random() % n);
}

constexpr PacketWorkload kWorkloads[] = {
    {"miss", Miss}, {"first", First}, {"last", Last}, {"uniform", Uniform}};

/// As many passes as give about this many rules visited in all.
uint32_t Rounds(uint64_t rules_count) {
  return static_cast<uint32_t>(
      std::clamp<uint64_t>(4'000'000 / (rules_count * kPacketsCount), 1, 200));
}

void Classify(benchmark::State& state, const PacketWorkload& workload,
              const Engine& engine, uint64_t n) {
  std::string lines;
  for (uint64_t i = 0; i < kPacketsCount; ++i) lines += workload.line(n, i);
  const auto packets = ParsePackets(lines, "synthetic");
  if (!packets) return Refuse(state, packets.error().ToString());
  const auto ruleset = SyntheticRuleset(kFamily, n);
  if (!ruleset) return Refuse(state, ruleset.error().ToString());
  if (const Status same = SameAsReference(engine, *ruleset, *packets); !same) {
    return Refuse(state, same.error().ToString());
  }
  const auto instance = OpenLoaded(engine, *ruleset, *packets);
  if (!instance) return Refuse(state, instance.error().ToString());

  const bool kernel = engine.kind() == EngineKind::kKernel;
  const ClassifyOptions options{.decided_by = false,
                                .full_path = kernel,
                                .table = TableKind::kFilter,
                                .hook = Hook::kInput};
  // The floor: the same write with no rules.  Twins have none.
  std::unique_ptr<Instance> empty;
  if (kernel) {
    const Ruleset none{.family = kFamily, .tables = {}};
    auto opened = OpenLoaded(engine, none, *packets);
    if (!opened) return Refuse(state, opened.error().ToString());
    empty = std::move(*opened);
  }
  double floor_sum = 0;
  for (auto _ : state) {
    const auto timing = (*instance)->Time(*packets, Rounds(n), options);
    if (!timing) return Refuse(state, timing.error().ToString());
    double ns = timing->ns_per_packet;
    if (empty != nullptr) {
      const auto floor = empty->Time(*packets, Rounds(n), options);
      if (!floor) return Refuse(state, floor.error().ToString());
      floor_sum += floor->ns_per_packet;
      ns = std::max(0.0, ns - floor->ns_per_packet);
    }
    state.SetIterationTime(ns * 1e-9);
  }
  const auto iterations = static_cast<double>(state.iterations());
  state.counters["floor_ns"] = floor_sum / iterations;
  const Footprint footprint = (*instance)->BytesUsed();
  state.counters["program_bytes"] =
      static_cast<double>(footprint.program_bytes);
}

void RegisterAll() {
  for (const Engine* engine : Engines()) {
    if (!engine->Available()) continue;
    for (const PacketWorkload& workload : kWorkloads) {
      for (uint64_t n : kSizes) {
        benchmark::RegisterBenchmark(
            fmt::format("{}/{}/rules:{}", workload.name, engine->name(), n)
                .c_str(),
            [=, &workload](benchmark::State& state) {
              Classify(state, workload, *engine, n);
            })
            ->UseManualTime()
            ->Iterations(3)
            ->Unit(benchmark::kNanosecond);
      }
    }
  }
}

}  // namespace
}  // namespace nfarena

int main(int argc, char** argv) {
  return nfarena::BenchmarkMain(argc, argv, nfarena::RegisterAll);
}
