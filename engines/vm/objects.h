// What a ruleset of the machine consists of: tables, chains, rules, sets,
// stateful objects, as the control plane keeps them.
//
// Everything is in one of two generations: what packets see now, and what they
// will see after the commit of the batch being read.  A new object is active
// next only, a deleted one now only; commit and abort make both equal.  `use`
// counts follow the kernel's, because they are visible (dumps, EBUSY).
// Source: include/net/netfilter/nf_tables.h.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compat/model/ruleset.h"
#include "engines/vm/code.h"

namespace nfarena::vm {

struct Table;
struct Chain;

/// The two bits of a genmask.
struct Active {
  bool now = false;
  bool next = true;
};

/// One rule: this head, then `code_size` bytes of instructions, then
/// `user_size` bytes of user data, in one allocation.
struct Rule {
  Rule* previous = nullptr;
  Rule* following = nullptr;
  uint64_t handle = 0;
  uint16_t code_size = 0;
  uint16_t user_size = 0;
  Active active;

  uint8_t* code() { return reinterpret_cast<uint8_t*>(this + 1); }
  const uint8_t* code() const {
    return reinterpret_cast<const uint8_t*>(this + 1);
  }
  uint8_t* user_data() { return code() + code_size; }
  const uint8_t* user_data() const { return code() + code_size; }

  static Rule* Create(size_t code_size, size_t user_size);
  static void Destroy(Rule* rule);
};
static_assert(sizeof(Rule) % 8 == 0);

enum class ChainType : uint8_t { kFilter, kRoute, kNat };  // NFT_CHAIN_T_*

const char* ChainTypeName(ChainType type);

struct BaseChain {
  uint32_t hook = 0;
  int32_t priority = 0;
  ChainType type = ChainType::kFilter;
  uint32_t policy = 1;  // NF_DROP or NF_ACCEPT
  bool counted = false;
  Counters counters;
};

struct Chain : ChainCode {
  Table* table = nullptr;
  std::string name;
  uint64_t handle = 0;
  uint32_t flags = 0;
  uint32_t use = 0;
  Active active;
  std::optional<BaseChain> base;
  std::vector<uint8_t> user_data;
  bool dead = false;

  Rule* first = nullptr;
  Rule* last = nullptr;
  /// The newest rule of each handle (a replacing rule takes over the handle).
  std::unordered_map<uint64_t, Rule*> by_handle;

  /// Program memory; both generations share one blob unless the chain changed
  /// in the last commit.
  std::unique_ptr<uint64_t[]> blob;
  std::unique_ptr<uint64_t[]> previous_blob;
  uint64_t blob_bytes = 0;
  /// Set while a batch has a new or deleted rule here.
  bool changed = false;

  /// Position in Table::chains of the model: built-in chains in hook order,
  /// then user chains by name.
  uint32_t model_index = 0;

  // Marks of one validation walk.
  uint8_t seen_depth = 0;
  uint8_t seen_hooks[3] = {0, 0, 0};  // by ChainType

  void InsertAfter(Rule* rule, Rule* where);   // where == nullptr: first
  void InsertBefore(Rule* rule, Rule* where);  // where == nullptr: last
  void Unlink(Rule* rule);
};

enum class ObjectType : uint32_t {  // NFT_OBJECT_*
  kCounter = 1,
  kQuota = 2,
  kLimit = 4,
  kConnlimit = 5,
};

/// A stateful object: an instruction of its own kind, run by objref.
struct Object {
  Table* table = nullptr;
  std::string name;
  ObjectType type = ObjectType::kCounter;
  uint64_t handle = 0;
  uint32_t use = 0;
  Active active;
  std::vector<uint8_t> user_data;
  std::vector<uint64_t> code;  // one instruction, 8-aligned
  bool dead = false;

  uint8_t* instruction() { return reinterpret_cast<uint8_t*>(code.data()); }
  const uint8_t* instruction() const {
    return reinterpret_cast<const uint8_t*>(code.data());
  }
};

enum class Validation : uint8_t { kSkip, kNeed, kDo };

struct Table {
  std::string name;
  uint8_t family = 0;
  uint32_t flags = 0;
  uint64_t handle = 0;
  uint64_t handle_generator = 0;
  uint32_t use = 0;
  Active active;
  std::vector<uint8_t> user_data;
  Validation validation = Validation::kSkip;
  bool updated = false;  // flags changed in this batch
  bool dead = false;
  bool needs_sweep = false;
  bool chains_changed = false;

  std::vector<std::unique_ptr<Chain>> chains;
  std::vector<std::unique_ptr<Set>> sets;
  std::vector<std::unique_ptr<Object>> objects;
  std::unordered_multimap<std::string_view, Chain*> chains_by_name;
  std::unordered_multimap<std::string_view, Set*> sets_by_name;
  /// No anonymous set number below this one is free.
  size_t lowest_set_number = 0;

  Table();
  ~Table();
  uint64_t NewHandle() { return ++handle_generator; }
};

}  // namespace nfarena::vm
