#include "bench/correctness/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <optional>
#include <tuple>

#include "bench/correctness/aim.h"
#include "compat/syntax/save_printer.h"
#include "engines/core/packet_text.h"

namespace nfarena {

const char* RuleVerdictName(RuleVerdict verdict) {
  switch (verdict) {
    case RuleVerdict::kSame:
      return "same";
    case RuleVerdict::kCompat:
      return "compat";
    case RuleVerdict::kDiffers:
      return "differs";
    case RuleVerdict::kRefused:
      return "refused";
  }
  return "?";
}

namespace {

using RefKey = std::tuple<TableKind, uint32_t, uint32_t>;
RefKey Key(const RuleRef& r) { return {r.table, r.chain, r.rule}; }

/// A ruleset with one rule and the chain it jumps to, empty: what one rule
/// alone asks of an engine.
Ruleset Alone(const Ruleset& ruleset, const Table& table, const Chain& chain,
              const Rule& rule) {
  Ruleset alone{.family = ruleset.family, .tables = {EmptyTable(table.kind)}};
  Table& only = alone.tables.front();
  const auto add_chain = [&](const std::string& name) {
    // Names come from a valid table: the only refusal is "exists already".
    if (!name.empty()) (void)only.AddChain(name);
  };
  if (!chain.hook) add_chain(chain.name);
  add_chain(rule.target.chain);
  only.chain(chain.name)->rules.push_back(rule);
  return alone;
}

class Checker {
 public:
  Checker(const Ruleset& ruleset, const std::string& ipset_save,
          const KnownSets* sets, std::span<const Engine* const> bases,
          const CheckOptions& options)
      : ruleset_(ruleset),
        ipset_save_(ipset_save),
        bases_(bases),
        options_(options) {
    for (const Table& table : ruleset.tables) {
      for (uint32_t c = 0; c < table.chains.size(); ++c) {
        const Chain& chain = table.chains[c];
        for (uint32_t r = 0; r < chain.rules.size(); ++r) {
          const Rule& rule = chain.rules[r];
          rules_.push_back(
              {.table = &table,
               .chain = &chain,
               .rule = &rule,
               .ref = {table.kind, c, r + 1},
               .text = PrintRule(ruleset.family, chain.name, rule, sets)});
        }
      }
    }
    std::stable_sort(rules_.begin(), rules_.end(),
                     [](const Each& a, const Each& b) {
                       return a.rule->line < b.rule->line;
                     });
  }

  Result<CheckReport> Run(std::span<const Engine* const> engines) {
    if (options_.packets_count != 0) {
      ASSIGN_OR_RETURN(
          packets_, ParsePackets(AimPackets(ruleset_, {options_.packets_count,
                                                       options_.seed}),
                                 "aimed"));
    }
    for (const Engine* engine : engines) AskEngine(*engine);
    if (!packets_.empty()) Compare();
    for (Asked& asked : asked_) {
      report_.engines.push_back(std::move(asked.summary));
    }
    return std::move(report_);
  }

 private:
  struct Each {
    const Table* table;
    const Chain* chain;
    const Rule* rule;
    RuleRef ref;
    std::string text;
  };

  /// What one engine says of the ruleset; its rules in the report are those
  /// from `first` on.
  struct Asked {
    const Engine* engine;
    CheckedEngine summary;
    size_t first = 0;
    std::map<RefKey, size_t> index;  // into the report's rules
    bool supports = false;
  };

  void AskEngine(const Engine& engine) {
    Asked asked{.engine = &engine,
                .summary = {.engine = std::string(engine.name())},
                .first = report_.rules.size()};
    bool refused = false;
    for (const Each& each : rules_) {
      asked.index[Key(each.ref)] = report_.rules.size();
      report_.rules.push_back(CheckAlone(engine, each));
      refused |= report_.rules.back().verdict == RuleVerdict::kRefused;
    }
    const Status whole = engine.Supports(ruleset_);
    asked.supports = whole.has_value();
    if (!whole) {
      asked.summary.not_run = whole.error().ToString();
      // Refused for what no single rule shows (depth, loop, size): the rule
      // the engine names, else every rule.
      if (!refused) RefuseAt(whole.error(), asked);
    } else {
      for (const RuleNote& note : engine.Notes(ruleset_)) {
        const auto at = asked.index.find(Key(note.rule));
        if (at == asked.index.end()) continue;
        report_.rules[at->second].verdict = RuleVerdict::kCompat;
        report_.rules[at->second].reason = note.reason;
      }
    }
    asked_.push_back(std::move(asked));
  }

  CheckedRule CheckAlone(const Engine& engine, const Each& each) {
    CheckedRule checked{.rule = each.ref,
                        .line = each.rule->line,
                        .text = each.text,
                        .engine = std::string(engine.name())};
    const Status alone =
        engine.Supports(Alone(ruleset_, *each.table, *each.chain, *each.rule));
    if (!alone) {
      checked.verdict = RuleVerdict::kRefused;
      checked.reason = alone.error().message;
      checked.column = alone.error().place.column;
    }
    return checked;
  }

