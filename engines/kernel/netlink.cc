#include "engines/kernel/netlink.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include <cassert>
#include <cerrno>
#include <cstring>

namespace nfarena::kernel {
namespace {

// A dump's parts are at most 32 KiB (NLMSG_GOODSIZE grown); an error echoes at
// most the header.
constexpr size_t kReceiveBytes = size_t{1} << 17;
// A dump that is disturbed this often will not be undisturbed later.
constexpr int kDumpTries = 100;

const nlmsghdr* HeaderAt(std::span<const uint8_t> bytes, size_t offset) {
  if (bytes.size() - offset < sizeof(nlmsghdr)) return nullptr;
  const auto* header = reinterpret_cast<const nlmsghdr*>(&bytes[offset]);
  if (header->nlmsg_len < sizeof(nlmsghdr) ||
      header->nlmsg_len > bytes.size() - offset) {
    return nullptr;
  }
  return header;
}

NetlinkError ReadError(const nlmsghdr* header) {
  NetlinkError error;
  const auto* body =
      static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(header));
  // Acks are 0, errors negative and small; anything else is not the kernel's.
  constexpr int kMaxErrno = 4095;
  error.errno_value =
      body->error > 0 || body->error < -kMaxErrno ? EPROTO : -body->error;
  error.seq = body->msg.nlmsg_seq;
  if ((header->nlmsg_flags & NLM_F_ACK_TLVS) == 0) return error;
  // The offending message is echoed in full unless NLM_F_CAPPED.
  size_t skip = sizeof(nlmsgerr);
  if ((header->nlmsg_flags & NLM_F_CAPPED) == 0) {
    skip += mnl_nlmsg_get_payload_len(&body->msg);
  }
  ForEachAttribute(AttributesOf(header, skip),
                   [&error](uint16_t type, auto payload) {
                     if (type == NLMSGERR_ATTR_MSG)
                       error.text = ReadText(payload);
                     if (type == NLMSGERR_ATTR_OFFS)
                       error.offset = ReadU32(payload);
                   });
  return error;
}

}  // namespace

void ForEachMessage(std::span<const uint8_t> bytes,
                    const std::function<void(const nlmsghdr*)>& use) {
  size_t offset = 0;
  while (offset < bytes.size()) {
    const nlmsghdr* header = HeaderAt(bytes, offset);
    if (header == nullptr) return;
    use(header);
    offset += NLMSG_ALIGN(header->nlmsg_len);
  }
}

std::vector<NetlinkError> ReadErrors(std::span<const uint8_t> messages) {
  std::vector<NetlinkError> errors;
  ForEachMessage(messages, [&errors](const nlmsghdr* header) {
    if (header->nlmsg_type != NLMSG_ERROR) return;
    if (mnl_nlmsg_get_payload_len(header) < sizeof(nlmsgerr)) return;
    NetlinkError error = ReadError(header);
    if (error.errno_value != 0) errors.push_back(std::move(error));
  });
  return errors;
}

std::span<const uint8_t> AttributesOf(const nlmsghdr* header, size_t skip) {
  const size_t begin = sizeof(nlmsghdr) + NLMSG_ALIGN(skip);
  if (header->nlmsg_len < begin) return {};
  return {reinterpret_cast<const uint8_t*>(header) + begin,
          header->nlmsg_len - begin};
}

uint32_t ReadU32(std::span<const uint8_t> payload) {
  uint32_t value = 0;
  if (payload.size() == sizeof value) {
    std::memcpy(&value, payload.data(), sizeof value);
  }
  return value;
}

uint32_t ReadBe32(std::span<const uint8_t> payload) {
  return ntohl(ReadU32(payload));
}

uint64_t ReadBe64(std::span<const uint8_t> payload) {
  uint64_t value = 0;
  if (payload.size() == sizeof value) {
    std::memcpy(&value, payload.data(), sizeof value);
  }
  return be64toh(value);
}

std::string_view ReadText(std::span<const uint8_t> payload) {
  const char* text = reinterpret_cast<const char*>(payload.data());
  return {text, strnlen(text, payload.size())};
}

Error ErrorOf(const NetlinkError& error, std::string_view what) {
  std::string message(what);
  if (!error.text.empty()) message += ": " + error.text;
  if (error.offset != 0) {
    message += fmt::format(" (attribute at byte {})", error.offset);
  }
  return Error{ErrorCode::kSystem, std::move(message), {}, error.errno_value};
}

