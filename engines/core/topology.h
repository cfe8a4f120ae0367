// The little network a ruleset is judged in: devices, local addresses and
// routes.  Twins ask it where a packet goes; a kernel engine builds the same
// thing from TUN devices, addresses, policy rules and routes.
//
// The order of a lookup is that of the kernel's rules:
//   1. the addresses of the devices and of lo, and broadcast addresses (the
//      table "local", asked first for every packet);
//   2. the routes whose `in` is the packet's input device, longest prefix
//      first (one table a device, "ip rule iif"; iif lo = sent by this host);
//   3. the routes whose `in` is "*", longest prefix first (table "main").
// Almost everything is in 3; 2 is there because a packets file may say IN=eth0
// OUT= DST=x and IN=eth1 OUT=eth2 DST=x.
//
// What the kernel form has to set besides: forwarding=1, rp_filter=0,
// accept_local=1, send_redirects=0, route_localnet=0, fwmark_reflect=0,
// icmp_ratelimit=0, an MTU no packet reaches, no automatic IPv6 addresses; a
// local route to a multicast address is a joined group.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/packet.h"

namespace nfarena {

/// ipv6_addr_type() & IPV6_ADDR_LINKLOCAL: fe80::/10.
inline bool IsIpv6LinkLocal(const Address& address) {
  return address[0] == 0xfe && (address[1] & 0xc0) == 0x80;
}

struct Prefix {
  Address address{};
  uint8_t bits = 0;  // 0..32 or 0..128
  auto operator<=>(const Prefix&) const = default;
};

struct Route {
  /// Device the packet came in by; "" = sent by this host; "*" = any of both,
  /// asked after the exact ones.
  std::string in;
  Prefix destination;
  bool local = false;      // deliver to this host
  bool broadcast = false;  // ... as a broadcast address of device `out`
  std::string out;         // else send by this device
};

enum class AddressType : uint8_t {
  kUnspecified = 0,
  kUnicast = 1,
  kLocal = 2,
  kBroadcast = 3,
  kAnycast = 4,
  kMulticast = 5,
  kBlackhole = 6,
  kUnreachable = 7,
  kProhibit = 8,
};  // RTN_* of include/uapi/linux/rtnetlink.h

struct Device {
  std::string name;
  /// Addresses of the host on this device, in the order they were added.  Of
  /// equals the IPv4 stack takes the first, the IPv6 stack the last.
  std::vector<Prefix> addresses;
  /// Its packets have link-layer addresses (Packet::mac_src): a kernel engine
  /// makes an Ethernet device of it, else one without link layer.
  bool link_layer = false;
};

struct RouteDecision {
  bool ok = false;         // false: the stack drops it (martian, no route)
  bool local = false;      // for this host; out is then "lo"
  bool broadcast = false;  // local, as a broadcast
  bool multicast = false;  // local, as a member of a group
  /// Valid as long as the topology is.
  std::string_view out;
};

class Topology {
 public:
  Family family = Family::kIpv4;
  /// Without "lo", which always exists; in the order of their creation.
  std::vector<Device> devices;
  std::vector<Route> routes;

  /// Loopback and multicast destinations, martian sources: as
  /// ip_route_input_slow() and ip6_route_input() do with the settings above.
  /// `in` "" = sent by this host.
  RouteDecision FindRoute(std::string_view in, const Address& src,
                          const Address& dst) const;
  /// The route of a packet of this host that a rule has changed on its way out
  /// by `device`: ip_route_me_harder(), ip6_route_me_harder().  In IPv6 also
  /// that of an ICMP error about a packet of `device`: both leave a link only
  /// for addresses that mean the same elsewhere.
  RouteDecision FindRouteAgain(std::string_view device, const Address& src,
                               const Address& dst) const;
  /// inet_dev_addr_type(): what the table "local" says, kUnicast when it says
  /// nothing.  With a device: only what it says about that device.
  AddressType TypeOf(const Address& address,
                     std::string_view device = {}) const;
  /// Whether this host belongs to a multicast group on a device.
  bool IsMember(std::string_view device, const Address& group) const;
  bool IsLocal(const Address& address) const;
  const Device* FindDevice(std::string_view name) const;
  Device* FindDevice(std::string_view name) {
    return const_cast<Device*>(std::as_const(*this).FindDevice(name));
  }
  /// The device that has this address, "lo" for loopback addresses; "" when
  /// none has it.
  std::string_view OwnerOf(const Address& address) const;
  bool HasLinkLayer(std::string_view device) const;
  /// The address of `device` that the stack picks as a source; nullopt when it
  /// has none.
  std::optional<Address> PrimaryAddress(std::string_view device) const;
  /// What REDIRECT sends a packet of `device` to; nullopt: it drops it.
  /// Source: net/netfilter/nf_nat_redirect.c.
  std::optional<Address> RedirectAddress(std::string_view device,
                                         const Address& destination) const;
  /// The address of `device` for packets to `destination`: inet_select_addr()
  /// (an address in the same network before the first), ipv6_dev_get_saddr()
  /// (scope, then the longest common prefix).  MASQUERADE uses it.
  std::optional<Address> SourceFor(std::string_view device,
                                   const Address& destination) const;

  /// Makes the lookup quick; call it after changing the fields.  Without it
  /// (or after a change) lookups walk the lists.
  void BuildIndex();

  /// The devices and routes that a ruleset and its packets talk about, so that
  /// every packet goes where its IN and OUT say; a default route for the rest.
  ///
  /// - A device is named by a packet or by a rule ("eth+" becomes "eth0" when
  ///   no device fits it); there is at least one.
  /// - DST of a packet with OUT= (empty) is an address of IN; SRC of a packet
  ///   with IN= (empty) is an address of OUT; a device without such an address
  ///   gets 198.18.N.1/24 or 2001:2:0:N::1/64.
  /// - SRC of an arriving packet is reached by IN, DST of a leaving one by OUT;
  ///   "-s NET -i DEV" and "-d NET -o DEV" in a rule say the same of a network
  ///   (the first 256 of a ruleset).
  /// - The rest leaves by the device that most packets leave by.
  /// - A multicast DST with OUT= is a joined group; one with a MAC= of
  ///   ff:ff:ff:ff:ff:ff is a broadcast address of IN.
  /// Errors: kConflict (two packets with the same IN and DST leave by
  /// different devices; named by line), kRange (a device name over 15 bytes).
  static Result<Topology> For(const Ruleset& ruleset,
                              std::span<const Packet> packets);

 private:
  struct Index;
  std::shared_ptr<const Index> MakeIndex() const;
  /// The index, or one made for this call into `temporary`.
  const Index& UseIndex(std::shared_ptr<const Index>* temporary) const;
  std::shared_ptr<const Index> index_;
};

}  // namespace nfarena
