#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <new>
#include <optional>
#include <string_view>
#include <unordered_map>

#include "compat/lower/xt_layout.h"
#include "compat/model/huge_pages.h"
#include "engines/legacy/legacy_program.h"

namespace nfarena {
namespace {

constexpr uint32_t kNoOffset = 0xffffffff;
constexpr size_t kMaxTableBytes = 512 * 1024 * 1024;  // XT_MAX_TABLE_SIZE
/// The bit of comefrom that mark_source_chains sets while an entry is on the
/// current path.
constexpr uint32_t kOnPath = 1u << kHookCount;
constexpr size_t kCacheLineBytes = 64;

auto Refuse(int errno_value, std::string message,
            ErrorCode code = ErrorCode::kRange) {
  return Fail(code, std::move(message), {}, errno_value);
}

/// The name in a header; 29 bytes without a NUL are no name.
std::optional<std::string_view> NameOf(const uint8_t* header) {
  const auto* name = reinterpret_cast<const char*>(
      header + offsetof(xt_entry_match, u.user.name));
  const size_t length = strnlen(name, kXtNameBytes);
  if (length == kXtNameBytes) return std::nullopt;
  return std::string_view(name, length);
}

bool IsNamed(const uint8_t* header, std::string_view name) {
  return NameOf(header) == name;
}

/// Whether the kernel registers it for all families at once.  A wrong revision
/// of such an extension is EPROTOTYPE; of one that is registered a family at a
/// time it is ENOENT, because the search goes on among those for all families
/// and forgets what it found (xt_find_match).
/// Source: net/netfilter/xt_*.c, NFPROTO_UNSPEC, Linux 6.12 and later.
bool IsAnyFamily(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "NFQUEUE",   "bpf",       "cgroup",    "comment", "connbytes",
      "connlabel", "connmark",  "conntrack", "cpu",     "devgroup",
      "helper",    "limit",     "mark",      "pkttype", "quota",
      "state",     "statistic", "string",    "time",    "u32"};
  return std::find(std::begin(kNames), std::end(kNames), name) !=
         std::end(kNames);
}

template <typename T>
T LoadAt(const uint8_t* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof(value));
  return value;
}

}  // namespace

void LegacyAlignedDelete::operator()(uint8_t* bytes) const {
  ::operator delete[](bytes, std::align_val_t{alignment});
}

template <typename Traits>
class LegacyTranslator {
 public:
  using Entry = typename Traits::Entry;

  LegacyTranslator(const LegacyReplaceHead& head,
                   std::span<const uint8_t> entries, NetState* net,
                   LegacyFault* fault, LegacyProgram* program)
      : head_(head), source_(entries), fault_(*fault), program_(*program) {
    program_.family_ = Traits::kFamily;
    program_.kind_ = head.table;
    program_.size_ = static_cast<uint32_t>(entries.size());
    program_.valid_hooks_ = head.valid_hooks;
    program_.hook_entry_.fill(kNoOffset);
    program_.underflow_.fill(kNoOffset);
    program_.net_ = net;
  }

  Status Run() {
    RETURN_IF_ERROR(Copy());
    RETURN_IF_ERROR(CheckEntries());
    RETURN_IF_ERROR(CheckHooks());
    if (!MarkSourceChains()) {
      return Refuse(ELOOP, "a loop of chains, or a jump to no entry",
                    ErrorCode::kConflict);
    }
    NameEntries();
    return BindEntries();
  }

 private:
  uint8_t* base() { return program_.bytes_.get(); }
  Entry* EntryAt(size_t offset) {
    return reinterpret_cast<Entry*>(base() + offset);
  }
  uint8_t* TargetOf(Entry* entry) {
    return reinterpret_cast<uint8_t*>(entry) + entry->target_offset;
  }

