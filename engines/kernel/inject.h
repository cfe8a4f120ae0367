// Puts packets into a namespace: on a device, or out of a socket.
//
// An arriving packet is written to its device and has run through the whole
// stack when the call returns.  A packet of this host is sent by a raw socket
// that belongs to the packet's owner; the kernel then adds what any sender gets
// (header checksum, total length, an id when it is 0).
#pragma once

#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "compat/model/result.h"
#include "engines/core/packet.h"
#include "engines/kernel/fd.h"
#include "engines/kernel/namespace.h"
#include "engines/kernel/network.h"

namespace nfarena::kernel {

class Injector {
 public:
  /// Both must outlive it.
  Injector(const Namespace* ns, const Network* network, Family family)
      : ns_(ns), network_(network), family_(family) {}

  /// Makes what sending this packet needs: checks its device, opens a socket of
  /// its owner.
  /// Errors: kUnsupported (other family, unknown device, a MAC on a device
  /// without link layer, an owner that this user cannot become).
  [[nodiscard]] Status Prepare(const Packet& packet);
  /// Sends it.  True: the stack took it; false: it refused to (no route,
  /// malformed, dropped on its way out).
  /// Errors: kSystem, when it is not the packet that is at fault.
  [[nodiscard]] Result<bool> Send(const Packet& packet);

 private:
  using Owner = std::pair<std::optional<uint32_t>, std::optional<uint32_t>>;
  Result<UniqueFd> OpenSocket(const Owner& owner) const;
  Result<bool> Write(const Packet& packet);
  Result<bool> SendFromHere(const Packet& packet);

  const Namespace* ns_;
  const Network* network_;
  Family family_;
  std::map<Owner, UniqueFd> sockets_;
  std::vector<uint8_t> frame_;  // reused by Write
};

/// A packet that arrives on a device; else it is sent by this host.  What comes
/// in by lo was sent here.
inline bool Arrives(const Packet& packet) {
  return !packet.in.empty() && packet.in != "lo";
}

}  // namespace nfarena::kernel
