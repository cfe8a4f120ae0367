// Runs the timed programs as many processes, in random order, within a budget,
// and gathers what they measured.
//
// The process is the unit of replication: each gives one sample a benchmark,
// and every engine takes part in every pass, so that ratios between engines
// come from one run on one machine in one state.  Sizes go up from small; a
// size whose pass would not fit in what is left of the budget is listed as
// left out, never silently dropped.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "bench/result/result_file.h"

namespace nfarena {

struct TimedRunOptions {
  std::filesystem::path program;  // a Google Benchmark program of ours
  std::vector<uint64_t> sizes;    // rules; ascending
  uint32_t passes_wanted = 9;     // samples a benchmark, budget permitting
  double min_time_s = 0.02;       // of one benchmark in one process
  uint64_t seed = 1;
  std::chrono::steady_clock::time_point deadline;
};

/// Told before each process: pass (from 1), size, seconds left.
using TimedProgress =
    std::function<void(uint32_t pass, uint64_t size, double seconds_left)>;

/// Fills result->cases() with one object a benchmark: workload, engine, rules,
/// samples_ns, counters, error.  The file is saved after every process.
/// Errors: kSystem (program missing or crashed, file not writable).
[[nodiscard]] Status RunTimed(const TimedRunOptions& options,
                              ResultFile* result,
                              const TimedProgress& progress);

}  // namespace nfarena