  Status Copy() {
    if (source_.size() > kXtMaxTableBytes) {
      return Refuse(ENOMEM, fmt::format("a table of {} bytes", source_.size()));
    }
    const size_t alignment =
        source_.size() < kHugePageBytes ? kCacheLineBytes : kHugePageBytes;
    const size_t bytes =
        (source_.size() / alignment + 1) * alignment;  // never 0
    auto* memory = static_cast<uint8_t*>(
        ::operator new[](bytes, std::align_val_t{alignment}));
    program_.bytes_ = std::unique_ptr<uint8_t[], LegacyAlignedDelete>(
        memory, LegacyAlignedDelete{alignment});
    if (alignment == kHugePageBytes) AdviseHugePages(memory, bytes);
    if (!source_.empty()) {
      std::memcpy(base(), source_.data(), source_.size());
    }
    return {};
  }

  /// check_entry_size_and_hooks(), first half.
  bool SizesOk(size_t at) {
    const size_t left = program_.size_ - at;
    if (at % alignof(Entry) != 0 || sizeof(Entry) >= left) return false;
    const Entry* e = EntryAt(at);
    if (e->next_offset > left ||
        e->next_offset < sizeof(Entry) + kXtHeaderBytes) {
      return false;
    }
    const auto& selector = Traits::selector(*e);
    if ((selector.flags & ~Traits::kFlagMask) != 0 ||
        (selector.invflags & ~Traits::kInvertMask) != 0) {
      return false;
    }
    return OffsetsOk(at);
  }

  /// xt_check_entry_offsets()
  bool OffsetsOk(size_t at) {
    Entry* e = EntryAt(at);
    const size_t target = e->target_offset;
    const size_t next = e->next_offset;
    if (target < sizeof(Entry) || target + kXtHeaderBytes > next) return false;
    const uint8_t* t = TargetOf(e);
    const size_t target_size = LoadAt<uint16_t>(t);
    if (target_size < kXtHeaderBytes || target + target_size > next) {
      return false;
    }
    if (IsNamed(t, XT_STANDARD_TARGET)) {
      if (XtAlign(target + sizeof(xt_standard_target)) != next) return false;
      if (!VerdictOk(LoadAt<int32_t>(t + kXtHeaderBytes))) return false;
    } else if (IsNamed(t, XT_ERROR_TARGET)) {
      if (target_size != sizeof(xt_error_target)) return false;
      const auto* text = reinterpret_cast<const char*>(t + kXtHeaderBytes);
      if (strnlen(text, kXtErrorNameBytes) == kXtErrorNameBytes) return false;
    }
    return MatchesOk(at, target);
  }

  static bool VerdictOk(int32_t verdict) {
    return verdict > 0 || verdict == kXtReturn || verdict == kXtAccept ||
           verdict == kXtDrop || verdict == kXtQueue;
  }

  /// xt_check_entry_match(): the matches fill the space up to the target.
  bool MatchesOk(size_t at, size_t target) {
    for (size_t m = sizeof(Entry); m < target;) {
      const size_t left = target - m;
      if ((at + m) % kXtAlign != 0 || left < kXtHeaderBytes) return false;
      const size_t size = LoadAt<uint16_t>(base() + at + m);
      if (size < kXtHeaderBytes || size > left) return false;
      m += size;
    }
    return true;
  }

  static bool Unconditional(const Entry& e) {
    static constexpr auto kNone = typename Traits::Selector{};
    return e.target_offset == sizeof(Entry) &&
           std::memcmp(&Traits::selector(e), &kNone, sizeof(kNone)) == 0;
  }

  /// check_underflow()
  bool UnderflowOk(Entry* e) {
    if (!Unconditional(*e)) return false;
    const uint8_t* t = TargetOf(e);
    if (!IsNamed(t, XT_STANDARD_TARGET)) return false;
    const auto verdict = LoadAt<int32_t>(t + kXtHeaderBytes);
    return verdict == kXtAccept || verdict == kXtDrop;
  }

