// A change of a ruleset as the messages that make just that change.
//
// Rules in force are named by their handles.  A rule that the same batch added
// has none yet; it gets a number of its own (NFTA_RULE_ID), by which later
// messages of the batch place rules before it or delete it.  Chains are copied
// (pointers only) when a change needs to count their rules; appending, the most
// frequent change, never does.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <memory>

#include "compat/lower/nft_batch.h"
#include "compat/lower/nft_message.h"
#include "compat/lower/nft_rule_writer.h"

namespace nfarena {
namespace {

using nft::MessageWriter;
using nft::RulePlace;

constexpr uint32_t kFirstSeq = 1;
constexpr uint32_t kNewChain = 0xffffffff;

/// A rule as the batch so far leaves it.
struct Slot {
  const Rule* rule = nullptr;
  uint64_t handle = 0;  // 0: added by this batch
  uint32_t id = 0;      // then this is its number
};

/// A chain as the batch so far leaves it.
struct WorkChain {
  uint32_t index = kNewChain;  // in the table of `current`
  std::optional<Hook> hook;
  Policy policy = Policy::kAccept;
  std::string wire_name;  // by which the kernel knows it within the batch
  uint64_t handle = 0;
  bool exists = true;  // false: a built-in chain not made yet
  bool counted = false;
  std::vector<Slot> slots;     // when counted: all rules
  std::vector<Slot> appended;  // before that: only those added
};

/// Only the chains looked at so far: a table may have thousands.
struct WorkTable {
  TableKind kind = TableKind::kFilter;
  const Table* current = nullptr;  // nullptr: the table does not exist yet
  bool made = false;
  std::map<std::string, std::optional<WorkChain>, std::less<>> chains;
};

class DeltaLowering {
 public:
  DeltaLowering(const Ruleset& current, const NftHandles& handles,
                const NftOptions& options)
      : current_(current),
        handles_(handles),
        writer_(current.family, kFirstSeq),
        rules_(options, &writer_, &batch_) {}

  Result<NftBatch> Run(const Delta& delta, uint32_t genid) {
    writer_.BeginBatch(genid);
    for (const Change& change : delta) RETURN_IF_ERROR(Lower(change));
    writer_.EndBatch();
    batch_.first_seq = kFirstSeq;
    batch_.messages = writer_.messages();
    batch_.bytes = writer_.Take();
    return std::move(batch_);
  }

 private:
  Status Lower(const Change& change) {
    WorkTable& table = OpenTable(change.table);
    switch (change.kind) {
      case ChangeKind::kAppend:
        return Append(table, change);
      case ChangeKind::kInsert:
        return Insert(table, change);
      case ChangeKind::kReplace:
        return Replace(table, change);
      case ChangeKind::kDeleteIndex:
      case ChangeKind::kDeleteRule:
        return Delete(table, change);
      case ChangeKind::kFlush:
        return Flush(table, change);
      case ChangeKind::kNewChain:
        return NewChain(table, change);
      case ChangeKind::kDeleteChain:
        return DeleteChain(table, change);
      case ChangeKind::kRenameChain:
        return Rename(table, change);
      case ChangeKind::kPolicy:
        return SetPolicy(table, change);
      case ChangeKind::kZero:
        return Zero(table, change);
    }
    return Fail(ErrorCode::kInternal, "unknown kind of change");
  }

  // ------------------------------------------------------ tables and chains

  WorkTable& OpenTable(TableKind kind) {
    auto& open = tables_[static_cast<size_t>(kind)];
    if (open != nullptr) return *open;
    open = std::make_unique<WorkTable>();
    open->kind = kind;
    open->current = current_.table(kind);
    open->made = open->current != nullptr;
    if (open->current == nullptr) {
      for (const Hook hook : TableHooks(kind)) {
        WorkChain chain;
        chain.hook = hook;
        chain.wire_name = HookChainName(hook);
        chain.exists = false;
        open->chains.emplace(chain.wire_name, std::move(chain));
      }
    }
    return *open;
  }

  /// The chain of this name, or nullptr.
  WorkChain* Lookup(WorkTable& table, const std::string& name) {
    const auto known = table.chains.find(name);
    if (known != table.chains.end()) {
      return known->second ? &*known->second : nullptr;
    }
    if (table.current == nullptr) return nullptr;
    const auto index = table.current->FindChain(name);
    if (!index) return nullptr;
    const Chain& chain = table.current->chains[*index];
    const auto& handles = handles_.chain[static_cast<size_t>(table.kind)];
    WorkChain work;
    work.index = static_cast<uint32_t>(*index);
    work.hook = chain.hook;
    work.policy = chain.policy;
    work.wire_name = name;
    work.handle = *index < handles.size() ? handles[*index] : 0;
    // Without handles all chains are taken to be there.
    work.exists = handles.empty() || work.handle != 0;
    return &*table.chains.emplace(name, std::move(work)).first->second;
  }

