// The whole corpus through all engines: the correctness part of the main job.
#pragma once

#include <chrono>
#include <functional>
#include <span>
#include <string>

#include "bench/correctness/differential.h"
#include "bench/result/result_file.h"
#include "corpus/corpus.h"

namespace nfarena {

struct CorpusRunOptions {
  uint64_t packets_count = 2000;  // aimed at the rules, besides the entry's own
  uint64_t seed = 1;
  /// No entry is started after this; those left out are listed as skipped.
  std::chrono::steady_clock::time_point deadline;
};

struct CorpusTotals {
  uint64_t entries = 0;
  uint64_t compared = 0;          // outcomes, all engines
  uint64_t judged_by_kernel = 0;  // of them, by a kernel engine
  uint64_t indeterminate = 0;
  uint64_t differences = 0;
  uint64_t failed_expectations = 0;
  uint64_t failed_entries = 0;  // did not parse, an engine failed
};

/// Told before each entry: its number from 0, how many there are, its id.
using CorpusProgress =
    std::function<void(size_t done, size_t all, const std::string& id)>;

/// Runs every entry and saves the file after each.  Errors: kSystem when the
/// result cannot be written; what goes wrong in an entry is in the result.
[[nodiscard]] Result<CorpusTotals> RunCorpus(
    std::span<const CorpusEntry> entries,
    std::span<const Engine* const> engines, const CorpusRunOptions& options,
    ResultFile* result, const CorpusProgress& progress);

}  // namespace nfarena
