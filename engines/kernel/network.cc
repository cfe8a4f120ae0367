#include "engines/kernel/network.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/fib_rules.h>
#include <linux/if.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <set>
#include <string>
#include <thread>

#include "engines/kernel/netlink.h"

namespace nfarena::kernel {
namespace {

constexpr uint32_t kLoopback = 1;  // ifindex of lo in every namespace
constexpr uint32_t kStarTable = 900;
constexpr uint32_t kHostTable = 901;
constexpr uint32_t kFirstDeviceTable = 1000;
constexpr uint32_t kDevicePreference = 1000;
constexpr uint32_t kStarPreference = 2000;
// The kernel asks the table "local" at preference 0, before all of these.
// The largest that drivers/net/tun.c takes, so that no packet has to be cut.
constexpr uint32_t kTunMtu = 65535;
constexpr uint32_t kTapMtu = kTunMtu - 14;
// One netlink buffer of requests; well under the smallest limit of a user.
constexpr size_t kBatchBytes = 64 * 1024;

// --- Settings ---------------------------------------------------------------

enum class Need : uint8_t { kMust, kIfThere };

struct Setting {
  const char* path;  // below /proc/sys/net
  const char* value;
  Need need;
};

// Answers of both families share one allowance.
constexpr Setting kSharedSettings[] = {
    // Per namespace only since Linux 6.12; times HZ it must fit in 32 bits
    // (net/ipv4/icmp.c icmp_global_allow()).
    {"ipv4/icmp_msgs_per_sec", "1000000", Need::kIfThere},
    {"ipv4/icmp_msgs_burst", "1000000", Need::kIfThere},
};

// What would make the stack answer, filter or talk on its own.  Devices made
// later take over "default".
constexpr Setting kIpv4Settings[] = {
    {"ipv4/ip_forward", "1", Need::kMust},
    {"ipv4/conf/all/rp_filter", "0", Need::kMust},
    {"ipv4/conf/default/rp_filter", "0", Need::kMust},
    {"ipv4/conf/all/accept_local", "1", Need::kMust},
    {"ipv4/conf/default/accept_local", "1", Need::kMust},
    {"ipv4/conf/all/send_redirects", "0", Need::kMust},
    {"ipv4/conf/default/send_redirects", "0", Need::kMust},
    {"ipv4/conf/all/log_martians", "0", Need::kMust},
    {"ipv4/conf/default/log_martians", "0", Need::kMust},
    {"ipv4/igmp_max_memberships", "1000000", Need::kMust},
    {"ipv4/icmp_ratelimit", "0", Need::kMust},
    {"ipv6/conf/all/disable_ipv6", "1", Need::kIfThere},
    {"ipv6/conf/default/disable_ipv6", "1", Need::kIfThere},
};

constexpr Setting kIpv6Settings[] = {
    {"ipv6/conf/all/forwarding", "1", Need::kMust},
    {"ipv6/conf/default/forwarding", "1", Need::kMust},
    {"ipv6/conf/all/accept_ra", "0", Need::kMust},
    {"ipv6/conf/default/accept_ra", "0", Need::kMust},
    {"ipv6/conf/all/autoconf", "0", Need::kMust},
    {"ipv6/conf/default/autoconf", "0", Need::kMust},
    {"ipv6/conf/all/accept_dad", "0", Need::kMust},
    {"ipv6/conf/default/accept_dad", "0", Need::kMust},
    {"ipv6/conf/all/dad_transmits", "0", Need::kMust},
    {"ipv6/conf/default/dad_transmits", "0", Need::kMust},
    {"ipv6/conf/all/router_solicitations", "0", Need::kMust},
    {"ipv6/conf/default/router_solicitations", "0", Need::kMust},
    // 1 = no link-local address, so nothing to be solicited or announced.
    {"ipv6/conf/default/addr_gen_mode", "1", Need::kMust},
    {"ipv6/icmp/ratelimit", "0", Need::kMust},
};

Status ApplySettings(std::span<const Setting> settings) {
  for (const Setting& setting : settings) {
    // /proc/sys/net is that of the calling thread's namespace.
    const std::string path = fmt::format("/proc/sys/net/{}", setting.path);
    UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
    const size_t size = std::strlen(setting.value);
    const bool ok = fd.valid() && write(fd.get(), setting.value, size) ==
                                      static_cast<ssize_t>(size);
    if (!ok && setting.need == Need::kMust) return FailErrno(path);
  }
  return {};
}

// --- Devices ----------------------------------------------------------------

// Each device is a descriptor; 1,024 of them is a usual soft limit.
void RaiseFileLimit(size_t more) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = more + 256;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, wanted);
  setrlimit(RLIMIT_NOFILE, &limit);
}

