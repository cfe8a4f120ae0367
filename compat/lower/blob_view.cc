#include "compat/lower/blob_view.h"

#include <fmt/format.h>

#include <cerrno>
#include <iterator>
#include <optional>

namespace nfarena {
namespace {

/// A rule that matches every packet and says a verdict that ends its chain:
/// what follows it is not reached.
bool EndsItsChain(const BlobView& blob, uint32_t rule) {
  const uint32_t end = rule + blob.RuleAt(rule).size;
  uint32_t at = rule + static_cast<uint32_t>(sizeof(BlobRuleHead));
  while (at < end) {
    const BlobAction action = blob.ActionAt(at, &at);
    if (action.op == BlobOp::kCount) continue;
    if (action.op != BlobOp::kVerdict) return false;
    const auto verdict = static_cast<BlobVerdict>(action.flags);
    return verdict == BlobVerdict::kAccept || verdict == BlobVerdict::kDrop ||
           verdict == BlobVerdict::kQueue || verdict == BlobVerdict::kReturn;
  }
  return false;
}

/// The last action of a rule.
BlobAction VerdictOf(const BlobView& blob, uint32_t rule) {
  uint32_t unused;
  return blob.ActionAt(
      rule + blob.RuleAt(rule).size -
          static_cast<uint32_t>(
              kBlobOps[static_cast<size_t>(BlobOp::kVerdict)].size),
      &unused);
}

bool IsZero(std::span<const uint8_t> bytes) {
  for (uint8_t b : bytes) {
    if (b != 0) return false;
  }
  return true;
}

}  // namespace

/// Checks part after part; each reads only what the one before has bounded.
class BlobChecker {
 public:
  explicit BlobChecker(std::span<const uint8_t> bytes) { view_.bytes_ = bytes; }

  Result<BlobView> Run() {
    RETURN_IF_ERROR(CheckHeader());
    RETURN_IF_ERROR(CheckChains());
    RETURN_IF_ERROR(CheckSections());
    RETURN_IF_ERROR(CheckExtensions());
    for (size_t i = 0; i < view_.chains_.size(); ++i) {
      RETURN_IF_ERROR(CheckChainRules(i));
    }
    if (rules_seen_ != header().rules_count) {
      return Bad(28, "rules_count is {}, but {} rules follow",
                 header().rules_count, rules_seen_);
    }
    RETURN_IF_ERROR(CheckLoops());
    return std::move(view_);
  }

 private:
  template <typename... Args>
  static tl::unexpected<Error> Bad(size_t offset,
                                   fmt::format_string<Args...> text,
                                   Args&&... args) {
    return Fail(ErrorCode::kRange,
                fmt::format("blob offset {}: {}", offset,
                            fmt::format(text, std::forward<Args>(args)...)),
                {}, EINVAL);
  }

  const BlobHeader& header() const { return view_.header_; }

  Status CheckHeader() {
    const std::span<const uint8_t> bytes = view_.bytes_;
    if (bytes.size() < sizeof(BlobHeader)) {
      return Bad(bytes.size(), "cut short in the header");
    }
    view_.header_ = view_.Load<BlobHeader>(0);
    const BlobHeader& h = header();
    if (h.magic != kBlobMagic) return Bad(0, "magic {:#x} is no blob", h.magic);
    if (h.version != kBlobVersion) return Bad(4, "version {}", h.version);
    if (h.family != 4 && h.family != 6) return Bad(6, "family {}", h.family);
    if (h.reserved != 0) return Bad(7, "reserved byte {}", h.reserved);
    if (h.total_bytes != bytes.size()) {
      return Bad(8, "total_bytes is {}, but {} are here", h.total_bytes,
                 bytes.size());
    }
    view_.family_ = h.family == 4 ? Family::kIpv4 : Family::kIpv6;
    return CheckLayout();
  }

