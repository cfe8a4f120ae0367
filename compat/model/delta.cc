#include "compat/model/delta.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <iterator>
#include <utility>

#include "compat/model/target_name.h"

namespace nfarena {

namespace {

// Source: iptables/xshared.c: chain names are under XT_EXTENSION_MAXNAMELEN.
constexpr size_t kMaxChainNameSize = 28;

using Undo = std::function<void()>;

tl::unexpected<Error> NoChain(const Change& change) {
  return Fail(ErrorCode::kConflict,
              fmt::format("no chain '{}' in table {}", change.chain,
                          TableName(change.table)));
}

tl::unexpected<Error> TooBig(const Change& change, const Chain& chain) {
  return Fail(ErrorCode::kRange,
              fmt::format("rule number {} is too big: chain '{}' has {} rules",
                          change.rulenum, chain.name, chain.rules.size()));
}

// Whether the rule may stand in this table.
Status CheckTarget(const Table& table, const Rule& rule) {
  if (rule.target.kind != TargetKind::kJump &&
      rule.target.kind != TargetKind::kGoto) {
    return {};
  }
  const Chain* to = table.chain(rule.target.chain);
  if (to != nullptr && !to->hook) return {};
  return Fail(ErrorCode::kConflict,
              fmt::format("jump to '{}': {}", rule.target.chain,
                          to == nullptr ? "no such chain" : "a built-in chain"),
              {.line = rule.line,
               .column = rule.target.column,
               .text = rule.target.chain});
}

Status CheckName(const Table& table, const std::string& name) {
  if (name.empty() || name.size() > kMaxChainNameSize) {
    return Fail(ErrorCode::kRange,
                fmt::format("chain name '{}' is not of 1 to {} bytes", name,
                            kMaxChainNameSize));
  }
  if (IsStandardTarget(name)) {
    return Fail(
        ErrorCode::kConflict,
        fmt::format("'{}' is a standard target, not a chain name", name));
  }
  if (table.chain(name) != nullptr) {
    return Fail(ErrorCode::kConflict,
                fmt::format("chain '{}' already exists", name));
  }
  return {};
}

// Why a chain cannot be deleted.
Status CheckDeletable(const Table& table, const Chain& chain) {
  if (chain.hook) {
    return Fail(ErrorCode::kConflict,
                fmt::format("chain '{}' is built in", chain.name));
  }
  if (!chain.rules.empty()) {
    return Fail(ErrorCode::kConflict,
                fmt::format("chain '{}' is not empty", chain.name));
  }
  if (CountJumps(table, chain.name) != 0) {
    return Fail(ErrorCode::kConflict,
                fmt::format("chain '{}' is referenced", chain.name));
  }
  return {};
}

// One change at a time.  Each function checks everything before it changes
// anything; `undo` is set to what takes the change back, where a caller wants
// that.  Undo functions find their chain again, for chains move.
class Changer {
 public:
  Changer(const Change& change, Ruleset* ruleset, Undo* undo)
      : change_(change),
        table_(ruleset->EnsureTable(change.table)),
        ruleset_(ruleset),
        undo_(undo) {}

  Status Run();

 private:
  Status Add();
  Status Replace();
  Status Delete();
  Status Flush();
  Status NewChain();
  Status DeleteChain();
  Status Rename();
  Status SetPolicy();
  Status Zero();

  // Calls `change` with the chain of this name, later.
  void UndoInChain(std::function<void(Chain&)> change) {
    if (undo_ == nullptr) return;
    *undo_ = [ruleset = ruleset_, kind = change_.table, name = change_.chain,
              change = std::move(change)] {
      change(*ruleset->table(kind)->chain(name));
    };
  }
  void UndoInTable(std::function<void(Table&)> change) {
    if (undo_ == nullptr) return;
    *undo_ = [ruleset = ruleset_, kind = change_.table,
              change = std::move(change)] { change(*ruleset->table(kind)); };
  }
  Chain* FindChain() { return table_.chain(change_.chain); }

