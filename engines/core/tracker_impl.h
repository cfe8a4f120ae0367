// The parts of the tracker that only its own sources see: the table, the
// references, and the protocol trackers.
#pragma once

#include <cstddef>
#include <deque>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "engines/core/tracker.h"

namespace nfarena {

struct ConnectionNode;

/// One direction of a connection in the table (nf_conntrack_tuple_hash).
struct TupleLink {
  ConnectionNode* node = nullptr;
  TupleLink* next = nullptr;
  uint8_t direction = 0;
};

struct ConnectionNode {
  Connection connection;  // first: a Connection* is its node's address
  TupleLink links[2];
  ConnectionNode* source_next = nullptr;  // chain of the by-source table
  uint32_t references = 0;                // packets that hold it
  bool in_table = false;
  bool in_source_table = false;
};

static_assert(offsetof(ConnectionNode, connection) == 0);
inline ConnectionNode* NodeOf(Connection* connection) {
  return reinterpret_cast<ConnectionNode*>(connection);
}

/// struct nf_conntrack_zone.
struct Zone {
  uint16_t id = 0;
  uint8_t directions = 3;
  uint16_t IdFor(int direction) const {
    return ((directions >> direction) & 1) != 0 ? id : uint16_t{0};
  }
};
inline Zone ZoneOf(const Connection& connection) {
  return {connection.zone, connection.zone_directions};
}

/// Where the upper-layer header is for conntrack: get_l4proto().
struct ConntrackHeader {
  bool ok = false;
  uint8_t protocol = 0;
  size_t offset = 0;
};
ConntrackHeader FindConntrackHeader(Family family,
                                    std::span<const uint8_t> bytes,
                                    size_t network);

/// nf_ct_get_tuple(); false when the header is too short.
bool TupleAt(Family family, std::span<const uint8_t> bytes, size_t network,
             const ConntrackHeader& header, Tuple* tuple);

/// nf_ct_invert_tuple(); false for ICMP types without a reply.
bool InvertTuple(const Tuple& tuple, Tuple* inverse);

/// What a protocol tracker says (nf_conntrack_handle_packet).
enum class ProtocolVerdict : uint8_t {
  kOk,
  kInvalid,  // forget the connection, the packet goes on
  kRepeat,   // the connection was killed: look again
  kDrop,
};

/// What a protocol tracker sees.
struct ProtocolPacket {
  Family family;
  std::span<const uint8_t> bytes;  // the whole packet
  size_t offset;                   // of the upper-layer header
  CtInfo info;
  bool check_checksum;  // PREROUTING, nf_conntrack_checksum=1
  uint64_t now_ms;
  uint32_t length() const { return static_cast<uint32_t>(bytes.size()); }
};

/// nf_ct_refresh_acct(): the timeout, and the packet counted.
void Refresh(Connection* connection, const ProtocolPacket& packet,
             uint64_t timeout_ms);

ProtocolVerdict TrackTcp(Connection* connection, const ProtocolPacket& packet,
                         bool* kill);
/// nf_conntrack_tcp_set_closing().
void SetTcpClosing(Connection* connection, uint64_t now_ms);
ProtocolVerdict TrackUdp(Connection* connection, const ProtocolPacket& packet);
ProtocolVerdict TrackUdplite(Connection* connection,
                             const ProtocolPacket& packet);
ProtocolVerdict TrackIcmp(Connection* connection, const ProtocolPacket& packet);
ProtocolVerdict TrackIcmpv6(Connection* connection,
                            const ProtocolPacket& packet);
ProtocolVerdict TrackGre(Connection* connection, const ProtocolPacket& packet);
ProtocolVerdict TrackSctp(Connection* connection, const ProtocolPacket& packet);
ProtocolVerdict TrackGeneric(Connection* connection,
                             const ProtocolPacket& packet);

/// nf_nat_ipv4_manip_pkt() / nf_nat_ipv6_manip_pkt(): makes the source or
/// destination half of the packet at `network` look like `target`'s.
bool ManipulatePacket(Family family, std::span<uint8_t> bytes, size_t network,
                      const Tuple& target, NatManip manip);

/// jhash2() of include/linux/jhash.h (Bob Jenkins' lookup3, public domain).
uint32_t Jhash2(std::span<const uint32_t> words, uint32_t initial);

/// crc32c of an SCTP packet with its checksum field as zero.
uint32_t SctpChecksum(std::span<const uint8_t> sctp);

struct Tracker::Impl {
  std::deque<ConnectionNode> pool;
  std::vector<ConnectionNode*> free;
  std::vector<TupleLink*> table = std::vector<TupleLink*>(1024);
  std::vector<ConnectionNode*> by_source = std::vector<ConnectionNode*>(1024);
  size_t in_table = 0;
  struct TupleHash {
    size_t operator()(const Tuple& tuple) const;
  };
  /// Flows about which an outcome was left to chance.
  std::unordered_map<Tuple, std::string, TupleHash> tainted;
  /// The ports that flows may have got by chance: the tuple they receive, with
  /// that port as 0, and the range it was drawn from.
  struct PortRange {
    uint16_t low, high;
  };
  std::unordered_map<Tuple, PortRange, TupleHash> by_chance;

