#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>

#include "compat/lower/nft_batch.h"
#include "compat/lower/nft_message.h"
#include "compat/lower/nft_raising.h"
#include "compat/lower/nft_records.h"

namespace nfarena {
namespace {

using nft::Message;

std::optional<Hook> HookOf(TableKind kind, const std::string& chain) {
  for (const Hook hook : TableHooks(kind)) {
    if (chain == HookChainName(hook)) return hook;
  }
  return std::nullopt;
}

bool IsOf(const Message& message, uint8_t type, Family family) {
  return message.nft_type() == type &&
         message.family == nft::FamilyNumber(family);
}

/// Puts chains and rules of a dump into a ruleset.
class DumpRaiser {
 public:
  DumpRaiser(Family family, const NftDump& dump)
      : family_(family), dump_(dump) {
    raised_.ruleset.family = family;
  }

  Result<NftRaised> Run() {
    RETURN_IF_ERROR(nft::ForEachMessage(
        dump_.elements, [this](const Message& message) -> Status {
          if (!IsOf(message, NFT_MSG_NEWSETELEM, family_)) return {};
          ASSIGN_OR_RETURN(const auto record, ReadElements(message));
          sets_.Add(record);
          return {};
        }));
    RETURN_IF_ERROR(nft::ForEachMessage(
        dump_.chains, [this](const Message& message) -> Status {
          if (!IsOf(message, NFT_MSG_NEWCHAIN, family_)) return {};
          ASSIGN_OR_RETURN(auto record, ReadChain(message));
          return AddChain(std::move(record));
        }));
    MakeTables();
    RETURN_IF_ERROR(nft::ForEachMessage(
        dump_.rules, [this](const Message& message) -> Status {
          if (!IsOf(message, NFT_MSG_NEWRULE, family_)) return {};
          ASSIGN_OR_RETURN(const auto record, ReadRule(message));
          return AddRule(record);
        }));
    return std::move(raised_);
  }

 private:
  struct ChainOf {
    Chain chain;
    uint64_t handle = 0;
  };

  Status AddChain(nft::ChainRecord record) {
    const auto kind = TableKindFromName(record.table);
    if (!kind) return {};
    const auto hook = HookOf(*kind, record.name);
    if (record.hook.has_value() != hook.has_value() ||
        (hook && *record.hook != static_cast<uint32_t>(*hook))) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("chain {} of table {} is bound to hooks in a way "
                              "iptables does not know",
                              record.name, record.table));
    }
    Chain chain;
    chain.name = record.name;
    chain.hook = hook;
    if (record.policy == NF_DROP) chain.policy = Policy::kDrop;
    chain.counters = record.counters.value_or(Counters{});
    found_[static_cast<size_t>(*kind)].push_back(
        {std::move(chain), record.handle});
    return {};
  }

  /// Built-in chains in hook order, then the others by name, as the model
  /// wants them.
  void MakeTables() {
    for (size_t t = 0; t < kTableKindCount; ++t) {
      if (found_[t].empty()) continue;
      Table table = EmptyTable(static_cast<TableKind>(t));
      std::vector<uint64_t>& handles = raised_.handles.chain[t];
      handles.assign(table.chains.size(), 0);
      std::ranges::stable_sort(found_[t], {}, [](const ChainOf& entry) {
        return std::string_view(entry.chain.name);
      });
      for (ChainOf& entry : found_[t]) {
        if (!entry.chain.hook) {
          table.chains.push_back(std::move(entry.chain));
          handles.push_back(entry.handle);
          continue;
        }
        for (size_t i = 0; i < table.chains.size(); ++i) {
          if (table.chains[i].hook != entry.chain.hook) continue;
          table.chains[i] = std::move(entry.chain);
          handles[i] = entry.handle;
          break;
        }
      }
      raised_.handles.rule[t].resize(table.chains.size());
      for (size_t i = 0; i < table.chains.size(); ++i) {
        index_[t].emplace(table.chains[i].name, i);
      }
      place_[t] = raised_.ruleset.tables.size();
      raised_.ruleset.tables.push_back(std::move(table));
    }
  }

  Status AddRule(const nft::RuleRecord& record) {
    const auto kind = TableKindFromName(record.table);
    if (!kind) return {};
    const auto t = static_cast<size_t>(*kind);
    const auto found = index_[t].find(record.chain);
    if (found == index_[t].end()) {
      return Fail(ErrorCode::kSyntax,
                  fmt::format("rule of chain {} of table {}, which the dump "
                              "does not have",
                              record.chain, record.table));
    }
    Chain& chain = raised_.ruleset.tables[place_[t]].chains[found->second];
    auto rule = nft::RaiseRule(family_, record, sets_);
    if (!rule) {
      Error error = std::move(rule).error();
      error.message =
          fmt::format("table {} chain {} rule {}: {}", record.table,
                      record.chain, chain.rules.size() + 1, error.message);
      return tl::unexpected(std::move(error));
    }
    chain.rules.push_back(*std::move(rule));
    raised_.handles.rule[t][found->second].push_back(record.handle);
    return {};
  }

  Family family_;
  const NftDump& dump_;
  NftRaised raised_;
  nft::SetContents sets_;
  std::vector<ChainOf> found_[kTableKindCount];
  /// Index in the ruleset's tables, and in each table's chains.
  size_t place_[kTableKindCount] = {};
  std::unordered_map<std::string, size_t> index_[kTableKindCount];
};

}  // namespace

Result<NftRaised> RaiseNft(Family family, const NftDump& dump) {
  return DumpRaiser(family, dump).Run();
}

Result<std::vector<NftCounters>> ReadNftCounters(Family family,
                                                 const NftDump& dump) {
  std::vector<NftCounters> counters;
  RETURN_IF_ERROR(
      nft::ForEachMessage(dump.chains, [&](const Message& message) -> Status {
        if (!IsOf(message, NFT_MSG_NEWCHAIN, family)) return {};
        ASSIGN_OR_RETURN(const auto record, ReadChain(message));
        const auto kind = TableKindFromName(record.table);
        if (!kind || !record.hook) return {};
        counters.push_back({*kind, record.name, 0, record.handle,
                            record.counters.value_or(Counters{})});
        return {};
      }));
  std::map<std::pair<std::string, std::string>, uint32_t> rules_seen;
  RETURN_IF_ERROR(
      nft::ForEachMessage(dump.rules, [&](const Message& message) -> Status {
        if (!IsOf(message, NFT_MSG_NEWRULE, family)) return {};
        ASSIGN_OR_RETURN(const auto record, ReadRule(message));
        const auto kind = TableKindFromName(record.table);
        if (!kind) return {};
        const uint32_t place = ++rules_seen[{record.table, record.chain}];
        NftCounters entry{*kind, record.chain, place, record.handle, {}};
        for (const nft::Expr& expr : record.exprs) {
          const auto* counter = std::get_if<nft::Counter>(&expr);
          if (counter == nullptr) continue;
          entry.counters = {counter->packets, counter->bytes};
          break;
        }
        counters.push_back(std::move(entry));
        return {};
      }));
  return counters;
}

}  // namespace nfarena
