#include "engines/kernel/rights.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <fstream>
#include <mutex>
#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "engines/kernel/fd.h"
#include "engines/kernel/namespace.h"
#include "engines/kernel/netlink.h"
#include "engines/kernel/xt_transport.h"

namespace nfarena::kernel {
namespace {

constexpr char kTunDevice[] = "/dev/net/tun";
bool in_user_namespace = false;  // set before there are threads

Status WriteText(const char* path, const std::string& text) {
  UniqueFd fd(open(path, O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return FailErrno(path);
  if (write(fd.get(), text.data(), text.size()) !=
      static_cast<ssize_t>(text.size())) {
    return FailErrno(path);
  }
  return {};
}

Status EnterUserNamespace() {
  // The ids are those outside; inside only the mapped one exists.
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) {
    const int why = errno;
    const char* hint =
        why == EPERM    ? " (forbidden by a sysctl or security module)"
        : why == ENOSPC ? " (user.max_user_namespaces)"
        : why == EINVAL ? " (the process has more than one thread)"
                        : "";
    errno = why;
    return FailErrno(
        fmt::format("no right to make network namespaces and cannot make a "
                    "user namespace{}",
                    hint));
  }
  in_user_namespace = true;
  // Without this the group map may not be written (user_namespaces(7)).
  RETURN_IF_ERROR(WriteText("/proc/self/setgroups", "deny"));
  RETURN_IF_ERROR(WriteText("/proc/self/uid_map", fmt::format("0 {} 1", uid)));
  RETURN_IF_ERROR(WriteText("/proc/self/gid_map", fmt::format("0 {} 1", gid)));
  return {};
}

Status CheckTun() {
  UniqueFd tun(open(kTunDevice, O_RDWR | O_CLOEXEC));
  if (tun.valid()) return {};
  return FailErrno(fmt::format("cannot open {}", kTunDevice));
}

Status CheckNfTables() {
  auto socket = NetlinkSocket::Open(NETLINK_NETFILTER);
  if (!socket) {
    return Fail(ErrorCode::kSystem, "nfnetlink is missing in this kernel", {},
                socket.error().errno_value);
  }
  MessageBuilder message;
  auto* body = static_cast<nfgenmsg*>(
      message.Begin(NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, NLM_F_REQUEST,
                    1, sizeof(nfgenmsg)));
  body->version = NFNETLINK_V0;
  message.End();
  auto answer = socket->Ask(message.bytes(), "nf_tables");
  if (!answer) {
    return Fail(ErrorCode::kSystem, "nf_tables does not answer", {},
                answer.error().errno_value);
  }
  return {};
}

Status TryHost(Family family, bool legacy) {
  auto ns = Namespace::Create();
  if (!ns) return tl::unexpected(std::move(ns).error());
  RETURN_IF_ERROR(CheckTun());
  ASSIGN_OR_RETURN(const auto scope, NamespaceScope::Enter(*ns));
  RETURN_IF_ERROR(CheckNfTables());
  if (!legacy) return {};
  ASSIGN_OR_RETURN(XtSocket socket, XtSocket::Open(family));
  auto info = socket.Info(TableKind::kFilter);
  if (!info) {
    return Fail(
        ErrorCode::kSystem,
        fmt::format("{} of the kernel does not answer",
                    family == Family::kIpv4 ? "ip_tables" : "ip6_tables"),
        {}, info.error().errno_value);
  }
  return {};
}

}  // namespace

Status EnsureNetAdmin() {
  const auto ns = Namespace::Create();
  if (ns) return {};
  if (ns.error().errno_value != EPERM) return tl::unexpected(ns.error());
  return EnterUserNamespace();
}

bool InUserNamespace() { return in_user_namespace; }

namespace {

/// `map`: lines of "first-inside first-outside count" (user_namespaces(7)).
bool IsMapped(const char* map, uint32_t id) {
  std::ifstream in(map);
  uint64_t inside = 0, outside = 0, count = 0;
  while (in >> inside >> outside >> count) {
    if (id >= inside && id - inside < count) return true;
  }
  return false;
}

}  // namespace

bool UserIsMapped(uint32_t uid) { return IsMapped("/proc/self/uid_map", uid); }
bool GroupIsMapped(uint32_t gid) { return IsMapped("/proc/self/gid_map", gid); }

namespace {

/// The reason alone is what lists of engines show.
Status WithErrnoInMessage(Status status) {
  if (status || status.error().errno_value == 0) return status;
  Error error = std::move(status).error();
  error.message += ": " + std::generic_category().message(error.errno_value);
  error.errno_value = 0;
  return tl::unexpected(std::move(error));
}

}  // namespace

Status CheckHost(Family family, bool legacy) {
  // The answer of a host does not change while a program runs, and asking
  // costs a namespace.
  static std::mutex mutex;
  static std::array<std::optional<Status>, 4> known;
  const size_t slot = (family == Family::kIpv6 ? 1u : 0u) + (legacy ? 2u : 0u);
  const std::lock_guard lock(mutex);
  if (!known[slot]) known[slot] = WithErrnoInMessage(TryHost(family, legacy));
  return *known[slot];
}

}  // namespace nfarena::kernel
