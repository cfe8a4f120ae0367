#include "compat/lower/nft_listing.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compat/lower/nft_expand.h"
#include "compat/lower/nft_message.h"
#include "compat/lower/nft_raising.h"
#include "compat/lower/nft_records.h"

namespace nfarena {
namespace {

using nft::ChainRecord;
using nft::Message;
using nft::RuleRecord;

/// Names of over 28 bytes are no names for iptables.
constexpr size_t kMaxChainName = 28;

/// What one nf_tables family has.
struct Holdings {
  uint8_t family = 0;
  /// Tables in the order in which the dump names them first.
  std::vector<std::string> tables;
  std::vector<ChainRecord> chains;
  std::vector<RuleRecord> rules;
  nft::SetContents sets;

  void Name(const std::string& table) {
    if (std::ranges::find(tables, table) == tables.end()) {
      tables.push_back(table);
    }
  }
  bool Has(std::string_view table) const {
    return std::ranges::find(tables, table) != tables.end();
  }
};

std::string_view NameOfFamily(uint8_t family) {
  switch (family) {
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    default:
      return "inet";
  }
}

/// Names come from elsewhere: a line stays one line.
std::string Clean(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  return out;
}

std::string Words(const RuleRecord& record, const nft::SetContents& sets) {
  std::string text;
  for (const nft::Expr& expr : record.exprs) {
    if (!text.empty()) text += ' ';
    text += "[ " + Clean(nft::PrintExpr(expr));
    if (const auto* lookup = std::get_if<nft::Lookup>(&expr)) {
      const auto* elements = sets.Find(record.table, *lookup);
      if (elements != nullptr) {
        text += " { " + Clean(nft::PrintElements(*elements)) + " }";
      }
    }
    text += " ]";
  }
  if (!record.comment.empty()) {
    text += fmt::format(" comment \"{}\"", Clean(record.comment));
  }
  return text;
}

std::string_view HookName(uint32_t hook) {
  static constexpr std::string_view kNames[] = {
      "prerouting", "input", "forward", "output", "postrouting", "ingress"};
  return hook < std::size(kNames) ? kNames[hook] : "unknown";
}

std::string DescribeChain(std::string_view family, const ChainRecord& chain) {
  std::string text = fmt::format("not iptables: chain {} {} {}", family,
                                 Clean(chain.table), Clean(chain.name));
  if (chain.hook) {
    text += fmt::format(": type {} hook {} priority {}", Clean(chain.type),
                        HookName(*chain.hook), chain.priority);
    if (chain.policy) {
      text += *chain.policy == NF_DROP ? " policy drop" : " policy accept";
    }
  }
  return text;
}

class Lister {
 public:
  Lister(Family family, const NftDump& dump) : dump_(dump) {
    listing_.ruleset.family = family;
    own_.family = nft::FamilyNumber(family);
    inet_.family = NFPROTO_INET;
  }

  Result<NftListing> Run() {
    RETURN_IF_ERROR(Read());
    for (size_t i = 0; i < kTableKindCount; ++i) {
      const auto kind = static_cast<TableKind>(i);
      const std::string_view name = TableName(kind);
      if (own_.Has(name)) {
        AddTable(own_, kind);
      } else if (inet_.Has(name)) {
        Remember(kind, "", fmt::format("of table inet {}", name));
        AddTable(inet_, kind);
      }
    }
    for (const Holdings* holdings : {&own_, &inet_}) {
      for (const std::string& table : holdings->tables) {
        if (!listed_.contains({holdings->family, table})) {
          AddForeignTable(*holdings, table);
        }
      }
    }
    return std::move(listing_);
  }

 private:
  Holdings* HoldingsOf(const Message& message) {
    if (message.family == own_.family) return &own_;
    return message.family == inet_.family ? &inet_ : nullptr;
  }

  Status Read() {
    RETURN_IF_ERROR(nft::ForEachMessage(
        dump_.elements, [this](const Message& message) -> Status {
          Holdings* to = HoldingsOf(message);
          if (to == nullptr || message.nft_type() != NFT_MSG_NEWSETELEM) {
            return {};
          }
          ASSIGN_OR_RETURN(const auto record, ReadElements(message));
          to->sets.Add(record);
          return {};
        }));
    RETURN_IF_ERROR(nft::ForEachMessage(
        dump_.chains, [this](const Message& message) -> Status {
          Holdings* to = HoldingsOf(message);
          if (to == nullptr || message.nft_type() != NFT_MSG_NEWCHAIN) {
            return {};
          }
          ASSIGN_OR_RETURN(auto record, ReadChain(message));
          to->Name(record.table);
          to->chains.push_back(std::move(record));
          return {};
        }));
    return nft::ForEachMessage(
        dump_.rules, [this](const Message& message) -> Status {
          Holdings* to = HoldingsOf(message);
          if (to == nullptr || message.nft_type() != NFT_MSG_NEWRULE) {
            return {};
          }
          ASSIGN_OR_RETURN(auto record, ReadRule(message));
          to->Name(record.table);
          to->rules.push_back(std::move(record));
          return {};
        });
  }