Result<NetworkDevice> MakeDevice(const Device& wanted) {
  NetworkDevice device;
  device.name = wanted.name;
  device.link_layer = wanted.link_layer;
  if (wanted.name.empty() || wanted.name.size() >= IFNAMSIZ) {
    return Fail(
        ErrorCode::kRange,
        fmt::format("'{}' cannot be the name of a device", wanted.name));
  }
  device.tun = UniqueFd(open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!device.tun.valid()) return FailErrno("cannot open /dev/net/tun");
  ifreq request{};
  std::memcpy(request.ifr_name, wanted.name.data(), wanted.name.size());
  request.ifr_flags =
      static_cast<short>((wanted.link_layer ? IFF_TAP : IFF_TUN) | IFF_NO_PI);
  if (ioctl(device.tun.get(), TUNSETIFF, &request) != 0) {
    return FailErrno(fmt::format("cannot make device '{}'", wanted.name));
  }
  // The kernel takes "%d" as a pattern and gives another name.
  if (wanted.name != request.ifr_name) {
    return Fail(ErrorCode::kRange,
                fmt::format("the kernel names device '{}' '{}'", wanted.name,
                            request.ifr_name));
  }
  UniqueFd control(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!control.valid()) return FailErrno("cannot open a socket");
  if (ioctl(control.get(), SIOCGIFINDEX, &request) != 0) {
    return FailErrno(fmt::format("no index of device '{}'", wanted.name));
  }
  device.index = static_cast<uint32_t>(request.ifr_ifindex);
  if (wanted.link_layer) {
    if (ioctl(control.get(), SIOCGIFHWADDR, &request) != 0) {
      return FailErrno(fmt::format("no MAC of device '{}'", wanted.name));
    }
    std::memcpy(device.mac.data(), request.ifr_hwaddr.sa_data,
                device.mac.size());
  }
  return device;
}

// --- rtnetlink --------------------------------------------------------------

size_t AddressBytes(Family family) { return family == Family::kIpv4 ? 4 : 16; }
uint8_t AddressFamily(Family family) {
  return family == Family::kIpv4 ? AF_INET : AF_INET6;
}

/// Collects requests and sends them a buffer at a time; says which request was
/// refused.
class RouteBatch {
 public:
  RouteBatch(NetlinkSocket* socket, Family family)
      : socket_(socket), family_(family) {}

  /// `mtu` 0: as it is.
  Status BringUp(uint32_t index, uint32_t mtu, std::string what) {
    auto* body = Begin<ifinfomsg>(RTM_NEWLINK, 0, std::move(what));
    body->ifi_family = AF_UNSPEC;
    body->ifi_index = static_cast<int>(index);
    body->ifi_flags = IFF_UP;
    body->ifi_change = IFF_UP;
    if (mtu != 0) message_.PutU32(IFLA_MTU, mtu);
    return End();
  }

  Status AddAddress(uint32_t index, const Prefix& prefix, std::string what) {
    auto* body = Begin<ifaddrmsg>(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL,
                                  std::move(what));
    body->ifa_family = AddressFamily(family_);
    body->ifa_prefixlen = prefix.bits;
    body->ifa_index = index;
    body->ifa_scope = RT_SCOPE_UNIVERSE;
    message_.Put(IFA_LOCAL, prefix.address.data(), AddressBytes(family_));
    message_.Put(IFA_ADDRESS, prefix.address.data(), AddressBytes(family_));
    // The topology's own routes say what is behind the device.
    message_.PutU32(IFA_FLAGS, IFA_F_NOPREFIXROUTE | IFA_F_NODAD);
    return End();
  }

  Status AddRoute(uint32_t table, const Prefix& destination, uint8_t type,
                  uint32_t out, std::string what) {
    auto* body = Begin<rtmsg>(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
                              std::move(what));
    body->rtm_family = AddressFamily(family_);
    body->rtm_dst_len = destination.bits;
    body->rtm_table = RT_TABLE_UNSPEC;
    body->rtm_protocol = RTPROT_STATIC;
    body->rtm_scope = type == RTN_LOCAL ? RT_SCOPE_HOST : RT_SCOPE_LINK;
    body->rtm_type = type;
    if (destination.bits > 0) {
      message_.Put(RTA_DST, destination.address.data(), AddressBytes(family_));
    }
    message_.PutU32(RTA_TABLE, table);
    message_.PutU32(RTA_OIF, out);
    return End();
  }

