#include "engines/vm/testing/kernel_tables.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <utility>

namespace nfarena::vm {
namespace {

constexpr size_t kReceiveBytes = 1 << 18;

uint16_t RequestType(DumpKind kind) {
  switch (kind) {
    case DumpKind::kTables:
      return NFT_MSG_GETTABLE;
    case DumpKind::kChains:
      return NFT_MSG_GETCHAIN;
    case DumpKind::kRules:
      return NFT_MSG_GETRULE;
    case DumpKind::kSets:
      return NFT_MSG_GETSET;
    case DumpKind::kObjects:
      return NFT_MSG_GETOBJ;
  }
  return 0;
}

constexpr uint16_t TypeOf(uint16_t message) {
  return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
}

}  // namespace

Result<KernelTables> KernelTables::Open() {
  int fd = -1;
  int error = 0;
  // The namespace change is the thread's own.
  std::thread([&fd, &error] {
    if (unshare(CLONE_NEWNET) != 0) {
      error = errno;
      return;
    }
    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    error = fd < 0 ? errno : 0;
  }).join();
  if (fd < 0) {
    return Fail(ErrorCode::kSystem, "no network namespace with nf_tables", {},
                error);
  }
  KernelTables tables(fd);
  const int size = 1 << 24;
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
  sockaddr_nl address{};
  address.nl_family = AF_NETLINK;
  if (bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0) {
    return FailErrno("bind a netlink socket");
  }
  return tables;
}

KernelTables::KernelTables(KernelTables&& other) noexcept
    : socket_(std::exchange(other.socket_, -1)) {}

KernelTables::~KernelTables() {
  if (socket_ >= 0) close(socket_);
}

BatchResult KernelTables::Submit(std::span<const uint8_t> batch) {
  BatchResult result;
  const Batch decoded = DecodeBatch(batch);
  if (send(socket_, batch.data(), batch.size(), 0) < 0) {
    result.answers.push_back({0, errno});
    return result;
  }
  // The kernel has done everything by now; what it says lies in the buffer.
  std::vector<uint8_t> buffer(kReceiveBytes);
  for (;;) {
    const ssize_t size =
        recv(socket_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (size <= 0) break;
    int rest = static_cast<int>(size);
    const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(message, rest);
         message = mnl_nlmsg_next(message, &rest)) {
      if (message->nlmsg_type != NLMSG_ERROR) continue;
      nlmsgerr error;
      std::memcpy(&error, mnl_nlmsg_get_payload(message), sizeof(error));
      result.answers.push_back({message->nlmsg_seq, -error.error});
    }
  }
  // An acknowledged end is a commit.
  for (const MessageError& answer : result.answers) {
    if (answer.error == 0 && answer.seq == decoded.end_seq &&
        decoded.end == BatchEnd::kCommit && result.error() == 0) {
      result.committed = true;
    }
  }
  return result;
}

std::vector<uint8_t> KernelTables::Ask(std::span<const uint8_t> request) {
  std::vector<uint8_t> all;
  if (send(socket_, request.data(), request.size(), 0) < 0) return all;
  std::vector<uint8_t> buffer(kReceiveBytes);
  for (;;) {
    const ssize_t size = recv(socket_, buffer.data(), buffer.size(), 0);
    if (size <= 0) return all;
    int rest = static_cast<int>(size);
    auto* message = reinterpret_cast<nlmsghdr*>(buffer.data());
    for (; mnl_nlmsg_ok(message, rest);
         message = mnl_nlmsg_next(message, &rest)) {
      if (message->nlmsg_type == NLMSG_DONE ||
          message->nlmsg_type == NLMSG_ERROR) {
        return all;
      }
      message->nlmsg_pid = 0;
      const auto* bytes = reinterpret_cast<const uint8_t*>(message);
      all.insert(all.end(), bytes, bytes + MNL_ALIGN(message->nlmsg_len));
    }
  }
}

std::vector<uint8_t> KernelTables::Dump(DumpKind kind,
                                        const DumpRequest& request) {
  std::vector<uint8_t> bytes;
  MessageWriter writer(&bytes);
  writer.BeginMessage(TypeOf(RequestType(kind)), NLM_F_REQUEST | NLM_F_DUMP,
                      request.seq, 0, request.family, 0);
  writer.EndMessage();
  return Ask(bytes);
}

std::vector<uint8_t> KernelTables::DumpElements(std::string_view table,
                                                std::string_view set,
                                                const DumpRequest& request) {
  std::vector<uint8_t> bytes;
  MessageWriter writer(&bytes);
  writer.BeginMessage(TypeOf(NFT_MSG_GETSETELEM), NLM_F_REQUEST | NLM_F_DUMP,
                      request.seq, 0, request.family, 0);
  writer.PutString(NFTA_SET_ELEM_LIST_TABLE, table);
  writer.PutString(NFTA_SET_ELEM_LIST_SET, set);
  writer.EndMessage();
  return Ask(bytes);
}

}  // namespace nfarena::vm
