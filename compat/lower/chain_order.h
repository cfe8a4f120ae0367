// The order that a table's chains must have before they are lowered, and have
// when they are raised: wire forms know a chain by its place.
#pragma once

#include <algorithm>

#include "compat/model/ruleset.h"

namespace nfarena {

/// Built-in chains first, in hook order and by their names, then user chains,
/// each name once and ascending.
inline bool ChainsInOrder(const Table& table) {
  const std::vector<Hook>& hooks = TableHooks(table.kind);
  if (table.chains.size() < hooks.size()) return false;
  const auto users =
      table.chains.begin() + static_cast<ptrdiff_t>(hooks.size());
  return std::equal(hooks.begin(), hooks.end(), table.chains.begin(),
                    [](Hook hook, const Chain& chain) {
                      return chain.hook == hook &&
                             chain.name == HookChainName(hook);
                    }) &&
         std::none_of(
             users, table.chains.end(),
             [](const Chain& chain) { return chain.hook.has_value(); }) &&
         std::adjacent_find(users, table.chains.end(),
                            [](const Chain& a, const Chain& b) {
                              return !(a.name < b.name);
                            }) == table.chains.end();
}

}  // namespace nfarena
