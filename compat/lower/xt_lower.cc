#include <fmt/format.h>

#include <string>
#include <string_view>
#include <unordered_map>

#include "compat/lower/chain_order.h"
#include "compat/lower/xt_layout.h"
#include "compat/lower/xt_table.h"
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

/// A table out of order would give a blob that means something else.
Status CheckChains(const Table& table) {
  if (!ChainsInOrder(table)) {
    return Fail(ErrorCode::kInternal,
                fmt::format("the chains of table {} are out of order",
                            TableName(table.kind)));
  }
  for (const Chain& chain : table.chains) {
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

}  // namespace

Result<XtTableImage> LowerXtTable(Family family, const Table& table) {
  XtTableImage image{.family = family, .kind = table.kind};
  const Status status = WithXtTraits(family, [&]<typename Traits>() {
    return Writer<Traits>(table, &image).Run();
  });
  RETURN_IF_ERROR(status);
  return image;
}

}  // namespace nfarena
