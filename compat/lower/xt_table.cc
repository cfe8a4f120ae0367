#include "compat/lower/xt_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>
#include <string_view>
#include <unordered_map>

#include "compat/lower/xt_layout.h"
#include "compat/model/huge_pages.h"

namespace nfarena {
namespace {

constexpr size_t kMaxEntryBytes = 65535;

template <typename Traits>
struct Sizes {
  static constexpr size_t kEntry = sizeof(typename Traits::Entry);
  static constexpr size_t kHead = kEntry + kXtErrorTargetBytes;
  static constexpr size_t kFoot = kEntry + kXtStandardTargetBytes;
};

SourcePlace PlaceOf(const Rule& rule, uint32_t column, std::string text = {}) {
  return SourcePlace{
      .file = {}, .line = rule.line, .column = column, .text = std::move(text)};
}

Status CheckExtension(const Rule& rule, const Extension& extension) {
  if (extension.name.empty() || extension.name.size() >= kXtNameBytes) {
    return Fail(ErrorCode::kRange,
                fmt::format("extension name '{}' does not fit 1 to {} bytes",
                            extension.name, kXtNameBytes - 1),
                PlaceOf(rule, extension.column, extension.name));
  }
  if (kXtHeaderBytes + extension.payload.size() > kMaxEntryBytes) {
    return Fail(
        ErrorCode::kRange,
        fmt::format("extension '{}' has {} bytes, over {}", extension.name,
                    extension.payload.size(), kMaxEntryBytes),
        PlaceOf(rule, extension.column, extension.name));
  }
  return {};
}

size_t ExtensionBytes(const Extension& extension) {
  return kXtHeaderBytes + XtAlign(extension.payload.size());
}

/// Size of the entry of `rule`.
template <typename Traits>
Result<size_t> EntryBytes(const Rule& rule) {
  size_t bytes = Sizes<Traits>::kEntry;
  for (const Extension& match : rule.matches) {
    RETURN_IF_ERROR(CheckExtension(rule, match));
    bytes += ExtensionBytes(match);
  }
  if (rule.target.kind == TargetKind::kExtension) {
    RETURN_IF_ERROR(CheckExtension(rule, rule.target.extension));
    bytes += ExtensionBytes(rule.target.extension);
  } else {
    bytes += kXtStandardTargetBytes;
  }
  if (bytes > kMaxEntryBytes) {
    return Fail(ErrorCode::kRange,
                fmt::format("a rule of {} bytes; an entry has at most {}",
                            bytes, kMaxEntryBytes),
                PlaceOf(rule, 0));
  }
  return bytes;
}

/// The invariants every lowering relies on; a table that breaks them would
/// give a blob that means something else.
Status CheckChains(const Table& table) {
  const std::vector<Hook>& hooks = TableHooks(table.kind);
  const bool built_in_ok =
      table.chains.size() >= hooks.size() &&
      std::equal(hooks.begin(), hooks.end(), table.chains.begin(),
                 [](Hook hook, const Chain& chain) {
                   return chain.hook == hook &&
                          chain.name == HookChainName(hook);
                 });
  if (!built_in_ok) {
    return Fail(ErrorCode::kInternal,
                fmt::format("table {} does not start with its built-in chains "
                            "in hook order",
                            TableName(table.kind)));
  }
  for (size_t i = hooks.size(); i < table.chains.size(); ++i) {
    const Chain& chain = table.chains[i];
    if (chain.hook.has_value() ||
        (i > hooks.size() && !(table.chains[i - 1].name < chain.name))) {
      return Fail(ErrorCode::kInternal,
                  fmt::format("user chain '{}' of table {} is out of order",
                              chain.name, TableName(table.kind)));
    }
    if (chain.name.empty() || chain.name.size() >= kXtErrorNameBytes) {
      return Fail(ErrorCode::kRange,
                  fmt::format("chain name '{}' does not fit 1 to {} bytes",
                              chain.name, kXtErrorNameBytes - 1));
    }
  }
  return {};
}

/// Lays the table out, then writes it: offsets of jumps must be known before
/// the first entry is written, and the exact size spares a second copy.
template <typename Traits>
class Writer {
 public:
  using Entry = typename Traits::Entry;
  using Replace = typename Traits::Replace;

  Writer(const Table& table, XtTableImage* image)
      : table_(table), image_(*image) {}