  void Remember(std::optional<TableKind> table, const std::string& chain,
                std::string text, uint32_t position = 0) {
    listing_.remarks.push_back({table, chain, position, std::move(text), true});
  }

  /// False for a chain that is no chain of iptables; else `hook` is what it is
  /// bound to, or nullopt for a user chain.
  static bool IsIptables(TableKind kind, const ChainRecord& chain,
                         std::optional<Hook>* hook) {
    hook->reset();
    for (const Hook candidate : TableHooks(kind)) {
      if (chain.name == HookChainName(candidate)) *hook = candidate;
    }
    if (hook->has_value() != chain.hook.has_value()) return false;
    if (*hook) {
      const nft::BaseChain base = nft::BaseChainOf(kind, **hook);
      return *chain.hook == static_cast<uint32_t>(**hook) &&
             chain.priority == base.priority && chain.type == base.type;
    }
    static constexpr std::string_view kTaken[] = {"ACCEPT", "DROP", "QUEUE",
                                                  "RETURN"};
    const bool plain = std::ranges::all_of(chain.name, [](char c) {
      return static_cast<unsigned char>(c) > 0x20 && c != 0x7f;
    });
    return plain && !chain.name.empty() && chain.name.front() != '-' &&
           chain.name.front() != '!' && chain.name.size() <= kMaxChainName &&
           std::ranges::find(kTaken, chain.name) == std::end(kTaken);
  }

  void AddTable(const Holdings& from, TableKind kind) {
    const std::string name = TableName(kind);
    listed_.insert({from.family, name});
    listing_.ruleset.tables.push_back(EmptyTable(kind));
    Table& table = listing_.ruleset.tables.back();
    for (const ChainRecord& record : from.chains) {
      if (record.table != name) continue;
      std::optional<Hook> hook;
      if (!IsIptables(kind, record, &hook)) {
        Remember(kind, "", DescribeChain(NameOfFamily(from.family), record));
        continue;
      }
      if (!hook) {
        (void)table.AddChain(record.name);  // a second of that name is none
        continue;
      }
      Chain* chain = table.chain(record.name);
      if (record.policy == NF_DROP) chain->policy = Policy::kDrop;
      chain->counters = record.counters.value_or(Counters{});
    }
    for (const RuleRecord& record : from.rules) {
      if (record.table == name) AddRule(from, kind, record, &table);
    }
  }

  void AddRule(const Holdings& from, TableKind kind, const RuleRecord& record,
               Table* table) {
    Chain* chain = table->chain(record.chain);
    if (chain == nullptr) {
      Remember(kind, "", Describe(from, record));
      return;
    }
    const auto position = static_cast<uint32_t>(chain->rules.size());
    auto rules = nft::RaiseRules(listing_.ruleset.family, record, from.sets);
    if (!rules || !std::ranges::all_of(*rules, [&](const Rule& rule) {
          return JumpsWithin(rule, *table);
        })) {
      Remember(kind, record.chain, Describe(from, record), position);
      return;
    }
    if (rules->size() > 1) {
      Remember(
          kind, record.chain,
          fmt::format("{} rules that are one: {} {} {} handle {}",
                      rules->size(), NameOfFamily(from.family),
                      Clean(record.table), Clean(record.chain), record.handle),
          position);
      listing_.remarks.back().left_out = false;
    }
    for (Rule& rule : *rules) chain->rules.push_back(std::move(rule));
  }

  static bool JumpsWithin(const Rule& rule, const Table& table) {
    if (rule.target.kind != TargetKind::kJump &&
        rule.target.kind != TargetKind::kGoto) {
      return true;
    }
    const Chain* chain = table.chain(rule.target.chain);
    return chain != nullptr && !chain->hook;
  }

  std::string Describe(const Holdings& from, const RuleRecord& record) const {
    return fmt::format("not iptables: {} {} {} handle {}: {}",
                       NameOfFamily(from.family), Clean(record.table),
                       Clean(record.chain), record.handle,
                       Words(record, from.sets));
  }

  void AddForeignTable(const Holdings& from, const std::string& table) {
    for (const ChainRecord& record : from.chains) {
      if (record.table != table) continue;
      Remember(std::nullopt, "",
               DescribeChain(NameOfFamily(from.family), record));
    }
    for (const RuleRecord& record : from.rules) {
      if (record.table != table) continue;
      Remember(std::nullopt, "", Describe(from, record));
    }
  }

  const NftDump& dump_;
  Holdings own_, inet_;
  NftListing listing_;
  /// Tables of nf_tables that are in the ruleset.
  std::set<std::pair<uint8_t, std::string>> listed_;
};

}  // namespace

Result<NftListing> ListNft(Family family, const NftDump& dump) {
  return Lister(family, dump).Run();
}

}  // namespace nfarena
