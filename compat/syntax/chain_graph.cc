#include "compat/syntax/chain_graph.h"

#include <fmt/format.h>

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace nfarena {

namespace {

struct Edge {
  size_t to;
  const Rule* rule;
};

bool IsVerdict(TargetKind kind) {
  return kind == TargetKind::kAccept || kind == TargetKind::kDrop ||
         kind == TargetKind::kQueue || kind == TargetKind::kReturn;
}

std::vector<std::vector<Edge>> Edges(const Table& table) {
  std::unordered_map<std::string_view, size_t> index;
  for (size_t i = 0; i < table.chains.size(); ++i) {
    index.emplace(table.chains[i].name, i);
  }
  std::vector<std::vector<Edge>> edges(table.chains.size());
  for (size_t i = 0; i < table.chains.size(); ++i) {
    for (const Rule& rule : table.chains[i].rules) {
      const TargetKind kind = rule.target.kind;
      if (kind == TargetKind::kJump || kind == TargetKind::kGoto) {
        const auto to = index.find(rule.target.chain);
        if (to != index.end()) edges[i].push_back({to->second, &rule});
      } else if (IsVerdict(kind) && rule.matches.empty() &&
                 rule.selector == Selector{}) {
        break;
      }
    }
  }
  return edges;
}

Status LoopError(const Table& table, const std::vector<size_t>& path,
                 const Edge& closing) {
  std::string names;
  bool in_loop = false;
  for (size_t chain : path) {
    in_loop |= chain == closing.to;
    if (in_loop) names += table.chains[chain].name + " -> ";
  }
  names += table.chains[closing.to].name;
  return Fail(ErrorCode::kConflict,
              fmt::format("loop of chains in table {}: {}",
                          TableName(table.kind), names),
              {.line = closing.rule->line,
               .column = closing.rule->target.column,
               .text = closing.rule->target.chain});
}

}  // namespace

Status CheckLoops(const Table& table) {
  enum class Mark : uint8_t { kNew, kOpen, kDone };
  const std::vector<std::vector<Edge>> edges = Edges(table);
  std::vector<Mark> marks(table.chains.size(), Mark::kNew);
  // Chains may be nested as deep as there are chains: no recursion.
  std::vector<size_t> path;
  std::vector<size_t> next_edge;
  for (size_t start = 0; start < table.chains.size(); ++start) {
    if (!table.chains[start].hook || marks[start] != Mark::kNew) continue;
    path.push_back(start);
    next_edge.push_back(0);
    marks[start] = Mark::kOpen;
    while (!path.empty()) {
      const size_t chain = path.back();
      if (next_edge.back() == edges[chain].size()) {
        marks[chain] = Mark::kDone;
        path.pop_back();
        next_edge.pop_back();
        continue;
      }
      const Edge& edge = edges[chain][next_edge.back()++];
      if (marks[edge.to] == Mark::kOpen) return LoopError(table, path, edge);
      if (marks[edge.to] == Mark::kNew) {
        marks[edge.to] = Mark::kOpen;
        path.push_back(edge.to);
        next_edge.push_back(0);
      }
    }
  }
  return {};
}

}  // namespace nfarena
