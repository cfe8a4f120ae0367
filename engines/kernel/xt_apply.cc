#include "engines/kernel/xt_apply.h"

#include <fmt/format.h>
#include <netinet/in.h>

// After glibc's own headers, whose structures the kernel's then leave out.
#include <libiptc/ipt_kernel_headers.h>
#include <libiptc/libiptc.h>
#include <libiptc/xtcshared.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

// Unlike libiptc.h, iptables 1.8.9's libip6tc.h does not say that it is C.
extern "C" {
#include <libiptc/libip6tc.h>
}

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "compat/model/target_name.h"
#include "engines/core/stopwatch.h"

namespace nfarena::kernel {
namespace {

/// libiptc and libip6tc have the same functions with different names.
struct Ipv4Api {
  using Entry = ipt_entry;
  static constexpr Family kFamily = Family::kIpv4;
  static constexpr auto Init = iptc_init;
  static constexpr auto Free = iptc_free;
  static constexpr auto Commit = iptc_commit;
  static constexpr auto Words = iptc_strerror;
  static constexpr auto Append = iptc_append_entry;
  static constexpr auto Insert = iptc_insert_entry;
  static constexpr auto Replace = iptc_replace_entry;
  static constexpr auto DeleteNumber = iptc_delete_num_entry;
  static constexpr auto DeleteEntry = iptc_delete_entry;
  static constexpr auto Flush = iptc_flush_entries;
  static constexpr auto Zero = iptc_zero_entries;
  static constexpr auto ZeroCounter = iptc_zero_counter;
  static constexpr auto CreateChain = iptc_create_chain;
  static constexpr auto DeleteChain = iptc_delete_chain;
  static constexpr auto RenameChain = iptc_rename_chain;
  static constexpr auto SetPolicy = iptc_set_policy;
  static constexpr auto FirstChain = iptc_first_chain;
  static constexpr auto NextChain = iptc_next_chain;
  static constexpr auto BuiltIn = iptc_builtin;
};

struct Ipv6Api {
  using Entry = ip6t_entry;
  static constexpr Family kFamily = Family::kIpv6;
  static constexpr auto Init = ip6tc_init;
  static constexpr auto Free = ip6tc_free;
  static constexpr auto Commit = ip6tc_commit;
  static constexpr auto Words = ip6tc_strerror;
  static constexpr auto Append = ip6tc_append_entry;
  static constexpr auto Insert = ip6tc_insert_entry;
  static constexpr auto Replace = ip6tc_replace_entry;
  static constexpr auto DeleteNumber = ip6tc_delete_num_entry;
  static constexpr auto DeleteEntry = ip6tc_delete_entry;
  static constexpr auto Flush = ip6tc_flush_entries;
  static constexpr auto Zero = ip6tc_zero_entries;
  static constexpr auto ZeroCounter = ip6tc_zero_counter;
  static constexpr auto CreateChain = ip6tc_create_chain;
  static constexpr auto DeleteChain = ip6tc_delete_chain;
  static constexpr auto RenameChain = ip6tc_rename_chain;
  static constexpr auto SetPolicy = ip6tc_set_policy;
  static constexpr auto FirstChain = ip6tc_first_chain;
  static constexpr auto NextChain = ip6tc_next_chain;
  static constexpr auto BuiltIn = ip6tc_builtin;
};

/// The name by which libiptc knows a standard verdict or a jump; it makes the
/// verdict number from it.  "" = go on with the next rule.
std::string StandardName(const Target& target) {
  return target.kind == TargetKind::kExtension
             ? ""
             : std::string(TargetName(target));
}

/// One rule's entry, cut out of a table that holds nothing else.
Result<std::vector<uint8_t>> EntryOf(Family family, TableKind kind,
                                     const Rule& rule) {
  Table table = EmptyTable(kind);
  const bool jumps = rule.target.kind == TargetKind::kJump ||
                     rule.target.kind == TargetKind::kGoto;
  // The name is resolved by libiptc; here it only has to exist.
  Rule alone = rule;
  constexpr char kAnywhere[] = "x";
  if (jumps) {
    alone.target.chain = kAnywhere;
    auto chain = table.AddChain(kAnywhere);
    if (!chain) return tl::unexpected(std::move(chain).error());
  }
  table.chains.front().rules.push_back(std::move(alone));
  ASSIGN_OR_RETURN(const XtTableImage image, LowerXtTable(family, table));
  constexpr size_t kHead = offsetof(ipt_replace, entries);
  std::optional<size_t> begin;
  size_t end = image.replace.size();
  for (const XtEntryRef& entry : image.entries) {
    if (begin) {
      end = kHead + entry.offset;
      break;
    }
    if (!entry.head && entry.rule.chain == 0 && entry.rule.rule == 1) {
      begin = kHead + entry.offset;
    }
  }
  if (!begin || end > image.replace.size() || *begin >= end) {
    return Fail(ErrorCode::kInternal, "the rule is not in its own table");
  }
  return std::vector<uint8_t>(
      image.replace.begin() + static_cast<std::ptrdiff_t>(*begin),
      image.replace.begin() + static_cast<std::ptrdiff_t>(end));
}

template <typename Api>
class TableEditor {
 public:
  using Entry = typename Api::Entry;

