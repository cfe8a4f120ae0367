#include "bench/correctness/differential.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "engines/core/packet_text.h"

namespace nfarena {

const char* RunStateName(RunState state) {
  switch (state) {
    case RunState::kRan:
      return "ran";
    case RunState::kUnsupported:
      return "unsupported";
    case RunState::kUnavailable:
      return "unavailable";
    case RunState::kFailed:
      return "failed";
  }
  return "?";
}

std::string Difference::ToString(const DifferentialCase& c) const {
  std::string out = fmt::format("{}: {} and {} differ", c.id, base, engine);
  out += packet == 0 ? std::string(" in their counters")
                     : fmt::format(" on packet {}", packet);
  out += fmt::format(":\n  {}\n  repeat with:\n", what);
  out += fmt::format(
      "  nfarena diff --engines {},{} --ruleset {} --packets - <<'END'\n", base,
      engine, c.ruleset_path);
  for (const std::string& line : packets) out += line + "\n";
  return out + "END\n";
}

namespace {

/// What one engine made of a sequence.
struct Played {
  std::vector<Outcome> outcomes;
  Ruleset counters;  // the dump after the sequence
};

Result<Played> Play(const Engine& engine, const DifferentialCase& c,
                    std::span<const Packet> packets, const Topology& topology) {
  OpenOptions open{.family = c.ruleset->family, .topology = topology};
  open.ipset_save = c.ipset_save;
  ASSIGN_OR_RETURN(const std::unique_ptr<Instance> instance, engine.Open(open));
  RETURN_IF_ERROR(instance->Replace(*c.ruleset));
  Played played;
  played.outcomes.resize(packets.size());
  RETURN_IF_ERROR(
      instance->Classify(packets, played.outcomes, ClassifyOptions{}));
  ASSIGN_OR_RETURN(DumpResult dump, instance->Dump());
  played.counters = std::move(dump.ruleset);
  return played;
}

std::string CounterText(const Counters& c) {
  return fmt::format("[{}:{}]", c.packets, c.bytes);
}

/// The first rule or policy whose counters differ; empty when none does.
/// `compared` counts them.
std::string CounterDifference(const Ruleset& ruleset, const Ruleset& a,
                              const Ruleset& b, uint64_t* compared) {
  for (const Table& table : ruleset.tables) {
    for (uint32_t i = 0; i < table.chains.size(); ++i) {
      const Chain& chain = table.chains[i];
      const Table* table_a = a.table(table.kind);
      const Table* table_b = b.table(table.kind);
      const Chain* in_a =
          table_a != nullptr ? table_a->chain(chain.name) : nullptr;
      const Chain* in_b =
          table_b != nullptr ? table_b->chain(chain.name) : nullptr;
      if (in_a == nullptr || in_b == nullptr ||
          in_a->rules.size() != chain.rules.size() ||
          in_b->rules.size() != chain.rules.size()) {
        return fmt::format("chain {}/{} is not dumped as it was loaded",
                           TableName(table.kind), chain.name);
      }
      const auto differ = [&](const Counters& x, const Counters& y,
                              uint32_t rule) -> std::string {
        ++*compared;
        if (x == y) return "";
        return fmt::format("counters of {}: {} / {}",
                           RuleRefName(ruleset, {table.kind, i, rule}),
                           CounterText(x), CounterText(y));
      };
      for (uint32_t r = 0; r < chain.rules.size(); ++r) {
        const std::string what =
            differ(in_a->rules[r].counters, in_b->rules[r].counters, r + 1);
        if (!what.empty()) return what;
      }
      if (chain.hook) {
        const std::string what = differ(in_a->counters, in_b->counters, 0);
        if (!what.empty()) return what;
      }
    }
  }
  return "";
}

bool Indeterminate(const Outcome& a, const Outcome& b) {
  return !a.indeterminate.empty() || !b.indeterminate.empty();
}

bool SameFlow(const Packet& a, const Packet& b) {
  // Addresses stand at fixed places; either direction is the same flow.
  const size_t at = a.family == Family::kIpv4 ? 12 : 8;
  const size_t size = a.family == Family::kIpv4 ? 4 : 16;
  if (a.bytes.size() < at + 2 * size || b.bytes.size() < at + 2 * size) {
    return false;
  }
  const auto equal = [&](size_t x, size_t y) {
    return std::equal(a.bytes.begin() + x, a.bytes.begin() + x + size,
                      b.bytes.begin() + y);
  };
  return (equal(at, at) && equal(at + size, at + size)) ||
         (equal(at, at + size) && equal(at + size, at));
}

class Differential {
 public:
  Differential(const DifferentialCase& c, const DifferentialOptions& options)
      : case_(c), options_(options) {}

  Result<DifferentialReport> Run(std::span<const Engine* const> engines) {
    ASSIGN_OR_RETURN(topology_, Topology::For(*case_.ruleset, case_.packets));
    report_.rules_count = case_.ruleset->rules_count();
    AskChance();
    for (const Engine* engine : engines) RunEngine(*engine);
    report_.base_outcomes = std::move(base_played_.outcomes);
    return std::move(report_);
  }

 private:
  void AskChance() {
    const Engine* engine = options_.chance;
    if (engine == nullptr || !engine->Available() ||
        !engine->Supports(*case_.ruleset)) {
      return;
    }
    auto played = Play(*engine, case_, case_.packets, topology_);
    if (!played) return;  // said again, if it is one of those compared
    for (const Outcome& outcome : played->outcomes) {
      chance_.push_back(!outcome.indeterminate.empty());
    }
    chance_played_ = std::move(*played);
  }

