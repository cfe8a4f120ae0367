#include "engines/kernel/refusal.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "compat/lower/xt_table.h"
#include "compat/syntax/save_printer.h"
#include "engines/kernel/namespace.h"
#include "engines/kernel/xt_transport.h"

namespace nfarena::kernel {
namespace {

size_t RulesOf(const Table& table) {
  size_t count = 0;
  for (const Chain& chain : table.chains) count += chain.rules.size();
  return count;
}

/// `table` with its first `count` rules, all chains kept.
Table FirstRules(const Table& table, size_t count) {
  Table first;
  first.kind = table.kind;
  for (const Chain& chain : table.chains) {
    Chain copy{chain.name, chain.hook, chain.policy, chain.counters, {}};
    const size_t here = std::min(count, chain.rules.size());
    copy.rules.assign(chain.rules.begin(),
                      chain.rules.begin() + static_cast<std::ptrdiff_t>(here));
    count -= here;
    first.chains.push_back(std::move(copy));
  }
  return first;
}

/// Whether the kernel takes it; nullopt when that cannot be found out.
std::optional<bool> Takes(const XtSocket& socket, const Table& table,
                          int errno_value) {
  auto image = LowerXtTable(socket.family(), table);
  if (!image) return std::nullopt;
  const Status status = socket.Replace(std::move(*image), nullptr);
  if (status) return true;
  // Another reason is not the one that is looked for.
  if (status.error().errno_value != errno_value) return std::nullopt;
  return false;
}

/// 1-based number, over the whole table, of the rule that makes it refused.
std::optional<size_t> FindRefusedRule(const XtSocket& socket,
                                      const Table& table, int errno_value) {
  size_t good = 0;
  size_t bad = RulesOf(table);
  if (bad == 0) return std::nullopt;
  if (Takes(socket, FirstRules(table, 0), errno_value) != true ||
      Takes(socket, table, errno_value) != false) {
    return std::nullopt;
  }
  while (bad - good > 1) {
    const size_t middle = good + (bad - good) / 2;
    const auto takes = Takes(socket, FirstRules(table, middle), errno_value);
    if (!takes) return std::nullopt;
    (*takes ? good : bad) = middle;
  }
  return bad;
}

}  // namespace

Error RefusalOf(Family family, const std::string& chain, const Rule& rule,
                Error refused) {
  refused.place.line = rule.line;
  refused.place.column = rule.target.kind == TargetKind::kExtension
                             ? rule.target.extension.column
                             : rule.target.column;
  if (!rule.matches.empty() && refused.place.column == 0) {
    refused.place.column = rule.matches.front().column;
  }
  refused.place.text = PrintRule(family, chain, rule);
  return refused;
}

Error ExplainXtRefusal(Family family, const Table& table, Error refused) {
  const auto ns = Namespace::Create();
  if (!ns) return refused;
  const auto scope = NamespaceScope::Enter(*ns);
  if (!scope) return refused;
  const auto socket = XtSocket::Open(family);
  if (!socket) return refused;
  const auto number = FindRefusedRule(*socket, table, refused.errno_value);
  if (!number) return refused;
  size_t left = *number;
  for (const Chain& chain : table.chains) {
    if (left <= chain.rules.size()) {
      return RefusalOf(family, chain.name, chain.rules[left - 1],
                       std::move(refused));
    }
    left -= chain.rules.size();
  }
  return refused;
}

}  // namespace nfarena::kernel