  Status CheckEntry(size_t at) {
    if (!SizesOk(at)) {
      return Refuse(EINVAL, fmt::format("entry at offset {}: bad size, offset "
                                        "or flag",
                                        at));
    }
    Entry* e = EntryAt(at);
    for (size_t h = 0; h < kHookCount; ++h) {
      if ((head_.valid_hooks >> h & 1) == 0) continue;
      if (at == head_.hook_entry[h]) {
        program_.hook_entry_[h] = head_.hook_entry[h];
      }
      if (at != head_.underflow[h]) continue;
      if (!UnderflowOk(e)) {
        return Refuse(EINVAL,
                      fmt::format("entry at offset {}: an underflow must be an "
                                  "unconditional ACCEPT or DROP",
                                  at));
      }
      program_.underflow_[h] = head_.underflow[h];
    }
    e->counters = {};
    e->comefrom = 0;
    return {};
  }

  Status CheckEntries() {
    // xt_alloc_entry_offsets()
    if (head_.num_entries > kMaxTableBytes / sizeof(uint32_t)) {
      return Refuse(ENOMEM,
                    fmt::format("num_entries is {}", head_.num_entries));
    }
    offsets_.reserve(std::min<size_t>(
        head_.num_entries, program_.size_ / (sizeof(Entry) + kXtHeaderBytes)));
    uint32_t count = 0;
    for (size_t at = 0; at < program_.size_;) {
      fault_.entry = count;
      RETURN_IF_ERROR(CheckEntry(at));
      if (count < head_.num_entries) {
        offsets_.push_back(static_cast<uint32_t>(at));
      }
      ++count;
      if (IsNamed(TargetOf(EntryAt(at)), XT_ERROR_TARGET)) {
        ++program_.stack_size_;
      }
      at += EntryAt(at)->next_offset;
    }
    if (count != head_.num_entries) {
      return Refuse(EINVAL, fmt::format("{} entries, but num_entries is {}",
                                        count, head_.num_entries));
    }
    program_.entries_count_ = count;
    return {};
  }

  /// xt_check_table_hooks()
  Status CheckHooks() {
    std::optional<size_t> last;
    for (size_t h = 0; h < kHookCount; ++h) {
      if ((head_.valid_hooks >> h & 1) == 0) continue;
      const uint32_t entry = program_.hook_entry_[h];
      const uint32_t underflow = program_.underflow_[h];
      if (entry == kNoOffset || underflow == kNoOffset) {
        return Refuse(EINVAL, fmt::format("hook {}: its entry or underflow is "
                                          "at no entry's offset",
                                          h));
      }
      if (last && (program_.underflow_[*last] >= underflow ||
                   program_.hook_entry_[*last] >= entry)) {
        return Refuse(EINVAL,
                      fmt::format("hook {}: entries or underflows do not "
                                  "ascend",
                                  h));
      }
      last = h;
    }
    return {};
  }

  bool IsEntry(int32_t offset) const {
    return std::binary_search(offsets_.begin(), offsets_.end(),
                              static_cast<uint32_t>(offset));
  }

  /// mark_source_chains(): walks every chain from every hook without
  /// recursion; counters.pcnt holds the way back, comefrom the hooks.
  bool MarkSourceChains() {
    for (uint32_t hook = 0; hook < kHookCount; ++hook) {
      if ((head_.valid_hooks >> hook & 1) != 0 && !MarkFromHook(hook)) {
        return false;
      }
    }
    return true;
  }