  /// `in` empty: for all packets.
  Status AddRule(uint32_t preference, std::string_view in, uint32_t table) {
    auto* body = Begin<fib_rule_hdr>(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL,
                                     "a routing rule");
    body->family = AddressFamily(family_);
    body->table = RT_TABLE_UNSPEC;
    body->action = FR_ACT_TO_TBL;
    message_.PutU32(FRA_PRIORITY, preference);
    message_.PutU32(FRA_TABLE, table);
    if (!in.empty()) message_.PutString(FRA_IIFNAME, in);
    return End();
  }

  Status Flush() {
    if (message_.bytes().empty()) return {};
    ASSIGN_OR_RETURN(const auto errors, socket_->Send(message_.bytes()));
    message_.Clear();
    const std::vector<std::string> names = std::exchange(names_, {});
    if (errors.empty()) return {};
    const NetlinkError& first = errors.front();
    return tl::unexpected(ErrorOf(
        first, first.seq < names.size() ? names[first.seq] : "rtnetlink"));
  }

 private:
  template <typename Body>
  Body* Begin(uint16_t type, uint16_t flags, std::string what) {
    const auto seq = static_cast<uint32_t>(names_.size());
    names_.push_back(std::move(what));
    return static_cast<Body*>(message_.Begin(
        type, static_cast<uint16_t>(NLM_F_REQUEST | flags), seq, sizeof(Body)));
  }

  Status End() {
    message_.End();
    return message_.bytes().size() < kBatchBytes ? Status{} : Flush();
  }

  NetlinkSocket* socket_;
  Family family_;
  MessageBuilder message_;
  std::vector<std::string> names_;  // by sequence number
};

// A local route to a multicast address means a joined group.
bool IsGroup(Family family, const Route& route) {
  if (!route.local || route.broadcast) return false;
  const uint8_t first = route.destination.address[0];
  return family == Family::kIpv4 ? (first & 0xf0) == 0xe0 : first == 0xff;
}

Status JoinGroup(Family family, int fd, uint32_t index, const Address& group) {
  int result = 0;
  if (family == Family::kIpv4) {
    ip_mreqn request{};
    std::memcpy(&request.imr_multiaddr, group.data(), 4);
    request.imr_ifindex = static_cast<int>(index);
    result =
        setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &request, sizeof request);
  } else {
    ipv6_mreq request{};
    std::memcpy(&request.ipv6mr_multiaddr, group.data(), 16);
    request.ipv6mr_interface = index;
    result = setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &request,
                        sizeof request);
  }
  // EADDRINUSE: joined by an earlier route already.
  if (result == 0 || errno == EADDRINUSE) return {};
  return FailErrno("cannot join a multicast group");
}

/// The hosts (/128) that the IPv6 routing tables of this thread's namespace
/// know, as 32 hexadecimal digits each.
std::set<std::string> KnownHosts() {
  std::set<std::string> hosts;
  std::ifstream routes("/proc/thread-self/net/ipv6_route");
  std::string destination, bits, rest;
  while (routes >> destination >> bits && std::getline(routes, rest)) {
    if (bits == "80") hosts.insert(destination);
  }
  return hosts;
}

/// An IPv6 address answers only once the work queue of addrconf has put its
/// route into the table "local"; until then packets to it are forwarded.
/// Source: net/ipv6/addrconf.c, addrconf_dad_work(), __ipv6_ifa_notify().
Status WaitForAddresses(const Topology& topology) {
  constexpr auto kPatience = std::chrono::seconds(10);
  constexpr auto kPause = std::chrono::milliseconds(1);
  std::vector<std::string> wanted;
  for (const Device& device : topology.devices) {
    for (const Prefix& prefix : device.addresses) {
      wanted.push_back(fmt::format("{:02x}", fmt::join(prefix.address, "")));
    }
  }
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!wanted.empty()) {
    const std::set<std::string> known = KnownHosts();
    std::erase_if(
        wanted, [&](const std::string& host) { return known.contains(host); });
    if (wanted.empty()) break;
    if (std::chrono::steady_clock::now() > deadline) {
      return Fail(ErrorCode::kSystem,
                  fmt::format("the kernel has not taken the address {} into "
                              "use after {} s",
                              wanted.front(), kPatience.count()));
    }
    std::this_thread::sleep_for(kPause);
  }
  return {};
}

}  // namespace