  Status Run() {
    RETURN_IF_ERROR(CheckChains(table_));
    RETURN_IF_ERROR(LayOut());
    ReserveOnHugePages(&image_.replace, sizeof(Replace) + size_);
    image_.replace.resize(sizeof(Replace) + size_);
    entries_ = image_.replace.data() + sizeof(Replace);
    WriteReplace();
    const size_t built_ins = TableHooks(table_.kind).size();
    uint32_t at = 0;
    for (size_t i = 0; i < table_.chains.size(); ++i) {
      const Chain& chain = table_.chains[i];
      const auto index = static_cast<uint32_t>(i);
      if (i >= built_ins) {
        WriteError(at, chain.name, RuleRef{table_.kind, index, 0});
        at += static_cast<uint32_t>(Sizes<Traits>::kHead);
      }
      uint32_t number = 0;
      for (const Rule& rule : chain.rules) {
        ASSIGN_OR_RETURN(
            at, WriteRule(at, rule, RuleRef{table_.kind, index, ++number}));
      }
      WriteFoot(at, chain, RuleRef{table_.kind, index, 0});
      at += static_cast<uint32_t>(Sizes<Traits>::kFoot);
    }
    WriteError(
        at, XT_ERROR_TARGET,
        RuleRef{table_.kind, static_cast<uint32_t>(table_.chains.size()), 0});
    return {};
  }

 private:
  /// Offsets of each chain's first entry (its head, in a user chain).
  Status LayOut() {
    const size_t built_ins = TableHooks(table_.kind).size();
    start_.reserve(table_.chains.size());
    size_t at = 0;
    size_t count = 0;
    for (size_t i = 0; i < table_.chains.size(); ++i) {
      const Chain& chain = table_.chains[i];
      start_.push_back(static_cast<uint32_t>(at));
      if (i >= built_ins) {
        user_chains_.emplace(chain.name, static_cast<uint32_t>(i));
        at += Sizes<Traits>::kHead;
        ++count;
      }
      for (const Rule& rule : chain.rules) {
        ASSIGN_OR_RETURN(const size_t bytes, EntryBytes<Traits>(rule));
        at += bytes;
      }
      at += Sizes<Traits>::kFoot;
      count += chain.rules.size() + 1;
      if (at > kXtMaxTableBytes) break;
    }
    at += Sizes<Traits>::kHead;
    ++count;
    if (at > kXtMaxTableBytes) {
      return Fail(ErrorCode::kRange,
                  fmt::format("table {} needs over {} bytes, the kernel's "
                              "limit for one table",
                              TableName(table_.kind), kXtMaxTableBytes));
    }
    size_ = at;
    image_.entries.reserve(count);
    image_.counters.reserve(count);
    entries_count_ = static_cast<uint32_t>(count);
    return {};
  }

  void WriteReplace() {
    Replace head;
    std::memset(&head, 0, sizeof(head));
    const std::string_view name = TableName(table_.kind);
    std::memcpy(head.name, name.data(), name.size());
    head.num_entries = entries_count_;
    head.size = static_cast<uint32_t>(size_);
    const std::vector<Hook>& hooks = TableHooks(table_.kind);
    for (size_t i = 0; i < hooks.size(); ++i) {
      const auto hook = static_cast<size_t>(hooks[i]);
      const uint32_t end =
          i + 1 < start_.size()
              ? start_[i + 1]
              : static_cast<uint32_t>(size_ - Sizes<Traits>::kHead);
      head.valid_hooks |= 1u << hook;
      head.hook_entry[hook] = start_[i];
      head.underflow[hook] = end - static_cast<uint32_t>(Sizes<Traits>::kFoot);
    }
    std::memcpy(image_.replace.data(), &head, sizeof(head));
  }

  /// The two offsets that every entry has.
  void WriteEntry(uint32_t at, Entry* entry, size_t target_offset,
                  size_t next_offset, const RuleRef& ref,
                  const Counters& counters, bool head) {
    entry->target_offset = static_cast<uint16_t>(target_offset);
    entry->next_offset = static_cast<uint16_t>(next_offset);
    std::memcpy(entries_ + at, entry, sizeof(*entry));
    image_.entries.push_back(XtEntryRef{ref, at, head});
    image_.counters.push_back(counters);
  }

  void WriteError(uint32_t at, std::string_view text, const RuleRef& ref) {
    Entry entry{};
    WriteEntry(at, &entry, sizeof(entry), Sizes<Traits>::kHead, ref, {}, true);
    xt_error_target target{};
    target.target.u.user.target_size = kXtErrorTargetBytes;
    std::memcpy(target.target.u.user.name, XT_ERROR_TARGET,
                sizeof(XT_ERROR_TARGET));
    std::memcpy(target.errorname, text.data(), text.size());
    std::memcpy(entries_ + at + sizeof(entry), &target, sizeof(target));
  }

  void WriteStandard(uint32_t at, int32_t verdict) {
    xt_standard_target target{};
    target.target.u.user.target_size = kXtStandardTargetBytes;
    target.verdict = verdict;
    std::memcpy(entries_ + at, &target, sizeof(target));
  }

  void WriteFoot(uint32_t at, const Chain& chain, const RuleRef& ref) {
    Entry entry{};
    WriteEntry(at, &entry, sizeof(entry), Sizes<Traits>::kFoot, ref,
               chain.hook ? chain.counters : Counters{}, false);
    int32_t verdict = kXtReturn;
    if (chain.hook) {
      verdict = chain.policy == Policy::kAccept ? kXtAccept : kXtDrop;
    }
    WriteStandard(at + static_cast<uint32_t>(sizeof(entry)), verdict);
  }