  bool MarkFromHook(uint32_t hook) {
    size_t pos = program_.hook_entry_[hook];
    EntryAt(pos)->counters.pcnt = pos;
    for (;;) {
      Entry* e = EntryAt(pos);
      const uint8_t* t = TargetOf(e);
      const bool standard = IsNamed(t, XT_STANDARD_TARGET);
      const int32_t verdict =
          standard ? LoadAt<int32_t>(t + kXtHeaderBytes) : 0;
      const bool visited = (e->comefrom >> hook & 1) != 0;
      if ((e->comefrom & kOnPath) != 0) return false;
      e->comefrom |= (1u << hook) | kOnPath;

      if ((standard && verdict < 0 && Unconditional(*e)) || visited) {
        // The end of this path: back through the last big jump.
        size_t old_pos;
        do {
          e->comefrom ^= kOnPath;
          old_pos = pos;
          pos = static_cast<size_t>(e->counters.pcnt);
          e->counters.pcnt = 0;
          if (pos == old_pos) return true;  // back at the start
          e = EntryAt(pos);
        } while (old_pos == pos + e->next_offset);
        const size_t next = pos + e->next_offset;
        if (next >= program_.size_) return false;
        EntryAt(next)->counters.pcnt = pos;
        pos = next;
        continue;
      }
      size_t next = pos + e->next_offset;
      if (standard && verdict >= 0) {
        if (!IsEntry(verdict)) return false;
        next = static_cast<size_t>(verdict);
      } else if (next >= program_.size_) {
        return false;
      }
      EntryAt(next)->counters.pcnt = pos;
      pos = next;
    }
  }

  /// Writes chain and rule number into each entry, as the model counts them:
  /// user chains by name, the last entry of a chain is its end (rule 0).
  void NameEntries() {
    const std::vector<uint32_t> ranks = UserChainRanks();
    uint32_t built_in = 0;
    uint32_t user = 0;
    uint32_t chain = 0;
    uint32_t rule = 0;
    for (size_t i = 0; i < offsets_.size(); ++i) {
      Entry* e = EntryAt(offsets_[i]);
      const bool head = IsNamed(TargetOf(e), XT_ERROR_TARGET);
      if (head) {
        chain = ranks[user++];
        rule = 0;
      } else if (StartsHook(offsets_[i])) {
        chain = built_in++;
        rule = 1;
      } else {
        ++rule;
      }
      const bool last =
          i + 1 == offsets_.size() || StartsHook(offsets_[i + 1]) ||
          IsNamed(TargetOf(EntryAt(offsets_[i + 1])), XT_ERROR_TARGET);
      e->counters.pcnt = i;
      e->counters.bcnt =
          uint64_t{chain} << 32 | (last && !head ? uint32_t{0} : rule);
    }
  }

  bool StartsHook(uint32_t offset) const {
    return std::find(program_.hook_entry_.begin(), program_.hook_entry_.end(),
                     offset) != program_.hook_entry_.end();
  }

  /// For each ERROR node in blob order, the chain's index in the model.
  std::vector<uint32_t> UserChainRanks() {
    std::vector<std::pair<std::string_view, uint32_t>> names;
    for (uint32_t offset : offsets_) {
      const uint8_t* t = TargetOf(EntryAt(offset));
      if (!IsNamed(t, XT_ERROR_TARGET)) continue;
      names.emplace_back(reinterpret_cast<const char*>(t + kXtHeaderBytes),
                         static_cast<uint32_t>(names.size()));
    }
    // The last node ends the table; it is no chain and stays last.
    std::vector<uint32_t> ranks(names.size());
    const auto built_ins =
        static_cast<uint32_t>(std::popcount(head_.valid_hooks));
    if (!names.empty()) std::sort(names.begin(), names.end() - 1);
    for (size_t i = 0; i < names.size(); ++i) {
      ranks[names[i].second] = built_ins + static_cast<uint32_t>(i);
    }
    return ranks;
  }

  XtUse UseOf(Entry* e) {
    const auto& selector = Traits::selector(*e);
    XtUse use;
    use.family = Traits::kFamily;
    use.table = program_.kind_;
    use.hook_mask = static_cast<uint8_t>(e->comefrom);
    use.protocol = selector.proto;
    use.protocol_inverted = (selector.invflags & kInvertProtocol) != 0;
    use.net = program_.net_;
    use.holds = &program_.holds_;
    use.holds = &program_.holds_;
    use.wants_syn = false;
    for (size_t m = sizeof(Entry); m < e->target_offset;) {
      const uint8_t* header = reinterpret_cast<uint8_t*>(e) + m;
      const size_t size = LoadAt<uint16_t>(header);
      const auto name = NameOf(header);
      if (name &&
          XtWantsSyn(*name, {header + kXtHeaderBytes, size - kXtHeaderBytes})) {
        use.wants_syn = true;
      }
      m += size;
    }
    return use;
  }

