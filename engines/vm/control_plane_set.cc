// Sets, elements and objects: the handlers of their messages.
// Source: net/netfilter/nf_tables_api.c, nf_tables_newset() and so on.
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>
#include <string>

#include "engines/vm/control_plane.h"
#include "engines/vm/message_types.h"
#include "engines/vm/operations.h"

namespace nfarena::vm {
namespace {

constexpr uint32_t kSetFlagsAll =
    NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_INTERVAL | NFT_SET_TIMEOUT |
    NFT_SET_MAP | NFT_SET_EVAL | NFT_SET_OBJECT | NFT_SET_CONCAT | NFT_SET_EXPR;
constexpr uint32_t kMaxData = NFT_DATA_VALUE_MAXLEN;  // bytes
constexpr size_t kMaxSetExpressions = 2;              // NFT_SET_EXPR_MAX
constexpr uint32_t kMaxObjectType = 9;                // NFT_OBJECT_MAX
constexpr uint32_t kMaxFields = 16;
constexpr uint32_t kCatchall = 2;  // NFT_SET_ELEM_CATCHALL

bool HasAll(uint32_t flags, uint32_t wanted) {
  return (flags & wanted) == wanted;
}

// nf_msecs_to_jiffies64(); the clock here counts milliseconds itself.
Errno ParseMilliseconds(const Attribute& attribute, uint64_t* out) {
  *out = attribute.Be64();
  return *out >= UINT64_MAX / 1'000'000 ? ERANGE : 0;
}

Errno ParseSetFlags(const AttributeTable& attributes, uint32_t* flags) {
  *flags = 0;
  if (!attributes[NFTA_SET_FLAGS]) return 0;
  *flags = attributes[NFTA_SET_FLAGS].Be32();
  if ((*flags & ~kSetFlagsAll) != 0) return EOPNOTSUPP;
  if (HasAll(*flags, NFT_SET_MAP | NFT_SET_OBJECT)) return EOPNOTSUPP;
  if (HasAll(*flags, NFT_SET_EVAL | NFT_SET_OBJECT)) return EOPNOTSUPP;
  if ((*flags & (NFT_SET_ANONYMOUS | NFT_SET_TIMEOUT | NFT_SET_EVAL)) ==
      (NFT_SET_ANONYMOUS | NFT_SET_TIMEOUT)) {
    return EOPNOTSUPP;
  }
  if (HasAll(*flags, NFT_SET_CONSTANT | NFT_SET_TIMEOUT)) return EOPNOTSUPP;
  return 0;
}

Errno ParseSetData(const AttributeTable& attributes, SetDescription* d) {
  const auto reserved = [](uint32_t type) {
    return (type & NFT_DATA_RESERVED_MASK) == NFT_DATA_RESERVED_MASK;
  };
  if (attributes[NFTA_SET_DATA_TYPE]) {
    if ((d->flags & NFT_SET_MAP) == 0) return EINVAL;
    d->data_type = attributes[NFTA_SET_DATA_TYPE].Be32();
    if (reserved(d->data_type) && d->data_type != NFT_DATA_VERDICT) {
      return EINVAL;
    }
    if (d->data_type == NFT_DATA_VERDICT) {
      d->data_size = sizeof(Data);
    } else {
      if (!attributes[NFTA_SET_DATA_LEN]) return EINVAL;
      d->data_size = attributes[NFTA_SET_DATA_LEN].Be32();
      if (d->data_size == 0 || d->data_size > kMaxData) return EINVAL;
    }
  } else if ((d->flags & NFT_SET_MAP) != 0) {
    return EINVAL;
  }
  if (attributes[NFTA_SET_OBJ_TYPE]) {
    if ((d->flags & NFT_SET_OBJECT) == 0) return EINVAL;
    d->object_type = attributes[NFTA_SET_OBJ_TYPE].Be32();
    if (d->object_type == 0 || d->object_type > kMaxObjectType) {
      return EOPNOTSUPP;
    }
  } else if ((d->flags & NFT_SET_OBJECT) != 0) {
    return EINVAL;
  }
  return 0;
}

Errno ParseSetTimes(const AttributeTable& attributes, SetDescription* d) {
  if (attributes[NFTA_SET_TIMEOUT]) {
    if ((d->flags & NFT_SET_TIMEOUT) == 0) return EINVAL;
    if ((d->flags & NFT_SET_ANONYMOUS) != 0) return EOPNOTSUPP;
    const Errno error =
        ParseMilliseconds(attributes[NFTA_SET_TIMEOUT], &d->timeout_ms);
    if (error != 0) return error;
  }
  if (attributes[NFTA_SET_GC_INTERVAL]) {
    if ((d->flags & NFT_SET_TIMEOUT) == 0) return EINVAL;
    if ((d->flags & NFT_SET_ANONYMOUS) != 0) return EOPNOTSUPP;
    d->gc_interval = attributes[NFTA_SET_GC_INTERVAL].Be32();
  }
  return 0;
}

// nft_set_desc_concat().
Errno ParseConcat(const Attribute& concat, SetDescription* d) {
  std::span<const uint8_t> rest = concat.payload();
  Attribute nested;
  while (NextAttribute(&rest, &nested)) {
    if (nested.type() != NFTA_LIST_ELEM) return EINVAL;
    if (d->field_sizes.size() >= kMaxFields) return E2BIG;
    AttributeTable field;
    const Errno error =
        ParseAttributes(nested.payload(), kSetFieldPolicy, &field);
    if (error != 0) return error;
    if (!field[NFTA_SET_FIELD_LEN]) return EINVAL;
    const uint32_t size = field[NFTA_SET_FIELD_LEN].Be32();
    if (size == 0 || size > UINT8_MAX) return EINVAL;
    d->field_sizes.push_back(static_cast<uint8_t>(size));
  }
  uint32_t total = 0;
  for (const uint8_t size : d->field_sizes) total += (size + 3u) & ~3u;
  return total != d->key_size ? EINVAL : 0;
}

Errno ParseSetDesc(const AttributeTable& attributes, SetDescription* d) {
  const bool concat = (d->flags & NFT_SET_CONCAT) != 0;
  if (!attributes[NFTA_SET_DESC]) return concat ? EINVAL : 0;
  AttributeTable desc;
  Errno error = ParseAttributes(attributes[NFTA_SET_DESC].payload(),
                                kSetDescPolicy, &desc);
  if (error != 0) return error;
  if (desc[NFTA_SET_DESC_SIZE]) d->size = desc[NFTA_SET_DESC_SIZE].Be32();
  if (desc[NFTA_SET_DESC_CONCAT]) {
    error = ParseConcat(desc[NFTA_SET_DESC_CONCAT], d);
    if (error != 0) return error;
  }
  return (d->field_sizes.size() > 1) != concat ? EINVAL : 0;
}

Errno ParseSet(const AttributeTable& attributes, SetDescription* d) {
  if (!attributes[NFTA_SET_TABLE] || !attributes[NFTA_SET_NAME] ||
      !attributes[NFTA_SET_KEY_LEN] || !attributes[NFTA_SET_ID]) {
    return EINVAL;
  }
  if (attributes[NFTA_SET_KEY_TYPE]) {
    d->key_type = attributes[NFTA_SET_KEY_TYPE].Be32();
    if ((d->key_type & NFT_DATA_RESERVED_MASK) == NFT_DATA_RESERVED_MASK) {
      return EINVAL;
    }
  }
  d->key_size = attributes[NFTA_SET_KEY_LEN].Be32();
  if (d->key_size == 0 || d->key_size > kMaxData) return EINVAL;
  Errno error = ParseSetFlags(attributes, &d->flags);
  if (error == 0) error = ParseSetData(attributes, d);
  if (error == 0) error = ParseSetTimes(attributes, d);
  if (error != 0) return error;
  d->policy = NFT_SET_POL_PERFORMANCE;
  if (attributes[NFTA_SET_POLICY]) {
    d->policy = attributes[NFTA_SET_POLICY].Be32();
    if (d->policy != NFT_SET_POL_PERFORMANCE &&
        d->policy != NFT_SET_POL_MEMORY) {
      return EOPNOTSUPP;
    }
  }
  error = ParseSetDesc(attributes, d);
  d->has_expression =
      attributes[NFTA_SET_EXPR] || attributes[NFTA_SET_EXPRESSIONS];
  return error;
}

// nft_pipapo_init(): what a concatenation of ranges may consist of.
Errno CheckFields(const SetDescription& d, SetShape shape) {
  if (shape != SetShape::kConcat) return 0;
  constexpr uint8_t kMaxFieldBytes = 16;
  for (const uint8_t size : d.field_sizes) {
    if (size > kMaxFieldBytes) return EINVAL;
  }
  return 0;
}

}  // namespace

// ---- lookups ----

Set* ControlPlane::FindSetByName(const Table* table,
                                 std::string_view name) const {
  const auto [begin, end] = table->sets_by_name.equal_range(name);
  for (auto at = begin; at != end; ++at) {
    if (at->second->active.next) return at->second;
  }
  return nullptr;
}

Errno ControlPlane::ChooseSetName(Table* table, const std::string& pattern,
                                  std::string* name) const {
  *name = pattern;
  const size_t percent = pattern.find('%');
  if (percent != std::string::npos) {
    constexpr size_t kMaxAnonymousName = 16;  // NFT_SET_MAX_ANONLEN
    if (pattern.compare(percent, 2, "%d") != 0 ||
        pattern.find('%', percent + 2) != std::string::npos ||
        pattern.size() >= kMaxAnonymousName) {
      return EINVAL;
    }
    const std::string head = pattern.substr(0, percent);
    const std::string tail = pattern.substr(percent + 2);
    // Anonymous sets have one pattern in practice, so the hint holds for it.
    const bool usual = pattern == "__set%d";
    size_t number = usual ? table->lowest_set_number : 0;
    do {
      *name = head + std::to_string(number++) + tail;
    } while (FindSetByName(table, *name) != nullptr);
    if (usual) table->lowest_set_number = number - 1;
    return 0;
  }
  return FindSetByName(table, *name) != nullptr ? ENFILE : 0;
}

Set* ControlPlane::FindSet(const Table* table, std::string_view name,
                           const Attribute& id) const {
  if (Set* set = FindSetByName(table, name)) return set;
  if (!id) return nullptr;
  const uint32_t number = id.Be32();
  // The one wanted is most likely the newest.
  for (auto at = changes_.rbegin(); at != changes_.rend(); ++at) {
    if (at->kind == ChangeKind::kNewSet && at->table == table &&
        at->id == number && at->set->active.next) {
      return at->set;
    }
  }
  return nullptr;
}

Object* ControlPlane::FindObject(const Table* table, std::string_view name,
                                 uint32_t type) const {
  for (const auto& object : table->objects) {
    if (object->active.next && static_cast<uint32_t>(object->type) == type &&
        object->name == name) {
      return object.get();
    }
  }
  return nullptr;
}

// ---- binding ----

Errno ControlPlane::BindSet(DecodeContext* context, Set* set, bool map,
                            const void* owner) {
  if (!set->bindings.empty() && set->anonymous()) return EBUSY;
  if (map) {
    for (Element* element : set->Walk()) {
      if (!element->active.next) continue;
      // What the elements put into the register must fit it.
      DecodeContext scratch = *context;
      const Errno error = CheckStore(
          &scratch, set->is_verdict_map() ? 0 : kFirstDataRegister,
          set->is_verdict_map() ? DataType::kVerdict : DataType::kValue,
          set->d.data_size);
      if (error != 0) return error;
    }
  }
  ++set->use;
  set->bindings.push_back({owner, context->chain, map});
  return 0;
}

void ControlPlane::ActivateSet(Set* set) {
  if (set->anonymous()) {
    ActivateMap(set);
    set->active = {true, true};
  }
  ++set->use;
}

void ControlPlane::DeactivateSet(Set* set, const void* owner, Phase phase) {
  const auto unbind = [set, owner] {
    std::erase_if(set->bindings, [owner](const SetBinding& binding) {
      return binding.owner == owner;
    });
  };
  switch (phase) {
    case Phase::kPrepareError:
      --set->use;
      unbind();
      if (set->anonymous()) {
        set->active.next = false;
        set->table->lowest_set_number = 0;
      }
      return;
    case Phase::kPrepare:
      if (set->anonymous()) {
        DeactivateMap(set);
        set->active.next = false;
        set->table->lowest_set_number = 0;
      }
      --set->use;
      return;
    case Phase::kAbort:
      if (set->anonymous()) DeactivateMap(set);
      --set->use;
      break;
    case Phase::kCommit:
      break;
  }
  unbind();
  if (set->bindings.empty() && set->anonymous()) set->dead = true;
}

void ControlPlane::DeactivateMap(Set* set) {
  if ((set->d.flags & (NFT_SET_MAP | NFT_SET_OBJECT)) == 0) return;
  for (Element* element : set->Walk()) {
    if (!element->active.next) continue;
    element->active.next = false;
    ReleaseElement(*set, element);
  }
}

void ControlPlane::ActivateMap(Set* set) {
  if ((set->d.flags & (NFT_SET_MAP | NFT_SET_OBJECT)) == 0) return;
  for (Element* element : set->Walk()) {
    if (element->active.next) continue;
    element->active.next = true;
    HoldElement(*set, element);
  }
}

void ControlPlane::HoldElement(const Set& set, Element* element) {
  if (set.is_verdict_map() && element->has_data) HoldVerdict(element->verdict);
  if (element->object != nullptr) ++element->object->use;
}

void ControlPlane::ReleaseElement(const Set& set, Element* element) {
  if (set.is_verdict_map() && element->has_data) {
    ReleaseVerdict(element->verdict);
  }
  if (element->object != nullptr) --element->object->use;
}

void ControlPlane::DestroyElement(std::unique_ptr<Element> element) {
  DestroyCode(element->instructions(), element->code.size() * sizeof(uint64_t));
}

// ---- sets ----

Errno ControlPlane::DecodeExpressionBlocks(
    DecodeContext* context, const Attribute& one, const Attribute& many,
    size_t limit, std::vector<std::vector<uint64_t>>* blocks) {
  Errno error = 0;
  if (one) {
    std::vector<uint64_t> block;
    error = DecodeStateful(context, one.payload(), &block);
    if (error == 0) blocks->push_back(std::move(block));
    return error;
  }
  if (!many) return 0;
  std::span<const uint8_t> rest = many.payload();
  Attribute nested;
  while (error == 0 && NextAttribute(&rest, &nested)) {
    if (blocks->size() == limit) {
      error = E2BIG;
    } else if (nested.type() != NFTA_LIST_ELEM) {
      error = EINVAL;
    } else {
      std::vector<uint64_t> block;
      error = DecodeStateful(context, nested.payload(), &block);
      if (error == 0) blocks->push_back(std::move(block));
    }
  }
  if (error != 0) {
    for (auto& block : *blocks) {
      DestroyExpression(this, reinterpret_cast<uint8_t*>(block.data()));
    }
    blocks->clear();
  }
  return error;
}

Errno ControlPlane::NewSet(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  SetDescription description;
  Errno error = ParseSet(attributes, &description);
  if (error != 0) return error;
  Table* table =
      FindTable(attributes[NFTA_SET_TABLE], context->family(), &error);
  if (table == nullptr) return error;
  const std::string name(attributes[NFTA_SET_NAME].Text());
  if (Set* set = FindSetByName(table, name)) {
    return UpdateSet(context, table, set, description);
  }
  if (!context->has_flag(NLM_F_CREATE)) return ENOENT;
  SetShape shape{};
  if (!Set::ChooseShape(description, &shape)) return EOPNOTSUPP;
  std::string chosen;
  error = ChooseSetName(table, name, &chosen);
  if (error == 0) error = CheckFields(description, shape);
  if (error != 0) return error;
  if (attributes[NFTA_SET_EXPRESSIONS] && !attributes[NFTA_SET_EXPR] &&
      (description.flags & NFT_SET_EXPR) == 0) {
    return EINVAL;
  }
  DecodeContext decode;
  decode.control = this;
  decode.family = context->family();
  decode.table = table;
  std::vector<std::vector<uint64_t>> blocks;
  error = DecodeExpressionBlocks(&decode, attributes[NFTA_SET_EXPR],
                                 attributes[NFTA_SET_EXPRESSIONS],
                                 kMaxSetExpressions, &blocks);
  if (error != 0) return error;
  auto set = std::make_unique<Set>(table, std::move(description), shape);
  set->name = std::move(chosen);
  set->expressions = std::move(blocks);
  if (attributes[NFTA_SET_USERDATA]) {
    const auto bytes = attributes[NFTA_SET_USERDATA].payload();
    set->user_data.assign(bytes.begin(), bytes.end());
  }
  set->handle = table->NewHandle();
  ++table->use;
  Change& change = Log(ChangeKind::kNewSet, table);
  change.set = set.get();
  change.id = attributes[NFTA_SET_ID].Be32();
  table->sets_by_name.emplace(set->name, set.get());
  table->sets.push_back(std::move(set));
  return 0;
}

Errno ControlPlane::UpdateSet(MessageContext* context, Table* table, Set* set,
                              const SetDescription& description) {
  const AttributeTable& attributes = context->attributes;
  if (context->has_flag(NLM_F_EXCL)) return EEXIST;
  if (context->has_flag(NLM_F_REPLACE)) return EOPNOTSUPP;
  if (set->anonymous()) return EOPNOTSUPP;
  DecodeContext decode;
  decode.control = this;
  decode.family = context->family();
  decode.table = table;
  std::vector<std::vector<uint64_t>> blocks;
  Errno error = DecodeExpressionBlocks(&decode, attributes[NFTA_SET_EXPR],
                                       attributes[NFTA_SET_EXPRESSIONS],
                                       kMaxSetExpressions, &blocks);
  if (error != 0) return error;
  const auto same_code = [](const std::vector<uint64_t>& a,
                            const std::vector<uint64_t>& b) {
    return reinterpret_cast<const Instruction*>(a.data())->opcode ==
           reinterpret_cast<const Instruction*>(b.data())->opcode;
  };
  const SetDescription& d = set->d;
  const bool same = d.key_type == description.key_type &&
                    d.data_type == description.data_type &&
                    d.flags == description.flags &&
                    d.key_size == description.key_size &&
                    d.data_size == description.data_size &&
                    d.field_sizes == description.field_sizes &&
                    std::equal(set->expressions.begin(), set->expressions.end(),
                               blocks.begin(), blocks.end(), same_code);
  for (auto& block : blocks) {
    DestroyExpression(this, reinterpret_cast<uint8_t*>(block.data()));
  }
  if (!same) return EEXIST;
  Change& change = Log(ChangeKind::kUpdateSet, table);
  change.set = set;
  change.timeout_ms = description.timeout_ms;
  change.gc_interval = description.gc_interval;
  change.number = description.size;
  return 0;
}

void ControlPlane::DeleteSetNow(Table* table, Set* set) {
  Change& change = Log(ChangeKind::kDeleteSet, table);
  change.set = set;
  DeactivateMap(set);
  set->active.next = false;
  table->lowest_set_number = 0;
  --table->use;
}

Errno ControlPlane::DeleteSets(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  if (context->family() == NFPROTO_UNSPEC) return EAFNOSUPPORT;
  Errno error = 0;
  Table* table =
      FindTable(attributes[NFTA_SET_TABLE], context->family(), &error);
  if (table == nullptr) return error;
  Set* set = nullptr;
  if (attributes[NFTA_SET_HANDLE]) {
    const uint64_t handle = attributes[NFTA_SET_HANDLE].Be64();
    for (const auto& candidate : table->sets) {
      if (candidate->handle == handle && candidate->active.next) {
        set = candidate.get();
        break;
      }
    }
  } else if (attributes[NFTA_SET_NAME]) {
    set = FindSetByName(table, attributes[NFTA_SET_NAME].Text());
  } else {
    return EINVAL;
  }
  if (set == nullptr) return context->type() == kDestroySet ? 0 : ENOENT;
  if (set->use > 0 ||
      (context->has_flag(NLM_F_NONREC) && set->elements_count > 0)) {
    return EBUSY;
  }
  DeleteSetNow(table, set);
  return 0;
}

// ---- elements ----

namespace {

Errno ParseElementFlags(const Set& set, const Attribute& attribute,
                        Element* element) {
  if (!attribute) return 0;
  element->flags = attribute.Be32();
  constexpr uint32_t kEnd = NFT_SET_ELEM_INTERVAL_END;
  if ((element->flags & ~(kEnd | kCatchall)) != 0) return EOPNOTSUPP;
  if ((set.d.flags & NFT_SET_INTERVAL) == 0 && (element->flags & kEnd) != 0) {
    return EINVAL;
  }
  if (element->flags == (kEnd | kCatchall)) return EINVAL;
  element->interval_end = (element->flags & kEnd) != 0;
  element->catchall = (element->flags & kCatchall) != 0;
  return 0;
}

// nft_setelem_valid_key_end().
bool KeyEndAllowed(const Set& set, const Attribute& key_end,
                   const Element& element) {
  if (HasAll(set.d.flags, NFT_SET_CONCAT | NFT_SET_INTERVAL)) {
    return !element.interval_end && !(key_end && element.catchall);
  }
  return !key_end;
}

Errno ParseKey(const Set& set, const Attribute& nested, SetValue* key) {
  uint32_t length = set.d.key_size;
  return ParseValue(nested,
                    {reinterpret_cast<uint8_t*>(key->data()), sizeof(SetValue)},
                    &length);
}

// Presence of attributes that need or exclude each other.
Errno CheckElementShape(const Set& set, const AttributeTable& attributes,
                        const Element& element) {
  const bool key{attributes[NFTA_SET_ELEM_KEY]};
  const bool data{attributes[NFTA_SET_ELEM_DATA]};
  const bool object{attributes[NFTA_SET_ELEM_OBJREF]};
  if (element.catchall == key) return EINVAL;
  if (set.is_map()) {
    if (!data && !element.interval_end) return EINVAL;
  } else if (data) {
    return EINVAL;
  }
  if ((set.d.flags & NFT_SET_OBJECT) != 0) {
    if (!object && !element.interval_end) return EINVAL;
  } else if (object) {
    return EINVAL;
  }
  if (!KeyEndAllowed(set, attributes[NFTA_SET_ELEM_KEY_END], element)) {
    return EINVAL;
  }
  if (element.interval_end &&
      (data || object || attributes[NFTA_SET_ELEM_TIMEOUT] ||
       attributes[NFTA_SET_ELEM_EXPIRATION] ||
       attributes[NFTA_SET_ELEM_USERDATA] || attributes[NFTA_SET_ELEM_EXPR] ||
       attributes[NFTA_SET_ELEM_KEY_END] ||
       attributes[NFTA_SET_ELEM_EXPRESSIONS])) {
    return EINVAL;
  }
  return 0;
}

Errno ParseElementTimes(const Set& set, const AttributeTable& attributes,
                        Element* element, uint64_t* expiration_ms) {
  const bool timed = (set.d.flags & NFT_SET_TIMEOUT) != 0;
  element->has_timeout = timed;
  if (attributes[NFTA_SET_ELEM_TIMEOUT]) {
    if (!timed) return EINVAL;
    const Errno error = ParseMilliseconds(attributes[NFTA_SET_ELEM_TIMEOUT],
                                          &element->timeout_ms);
    if (error != 0) return error;
  } else if (timed && !element->interval_end) {
    element->timeout_ms = set.d.timeout_ms;
  }
  if (attributes[NFTA_SET_ELEM_EXPIRATION]) {
    if (!timed) return EINVAL;
    if (element->timeout_ms == 0) return EOPNOTSUPP;
    const Errno error =
        ParseMilliseconds(attributes[NFTA_SET_ELEM_EXPIRATION], expiration_ms);
    if (error != 0) return error;
    if (*expiration_ms > element->timeout_ms) return ERANGE;
  }
  return 0;
}

Opcode OpcodeOf(const std::vector<uint64_t>& block) {
  return reinterpret_cast<const Instruction*>(block.data())->opcode;
}

}  // namespace

Errno ControlPlane::NewElements(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  if (!attributes[NFTA_SET_ELEM_LIST_ELEMENTS]) return EINVAL;
  Errno error = 0;
  Table* table = FindTable(attributes[NFTA_SET_ELEM_LIST_TABLE],
                           context->family(), &error);
  if (table == nullptr) return error;
  // A set may be named by its number in the batch alone, but not without any
  // name attribute.
  if (!attributes[NFTA_SET_ELEM_LIST_SET] &&
      !attributes[NFTA_SET_ELEM_LIST_SET_ID]) {
    return EINVAL;
  }
  Set* set = FindSet(table,
                     attributes[NFTA_SET_ELEM_LIST_SET]
                         ? attributes[NFTA_SET_ELEM_LIST_SET].Text()
                         : std::string_view(),
                     attributes[NFTA_SET_ELEM_LIST_SET_ID]);
  if (set == nullptr) return ENOENT;
  if (!set->bindings.empty() &&
      (set->d.flags & (NFT_SET_CONSTANT | NFT_SET_ANONYMOUS)) != 0) {
    return EBUSY;
  }
  std::span<const uint8_t> rest =
      attributes[NFTA_SET_ELEM_LIST_ELEMENTS].payload();
  Attribute nested;
  while (NextAttribute(&rest, &nested)) {
    error = AddElement(context, table, set, nested.payload());
    if (error != 0) return error;
  }
  return ValidateAfterChange(table);
}

Errno ControlPlane::AddElement(MessageContext* context, Table* table, Set* set,
                               std::span<const uint8_t> nested) {
  AttributeTable attributes;
  Errno error = ParseAttributes(nested, kElementPolicy, &attributes);
  if (error != 0) return error;
  auto element = std::make_unique<Element>();
  error =
      ParseElementFlags(*set, attributes[NFTA_SET_ELEM_FLAGS], element.get());
  if (error == 0) error = CheckElementShape(*set, attributes, *element);
  if (error != 0) return error;
  uint64_t expiration_ms = 0;
  error = ParseElementTimes(*set, attributes, element.get(), &expiration_ms);
  if (error != 0) return error;

  DecodeContext decode;
  decode.control = this;
  decode.family = context->family();
  decode.table = table;
  // Expressions: the element's own, checked against the set's, or copies of
  // the set's.
  std::vector<std::vector<uint64_t>> blocks;
  const bool one{attributes[NFTA_SET_ELEM_EXPR]};
  const bool many{attributes[NFTA_SET_ELEM_EXPRESSIONS]};
  if (one && set->expressions.size() > 1) return EOPNOTSUPP;
  const size_t limit =
      set->expressions.empty() ? kMaxSetExpressions : set->expressions.size();
  error = DecodeExpressionBlocks(&decode, attributes[NFTA_SET_ELEM_EXPR],
                                 attributes[NFTA_SET_ELEM_EXPRESSIONS], limit,
                                 &blocks);
  if (error != 0) return error;
  const auto drop_blocks = [this, &blocks] {
    for (auto& block : blocks) {
      DestroyExpression(this, reinterpret_cast<uint8_t*>(block.data()));
    }
  };
  if ((one || many) && !set->expressions.empty()) {
    bool same = blocks.size() == set->expressions.size();
    for (size_t i = 0; same && i < blocks.size(); ++i) {
      same = OpcodeOf(blocks[i]) == OpcodeOf(set->expressions[i]);
    }
    if (!same) {
      drop_blocks();
      return EOPNOTSUPP;
    }
  }
  if (!one && !many && !element->interval_end) {
    for (const auto& block : set->expressions) {
      blocks.push_back(block);
      CloneExpression(this, reinterpret_cast<uint8_t*>(blocks.back().data()));
    }
  }
  element->expressions_count = static_cast<uint8_t>(blocks.size());
  for (const auto& block : blocks) {
    element->code.insert(element->code.end(), block.begin(), block.end());
  }
  blocks.clear();
  const auto give_up = [this, &element](Errno reason) {
    DestroyElement(std::move(element));
    return reason;
  };

  if (attributes[NFTA_SET_ELEM_KEY]) {
    error = ParseKey(*set, attributes[NFTA_SET_ELEM_KEY], &element->key);
    if (error != 0) return give_up(error);
  }
  if (attributes[NFTA_SET_ELEM_KEY_END]) {
    error =
        ParseKey(*set, attributes[NFTA_SET_ELEM_KEY_END], &element->key_end);
    if (error != 0) return give_up(error);
    element->has_key_end = true;
  }
  if (attributes[NFTA_SET_ELEM_OBJREF]) {
    element->object = FindObject(table, attributes[NFTA_SET_ELEM_OBJREF].Text(),
                                 set->d.object_type);
    if (element->object == nullptr) return give_up(ENOENT);
  }
  if (attributes[NFTA_SET_ELEM_DATA]) {
    if (set->is_verdict_map()) {
      error = ParseVerdict(&decode, attributes[NFTA_SET_ELEM_DATA],
                           &element->verdict);
    } else {
      uint32_t length = set->d.data_size;
      error = ParseValue(
          attributes[NFTA_SET_ELEM_DATA],
          {reinterpret_cast<uint8_t*>(element->data.data()), sizeof(SetValue)},
          &length);
    }
    if (error != 0) return give_up(error);
    element->has_data = true;
    const bool used_as_map =
        std::any_of(set->bindings.begin(), set->bindings.end(),
                    [](const SetBinding& binding) { return binding.map; });
    if (used_as_map && VerdictChain(element->verdict) != nullptr &&
        set->is_verdict_map() && table->validation == Validation::kSkip) {
      table->validation = Validation::kNeed;
    }
  }
  if (element->object != nullptr) ++element->object->use;
  if (attributes[NFTA_SET_ELEM_USERDATA]) {
    const auto bytes = attributes[NFTA_SET_ELEM_USERDATA].payload();
    element->user_data.assign(bytes.begin(), bytes.end());
  }
  element->expires_ms =
      now_ms_ + (expiration_ms != 0 ? expiration_ms : element->timeout_ms);

  // An interval takes two elements of the size the user gave.
  const bool pairs = (set->d.flags & NFT_SET_INTERVAL) != 0 &&
                     (set->d.flags & NFT_SET_CONCAT) == 0;
  const uint64_t limit_elements =
      set->d.size == 0
          ? UINT64_MAX
          : uint64_t{set->d.size} * (pairs ? 2 : 1) + set->deactivated_count;
  bool full = false;
  if (!element->catchall) {
    full = ++set->elements_count > limit_elements;
  }
  Element* added = element.get();
  const bool counted = !element->catchall;
  Element* existing = nullptr;
  error = set->Insert(&element, &existing, now_ms_);
  if (error == 0) {
    Change& change = Log(ChangeKind::kNewElement, table);
    change.set = set;
    change.element = added;
    return full ? ENFILE : 0;
  }
  // Not inserted: take everything back, and tell a clash from a repetition.
  if (counted) --set->elements_count;
  ReleaseElement(*set, element.get());
  Errno answer = error;
  if (error == EEXIST) {
    const bool same_data =
        element->has_data == existing->has_data &&
        (!element->has_data ||
         (set->is_verdict_map()
              ? std::memcmp(&element->verdict, &existing->verdict,
                            sizeof(Data)) == 0
              : std::memcmp(element->data.data(), existing->data.data(),
                            set->d.data_size) == 0));
    const bool same_object = element->object == existing->object;
    if (same_data && same_object && !context->has_flag(NLM_F_EXCL)) {
      answer = 0;
      const bool new_timeout = element->timeout_ms != existing->timeout_ms;
      if (existing->has_timeout && (new_timeout || expiration_ms != 0)) {
        Change& change = Log(ChangeKind::kUpdateElement, table);
        change.set = set;
        change.element = existing;
        change.timeout_ms = element->timeout_ms;
        change.expires_ms =
            expiration_ms != 0 ? expiration_ms : element->timeout_ms;
      }
    }
  } else if (error == ENOTEMPTY) {
    answer = EEXIST;
  } else if (error == ECANCELED) {
    answer = 0;
  }
  DestroyElement(std::move(element));
  return answer;
}

Errno ControlPlane::DeleteElements(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  Errno error = 0;
  Table* table = FindTable(attributes[NFTA_SET_ELEM_LIST_TABLE],
                           context->family(), &error);
  if (table == nullptr) return error;
  if (!attributes[NFTA_SET_ELEM_LIST_SET]) return EINVAL;
  Set* set = FindSetByName(table, attributes[NFTA_SET_ELEM_LIST_SET].Text());
  if (set == nullptr) return ENOENT;
  if (set->anonymous()) return EOPNOTSUPP;
  if (!set->bindings.empty() && (set->d.flags & NFT_SET_CONSTANT) != 0) {
    return EBUSY;
  }
  known_invalid_ = 0;
  const auto remove = [this, table, set](Element* element) {
    element->active.next = false;
    if (!element->catchall) ++set->deactivated_count;
    ReleaseElement(*set, element);
    Change& change = Log(ChangeKind::kDeleteElement, table);
    change.set = set;
    change.element = element;
  };
  if (!attributes[NFTA_SET_ELEM_LIST_ELEMENTS]) {
    for (Element* element : set->Walk()) {
      if (element->active.next) remove(element);
    }
    return 0;
  }
  std::span<const uint8_t> rest =
      attributes[NFTA_SET_ELEM_LIST_ELEMENTS].payload();
  Attribute nested;
  while (NextAttribute(&rest, &nested)) {
    error = DeleteElement(context, table, set, nested.payload());
    if (error == ENOENT && context->type() == kDestroySetElement) continue;
    if (error != 0) return error;
  }
  return 0;
}

Errno ControlPlane::DeleteElement(MessageContext*, Table* table, Set* set,
                                  std::span<const uint8_t> nested) {
  AttributeTable attributes;
  Errno error = ParseAttributes(nested, kElementPolicy, &attributes);
  if (error != 0) return error;
  Element wanted;
  error = ParseElementFlags(*set, attributes[NFTA_SET_ELEM_FLAGS], &wanted);
  if (error != 0) return error;
  if (!attributes[NFTA_SET_ELEM_KEY] && !wanted.catchall) return EINVAL;
  if (!KeyEndAllowed(*set, attributes[NFTA_SET_ELEM_KEY_END], wanted)) {
    return EINVAL;
  }
  if (attributes[NFTA_SET_ELEM_KEY]) {
    error = ParseKey(*set, attributes[NFTA_SET_ELEM_KEY], &wanted.key);
    if (error != 0) return error;
  }
  if (attributes[NFTA_SET_ELEM_KEY_END]) {
    error = ParseKey(*set, attributes[NFTA_SET_ELEM_KEY_END], &wanted.key_end);
    if (error != 0) return error;
  }
  Element* element = set->FindForDelete(wanted, now_ms_);
  if (element == nullptr) return ENOENT;
  element->active.next = false;
  if (!element->catchall) ++set->deactivated_count;
  ReleaseElement(*set, element);
  Change& change = Log(ChangeKind::kDeleteElement, table);
  change.set = set;
  change.element = element;
  return 0;
}

// ---- what packets do to sets ----

Element* ControlPlane::AddDynamicElement(const DynsetCode& code,
                                         const Registers& registers,
                                         uint64_t now_ms) {
  Set& set = *code.set;
  if (set.elements_count >= set.d.size) return nullptr;
  auto element = std::make_unique<Element>();
  std::memcpy(element->key.data(), &registers.words[code.sreg_key],
              set.d.key_size);
  if (set.is_map()) {
    std::memcpy(element->data.data(), &registers.words[code.sreg_data],
                set.d.data_size);
    element->has_data = true;
  }
  element->has_timeout = (set.d.flags & NFT_SET_TIMEOUT) != 0 &&
                         (code.timeout_ms != 0 || set.d.timeout_ms != 0);
  element->timeout_ms =
      code.timeout_ms != 0 ? code.timeout_ms : set.d.timeout_ms;
  element->expires_ms = now_ms + element->timeout_ms;
  element->expressions_count = code.expressions_count;
  for (size_t i = 0; i < code.expressions_count; ++i) {
    const auto* block = reinterpret_cast<const uint64_t*>(code.expressions[i]);
    const size_t words =
        reinterpret_cast<const Instruction*>(block)->size / sizeof(uint64_t);
    element->code.insert(element->code.end(), block, block + words);
  }
  ForEachInstruction(element->instructions(),
                     element->code.size() * sizeof(uint64_t),
                     [this](uint8_t* at) { CloneExpression(this, at); });
  return set.AddDynamic(std::move(element));
}

void ControlPlane::DropElement(Set* set, Element* element) {
  --set->elements_count;
  DestroyElement(set->Remove(element));
}

uint32_t ControlPlane::NextRandom() {
  // xorshift32.
  random_ ^= random_ << 13;
  random_ ^= random_ >> 17;
  random_ ^= random_ << 5;
  return random_;
}

// ---- objects ----

Errno ControlPlane::MakeObject(DecodeContext* context, ObjectType type,
                               const Attribute& data,
                               std::vector<uint64_t>* code) {
  // An object is the instruction of the same name with the object's data.
  struct Kind {
    const AttributePolicy* policy;
    Errno (*select)(const DecodeContext&, const AttributeTable&, Selected*);
  };
  Kind kind{};
  switch (type) {
    case ObjectType::kCounter:
      kind = {&kCounterPolicy, SelectCounter};
      break;
    case ObjectType::kQuota:
      kind = {&kQuotaPolicy, SelectQuota};
      break;
    case ObjectType::kLimit:
      kind = {&kLimitPolicy, SelectLimit};
      break;
    case ObjectType::kConnlimit:
      kind = {&kConnlimitPolicy, SelectConnlimit};
      break;
    default:
      return ENOENT;
  }
  ParsedExpression parsed;
  Errno error =
      ParseAttributes(data.payload(), *kind.policy, &parsed.attributes);
  if (error != 0) return error;
  error = kind.select(*context, parsed.attributes, &parsed.selected);
  if (error != 0) return error;
  parsed.selected.size = SizeOf(parsed.selected.opcode);
  code->assign(parsed.selected.size / sizeof(uint64_t), 0);
  return InitExpression(context, parsed,
                        reinterpret_cast<uint8_t*>(code->data()));
}

Errno ControlPlane::NewObject(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  if (!attributes[NFTA_OBJ_TYPE] || !attributes[NFTA_OBJ_NAME] ||
      !attributes[NFTA_OBJ_DATA]) {
    return EINVAL;
  }
  Errno error = 0;
  Table* table =
      FindTable(attributes[NFTA_OBJ_TABLE], context->family(), &error);
  if (table == nullptr) return error;
  const uint32_t type = attributes[NFTA_OBJ_TYPE].Be32();
  Object* object = FindObject(table, attributes[NFTA_OBJ_NAME].Text(), type);
  DecodeContext decode;
  decode.control = this;
  decode.family = context->family();
  decode.table = table;
  if (object != nullptr) {
    if (context->has_flag(NLM_F_EXCL)) return EEXIST;
    if (context->has_flag(NLM_F_REPLACE)) return EOPNOTSUPP;
    if (object->type != ObjectType::kQuota) return 0;
    auto replacement = std::make_unique<Object>();
    error = MakeObject(&decode, object->type, attributes[NFTA_OBJ_DATA],
                       &replacement->code);
    if (error != 0) return error;
    Change& change = Log(ChangeKind::kUpdateObject, table);
    change.object = object;
    change.new_object = std::move(replacement);
    return 0;
  }
  auto created = std::make_unique<Object>();
  created->type = static_cast<ObjectType>(type);
  error = MakeObject(&decode, created->type, attributes[NFTA_OBJ_DATA],
                     &created->code);
  if (error != 0) return error;
  created->table = table;
  created->handle = table->NewHandle();
  created->name = attributes[NFTA_OBJ_NAME].Text();
  if (attributes[NFTA_OBJ_USERDATA]) {
    const auto bytes = attributes[NFTA_OBJ_USERDATA].payload();
    created->user_data.assign(bytes.begin(), bytes.end());
  }
  ++table->use;
  Change& change = Log(ChangeKind::kNewObject, table);
  change.object = created.get();
  table->objects.push_back(std::move(created));
  return 0;
}

void ControlPlane::DeleteObjectNow(Table* table, Object* object) {
  Change& change = Log(ChangeKind::kDeleteObject, table);
  change.object = object;
  object->active.next = false;
  --table->use;
}

Errno ControlPlane::DeleteObjects(MessageContext* context) {
  const AttributeTable& attributes = context->attributes;
  if (!attributes[NFTA_OBJ_TYPE] ||
      (!attributes[NFTA_OBJ_NAME] && !attributes[NFTA_OBJ_HANDLE])) {
    return EINVAL;
  }
  Errno error = 0;
  Table* table =
      FindTable(attributes[NFTA_OBJ_TABLE], context->family(), &error);
  if (table == nullptr) return error;
  const uint32_t type = attributes[NFTA_OBJ_TYPE].Be32();
  Object* object = nullptr;
  if (attributes[NFTA_OBJ_HANDLE]) {
    const uint64_t handle = attributes[NFTA_OBJ_HANDLE].Be64();
    for (const auto& candidate : table->objects) {
      if (candidate->handle == handle && candidate->active.next &&
          static_cast<uint32_t>(candidate->type) == type) {
        object = candidate.get();
        break;
      }
    }
  } else {
    object = FindObject(table, attributes[NFTA_OBJ_NAME].Text(), type);
  }
  if (object == nullptr) return context->type() == kDestroyObject ? 0 : ENOENT;
  if (object->use > 0) return EBUSY;
  DeleteObjectNow(table, object);
  return 0;
}

}  // namespace nfarena::vm