  void RefuseAt(const Error& error, const Asked& asked) {
    std::string reason = error.message;
    if (error.errno_value != 0) {
      reason += fmt::format(": {}", std::strerror(error.errno_value));
    }
    std::vector<CheckedRule*> placed, all;
    for (const auto& [key, at] : asked.index) {
      CheckedRule& rule = report_.rules[at];
      all.push_back(&rule);
      if (error.place.line != 0 && rule.line == error.place.line) {
        placed.push_back(&rule);
      }
    }
    for (CheckedRule* rule : placed.empty() ? all : placed) {
      rule->verdict = RuleVerdict::kRefused;
      rule->reason = reason;
      rule->column = placed.empty() ? 0 : error.place.column;
    }
  }

  /// Runs all engines that say they can against the first base that really
  /// can; without one, against the first of themselves.
  void Compare() {
    std::string refusals;
    for (const Engine* base : bases_) {
      const Status can = base->Available();
      const Status supports = can ? base->Supports(ruleset_) : can;
      std::string refusal;
      if (supports) {
        const auto report = RunAll(base);
        if (!report) return;
        const EngineRun& run = report->runs.front();
        if (run.state == RunState::kRan) return Take(*report, "");
        refusal = run.reason;
      } else {
        refusal = supports.error().ToString();
      }
      if (!refusals.empty()) refusals += "; ";
      refusals += fmt::format("{}: {}", base->name(), refusal);
    }
    if (const auto report = RunAll(nullptr)) Take(*report, refusals);
  }

  std::optional<DifferentialReport> RunAll(const Engine* base) {
    std::vector<const Engine*> engines;
    if (base != nullptr) engines.push_back(base);
    for (const Asked& asked : asked_) {
      if (asked.supports && asked.engine != base) {
        engines.push_back(asked.engine);
      }
    }
    const DifferentialCase c{.id = "check",
                             .ruleset = &ruleset_,
                             .ruleset_path = "",
                             .packets = packets_,
                             .ipset_save = ipset_save_};
    auto report =
        RunDifferential(c, engines,
                        {.differences_kept = packets_.size() * engines.size(),
                         .with_packets = false});
    if (report) return std::move(*report);
    for (Asked& asked : asked_) {
      if (asked.supports) asked.summary.not_run = report.error().ToString();
    }
    return std::nullopt;
  }

  /// `refusals`: why no base could run it.
  void Take(const DifferentialReport& report, const std::string& refusals) {
    const EngineRun* base = nullptr;
    for (const EngineRun& run : report.runs) {
      const bool is_base = base == nullptr && run.state == RunState::kRan;
      if (is_base) base = &run;
      const auto asked = std::find_if(
          asked_.begin(), asked_.end(),
          [&](const Asked& a) { return a.summary.engine == run.engine; });
      if (asked == asked_.end()) continue;
      CheckedEngine& summary = asked->summary;
      if (run.state == RunState::kUnsupported) RefuseAt(run.error, *asked);
      if (run.state != RunState::kRan) {
        summary.not_run = run.reason;
      } else if (!is_base) {
        summary.base = base->engine;
        summary.compared = run.compared;
        summary.indeterminate = run.indeterminate;
      } else if (!refusals.empty()) {
        summary.not_run = refusals;
      }
    }
    for (const Difference& d : report.differences) {
      const auto asked = std::find_if(
          asked_.begin(), asked_.end(),
          [&](const Asked& a) { return a.summary.engine == d.engine; });
      if (asked != asked_.end()) Blame(d, &*asked);
    }
  }

  void Blame(const Difference& d, Asked* asked) {
    const auto at = asked->index.find(Key(d.rule));
    if (d.packet == 0 || at == asked->index.end()) {
      // A policy decided, or the counters differ: no one rule to blame.
      if (asked->summary.not_run.empty()) {
        asked->summary.not_run =
            fmt::format("differs from {}: {}", d.base, d.what);
      }
      return;
    }
    CheckedRule& rule = report_.rules[at->second];
    if (rule.verdict == RuleVerdict::kDiffers) return;
    rule.verdict = RuleVerdict::kDiffers;
    rule.reason =
        fmt::format("{} on: {}", d.what, PacketLine(packets_[d.packet - 1]));
  }

  const Ruleset& ruleset_;
  const std::string& ipset_save_;
  std::span<const Engine* const> bases_;
  const CheckOptions& options_;
  std::vector<Each> rules_;
  std::vector<Asked> asked_;
  std::vector<Packet> packets_;
  CheckReport report_;
};

}  // namespace

Result<CheckReport> CheckRuleset(const Ruleset& ruleset,
                                 const std::string& ipset_save,
                                 const KnownSets* sets,
                                 std::span<const Engine* const> bases,
                                 std::span<const Engine* const> engines,
                                 const CheckOptions& options) {
  return Checker(ruleset, ipset_save, sets, bases, options).Run(engines);
}

}  // namespace nfarena
