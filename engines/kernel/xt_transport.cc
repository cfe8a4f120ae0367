#include "engines/kernel/xt_transport.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

// After glibc's own headers, whose structures the kernel's then leave out.
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <string>

#include "engines/core/stopwatch.h"

namespace nfarena::kernel {
namespace {

// Both families have the same numbers and the same structures, except that
// IPv6's are named ip6t_*; everything before the entries is laid out alike.
static_assert(sizeof(ipt_getinfo) == sizeof(ip6t_getinfo));
static_assert(offsetof(ipt_replace, entries) ==
              offsetof(ip6t_replace, entries));
static_assert(offsetof(ipt_get_entries, entrytable) ==
              offsetof(ip6t_get_entries, entrytable));
static_assert(IPT_SO_SET_REPLACE == IP6T_SO_SET_REPLACE);
static_assert(IPT_SO_GET_ENTRIES == IP6T_SO_GET_ENTRIES);

constexpr size_t kReplaceHead = offsetof(ipt_replace, entries);
constexpr size_t kEntriesHead = offsetof(ipt_get_entries, entrytable);
// Another process may change a table between GET_INFO and the call that needs
// its answer; that many times in a row it does not.
constexpr int kTries = 64;

int Level(Family family) { return family == Family::kIpv4 ? SOL_IP : SOL_IPV6; }

const char* Tool(Family family) {
  return family == Family::kIpv4 ? "ip_tables" : "ip6_tables";
}

void PutName(TableKind table, char* name, size_t size) {
  const std::string text = TableName(table);
  std::memcpy(name, text.c_str(), std::min(size, text.size() + 1));
}

/// Adds the time of one call to the cost at its end.
class CallTimer {
 public:
  explicit CallTimer(UpdateCost* cost) : cost_(cost) {}
  ~CallTimer() {
    if (cost_ == nullptr) return;
    cost_->commit_ns += watch_.nanoseconds();
    ++cost_->messages;
  }
  CallTimer(const CallTimer&) = delete;
  CallTimer& operator=(const CallTimer&) = delete;

