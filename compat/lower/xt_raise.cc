#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "compat/lower/xt_layout.h"
#include "compat/lower/xt_table.h"
#include "compat/model/huge_pages.h"

namespace nfarena {
namespace {

/// Bytes -> model.  First pass: every entry's own sizes, and where chains
/// start.  Second pass: rules, with jumps resolved against the starts.
template <typename Traits>
class Reader {
 public:
  using Entry = typename Traits::Entry;

  Reader(TableKind kind, std::span<const uint8_t> bytes,
         std::span<const uint32_t, 5> hook_entry,
         std::span<const uint32_t, 5> underflow, uint32_t valid_hooks,
         std::span<const Counters> counters)
      : bytes_(bytes),
        hook_entry_(hook_entry),
        underflow_(underflow),
        valid_hooks_(valid_hooks),
        counters_(counters) {
    table_.kind = kind;
  }

  Result<Table> Run() {
    RETURN_IF_ERROR(Index());
    RETURN_IF_ERROR(FindChains());
    for (size_t i = 0; i < spans_.size(); ++i) RETURN_IF_ERROR(ReadChain(i));
    RETURN_IF_ERROR(SortUserChains());
    return std::move(table_);
  }

 private:
  /// A chain's rules are entries [first, foot); `foot` is its end.
  struct Span {
    size_t first = 0;
    size_t foot = 0;
  };

  template <typename... Args>
  auto Bad(ErrorCode code, size_t offset, fmt::format_string<Args...> text,
           Args&&... args) const {
    return Fail(code,
                fmt::format("entry at offset {}: {}", offset,
                            fmt::format(text, std::forward<Args>(args)...)));
  }

  Entry EntryAt(size_t offset) const {
    Entry entry;
    std::memcpy(&entry, bytes_.data() + offset, sizeof(entry));
    return entry;
  }

  xt_entry_match HeaderAt(size_t offset) const {
    xt_entry_match head;
    std::memcpy(&head, bytes_.data() + offset, kXtHeaderBytes);
    return head;
  }

  /// Checks one entry's sizes; fills target_offset_ and offsets_.
  Status IndexEntry(size_t at) {
    if (bytes_.size() - at < sizeof(Entry) + kXtHeaderBytes) {
      return Bad(ErrorCode::kRange, at, "cut short after {} bytes",
                 bytes_.size() - at);
    }
    const Entry entry = EntryAt(at);
    const size_t next = entry.next_offset;
    const size_t target = entry.target_offset;
    if (next % kXtAlign != 0 || next < sizeof(Entry) + kXtHeaderBytes ||
        next > bytes_.size() - at) {
      return Bad(ErrorCode::kRange, at, "its size {} is not possible", next);
    }
    if (target % kXtAlign != 0 || target < sizeof(Entry) ||
        target > next - kXtHeaderBytes) {
      return Bad(ErrorCode::kRange, at, "target offset {} is not possible",
                 target);
    }
    for (size_t m = sizeof(Entry); m < target;) {
      const size_t size =
          target - m < kXtHeaderBytes ? 0 : HeaderAt(at + m).u.user.match_size;
      if (size < kXtHeaderBytes || size % kXtAlign != 0 || size > target - m) {
        return Bad(ErrorCode::kRange, at, "match at +{} has a bad size", m);
      }
      m += size;
    }
    const xt_entry_match head = HeaderAt(at + target);
    if (head.u.user.match_size != next - target) {
      return Bad(ErrorCode::kRange, at, "target size {} is not possible",
                 head.u.user.match_size);
    }
    offsets_.push_back(static_cast<uint32_t>(at));
    return {};
  }

  Status Index() {
    if (bytes_.size() > kXtMaxTableBytes) {
      return Fail(ErrorCode::kRange, "blob over the kernel's limit");
    }
    for (size_t at = 0; at < bytes_.size();) {
      RETURN_IF_ERROR(IndexEntry(at));
      at += EntryAt(at).next_offset;
    }
    if (!counters_.empty() && counters_.size() != offsets_.size()) {
      return Fail(ErrorCode::kRange,
                  fmt::format("{} counters for {} entries", counters_.size(),
                              offsets_.size()));
    }
    return {};
  }

  size_t TargetAt(size_t index) const {
    return offsets_[index] + EntryAt(offsets_[index]).target_offset;
  }