  /// The parts follow each other without gaps.
  Status CheckLayout() {
    const BlobHeader& h = header();
    const uint64_t chains = sizeof(BlobHeader);
    const uint64_t sections =
        chains + uint64_t{h.chains_count} * sizeof(BlobChainRecord);
    const uint64_t rules =
        sections + uint64_t{h.sections_count} * sizeof(BlobSectionRecord);
    const uint64_t names =
        h.extensions_offset +
        uint64_t{h.extensions_count} * sizeof(BlobExtensionRecord);
    if (h.chains_offset != chains) return Bad(32, "chains_offset");
    if (h.sections_offset != sections) return Bad(36, "sections_offset");
    if (h.rules_offset != rules) return Bad(40, "rules_offset");
    if (h.extensions_offset < rules || h.extensions_offset % kBlobAlign != 0) {
      return Bad(44, "extensions_offset");
    }
    if (h.names_offset != names || names > h.total_bytes) {
      return Bad(48, "names_offset");
    }
    const uint64_t names_end = uint64_t{h.names_offset} + h.names_bytes;
    const uint64_t end = (names_end + kBlobAlign - 1) / kBlobAlign * kBlobAlign;
    if (end != h.total_bytes) return Bad(52, "names_bytes");
    if (!IsZero(view_.bytes_.subspan(static_cast<size_t>(names_end)))) {
      return Bad(static_cast<size_t>(names_end), "padding is not zero");
    }
    // Every rule takes room, so counts beyond the room are lies that later
    // allocations must not believe.
    constexpr uint32_t kLeastRule = sizeof(BlobRuleHead) + 8;
    if (h.rules_count > (h.extensions_offset - h.rules_offset) / kLeastRule) {
      return Bad(28, "rules_count");
    }
    if (h.counters_count > (h.extensions_offset - h.rules_offset) / 8) {
      return Bad(24, "counters_count");
    }
    return {};
  }

  /// A name in the pool; nullopt when it is out of it or has a NUL.
  std::optional<std::string_view> Name(uint32_t offset, uint8_t size) const {
    const BlobHeader& h = header();
    if (size == 0 || offset > h.names_bytes || h.names_bytes - offset < size) {
      return std::nullopt;
    }
    const std::string_view name(
        reinterpret_cast<const char*>(view_.bytes_.data()) + h.names_offset +
            offset,
        size);
    if (name.find('\0') != std::string_view::npos) return std::nullopt;
    return name;
  }

  Status CheckChains() {
    uint32_t expected = header().rules_offset;
    view_.chains_.reserve(header().chains_count);
    for (uint32_t i = 0; i < header().chains_count; ++i) {
      const uint32_t at = header().chains_offset +
                          i * static_cast<uint32_t>(sizeof(BlobChainRecord));
      const auto record = view_.Load<BlobChainRecord>(at);
      const auto name = Name(record.name_offset, record.name_bytes);
      if (!name) return Bad(at, "chain {}: bad name", i);
      if (record.table >= kTableKindCount) {
        return Bad(at + 5, "chain {}: table {}", i, record.table);
      }
      const bool base = record.hook != kBlobUserChain;
      const auto table = static_cast<TableKind>(record.table);
      if (base && !IsHookOf(table, record.hook)) {
        return Bad(at + 6, "chain {}: hook {}", i, record.hook);
      }
      if (record.reserved != 0 || record.reserved_too != 0) {
        return Bad(at + 7, "chain {}: reserved bytes are not zero", i);
      }
      if (record.first != expected || record.end < record.first ||
          record.end > header().extensions_offset ||
          record.end % kBlobAlign != 0) {
        return Bad(at + 8, "chain {}: bytes {} to {}", i, record.first,
                   record.end);
      }
      expected = record.end;
      view_.chains_.push_back(
          BlobChain{.name = *name,
                    .table = table,
                    .base = base,
                    .hook = static_cast<Hook>(base ? record.hook : 0),
                    .first = record.first,
                    .end = record.end,
                    .rules_count = record.rules_count});
    }
    if (expected != header().extensions_offset) {
      return Bad(expected, "bytes that belong to no chain");
    }
    return {};
  }

  static bool IsHookOf(TableKind table, uint8_t hook) {
    for (Hook h : TableHooks(table)) {
      if (static_cast<uint8_t>(h) == hook) return true;
    }
    return false;
  }

  Status CheckSections() {
    std::vector<uint8_t> entered(view_.chains_.size());
    view_.sections_.reserve(header().sections_count);
    for (uint32_t i = 0; i < header().sections_count; ++i) {
      const uint32_t at = header().sections_offset +
                          i * static_cast<uint32_t>(sizeof(BlobSectionRecord));
      const auto record = view_.Load<BlobSectionRecord>(at);
      if (record.chain >= view_.chains_.size()) {
        return Bad(at + 4, "section {}: chain {}", i, record.chain);
      }
      const BlobChain& chain = view_.chains_[record.chain];
      if (!chain.base || record.reserved != 0 ||
          record.hook != static_cast<uint8_t>(chain.hook) ||
          record.table != static_cast<uint8_t>(chain.table)) {
        return Bad(at, "section {}: not of its chain {}", i, record.chain);
      }
      if (entered[record.chain]++ != 0) {
        return Bad(at, "section {}: chain {} is entered twice", i,
                   record.chain);
      }
      if (!view_.sections_.empty() &&
          record.hook < static_cast<uint8_t>(view_.sections_.back().hook)) {
        return Bad(at, "section {}: hooks do not ascend", i);
      }
      view_.sections_.push_back(
          BlobSection{chain.hook, chain.table, record.chain});
    }
    return {};
  }

