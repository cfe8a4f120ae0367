#include "compat/syntax/chain_index.h"

#include <algorithm>

namespace nfarena {

bool ChainIndex::IsChain(std::string_view name) const {
  return index_.find(name) != index_.end() ||
         declared_.find(name) != declared_.end();
}

bool ChainIndex::IsBuiltin(std::string_view name) const {
  const auto it = index_.find(name);
  return it != index_.end() && table_->chains[it->second].hook.has_value();
}

void ChainIndex::Declare(std::string_view name) { declared_.emplace(name); }

Chain* ChainIndex::FindSlowly(std::string_view name) {
  Merge();
  const auto it = index_.find(name);
  if (it == index_.end()) return nullptr;
  return last_ = &table_->chains[it->second];
}

void ChainIndex::Merge() {
  if (declared_.empty()) return;
  std::vector<Chain>& chains = table_->chains;
  for (const std::string& name : declared_) {
    chains.push_back(Chain{.name = name});
  }
  const auto users = std::find_if(chains.begin(), chains.end(),
                                  [](const Chain& c) { return !c.hook; });
  std::sort(users, chains.end(),
            [](const Chain& a, const Chain& b) { return a.name < b.name; });
  declared_.clear();
  Reindex();
}

void ChainIndex::Reindex() {
  last_ = nullptr;
  index_.clear();
  for (size_t i = 0; i < table_->chains.size(); ++i) {
    index_.emplace(table_->chains[i].name, i);
  }
}

}  // namespace nfarena