  /// The name of a match or target header; nullopt when it has no end.
  std::optional<std::string> NameAt(size_t offset) const {
    const xt_entry_match head = HeaderAt(offset);
    const void* end = std::memchr(head.u.user.name, 0, kXtNameBytes);
    if (end == nullptr) return std::nullopt;
    return std::string(head.u.user.name);
  }

  /// The text of an ERROR node; nullopt when the entry is none.
  Result<std::optional<std::string>> ErrorText(size_t index) const {
    const size_t at = TargetAt(index);
    if (NameAt(at) != XT_ERROR_TARGET) return std::optional<std::string>();
    if (HeaderAt(at).u.user.match_size != kXtErrorTargetBytes) {
      return Bad(ErrorCode::kRange, offsets_[index], "ERROR node of bad size");
    }
    const auto* text =
        reinterpret_cast<const char*>(bytes_.data() + at + kXtHeaderBytes);
    if (std::memchr(text, 0, kXtErrorNameBytes) == nullptr) {
      return Bad(ErrorCode::kRange, offsets_[index],
                 "ERROR node's text has no end");
    }
    return std::optional<std::string>(text);
  }

  std::optional<size_t> IndexOf(uint32_t offset) const {
    const auto it = std::lower_bound(offsets_.begin(), offsets_.end(), offset);
    if (it == offsets_.end() || *it != offset) return std::nullopt;
    return static_cast<size_t>(it - offsets_.begin());
  }

  Status FindBuiltIns() {
    uint32_t expected = 0;
    for (Hook hook : TableHooks(table_.kind)) {
      expected |= 1u << static_cast<unsigned>(hook);
    }
    if (valid_hooks_ != expected) {
      return Fail(ErrorCode::kRange,
                  fmt::format("valid_hooks {:#x} are not those of table {}",
                              valid_hooks_, TableName(table_.kind)));
    }
    size_t next = 0;
    for (Hook hook : TableHooks(table_.kind)) {
      const auto h = static_cast<size_t>(hook);
      const auto first = IndexOf(hook_entry_[h]);
      const auto foot = IndexOf(underflow_[h]);
      if (!first || !foot || *first != next || *foot < *first) {
        return Fail(
            ErrorCode::kRange,
            fmt::format("hook entry {} and underflow {} of {} do not "
                        "frame a chain",
                        hook_entry_[h], underflow_[h], HookChainName(hook)));
      }
      table_.chains.push_back(Chain{.name = HookChainName(hook), .hook = hook});
      spans_.push_back(Span{*first, *foot});
      next = *foot + 1;
    }
    first_user_entry_ = next;
    return {};
  }

  /// Closes the user chain that is open, whose foot is entry `foot`.
  Status CloseUserChain(size_t foot) {
    Span& span = spans_.back();
    if (foot < span.first) {
      return Bad(ErrorCode::kUnsupported, offsets_[foot],
                 "a chain without its closing RETURN");
    }
    span.foot = foot;
    return {};
  }

  Status FindChains() {
    RETURN_IF_ERROR(FindBuiltIns());
    bool open = false;
    for (size_t i = first_user_entry_; i < offsets_.size(); ++i) {
      ASSIGN_OR_RETURN(const auto text, ErrorText(i));
      if (!text) {
        if (!open) {
          return Bad(ErrorCode::kUnsupported, offsets_[i],
                     "a rule outside of every chain");
        }
        continue;
      }
      if (open) RETURN_IF_ERROR(CloseUserChain(i - 1));
      open = false;
      if (i + 1 == offsets_.size()) return {};  // the table's end
      RETURN_IF_ERROR(OpenUserChain(i, *text));
      open = true;
    }
    return Fail(ErrorCode::kRange, "the blob does not end with an ERROR node");
  }

  Status OpenUserChain(size_t head, const std::string& name) {
    if (name.empty()) {
      return Bad(ErrorCode::kUnsupported, offsets_[head],
                 "a user chain without a name");
    }
    table_.chains.push_back(Chain{.name = name});
    spans_.push_back(Span{head + 1, 0});
    user_chain_of_.emplace(
        offsets_[head] +
            static_cast<uint32_t>(sizeof(Entry) + kXtErrorTargetBytes),
        static_cast<uint32_t>(table_.chains.size() - 1));
    return {};
  }