  /// Makes all chains of the table known.
  void LookupAll(WorkTable& table) {
    if (table.current == nullptr) return;
    for (const Chain& chain : table.current->chains) Lookup(table, chain.name);
  }

  /// A table is made whole, as LowerNftRuleset makes it.
  Status MakeTable(WorkTable& table) {
    if (table.made) return {};
    table.made = true;
    writer_.AddTable(TableName(table.kind));
    for (auto& [name, chain] : table.chains) {
      if (chain) RETURN_IF_ERROR(MakeChain(*chain, table.kind));
    }
    return {};
  }

  Status MakeChain(WorkChain& chain, TableKind kind) {
    if (chain.exists) return {};
    chain.exists = true;
    return writer_.AddChain({.table = TableName(kind),
                             .name = chain.wire_name,
                             .kind = kind,
                             .hook = chain.hook,
                             .policy = chain.policy,
                             .counters = Counters{}});
  }

  /// The chain a change names, made if need be.
  Result<WorkChain*> Find(WorkTable& table, const Change& change) {
    WorkChain* chain = Lookup(table, change.chain);
    if (chain == nullptr) {
      return Fail(ErrorCode::kConflict,
                  fmt::format("no chain '{}' in table {}", change.chain,
                              TableName(change.table)));
    }
    RETURN_IF_ERROR(MakeTable(table));
    RETURN_IF_ERROR(MakeChain(*chain, change.table));
    return chain;
  }

  /// All rules of the chain, in order.
  std::vector<Slot>& Slots(WorkChain& chain, TableKind kind) {
    if (chain.counted) return chain.slots;
    chain.counted = true;
    if (chain.index != kNewChain) {
      const auto& rules = current_.table(kind)->chains[chain.index].rules;
      const auto& of_table = handles_.rule[static_cast<size_t>(kind)];
      chain.slots.reserve(rules.size() + chain.appended.size());
      for (size_t i = 0; i < rules.size(); ++i) {
        const uint64_t handle =
            chain.index < of_table.size() && i < of_table[chain.index].size()
                ? of_table[chain.index][i]
                : 0;
        chain.slots.push_back({&rules[i], handle, 0});
      }
    }
    chain.slots.insert(chain.slots.end(), chain.appended.begin(),
                       chain.appended.end());
    chain.appended.clear();
    return chain.slots;
  }

  /// Index of the rule `change.rulenum`; `extra` more than there are is
  /// allowed.
  Result<size_t> Index(const std::vector<Slot>& slots, const Change& change,
                       size_t extra) const {
    if (change.rulenum == 0 || change.rulenum > slots.size() + extra) {
      return Fail(ErrorCode::kRange,
                  fmt::format("rule number {} is too big: chain '{}' has {} "
                              "rules",
                              change.rulenum, change.chain, slots.size()));
    }
    return change.rulenum - 1;
  }

  Status CheckHandle(const Slot& slot, const Change& change) const {
    if (slot.handle != 0 || slot.id != 0) return {};
    return Fail(
        ErrorCode::kInternal,
        fmt::format("a rule of chain '{}' has no handle", change.chain));
  }

  // ------------------------------------------------------------------ rules

  /// The rule with its jump named as the kernel knows the chain.
  Result<const Rule*> Targeted(WorkTable& table, const Rule& rule) {
    if (rule.target.kind != TargetKind::kJump &&
        rule.target.kind != TargetKind::kGoto) {
      return &rule;
    }
    const WorkChain* to = Lookup(table, rule.target.chain);
    if (to == nullptr || to->hook) {
      SourcePlace place = nft::PlaceOf(rule);
      place.column = rule.target.column;
      place.text = rule.target.chain;
      return Fail(ErrorCode::kConflict,
                  to == nullptr ? "jump to a chain that is not there"
                                : "jump to a built-in chain",
                  std::move(place));
    }
    if (to->wire_name == rule.target.chain) return &rule;
    kept_.push_back(rule);
    kept_.back().target.chain = to->wire_name;
    return &kept_.back();
  }

  /// Writes the rule and returns its slot.
  Result<Slot> Write(WorkTable& table, const WorkChain& chain, TableKind kind,
                     const Rule& rule, RulePlace place, size_t number) {
    ASSIGN_OR_RETURN(const Rule* targeted, Targeted(table, rule));
    nft::RuleContext context{.family = current_.family, .table = kind};
    // From which hooks a user chain is reached may change with each jump; what
    // depends on it is carried by nft_compat there.
    if (chain.hook) {
      context.hook_mask =
          static_cast<uint8_t>(1u << static_cast<int>(*chain.hook));
    }
    place.id = next_rule_id_++;
    RETURN_IF_ERROR(
        rules_.Add(*targeted, chain.wire_name, context, place,
                   {kind, chain.index, static_cast<uint32_t>(number)}));
    return Slot{&rule, 0, place.id};
  }