  const Change& change_;
  Table& table_;
  Ruleset* ruleset_;
  Undo* undo_;
};

Status Changer::Run() {
  switch (change_.kind) {
    case ChangeKind::kAppend:
    case ChangeKind::kInsert:
      return Add();
    case ChangeKind::kReplace:
      return Replace();
    case ChangeKind::kDeleteIndex:
    case ChangeKind::kDeleteRule:
      return Delete();
    case ChangeKind::kFlush:
      return Flush();
    case ChangeKind::kNewChain:
      return NewChain();
    case ChangeKind::kDeleteChain:
      return DeleteChain();
    case ChangeKind::kRenameChain:
      return Rename();
    case ChangeKind::kPolicy:
      return SetPolicy();
    case ChangeKind::kZero:
      return Zero();
  }
  return Fail(ErrorCode::kInternal, "unknown kind of change");
}

Status Changer::Add() {
  Chain* chain = FindChain();
  if (chain == nullptr) return NoChain(change_);
  size_t at = chain->rules.size();
  if (change_.kind == ChangeKind::kInsert) {
    if (change_.rulenum == 0 || change_.rulenum > chain->rules.size() + 1) {
      return TooBig(change_, *chain);
    }
    at = change_.rulenum - 1;
  }
  RETURN_IF_ERROR(CheckTarget(table_, change_.rule));
  chain->rules.insert(chain->rules.begin() + static_cast<ptrdiff_t>(at),
                      change_.rule);
  UndoInChain([at](Chain& c) {
    c.rules.erase(c.rules.begin() + static_cast<ptrdiff_t>(at));
  });
  return {};
}

Status Changer::Replace() {
  Chain* chain = FindChain();
  if (chain == nullptr) return NoChain(change_);
  if (change_.rulenum == 0 || change_.rulenum > chain->rules.size()) {
    return TooBig(change_, *chain);
  }
  RETURN_IF_ERROR(CheckTarget(table_, change_.rule));
  const size_t at = change_.rulenum - 1;
  Rule old = std::exchange(chain->rules[at], change_.rule);
  UndoInChain([at, old = std::move(old)](Chain& c) { c.rules[at] = old; });
  return {};
}

Status Changer::Delete() {
  Chain* chain = FindChain();
  if (chain == nullptr) return NoChain(change_);
  auto at = chain->rules.begin();
  if (change_.kind == ChangeKind::kDeleteIndex) {
    if (change_.rulenum == 0 || change_.rulenum > chain->rules.size()) {
      return TooBig(change_, *chain);
    }
    at += change_.rulenum - 1;
  } else {
    at = std::find_if(at, chain->rules.end(), [&](const Rule& rule) {
      return rule.SameAs(change_.rule);
    });
    if (at == chain->rules.end()) {
      return Fail(ErrorCode::kConflict,
                  fmt::format("no such rule in chain '{}'", chain->name));
    }
  }
  const ptrdiff_t index = at - chain->rules.begin();
  Rule old = std::move(*at);
  chain->rules.erase(at);
  UndoInChain([index, old = std::move(old)](Chain& c) {
    c.rules.insert(c.rules.begin() + index, old);
  });
  return {};
}

Status Changer::Flush() {
  if (!change_.chain.empty()) {
    Chain* chain = FindChain();
    if (chain == nullptr) return NoChain(change_);
    auto old = std::exchange(chain->rules, {});
    UndoInChain([old = std::move(old)](Chain& c) { c.rules = old; });
    return {};
  }
  std::vector<decltype(Chain::rules)> old;
  for (Chain& chain : table_.chains) {
    old.push_back(std::exchange(chain.rules, {}));
  }
  UndoInTable([old = std::move(old)](Table& t) {
    for (size_t i = 0; i < old.size(); ++i) t.chains[i].rules = old[i];
  });
  return {};
}

Status Changer::NewChain() {
  RETURN_IF_ERROR(CheckName(table_, change_.chain));
  auto added = table_.AddChain(change_.chain);
  if (!added) return tl::unexpected<Error>(std::move(added).error());
  UndoInTable([name = change_.chain](Table& t) {
    t.chains.erase(t.chains.begin() +
                   static_cast<ptrdiff_t>(*t.FindChain(name)));
  });
  return {};
}

Status Changer::DeleteChain() {
  std::vector<Chain> old;
  if (!change_.chain.empty()) {
    Chain* chain = FindChain();
    if (chain == nullptr) return NoChain(change_);
    RETURN_IF_ERROR(CheckDeletable(table_, *chain));
    old.push_back(std::move(*chain));
    table_.chains.erase(table_.chains.begin() + (chain - table_.chains.data()));
  } else {
    for (const Chain& chain : table_.chains) {
      if (!chain.hook) RETURN_IF_ERROR(CheckDeletable(table_, chain));
    }
    const auto users = std::find_if(table_.chains.begin(), table_.chains.end(),
                                    [](const Chain& c) { return !c.hook; });
    old.assign(std::make_move_iterator(users),
               std::make_move_iterator(table_.chains.end()));
    table_.chains.erase(users, table_.chains.end());
  }
  UndoInTable([old = std::move(old)](Table& t) {
    for (const Chain& chain : old) {
      if (auto added = t.AddChain(chain.name)) **added = chain;
    }
  });
  return {};
}

// Gives a user chain another name and place, and its jumps with it.
void RenameIn(Table& table, const std::string& from, const std::string& to) {
  const size_t index = *table.FindChain(from);
  Chain chain = std::move(table.chains[index]);
  table.chains.erase(table.chains.begin() + static_cast<ptrdiff_t>(index));
  chain.name = to;
  for (Rule& rule : chain.rules) {
    if (JumpsTo(rule, from)) rule.target.chain = to;
  }
  for (Chain& other : table.chains) {
    for (Rule& rule : other.rules) {
      if (JumpsTo(rule, from)) rule.target.chain = to;
    }
  }
  if (auto added = table.AddChain(to)) **added = std::move(chain);
}

Status Changer::Rename() {
  const Chain* chain = FindChain();
  if (chain == nullptr) return NoChain(change_);
  if (chain->hook) {
    return Fail(ErrorCode::kConflict,
                fmt::format("chain '{}' is built in", chain->name));
  }
  RETURN_IF_ERROR(CheckName(table_, change_.rename_to));
  RenameIn(table_, change_.chain, change_.rename_to);
  UndoInTable([from = change_.chain, to = change_.rename_to](Table& t) {
    RenameIn(t, to, from);
  });
  return {};
}

Status Changer::SetPolicy() {
  Chain* chain = FindChain();
  if (chain == nullptr) return NoChain(change_);
  if (!chain->hook) {
    return Fail(ErrorCode::kConflict,
                fmt::format("user chain '{}' has no policy", chain->name));
  }
  UndoInChain([policy = chain->policy, counters = chain->counters](Chain& c) {
    c.policy = policy;
    c.counters = counters;
  });
  chain->policy = change_.policy;
  chain->counters = change_.counters;
  return {};
}

Status Changer::Zero() {
  if (change_.rulenum != 0) {
    Chain* chain = FindChain();
    if (chain == nullptr) return NoChain(change_);
    if (change_.rulenum > chain->rules.size()) return TooBig(change_, *chain);
    const size_t at = change_.rulenum - 1;
    UndoInChain([at, old = chain->rules[at].counters](Chain& c) {
      c.rules[at].counters = old;
    });
    chain->rules[at].counters = {};
    return {};
  }
  if (!change_.chain.empty() && FindChain() == nullptr) return NoChain(change_);
  std::vector<Counters> old;
  for (Chain& chain : table_.chains) {
    if (!change_.chain.empty() && chain.name != change_.chain) continue;
    old.push_back(std::exchange(chain.counters, {}));
    for (Rule& rule : chain.rules) {
      old.push_back(std::exchange(rule.counters, {}));
    }
  }
  UndoInTable([old = std::move(old), name = change_.chain](Table& t) {
    auto next = old.begin();
    for (Chain& chain : t.chains) {
      if (!name.empty() && chain.name != name) continue;
      chain.counters = *next++;
      for (Rule& rule : chain.rules) rule.counters = *next++;
    }
  });
  return {};
}

}  // namespace

Status ApplyChange(const Change& change, Ruleset* ruleset) {
  return Changer(change, ruleset, nullptr).Run();
}

Status ApplyDelta(const Delta& delta, Ruleset* ruleset) {
  const size_t tables = ruleset->tables.size();
  if (delta.size() == 1) {
    auto status = ApplyChange(delta[0], ruleset);
    if (!status) ruleset->tables.resize(tables);
    return status;
  }
  std::vector<Undo> undo;
  undo.reserve(delta.size());
  for (const Change& change : delta) {
    Undo step;
    if (auto status = Changer(change, ruleset, &step).Run(); !status) {
      for (auto it = undo.rbegin(); it != undo.rend(); ++it) (*it)();
      // Tables that only the failed delta named.
      ruleset->tables.resize(tables);
      return status;
    }
    undo.push_back(std::move(step));
  }
  return {};
}

}  // namespace nfarena