  Status CheckExtensions() {
    // The kernel's limit: a name of 29 bytes with its NUL.
    constexpr uint8_t kNameBytes = 28;
    view_.extensions_.reserve(header().extensions_count);
    for (uint32_t i = 0; i < header().extensions_count; ++i) {
      const uint32_t at =
          header().extensions_offset +
          i * static_cast<uint32_t>(sizeof(BlobExtensionRecord));
      const auto record = view_.Load<BlobExtensionRecord>(at);
      const auto name = Name(record.name_offset, record.name_bytes);
      if (!name || name->size() > kNameBytes || record.kind > 1 ||
          record.reserved != 0) {
        return Bad(at, "extension {}", i);
      }
      view_.extensions_.push_back(BlobExtension{
          *name, record.revision, static_cast<BlobExtensionKind>(record.kind)});
    }
    return {};
  }

  Status CheckChainRules(size_t index) {
    const BlobChain& chain = view_.chains_[index];
    uint32_t number = 0;
    for (uint32_t at = chain.first; at < chain.end;) {
      if (chain.end - at < sizeof(BlobRuleHead)) {
        return Bad(at, "a rule cut short by its chain's end");
      }
      const BlobRuleHead rule = view_.RuleAt(at);
      if (rule.size % kBlobAlign != 0 || rule.size <= sizeof(rule) ||
          rule.size > chain.end - at) {
        return Bad(at, "a rule of {} bytes", rule.size);
      }
      const bool last = at + rule.size == chain.end;
      if (rule.number != (last ? 0 : number + 1)) {
        return Bad(at + 4, "rule number {}", rule.number);
      }
      RETURN_IF_ERROR(CheckActions(at, rule.size, chain, last));
      if (!last) ++number;
      at += rule.size;
    }
    if (chain.first == chain.end) {
      return Bad(chain.first, "chain {} has no end", chain.name);
    }
    if (number != chain.rules_count) {
      return Bad(chain.first, "chain {} has {} rules, not {}", chain.name,
                 number, chain.rules_count);
    }
    rules_seen_ += number;
    return {};
  }

  Status CheckActions(uint32_t rule, uint32_t size, const BlobChain& chain,
                      bool end_rule) {
    const uint32_t end = rule + size;
    for (uint32_t at = rule + static_cast<uint32_t>(sizeof(BlobRuleHead));
         at < end;) {
      if (end - at < sizeof(BlobActionHead)) {
        return Bad(at, "an action cut short by its rule's end");
      }
      const auto head = view_.Load<BlobActionHead>(at);
      if (head.op >= kBlobOpCount) return Bad(at, "op {}", head.op);
      const uint16_t fixed = kBlobOps[head.op].size;
      if (head.size % kBlobAlign != 0 || head.size < sizeof(head) ||
          head.size > end - at || (fixed != 0 && head.size != fixed)) {
        return Bad(at + 2, "{} of {} bytes", kBlobOps[head.op].name, head.size);
      }
      const auto op = static_cast<BlobOp>(head.op);
      const bool last = at + head.size == end;
      if (last != (op == BlobOp::kVerdict)) {
        return Bad(at, "a rule ends with one verdict, not with {}",
                   kBlobOps[head.op].name);
      }
      if (end_rule && op != BlobOp::kVerdict && op != BlobOp::kCount) {
        return Bad(at, "{} at the end of a chain", kBlobOps[head.op].name);
      }
      RETURN_IF_ERROR(CheckAction(at, head, chain, end_rule));
      at += head.size;
    }
    return {};
  }

