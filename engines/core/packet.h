// A packet as it enters the machine under test: bytes plus what only the
// machine knows about it (where it came in, whose socket sent it).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "compat/model/ruleset.h"

namespace nfarena {

struct Packet {
  Family family = Family::kIpv4;
  /// From the first byte of the IP header; lengths and checksums are valid
  /// unless the test is about them.
  std::vector<uint8_t> bytes;
  /// Device the packet arrives on; empty = made by a local socket (or, with
  /// out == "lo", sent to a local address: it passes OUTPUT, POSTROUTING, then
  /// PREROUTING and INPUT with IN=lo).
  std::string in;
  /// Device it is expected to leave by; empty with a non-empty `in` = for this
  /// host.  The topology decides; this is what the topology is made from.
  std::string out;
  /// Link-layer addresses of an arriving packet, if the device has any.
  std::optional<std::array<uint8_t, 6>> mac_src, mac_dst;
  uint32_t mark = 0;                 // fwmark it arrives with
  std::optional<uint32_t> uid, gid;  // owner of the sending socket
  /// Virtual time of arrival in milliseconds; twins only.  The kernel's clock
  /// cannot be set, so sequences whose outcome depends on it are reported as
  /// indeterminate (Outcome::indeterminate).
  uint64_t time_ms = 0;
  uint32_t line = 0;  // line of the packets file, 0 unknown
};

}  // namespace nfarena
