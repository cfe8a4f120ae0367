// A Topology made real inside a namespace: TUN devices, addresses, policy
// rules and routes, and the stack's settings.
//
// A device is a TUN: what is written to its descriptor arrives on it and runs
// through the whole input path before write() returns.  A device whose packets
// have link-layer addresses (Device::link_layer) is a TAP, which is the same
// with an Ethernet header in front.  Nothing is ever read from a device: what
// leaves is taken at the last hook (probe.h).
//
// The routing tables are those of the topology: one for each input device
// ("ip rule iif"), one for packets of this host (iif lo), one for "*".  The
// kernel's table "local" comes before them all, as topology.h says.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "engines/core/topology.h"
#include "engines/kernel/fd.h"
#include "engines/kernel/namespace.h"

namespace nfarena::kernel {

struct NetworkDevice {
  std::string name;
  UniqueFd tun;
  uint32_t index = 0;            // the kernel's ifindex
  bool link_layer = false;       // TAP
  std::array<uint8_t, 6> mac{};  // link_layer
};

class Network {
 public:
  /// Builds `topology` in `ns`, which must be empty.
  /// Errors: kSystem (no /dev/net/tun, a device name the kernel refuses),
  /// kRange (too many devices).
  [[nodiscard]] static Result<Network> Build(const Namespace& ns,
                                             const Topology& topology);

  /// nullptr when there is none of that name ("lo" included).
  const NetworkDevice* Find(std::string_view name) const;
  /// "lo" for 1, "" for 0 or an unknown index.
  std::string_view NameOf(uint32_t index) const;
  size_t devices_count() const { return devices_.size(); }

 private:
  Result<uint32_t> IndexOf(std::string_view name) const;
  Result<uint32_t> TableOf(const Route& route) const;
  Status JoinGroups(const Topology& topology);

  std::vector<NetworkDevice> devices_;
  UniqueFd groups_;  // the socket that holds the memberships
  std::map<std::string, size_t, std::less<>> by_name_;
  std::map<uint32_t, size_t> by_index_;
};

}  // namespace nfarena::kernel