  explicit TableEditor(TableKind kind) : kind_(kind) {}

  Status Read() {
    handle_.reset(Api::Init(TableName(kind_)));
    if (handle_ == nullptr) return Refused("cannot read the table", 0);
    return {};
  }

  Status Change(const nfarena::Change& change) {
    errno = 0;
    ASSIGN_OR_RETURN(const bool done, Make(change));
    if (done) return {};
    return Refused(fmt::format("chain '{}'", change.chain), change.rule.line);
  }

  Status Commit() {
    errno = 0;
    if (Api::Commit(handle_.get()) != 0) return {};
    return Refused("the kernel refuses the change", 0);
  }

  TableKind kind() const { return kind_; }

 private:
  struct Free {
    void operator()(xtc_handle* handle) const { Api::Free(handle); }
  };

  Result<bool> Make(const nfarena::Change& change) {
    xtc_handle* handle = handle_.get();
    const char* chain = change.chain.c_str();
    if (change.chain.size() >= sizeof(xt_chainlabel)) {
      return Fail(ErrorCode::kRange, "a chain name has at most 31 bytes");
    }
    switch (change.kind) {
      case ChangeKind::kAppend: {
        ASSIGN_OR_RETURN(const auto entry, EntryBytes(change.rule));
        return Api::Append(chain, As(entry), handle) != 0;
      }
      case ChangeKind::kInsert: {
        if (change.rulenum == 0) return TooBig();
        ASSIGN_OR_RETURN(const auto entry, EntryBytes(change.rule));
        return Api::Insert(chain, As(entry), change.rulenum - 1, handle) != 0;
      }
      case ChangeKind::kReplace: {
        if (change.rulenum == 0) return TooBig();
        ASSIGN_OR_RETURN(const auto entry, EntryBytes(change.rule));
        return Api::Replace(chain, As(entry), change.rulenum - 1, handle) != 0;
      }
      case ChangeKind::kDeleteIndex:
        if (change.rulenum == 0) return TooBig();
        return Api::DeleteNumber(chain, change.rulenum - 1, handle) != 0;
      case ChangeKind::kDeleteRule: {
        ASSIGN_OR_RETURN(const auto entry, EntryBytes(change.rule));
        std::vector<uint8_t> mask = MaskOf(change.rule, entry.size());
        return Api::DeleteEntry(chain, As(entry), mask.data(), handle) != 0;
      }
      case ChangeKind::kFlush:
        return change.chain.empty() ? ForEachChain([&](const char* c) {
          return Api::Flush(c, handle);
        })
                                    : Api::Flush(chain, handle) != 0;
      case ChangeKind::kZero:
        if (change.rulenum != 0) {
          return Api::ZeroCounter(chain, change.rulenum, handle) != 0;
        }
        return change.chain.empty() ? ForEachChain([&](const char* c) {
          return Api::Zero(c, handle);
        })
                                    : Api::Zero(chain, handle) != 0;
      case ChangeKind::kNewChain:
        return Api::CreateChain(chain, handle) != 0;
      case ChangeKind::kDeleteChain:
        return change.chain.empty() ? ForEachChain([&](const char* c) {
          return Api::BuiltIn(c, handle) != 0 ? 1 : Api::DeleteChain(c, handle);
        })
                                    : Api::DeleteChain(chain, handle) != 0;
      case ChangeKind::kRenameChain:
        return Api::RenameChain(chain, change.rename_to.c_str(), handle) != 0;
      case ChangeKind::kPolicy: {
        xt_counters counters{change.counters.packets, change.counters.bytes};
        const bool given = change.counters != Counters{};
        return Api::SetPolicy(
                   chain, change.policy == Policy::kAccept ? "ACCEPT" : "DROP",
                   given ? &counters : nullptr, handle) != 0;
      }
    }
    return false;
  }

  static bool TooBig() {
    errno = E2BIG;
    return false;
  }

  // The names are copied first: a walk does not survive a change.
  template <typename Use>
  bool ForEachChain(Use use) {
    std::vector<std::string> names;
    for (const char* name = Api::FirstChain(handle_.get()); name != nullptr;
         name = Api::NextChain(handle_.get())) {
      names.emplace_back(name);
    }
    return std::all_of(names.begin(), names.end(), [&](const std::string& n) {
      return use(n.c_str()) != 0;
    });
  }

