#include "engines/reference/program.h"

#include <utility>

#include "engines/reference/check.h"
#include "engines/reference/limit.h"

namespace nfarena::reference {
namespace {

/// Puts line and, where missing, column and name into an error of `extension`.
tl::unexpected<Error> At(const Rule& rule, const Extension& extension,
                         Error error) {
  error.place.line = rule.line;
  if (error.place.column == 0) error.place.column = extension.column;
  if (error.place.text.empty()) error.place.text = extension.name;
  return tl::unexpected<Error>(std::move(error));
}

Memory FreshMemory(const Condition& condition) {
  Memory memory;
  if (const auto* limit = std::get_if<LimitMatch>(&condition)) {
    InitLimit(*limit, &memory);
  } else if (const auto* statistic = std::get_if<StatisticMatch>(&condition)) {
    memory.count = statistic->start_count;
    memory.random = 1;  // a fixed seed, so that a run can be repeated
  } else if (const auto* quota = std::get_if<QuotaMatch>(&condition)) {
    memory.quota_bytes = quota->bytes;
  }
  return memory;
}

Result<RuleMeaning> DecodeRule(const Use& use, const Rule& rule) {
  RuleMeaning meaning;
  std::vector<Condition> conditions;
  for (const Extension& match : rule.matches) {
    auto condition = DecodeMatch(use.family, match);
    if (!condition) return At(rule, match, std::move(condition).error());
    if (auto ok = CheckMatch(use, rule, match, *condition); !ok) {
      return At(rule, match, std::move(ok).error());
    }
    conditions.push_back(*condition);
    meaning.matches.push_back({*condition, FreshMemory(*condition)});
  }
  if (rule.target.kind == TargetKind::kExtension) {
    const Extension& target = rule.target.extension;
    auto action = DecodeTarget(use.family, target);
    if (!action) return At(rule, target, std::move(action).error());
    if (auto ok = CheckTarget(use, rule, conditions, *action); !ok) {
      return At(rule, target, std::move(ok).error());
    }
    meaning.action = std::move(*action);
  }
  return meaning;
}

}  // namespace

Result<TableMeaning> DecodeTable(Family family, const Table& table,
                                 const IpSets* sets) {
  ASSIGN_OR_RETURN(const auto hooks, HooksOfChains(table));
  TableMeaning meaning;
  meaning.chains.resize(table.chains.size());
  for (size_t i = 0; i < table.chains.size(); ++i) {
    const Use use{family, table.kind, hooks[i], sets};
    meaning.chains[i].reserve(table.chains[i].rules.size());
    for (const Rule& rule : table.chains[i].rules) {
      ASSIGN_OR_RETURN(auto decoded, DecodeRule(use, rule));
      meaning.chains[i].push_back(std::move(decoded));
    }
  }
  return meaning;
}

}  // namespace nfarena::reference
