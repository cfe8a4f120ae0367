// The twins' connection tracker with NAT: a small nf_conntrack.
//
// It keeps what rulesets can see (state, status, mark, helper, zone, NAT
// mapping) for TCP, UDP, ICMP and ICMPv6, a generic entry for other protocols,
// and ICMP errors as RELATED.  Timeouts follow the packets' virtual time.
// Source: net/netfilter/nf_conntrack_core.c, nf_conntrack_proto_*.c,
// nf_nat_core.c, nf_nat_proto.c.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

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

/// What the TCP tracker knows of one side (struct ip_ct_tcp_state).
struct TcpSide {
  uint32_t end = 0;         // highest sequence seen + length
  uint32_t max_end = 0;     // highest it may send
  uint32_t max_window = 0;  // largest window it advertised, scaled
  uint32_t max_ack = 0;
  uint8_t scale = 0;
  uint8_t flags = 0;  // IP_CT_TCP_FLAG_*
};

/// What the SCTP tracker knows (struct ip_ct_sctp); vtags in host order.
struct SctpFlow {
  uint8_t state = 0;
  uint8_t last_dir = 0;
  bool heartbeat_failed = false;
  bool init[2] = {};
  uint32_t vtag[2] = {};
};

struct Connection {
  Tuple original, reply;
  uint32_t status = 0;  // StatusBit
  uint32_t mark = 0;    // connmark
  uint16_t zone = 0;
  uint8_t zone_directions = 3;  // bit 0 original, bit 1 reply
  uint8_t tcp_state = 0;        // enum tcp_conntrack
  uint64_t expires_ms = 0;      // confirmed: absolute; before: relative
  Connection* master = nullptr;
  /// Packets and bytes of the original and the reply direction (what the
  /// kernel counts with net.netfilter.nf_conntrack_acct=1).
  Counters direction[2];
  /// An outcome of this flow was indeterminate: so are those that follow.
  bool indeterminate = false;
  std::string indeterminate_because;

  // The trackers' own state.
  TcpSide tcp[2];
  uint8_t tcp_last_dir = 0;
  uint8_t tcp_last_index = 0;
  uint8_t tcp_last_flags = 0;
  uint8_t tcp_last_wscale = 0;
  uint32_t tcp_retransmissions = 0;
  uint32_t tcp_last_seq = 0, tcp_last_ack = 0, tcp_last_end = 0;
  uint16_t tcp_last_window = 0;
  uint64_t udp_stream_ms = 0;
  SctpFlow sctp;
  bool masquerade = false;  // and the device it left by
  std::array<char, 16> masquerade_out{};
};

/// The tuple of a packet as it is; nothing when its header is too short.
std::optional<Tuple> TupleOf(const PacketState& packet);

/// 0 = original, 1 = reply (CTINFO2DIR).
inline int DirectionOf(CtInfo info) {
  return info == CtInfo::kEstablishedReply || info == CtInfo::kRelatedReply ? 1
                                                                            : 0;
}

/// NF_NAT_RANGE_* of include/uapi/linux/netfilter/nf_nat.h.
enum NatRangeFlag : uint32_t {
  kNatMapIps = 1u << 0,
  kNatProtoSpecified = 1u << 1,
  kNatProtoRandom = 1u << 2,
  kNatPersistent = 1u << 3,
  kNatProtoRandomFully = 1u << 4,
  kNatProtoOffset = 1u << 5,
  kNatNetmap = 1u << 6,
};

/// struct nf_nat_range2, in host order.
struct NatRange {
  uint32_t flags = 0;  // NatRangeFlag
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
  /// False: the tracker itself drops the packet.
  bool Track(PacketState* packet);
  /// nf_conntrack_confirm(): at the end of the last hook.
  /// Returns false when the packet must be dropped (clash).
  bool Confirm(PacketState* packet);
  /// nf_nat_setup_info(): what SNAT, DNAT, MASQUERADE, REDIRECT, NETMAP call
  /// for a new connection.  False: no free tuple, drop.
  bool SetupNat(PacketState* packet, const NatRange& range, NatManip manip);
  /// MASQUERADE: SetupNat to the primary address of the packet's out device.
  /// Only `flags` and the ports of `range` are used.  False: drop.
  bool SetupMasquerade(PacketState* packet, const NatRange& range);
  /// REDIRECT: to the primary address of the in device, at OUTPUT to the
  /// loopback address.  False: drop (no address).
  bool SetupRedirect(PacketState* packet, const NatRange& range);
  /// NETMAP: the host part of the address stays, the network is that of
  /// min..max.
  bool SetupNetmap(PacketState* packet, const NatRange& range, NatManip manip);
  /// Whether nat rules are still to be asked about this packet at `hook`: its
  /// connection is new and has no mapping of that kind yet.
  bool WantsNatRules(const PacketState& packet, Hook hook) const;
  /// A connection that no nat rule matched is bound to itself.
  bool SetupNullNat(PacketState* packet, Hook hook);
  /// nf_nat_packet(): rewrites the packet as its connection says at this hook.
  /// ICMP errors get their inner packet translated too.  False: drop.
  bool TranslatePacket(PacketState* packet, Hook hook);
  /// nf_ct_attach(): makes an answer (a TCP reset, an ICMP error) belong to the
  /// connection of what it answers, in the other direction and as RELATED, even
  /// before that connection is confirmed.
  void Attach(PacketState* answer, const PacketState& rejected);
  /// nf_ct_set_closing(): a TCP reset ends its connection.
  void SetClosing(PacketState* packet);
  /// `packet` is a copy of another one: it holds the connection as well.
  void Share(PacketState* packet);
  /// The packet leaves the path: a connection that was never confirmed and
  /// that no other packet holds is freed.  Called once per packet.
  void Release(PacketState* packet);
  /// The outcome of this packet was left to chance: whatever follows of its
  /// flow is marked indeterminate with the same words.
  void Taint(const PacketState& packet, std::string_view because);
  /// Whether a confirmed connection has this tuple in its original direction's
  /// zone and, of TCP, is not closed.
  bool IsOpen(const Tuple& tuple, uint16_t zone, uint8_t zone_directions,
              uint64_t now_ms);
  void Clear();
  size_t connections_count() const;
  /// What matches remember under a name, for all rules that use the name (the
  /// address lists of "recent").  It belongs to the network namespace, as
  /// connections do; the match that needs it makes it.
  std::shared_ptr<void>& named_state() { return named_state_; }

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::shared_ptr<void> named_state_;
};

}  // namespace nfarena