  Result<std::vector<uint8_t>> EntryBytes(const Rule& rule) const {
    ASSIGN_OR_RETURN(std::vector<uint8_t> bytes,
                     EntryOf(Api::kFamily, kind_, rule));
    Entry head{};
    std::memcpy(&head, bytes.data(), sizeof head);
    head.counters = {rule.counters.packets, rule.counters.bytes};
    std::memcpy(bytes.data(), &head, sizeof head);
    if (rule.target.kind == TargetKind::kExtension) return bytes;
    xt_standard_target target{};
    std::memcpy(&target, &bytes[head.target_offset], sizeof target);
    const std::string name = StandardName(rule.target);
    std::memset(target.target.u.user.name, 0, sizeof target.target.u.user.name);
    std::memcpy(target.target.u.user.name, name.data(),
                std::min(name.size(), sizeof target.target.u.user.name - 1));
    target.verdict = 0;
    std::memcpy(&bytes[head.target_offset], &target, sizeof target);
    return bytes;
  }

  /// 0xff where deleting by specification compares: what user space set.
  static std::vector<uint8_t> MaskOf(const Rule& rule, size_t size) {
    std::vector<uint8_t> mask(size, 0);
    size_t offset = sizeof(Entry);
    const auto cover = [&](size_t header, size_t user, size_t payload) {
      const size_t end = std::min(size, offset + header + user);
      std::fill(
          mask.begin() + static_cast<std::ptrdiff_t>(std::min(offset, end)),
          mask.begin() + static_cast<std::ptrdiff_t>(end), 0xff);
      offset += header + payload;
    };
    std::fill_n(mask.begin(), std::min(size, sizeof(Entry)), 0xff);
    for (const Extension& match : rule.matches) {
      cover(sizeof(xt_entry_match), match.user_size, match.payload.size());
    }
    const Extension& target = rule.target.extension;
    if (rule.target.kind == TargetKind::kExtension) {
      cover(sizeof(xt_entry_target), target.user_size, target.payload.size());
    } else {
      cover(sizeof(xt_standard_target), 0, 0);
    }
    return mask;
  }

  static const Entry* As(const std::vector<uint8_t>& bytes) {
    return reinterpret_cast<const Entry*>(bytes.data());
  }

  tl::unexpected<Error> Refused(std::string what, uint32_t line) const {
    const int why = errno;
    SourcePlace place;
    place.line = line;
    return Fail(ErrorCode::kSystem,
                fmt::format("table {}: {}: {}", TableName(kind_), what,
                            Api::Words(why)),
                std::move(place), why);
  }

  TableKind kind_;
  std::unique_ptr<xtc_handle, Free> handle_;
};

/// What one cycle of libiptc moves: read all, replace all, hand over counters.
void AddTraffic(const XtInfo& before, const XtInfo& after, UpdateCost* cost) {
  constexpr size_t kCounter = sizeof(xt_counters);
  cost->bytes_received += sizeof(ipt_getinfo) + sizeof(ipt_get_entries) +
                          before.size + before.num_entries * kCounter;
  cost->bytes_sent += sizeof(ipt_replace) + after.size +
                      sizeof(xt_counters_info) + after.num_entries * kCounter;
  cost->messages += 4;
}

template <typename Api>
Status ApplyWith(const XtSocket& socket, const Delta& delta, UpdateCost* cost) {
  std::vector<TableEditor<Api>> editors;
  std::vector<XtInfo> before;
  for (const Change& change : delta) {
    auto editor =
        std::find_if(editors.begin(), editors.end(),
                     [&](const auto& e) { return e.kind() == change.table; });
    if (editor == editors.end()) {
      ASSIGN_OR_RETURN(const XtInfo info, socket.Info(change.table));
      before.push_back(info);
      editor = editors.emplace(editors.end(), change.table);
      RETURN_IF_ERROR(editor->Read());
    }
    RETURN_IF_ERROR(editor->Change(change));
  }
  // Only now is anything put in force.
  std::vector<XtSnapshot> old;
  for (size_t i = 0; i + 1 < editors.size(); ++i) {
    ASSIGN_OR_RETURN(XtSnapshot snapshot, socket.Read(editors[i].kind()));
    old.push_back(std::move(snapshot));
  }
  for (size_t i = 0; i < editors.size(); ++i) {
    const Stopwatch watch;
    const Status status = editors[i].Commit();
    cost->commit_ns += watch.nanoseconds();
    if (status) {
      ASSIGN_OR_RETURN(const XtInfo after, socket.Info(editors[i].kind()));
      AddTraffic(before[i], after, cost);
      continue;
    }
    for (size_t back = i; back-- > 0;) {
      RETURN_IF_ERROR(socket.Restore(editors[back].kind(), old[back]));
    }
    return status;
  }
  return {};
}

}  // namespace

Status ApplyXtDelta(const XtSocket& socket, const Delta& delta,
                    UpdateCost* cost) {
  return socket.family() == Family::kIpv4
             ? ApplyWith<Ipv4Api>(socket, delta, cost)
             : ApplyWith<Ipv6Api>(socket, delta, cost);
}

}  // namespace nfarena::kernel