  /// libiptc keeps user chains by name whatever order the blob has.
  Status SortUserChains() {
    const auto users = table_.chains.begin() +
                       static_cast<ptrdiff_t>(TableHooks(table_.kind).size());
    std::sort(users, table_.chains.end(),
              [](const Chain& a, const Chain& b) { return a.name < b.name; });
    const auto twice = std::adjacent_find(
        users, table_.chains.end(),
        [](const Chain& a, const Chain& b) { return a.name == b.name; });
    if (twice == table_.chains.end()) return {};
    return Fail(ErrorCode::kUnsupported,
                fmt::format("two chains are called '{}'", twice->name));
  }

  Counters CountersOf(size_t index) const {
    if (!counters_.empty()) return counters_[index];
    const Entry entry = EntryAt(offsets_[index]);
    return Counters{entry.counters.pcnt, entry.counters.bcnt};
  }

  /// The verdict of a standard target; nullopt when the target is another.
  Result<std::optional<int32_t>> StandardVerdict(size_t index) const {
    const size_t at = TargetAt(index);
    const auto name = NameAt(at);
    if (!name) {
      return Bad(ErrorCode::kRange, offsets_[index],
                 "target name without an end");
    }
    if (!name->empty()) return std::optional<int32_t>();
    if (HeaderAt(at).u.user.match_size != kXtStandardTargetBytes) {
      return Bad(ErrorCode::kRange, offsets_[index],
                 "standard target of bad size");
    }
    int32_t verdict = 0;
    std::memcpy(&verdict, bytes_.data() + at + kXtHeaderBytes, sizeof(verdict));
    return std::optional<int32_t>(verdict);
  }

  Status ReadFoot(size_t index, Chain* chain) {
    static constexpr typename Traits::Selector kUnconditional{};
    const Entry entry = EntryAt(offsets_[index]);
    ASSIGN_OR_RETURN(const auto verdict, StandardVerdict(index));
    if (!verdict || entry.target_offset != sizeof(Entry) ||
        std::memcmp(&Traits::selector(entry), &kUnconditional,
                    sizeof(kUnconditional)) != 0) {
      return Bad(ErrorCode::kUnsupported, offsets_[index],
                 "the end of chain {} is not a plain verdict", chain->name);
    }
    if (!chain->hook) {
      if (*verdict == kXtReturn) return {};
      return Bad(ErrorCode::kUnsupported, offsets_[index],
                 "chain {} ends with verdict {}", chain->name, *verdict);
    }
    if (*verdict != kXtAccept && *verdict != kXtDrop) {
      return Bad(ErrorCode::kUnsupported, offsets_[index],
                 "policy of {} is verdict {}", chain->name, *verdict);
    }
    chain->policy = *verdict == kXtAccept ? Policy::kAccept : Policy::kDrop;
    chain->counters = CountersOf(index);
    return {};
  }

  Status ReadChain(size_t number) {
    Chain& chain = table_.chains[number];
    const Span span = spans_[number];
    ReserveOnHugePages(&chain.rules, span.foot - span.first);
    for (size_t i = span.first; i < span.foot; ++i) {
      RETURN_IF_ERROR(ReadRule(i, &chain.rules.emplace_back()));
    }
    return ReadFoot(span.foot, &chain);
  }

  Status ReadSelector(size_t offset, const typename Traits::Selector& from,
                      Selector* to) const {
    constexpr size_t kAddressBytes = sizeof(from.src);
    std::memcpy(to->src.data(), &from.src, kAddressBytes);
    std::memcpy(to->dst.data(), &from.dst, kAddressBytes);
    std::memcpy(to->src_mask.data(), &from.smsk, kAddressBytes);
    std::memcpy(to->dst_mask.data(), &from.dmsk, kAddressBytes);
    std::memcpy(to->in.name.data(), from.iniface, IFNAMSIZ);
    std::memcpy(to->in.mask.data(), from.iniface_mask, IFNAMSIZ);
    std::memcpy(to->out.name.data(), from.outiface, IFNAMSIZ);
    std::memcpy(to->out.mask.data(), from.outiface_mask, IFNAMSIZ);
    to->protocol = from.proto;
    to->fragment = (from.flags & Traits::kFlagFragment) != 0;
    to->inverted = from.invflags;
    constexpr uint8_t kKnown =
        Traits::kFlagFragment | Traits::kFlagGoto | Traits::kFlagProtocol;
    if ((from.flags & ~kKnown) != 0 ||
        (from.invflags & ~Traits::kInvertMask) != 0) {
      return Bad(ErrorCode::kUnsupported, offset, "flags {:#x}/{:#x}",
                 from.flags, from.invflags);
    }
    if constexpr (Traits::kFamily == Family::kIpv6) {
      if (from.tos != 0) {
        return Bad(ErrorCode::kUnsupported, offset, "a TOS in the selector");
      }
    }
    return {};
  }

