#include "bench/correctness/corpus_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "bench/correctness/aim.h"
#include "bench/correctness/run_json.h"
#include "compat/syntax/save_parser.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

using nlohmann::json;

/// One entry: parse, aim, run, judge, into one JSON object.
class EntryRun {
 public:
  EntryRun(const CorpusEntry& entry, std::span<const Engine* const> engines,
           const CorpusRunOptions& options, CorpusTotals* totals)
      : entry_(entry), engines_(engines), options_(options), totals_(*totals) {
    json_ = {{"case", entry.id},
             {"description", entry.description},
             {"origin", entry.origin},
             {"family", entry.ipv6 ? "ipv6" : "ipv4"},
             {"error", ""},
             {"runs", json::array()},
             {"differences", json::array()},
             {"failed_expectations", json::array()}};
  }

  json Run() {
    ++totals_.entries;
    if (const Status done = Try(); !done) {
      json_["error"] = done.error().ToString();
      ++totals_.failed_entries;
    }
    return std::move(json_);
  }

 private:
  Status Try() {
    ParseOptions parse;
    parse.file = entry_.path.string();
    parse.family = entry_.ipv6 ? Family::kIpv6 : Family::kIpv4;
    parse.counters = false;
    parse.resolve = false;
    KnownSets sets;
    if (!entry_.ipset.text.empty()) {
      ASSIGN_OR_RETURN(sets, ReadKnownSets(entry_.ipset.text));
      parse.sets = &sets;
    }
    ASSIGN_OR_RETURN(ruleset_, ParseSave(entry_.ruleset.text, parse, nullptr));
    ASSIGN_OR_RETURN(const std::vector<Packet> own,
                     ParsePackets(entry_.packets.text, parse.file));
    json_["rules"] = ruleset_.rules_count();
    json_["packets"] = own.size() + options_.packets_count;
    if (!own.empty()) RETURN_IF_ERROR(RunOwn(own));
    if (options_.packets_count != 0) RETURN_IF_ERROR(RunAimed());
    return {};
  }

  /// The entry's own packets, with what is known of them.
  Status RunOwn(std::span<const Packet> packets) {
    ASSIGN_OR_RETURN(const DifferentialReport report, Compare(packets, "own"));
    for (const CorpusExpectation& e : entry_.expectations) {
      const std::string what = Unmet(e, report.base_outcomes);
      if (what.empty()) continue;
      json_["failed_expectations"].push_back(what);
      ++totals_.failed_expectations;
    }
    return {};
  }

  Status RunAimed() {
    const std::string text =
        AimPackets(ruleset_, {options_.packets_count, options_.seed});
    ASSIGN_OR_RETURN(const std::vector<Packet> packets,
                     ParsePackets(text, "aimed"));
    ASSIGN_OR_RETURN(const DifferentialReport report,
                     Compare(packets, "aimed"));
    json_["rules_hit"] = report.rules_hit;
    return {};
  }

  Result<DifferentialReport> Compare(std::span<const Packet> packets,
                                     const char* kind) {
    const DifferentialCase c{
        .id = entry_.id,
        .ruleset = &ruleset_,
        .ruleset_path = fmt::format("<(nfarena corpus show {}){}", entry_.id,
                                    entry_.ipv6 ? " -6" : ""),
        .packets = packets,
        .ipset_save = entry_.ipset.text};
    ASSIGN_OR_RETURN(DifferentialReport report,
                     RunDifferential(c, engines_, {}));
    totals_.compared += report.compared;
    totals_.indeterminate += report.indeterminate;
    totals_.differences += report.differences_count;
    for (const EngineRun& run : report.runs) AddRun(run, kind);
    for (const Difference& d : report.differences) {
      json_["differences"].push_back(d.ToString(c));
    }
    return report;
  }

  void AddRun(const EngineRun& run, const char* kind) {
    const auto engine = FindEngine(run.engine);
    if (engine && (*engine)->kind() == EngineKind::kKernel) {
      totals_.judged_by_kernel += run.compared;
    }
    if (run.state == RunState::kFailed) ++totals_.failed_entries;
    json run_json = RunJson(run);
    run_json["packets_kind"] = kind;
    json_["runs"].push_back(std::move(run_json));
  }

  /// Empty when the expectation holds.
  std::string Unmet(const CorpusExpectation& e,
                    std::span<const Outcome> outcomes) const {
    if (e.packet > outcomes.size()) {
      return fmt::format("packet {}: there is no such packet or outcome",
                         e.packet);
    }
    const Outcome& outcome = outcomes[e.packet - 1];
    const Table* table = ruleset_.table(outcome.decided_by.table);
    const std::string chain =
        table != nullptr && outcome.decided_by.chain < table->chains.size()
            ? table->chains[outcome.decided_by.chain].name
            : "";
    if (e.verdict == VerdictKindName(outcome.verdict) &&
        (e.chain.empty() || e.chain == chain)) {
      return "";
    }
    return fmt::format("packet {}: expected {} {}, got {}", e.packet, e.verdict,
                       e.chain, OutcomeLine(ruleset_, outcome));
  }

  const CorpusEntry& entry_;
  std::span<const Engine* const> engines_;
  const CorpusRunOptions& options_;
  CorpusTotals& totals_;
  Ruleset ruleset_;
  json json_;
};

}  // namespace

Result<CorpusTotals> RunCorpus(std::span<const CorpusEntry> entries,
                               std::span<const Engine* const> engines,
                               const CorpusRunOptions& options,
                               ResultFile* result,
                               const CorpusProgress& progress) {
  CorpusTotals totals;
  for (size_t i = 0; i < entries.size(); ++i) {
    progress(i, entries.size(), entries[i].id);
    if (std::chrono::steady_clock::now() > options.deadline) {
      result->Skip(entries[i].id, "the budget was used up before it");
      continue;
    }
    result->cases().push_back(
        EntryRun(entries[i], engines, options, &totals).Run());
    RETURN_IF_ERROR(result->Save());
  }
  RETURN_IF_ERROR(result->Finish());
  return totals;
}

}  // namespace nfarena
