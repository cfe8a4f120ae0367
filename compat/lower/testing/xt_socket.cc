#include "compat/lower/testing/xt_socket.h"

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace nfarena::testing {
namespace {

/// Both families have the same numbers and the same structs around the
/// entries.
static_assert(IPT_SO_SET_REPLACE == IP6T_SO_SET_REPLACE);
static_assert(IPT_SO_GET_ENTRIES == IP6T_SO_GET_ENTRIES);
static_assert(sizeof(ipt_getinfo) == sizeof(ip6t_getinfo));
static_assert(sizeof(ipt_get_entries) == sizeof(ip6t_get_entries));

class Socket {
 public:
  explicit Socket(Family family)
      : fd_(socket(family == Family::kIpv4 ? AF_INET : AF_INET6, SOCK_RAW,
                   IPPROTO_RAW)),
        level_(family == Family::kIpv4 ? IPPROTO_IP : IPPROTO_IPV6) {}
  ~Socket() {
    if (fd_ >= 0) close(fd_);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  int Get(int option, void* data, socklen_t size) const {
    return getsockopt(fd_, level_, option, data, &size) == 0 ? 0 : errno;
  }
  int Set(int option, const void* data, socklen_t size) const {
    return setsockopt(fd_, level_, option, data, size) == 0 ? 0 : errno;
  }

 private:
  int fd_;
  int level_;
};

ipt_getinfo InfoRequest(TableKind kind) {
  ipt_getinfo info{};
  std::strncpy(info.name, TableName(kind), sizeof(info.name) - 1);
  return info;
}

std::string ReadAll(int fd) {
  std::string text;
  char buffer[4096];
  for (;;) {
    const ssize_t n = read(fd, buffer, sizeof(buffer));
    if (n <= 0) return text;
    text.append(buffer, static_cast<size_t>(n));
  }
}

}  // namespace

std::optional<std::string> KernelTestsBlockedBy() {
  if (geteuid() != 0) return "needs root";
  const std::string why = InNamespace([] {
    KernelTable table;
    const int error = ReadTable(Family::kIpv4, TableKind::kFilter, &table);
    return error == 0 ? std::string()
                      : std::string("no xtables here: ") + strerror(error);
  });
  if (why.empty()) return std::nullopt;
  return why;
}

std::string InNamespace(const std::function<std::string()>& body) {
  int ends[2];
  if (pipe(ends) != 0) return "pipe failed";
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child < 0) return "fork failed";
  if (child == 0) {
    close(ends[0]);
    const std::string answer =
        unshare(CLONE_NEWNET) == 0
            ? body()
            : std::string("no network namespace: ") + strerror(errno);
    const ssize_t written = write(ends[1], answer.data(), answer.size());
    _exit(written == static_cast<ssize_t>(answer.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string answer = ReadAll(ends[0]);
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    answer += " (the child died)";
  }
  return answer;
}

int LegacyRestore(Family family, const std::string& text) {
  // A lock file of our own: the system's lock belongs to the system's rules.
  char lock[] = "/tmp/nfarena-xtables-lock-XXXXXX";
  const int fd = mkstemp(lock);
  if (fd < 0) return -1;
  close(fd);
  const std::string command =
      std::string("XTABLES_LOCKFILE=") + lock +
      (family == Family::kIpv4 ? " iptables-legacy-restore"
                               : " ip6tables-legacy-restore") +
      " -c";
  FILE* pipe = popen(command.c_str(), "w");
  int status = -1;
  if (pipe != nullptr) {
    std::fwrite(text.data(), 1, text.size(), pipe);
    status = pclose(pipe);
  }
  unlink(lock);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

int ReadTable(Family family, TableKind kind, KernelTable* table) {
  const Socket socket(family);
  ipt_getinfo info = InfoRequest(kind);
  if (const int e = socket.Get(IPT_SO_GET_INFO, &info, sizeof(info))) return e;
  table->valid_hooks = info.valid_hooks;
  std::memcpy(table->hook_entry, info.hook_entry, sizeof(info.hook_entry));
  std::memcpy(table->underflow, info.underflow, sizeof(info.underflow));
  table->num_entries = info.num_entries;
  // operator new aligns enough for the struct in front.
  std::vector<uint8_t> buffer(sizeof(ipt_get_entries) + info.size);
  ipt_get_entries head{};
  std::memcpy(head.name, info.name, sizeof(info.name));
  head.size = info.size;
  std::memcpy(buffer.data(), &head, sizeof(head));
  if (const int e = socket.Get(IPT_SO_GET_ENTRIES, buffer.data(),
                               static_cast<socklen_t>(buffer.size()))) {
    return e;
  }
  table->entries.assign(buffer.begin() + sizeof(ipt_get_entries), buffer.end());
  return 0;
}

int WriteTable(Family family, TableKind kind, std::span<const uint8_t> replace,
               uint32_t num_counters) {
  const Socket socket(family);
  ipt_getinfo info = InfoRequest(kind);
  if (const int e = socket.Get(IPT_SO_GET_INFO, &info, sizeof(info))) return e;
  std::vector<xt_counters> counters(info.num_entries + num_counters);
  std::vector<uint8_t> bytes(replace.begin(), replace.end());
  if (bytes.size() >= sizeof(ipt_replace)) {
    ipt_replace head{};
    std::memcpy(&head, bytes.data(), sizeof(head));
    head.num_counters = num_counters != 0 ? num_counters : info.num_entries;
    head.counters = counters.data();
    std::memcpy(bytes.data(), &head, sizeof(head));
  }
  return socket.Set(IPT_SO_SET_REPLACE, bytes.data(),
                    static_cast<socklen_t>(bytes.size()));
}

int WriteTableRaw(Family family, std::span<const uint8_t> replace,
                  size_t counters) {
  const Socket socket(family);
  std::vector<xt_counters> room(counters);
  std::vector<uint8_t> bytes(replace.begin(), replace.end());
  constexpr size_t kPointer = offsetof(ipt_replace, counters);
  if (bytes.size() >= sizeof(ipt_replace)) {
    const xt_counters* pointer = room.data();
    std::memcpy(bytes.data() + kPointer, &pointer, sizeof(pointer));
  }
  return socket.Set(IPT_SO_SET_REPLACE, bytes.data(),
                    static_cast<socklen_t>(bytes.size()));
}

}  // namespace nfarena::testing
