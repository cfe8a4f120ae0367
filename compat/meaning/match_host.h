// Matches that ask what the host knows: routes, helpers, bridges, sockets.  See
// match.h, which includes this.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "compat/model/ruleset.h"

namespace nfarena {

/// -m helper: a connection that a conntrack helper expected.
struct HelperMatch {
  std::string name;  // "" = any
  bool inverted = false;
  bool operator==(const HelperMatch&) const = default;
};

/// -m rpfilter: the way back to the sender is by the packet's device.
struct RpfilterMatch {
  bool loose = false;
  bool valid_mark = false;
  bool accept_local = false;
  bool inverted = false;
  bool operator==(const RpfilterMatch&) const = default;
};

/// -m policy: what IPsec did or will do.  Only whether it is about packets
/// without IPsec is told; nothing here can have had one.
struct PolicyMatch {
  bool inbound = true;
  bool none = false;  // --pol none
  bool operator==(const PolicyMatch&) const = default;
};

/// Bits of PhysdevMatch; XT_PHYSDEV_OP_*.
enum PhysdevBit : uint8_t {
  kPhysdevIn = 0x01,
  kPhysdevOut = 0x02,
  kPhysdevBridged = 0x04,
  kPhysdevIsIn = 0x08,
  kPhysdevIsOut = 0x10,
};

/// -m physdev: the ports of a bridge.
struct PhysdevMatch {
  InterfaceTest in, out;
  uint8_t tests = 0;     // PhysdevBit
  uint8_t inverted = 0;  // PhysdevBit
  bool operator==(const PhysdevMatch&) const = default;
};

struct CpuMatch {
  uint32_t cpu = 0;
  bool inverted = false;
  bool operator==(const CpuMatch&) const = default;
};

/// (realm & mask) == id, then inverted.
struct RealmMatch {
  uint32_t id = 0, mask = 0;
  bool inverted = false;
  bool operator==(const RealmMatch&) const = default;
};

/// -m socket: a socket of this host would take the packet.
struct SocketMatch {
  bool transparent = false;
  bool no_wildcard = false;
  bool restore_mark = false;
  bool operator==(const SocketMatch&) const = default;
};

struct DeviceGroupTest {
  bool asked = false;
  uint32_t group = 0, mask = 0;
  bool inverted = false;
  bool operator==(const DeviceGroupTest&) const = default;
};

/// -m devgroup
struct DevgroupMatch {
  DeviceGroupTest source, destination;
  bool operator==(const DevgroupMatch&) const = default;
};

}  // namespace nfarena
