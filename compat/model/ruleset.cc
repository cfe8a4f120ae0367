#include "compat/model/ruleset.h"

#include <fmt/format.h>

#include <algorithm>

#include "compat/model/target_name.h"

namespace nfarena {

const char* FamilyName(Family family) {
  return family == Family::kIpv4 ? "IPv4" : "IPv6";
}

const char* HookChainName(Hook hook) {
  static constexpr const char* kNames[kHookCount] = {
      "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"};
  return kNames[static_cast<size_t>(hook)];
}

namespace {
constexpr const char* kTableNames[kTableKindCount] = {"raw", "mangle", "nat",
                                                      "filter", "security"};

/// libiptc orders user chains with strcmp; std::string's < is the same for
/// names without NUL, which no parser lets through.
bool NameLess(const Chain& chain, std::string_view name) {
  return chain.name < name;
}

/// The user chains of a table: what follows its built-in chains.
template <typename Chains>
auto FirstUserChain(Chains& chains) {
  return std::find_if(chains.begin(), chains.end(),
                      [](const Chain& c) { return !c.hook.has_value(); });
}
}  // namespace

const char* TableName(TableKind kind) {
  return kTableNames[static_cast<size_t>(kind)];
}

std::optional<TableKind> TableKindFromName(std::string_view name) {
  for (size_t i = 0; i < kTableKindCount; ++i) {
    if (name == kTableNames[i]) return static_cast<TableKind>(i);
  }
  return std::nullopt;
}

const std::vector<Hook>& TableHooks(TableKind kind) {
  using enum Hook;
  static const std::vector<Hook> kHooks[kTableKindCount] = {
      {kPrerouting, kOutput},
      {kPrerouting, kInput, kForward, kOutput, kPostrouting},
      {kPrerouting, kInput, kOutput, kPostrouting},
      {kInput, kForward, kOutput},
      {kInput, kForward, kOutput}};
  return kHooks[static_cast<size_t>(kind)];
}

std::string InterfaceTest::ToString() const {
  std::string out;
  for (size_t i = 0; i < name.size() && mask[i] != 0; ++i) {
    if (name[i] == '\0') return out;
    out += name[i];
  }
  if (!out.empty()) out += '+';
  return out;
}

bool Extension::operator==(const Extension& other) const {
  if (name != other.name || revision != other.revision) return false;
  const size_t compared = std::min<size_t>(user_size, other.user_size);
  return compared <= payload.size() && compared <= other.payload.size() &&
         std::equal(payload.begin(),
                    payload.begin() + static_cast<ptrdiff_t>(compared),
                    other.payload.begin());
}

bool Target::operator==(const Target& other) const {
  return kind == other.kind && chain == other.chain &&
         (kind != TargetKind::kExtension || extension == other.extension);
}

bool Rule::SameAs(const Rule& other) const {
  return selector == other.selector && matches == other.matches &&
         target == other.target;
}

std::optional<size_t> Table::FindChain(std::string_view name) const {
  const auto users = FirstUserChain(chains);
  for (auto it = chains.begin(); it != users; ++it) {
    if (it->name == name) return static_cast<size_t>(it - chains.begin());
  }
  const auto it = std::lower_bound(users, chains.end(), name, NameLess);
  if (it == chains.end() || it->name != name) return std::nullopt;
  return static_cast<size_t>(it - chains.begin());
}

const Chain* Table::chain(std::string_view name) const {
  const auto index = FindChain(name);
  return index ? &chains[*index] : nullptr;
}

Chain* Table::chain(std::string_view name) {
  const auto index = FindChain(name);
  return index ? &chains[*index] : nullptr;
}

Result<Chain*> Table::AddChain(std::string_view name) {
  if (IsStandardTarget(name)) {
    return Fail(
        ErrorCode::kConflict,
        fmt::format("'{}' is a standard target, not a chain name", name));
  }
  if (FindChain(name)) {
    return Fail(ErrorCode::kConflict,
                fmt::format("chain '{}' already exists", name));
  }
  const auto at =
      std::lower_bound(FirstUserChain(chains), chains.end(), name, NameLess);
  return &*chains.insert(at, Chain{.name = std::string(name)});
}

bool JumpsTo(const Rule& rule, std::string_view chain) {
  return (rule.target.kind == TargetKind::kJump ||
          rule.target.kind == TargetKind::kGoto) &&
         rule.target.chain == chain;
}

size_t CountJumps(const Table& table, std::string_view chain) {
  size_t count = 0;
  for (const Chain& from : table.chains) {
    count += static_cast<size_t>(
        std::count_if(from.rules.begin(), from.rules.end(),
                      [&](const Rule& rule) { return JumpsTo(rule, chain); }));
  }
  return count;
}

Table EmptyTable(TableKind kind) {
  Table table{.kind = kind, .chains = {}};
  for (Hook hook : TableHooks(kind)) {
    table.chains.push_back(Chain{.name = HookChainName(hook), .hook = hook});
  }
  return table;
}

const Table* Ruleset::table(TableKind kind) const {
  for (const Table& t : tables) {
    if (t.kind == kind) return &t;
  }
  return nullptr;
}

Table* Ruleset::table(TableKind kind) {
  for (Table& t : tables) {
    if (t.kind == kind) return &t;
  }
  return nullptr;
}

Table& Ruleset::EnsureTable(TableKind kind) {
  if (Table* existing = table(kind)) return *existing;
  return tables.emplace_back(EmptyTable(kind));
}

size_t Ruleset::rules_count() const {
  size_t count = 0;
  for (const Table& t : tables) {
    for (const Chain& c : t.chains) count += c.rules.size();
  }
  return count;
}

namespace {
bool SameChain(const Chain& a, const Chain& b) {
  return a.name == b.name && a.hook == b.hook && a.policy == b.policy &&
         std::equal(a.rules.begin(), a.rules.end(), b.rules.begin(),
                    b.rules.end(),
                    [](const Rule& x, const Rule& y) { return x.SameAs(y); });
}
}  // namespace

bool SameRules(const Ruleset& a, const Ruleset& b) {
  if (a.family != b.family || a.tables.size() != b.tables.size()) return false;
  return std::all_of(a.tables.begin(), a.tables.end(), [&](const Table& t) {
    const Table* other = b.table(t.kind);
    return other != nullptr &&
           std::equal(t.chains.begin(), t.chains.end(), other->chains.begin(),
                      other->chains.end(), SameChain);
  });
}

std::string RuleRefName(const Ruleset& ruleset, const RuleRef& ref) {
  const Table* table = ruleset.table(ref.table);
  const Chain* chain = table != nullptr && ref.chain < table->chains.size()
                           ? &table->chains[ref.chain]
                           : nullptr;
  // No table had a say: an empty ruleset, or a packet no hook has seen.
  if (table == nullptr && ref.rule == 0) return "none";
  const std::string name =
      chain != nullptr ? chain->name : fmt::format("#{}", ref.chain);
  if (ref.rule != 0) {
    return fmt::format("{}/{}/{}", TableName(ref.table), name, ref.rule);
  }
  return fmt::format("{}/{}/{}", TableName(ref.table), name,
                     chain != nullptr && chain->hook ? "policy" : "end");
}

}  // namespace nfarena
