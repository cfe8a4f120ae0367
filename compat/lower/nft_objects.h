// Owners of libnftnl's objects.
#pragma once

#include <libnftnl/chain.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>

#include <memory>

namespace nfarena::nft {

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};

using OwnedTable = std::unique_ptr<nftnl_table, Deleter<nftnl_table_free>>;
using OwnedChain = std::unique_ptr<nftnl_chain, Deleter<nftnl_chain_free>>;
using OwnedRule = std::unique_ptr<nftnl_rule, Deleter<nftnl_rule_free>>;
using OwnedSet = std::unique_ptr<nftnl_set, Deleter<nftnl_set_free>>;
/// Of an expression that no rule has taken over yet.
using OwnedExpr = std::unique_ptr<nftnl_expr, Deleter<nftnl_expr_free>>;

}  // namespace nfarena::nft