 private:
  UpdateCost* cost_;
  Stopwatch watch_;
};

// Size and offset of an entry's counters and its next_offset, per family.
struct EntryLayout {
  size_t head, next_offset, counters;
};

EntryLayout LayoutOf(Family family) {
  if (family == Family::kIpv4) {
    return {sizeof(ipt_entry), offsetof(ipt_entry, next_offset),
            offsetof(ipt_entry, counters)};
  }
  return {sizeof(ip6t_entry), offsetof(ip6t_entry, next_offset),
          offsetof(ip6t_entry, counters)};
}

// The counters of a snapshot, in the order of its entries.
Result<std::vector<Counters>> CountersOf(Family family,
                                         std::span<const uint8_t> entries) {
  const EntryLayout layout = LayoutOf(family);
  std::vector<Counters> counters;
  size_t offset = 0;
  while (offset < entries.size()) {
    if (entries.size() - offset < layout.head) break;
    uint16_t next = 0;
    std::memcpy(&next, &entries[offset + layout.next_offset], sizeof next);
    if (next < layout.head || next > entries.size() - offset) break;
    xt_counters value{};
    std::memcpy(&value, &entries[offset + layout.counters], sizeof value);
    counters.push_back({value.pcnt, value.bcnt});
    offset += next;
  }
  if (offset != entries.size()) {
    return Fail(ErrorCode::kSystem, "the kernel's table has a broken entry");
  }
  return counters;
}

}  // namespace

Result<XtSocket> XtSocket::Open(Family family) {
  const int domain = family == Family::kIpv4 ? AF_INET : AF_INET6;
  UniqueFd fd(socket(domain, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW));
  if (!fd.valid()) {
    return FailErrno(
        fmt::format("cannot open a raw {} socket", FamilyName(family)));
  }
  return XtSocket(family, std::move(fd));
}

Result<XtInfo> XtSocket::Info(TableKind table) const {
  ipt_getinfo raw{};
  PutName(table, raw.name, sizeof raw.name);
  socklen_t size = sizeof raw;
  if (getsockopt(fd_.get(), Level(family_), IPT_SO_GET_INFO, &raw, &size) !=
      0) {
    return FailErrno(
        fmt::format("{} has no table {}", Tool(family_), TableName(table)));
  }
  XtInfo info;
  info.valid_hooks = raw.valid_hooks;
  std::copy_n(raw.hook_entry, kHookCount, info.hook_entry.begin());
  std::copy_n(raw.underflow, kHookCount, info.underflow.begin());
  info.num_entries = raw.num_entries;
  info.size = raw.size;
  return info;
}

Result<XtSnapshot> XtSocket::Read(TableKind table) const {
  for (int tries = 0; tries < kTries; ++tries) {
    XtSnapshot snapshot;
    ASSIGN_OR_RETURN(snapshot.info, Info(table));
    std::vector<uint8_t> answer(kEntriesHead + snapshot.info.size);
    PutName(table, reinterpret_cast<char*>(answer.data()), XT_TABLE_MAXNAMELEN);
    const uint32_t bytes = snapshot.info.size;
    std::memcpy(&answer[offsetof(ipt_get_entries, size)], &bytes, sizeof bytes);
    auto size = static_cast<socklen_t>(answer.size());
    if (getsockopt(fd_.get(), Level(family_), IPT_SO_GET_ENTRIES, answer.data(),
                   &size) == 0) {
      snapshot.entries.assign(answer.begin() + kEntriesHead, answer.end());
      return snapshot;
    }
    if (errno != EAGAIN) {
      return FailErrno(fmt::format("cannot read table {}", TableName(table)));
    }
  }
  return Fail(ErrorCode::kConflict,
              fmt::format("table {} changes all the time", TableName(table)));
}

Result<std::vector<TableKind>> XtSocket::ExistingTables() const {
  // thread-self: the calling thread's namespace, which is the one the caller
  // has to be in for this.
  const char* path = family_ == Family::kIpv4
                         ? "/proc/thread-self/net/ip_tables_names"
                         : "/proc/thread-self/net/ip6_tables_names";
  UniqueFd file(open(path, O_RDONLY | O_CLOEXEC));
  if (!file.valid()) {
    if (errno == ENOENT) return std::vector<TableKind>{};
    return FailErrno(path);
  }
  std::string text(4096, '\0');
  const ssize_t got = read(file.get(), text.data(), text.size());
  if (got < 0) return FailErrno(path);
  text.resize(static_cast<size_t>(got));
  std::vector<TableKind> tables;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const auto kind =
        TableKindFromName(std::string_view(text).substr(begin, end - begin));
    if (kind) tables.push_back(*kind);
    begin = end + 1;
  }
  std::sort(tables.begin(), tables.end());
  return tables;
}

Status XtSocket::SetReplace(TableKind table, std::vector<uint8_t>* replace,
                            UpdateCost* cost) const {
  std::vector<xt_counters> old;
  for (int tries = 0; tries < kTries; ++tries) {
    ASSIGN_OR_RETURN(const XtInfo info, Info(table));
    // The kernel hands the old table's counters back; nobody reads them here,
    // but it insists on their exact number.
    old.resize(info.num_entries);
    const uint32_t count = info.num_entries;
    xt_counters* pointer = old.data();
    std::memcpy(&(*replace)[offsetof(ipt_replace, num_counters)], &count,
                sizeof count);
    std::memcpy(&(*replace)[offsetof(ipt_replace, counters)], &pointer,
                sizeof pointer);
    const CallTimer timer(cost);
    if (cost != nullptr) {
      cost->bytes_sent += replace->size();
      cost->bytes_received += old.size() * sizeof(xt_counters);
    }
    if (setsockopt(fd_.get(), Level(family_), IPT_SO_SET_REPLACE,
                   replace->data(),
                   static_cast<socklen_t>(replace->size())) == 0) {
      return {};
    }
    if (errno != EAGAIN) {
      return FailErrno(
          fmt::format("{} refuses table {}", Tool(family_), TableName(table)));
    }
  }
  return Fail(ErrorCode::kConflict,
              fmt::format("table {} changes all the time", TableName(table)));
}

