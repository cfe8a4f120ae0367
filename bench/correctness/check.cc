#include "bench/correctness/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
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
          const Engine& base, const CheckOptions& options)
      : ruleset_(ruleset),
        ipset_save_(ipset_save),
        base_(base),
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
               .text = PrintRule(ruleset.family, chain.name, rule)});
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
    for (const Engine* engine : engines) CheckEngine(*engine);
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

  void CheckEngine(const Engine& engine) {
    CheckedEngine summary{.engine = std::string(engine.name())};
    const size_t first = report_.rules.size();
    bool refused = false;
    std::map<RefKey, size_t> index;
    for (const Each& each : rules_) {
      index[Key(each.ref)] = report_.rules.size();
      report_.rules.push_back(CheckAlone(engine, each));
      refused |= report_.rules.back().verdict == RuleVerdict::kRefused;
    }
    const Status whole = engine.Supports(ruleset_);
    if (!whole) {
      summary.not_run = whole.error().ToString();
      // Refused for what no single rule shows (depth, loop, size): the rule
      // the engine names, else every rule.
      if (!refused) RefuseAt(whole.error(), first);
    } else {
      for (const RuleNote& note : engine.Notes(ruleset_)) {
        const auto at = index.find(Key(note.rule));
        if (at == index.end()) continue;
        report_.rules[at->second].verdict = RuleVerdict::kCompat;
        report_.rules[at->second].reason = note.reason;
      }
      Compare(engine, index, &summary);
    }
    report_.engines.push_back(std::move(summary));
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

  void RefuseAt(const Error& error, size_t first) {
    bool placed = false;
    for (size_t i = first; i < report_.rules.size(); ++i) {
      CheckedRule& rule = report_.rules[i];
      if (error.place.line != 0 && rule.line != error.place.line) continue;
      rule.verdict = RuleVerdict::kRefused;
      rule.reason = error.message;
      rule.column = error.place.column;
      placed = true;
    }
    if (placed) return;
    for (size_t i = first; i < report_.rules.size(); ++i) {
      report_.rules[i].verdict = RuleVerdict::kRefused;
      report_.rules[i].reason = error.message;
    }
  }

  void Compare(const Engine& engine, const std::map<RefKey, size_t>& index,
               CheckedEngine* summary) {
    if (packets_.empty() || &engine == &base_) return;
    const DifferentialCase c{.id = "check",
                             .ruleset = &ruleset_,
                             .ruleset_path = "",
                             .packets = packets_,
                             .ipset_save = ipset_save_};
    const Engine* const pair[] = {&base_, &engine};
    const auto report = RunDifferential(
        c, pair, {.differences_kept = packets_.size(), .shrink = false});
    if (!report) {
      summary->not_run = report.error().ToString();
      return;
    }
    for (const EngineRun& run : report->runs) {
      if (run.state != RunState::kRan) {
        summary->not_run = fmt::format("{}: {}", run.engine, run.reason);
      }
    }
    summary->compared = report->compared;
    summary->indeterminate = report->indeterminate;
    for (const Difference& d : report->differences) {
      const auto at = index.find(Key(d.rule));
      if (d.packet == 0 || at == index.end()) {
        // A policy decided, or the counters differ: no one rule to blame.
        if (summary->not_run.empty()) {
          summary->not_run = fmt::format("differs from {}: {}", d.base, d.what);
        }
        continue;
      }
      CheckedRule& rule = report_.rules[at->second];
      if (rule.verdict == RuleVerdict::kDiffers) continue;
      rule.verdict = RuleVerdict::kDiffers;
      rule.reason =
          fmt::format("{} on: {}", d.what, PacketLine(packets_[d.packet - 1]));
    }
  }

  const Ruleset& ruleset_;
  const std::string& ipset_save_;
  const Engine& base_;
  const CheckOptions& options_;
  std::vector<Each> rules_;
  std::vector<Packet> packets_;
  CheckReport report_;
};

}  // namespace

Result<CheckReport> CheckRuleset(const Ruleset& ruleset,
                                 const std::string& ipset_save,
                                 const Engine& base,
                                 std::span<const Engine* const> engines,
                                 const CheckOptions& options) {
  return Checker(ruleset, ipset_save, base, options).Run(engines);
}

}  // namespace nfarena
