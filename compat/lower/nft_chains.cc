#include "compat/lower/nft_chains.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <unordered_map>

namespace nfarena::nft {
namespace {

/// NFT_JUMP_STACK_SIZE: a built-in chain and 15 chains below it.
constexpr uint32_t kMaxLevels = 16;
/// NFT_CHAIN_MAXNAMELEN - 1.
constexpr size_t kMaxName = 255;

struct Jump {
  size_t to;
  const Rule* rule;
};

SourcePlace PlaceOf(const Rule& rule) {
  SourcePlace place;
  place.line = rule.line;
  place.column = rule.target.column;
  place.text = rule.target.chain;
  return place;
}

class Graph {
 public:
  explicit Graph(const Table& table)
      : table_(table),
        jumps_(table.chains.size()),
        state_(table.chains.size(), State::kNew),
        levels_(table.chains.size(), 1),
        deepest_(table.chains.size(), nullptr) {}

  Result<std::vector<uint8_t>> Run() {
    RETURN_IF_ERROR(FindJumps());
    for (size_t i = 0; i < table_.chains.size(); ++i) {
      if (!table_.chains[i].hook) continue;
      RETURN_IF_ERROR(Visit(i));
      if (levels_[i] > kMaxLevels) return TooDeep(i);
    }
    return Hooks();
  }

 private:
  enum class State : uint8_t { kNew, kOpen, kDone };

  Status FindJumps() {
    std::unordered_map<std::string_view, size_t> index;
    index.reserve(table_.chains.size());
    for (size_t i = 0; i < table_.chains.size(); ++i) {
      const std::string& name = table_.chains[i].name;
      if (name.empty() || name.size() > kMaxName) {
        return Fail(ErrorCode::kRange, "chain name of over 255 bytes or none",
                    SourcePlace{.text = name.substr(0, kMaxName)});
      }
      index.emplace(name, i);
    }
    for (size_t i = 0; i < table_.chains.size(); ++i) {
      for (const Rule& rule : table_.chains[i].rules) {
        if (rule.target.kind != TargetKind::kJump &&
            rule.target.kind != TargetKind::kGoto) {
          continue;
        }
        const auto found = index.find(rule.target.chain);
        if (found == index.end()) {
          return Fail(ErrorCode::kConflict, "jump to a chain that is not there",
                      PlaceOf(rule));
        }
        if (table_.chains[found->second].hook) {
          return Fail(ErrorCode::kConflict, "jump to a built-in chain",
                      PlaceOf(rule));
        }
        jumps_[i].push_back({found->second, &rule});
      }
    }
    return {};
  }

  /// Depth first, without recursion: chains may nest as deep as there are
  /// chains.  Fills levels_ (chains on the longest path down from here).
  Status Visit(size_t root) {
    struct Frame {
      size_t chain;
      size_t next = 0;
    };
    if (state_[root] == State::kDone) return {};
    std::vector<Frame> stack{{root}};
    state_[root] = State::kOpen;
    while (!stack.empty()) {
      Frame& frame = stack.back();
      if (frame.next == jumps_[frame.chain].size()) {
        state_[frame.chain] = State::kDone;
        stack.pop_back();
        continue;
      }
      const Jump& jump = jumps_[frame.chain][frame.next];
      if (state_[jump.to] == State::kOpen) {
        return Fail(ErrorCode::kConflict,
                    fmt::format("loop of chains: {} leads back to {}",
                                table_.chains[frame.chain].name,
                                table_.chains[jump.to].name),
                    PlaceOf(*jump.rule), ELOOP);
      }
      if (state_[jump.to] == State::kNew) {
        state_[jump.to] = State::kOpen;
        stack.push_back({jump.to});
        continue;  // looked at again when it is done
      }
      if (levels_[jump.to] + 1 > levels_[frame.chain]) {
        levels_[frame.chain] = levels_[jump.to] + 1;
        deepest_[frame.chain] = &jump;
      }
      ++frame.next;
    }
    return {};
  }

  /// Names the jump that goes one level too far.
  tl::unexpected<Error> TooDeep(size_t root) const {
    size_t chain = root;
    for (uint32_t level = 1; level < kMaxLevels; ++level) {
      chain = deepest_[chain]->to;
    }
    return Fail(ErrorCode::kUnsupported,
                fmt::format("jumps nested {} deep from {}; nf_tables takes {}",
                            levels_[root] - 1, table_.chains[root].name,
                            kMaxLevels - 1),
                PlaceOf(*deepest_[chain]->rule));
  }

  std::vector<uint8_t> Hooks() const {
    std::vector<uint8_t> masks(table_.chains.size(), 0);
    std::vector<size_t> open;
    for (size_t i = 0; i < table_.chains.size(); ++i) {
      if (!table_.chains[i].hook) continue;
      const auto bit =
          static_cast<uint8_t>(1u << static_cast<int>(*table_.chains[i].hook));
      open.assign(1, i);
      while (!open.empty()) {
        const size_t chain = open.back();
        open.pop_back();
        if ((masks[chain] & bit) != 0) continue;
        masks[chain] |= bit;
        for (const Jump& jump : jumps_[chain]) open.push_back(jump.to);
      }
    }
    return masks;
  }

  const Table& table_;
  std::vector<std::vector<Jump>> jumps_;
  std::vector<State> state_;
  std::vector<uint32_t> levels_;
  std::vector<const Jump*> deepest_;
};

}  // namespace

Result<std::vector<uint8_t>> CheckChains(const Table& table) {
  return Graph(table).Run();
}

}  // namespace nfarena::nft
