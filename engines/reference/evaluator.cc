#include "engines/reference/evaluator.h"

#include <utility>
#include <vector>

#include "engines/reference/action.h"
#include "engines/reference/condition.h"

namespace nfarena::reference {
namespace {

size_t IndexOf(TableKind kind) { return static_cast<size_t>(kind); }

std::optional<size_t> BaseChain(const Table& table, Hook hook) {
  for (size_t i = 0; i < table.chains.size(); ++i) {
    if (table.chains[i].hook == hook) return i;
  }
  return std::nullopt;
}

void Count(const PacketState& packet, Counters* counters) {
  ++counters->packets;
  counters->bytes += packet.bytes.size();
}

/// A rule to go on with, when a called chain has ended.
struct Position {
  size_t chain;
  size_t rule;  // index, from 0
};

RuleRef RefOf(const Table& table, Position at) {
  return {table.kind, static_cast<uint32_t>(at.chain),
          static_cast<uint32_t>(at.rule + 1)};
}

bool AllHold(const Rule& rule, RuleMeaning* meaning, SharedMemory* shared,
             PacketState* packet) {
  if (!SelectorHolds(rule.selector, packet)) return false;
  for (MatchMeaning& match : meaning->matches) {
    if (!Holds(&match, shared, packet)) return false;
  }
  return true;
}

}  // namespace

Evaluator::Evaluator(IpSets* sets) {
  shared_.sets = sets != nullptr ? sets : &none_;
}

Status Evaluator::Load(const Ruleset& ruleset) {
  std::array<bool, kTableKindCount> all;
  all.fill(true);
  return Change(ruleset, all);
}

Status Evaluator::Change(Ruleset ruleset,
                         const std::array<bool, kTableKindCount>& touched) {
  std::array<std::optional<TableMeaning>, kTableKindCount> meanings;
  for (const Table& table : ruleset.tables) {
    const size_t i = IndexOf(table.kind);
    if (!touched[i]) continue;
    ASSIGN_OR_RETURN(meanings[i],
                     DecodeTable(ruleset.family, table, shared_.sets));
  }
  for (size_t i = 0; i < kTableKindCount; ++i) {
    if (touched[i]) meanings_[i] = std::move(meanings[i]);
  }
  ruleset_ = std::move(ruleset);
  for (const auto& table : meanings_) {
    if (!table) continue;
    for (const auto& chain : table->chains) {
      for (const RuleMeaning& rule : chain) {
        for (const MatchMeaning& match : rule.matches) {
          shared_.Use(match.condition);
        }
      }
    }
  }
  shared_.DropUnused();
  return {};
}

bool Evaluator::HasStage(Stage stage) const {
  // A table without rules is asked too: its policy counts.
  const Table* table = ruleset_.table(stage.table);
  return table != nullptr && BaseChain(*table, stage.hook).has_value();
}

StageVerdict Evaluator::Evaluate(Stage stage, PacketState* packet) {
  Table* table = ruleset_.table(stage.table);
  auto& meaning = meanings_[IndexOf(stage.table)];
  if (table == nullptr || !meaning) return {};
  const auto base = BaseChain(*table, stage.hook);
  if (!base) return {};
  packet->hotdrop = false;
  return WalkChains(table, &*meaning, *base, packet);
}

StageVerdict Evaluator::WalkChains(Table* table, TableMeaning* meaning,
                                   size_t base, PacketState* packet) {
  std::vector<Position> callers;
  Position at{base, 0};
  const auto verdict = [&](VerdictKind kind, uint16_t queue = 0) {
    return StageVerdict{kind, queue, RefOf(*table, at)};
  };
  for (;;) {
    // The end of a chain goes back to its caller; from the base chain, or from
    // one reached by goto out of it, to the policy.
    if (at.rule == table->chains[at.chain].rules.size()) {
      if (!callers.empty()) {
        at = callers.back();
        callers.pop_back();
        continue;
      }
      Chain& chain = table->chains[base];
      Count(*packet, &chain.counters);
      return {chain.policy == Policy::kDrop ? VerdictKind::kDrop
                                            : VerdictKind::kAccept,
              0, RuleRef{table->kind, static_cast<uint32_t>(base), 0}};
    }

    Rule& rule = table->chains[at.chain].rules[at.rule];
    RuleMeaning& rule_meaning = meaning->chains[at.chain][at.rule];
    if (!AllHold(rule, &rule_meaning, &shared_, packet)) {
      // A packet too broken for a question is dropped by who asked it.
      if (packet->hotdrop) return verdict(VerdictKind::kDrop);
      ++at.rule;
      continue;
    }
    // The target sees a packet that has been counted.
    Count(*packet, &rule.counters);
    if (trace_ && packet->outcome != nullptr) {
      packet->outcome->trace.push_back(RefOf(*table, at));
    }

    // A match can hold because it is inverted although the packet is broken;
    // it is dropped then all the same, after what the target does to it.
    if (packet->hotdrop) {
      if (rule_meaning.action) Perform(*rule_meaning.action, &shared_, packet);
      return verdict(VerdictKind::kDrop);
    }

    switch (rule.target.kind) {
      case TargetKind::kNone:
        ++at.rule;
        break;
      case TargetKind::kAccept:
        return verdict(VerdictKind::kAccept);
      case TargetKind::kDrop:
        return verdict(VerdictKind::kDrop);
      case TargetKind::kQueue:
        return verdict(VerdictKind::kQueue);
      case TargetKind::kReturn:
        at.rule = table->chains[at.chain].rules.size();
        break;
      case TargetKind::kJump:
        callers.push_back({at.chain, at.rule + 1});
        at = {*table->FindChain(rule.target.chain), 0};
        break;
      case TargetKind::kGoto:
        at = {*table->FindChain(rule.target.chain), 0};
        break;
      case TargetKind::kExtension: {
        const Effect effect = Perform(*rule_meaning.action, &shared_, packet);
        switch (effect.kind) {
          case EffectKind::kContinue:
            ++at.rule;
            break;
          case EffectKind::kAccept:
            return verdict(VerdictKind::kAccept);
          case EffectKind::kDrop:
            return verdict(VerdictKind::kDrop);
          case EffectKind::kQueue:
            return verdict(VerdictKind::kQueue, effect.queue);
        }
        break;
      }
    }
  }
}

Status CheckRuleset(const Ruleset& ruleset) {
  for (const Table& table : ruleset.tables) {
    RETURN_IF_ERROR(DecodeTable(ruleset.family, table, nullptr));
  }
  return {};
}

}  // namespace nfarena::reference
