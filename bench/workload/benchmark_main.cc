#include "bench/workload/benchmark_main.h"

#include <fmt/format.h>

#include <atomic>

#include "bench/correctness/differential.h"
#include "engines/kernel/rights.h"
#include "engines/registry.h"

namespace nfarena {
namespace {
std::atomic<int> refused_count{0};
}

void Refuse(benchmark::State& state, const std::string& why) {
  ++refused_count;
  state.SkipWithError(why.c_str());
}

int BenchmarkMain(int argc, char** argv, void (*register_all)()) {
  // Before any thread: an ordinary user's network namespaces need a user
  // namespace.  Engines that cannot run say why themselves.
  (void)kernel::EnsureNetAdmin();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
#ifdef NDEBUG
  benchmark::AddCustomContext("nfarena_build", "release");
#else
  benchmark::AddCustomContext("nfarena_build", "debug");
#endif
  register_all();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return refused_count == 0 ? 0 : 1;
}

Result<std::unique_ptr<Instance>> OpenLoaded(const Engine& engine,
                                             const Ruleset& ruleset,
                                             std::span<const Packet> packets) {
  OpenOptions open{.family = ruleset.family, .topology = {}};
  ASSIGN_OR_RETURN(open.topology, Topology::For(ruleset, packets));
  ASSIGN_OR_RETURN(std::unique_ptr<Instance> instance, engine.Open(open));
  RETURN_IF_ERROR(instance->Replace(ruleset));
  return instance;
}

Status SameAsReference(const Engine& engine, const Ruleset& ruleset,
                       std::span<const Packet> packets) {
  ASSIGN_OR_RETURN(const Engine* reference, FindEngine("reference"));
  if (&engine == reference) return {};
  const DifferentialCase c{.id = "before timing",
                           .ruleset = &ruleset,
                           .ruleset_path = "FILE",
                           .packets = packets,
                           .ipset_save = ""};
  const Engine* const pair[] = {reference, &engine};
  ASSIGN_OR_RETURN(const DifferentialReport report,
                   RunDifferential(c, pair, {.differences_kept = 1}));
  for (const EngineRun& run : report.runs) {
    if (run.state != RunState::kRan) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("{}: {}", run.engine, run.reason));
    }
  }
  if (report.differences_count != 0) {
    return Fail(ErrorCode::kInternal, report.differences[0].ToString(c));
  }
  return {};
}

}  // namespace nfarena