  Result<Played> PlayOrTake(const Engine& engine) {
    if (&engine == options_.chance && chance_played_) {
      Played played = std::move(*chance_played_);
      chance_played_.reset();
      return played;
    }
    return Play(engine, case_, case_.packets, topology_);
  }

  void RunEngine(const Engine& engine) {
    EngineRun run{.engine = std::string(engine.name())};
    if (const Status can = engine.Available(); !can) {
      run.state = RunState::kUnavailable;
      run.reason = can.error().message;
      run.error = can.error();
    } else if (const Status supports = engine.Supports(*case_.ruleset);
               !supports) {
      run.state = RunState::kUnsupported;
      run.reason = InFile(supports.error(), case_.ruleset_path).ToString();
      run.error = supports.error();
    } else {
      auto played = PlayOrTake(engine);
      if (!played) {
        run.state = played.error().code == ErrorCode::kUnsupported
                        ? RunState::kUnsupported
                        : RunState::kFailed;
        run.reason = InFile(played.error(), case_.ruleset_path).ToString();
        run.error = played.error();
      } else if (base_ == nullptr) {
        base_ = &engine;
        base_played_ = std::move(*played);
        CountHits();
      } else {
        Compare(engine, *played, &run);
      }
    }
    report_.runs.push_back(std::move(run));
  }

  void CountHits() {
    for (const Table& table : base_played_.counters.tables) {
      for (const Chain& chain : table.chains) {
        for (const Rule& rule : chain.rules) {
          report_.rules_hit += rule.counters.packets != 0 ? 1 : 0;
        }
      }
    }
  }

  void Compare(const Engine& engine, const Played& played, EngineRun* run) {
    for (size_t i = 0; i < case_.packets.size(); ++i) {
      const Outcome& a = base_played_.outcomes[i];
      const Outcome& b = played.outcomes[i];
      if (Indeterminate(a, b) || (i < chance_.size() && chance_[i])) {
        ++run->indeterminate;
        continue;
      }
      ++run->compared;
      std::string what = DescribeDifference(*case_.ruleset, a, b);
      if (!what.empty()) Found(engine, i + 1, std::move(what), run);
    }
    // One packet left to chance leaves the counters to chance.
    if (options_.counters && run->indeterminate == 0) {
      std::string what =
          CounterDifference(*case_.ruleset, base_played_.counters,
                            played.counters, &run->counters_compared);
      if (!what.empty() && run->differences == 0) {
        Found(engine, 0, std::move(what), run);
      }
    }
    report_.compared += run->compared;
    report_.indeterminate += run->indeterminate;
  }

  void Found(const Engine& engine, uint64_t packet, std::string what,
             EngineRun* run) {
    ++run->differences;
    ++report_.differences_count;
    if (report_.differences.size() >= options_.differences_kept) return;
    Difference d{.base = std::string(base_->name()),
                 .engine = std::string(engine.name()),
                 .packet = packet,
                 .rule = packet == 0
                             ? RuleRef{}
                             : base_played_.outcomes[packet - 1].decided_by,
                 .what = std::move(what),
                 .packets = {}};
    if (options_.with_packets) {
      for (const Packet& p : Fewest(engine, packet)) {
        d.packets.push_back(PacketLine(p));
      }
    }
    report_.differences.push_back(std::move(d));
  }

  /// The fewest packets of three tries: the packet alone, its flow, all up to
  /// it.
  std::vector<Packet> Fewest(const Engine& engine, uint64_t packet) {
    const auto& all = case_.packets;
    if (packet == 0) return {all.begin(), all.end()};
    std::vector<Packet> prefix(all.begin(), all.begin() + packet);
    if (!options_.shrink) return prefix;
    const Packet& last = prefix.back();
    const std::vector<Packet> alone{last};
    if (StillDiffers(engine, alone)) return alone;
    std::vector<Packet> flow;
    std::copy_if(prefix.begin(), prefix.end(), std::back_inserter(flow),
                 [&](const Packet& p) { return SameFlow(p, last); });
    if (StillDiffers(engine, flow)) return flow;
    return prefix;
  }

  bool StillDiffers(const Engine& engine, const std::vector<Packet>& packets) {
    const auto topology = Topology::For(*case_.ruleset, packets);
    if (!topology) return false;
    const auto a = Play(*base_, case_, packets, *topology);
    const auto b = Play(engine, case_, packets, *topology);
    if (!a || !b) return false;
    const Outcome& x = a->outcomes.back();
    const Outcome& y = b->outcomes.back();
    return !Indeterminate(x, y) &&
           !DescribeDifference(*case_.ruleset, x, y).empty();
  }

  const DifferentialCase& case_;
  const DifferentialOptions& options_;
  Topology topology_;
  std::vector<bool> chance_;  // one a packet; empty when nobody was asked
  std::optional<Played> chance_played_;
  const Engine* base_ = nullptr;
  Played base_played_;
  DifferentialReport report_;
};

}  // namespace

Result<DifferentialReport> RunDifferential(
    const DifferentialCase& c, std::span<const Engine* const> engines,
    const DifferentialOptions& options) {
  return Differential(c, options).Run(engines);
}

}  // namespace nfarena
