#include "engines/kernel/inject.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace nfarena::kernel {
namespace {

constexpr size_t kEthernetHeader = 14;
constexpr uint16_t kEtherTypeIpv4 = 0x0800;
constexpr uint16_t kEtherTypeIpv6 = 0x86dd;

size_t HeaderBytes(Family family) { return family == Family::kIpv4 ? 20 : 40; }

/// The calling thread's owner ids for the file system, which a new socket
/// takes over; put back at the end.  The system calls are per thread, glibc's
/// wrappers of setuid() are not.
class OwnerScope {
 public:
  OwnerScope(std::optional<uint32_t> uid, std::optional<uint32_t> gid) {
    if (gid) old_gid_ = static_cast<uint32_t>(syscall(SYS_setfsgid, *gid));
    if (uid) old_uid_ = static_cast<uint32_t>(syscall(SYS_setfsuid, *uid));
    // It fails without a word; asking for an id nobody has tells the current.
    const auto now_uid = static_cast<uint32_t>(syscall(SYS_setfsuid, -1));
    const auto now_gid = static_cast<uint32_t>(syscall(SYS_setfsgid, -1));
    ok_ = (!uid || now_uid == *uid) && (!gid || now_gid == *gid);
  }
  ~OwnerScope() {
    if (old_uid_) syscall(SYS_setfsuid, *old_uid_);
    if (old_gid_) syscall(SYS_setfsgid, *old_gid_);
  }
  OwnerScope(const OwnerScope&) = delete;
  OwnerScope& operator=(const OwnerScope&) = delete;
  bool ok() const { return ok_; }

 private:
  std::optional<uint32_t> old_uid_, old_gid_;
  bool ok_ = false;
};

Status Unsupported(const Packet& packet, std::string message) {
  SourcePlace place;
  place.line = packet.line;
  return Fail(ErrorCode::kUnsupported, std::move(message), std::move(place));
}

// The answers of send() that speak of the packet or its route.
bool IsRefusal(int error) {
  switch (error) {
    case EPERM:    // dropped at OUTPUT
    case ENOBUFS:  // dropped at POSTROUTING
    case EINVAL:   // malformed
    case EMSGSIZE:
    case EACCES:  // prohibited route, broadcast
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EADDRNOTAVAIL:
    case ECONNREFUSED:  // an answer to an earlier packet
    case EAGAIN:
      return true;
    default:
      return false;
  }
}

}  // namespace

Result<UniqueFd> Injector::OpenSocket(const Owner& owner) const {
  ASSIGN_OR_RETURN(const auto scope, NamespaceScope::Enter(*ns_));
  const OwnerScope ids(owner.first, owner.second);
  if (!ids.ok()) {
    return Fail(
        ErrorCode::kUnsupported,
        fmt::format("this user cannot send as uid {} gid {}",
                    owner.first ? fmt::to_string(*owner.first) : "-",
                    owner.second ? fmt::to_string(*owner.second) : "-"));
  }
  const bool ipv4 = family_ == Family::kIpv4;
  // IPPROTO_RAW: the header is the caller's, for both families.
  UniqueFd fd(socket(ipv4 ? AF_INET : AF_INET6,
                     SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_RAW));
  if (!fd.valid()) return FailErrno("cannot open a raw socket");
  const int on = 1;
  const int off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_BROADCAST, &on, sizeof on);
  // A copy for local members would be a second packet.
  if (ipv4) {
    setsockopt(fd.get(), IPPROTO_IP, IP_MULTICAST_LOOP, &off, sizeof off);
  } else {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_MULTICAST_LOOP, &off, sizeof off);
  }
  return fd;
}