void NetlinkSocket::Closer::operator()(mnl_socket* socket) const {
  mnl_socket_close(socket);
}

NetlinkSocket::NetlinkSocket(mnl_socket* socket)
    : socket_(socket), buffer_(kReceiveBytes) {}

Result<NetlinkSocket> NetlinkSocket::Open(int protocol) {
  mnl_socket* raw = mnl_socket_open2(protocol, SOCK_CLOEXEC);
  if (raw == nullptr) {
    return FailErrno(fmt::format("cannot open netlink protocol {}", protocol));
  }
  NetlinkSocket socket(raw);
  if (mnl_socket_bind(raw, 0, MNL_SOCKET_AUTOPID) != 0) {
    return FailErrno("cannot bind a netlink socket");
  }
  // Errors then name the attribute and do not echo the whole message.
  int on = 1;
  mnl_socket_setsockopt(raw, NETLINK_EXT_ACK, &on, sizeof on);
  mnl_socket_setsockopt(raw, NETLINK_CAP_ACK, &on, sizeof on);
  return socket;
}

int NetlinkSocket::fd() const { return mnl_socket_get_fd(socket_.get()); }

uint32_t NetlinkSocket::portid() const {
  return mnl_socket_get_portid(socket_.get());
}

void NetlinkSocket::GrowReceiveBuffer(int bytes) {
  if (setsockopt(fd(), SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) != 0) {
    setsockopt(fd(), SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
  }
}

void NetlinkSocket::GrowSendBuffer(size_t bytes) {
  if (bytes <= send_buffer_) return;
  const int value =
      bytes > INT32_MAX / 2 ? INT32_MAX / 2 : static_cast<int>(bytes);
  if (setsockopt(fd(), SOL_SOCKET, SO_SNDBUFFORCE, &value, sizeof value) != 0) {
    setsockopt(fd(), SOL_SOCKET, SO_SNDBUF, &value, sizeof value);
  }
  send_buffer_ = bytes;
}

Status NetlinkSocket::SendOnly(std::span<const uint8_t> messages) {
  // One message of the socket layer holds the whole batch, with 32 bytes of
  // its own (netlink_sendmsg).
  GrowSendBuffer(messages.size() + 64);
  ++calls_;
  const ssize_t sent =
      mnl_socket_sendto(socket_.get(), messages.data(), messages.size());
  if (sent < 0) {
    const int why = errno;
    if (why == EMSGSIZE) {
      return Fail(ErrorCode::kSystem,
                  fmt::format("{} bytes in one netlink message are over this "
                              "user's limit (net.core.wmem_max; root of the "
                              "first user namespace has none)",
                              messages.size()),
                  {}, why);
    }
    errno = why;
    return FailErrno("netlink send");
  }
  return {};
}

Result<std::vector<NetlinkError>> NetlinkSocket::Send(
    std::span<const uint8_t> messages) {
  RETURN_IF_ERROR(SendOnly(messages));
  std::vector<NetlinkError> errors;
  while (true) {
    ++calls_;
    const ssize_t got =
        recv(fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EAGAIN) return errors;
      if (errno == EINTR) continue;
      // More errors than the queue holds: those that are there will do.
      if (errno == ENOBUFS && !errors.empty()) continue;
      return FailErrno("netlink receive");
    }
    auto more = ReadErrors({buffer_.data(), static_cast<size_t>(got)});
    errors.insert(errors.end(), std::make_move_iterator(more.begin()),
                  std::make_move_iterator(more.end()));
  }
}

Status NetlinkSocket::Request(std::span<const uint8_t> message,
                              std::string_view what) {
  ASSIGN_OR_RETURN(auto errors, Send(message));
  if (errors.empty()) return {};
  return tl::unexpected(ErrorOf(errors.front(), what));
}

