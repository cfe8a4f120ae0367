// A packet on its way through the hooks of a twin: the skb of this arena.
//
// Twins share it, so that a match or target means the same in each of them.
// Everything mutable during one traversal is here; everything that outlives
// the packet is in Tracker (conntrack, NAT) or in the instance (counters,
// match state).
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "compat/model/ruleset.h"
#include "engines/core/outcome.h"
#include "engines/core/packet.h"
#include "engines/core/topology.h"

namespace nfarena {

struct Connection;  // engines/core/tracker.h
class Tracker;
class Path;

/// enum ip_conntrack_info of include/uapi/linux/netfilter/nf_conntrack_common.h
enum class CtInfo : uint8_t {
  kEstablished = 0,
  kRelated = 1,
  kNew = 2,
  kEstablishedReply = 3,
  kRelatedReply = 4,
  kUntracked = 7,  // -j NOTRACK, -j CT --notrack
  kInvalid = 8,    // no entry: tracking refused the packet
};

/// Where the headers are.  Recomputed by ParseHeaders after a rewrite that
/// moves them.
struct Headers {
  bool ok = false;  // network header complete and sane
  /// IPv6: the chain of extension headers could be followed.  False = what
  /// ipv6_find_hdr() answers with an error; a rule with a protocol then drops
  /// the packet (ip6_packet_match: hotdrop).  IPv4: as `ok`.
  bool transport_ok = false;
  uint8_t protocol = 0;          // upper layer, extension headers skipped
                                 // (ipv6_find_hdr with AH skipped)
  uint16_t transport = 0;        // byte offset of the upper-layer header; of
                                 // an IPv6 non-first fragment: of its data
  uint16_t fragment_offset = 0;  // in 8-byte units; 0 = first or whole
  bool fragment = false;         // offset != 0 or more fragments
  uint16_t total_length = 0;     // from the IP header
};

/// The upper-layer header of an IPv6 packet, as ipv6_find_hdr() finds it.
struct UpperHeader {
  int protocol = -1;  // -1: chain broken, kernel error < 0
  uint16_t offset = 0;
  uint16_t fragment_offset = 0;  // in 8-byte units
  bool fragment = false;         // a fragment header was met
};

/// ipv6_find_hdr(skb, &offset, -1, &fragoff, flags) from the IPv6 header at
/// `network`; `stop_at_ah` = flags IP6_FH_F_AUTH, as nf_tables asks.
UpperHeader FindUpperHeader(std::span<const uint8_t> bytes, size_t network,
                            bool stop_at_ah);

/// What -j CT in the raw table left for the tracker (a conntrack template).
struct ConntrackTemplate {
  bool set = false;
  uint16_t zone = 0;
  bool zone_from_mark = false;  // --zone mark
  /// Directions the zone holds for: bit 0 original, bit 1 reply.
  uint8_t zone_directions = 3;
};

/// Where the packet goes, once that is known (skb_dst of the kernel).
enum class RouteKind : uint8_t {
  kNone,       // before routing
  kLocal,      // to this host, unicast
  kBroadcast,  // to this host
  kMulticast,  // to this host
  kForward,    // through this host
  kOutput,     // from this host
};

struct PacketState {
  Family family = Family::kIpv4;
  std::vector<uint8_t> bytes;  // from the IP header
  Headers headers;
  /// NUL-padded device names, compared 16 bytes at a time as in xt code; all
  /// zero where the hook has none.
  alignas(16) std::array<char, 16> in{};
  alignas(16) std::array<char, 16> out{};
  Hook hook = Hook::kPrerouting;
  RouteKind route = RouteKind::kNone;
  const Packet* origin = nullptr;  // mac, owner, time
  bool local_out = false;          // sent by a local socket
  bool answer = false;             // made by a REJECT
  bool routed_here = false;        // sent by this host, to this host (lo)
  bool looped = false;             // the copy of a broadcast that comes back
  uint32_t mark = 0;
  uint32_t priority = 0;          // CLASSIFY
  bool traced = false;            // TRACE was met
  bool hotdrop = false;           // a match found the packet malformed
  bool refragmented = false;      // was put together, leaves in fragments
  ConntrackTemplate ct_template;  // set by -j CT before tracking
  CtInfo ct_info = CtInfo::kInvalid;
  Connection* connection = nullptr;
  const Topology* topology = nullptr;
  Tracker* tracker = nullptr;
  Path* path = nullptr;  // takes the answers of REJECT
  uint64_t now_ms = 0;
  Outcome* outcome = nullptr;  // logs, trace and indeterminate go here

  /// Says once that this outcome depends on chance or the clock.
  void MarkIndeterminate(std::string_view construct);
};

/// Fills `headers` from `bytes`.
/// Source: net/ipv6/exthdrs_core.c ipv6_find_hdr(), RFC 791, RFC 8200.
void ParseHeaders(PacketState* packet);
/// The same for bytes on their own.
Headers HeadersOf(Family family, std::span<const uint8_t> bytes);

/// The address at its place in the IP header; `headers.ok` must hold.
Address SourceOf(const PacketState& packet);
Address DestinationOf(const PacketState& packet);
/// The name in a NUL-padded device field.
std::string_view DeviceName(const std::array<char, 16>& device);
void SetDeviceName(std::string_view name, std::array<char, 16>* device);

/// The Ethernet addresses a packet came with; nullopt: it has had no link
/// layer.  What the packet itself leaves open is zero, on a device whose
/// packets have a link layer.
struct LinkLayer {
  std::array<uint8_t, 6> src{}, dst{};
};
std::optional<LinkLayer> LinkLayerOf(const PacketState& packet);

/// The mark of the packet's connection; nullopt: it has none.  A template left
/// by -j CT stands for one whose mark is 0 until tracking begins.
std::optional<uint32_t> ConnectionMarkOf(const PacketState& packet);

/// One step of the path: a table's chain at a hook.
struct Stage {
  TableKind table;
  Hook hook;
};

/// What an engine says at the end of one stage.
struct StageVerdict {
  VerdictKind kind = VerdictKind::kAccept;  // accept = go on to the next stage
  uint16_t queue = 0;
  RuleRef rule;  // who said it
};

/// An engine's evaluation of one stage; twins implement it, the path calls it.
class StageEvaluator {
 public:
  virtual ~StageEvaluator() = default;
  /// Whether anything is in force at this stage: rules or a policy of DROP.
  virtual bool HasStage(Stage stage) const = 0;
  virtual StageVerdict Evaluate(Stage stage, PacketState* packet) = 0;
};

}  // namespace nfarena