  static const XtMatch* Find(Family family, std::string_view name,
                             uint8_t revision, const XtMatch*) {
    return FindXtMatch(family, name, revision);
  }
  static const XtTarget* Find(Family family, std::string_view name,
                              uint8_t revision, const XtTarget*) {
    return FindXtTarget(family, name, revision);
  }

  /// find_check_match(), check_target(): looks the extension up and asks it.
  template <typename X>
  Result<const X*> FindChecked(const uint8_t* header, const XtUse& use,
                               const char* what) {
    const auto name = NameOf(header);
    if (!name) return Refuse(EINVAL, fmt::format("{} name without end", what));
    const uint8_t revision = header[offsetof(LegacyBound, revision)];
    const X* found =
        Find(use.family, *name, revision, static_cast<const X*>(nullptr));
    if (found == nullptr) return NotFound<X>(use.family, *name, revision, what);
    const size_t size = LoadAt<uint16_t>(header) - kXtHeaderBytes;
    if (XtAlign(found->payload_size) != size) {
      return Refuse(EINVAL, fmt::format("{} {}.{}: payload of {} bytes, not {}",
                                        what, *name, revision, size,
                                        XtAlign(found->payload_size)));
    }
    if (found->check != nullptr) {
      const Status checked =
          found->check({header + kXtHeaderBytes, found->payload_size}, use);
      if (!checked) {
        Error error = checked.error();
        error.message = fmt::format("{} {}: {}", what, *name, error.message);
        if (error.errno_value == 0) error.errno_value = EINVAL;
        return tl::unexpected<Error>(std::move(error));
      }
    }
    return found;
  }

  template <typename X>
  static tl::unexpected<Error> NotFound(Family family, std::string_view name,
                                        uint8_t revision, const char* what) {
    constexpr unsigned kRevisions = 16;
    for (unsigned r = 0; IsAnyFamily(name) && r < kRevisions; ++r) {
      if (Find(family, name, static_cast<uint8_t>(r),
               static_cast<const X*>(nullptr)) != nullptr) {
        return Refuse(EPROTOTYPE,
                      fmt::format("{} '{}' has no revision {} here", what, name,
                                  revision),
                      ErrorCode::kUnsupported);
      }
    }
    return Refuse(
        ENOENT, fmt::format("{} '{}' is not known to this engine", what, name),
        ErrorCode::kUnsupported);
  }

  /// Puts the overlay on a header.  Uses without state share one record an
  /// extension (`key`), so that 50,000 "tcp" matches are one.
  Status Bind(uint8_t* header, const void* key, std::string_view name,
              uint32_t payload_bytes, const XtStateLayout* state,
              LegacyBound bound) {
    bound.size = LoadAt<uint16_t>(header);
    bound.revision = header[offsetof(LegacyBound, revision)];
    bound.state_offset = kLegacyNoState;
    const bool has_state = state != nullptr && state->bytes != 0;
    const auto known = has_state ? shared_uses_.end() : shared_uses_.find(key);
    if (known != shared_uses_.end()) {
      bound.use = known->second;
    } else {
      bound.use = static_cast<uint32_t>(program_.uses_.size());
      LegacyExtensionUse use{.name = std::string(name),
                             .payload_bytes = payload_bytes};
      if (has_state) {
        use.state = state;
        use.payload_offset =
            static_cast<uint32_t>(header + kXtHeaderBytes - base());
        use.state_offset = bound.state_offset = program_.state_bytes_;
        const uint64_t end =
            uint64_t{program_.state_bytes_} + XtAlign(state->bytes);
        if (end >= kLegacyNoState) {
          return Refuse(ENOMEM, "match state of over 4 GiB");
        }
        program_.state_bytes_ = static_cast<uint32_t>(end);
      } else {
        shared_uses_.emplace(key, bound.use);
      }
      program_.uses_.push_back(std::move(use));
    }
    std::memcpy(header, &bound, sizeof(bound));
    return {};
  }