  Status CheckAction(uint32_t at, const BlobActionHead& head,
                     const BlobChain& chain, bool end_rule) {
    const auto op = static_cast<BlobOp>(head.op);
    switch (op) {
      case BlobOp::kField4:
      case BlobOp::kField16: {
        const Family family = view_.family_;
        const bool right_size =
            (op == BlobOp::kField4) == (family == Family::kIpv4);
        if (!right_size || (head.argument != BlobSourceOffset(family) &&
                            head.argument != BlobDestinationOffset(family))) {
          return Bad(at + 4, "no address at network offset {}", head.argument);
        }
        return CheckSelector(at, head);
      }
      case BlobOp::kIn:
      case BlobOp::kOut:
        if (head.argument > kBlobDeviceBytes) {
          return Bad(at + 4, "{} bytes of a device name", head.argument);
        }
        return CheckSelector(at, head);
      case BlobOp::kProtocol:
        if (head.argument > 0xffff) {
          return Bad(at + 4, "protocol {}", head.argument);
        }
        return CheckSelector(at, head);
      case BlobOp::kFragment:
        if (head.argument > 1 || view_.family_ != Family::kIpv4) {
          return Bad(at, "fragment {}", head.argument);
        }
        return CheckSelector(at, head);
      case BlobOp::kMatch:
      case BlobOp::kTarget: {
        const auto kind = op == BlobOp::kMatch ? BlobExtensionKind::kMatch
                                               : BlobExtensionKind::kTarget;
        if (head.argument >= view_.extensions_.size() ||
            view_.extensions_[head.argument].kind != kind || head.flags != 0) {
          return Bad(at, "{} refers to extension {}", kBlobOps[head.op].name,
                     head.argument);
        }
        return {};
      }
      case BlobOp::kCount:
        if (head.argument >= header().counters_count || head.flags != 0) {
          return Bad(at, "counter slot {}", head.argument);
        }
        return {};
      case BlobOp::kVerdict:
        return CheckVerdict(at, head, chain, end_rule);
    }
    return Bad(at, "op {}", head.op);
  }

  static Status CheckSelector(uint32_t at, const BlobActionHead& head) {
    if ((head.flags & ~kBlobInvert) != 0) {
      return Bad(at + 1, "flags {:#x}", head.flags);
    }
    return {};
  }

  Status CheckVerdict(uint32_t at, const BlobActionHead& head,
                      const BlobChain& chain, bool end_rule) {
    if (head.flags >= kBlobVerdictCount) {
      return Bad(at + 1, "verdict {}", head.flags);
    }
    const auto verdict = static_cast<BlobVerdict>(head.flags);
    if (end_rule) {
      const bool right = chain.base ? verdict == BlobVerdict::kAccept ||
                                          verdict == BlobVerdict::kDrop
                                    : verdict == BlobVerdict::kReturn;
      if (!right || head.argument != 0) {
        return Bad(at + 1, "verdict {} at the end of a chain", head.flags);
      }
      return {};
    }
    if (verdict != BlobVerdict::kJump && verdict != BlobVerdict::kGoto) {
      if (head.argument != 0) return Bad(at + 4, "argument of a verdict");
      return {};
    }
    if (head.argument >= view_.chains_.size() ||
        view_.chains_[head.argument].base ||
        view_.chains_[head.argument].table != chain.table) {
      return Bad(at + 4, "jump to chain {}, which is no user chain of table {}",
                 head.argument, TableName(chain.table));
    }
    return {};
  }

  /// Where a walk through one chain is.
  struct Frame {
    uint32_t chain;
    uint32_t rule;  // offset of the next rule; chain end = done
  };

  /// Depth first from every base chain; a jump to a chain on the way is a
  /// loop.  The order in which chains are done, reversed, is one in which
  /// hooks can be handed on.
  Status CheckLoops() {
    const size_t count = view_.chains_.size();
    enum : uint8_t { kNew, kOnPath, kDone };
    std::vector<uint8_t> color(count, kNew);
    std::vector<uint32_t> done;
    std::vector<Frame> path;
    for (const BlobSection& section : view_.sections_) {
      if (color[section.chain] != kNew) continue;
      path.push_back({section.chain, view_.chains_[section.chain].first});
      color[section.chain] = kOnPath;
      while (!path.empty()) {
        const auto next = NextJump(&path.back());
        if (!next) {
          color[path.back().chain] = kDone;
          done.push_back(path.back().chain);
          path.pop_back();
        } else if (color[*next] == kOnPath) {
          return Fail(ErrorCode::kConflict,
                      fmt::format("a loop of chains through {}",
                                  view_.chains_[*next].name),
                      {}, ELOOP);
        } else if (color[*next] == kNew) {
          color[*next] = kOnPath;
          path.push_back({*next, view_.chains_[*next].first});
        }
      }
    }
    SpreadHooks(done);
    return {};
  }