  static RulePlace Before(const Slot& slot) {
    return {.before_handle = slot.handle, .before_id = slot.id};
  }

  Status Append(WorkTable& table, const Change& change) {
    ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
    const size_t before =
        chain->counted ? chain->slots.size()
                       : chain->appended.size() + CurrentRules(*chain, change);
    ASSIGN_OR_RETURN(const Slot slot, Write(table, *chain, change.table,
                                            change.rule, {}, before + 1));
    (chain->counted ? chain->slots : chain->appended).push_back(slot);
    return {};
  }

  size_t CurrentRules(const WorkChain& chain, const Change& change) const {
    if (chain.index == kNewChain) return 0;
    return current_.table(change.table)->chains[chain.index].rules.size();
  }

  Status Insert(WorkTable& table, const Change& change) {
    ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
    std::vector<Slot>& slots = Slots(*chain, change.table);
    ASSIGN_OR_RETURN(const size_t index, Index(slots, change, 1));
    RulePlace place;
    if (index == 0) {
      place.first = true;
    } else if (index < slots.size()) {
      RETURN_IF_ERROR(CheckHandle(slots[index], change));
      place = Before(slots[index]);
    }
    ASSIGN_OR_RETURN(const Slot slot, Write(table, *chain, change.table,
                                            change.rule, place, index + 1));
    slots.insert(slots.begin() + static_cast<ptrdiff_t>(index), slot);
    return {};
  }

  Status Replace(WorkTable& table, const Change& change) {
    ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
    std::vector<Slot>& slots = Slots(*chain, change.table);
    ASSIGN_OR_RETURN(const size_t index, Index(slots, change, 0));
    return ReplaceSlot(table, *chain, change, change.rule, index);
  }

  Status ReplaceSlot(WorkTable& table, WorkChain& chain, const Change& change,
                     const Rule& rule, size_t index) {
    Slot& slot = chain.slots[index];
    RETURN_IF_ERROR(CheckHandle(slot, change));
    // The kernel replaces by handle only; a rule of this batch makes place for
    // its successor and goes.
    const RulePlace place = slot.handle != 0
                                ? RulePlace{.replaces_handle = slot.handle}
                                : Before(slot);
    ASSIGN_OR_RETURN(const Slot added,
                     Write(table, chain, change.table, rule, place, index + 1));
    if (slot.handle == 0) {
      writer_.DeleteRules(TableName(change.table), chain.wire_name, 0, slot.id);
    }
    slot = added;
    return {};
  }

  Status Delete(WorkTable& table, const Change& change) {
    ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
    std::vector<Slot>& slots = Slots(*chain, change.table);
    auto at = slots.begin();
    if (change.kind == ChangeKind::kDeleteIndex) {
      ASSIGN_OR_RETURN(const size_t index, Index(slots, change, 0));
      at += static_cast<ptrdiff_t>(index);
    } else {
      at = std::ranges::find_if(slots, [&change](const Slot& slot) {
        return slot.rule->SameAs(change.rule);
      });
      if (at == slots.end()) {
        return Fail(ErrorCode::kConflict,
                    fmt::format("no such rule in chain '{}'", change.chain));
      }
    }
    RETURN_IF_ERROR(CheckHandle(*at, change));
    writer_.DeleteRules(TableName(change.table), chain->wire_name, at->handle,
                        at->id);
    slots.erase(at);
    return {};
  }

  static void Empty(WorkChain& chain) {
    chain.counted = true;
    chain.slots.clear();
    chain.appended.clear();
  }

  Status Flush(WorkTable& table, const Change& change) {
    if (!change.chain.empty()) {
      ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
      writer_.DeleteRules(TableName(change.table), chain->wire_name, 0, 0);
      Empty(*chain);
      return {};
    }
    RETURN_IF_ERROR(MakeTable(table));
    writer_.DeleteRules(TableName(change.table), "", 0, 0);
    LookupAll(table);
    for (auto& [name, chain] : table.chains) {
      if (chain) Empty(*chain);
    }
    return {};
  }

  // ----------------------------------------------------------------- chains

  Status NewChain(WorkTable& table, const Change& change) {
    const std::string& name = change.chain;
    if (Lookup(table, name) != nullptr) {
      return Fail(ErrorCode::kConflict,
                  fmt::format("chain '{}' already exists", name));
    }
    RETURN_IF_ERROR(CheckWireName(table, name));
    RETURN_IF_ERROR(MakeTable(table));
    RETURN_IF_ERROR(writer_.AddChain({.table = TableName(change.table),
                                      .name = name,
                                      .kind = change.table}));
    WorkChain chain;
    chain.wire_name = name;
    table.chains[name] = std::move(chain);
    return {};
  }

