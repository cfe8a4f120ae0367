#include "compat/command/iptc_message.h"

#include <algorithm>

#include "compat/model/target_name.h"

namespace nfarena {
namespace {

constexpr std::string_view kNoChain = "No chain/target/match by that name";

std::string_view DeleteMessage(const Table& table, const Chain& chain) {
  if (chain.hook) return "Can't delete built-in chain";
  if (CountJumps(table, chain.name) != 0) {
    return "Can't delete chain with references left";
  }
  return chain.rules.empty() ? "" : "Chain is not empty";
}

}  // namespace

std::string_view IptcMessage(const Change& change, const Ruleset& ruleset) {
  const Table* table = ruleset.table(change.table);
  const Table empty = EmptyTable(change.table);
  if (table == nullptr) table = &empty;
  const Chain* chain = table->chain(change.chain);
  const bool of_all =
      change.chain.empty() && (change.kind == ChangeKind::kFlush ||
                               change.kind == ChangeKind::kDeleteChain ||
                               change.kind == ChangeKind::kZero);
  if (change.kind == ChangeKind::kNewChain) {
    return chain != nullptr ? "Chain already exists" : "";
  }
  if (chain == nullptr && !of_all) {
    return change.kind == ChangeKind::kPolicy ? "Bad built-in chain name"
                                              : kNoChain;
  }
  switch (change.kind) {
    case ChangeKind::kInsert:
      return change.rulenum > chain->rules.size() + 1
                 ? "Index of insertion too big"
                 : "";
    case ChangeKind::kReplace:
      return change.rulenum > chain->rules.size()
                 ? "Index of replacement too big"
                 : "";
    case ChangeKind::kDeleteIndex:
      return change.rulenum > chain->rules.size() ? "Index of deletion too big"
                                                  : "";
    case ChangeKind::kDeleteRule:
      return std::none_of(
                 chain->rules.begin(), chain->rules.end(),
                 [&](const Rule& rule) { return rule.SameAs(change.rule); })
                 ? "Bad rule (does a matching rule exist in that chain?)"
                 : "";
    case ChangeKind::kZero:
      return !of_all && change.rulenum > chain->rules.size()
                 ? "Index of counter too big"
                 : "";
    case ChangeKind::kDeleteChain:
      if (!of_all) return DeleteMessage(*table, *chain);
      for (const Chain& each : table->chains) {
        if (each.hook) continue;
        const std::string_view message = DeleteMessage(*table, each);
        if (!message.empty()) return message;
      }
      return "";
    case ChangeKind::kRenameChain:
      if (chain->hook) return kNoChain;
      return table->chain(change.rename_to) != nullptr ||
                     IsStandardTarget(change.rename_to)
                 ? "File exists"
                 : "";
    case ChangeKind::kPolicy:
      return chain->hook ? "" : "Bad built-in chain name";
    default:
      return "";
  }
}

}  // namespace nfarena
