// The little network a ruleset is judged in: devices, local addresses and
// routes.  Twins ask it where a packet goes; a kernel engine builds the same
// thing from TUN devices, addresses, policy rules and routes.
//
// Routes are keyed by (input device, destination), because a packets file may
// say IN=eth0 OUT= DST=x and IN=eth1 OUT=eth2 DST=x.  The kernel form of that
// is one routing table an input device, chosen by "ip rule iif".
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/packet.h"

namespace nfarena {

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
  bool local = false;  // deliver to this host
  std::string out;     // else send by this device
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
  /// Addresses of the host on this device; the first is the one MASQUERADE
  /// and REDIRECT use.
  std::vector<Prefix> addresses;
};

struct RouteDecision {
  bool ok = false;     // false: the stack drops it (martian, no route)
  bool local = false;
  std::string_view out;
};

class Topology {
 public:
  Family family = Family::kIpv4;
  std::vector<Device> devices;  // without "lo", which always exists
  std::vector<Route> routes;

  /// Longest prefix for the exact device, else for "*".  Loopback and
  /// multicast destinations, martian sources: as ip_route_input_slow() and
  /// ip6_input do with rp_filter off.
  RouteDecision FindRoute(std::string_view in, const Address& src,
                          const Address& dst) const;
  AddressType TypeOf(const Address& address) const;
  bool IsLocal(const Address& address) const;
  /// The address of `device` that the stack picks as a source; nullopt when it
  /// has none.
  std::optional<Address> PrimaryAddress(std::string_view device) const;

  /// The devices and routes that a ruleset and its packets talk about, so that
  /// every packet goes where its IN and OUT say; a default route for the rest.
  /// Errors: kConflict (two packets with the same IN and DST leave by
  /// different devices; named by line).
  static Result<Topology> For(const Ruleset& ruleset,
                              std::span<const Packet> packets);
};

}  // namespace nfarena