  /// find_check_entry()
  Status BindEntry(Entry* e) {
    const XtUse use = UseOf(e);
    auto* bytes = reinterpret_cast<uint8_t*>(e);
    fault_.extension = 0;
    for (size_t m = sizeof(Entry); m < e->target_offset;
         m += LoadAt<uint16_t>(bytes + m)) {
      ASSIGN_OR_RETURN(const XtMatch* match,
                       FindChecked<XtMatch>(bytes + m, use, "match"));
      LegacyBound bound{};
      bound.match = match->match;
      RETURN_IF_ERROR(Bind(bytes + m, match, match->name, match->payload_size,
                           &match->state, bound));
      ++fault_.extension;
    }
    RETURN_IF_ERROR(BindTarget(TargetOf(e), use));
    fault_.extension = -1;
    return {};
  }

  Status BindTarget(uint8_t* header, const XtUse& use) {
    LegacyBound bound{};
    if (IsNamed(header, XT_STANDARD_TARGET) ||
        IsNamed(header, XT_ERROR_TARGET)) {
      if (header[offsetof(LegacyBound, revision)] != 0) {
        return Refuse(ENOENT, "standard target of an unknown revision",
                      ErrorCode::kUnsupported);
      }
      const bool error = IsNamed(header, XT_ERROR_TARGET);
      const size_t payload = LoadAt<uint16_t>(header) - kXtHeaderBytes;
      if (payload != (error ? XtAlign(kXtErrorNameBytes) : XtAlign(4))) {
        return Refuse(EINVAL, "standard target of a bad size");
      }
      if (error) bound.target = &DropAtError;
      static constexpr std::string_view kNames[] = {XT_STANDARD_TARGET,
                                                    XT_ERROR_TARGET};
      const std::string_view& name = kNames[error ? 1 : 0];
      return Bind(header, &name, name, error ? kXtErrorNameBytes : 4, nullptr,
                  bound);
    }
    ASSIGN_OR_RETURN(const XtTarget* target,
                     FindChecked<XtTarget>(header, use, "target"));
    bound.target = target->target;
    return Bind(header, target, target->name, target->payload_size,
                &target->state, bound);
  }

  /// ipt_error(): no packet gets here in a table made by libiptc.
  static XtTargetResult DropAtError(const uint8_t*, const XtContext&) {
    return {.verdict = XtVerdict::kDrop};
  }

  Status BindEntries() {
    for (size_t i = 0; i < offsets_.size(); ++i) {
      fault_.entry = static_cast<uint32_t>(i);
      RETURN_IF_ERROR(BindEntry(EntryAt(offsets_[i])));
    }
    return {};
  }

  const LegacyReplaceHead& head_;
  std::span<const uint8_t> source_;
  LegacyFault& fault_;
  LegacyProgram& program_;
  std::vector<uint32_t> offsets_;  // ascending
  std::unordered_map<const void*, uint32_t> shared_uses_;
};

Result<std::shared_ptr<const LegacyProgram>> LegacyProgram::Translate(
    Family family, const LegacyReplaceHead& head,
    std::span<const uint8_t> entries, NetState* net, LegacyFault* fault) {
  auto program = std::make_shared<LegacyProgram>();
  const Status status = WithXtTraits(family, [&]<typename Traits>() {
    return LegacyTranslator<Traits>(head, entries, net, fault, program.get())
        .Run();
  });
  RETURN_IF_ERROR(status);
  return std::shared_ptr<const LegacyProgram>(std::move(program));
}

}  // namespace nfarena
