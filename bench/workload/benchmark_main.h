// What the Google Benchmark programs share: a main() whose exit status says
// whether every benchmark ran, and the check that comes before the timing.
#pragma once

#include <benchmark/benchmark.h>

#include <memory>
#include <span>
#include <string>

#include "compat/model/result.h"
#include "engines/core/engine.h"

namespace nfarena {

/// Marks this benchmark as wrong; in Google Benchmark 1.7 SkipWithError alone
/// leaves exit status 0, so BenchmarkMain counts these.
void Refuse(benchmark::State& state, const std::string& why);

/// Initialises the library, registers by `register_all`, runs.
/// Returns 0, 1 (a benchmark refused to be timed) or 2 (usage).
int BenchmarkMain(int argc, char** argv, void (*register_all)());

/// An open instance of `engine` with `ruleset` in force.
[[nodiscard]] Result<std::unique_ptr<Instance>> OpenLoaded(
    const Engine& engine, const Ruleset& ruleset,
    std::span<const Packet> packets);

/// Ok when `engine` gives the reference's outcome for each packet: no engine
/// is timed on what it gets wrong.
[[nodiscard]] Status SameAsReference(const Engine& engine,
                                     const Ruleset& ruleset,
                                     std::span<const Packet> packets);

}  // namespace nfarena