Result<std::vector<uint8_t>> NetlinkSocket::Dump(
    std::span<const uint8_t> message, std::string_view what) {
  for (int tries = 0; tries < kDumpTries; ++tries) {
    RETURN_IF_ERROR(SendOnly(message));
    std::vector<uint8_t> all;
    bool done = false;
    bool disturbed = false;
    while (!done) {
      ++calls_;
      const ssize_t got = recv(fd(), buffer_.data(), buffer_.size(), 0);
      if (got < 0) {
        if (errno == EINTR) continue;
        return FailErrno(std::string(what));
      }
      size_t offset = 0;
      const std::span<const uint8_t> part(buffer_.data(),
                                          static_cast<size_t>(got));
      while (offset < part.size()) {
        const nlmsghdr* header = HeaderAt(part, offset);
        if (header == nullptr) {
          return Fail(ErrorCode::kSystem,
                      fmt::format("{}: a netlink message is cut off", what));
        }
        if ((header->nlmsg_flags & NLM_F_DUMP_INTR) != 0) disturbed = true;
        const size_t whole = NLMSG_ALIGN(header->nlmsg_len);
        if (header->nlmsg_type == NLMSG_DONE) {
          done = true;
        } else if (header->nlmsg_type == NLMSG_ERROR) {
          const auto errors = ReadErrors(part.subspan(offset));
          if (errors.empty()) {
            done = true;
          } else {
            return tl::unexpected(ErrorOf(errors.front(), what));
          }
        } else {
          const size_t end = std::min(part.size(), offset + whole);
          all.insert(all.end(), part.begin() + offset, part.begin() + end);
          all.resize(NLMSG_ALIGN(all.size()));
        }
        offset += whole;
      }
    }
    if (!disturbed) return all;
  }
  return Fail(ErrorCode::kConflict,
              fmt::format("{}: somebody changes it all the time", what));
}

Result<std::vector<uint8_t>> NetlinkSocket::Ask(
    std::span<const uint8_t> message, std::string_view what) {
  RETURN_IF_ERROR(SendOnly(message));
  std::vector<uint8_t> all;
  while (true) {
    ++calls_;
    const ssize_t got =
        recv(fd(), buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == EINTR) continue;
      if (errno == EAGAIN) break;
      return FailErrno(std::string(what));
    }
    all.insert(all.end(), buffer_.begin(), buffer_.begin() + got);
    all.resize(NLMSG_ALIGN(all.size()));
  }
  const auto errors = ReadErrors(all);
  if (!errors.empty()) return tl::unexpected(ErrorOf(errors.front(), what));
  return all;
}

void* MessageBuilder::Begin(uint16_t type, uint16_t flags, uint32_t seq,
                            size_t extra_bytes) {
  assert(NLMSG_ALIGN(bytes_.size()) == bytes_.size());
  begin_ = bytes_.size();
  bytes_.resize(begin_ + NLMSG_HDRLEN + NLMSG_ALIGN(extra_bytes));
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = seq;
  std::memcpy(&bytes_[begin_], &header, sizeof header);
  return extra_bytes == 0 ? nullptr : &bytes_[begin_ + NLMSG_HDRLEN];
}

void MessageBuilder::Put(uint16_t type, const void* data, size_t size) {
  const size_t place = BeginNest(type);
  bytes_.insert(bytes_.end(), static_cast<const uint8_t*>(data),
                static_cast<const uint8_t*>(data) + size);
  EndNest(place);
}

void MessageBuilder::PutU8(uint16_t type, uint8_t value) {
  Put(type, &value, sizeof value);
}

void MessageBuilder::PutU16(uint16_t type, uint16_t value) {
  Put(type, &value, sizeof value);
}

void MessageBuilder::PutU32(uint16_t type, uint32_t value) {
  Put(type, &value, sizeof value);
}

void MessageBuilder::PutBe32(uint16_t type, uint32_t value) {
  PutU32(type, htonl(value));
}

void MessageBuilder::PutString(uint16_t type, std::string_view text) {
  const size_t place = BeginNest(type);
  bytes_.insert(bytes_.end(), text.begin(), text.end());
  bytes_.push_back(0);
  EndNest(place);
}

size_t MessageBuilder::BeginNest(uint16_t type) {
  const size_t place = bytes_.size();
  nlattr attribute{};
  attribute.nla_type = type;
  bytes_.resize(place + sizeof attribute);
  std::memcpy(&bytes_[place], &attribute, sizeof attribute);
  return place;
}

void MessageBuilder::EndNest(size_t place) {
  const size_t size = bytes_.size() - place;
  assert(size <= UINT16_MAX);
  const auto length = static_cast<uint16_t>(size);
  std::memcpy(&bytes_[place], &length, sizeof length);
  bytes_.resize(NLMSG_ALIGN(bytes_.size()));
}

void MessageBuilder::End() {
  const auto length = static_cast<uint32_t>(bytes_.size() - begin_);
  std::memcpy(&bytes_[begin_], &length, sizeof length);
}

}  // namespace nfarena::kernel