  /// The chain that the next reached jump of a frame goes to.
  std::optional<uint32_t> NextJump(Frame* frame) const {
    const uint32_t end = view_.chains_[frame->chain].end;
    while (frame->rule < end) {
      const uint32_t rule = frame->rule;
      frame->rule += view_.RuleAt(rule).size;
      if (EndsItsChain(view_, rule)) frame->rule = end;
      const BlobAction action = VerdictOf(view_, rule);
      const auto verdict = static_cast<BlobVerdict>(action.flags);
      if (verdict == BlobVerdict::kJump || verdict == BlobVerdict::kGoto) {
        return action.argument;
      }
    }
    return std::nullopt;
  }

  void SpreadHooks(const std::vector<uint32_t>& done) {
    view_.chain_hooks_.assign(view_.chains_.size(), 0);
    for (const BlobSection& section : view_.sections_) {
      view_.chain_hooks_[section.chain] =
          static_cast<uint8_t>(1u << static_cast<unsigned>(section.hook));
    }
    for (auto it = done.rbegin(); it != done.rend(); ++it) {
      Frame frame{*it, view_.chains_[*it].first};
      while (const auto next = NextJump(&frame)) {
        view_.chain_hooks_[*next] |= view_.chain_hooks_[*it];
      }
    }
  }

  BlobView view_;
  uint32_t rules_seen_ = 0;
};

Result<BlobView> BlobView::Parse(std::span<const uint8_t> bytes) {
  return BlobChecker(bytes).Run();
}

BlobAction BlobView::ActionAt(uint32_t offset, uint32_t* next) const {
  const auto head = Load<BlobActionHead>(offset);
  *next = offset + head.size;
  return BlobAction{
      static_cast<BlobOp>(head.op), head.flags, head.argument,
      bytes_.subspan(offset + sizeof(head), head.size - sizeof(head))};
}

std::vector<uint8_t> BlobView::HookMasks() const {
  std::vector<uint8_t> masks;
  masks.reserve(header_.rules_count + chains_.size());
  for (size_t i = 0; i < chains_.size(); ++i) {
    uint8_t mask = chain_hooks_[i];
    for (uint32_t at = chains_[i].first; at < chains_[i].end;
         at += RuleAt(at).size) {
      masks.push_back(mask);
      if (EndsItsChain(*this, at)) mask = 0;
    }
  }
  return masks;
}

std::string BlobView::Disassemble() const {
  static constexpr std::string_view kVerdicts[kBlobVerdictCount] = {
      "continue", "accept", "drop", "queue", "return", "jump", "goto"};
  std::string out;
  for (const BlobChain& chain : chains_) {
    fmt::format_to(std::back_inserter(out), "{}/{} at {}, {} rules\n",
                   TableName(chain.table), chain.name, chain.first,
                   chain.rules_count);
    for (uint32_t at = chain.first; at < chain.end;) {
      const BlobRuleHead rule = RuleAt(at);
      fmt::format_to(std::back_inserter(out), "{:>8} {:>5}:", at, rule.number);
      const uint32_t end = at + rule.size;
      for (at += static_cast<uint32_t>(sizeof(rule)); at < end;) {
        const BlobAction a = ActionAt(at, &at);
        const bool inverted =
            a.op < BlobOp::kMatch && (a.flags & kBlobInvert) != 0;
        fmt::format_to(std::back_inserter(out), " {}{}", inverted ? "!" : "",
                       kBlobOps[static_cast<size_t>(a.op)].name);
        if (a.op == BlobOp::kMatch || a.op == BlobOp::kTarget) {
          const BlobExtension& x = extensions_[a.argument];
          fmt::format_to(std::back_inserter(out), " {}.{}[{}]", x.name,
                         x.revision, a.parameters.size());
        } else if (a.op == BlobOp::kVerdict) {
          fmt::format_to(std::back_inserter(out), " {}", kVerdicts[a.flags]);
          if (a.flags >= static_cast<uint8_t>(BlobVerdict::kJump)) {
            fmt::format_to(std::back_inserter(out), " {}",
                           chains_[a.argument].name);
          }
        } else {
          fmt::format_to(std::back_inserter(out), " {}", a.argument);
        }
      }
      out += '\n';
    }
  }
  return out;
}

}  // namespace nfarena
