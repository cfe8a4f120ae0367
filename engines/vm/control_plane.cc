#include "engines/vm/control_plane.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "engines/vm/message_types.h"
#include "engines/xt/extension.h"

namespace nfarena::vm {
namespace {

// Rules that the per-message validation of a replayed batch may look at before
// it gives up telling which message was at fault first.
constexpr uint64_t kValidationBudget = 50'000'000;

}  // namespace

Errno BatchResult::error() const {
  for (const MessageError& answer : answers) {
    if (answer.error != 0) return answer.error;
  }
  return 0;
}

ControlPlane::ControlPlane() = default;

ControlPlane::~ControlPlane() {
  for (const auto& table : tables_) {
    for (const auto& chain : table->chains) {
      while (chain->first != nullptr) {
        Rule* rule = chain->first;
        chain->Unlink(rule);
        DestroyRule(rule);
      }
    }
    for (const auto& set : table->sets) {
      for (Element* element : set->Walk()) {
        DestroyElement(set->Remove(element));
      }
      for (auto& block : set->expressions) {
        DestroyExpression(this, reinterpret_cast<uint8_t*>(block.data()));
      }
    }
    for (const auto& object : table->objects) {
      DestroyExpression(this, object->instruction());
    }
  }
}

// ---- a batch ----

BatchResult ControlPlane::Submit(std::span<const uint8_t> bytes) {
  BatchResult result;
  const Batch batch = DecodeBatch(bytes);
  if (batch.ignored) return result;
  if (batch.error != 0) {
    result.answers.push_back({batch.begin_seq, batch.error});
    return result;
  }
  if (batch.genid != 0 && batch.genid != base_seq_) {
    result.answers.push_back({batch.begin_seq, ERESTART});
    return result;
  }
  while (RunBatch(batch, &result) == Round::kReplay) {
  }
  for (const auto& table : tables_) table->validation = Validation::kSkip;
  new_table_validation_ = Validation::kSkip;
  return result;
}

ControlPlane::Round ControlPlane::RunBatch(const Batch& batch,
                                           BatchResult* result) {
  const bool replayed = new_table_validation_ == Validation::kDo;
  known_invalid_ = 0;
  validation_work_ = 0;
  result->answers.clear();
  if ((batch.begin_flags & NLM_F_ACK) != 0) {
    result->answers.push_back({batch.begin_seq, 0});
  }
  bool failed = false;
  for (const Message& message : batch.messages) {
    const Errno error =
        message.error != 0 ? message.error : HandleMessage(message);
    if (error != 0 || (message.flags & NLM_F_ACK) != 0) {
      result->answers.push_back({message.seq, error});
    }
    failed = failed || error != 0;
  }
  if (batch.end == BatchEnd::kBroken) {
    result->answers.clear();
    Abort();
    return Round::kDone;
  }
  if (failed) {
    Abort();
    return Round::kDone;
  }
  Errno error =
      batch.end == BatchEnd::kCommit && !changes_.empty() ? CheckUnbound() : 0;
  if (error == 0 && !ValidateChanged()) {
    Abort();
    // The second time round every message says for itself whether it is the
    // one that makes the ruleset invalid.
    new_table_validation_ = Validation::kDo;
    if (!replayed) return Round::kReplay;
    // Found only at the end: the budget of the per-message checks was spent.
    error = known_invalid_ != 0 ? known_invalid_ : EMLINK;
    result->answers.push_back(
        {batch.messages.empty() ? batch.begin_seq : batch.messages.back().seq,
         error});
    return Round::kDone;
  }
  if (error != 0) {
    Abort();
    // The kernel points at the first message, whichever was at fault.
    result->answers.push_back({batch.messages.front().seq, error});
    return Round::kDone;
  }
  if (batch.end == BatchEnd::kValidate) {
    Abort();
    return Round::kDone;
  }
  Commit();
  result->committed = true;
  if ((batch.end_flags & NLM_F_ACK) != 0) {
    result->answers.push_back({batch.end_seq, 0});
  }
  return Round::kDone;
}

Errno ControlPlane::HandleMessage(const Message& message) {
  const AttributePolicy* policy = PolicyOf(message.type);
  if (policy == nullptr) return EINVAL;
  MessageContext context;
  context.message = &message;
  const Errno error =
      ParseAttributes(message.attributes, *policy, &context.attributes);
  if (error != 0) return error;
  switch (message.type) {
    case NFT_MSG_NEWTABLE:
      return NewTable(&context);
    case NFT_MSG_DELTABLE:
    case kDestroyTable:
      return DeleteTables(&context);
    case NFT_MSG_NEWCHAIN:
      return NewChain(&context);
    case NFT_MSG_DELCHAIN:
    case kDestroyChain:
      return DeleteChain(&context);
    case NFT_MSG_NEWRULE:
      return NewRule(&context);
    case NFT_MSG_DELRULE:
    case kDestroyRule:
      return DeleteRules(&context);
    case NFT_MSG_NEWSET:
      return NewSet(&context);
    case NFT_MSG_DELSET:
    case kDestroySet:
      return DeleteSets(&context);
    case NFT_MSG_NEWSETELEM:
      return NewElements(&context);
    case NFT_MSG_DELSETELEM:
    case kDestroySetElement:
      return DeleteElements(&context);
    case NFT_MSG_NEWOBJ:
      return NewObject(&context);
    case NFT_MSG_DELOBJ:
    case kDestroyObject:
      return DeleteObjects(&context);
    default:
      // Flow tables have no twin.
      return EOPNOTSUPP;
  }
}

ControlPlane::Change& ControlPlane::Log(ChangeKind kind, Table* table) {
  Change& change = changes_.emplace_back();
  change.kind = kind;
  change.table = table;
  return change;
}

// ---- validation ----

Errno ControlPlane::CheckUnbound() const {
  for (const Change& change : changes_) {
    if (change.kind == ChangeKind::kNewSet && change.set->anonymous() &&
        change.set->bindings.empty()) {
      return EINVAL;
    }
  }
  return 0;
}

Errno ControlPlane::ValidateChain(ValidateContext* context, Chain* chain) {
  if (context->level == kJumpStackSize) return EMLINK;
  const BaseChain& base = *context->base->base;
  const auto type = static_cast<size_t>(base.type);
  const auto hook_bit = static_cast<uint8_t>(1u << base.hook);
  if (context->level > 0) {
    if (chain->base) return ELOOP;
    // Already seen from such a hook at least as deep.
    if (chain->seen_depth >= context->level &&
        (chain->seen_hooks[type] & hook_bit) != 0) {
      return 0;
    }
  }
  for (Rule* rule = chain->first; rule != nullptr; rule = rule->following) {
    if (!rule->active.next) continue;
    ++*context->work;
    Errno error = 0;
    ForEachInstruction(rule->code(), rule->code_size,
                       [context, &error](uint8_t* code) {
                         if (error == 0)
                           error = ValidateExpression(context, code);
                       });
    if (error != 0) return error;
  }
  chain->seen_hooks[type] |= hook_bit;
  chain->seen_depth = std::max(chain->seen_depth, context->level);
  return 0;
}

Errno ControlPlane::ValidateTable(Table* table) {
  Errno error = 0;
  ValidateContext context;
  context.control = this;
  context.family = table->family;
  context.work = &validation_work_;
  for (const auto& chain : table->chains) {
    // A chain that this batch deletes is still in the list, without rules.
    if (!chain->base) continue;
    context.base = chain.get();
    context.level = 0;
    error = ValidateChain(&context, chain.get());
    if (error != 0) break;
  }
  for (const auto& chain : table->chains) {
    chain->seen_depth = 0;
    std::fill(std::begin(chain->seen_hooks), std::end(chain->seen_hooks), 0);
  }
  return error;
}

bool ControlPlane::ValidateChanged() {
  for (const auto& table : tables_) {
    if (table->validation == Validation::kSkip) continue;
    table->validation = Validation::kDo;
    if (ValidateTable(table.get()) != 0) return false;
    table->validation = Validation::kSkip;
  }
  return true;
}

bool ControlPlane::Validates(const uint8_t* code, size_t size) const {
  bool found = false;
  ForEachInstruction(const_cast<uint8_t*>(code), size, [&found](uint8_t* at) {
    found = found || HasValidate(reinterpret_cast<Instruction*>(at)->opcode);
  });
  return found;
}

Errno ControlPlane::ValidateAfterChange(Table* table) {
  if (table->validation != Validation::kDo) return 0;
  // More rules cannot make an invalid ruleset valid again, so once it is known
  // to be invalid the walk need not be repeated; a deletion resets this.
  if (known_invalid_ != 0) return known_invalid_;
  if (validation_work_ > kValidationBudget) return 0;
  known_invalid_ = ValidateTable(table);
  return known_invalid_;
}

// ---- rules and code ----

void ControlPlane::DestroyCode(uint8_t* code, size_t size) {
  ForEachInstruction(code, size,
                     [this](uint8_t* at) { DestroyExpression(this, at); });
}

void ControlPlane::DestroyRule(Rule* rule) {
  CountTracking(rule->code(), rule->code_size, -1);
  DestroyCode(rule->code(), rule->code_size);
  Rule::Destroy(rule);
}

bool ControlPlane::CodeNeedsTracking(const Instruction& head,
                                     const uint8_t* code) const {
  switch (ExpressionOf(head.opcode)) {
    case ExpressionId::kCt:
    case ExpressionId::kNat:
    case ExpressionId::kMasq:
    case ExpressionId::kRedir:
    case ExpressionId::kConnlimit:
      return true;
    case ExpressionId::kMatch:
    case ExpressionId::kTarget:
      break;
    default:
      return false;
  }
  const CompatUse& use = compat_uses_[head.aux];
  // Extensions whose checkentry() calls nf_ct_netns_get(); CT does so unless
  // it is NOTRACK, which is the first bit of its first word.
  static constexpr std::string_view kMatches[] = {
      "cluster",  "connbytes", "connlabel", "connlimit",
      "connmark", "conntrack", "helper",    "state"};
  static constexpr std::string_view kTargets[] = {
      "CONNMARK", "CONNSECMARK", "DNAT", "MASQUERADE",
      "NETMAP",   "REDIRECT",    "SNAT", "SYNPROXY"};
  const auto contains = [](const auto& names, std::string_view name) {
    return std::find(std::begin(names), std::end(names), name) !=
           std::end(names);
  };
  if (use.match != nullptr) return contains(kMatches, use.match->name);
  if (use.target->name == "CT") {
    uint16_t flags = 0;
    std::memcpy(&flags, reinterpret_cast<const CompatCode*>(code)->payload(),
                sizeof(flags));
    constexpr uint16_t kNotrack = 1;
    return (flags & kNotrack) == 0;
  }
  return contains(kTargets, use.target->name);
}

void ControlPlane::CountTracking(uint8_t* code, size_t size, int step) {
  ForEachInstruction(code, size, [this, step](uint8_t* at) {
    if (CodeNeedsTracking(*reinterpret_cast<const Instruction*>(at), at)) {
      tracking_users_ += step;
    }
  });
}

uint32_t ControlPlane::AddCompatUse(const CompatUse& use) {
  if (!free_compat_uses_.empty()) {
    const uint32_t index = free_compat_uses_.back();
    free_compat_uses_.pop_back();
    compat_uses_[index] = use;
    return index;
  }
  // Index 0 stands for "none", so that an instruction whose Init failed half
  // way frees nothing.
  if (compat_uses_.empty()) compat_uses_.emplace_back();
  compat_uses_.push_back(use);
  return static_cast<uint32_t>(compat_uses_.size() - 1);
}

void ControlPlane::FreeCompatUse(uint32_t index) {
  if (index == 0) return;
  std::free(compat_uses_[index].state);
  compat_uses_[index] = CompatUse();
  free_compat_uses_.push_back(index);
}

// ---- commit ----

void ControlPlane::BuildProgram(Chain* chain) {
  uint64_t bytes = 0;
  for (const Rule* rule = chain->first; rule != nullptr;
       rule = rule->following) {
    if (rule->active.next) bytes += sizeof(RuleHead) + rule->code_size;
  }
  const uint64_t total = sizeof(Blob) + bytes + sizeof(RuleHead);
  auto memory = std::make_unique_for_overwrite<uint64_t[]>(total / 8);
  auto* blob = reinterpret_cast<Blob*>(memory.get());
  blob->size = bytes;
  auto* at = reinterpret_cast<uint8_t*>(blob + 1);
  uint32_t number = 0;
  for (const Rule* rule = chain->first; rule != nullptr;
       rule = rule->following) {
    if (!rule->active.next) continue;
    const RuleHead head{rule->code_size, 0, ++number};
    std::memcpy(at, &head, sizeof(head));
    std::memcpy(at + sizeof(head), rule->code(), rule->code_size);
    at += sizeof(head) + rule->code_size;
  }
  const RuleHead last{0, 1, 0};
  std::memcpy(at, &last, sizeof(last));
  chain->previous_blob = std::move(chain->blob);
  chain->blob = std::move(memory);
  chain->blob_bytes = total;
  chain->generation[cursor_ ^ 1] = blob;
}

void ControlPlane::PublishPrograms() {
  // Chains that changed in the commit before this one: their old program goes.
  for (Chain* chain : two_programs_) {
    if (chain->changed) continue;
    chain->generation[cursor_ ^ 1] = chain->generation[cursor_];
    chain->previous_blob.reset();
  }
  two_programs_.clear();
  for (const Change& change : changes_) {
    if (change.kind != ChangeKind::kNewRule &&
        change.kind != ChangeKind::kDeleteRule) {
      continue;
    }
    Chain* chain = change.chain;
    if (!chain->changed) continue;
    chain->changed = false;
    BuildProgram(chain);
    two_programs_.push_back(chain);
  }
}

void ControlPlane::Commit() {
  if (changes_.empty()) return;
  PublishPrograms();
  while (++base_seq_ == 0) {
  }
  cursor_ ^= 1;
  for (Change& change : changes_) CommitChange(&change);
  Sweep();
}

void ControlPlane::CommitChange(Change* change) {
  Table* table = change->table;
  Chain* chain = change->chain;
  Rule* rule = change->rule;
  Set* set = change->set;
  Element* element = change->element;
  Object* object = change->object;
  switch (change->kind) {
    case ChangeKind::kNewTable:
      table->active = {true, true};
      break;
    case ChangeKind::kUpdateTable:
      table->updated = false;
      ++topology_version_;
      break;
    case ChangeKind::kDeleteTable:
      table->dead = true;
      ++topology_version_;
      break;
    case ChangeKind::kNewChain:
      chain->active = {true, true};
      table->chains_changed = true;
      break;
    case ChangeKind::kUpdateChain: {
      ChainUpdate& update = *change->chain_update;
      if (update.name) {
        const auto [begin, end] =
            table->chains_by_name.equal_range(chain->name);
        for (auto at = begin; at != end; ++at) {
          if (at->second == chain) {
            table->chains_by_name.erase(at);
            break;
          }
        }
        chain->name = *update.name;
        table->chains_by_name.emplace(chain->name, chain);
        table->chains_changed = true;
      }
      if (!chain->base) break;
      if (update.counters) {
        chain->base->counted = true;
        chain->base->counters = *update.counters;
      }
      if (update.policy) chain->base->policy = *update.policy;
      ++topology_version_;
      break;
    }
    case ChangeKind::kDeleteChain:
      chain->dead = true;
      table->chains_changed = true;
      table->needs_sweep = true;
      break;
    case ChangeKind::kNewRule:
      rule->active = {true, true};
      break;
    case ChangeKind::kDeleteRule: {
      chain->Unlink(rule);
      const auto known = chain->by_handle.find(rule->handle);
      if (known != chain->by_handle.end() && known->second == rule) {
        chain->by_handle.erase(known);
      }
      ForEachInstruction(rule->code(), rule->code_size, [this](uint8_t* code) {
        DeactivateExpression(this, code, Phase::kCommit);
      });
      dead_rules_.push_back(rule);
      break;
    }
    case ChangeKind::kNewSet:
      set->active = {true, true};
      set->Publish();
      if (set->anonymous() && !set->bindings.empty()) --table->use;
      break;
    case ChangeKind::kUpdateSet:
      set->d.timeout_ms = change->timeout_ms;
      set->d.gc_interval = change->gc_interval;
      if (change->number != 0) set->d.size = change->number;
      break;
    case ChangeKind::kDeleteSet:
      set->dead = true;
      table->needs_sweep = true;
      break;
    case ChangeKind::kNewElement:
      element->active = {true, true};
      set->changed = true;
      break;
    case ChangeKind::kUpdateElement:
      element->timeout_ms = change->timeout_ms;
      if (change->expires_ms != 0) {
        element->expires_ms = now_ms_ + change->expires_ms;
      }
      break;
    case ChangeKind::kDeleteElement: {
      std::unique_ptr<Element> removed = set->Remove(element);
      if (!removed->catchall) {
        --set->elements_count;
        --set->deactivated_count;
      }
      dead_elements_.push_back(std::move(removed));
      set->changed = true;
      break;
    }
    case ChangeKind::kNewObject:
      object->active = {true, true};
      break;
    case ChangeKind::kUpdateObject:
      // Only quotas can be updated.
      if (object->type == ObjectType::kQuota) {
        auto* mine = reinterpret_cast<QuotaCode*>(object->instruction());
        const auto* theirs = reinterpret_cast<const QuotaCode*>(
            change->new_object->instruction());
        mine->quota = theirs->quota;
        mine->flags = theirs->flags;
      }
      DestroyExpression(this, change->new_object->instruction());
      break;
    case ChangeKind::kDeleteObject:
      object->dead = true;
      table->needs_sweep = true;
      break;
  }
}

// ---- abort ----

void ControlPlane::Abort() {
  for (auto change = changes_.rbegin(); change != changes_.rend(); ++change) {
    AbortChange(&*change);
  }
  Sweep();
}

void ControlPlane::AbortChange(Change* change) {
  Table* table = change->table;
  Chain* chain = change->chain;
  Rule* rule = change->rule;
  Set* set = change->set;
  Element* element = change->element;
  Object* object = change->object;
  switch (change->kind) {
    case ChangeKind::kNewTable:
      table->dead = true;
      break;
    case ChangeKind::kUpdateTable:
      table->flags = change->number;
      table->updated = false;
      break;
    case ChangeKind::kDeleteTable:
      table->active = {true, true};
      break;
    case ChangeKind::kNewChain:
      --table->use;
      chain->dead = true;
      table->needs_sweep = true;
      break;
    case ChangeKind::kUpdateChain:
      break;
    case ChangeKind::kDeleteChain:
      ++table->use;
      chain->active = {true, true};
      break;
    case ChangeKind::kNewRule:
      --chain->use;
      chain->Unlink(rule);
      if (change->replaced != nullptr) {
        chain->by_handle[rule->handle] = change->replaced;
      } else {
        chain->by_handle.erase(rule->handle);
      }
      chain->changed = false;
      ForEachInstruction(rule->code(), rule->code_size, [this](uint8_t* code) {
        DeactivateExpression(this, code, Phase::kAbort);
      });
      dead_rules_.push_back(rule);
      break;
    case ChangeKind::kDeleteRule:
      ++chain->use;
      rule->active.next = true;
      chain->changed = false;
      ForEachInstruction(rule->code(), rule->code_size, [this](uint8_t* code) {
        ActivateExpression(this, code);
      });
      break;
    case ChangeKind::kNewSet:
      --table->use;
      set->dead = true;
      table->needs_sweep = true;
      break;
    case ChangeKind::kUpdateSet:
    case ChangeKind::kUpdateElement:
      break;
    case ChangeKind::kDeleteSet:
      ++table->use;
      set->active = {true, true};
      ActivateMap(set);
      break;
    case ChangeKind::kNewElement: {
      if (!element->catchall) --set->elements_count;
      std::unique_ptr<Element> removed = set->Remove(element);
      // References were let go of already if the element was deleted or its
      // anonymous map went with the rule that used it.
      if (removed->active.next) ReleaseElement(*set, removed.get());
      dead_elements_.push_back(std::move(removed));
      break;
    }
    case ChangeKind::kDeleteElement:
      if (!element->active.next) {
        HoldElement(*set, element);
        element->active.next = true;
      }
      if (!element->catchall) --set->deactivated_count;
      break;
    case ChangeKind::kNewObject:
      --table->use;
      object->dead = true;
      table->needs_sweep = true;
      break;
    case ChangeKind::kUpdateObject:
      DestroyExpression(this, change->new_object->instruction());
      break;
    case ChangeKind::kDeleteObject:
      ++table->use;
      object->active = {true, true};
      break;
  }
}

// ---- after either ----

void ControlPlane::Sweep() {
  changes_.clear();
  for (Rule* rule : dead_rules_) DestroyRule(rule);
  dead_rules_.clear();
  for (auto& element : dead_elements_) DestroyElement(std::move(element));
  dead_elements_.clear();
  for (const auto& table : tables_) {
    for (const auto& set : table->sets) {
      if (set->dead) {
        table->needs_sweep = true;
      } else if (set->changed) {
        set->Publish();
      }
    }
    if (table->needs_sweep) {
      table->needs_sweep = false;
      for (const auto& set : table->sets) {
        if (!set->dead) continue;
        for (Element* element : set->Walk()) {
          DestroyElement(set->Remove(element));
        }
        for (auto& block : set->expressions) {
          DestroyExpression(this, reinterpret_cast<uint8_t*>(block.data()));
        }
      }
      for (auto at = table->sets_by_name.begin();
           at != table->sets_by_name.end();) {
        at = at->second->dead ? table->sets_by_name.erase(at) : std::next(at);
      }
      std::erase_if(table->sets, [](const auto& set) { return set->dead; });
      table->lowest_set_number = 0;
      for (const auto& object : table->objects) {
        if (object->dead) DestroyExpression(this, object->instruction());
      }
      std::erase_if(table->objects,
                    [](const auto& object) { return object->dead; });
      std::erase_if(two_programs_, [](Chain* chain) { return chain->dead; });
      for (auto at = table->chains_by_name.begin();
           at != table->chains_by_name.end();) {
        at = at->second->dead ? table->chains_by_name.erase(at) : std::next(at);
      }
      std::erase_if(table->chains,
                    [](const auto& chain) { return chain->dead; });
    }
    if (table->chains_changed) {
      table->chains_changed = false;
      RenumberChains(table.get());
      ++topology_version_;
    }
  }
  std::erase_if(tables_, [](const auto& table) { return table->dead; });
}

void ControlPlane::RenumberChains(Table* table) {
  const std::optional<TableKind> kind = TableKindFromName(table->name);
  const std::vector<Hook> hooks =
      kind ? TableHooks(*kind) : std::vector<Hook>();
  std::vector<Chain*> user;
  for (const auto& chain : table->chains) {
    if (!chain->base) {
      user.push_back(chain.get());
      continue;
    }
    const auto position = std::find(hooks.begin(), hooks.end(),
                                    static_cast<Hook>(chain->base->hook));
    chain->model_index = static_cast<uint32_t>(position - hooks.begin());
  }
  std::sort(user.begin(), user.end(),
            [](const Chain* a, const Chain* b) { return a->name < b->name; });
  auto index = static_cast<uint32_t>(hooks.size());
  for (Chain* chain : user) chain->model_index = index++;
}

// ---- sizes ----

uint64_t ControlPlane::program_bytes() const {
  // Each block ends with what the kernel keeps to free it later: an RCU head
  // and a pointer.
  constexpr uint64_t kTail = 24;
  uint64_t bytes = 0;
  for (const auto& table : tables_) {
    for (const auto& chain : table->chains) bytes += chain->blob_bytes + kTail;
  }
  return bytes;
}

uint64_t ControlPlane::control_bytes() const {
  constexpr uint64_t kRuleHead = 24;  // sizeof(struct nft_rule)
  uint64_t bytes = 0;
  for (const auto& table : tables_) {
    for (const auto& chain : table->chains) {
      for (const Rule* rule = chain->first; rule != nullptr;
           rule = rule->following) {
        bytes += kRuleHead + rule->code_size;
        if (rule->user_size != 0) bytes += 1u + rule->user_size;
      }
    }
  }
  return bytes;
}

uint64_t ControlPlane::state_bytes() const {
  uint64_t bytes = counters_.bytes_used();
  for (const CompatUse& use : compat_uses_) {
    if (use.match != nullptr) bytes += use.match->state.bytes;
    if (use.target != nullptr) bytes += use.target->state.bytes;
  }
  return bytes;
}

}  // namespace nfarena::vm
