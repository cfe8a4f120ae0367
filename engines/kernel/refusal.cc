#include "engines/kernel/refusal.h"

#include <fmt/format.h>

#include <cerrno>
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

/// The match without which the kernel takes `rule`, the last of the first
/// `count` of `table`; null when it is the target or cannot be found out.
const Extension* FindRefusedMatch(const XtSocket& socket, const Table& table,
                                  size_t count, const Chain& chain,
                                  const Rule& rule, int errno_value) {
  Table first = FirstRules(table, count);
  for (const Extension& match : rule.matches) {
    Rule without = rule;
    without.matches.erase(without.matches.begin() +
                          (&match - rule.matches.data()));
    first.chain(chain.name)->rules.back() = std::move(without);
    if (Takes(socket, first, errno_value) == true) return &match;
  }
  return nullptr;
}

}  // namespace

Error RefusalOf(Family family, const std::string& chain, const Rule& rule,
                Error refused) {
  refused.place.line = rule.line;
  // A built-in verdict is nothing to refuse where there is something else.
  if (rule.target.kind == TargetKind::kExtension) {
    refused.place.column = rule.target.extension.column;
  } else {
    refused.place.column =
        rule.matches.empty() ? rule.target.column : rule.matches.front().column;
  }
  refused.place.text = PrintRule(family, chain, rule);
  // What the kernel says of a rule is a refusal of the rule; only a missing
  // right and a lack of memory are the host's.
  switch (refused.errno_value) {
    case EPERM:
    case EACCES:
    case ENOMEM:
    case ENOBUFS:
      break;
    default:
      refused.code = ErrorCode::kUnsupported;
  }
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
      const Rule& rule = chain.rules[left - 1];
      const int errno_value = refused.errno_value;
      refused = RefusalOf(family, chain.name, rule, std::move(refused));
      const Extension* match =
          FindRefusedMatch(*socket, table, *number, chain, rule, errno_value);
      if (match != nullptr) {
        refused.place.column = match->column;
        refused.message += ": match " + match->name;
      }
      return refused;
    }
    left -= chain.rules.size();
  }
  return refused;
}

}  // namespace nfarena::kernel
