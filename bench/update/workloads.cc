#include "bench/update/workloads.h"

#include <array>

namespace nfarena {
namespace {

Change Step(ChangeKind kind, uint64_t rulenum, const Rule* rule = nullptr) {
  Change change{.kind = kind,
                .table = TableKind::kFilter,
                .chain = "INPUT",
                .rulenum = static_cast<uint32_t>(rulenum)};
  if (rule != nullptr) change.rule = *rule;
  return change;
}

const Rule& RuleAt(const Ruleset& ruleset, uint64_t rulenum) {
  return ruleset.table(TableKind::kFilter)->chain("INPUT")->rules[rulenum - 1];
}

uint64_t Middle(uint64_t rules_count) { return rules_count / 2 + 1; }

/// Puts the rule that stood at `rulenum` back there.
Delta PutBack(const Ruleset& original, uint64_t rulenum, uint64_t rules_count) {
  const Rule& rule = RuleAt(original, rulenum);
  // At the end an insert has no rule to stand before.
  return {rulenum == rules_count ? Step(ChangeKind::kAppend, 0, &rule)
                                 : Step(ChangeKind::kInsert, rulenum, &rule)};
}

Delta Append(uint64_t, const Rule& spare) {
  return {Step(ChangeKind::kAppend, 0, &spare)};
}
Delta UndoAppend(uint64_t n, const Ruleset&) {
  return {Step(ChangeKind::kDeleteIndex, n + 1)};
}
Delta InsertHead(uint64_t, const Rule& spare) {
  return {Step(ChangeKind::kInsert, 1, &spare)};
}
Delta UndoInsertHead(uint64_t, const Ruleset&) {
  return {Step(ChangeKind::kDeleteIndex, 1)};
}
Delta InsertMiddle(uint64_t n, const Rule& spare) {
  return {Step(ChangeKind::kInsert, Middle(n), &spare)};
}
Delta UndoInsertMiddle(uint64_t n, const Ruleset&) {
  return {Step(ChangeKind::kDeleteIndex, Middle(n))};
}
Delta DeleteFirst(uint64_t, const Rule&) {
  return {Step(ChangeKind::kDeleteIndex, 1)};
}
Delta UndoDeleteFirst(uint64_t n, const Ruleset& original) {
  return PutBack(original, 1, n);
}
Delta DeleteMiddle(uint64_t n, const Rule&) {
  return {Step(ChangeKind::kDeleteIndex, Middle(n))};
}
Delta UndoDeleteMiddle(uint64_t n, const Ruleset& original) {
  return PutBack(original, Middle(n), n);
}
Delta DeleteLast(uint64_t n, const Rule&) {
  return {Step(ChangeKind::kDeleteIndex, n)};
}
Delta UndoDeleteLast(uint64_t n, const Ruleset& original) {
  return PutBack(original, n, n);
}
Delta ReplaceMiddle(uint64_t n, const Rule& spare) {
  return {Step(ChangeKind::kReplace, Middle(n), &spare)};
}
Delta UndoReplaceMiddle(uint64_t n, const Ruleset& original) {
  return {Step(ChangeKind::kReplace, Middle(n), &RuleAt(original, Middle(n)))};
}

constexpr std::array<UpdateWorkload, 7> kWorkloads = {{
    {"append", "one rule at the end", Append, UndoAppend},
    {"insert_head", "one rule at the head", InsertHead, UndoInsertHead},
    {"insert_middle", "one rule in the middle", InsertMiddle, UndoInsertMiddle},
    {"delete_first", "the first rule, by number", DeleteFirst, UndoDeleteFirst},
    {"delete_middle", "the middle rule, by number", DeleteMiddle,
     UndoDeleteMiddle},
    {"delete_last", "the last rule, by number", DeleteLast, UndoDeleteLast},
    {"replace", "the middle rule by another", ReplaceMiddle, UndoReplaceMiddle},
}};

}  // namespace

std::span<const UpdateWorkload> UpdateWorkloads() { return kWorkloads; }

}  // namespace nfarena