  void WriteExtension(size_t at, const Extension& extension) {
    xt_entry_match head{};
    head.u.user.match_size = static_cast<uint16_t>(ExtensionBytes(extension));
    std::memcpy(head.u.user.name, extension.name.data(), extension.name.size());
    head.u.user.revision = extension.revision;
    std::memcpy(entries_ + at, &head, kXtHeaderBytes);
    if (!extension.payload.empty()) {
      std::memcpy(entries_ + at + kXtHeaderBytes, extension.payload.data(),
                  extension.payload.size());
    }
  }

  Result<int32_t> StandardVerdict(const Rule& rule, uint32_t next) const {
    switch (rule.target.kind) {
      case TargetKind::kAccept:
        return kXtAccept;
      case TargetKind::kDrop:
        return kXtDrop;
      case TargetKind::kQueue:
        return kXtQueue;
      case TargetKind::kReturn:
        return kXtReturn;
      case TargetKind::kJump:
      case TargetKind::kGoto: {
        const auto it = user_chains_.find(rule.target.chain);
        if (it == user_chains_.end()) {
          return Fail(
              ErrorCode::kInternal,
              fmt::format("jump to '{}', which is no user chain of table {}",
                          rule.target.chain, TableName(table_.kind)),
              PlaceOf(rule, rule.target.column, rule.target.chain));
        }
        return static_cast<int32_t>(start_[it->second] + Sizes<Traits>::kHead);
      }
      case TargetKind::kNone:
      case TargetKind::kExtension:
        break;
    }
    return static_cast<int32_t>(next);
  }

  static void WriteSelector(const Selector& from, bool is_goto,
                            typename Traits::Selector* to) {
    constexpr size_t kAddressBytes = sizeof(to->src);
    std::memcpy(&to->src, from.src.data(), kAddressBytes);
    std::memcpy(&to->dst, from.dst.data(), kAddressBytes);
    std::memcpy(&to->smsk, from.src_mask.data(), kAddressBytes);
    std::memcpy(&to->dmsk, from.dst_mask.data(), kAddressBytes);
    std::memcpy(to->iniface, from.in.name.data(), IFNAMSIZ);
    std::memcpy(to->iniface_mask, from.in.mask.data(), IFNAMSIZ);
    std::memcpy(to->outiface, from.out.name.data(), IFNAMSIZ);
    std::memcpy(to->outiface_mask, from.out.mask.data(), IFNAMSIZ);
    to->proto = from.protocol;
    to->invflags = from.inverted;
    uint8_t flags = 0;
    if (from.fragment) flags |= Traits::kFlagFragment;
    if (from.protocol != 0) flags |= Traits::kFlagProtocol;
    if (is_goto) flags |= Traits::kFlagGoto;
    to->flags = flags;
  }

  /// Returns the offset behind the entry.
  Result<uint32_t> WriteRule(uint32_t at, const Rule& rule,
                             const RuleRef& ref) {
    size_t target_offset = sizeof(Entry);
    for (const Extension& match : rule.matches) {
      WriteExtension(at + target_offset, match);
      target_offset += ExtensionBytes(match);
    }
    size_t bytes = target_offset;
    if (rule.target.kind == TargetKind::kExtension) {
      WriteExtension(at + target_offset, rule.target.extension);
      bytes += ExtensionBytes(rule.target.extension);
    } else {
      bytes += kXtStandardTargetBytes;
      ASSIGN_OR_RETURN(
          const int32_t verdict,
          StandardVerdict(rule, at + static_cast<uint32_t>(bytes)));
      WriteStandard(at + static_cast<uint32_t>(target_offset), verdict);
    }
    Entry entry{};
    WriteSelector(rule.selector, rule.target.kind == TargetKind::kGoto,
                  &Traits::selector(entry));
    WriteEntry(at, &entry, target_offset, bytes, ref, rule.counters, false);
    return at + static_cast<uint32_t>(bytes);
  }

  const Table& table_;
  XtTableImage& image_;
  std::vector<uint32_t> start_;
  std::unordered_map<std::string_view, uint32_t> user_chains_;
  size_t size_ = 0;
  uint32_t entries_count_ = 0;
  uint8_t* entries_ = nullptr;
};

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
        offsets_[head] + static_cast<uint32_t>(Sizes<Traits>::kHead),
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

Result<XtTableImage> LowerXtTable(Family family, const Table& table) {
  XtTableImage image{.family = family, .kind = table.kind};
  const Status status = WithXtTraits(family, [&]<typename Traits>() {
    return Writer<Traits>(table, &image).Run();
  });
  RETURN_IF_ERROR(status);
  return image;
}

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