  ConnectionNode* Allocate();
  void Unhold(ConnectionNode* node);
  void Insert(ConnectionNode* node);
  /// Takes it out of both tables; memory goes when no packet holds it.
  void Kill(ConnectionNode* node);
  void Grow(uint64_t now_ms);
  /// ____nf_conntrack_find(): kills what has expired on the way.
  TupleLink* Find(const Tuple& tuple, Zone zone, uint64_t now_ms);
  /// nf_conntrack_tuple_taken(): somebody else receives `tuple`.
  bool Taken(const Tuple& tuple, const ConnectionNode& ignored,
             uint64_t now_ms);
  /// Where connections with this source and protocol are in by_source.
  size_t SourceBucket(const Tuple& tuple) const;
  void AddToSource(ConnectionNode* node);
  void RemoveFromSource(ConnectionNode* node);

  Zone PacketZone(const PacketState& packet) const;
  void Hold(PacketState* packet, ConnectionNode* node, CtInfo info);
  /// False: the packet is invalid or handled, look no further.
  enum class IcmpResult : uint8_t { kGoOn, kDone };
  IcmpResult TrackIcmpError(PacketState* packet, const ConntrackHeader& header,
                            Zone zone);
  void RelateByInner(PacketState* packet, size_t inner, Zone zone);
  ProtocolVerdict TrackProtocol(PacketState* packet,
                                const ConntrackHeader& header);

  /// Whether an earlier flow receives `reply` or not is left to chance.
  bool LeftToChance(const Tuple& reply) const;
  void RememberChance(const Tuple& tuple, NatManip manip, uint32_t low,
                      uint32_t count);
  /// get_unique_tuple(); returns whether the choice is determined.
  bool UniqueTuple(const Tuple& original, const NatRange& range,
                   ConnectionNode* node, NatManip manip, uint64_t now_ms,
                   Tuple* tuple);
  /// nf_nat_used_tuple().  Clears `determined` when chance may have it
  /// otherwise; so does FindSourceMapping().
  bool UsedTuple(const Tuple& tuple, const ConnectionNode& node,
                 uint64_t now_ms, bool* determined);
  /// find_appropriate_src().
  bool FindSourceMapping(const Tuple& original, const NatRange& range,
                         const ConnectionNode& node, Tuple* result,
                         bool* determined);
  bool TranslateIcmpError(PacketState* packet, NatManip manip);
};

/// HOOK2MANIP().
inline NatManip ManipOf(Hook hook) {
  return hook == Hook::kPostrouting || hook == Hook::kInput
             ? NatManip::kSource
             : NatManip::kDestination;
}

}  // namespace nfarena
