// The chains of a table that is being read, found by name in constant time.
//
// Chains declared by ':' lines are collected and put in their sorted places
// together: one by one, a table of many chains would be moved about for each
// of them.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "compat/model/ruleset.h"
#include "compat/syntax/rule_parser.h"

namespace nfarena {

class ChainIndex final : public ChainNames {
 public:
  /// The table must outlive the index, and be changed by it alone or with a
  /// call of Reindex() after.
  explicit ChainIndex(Table* table) : table_(table) { Reindex(); }

  bool IsChain(std::string_view name) const override;
  bool IsBuiltin(std::string_view name) const override;

  /// Adds a user chain; `name` is no chain yet.
  void Declare(std::string_view name);

  /// nullptr: no such chain.  Valid until the next call that changes chains.
  Chain* Find(std::string_view name) {
    // Nearly every line is for the chain of the line before.
    if (last_ != nullptr && last_->name == name && declared_.empty()) {
      return last_;
    }
    return FindSlowly(name);
  }

  /// Puts the declared chains in their places in the table.
  void Merge();
  void Reindex();

  Table& table() { return *table_; }

 private:
  struct Hash {
    using is_transparent = void;
    size_t operator()(std::string_view name) const {
      return std::hash<std::string_view>()(name);
    }
  };

  Chain* FindSlowly(std::string_view name);

  Table* table_;
  std::unordered_map<std::string, size_t, Hash, std::equal_to<>> index_;
  std::unordered_set<std::string, Hash, std::equal_to<>> declared_;
  Chain* last_ = nullptr;
};

}  // namespace nfarena