  /// The kernel renames at the end of the transaction, so until then the old
  /// name is taken.
  Status CheckWireName(const WorkTable& table, const std::string& name) const {
    for (const auto& [model_name, chain] : table.chains) {
      if (chain && chain->wire_name == name) {
        return Fail(ErrorCode::kUnsupported,
                    fmt::format("name '{}' becomes free only when the "
                                "transaction ends",
                                name));
      }
    }
    return {};
  }

  Status DeleteChain(WorkTable& table, const Change& change) {
    RETURN_IF_ERROR(MakeTable(table));
    if (!change.chain.empty()) {
      ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
      if (chain->hook) {
        return Fail(ErrorCode::kConflict,
                    fmt::format("chain '{}' is built in", change.chain));
      }
      writer_.DeleteChain(TableName(change.table), chain->wire_name);
      table.chains[change.chain].reset();
      return {};
    }
    LookupAll(table);
    for (auto& [name, chain] : table.chains) {
      if (!chain || chain->hook) continue;
      writer_.DeleteChain(TableName(change.table), chain->wire_name);
      chain.reset();
    }
    return {};
  }

  Status Rename(WorkTable& table, const Change& change) {
    ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
    if (chain->hook || Lookup(table, change.rename_to) != nullptr) {
      return Fail(ErrorCode::kConflict,
                  fmt::format("chain '{}' cannot become '{}'", change.chain,
                              change.rename_to));
    }
    if (chain->handle == 0 || chain->wire_name != change.chain) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("chain '{}' is made or renamed in the same "
                              "transaction; nf_tables renames by handle, once",
                              change.chain));
    }
    RETURN_IF_ERROR(CheckWireName(table, change.rename_to));
    RETURN_IF_ERROR(writer_.AddChain({.table = TableName(change.table),
                                      .name = change.rename_to,
                                      .kind = change.table,
                                      .handle = chain->handle}));
    table.chains[change.rename_to] = std::move(*chain);
    table.chains[change.chain].reset();
    return {};
  }

  Status SetPolicy(WorkTable& table, const Change& change) {
    ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
    if (!chain->hook) {
      return Fail(ErrorCode::kConflict,
                  fmt::format("user chain '{}' has no policy", change.chain));
    }
    chain->policy = change.policy;
    return writer_.AddChain({.table = TableName(change.table),
                             .name = chain->wire_name,
                             .kind = change.table,
                             .policy = change.policy,
                             .counters = change.counters});
  }

  /// nf_tables has no message that zeroes within a transaction; rules are
  /// replaced by their likes, and a policy gets new counters.
  Status Zero(WorkTable& table, const Change& change) {
    if (change.rulenum != 0) {
      ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
      ASSIGN_OR_RETURN(const size_t index,
                       Index(Slots(*chain, change.table), change, 0));
      return ZeroSlot(table, *chain, change, index);
    }
    if (!change.chain.empty()) {
      ASSIGN_OR_RETURN(WorkChain * chain, Find(table, change));
      return ZeroChain(table, *chain, change);
    }
    RETURN_IF_ERROR(MakeTable(table));
    LookupAll(table);
    for (auto& [name, chain] : table.chains) {
      if (chain && chain->exists) {
        RETURN_IF_ERROR(ZeroChain(table, *chain, change));
      }
    }
    return {};
  }

  Status ZeroChain(WorkTable& table, WorkChain& chain, const Change& change) {
    if (chain.hook) {
      RETURN_IF_ERROR(writer_.AddChain({.table = TableName(change.table),
                                        .name = chain.wire_name,
                                        .kind = change.table,
                                        .counters = Counters{}}));
    }
    const size_t rules = Slots(chain, change.table).size();
    for (size_t i = 0; i < rules; ++i) {
      RETURN_IF_ERROR(ZeroSlot(table, chain, change, i));
    }
    return {};
  }

  Status ZeroSlot(WorkTable& table, WorkChain& chain, const Change& change,
                  size_t index) {
    kept_.push_back(*chain.slots[index].rule);
    kept_.back().counters = {};
    return ReplaceSlot(table, chain, change, kept_.back(), index);
  }

  const Ruleset& current_;
  const NftHandles& handles_;
  MessageWriter writer_;
  NftBatch batch_;
  nft::RuleWriter rules_;
  std::unique_ptr<WorkTable> tables_[kTableKindCount];
  std::deque<Rule> kept_;  // rules that are neither in `current` nor a delta
  uint32_t next_rule_id_ = 1;
};

}  // namespace

Result<NftBatch> LowerNftDelta(const Ruleset& current, const Delta& delta,
                               const NftHandles& handles,
                               const NftOptions& options, uint32_t genid) {
  return DeltaLowering(current, handles, options).Run(delta, genid);
}

}  // namespace nfarena
