// Tables, chains and rules: the handlers of their messages.
// Source: net/netfilter/nf_tables_api.c, nf_tables_newtable() and so on.
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

#include "engines/vm/control_plane.h"
#include "engines/vm/message_types.h"

namespace nfarena::vm {
namespace {

constexpr uint16_t kNonRecursive = NLM_F_NONREC;
constexpr size_t kMaxExpressions = 128;    // NFT_RULE_MAXEXPRS
constexpr size_t kMaxRuleCode = 1u << 12;  // struct nft_rule: dlen:12
constexpr uint32_t kChainBase = 1;         // NFT_CHAIN_BASE
constexpr uint32_t kChainOffload = 2;      // NFT_CHAIN_HW_OFFLOAD
constexpr uint32_t kChainBinding = 4;      // NFT_CHAIN_BINDING
constexpr uint32_t kChainFlags = 7;
constexpr uint32_t kHookCountAll = NF_INET_NUMHOOKS;

bool SupportedFamily(uint8_t family) {
  return family == NFPROTO_IPV4 || family == NFPROTO_IPV6 ||
         family == NFPROTO_INET;
}

uint32_t HooksOf(ChainType type) {
  constexpr uint32_t kAll = (1u << kHookCountAll) - 1;
  switch (type) {
    case ChainType::kFilter:
      return kAll;
    case ChainType::kRoute:
      return 1u << NF_INET_LOCAL_OUT;
    case ChainType::kNat:
      return kAll & ~(1u << NF_INET_FORWARD);
  }
  return 0;
}

std::optional<ChainType> ChainTypeFromName(std::string_view name) {
  for (const ChainType type :
       {ChainType::kFilter, ChainType::kRoute, ChainType::kNat}) {
    if (name == ChainTypeName(type)) return type;
  }
  return std::nullopt;
}

// nft_stats_alloc().
Errno ParseChainCounters(const Attribute& attribute, Counters* counters) {
  AttributeTable table;
  const Errno error =
      ParseAttributes(attribute.payload(), kCounterPolicy, &table);
  if (error != 0) return error;
  if (!table[NFTA_COUNTER_BYTES] || !table[NFTA_COUNTER_PACKETS]) {
    return EINVAL;
  }
  counters->packets = table[NFTA_COUNTER_PACKETS].Be64();
  counters->bytes = table[NFTA_COUNTER_BYTES].Be64();
  return 0;
}

// nft_chain_parse_hook() for a new chain.
Errno ParseNewHook(const AttributeTable& attributes, BaseChain* base) {
  AttributeTable hook;
  const Errno error = ParseAttributes(attributes[NFTA_CHAIN_HOOK].payload(),
                                      kHookPolicy, &hook);
  if (error != 0) return error;
  if (!hook[NFTA_HOOK_HOOKNUM] || !hook[NFTA_HOOK_PRIORITY]) return ENOENT;
  base->hook = hook[NFTA_HOOK_HOOKNUM].Be32();
  base->priority = static_cast<int32_t>(hook[NFTA_HOOK_PRIORITY].Be32());
  if (attributes[NFTA_CHAIN_TYPE]) {
    const auto type = ChainTypeFromName(attributes[NFTA_CHAIN_TYPE].Text());
    if (!type) return ENOENT;
    base->type = *type;
  }
  if (base->hook >= kHookCountAll ||
      (HooksOf(base->type) & 1u << base->hook) == 0) {
    return EOPNOTSUPP;
  }
  if (base->type == ChainType::kNat && base->priority <= NF_IP_PRI_CONNTRACK) {
    return EOPNOTSUPP;
  }
  if (hook[NFTA_HOOK_DEV] || hook[NFTA_HOOK_DEVS]) return EOPNOTSUPP;
  return 0;
}

// The same for a chain that exists: nothing may be another.
Errno CheckSameHook(const AttributeTable& attributes, const BaseChain& base) {
  AttributeTable hook;
  const Errno error = ParseAttributes(attributes[NFTA_CHAIN_HOOK].payload(),
                                      kHookPolicy, &hook);
  if (error != 0) return error;
  // The kernel compares what is missing as zero, after it has compared what is
  // there.
  uint32_t number = 0;
  int32_t priority = 0;
  if (hook[NFTA_HOOK_HOOKNUM]) {
    number = hook[NFTA_HOOK_HOOKNUM].Be32();
    if (number != base.hook) return EOPNOTSUPP;
  }
  if (hook[NFTA_HOOK_PRIORITY]) {
    priority = static_cast<int32_t>(hook[NFTA_HOOK_PRIORITY].Be32());
    if (priority != base.priority) return EOPNOTSUPP;
  }
  ChainType type = base.type;
  if (attributes[NFTA_CHAIN_TYPE]) {
    const auto named = ChainTypeFromName(attributes[NFTA_CHAIN_TYPE].Text());
    if (!named) return ENOENT;
    type = *named;
  }
  if (hook[NFTA_HOOK_DEV] || hook[NFTA_HOOK_DEVS]) return EOPNOTSUPP;
  if (type != base.type) return EEXIST;
  if (number != base.hook || priority != base.priority) return EEXIST;
  return 0;
}

std::vector<uint8_t> CopyOf(const Attribute& attribute) {
  if (!attribute) return {};
  return {attribute.payload().begin(), attribute.payload().end()};
}

}  // namespace

// ---- lookups ----

Table* ControlPlane::FindTable(const Attribute& name, uint8_t family,
                               Errno* error) const {
  if (!name) {
    *error = EINVAL;
    return nullptr;
  }
  const std::string_view text = name.Text();
  for (const auto& table : tables_) {
    if (table->active.next && table->family == family && table->name == text) {
      return table.get();
    }
  }
  *error = ENOENT;
  return nullptr;
}

Chain* ControlPlane::FindChain(Table* table, std::string_view name) const {
  const auto [begin, end] = table->chains_by_name.equal_range(name);
  for (auto at = begin; at != end; ++at) {
    if (at->second->active.next) return at->second;
  }
  return nullptr;
}

Chain* ControlPlane::FindChainByHandle(const Table* table,
                                       uint64_t handle) const {
  for (const auto& chain : table->chains) {
    if (chain->handle == handle && chain->active.next) return chain.get();
  }
  return nullptr;
}

Chain* ControlPlane::FindChainById(const Table* table, uint32_t id) const {
  for (const Change& change : changes_) {
    if (change.kind == ChangeKind::kNewChain && change.table == table &&
        change.id == id && change.chain->active.next) {
      return change.chain;
    }
  }
  return nullptr;
}

// ---- tables ----

Errno ControlPlane::NewTable(MessageContext* context) {
  if (!SupportedFamily(context->family())) return EOPNOTSUPP;
  const AttributeTable& attributes = context->attributes;
  Errno error = 0;
  Table* table =
      FindTable(attributes[NFTA_TABLE_NAME], context->family(), &error);
  uint32_t flags = 0;
  if (attributes[NFTA_TABLE_FLAGS]) flags = attributes[NFTA_TABLE_FLAGS].Be32();
  // Tables owned by a process have no twin.
  const bool bad_flags = (flags & ~uint32_t{NFT_TABLE_F_DORMANT}) != 0;
  if (table != nullptr) {
    if (context->has_flag(NLM_F_EXCL)) return EEXIST;
    if (context->has_flag(NLM_F_REPLACE)) return EOPNOTSUPP;
    if (!attributes[NFTA_TABLE_FLAGS]) return 0;
    if (bad_flags) return EOPNOTSUPP;
    if (flags == table->flags) return 0;
    if (table->updated) return EINVAL;
    Change& change = Log(ChangeKind::kUpdateTable, table);
    change.number = table->flags;
    table->flags = flags;
    table->updated = true;
    return 0;
  }
  if (error != ENOENT) return error;
  if (bad_flags) return EOPNOTSUPP;
  auto created = std::make_unique<Table>();
  created->name = attributes[NFTA_TABLE_NAME].Text();
  created->family = context->family();
  created->flags = flags;
  created->user_data = CopyOf(attributes[NFTA_TABLE_USERDATA]);
  created->handle = ++table_handle_;
  created->validation = new_table_validation_;
  Log(ChangeKind::kNewTable, created.get());
  tables_.push_back(std::move(created));
  return 0;
}

Errno ControlPlane::DeleteTables(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  const uint8_t family = context->family();
  const Attribute& name = attributes[NFTA_TABLE_NAME];
  const Attribute& handle = attributes[NFTA_TABLE_HANDLE];
  if (family == NFPROTO_UNSPEC || (!name && !handle)) {
    for (const auto& table : tables_) {
      if ((family != NFPROTO_UNSPEC && table->family != family) ||
          !table->active.next || (name && name.Text() != table->name)) {
        continue;
      }
      const Errno error = FlushTable(table.get());
      if (error != 0) return error;
    }
    return 0;
  }
  Table* table = nullptr;
  Errno error = ENOENT;
  if (handle) {
    for (const auto& candidate : tables_) {
      if (candidate->handle == handle.Be64() && candidate->family == family &&
          candidate->active.next) {
        table = candidate.get();
        break;
      }
    }
  } else {
    table = FindTable(name, family, &error);
  }
  if (table == nullptr) {
    return error == ENOENT && context->type() == kDestroyTable ? 0 : error;
  }
  if (context->has_flag(kNonRecursive) && table->use > 0) return EBUSY;
  return FlushTable(table);
}

Errno ControlPlane::FlushTable(Table* table) {
  for (const auto& chain : table->chains) {
    if (!chain->active.next) continue;
    const Errno error = DeleteRulesOf(table, chain.get());
    if (error != 0) return error;
  }
  for (const auto& set : table->sets) {
    if (set->active.next && !set->anonymous()) DeleteSetNow(table, set.get());
  }
  for (const auto& object : table->objects) {
    if (object->active.next) DeleteObjectNow(table, object.get());
  }
  for (const auto& chain : table->chains) {
    if (chain->active.next) DeleteChainNow(table, chain.get());
  }
  table->active.next = false;
  Log(ChangeKind::kDeleteTable, table);
  return 0;
}

// ---- chains ----

Errno ControlPlane::NewChain(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  Errno error = 0;
  Table* table =
      FindTable(attributes[NFTA_CHAIN_TABLE], context->family(), &error);
  if (table == nullptr) return error;
  Chain* chain = nullptr;
  if (attributes[NFTA_CHAIN_HANDLE]) {
    chain = FindChainByHandle(table, attributes[NFTA_CHAIN_HANDLE].Be64());
    if (chain == nullptr) return ENOENT;
  } else if (attributes[NFTA_CHAIN_NAME]) {
    chain = FindChain(table, attributes[NFTA_CHAIN_NAME].Text());
  } else if (!attributes[NFTA_CHAIN_ID]) {
    return EINVAL;
  }
  uint32_t policy = NF_ACCEPT;
  if (attributes[NFTA_CHAIN_POLICY]) {
    if (chain != nullptr && !chain->base) return EOPNOTSUPP;
    if (chain == nullptr && !attributes[NFTA_CHAIN_HOOK]) return EOPNOTSUPP;
    // The kernel looks at the policy as a byte.
    policy = attributes[NFTA_CHAIN_POLICY].Be32() & 0xff;
    if (policy != NF_DROP && policy != NF_ACCEPT) return EINVAL;
  }
  uint32_t flags = chain != nullptr ? chain->flags : 0;
  if (attributes[NFTA_CHAIN_FLAGS]) flags = attributes[NFTA_CHAIN_FLAGS].Be32();
  if ((flags & ~kChainFlags) != 0) return EOPNOTSUPP;
  if (chain == nullptr) return AddChain(context, table, policy, flags);
  if (context->has_flag(NLM_F_EXCL)) return EEXIST;
  if (context->has_flag(NLM_F_REPLACE)) return EOPNOTSUPP;
  flags |= chain->flags & kChainBase;
  return UpdateChain(context, table, chain, policy, flags);
}

Errno ControlPlane::AddChain(MessageContext* context, Table* table,
                             uint32_t policy, uint32_t flags) {
  const AttributeTable& attributes = context->attributes;
  auto chain = std::make_unique<Chain>();
  if (attributes[NFTA_CHAIN_HOOK]) {
    if (table->updated) return EINVAL;
    if ((flags & kChainBinding) != 0) return EOPNOTSUPP;
    BaseChain base;
    Errno error = ParseNewHook(attributes, &base);
    if (error != 0) return error;
    if (attributes[NFTA_CHAIN_COUNTERS]) {
      error =
          ParseChainCounters(attributes[NFTA_CHAIN_COUNTERS], &base.counters);
      if (error != 0) return error;
      base.counted = true;
    }
    if ((flags & kChainOffload) != 0) return EOPNOTSUPP;
    base.policy = policy;
    chain->base = base;
    flags |= kChainBase;
  } else {
    if ((flags & kChainBase) != 0) return EINVAL;
    // Chains that live and die with one rule have no twin.
    if ((flags & (kChainOffload | kChainBinding)) != 0) return EOPNOTSUPP;
  }
  chain->flags = flags;
  chain->table = table;
  chain->handle = table->NewHandle();
  if (!attributes[NFTA_CHAIN_NAME]) return EINVAL;
  chain->name = attributes[NFTA_CHAIN_NAME].Text();
  chain->user_data = CopyOf(attributes[NFTA_CHAIN_USERDATA]);
  BuildProgram(chain.get());
  chain->generation[0] = chain->generation[1] = chain->generation[cursor_ ^ 1];
  ++table->use;
  Change& change = Log(ChangeKind::kNewChain, table);
  change.chain = chain.get();
  if (attributes[NFTA_CHAIN_ID]) change.id = attributes[NFTA_CHAIN_ID].Be32();
  table->chains_by_name.emplace(chain->name, chain.get());
  table->chains.push_back(std::move(chain));
  return 0;
}

Errno ControlPlane::UpdateChain(MessageContext* context, Table* table,
                                Chain* chain, uint32_t policy, uint32_t flags) {
  const AttributeTable& attributes = context->attributes;
  if (chain->flags != flags) return EOPNOTSUPP;
  if (attributes[NFTA_CHAIN_HOOK]) {
    if (!chain->base) return EEXIST;
    const Errno error = CheckSameHook(attributes, *chain->base);
    if (error != 0) return error;
  }
  auto update = std::make_unique<ChainUpdate>();
  const bool rename =
      attributes[NFTA_CHAIN_HANDLE] && attributes[NFTA_CHAIN_NAME];
  if (rename) {
    update->name = attributes[NFTA_CHAIN_NAME].Text();
    if (FindChain(table, *update->name) != nullptr) return EEXIST;
  }
  if (attributes[NFTA_CHAIN_COUNTERS]) {
    if (!chain->base) return EOPNOTSUPP;
    update->counters.emplace();
    const Errno error =
        ParseChainCounters(attributes[NFTA_CHAIN_COUNTERS], &*update->counters);
    if (error != 0) return error;
  }
  if (attributes[NFTA_CHAIN_POLICY]) update->policy = policy;
  if (rename) {
    for (const Change& change : changes_) {
      if (change.kind == ChangeKind::kUpdateChain && change.table == table &&
          change.chain_update->name == update->name) {
        return EEXIST;
      }
    }
  }
  Change& change = Log(ChangeKind::kUpdateChain, table);
  change.chain = chain;
  change.chain_update = std::move(update);
  return 0;
}

void ControlPlane::DeleteChainNow(Table* table, Chain* chain) {
  Change& change = Log(ChangeKind::kDeleteChain, table);
  change.chain = chain;
  --table->use;
  chain->active.next = false;
}

Errno ControlPlane::DeleteChain(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  Errno error = 0;
  Table* table =
      FindTable(attributes[NFTA_CHAIN_TABLE], context->family(), &error);
  if (table == nullptr) return error;
  Chain* chain = nullptr;
  if (attributes[NFTA_CHAIN_HANDLE]) {
    chain = FindChainByHandle(table, attributes[NFTA_CHAIN_HANDLE].Be64());
  } else if (attributes[NFTA_CHAIN_NAME]) {
    chain = FindChain(table, attributes[NFTA_CHAIN_NAME].Text());
  } else {
    return EINVAL;
  }
  if (chain == nullptr) return context->type() == kDestroyChain ? 0 : ENOENT;
  if (attributes[NFTA_CHAIN_HOOK] && context->type() == kDestroyChain) {
    return EOPNOTSUPP;
  }
  if (context->has_flag(kNonRecursive) && chain->use > 0) return EBUSY;
  uint32_t use = chain->use;
  for (Rule* rule = chain->first; rule != nullptr; rule = rule->following) {
    if (!rule->active.next) continue;
    --use;
    error = DeleteRule(table, chain, rule);
    if (error != 0) return error;
  }
  // Jumps from other rules or elements are left.
  if (use > 0) return EBUSY;
  DeleteChainNow(table, chain);
  return 0;
}

// ---- rules ----

Errno ControlPlane::NewRule(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  Errno error = 0;
  Table* table =
      FindTable(attributes[NFTA_RULE_TABLE], context->family(), &error);
  if (table == nullptr) return error;
  Chain* chain = nullptr;
  if (attributes[NFTA_RULE_CHAIN]) {
    chain = FindChain(table, attributes[NFTA_RULE_CHAIN].Text());
  } else if (attributes[NFTA_RULE_CHAIN_ID]) {
    chain = FindChainById(table, attributes[NFTA_RULE_CHAIN_ID].Be32());
  } else {
    return EINVAL;
  }
  if (chain == nullptr) return ENOENT;

  const auto find_rule = [chain](uint64_t handle) -> Rule* {
    const auto found = chain->by_handle.find(handle);
    return found == chain->by_handle.end() ? nullptr : found->second;
  };
  Rule* old_rule = nullptr;
  uint64_t handle = 0;
  if (attributes[NFTA_RULE_HANDLE]) {
    handle = attributes[NFTA_RULE_HANDLE].Be64();
    old_rule = find_rule(handle);
    if (old_rule == nullptr) return ENOENT;
    if (context->has_flag(NLM_F_EXCL)) return EEXIST;
    if (!context->has_flag(NLM_F_REPLACE)) return EOPNOTSUPP;
  } else {
    if (!context->has_flag(NLM_F_CREATE) || context->has_flag(NLM_F_REPLACE)) {
      return EINVAL;
    }
    handle = table->NewHandle();
    if (attributes[NFTA_RULE_POSITION]) {
      old_rule = find_rule(attributes[NFTA_RULE_POSITION].Be64());
      if (old_rule == nullptr) return ENOENT;
    } else if (attributes[NFTA_RULE_POSITION_ID]) {
      const uint32_t id = attributes[NFTA_RULE_POSITION_ID].Be32();
      for (const Change& change : changes_) {
        if (change.kind == ChangeKind::kNewRule && change.chain == chain &&
            change.id == id) {
          old_rule = change.rule;
          break;
        }
      }
      if (old_rule == nullptr) return ENOENT;
    }
  }
  Rule* rule = nullptr;
  error = BuildRule(context, table, chain, &rule);
  if (error != 0) return error;
  rule->handle = handle;
  if (context->has_flag(NLM_F_REPLACE)) {
    error = DeleteRule(table, chain, old_rule);
    if (error != 0) {
      ForEachInstruction(rule->code(), rule->code_size, [this](uint8_t* code) {
        DeactivateExpression(this, code, Phase::kPrepareError);
      });
      DestroyRule(rule);
      return error;
    }
  }
  LinkRule(context, table, chain, rule, old_rule);
  return ValidateAfterChange(table);
}

Errno ControlPlane::BuildRule(MessageContext* context, Table* table,
                              Chain* chain, Rule** result) {
  const AttributeTable& attributes = context->attributes;
  DecodeContext decode;
  decode.control = this;
  decode.family = context->family();
  decode.table = table;
  decode.chain = chain;
  decode.compat = attributes[NFTA_RULE_COMPAT];

  size_t count = 0;
  size_t code_size = 0;
  if (attributes[NFTA_RULE_EXPRESSIONS]) {
    std::span<const uint8_t> rest = attributes[NFTA_RULE_EXPRESSIONS].payload();
    Attribute nested;
    while (NextAttribute(&rest, &nested)) {
      if (nested.type() != NFTA_LIST_ELEM || count == kMaxExpressions) {
        return EINVAL;
      }
      if (count == parsed_.size()) parsed_.emplace_back();
      const Errno error =
          ParseExpression(&decode, nested.payload(), &parsed_[count]);
      if (error != 0) return error;
      code_size += parsed_[count].selected.size;
      ++count;
    }
  }
  if (code_size >= kMaxRuleCode) return EFBIG;

  const Attribute& user_data = attributes[NFTA_RULE_USERDATA];
  Rule* rule = Rule::Create(code_size, user_data ? user_data.size() : 0);
  if (user_data && user_data.size() > 0) {
    std::memcpy(rule->user_data(), user_data.payload().data(),
                user_data.size());
  }
  uint8_t* at = rule->code();
  for (size_t i = 0; i < count; ++i) {
    const Errno error = InitExpression(&decode, parsed_[i], at);
    if (error != 0) {
      // Those before it let go of what they hold; it has done so itself.
      rule->code_size = static_cast<uint16_t>(at - rule->code());
      ForEachInstruction(rule->code(), rule->code_size, [this](uint8_t* code) {
        DeactivateExpression(this, code, Phase::kPrepareError);
      });
      DestroyCode(rule->code(), rule->code_size);
      Rule::Destroy(rule);
      return error;
    }
    if (HasValidate(parsed_[i].selected.opcode) &&
        table->validation == Validation::kSkip) {
      table->validation = Validation::kNeed;
    }
    at += parsed_[i].selected.size;
  }
  CountTracking(rule->code(), rule->code_size, 1);
  *result = rule;
  return 0;
}

void ControlPlane::LinkRule(MessageContext* context, Table* table, Chain* chain,
                            Rule* rule, Rule* old_rule) {
  Change& change = Log(ChangeKind::kNewRule, table);
  change.chain = chain;
  change.rule = rule;
  if (context->attributes[NFTA_RULE_ID]) {
    change.id = context->attributes[NFTA_RULE_ID].Be32();
  }
  if (context->has_flag(NLM_F_REPLACE)) {
    change.replaced = old_rule;
    chain->InsertBefore(rule, old_rule);
  } else if (context->has_flag(NLM_F_APPEND)) {
    chain->InsertAfter(rule, old_rule != nullptr ? old_rule : chain->last);
  } else {
    chain->InsertBefore(rule, old_rule != nullptr ? old_rule : chain->first);
  }
  chain->by_handle[rule->handle] = rule;
  ++chain->use;
  chain->changed = true;
}

Errno ControlPlane::DeleteRule(Table* table, Chain* chain, Rule* rule) {
  // The same rule cannot be deleted twice.
  if (!rule->active.next) return ENOENT;
  Change& change = Log(ChangeKind::kDeleteRule, table);
  change.chain = chain;
  change.rule = rule;
  rule->active.next = false;
  --chain->use;
  chain->changed = true;
  known_invalid_ = 0;
  ForEachInstruction(rule->code(), rule->code_size, [this](uint8_t* code) {
    DeactivateExpression(this, code, Phase::kPrepare);
  });
  return 0;
}

Errno ControlPlane::DeleteRulesOf(Table* table, Chain* chain) {
  for (Rule* rule = chain->first; rule != nullptr; rule = rule->following) {
    if (!rule->active.next) continue;
    const Errno error = DeleteRule(table, chain, rule);
    if (error != 0) return error;
  }
  return 0;
}

Errno ControlPlane::DeleteRules(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  Errno error = 0;
  Table* table =
      FindTable(attributes[NFTA_RULE_TABLE], context->family(), &error);
  if (table == nullptr) return error;
  const bool destroy = context->type() == kDestroyRule;
  if (!attributes[NFTA_RULE_CHAIN]) {
    for (const auto& chain : table->chains) {
      if (!chain->active.next) continue;
      error = DeleteRulesOf(table, chain.get());
      if (error != 0) return error;
    }
    return 0;
  }
  Chain* chain = FindChain(table, attributes[NFTA_RULE_CHAIN].Text());
  if (chain == nullptr) return destroy ? 0 : ENOENT;
  if (attributes[NFTA_RULE_HANDLE]) {
    const auto found =
        chain->by_handle.find(attributes[NFTA_RULE_HANDLE].Be64());
    if (found == chain->by_handle.end()) return destroy ? 0 : ENOENT;
    return DeleteRule(table, chain, found->second);
  }
  if (attributes[NFTA_RULE_ID]) {
    const uint32_t id = attributes[NFTA_RULE_ID].Be32();
    for (const Change& change : changes_) {
      if (change.kind == ChangeKind::kNewRule && change.chain == chain &&
          change.id == id) {
        return DeleteRule(table, chain, change.rule);
      }
    }
    return ENOENT;
  }
  return DeleteRulesOf(table, chain);
}

}  // namespace nfarena::vm