Result<Network> Network::Build(const Namespace& ns, const Topology& topology) {
  ASSIGN_OR_RETURN(const auto scope, NamespaceScope::Enter(ns));
  const bool ipv4 = topology.family == Family::kIpv4;
  RETURN_IF_ERROR(ApplySettings(kSharedSettings));
  RETURN_IF_ERROR(ApplySettings(ipv4
                                    ? std::span<const Setting>(kIpv4Settings)
                                    : std::span<const Setting>(kIpv6Settings)));
  RaiseFileLimit(topology.devices.size());
  Network network;
  for (const Device& wanted : topology.devices) {
    if (network.by_name_.contains(wanted.name)) {
      return Fail(ErrorCode::kConflict,
                  fmt::format("device '{}' is there twice", wanted.name));
    }
    ASSIGN_OR_RETURN(NetworkDevice device, MakeDevice(wanted));
    network.by_name_[device.name] = network.devices_.size();
    network.by_index_[device.index] = network.devices_.size();
    network.devices_.push_back(std::move(device));
  }

  ASSIGN_OR_RETURN(NetlinkSocket socket, NetlinkSocket::Open(NETLINK_ROUTE));
  RouteBatch batch(&socket, topology.family);
  RETURN_IF_ERROR(batch.BringUp(kLoopback, 0, "device 'lo'"));
  for (size_t i = 0; i < network.devices_.size(); ++i) {
    const NetworkDevice& device = network.devices_[i];
    RETURN_IF_ERROR(batch.BringUp(device.index,
                                  device.link_layer ? kTapMtu : kTunMtu,
                                  fmt::format("device '{}'", device.name)));
    for (const Prefix& prefix : topology.devices[i].addresses) {
      RETURN_IF_ERROR(batch.AddAddress(
          device.index, prefix,
          fmt::format("an address of device '{}'", device.name)));
    }
  }

  // A table may be asked for before it has routes, so the order is free.
  RETURN_IF_ERROR(batch.AddRule(kDevicePreference, "lo", kHostTable));
  for (size_t i = 0; i < network.devices_.size(); ++i) {
    RETURN_IF_ERROR(
        batch.AddRule(kDevicePreference, network.devices_[i].name,
                      kFirstDeviceTable + static_cast<uint32_t>(i)));
  }
  RETURN_IF_ERROR(batch.AddRule(kStarPreference, "", kStarTable));

  for (const Route& route : topology.routes) {
    if (IsGroup(topology.family, route)) continue;
    ASSIGN_OR_RETURN(const uint32_t table, network.TableOf(route));
    uint32_t out = kLoopback;
    if (!route.local || route.broadcast) {
      ASSIGN_OR_RETURN(out, network.IndexOf(route.out));
    }
    RETURN_IF_ERROR(batch.AddRoute(
        table, route.destination,
        route.broadcast ? RTN_BROADCAST
        : route.local   ? RTN_LOCAL
                        : RTN_UNICAST,
        out, fmt::format("a route from '{}' to '{}'", route.in, route.out)));
  }
  RETURN_IF_ERROR(batch.Flush());
  if (!ipv4) RETURN_IF_ERROR(WaitForAddresses(topology));
  RETURN_IF_ERROR(network.JoinGroups(topology));
  return network;
}

Result<uint32_t> Network::IndexOf(std::string_view name) const {
  if (name == "lo") return kLoopback;
  const NetworkDevice* device = Find(name);
  if (device != nullptr) return device->index;
  return Fail(
      ErrorCode::kInternal,
      fmt::format("a route names device '{}', which is not there", name));
}

Result<uint32_t> Network::TableOf(const Route& route) const {
  if (route.broadcast) return uint32_t{RT_TABLE_LOCAL};
  if (route.in == "*") return kStarTable;
  if (route.in.empty() || route.in == "lo") return kHostTable;
  const auto in = by_name_.find(route.in);
  if (in != by_name_.end()) {
    return kFirstDeviceTable + static_cast<uint32_t>(in->second);
  }
  return Fail(ErrorCode::kInternal,
              fmt::format("a route comes from device '{}', which is not there",
                          route.in));
}

Status Network::JoinGroups(const Topology& topology) {
  const bool ipv4 = topology.family == Family::kIpv4;
  for (const Route& route : topology.routes) {
    if (!IsGroup(topology.family, route)) continue;
    if (!groups_.valid()) {
      groups_ = UniqueFd(
          socket(ipv4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
      if (!groups_.valid()) return FailErrno("cannot open a socket");
    }
    for (const NetworkDevice& device : devices_) {
      if (route.in != "*" && route.in != device.name) continue;
      RETURN_IF_ERROR(JoinGroup(topology.family, groups_.get(), device.index,
                                route.destination.address));
    }
  }
  return {};
}

const NetworkDevice* Network::Find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : &devices_[found->second];
}

std::string_view Network::NameOf(uint32_t index) const {
  if (index == kLoopback) return "lo";
  const auto found = by_index_.find(index);
  return found == by_index_.end()
             ? std::string_view()
             : std::string_view(devices_[found->second].name);
}

}  // namespace nfarena::kernel