Status Injector::Prepare(const Packet& packet) {
  if (packet.family != family_) {
    return Unsupported(
        packet, fmt::format("an {} packet cannot pass an {} ruleset",
                            FamilyName(packet.family), FamilyName(family_)));
  }
  if (Arrives(packet)) {
    const NetworkDevice* device = network_->Find(packet.in);
    if (device == nullptr) {
      return Unsupported(
          packet,
          fmt::format("there is no device '{}' to arrive on", packet.in));
    }
    if (!device->link_layer && (packet.mac_src || packet.mac_dst)) {
      return Unsupported(
          packet,
          fmt::format("device '{}' was made without a link layer", packet.in));
    }
    return {};
  }
  const Owner owner{packet.uid, packet.gid};
  if (sockets_.contains(owner)) return {};
  auto opened = OpenSocket(owner);
  if (!opened) {
    Error error = std::move(opened).error();
    error.place.line = packet.line;
    return tl::unexpected(std::move(error));
  }
  sockets_.emplace(owner, std::move(*opened));
  return {};
}

Result<bool> Injector::Send(const Packet& packet) {
  return Arrives(packet) ? Write(packet) : SendFromHere(packet);
}

Result<bool> Injector::Write(const Packet& packet) {
  const NetworkDevice* device = network_->Find(packet.in);
  if (device == nullptr) {
    return Fail(ErrorCode::kInternal, "Send() without Prepare()");
  }
  ssize_t written = 0;
  if (device->link_layer) {
    frame_.resize(kEthernetHeader + packet.bytes.size());
    const std::array<uint8_t, 6> nobody{};
    const auto& to = packet.mac_dst ? *packet.mac_dst : device->mac;
    // Any unicast address but the device's own would make the packet somebody
    // else's, which the stack does not look at.
    const bool group = (to[0] & 1) != 0;
    std::memcpy(&frame_[0], group ? to.data() : device->mac.data(), 6);
    std::memcpy(&frame_[6],
                packet.mac_src ? packet.mac_src->data() : nobody.data(), 6);
    const uint16_t type =
        htons(family_ == Family::kIpv4 ? kEtherTypeIpv4 : kEtherTypeIpv6);
    std::memcpy(&frame_[12], &type, sizeof type);
    std::copy(packet.bytes.begin(), packet.bytes.end(),
              frame_.begin() + kEthernetHeader);
    written = write(device->tun.get(), frame_.data(), frame_.size());
  } else {
    written =
        write(device->tun.get(), packet.bytes.data(), packet.bytes.size());
  }
  if (written > 0) return true;
  // EINVAL: not an IP packet at all.
  if (written == 0 || errno == EINVAL) return false;
  return FailErrno(fmt::format("cannot write to device '{}'", device->name));
}

Result<bool> Injector::SendFromHere(const Packet& packet) {
  const auto found = sockets_.find(Owner{packet.uid, packet.gid});
  if (found == sockets_.end()) {
    return Fail(ErrorCode::kInternal, "Send() without Prepare()");
  }
  if (packet.bytes.size() < HeaderBytes(family_)) return false;
  sockaddr_in to4{};
  sockaddr_in6 to6{};
  msghdr message{};
  if (family_ == Family::kIpv4) {
    to4.sin_family = AF_INET;
    std::memcpy(&to4.sin_addr, &packet.bytes[16], 4);
    message.msg_name = &to4;
    message.msg_namelen = sizeof to4;
  } else {
    to6.sin6_family = AF_INET6;
    std::memcpy(&to6.sin6_addr, &packet.bytes[24], 16);
    // Link-local and multicast addresses mean nothing without their device.
    if (const NetworkDevice* out = network_->Find(packet.out)) {
      to6.sin6_scope_id = out->index;
    }
    message.msg_name = &to6;
    message.msg_namelen = sizeof to6;
  }
  iovec part{const_cast<uint8_t*>(packet.bytes.data()), packet.bytes.size()};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(uint32_t))] = {};
  if (packet.mark != 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SO_MARK;
    head->cmsg_len = CMSG_LEN(sizeof(uint32_t));
    std::memcpy(CMSG_DATA(head), &packet.mark, sizeof packet.mark);
  }
  if (sendmsg(found->second.get(), &message, 0) >= 0) return true;
  if (IsRefusal(errno)) return false;
  return FailErrno("cannot send a packet of this host");
}

}  // namespace nfarena::kernel
