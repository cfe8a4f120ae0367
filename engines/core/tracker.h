// The twins' connection tracker with NAT: a small nf_conntrack.
//
// It keeps what rulesets can see (state, status, mark, helper, zone, NAT
// mapping) for TCP, UDP, ICMP and ICMPv6, a generic entry for other protocols,
// and ICMP errors as RELATED.  Timeouts follow the packets' virtual time.
// Source: net/netfilter/nf_conntrack_core.c, nf_conntrack_proto_*.c,
// nf_nat_core.c, nf_nat_proto.c.
#pragma once

#include <cstdint>
#include <memory>

#include "compat/model/result.h"
#include "engines/core/packet_state.h"

namespace nfarena {

struct Tuple {
  Family family = Family::kIpv4;
  uint8_t protocol = 0;
  Address src{}, dst{};
  uint16_t src_port = 0;  // host order; ICMP: identifier
  uint16_t dst_port = 0;  // host order; ICMP: type << 8 | code
  bool operator==(const Tuple&) const = default;
};

/// IPS_* of include/uapi/linux/netfilter/nf_conntrack_common.h.
enum StatusBit : uint32_t {
  kStatusExpected = 1u << 0,
  kStatusSeenReply = 1u << 1,
  kStatusAssured = 1u << 2,
  kStatusConfirmed = 1u << 3,
  kStatusSrcNat = 1u << 4,
  kStatusDstNat = 1u << 5,
  kStatusSrcNatDone = 1u << 7,
  kStatusDstNatDone = 1u << 8,
  kStatusDying = 1u << 9,
};

struct Connection {
  Tuple original, reply;
  uint32_t status = 0;  // StatusBit
  uint32_t mark = 0;    // connmark
  uint16_t zone = 0;
  uint8_t tcp_state = 0;      // enum tcp_conntrack
  uint64_t expires_ms = 0;
  Connection* master = nullptr;
  Counters direction[2];
  /// An outcome of this flow was indeterminate: so are those that follow.
  bool indeterminate = false;
};

/// struct nf_nat_range2, in host order.
struct NatRange {
  uint32_t flags = 0;  // NF_NAT_RANGE_*
  Address min{}, max{};
  uint16_t min_port = 0, max_port = 0;
  uint16_t base_port = 0;
};

enum class NatManip : uint8_t { kSource, kDestination };

class Tracker {
 public:
  Tracker();
  ~Tracker();
  /// nf_conntrack_in(): finds or makes the connection, sets ct_info.
  void Track(PacketState* packet);
  /// nf_conntrack_confirm(): at the end of the last hook.
  /// Returns false when the packet must be dropped (clash).
  bool Confirm(PacketState* packet);
  /// nf_nat_setup_info(): what SNAT, DNAT, MASQUERADE, REDIRECT, NETMAP call
  /// for a new connection.  False: no free tuple, drop.
  bool SetupNat(PacketState* packet, const NatRange& range, NatManip manip);
  /// A connection that no nat rule matched is bound to itself.
  bool SetupNullNat(PacketState* packet, Hook hook);
  /// nf_nat_packet(): rewrites the packet as its connection says at this hook.
  /// ICMP errors get their inner packet translated too.  False: drop.
  bool TranslatePacket(PacketState* packet, Hook hook);
  /// Makes the answer of a REJECT belong to the connection of what it rejects
  /// (nf_ct_attach / icmp error lookup).
  void Attach(PacketState* answer, const PacketState& rejected);
  void Clear();
  size_t connections_count() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace nfarena