  Result<Extension> ReadExtension(size_t entry, size_t at) const {
    const auto name = NameAt(at);
    if (!name || name->empty()) {
      return Bad(ErrorCode::kRange, entry, "extension name of bad length");
    }
    const xt_entry_match head = HeaderAt(at);
    const auto payload = bytes_.subspan(
        at + kXtHeaderBytes, head.u.user.match_size - kXtHeaderBytes);
    return Extension{.name = *name,
                     .revision = head.u.user.revision,
                     .payload = {payload.begin(), payload.end()},
                     .user_size = static_cast<uint16_t>(payload.size())};
  }

  Status ReadVerdict(size_t index, int32_t verdict, bool is_goto,
                     Target* target) const {
    const uint32_t offset = offsets_[index];
    const uint32_t next = offset + EntryAt(offset).next_offset;
    if (verdict >= 0 && !is_goto && static_cast<uint32_t>(verdict) == next) {
      target->kind = TargetKind::kNone;
      return {};
    }
    if (verdict >= 0) {
      const auto it = user_chain_of_.find(static_cast<uint32_t>(verdict));
      if (it == user_chain_of_.end()) {
        return Bad(ErrorCode::kUnsupported, offset,
                   "jump to offset {}, where no chain begins", verdict);
      }
      target->kind = is_goto ? TargetKind::kGoto : TargetKind::kJump;
      target->chain = table_.chains[it->second].name;
      return {};
    }
    switch (is_goto ? 0 : verdict) {
      case kXtAccept:
        target->kind = TargetKind::kAccept;
        return {};
      case kXtDrop:
        target->kind = TargetKind::kDrop;
        return {};
      case kXtQueue:
        target->kind = TargetKind::kQueue;
        return {};
      case kXtReturn:
        target->kind = TargetKind::kReturn;
        return {};
      default:
        return Bad(ErrorCode::kUnsupported, offset, "verdict {}{}", verdict,
                   is_goto ? " with the goto flag" : "");
    }
  }

  Status ReadRule(size_t index, Rule* rule) const {
    const uint32_t offset = offsets_[index];
    const Entry entry = EntryAt(offset);
    RETURN_IF_ERROR(
        ReadSelector(offset, Traits::selector(entry), &rule->selector));
    rule->counters = CountersOf(index);
    for (size_t m = sizeof(Entry); m < entry.target_offset;
         m += HeaderAt(offset + m).u.user.match_size) {
      ASSIGN_OR_RETURN(auto match, ReadExtension(offset, offset + m));
      rule->matches.push_back(std::move(match));
    }
    const bool is_goto =
        (Traits::selector(entry).flags & Traits::kFlagGoto) != 0;
    ASSIGN_OR_RETURN(const auto verdict, StandardVerdict(index));
    if (verdict) return ReadVerdict(index, *verdict, is_goto, &rule->target);
    if (is_goto || NameAt(TargetAt(index)) == XT_ERROR_TARGET) {
      return Bad(ErrorCode::kUnsupported, offset,
                 "target {} where a rule was expected",
                 *NameAt(TargetAt(index)));
    }
    rule->target.kind = TargetKind::kExtension;
    ASSIGN_OR_RETURN(rule->target.extension,
                     ReadExtension(offset, TargetAt(index)));
    return {};
  }

  std::span<const uint8_t> bytes_;
  std::span<const uint32_t, 5> hook_entry_;
  std::span<const uint32_t, 5> underflow_;
  uint32_t valid_hooks_;
  std::span<const Counters> counters_;
  std::vector<uint32_t> offsets_;  // ascending, one an entry
  size_t first_user_entry_ = 0;
  std::vector<Span> spans_;  // parallel to table_.chains
  std::unordered_map<uint32_t, uint32_t> user_chain_of_;
  Table table_;
};

}  // namespace

Result<Table> RaiseXtTable(Family family, TableKind kind,
                           std::span<const uint8_t> entries,
                           std::span<const uint32_t, 5> hook_entry,
                           std::span<const uint32_t, 5> underflow,
                           uint32_t valid_hooks,
                           std::span<const Counters> counters) {
  return WithXtTraits(family, [&]<typename Traits>() {
    return Reader<Traits>(kind, entries, hook_entry, underflow, valid_hooks,
                          counters)
        .Run();
  });
}

}  // namespace nfarena