Status XtSocket::AddCounters(TableKind table,
                             std::span<const Counters> counters,
                             UpdateCost* cost) const {
  const bool any = std::any_of(
      counters.begin(), counters.end(),
      [](const Counters& c) { return c.packets != 0 || c.bytes != 0; });
  if (!any) return {};
  xt_counters_info head{};
  PutName(table, head.name, sizeof head.name);
  head.num_counters = static_cast<unsigned>(counters.size());
  std::vector<uint8_t> message(sizeof head +
                               counters.size() * sizeof(xt_counters));
  std::memcpy(message.data(), &head, sizeof head);
  uint8_t* place = message.data() + sizeof head;
  for (const Counters& c : counters) {
    const xt_counters value{c.packets, c.bytes};
    std::memcpy(place, &value, sizeof value);
    place += sizeof value;
  }
  const CallTimer timer(cost);
  if (cost != nullptr) cost->bytes_sent += message.size();
  if (setsockopt(fd_.get(), Level(family_), IPT_SO_SET_ADD_COUNTERS,
                 message.data(), static_cast<socklen_t>(message.size())) != 0) {
    return FailErrno(fmt::format("{} refuses the counters of table {}",
                                 Tool(family_), TableName(table)));
  }
  return {};
}

Status XtSocket::Replace(XtTableImage image, UpdateCost* cost) const {
  if (image.replace.size() < kReplaceHead) {
    return Fail(ErrorCode::kInternal, "the table's image is cut off");
  }
  RETURN_IF_ERROR(SetReplace(image.kind, &image.replace, cost));
  return AddCounters(image.kind, image.counters, cost);
}

Status XtSocket::Restore(TableKind table, const XtSnapshot& snapshot) const {
  ipt_replace head{};
  PutName(table, head.name, sizeof head.name);
  head.valid_hooks = snapshot.info.valid_hooks;
  head.num_entries = snapshot.info.num_entries;
  head.size = snapshot.info.size;
  std::copy_n(snapshot.info.hook_entry.begin(), kHookCount, head.hook_entry);
  std::copy_n(snapshot.info.underflow.begin(), kHookCount, head.underflow);
  std::vector<uint8_t> replace(kReplaceHead);
  std::memcpy(replace.data(), &head, kReplaceHead);
  replace.insert(replace.end(), snapshot.entries.begin(),
                 snapshot.entries.end());
  ASSIGN_OR_RETURN(const auto counters, CountersOf(family_, snapshot.entries));
  RETURN_IF_ERROR(SetReplace(table, &replace, nullptr));
  return AddCounters(table, counters, nullptr);
}

Status ReplaceTables(const XtSocket& socket, std::vector<XtTableImage> images,
                     UpdateCost* cost, size_t* failed) {
  // What to go back to: needed for all but the last, whose refusal leaves it
  // as it was.
  std::vector<XtSnapshot> old;
  for (size_t i = 0; i + 1 < images.size(); ++i) {
    ASSIGN_OR_RETURN(XtSnapshot snapshot, socket.Read(images[i].kind));
    old.push_back(std::move(snapshot));
  }
  std::vector<TableKind> done;
  for (size_t i = 0; i < images.size(); ++i) {
    const TableKind kind = images[i].kind;
    Status status = socket.Replace(std::move(images[i]), cost);
    if (status) {
      done.push_back(kind);
      continue;
    }
    if (failed != nullptr) *failed = i;
    for (size_t back = done.size(); back-- > 0;) {
      const Status restored = socket.Restore(done[back], old[back]);
      if (!restored) {
        return Fail(
            ErrorCode::kSystem,
            fmt::format("{}; and table {} could not be put back: {}",
                        status.error().ToString(), TableName(done[back]),
                        restored.error().ToString()));
      }
    }
    return status;
  }
  return {};
}

Result<Ruleset> ReadTables(const XtSocket& socket,
                           std::span<const TableKind> tables,
                           UpdateCost* cost) {
  Ruleset ruleset;
  ruleset.family = socket.family();
  for (const TableKind kind : tables) {
    XtSnapshot snapshot;
    {
      const CallTimer timer(cost);
      ASSIGN_OR_RETURN(snapshot, socket.Read(kind));
    }
    if (cost != nullptr) {
      cost->bytes_received += kEntriesHead + snapshot.entries.size();
    }
    ASSIGN_OR_RETURN(
        Table table,
        RaiseXtTable(socket.family(), kind, snapshot.entries,
                     snapshot.info.hook_entry, snapshot.info.underflow,
                     snapshot.info.valid_hooks, {}));
    ruleset.tables.push_back(std::move(table));
  }
  return ruleset;
}

}  // namespace nfarena::kernel
