#include "compat/lower/testing/nft_socket.h"

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>

#include "compat/lower/nft_objects.h"

namespace nfarena::testing {
namespace {

constexpr uint32_t kDumpSeq = 1;

struct Closer {
  void operator()(mnl_socket* socket) const { mnl_socket_close(socket); }
};
using Socket = std::unique_ptr<mnl_socket, Closer>;

Result<Socket> Open() {
  Socket socket(mnl_socket_open(NETLINK_NETFILTER));
  if (!socket || mnl_socket_bind(socket.get(), 0, MNL_SOCKET_AUTOPID) < 0) {
    return FailErrno("netlink socket");
  }
  return socket;
}

uint8_t Number(Family family) {
  return family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

/// Appends the messages of one dump to `out`.
Status Dump(mnl_socket* socket, const nlmsghdr* request,
            std::vector<uint8_t>* out) {
  if (mnl_socket_sendto(socket, request, request->nlmsg_len) < 0) {
    return FailErrno("send a dump request");
  }
  std::vector<char> buffer(size_t{1} << 18);
  for (;;) {
    const ssize_t size =
        mnl_socket_recvfrom(socket, buffer.data(), buffer.size());
    if (size < 0) return FailErrno("receive a dump");
    int left = static_cast<int>(size);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
         mnl_nlmsg_ok(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_type == NLMSG_DONE) return {};
      if (message->nlmsg_type == NLMSG_ERROR) {
        const auto* error =
            static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
        return Fail(ErrorCode::kSystem, "dump", {}, -error->error);
      }
      const auto* begin = reinterpret_cast<const uint8_t*>(message);
      out->insert(out->end(), begin, begin + MNL_ALIGN(message->nlmsg_len));
    }
  }
}

Status DumpType(mnl_socket* socket, uint8_t family, uint16_t type,
                std::vector<uint8_t>* out) {
  char buffer[256];
  return Dump(socket,
              nftnl_nlmsg_build_hdr(buffer, type, family, NLM_F_DUMP, kDumpSeq),
              out);
}

}  // namespace

Status SendNftBatch(std::span<const uint8_t> batch) {
  ASSIGN_OR_RETURN(const Socket socket, Open());
  const int fd = mnl_socket_get_fd(socket.get());
  const int size = static_cast<int>(batch.size()) + (1 << 20);
  setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
  // The last message acknowledged tells that all were looked at.
  std::vector<uint8_t> bytes(batch.begin(), batch.end());
  auto* end = reinterpret_cast<nlmsghdr*>(bytes.data() + bytes.size() -
                                          MNL_NLMSG_HDRLEN - sizeof(nfgenmsg));
  end->nlmsg_flags |= NLM_F_ACK;
  if (mnl_socket_sendto(socket.get(), bytes.data(), bytes.size()) < 0) {
    return FailErrno("send a batch");
  }
  std::vector<char> buffer(size_t{1} << 18);
  for (;;) {
    const ssize_t got =
        mnl_socket_recvfrom(socket.get(), buffer.data(), buffer.size());
    if (got < 0) return FailErrno("receive the answer to a batch");
    int left = static_cast<int>(got);
    for (const auto* message = reinterpret_cast<const nlmsghdr*>(buffer.data());
         mnl_nlmsg_ok(message, left);
         message = mnl_nlmsg_next(message, &left)) {
      if (message->nlmsg_type != NLMSG_ERROR) continue;
      const auto* error =
          static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(message));
      if (error->error == 0) return {};
      return Fail(ErrorCode::kSystem,
                  fmt::format("message {} refused", message->nlmsg_seq), {},
                  -error->error);
    }
  }
}

namespace {

Status ReadInto(uint8_t family, NftDumpBytes* dump) {
  ASSIGN_OR_RETURN(const Socket socket, Open());
  RETURN_IF_ERROR(
      DumpType(socket.get(), family, NFT_MSG_GETCHAIN, &dump->chains));
  RETURN_IF_ERROR(
      DumpType(socket.get(), family, NFT_MSG_GETRULE, &dump->rules));
  std::vector<uint8_t> sets;
  RETURN_IF_ERROR(DumpType(socket.get(), family, NFT_MSG_GETSET, &sets));
  int left = static_cast<int>(sets.size());
  for (const auto* message = reinterpret_cast<const nlmsghdr*>(sets.data());
       mnl_nlmsg_ok(message, left); message = mnl_nlmsg_next(message, &left)) {
    const nft::OwnedSet set(nftnl_set_alloc());
    if (nftnl_set_nlmsg_parse(message, set.get()) < 0) {
      return FailErrno("parse a set");
    }
    char buffer[1024];
    nlmsghdr* request = nftnl_nlmsg_build_hdr(buffer, NFT_MSG_GETSETELEM,
                                              family, NLM_F_DUMP, kDumpSeq);
    mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_TABLE,
                      nftnl_set_get_str(set.get(), NFTNL_SET_TABLE));
    mnl_attr_put_strz(request, NFTA_SET_ELEM_LIST_SET,
                      nftnl_set_get_str(set.get(), NFTNL_SET_NAME));
    RETURN_IF_ERROR(Dump(socket.get(), request, &dump->elements));
  }
  return {};
}

}  // namespace

Result<NftDumpBytes> ReadNft(Family family) {
  NftDumpBytes dump;
  RETURN_IF_ERROR(ReadInto(Number(family), &dump));
  return dump;
}

Result<NftDumpBytes> ReadNftWithInet(Family family) {
  NftDumpBytes dump;
  RETURN_IF_ERROR(ReadInto(Number(family), &dump));
  RETURN_IF_ERROR(ReadInto(NFPROTO_INET, &dump));
  return dump;
}

std::string RunCommand(const std::string& command, const std::string& input,
                       int* status) {
  char name[] = "/tmp/nfarena-input-XXXXXX";
  const int fd = mkstemp(name);
  *status = -1;
  if (fd < 0) return "no temporary file";
  const bool written =
      write(fd, input.data(), input.size()) == ssize_t(input.size());
  close(fd);
  std::string output;
  FILE* pipe =
      written ? popen((command + " 2>&1 <" + name).c_str(), "r") : nullptr;
  if (pipe != nullptr) {
    char buffer[4096];
    while (const size_t n = fread(buffer, 1, sizeof(buffer), pipe)) {
      output.append(buffer, n);
    }
    *status = WEXITSTATUS(pclose(pipe));
  }
  unlink(name);
  return output;
}

}  // namespace nfarena::testing
