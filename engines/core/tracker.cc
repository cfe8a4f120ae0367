#include "engines/core/tracker.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/tracker_impl.h"

namespace nfarena {
namespace {

uint64_t Mix(uint64_t value) {
  value ^= value >> 32;
  value *= 0xff51afd7ed558ccdu;
  value ^= value >> 29;
  return value;
}

uint64_t HashAddress(const Address& address) {
  uint64_t words[2];
  std::memcpy(words, address.data(), sizeof(words));
  return words[0] * 0x9e3779b97f4a7c15u + words[1];
}

/// Zones are compared, not hashed: there are few.
size_t HashTuple(const Tuple& tuple) {
  uint64_t h = HashAddress(tuple.src);
  h = Mix(h) + HashAddress(tuple.dst);
  h = Mix(h) + ((static_cast<uint64_t>(tuple.src_port) << 32) |
                (static_cast<uint64_t>(tuple.dst_port) << 16) | tuple.protocol);
  return Mix(h);
}

size_t HashSource(const Tuple& tuple) {
  return Mix(Mix(HashAddress(tuple.src)) +
             ((static_cast<uint64_t>(tuple.src_port) << 16) | tuple.protocol));
}

bool Expired(const Connection& connection, uint64_t now_ms) {
  return (connection.status & kStatusConfirmed) != 0 &&
         connection.expires_ms <= now_ms;
}

const Tuple& TupleOf(const TupleLink& link) {
  const Connection& connection = link.node->connection;
  return link.direction == 0 ? connection.original : connection.reply;
}

bool IsIcmpv4Error(uint8_t type) {
  // icmp_is_err(): unreachable, source quench, redirect, time exceeded,
  // parameter problem.
  return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

bool IsIcmpv6Untracked(uint8_t type) {
  // noct_valid_new[]: MLD (130 to 132), NDP but for redirects (133 to 136),
  // MLDv2 reports, multicast router discovery.
  return (type >= 130 && type <= 136) || type == 143 || type == 151 ||
         type == 152;
}

}  // namespace

size_t Tracker::Impl::TupleHash::operator()(const Tuple& tuple) const {
  return HashTuple(tuple);
}

Tracker::Tracker() : impl_(std::make_unique<Impl>()) {}
Tracker::~Tracker() = default;

ConnectionNode* Tracker::Impl::Allocate() {
  ConnectionNode* node;
  if (free.empty()) {
    node = &pool.emplace_back();
  } else {
    node = free.back();
    free.pop_back();
    // The string keeps its buffer, everything else starts anew.
    std::string because = std::move(node->connection.indeterminate_because);
    *node = {};
    because.clear();
    node->connection.indeterminate_because = std::move(because);
  }
  for (uint8_t direction = 0; direction < 2; ++direction) {
    node->links[direction] = {node, nullptr, direction};
  }
  return node;
}

void Tracker::Impl::Unhold(ConnectionNode* node) {
  if (node->references > 0) --node->references;
  if (node->references == 0 && !node->in_table) {
    RemoveFromSource(node);
    free.push_back(node);
  }
}

void Tracker::Impl::Insert(ConnectionNode* node) {
  for (TupleLink& link : node->links) {
    TupleLink*& bucket = table[HashTuple(TupleOf(link)) & (table.size() - 1)];
    link.next = bucket;
    bucket = &link;
  }
  node->in_table = true;
  ++in_table;
}

void Tracker::Impl::Kill(ConnectionNode* node) {
  node->connection.status |= kStatusDying;
  if (!node->in_table) return;
  for (TupleLink& link : node->links) {
    TupleLink** at = &table[HashTuple(TupleOf(link)) & (table.size() - 1)];
    while (*at != &link) at = &(*at)->next;
    *at = link.next;
  }
  node->in_table = false;
  --in_table;
  RemoveFromSource(node);
  if (node->references == 0) free.push_back(node);
}

size_t Tracker::Impl::SourceBucket(const Tuple& tuple) const {
  return HashSource(tuple) & (by_source.size() - 1);
}

void Tracker::Impl::AddToSource(ConnectionNode* node) {
  ConnectionNode*& bucket = by_source[SourceBucket(node->connection.original)];
  node->source_next = bucket;
  bucket = node;
  node->in_source_table = true;
}

void Tracker::Impl::RemoveFromSource(ConnectionNode* node) {
  if (!node->in_source_table) return;
  ConnectionNode** at = &by_source[SourceBucket(node->connection.original)];
  while (*at != node) at = &(*at)->source_next;
  *at = node->source_next;
  node->in_source_table = false;
}

void Tracker::Impl::Grow(uint64_t now_ms) {
  if (in_table < table.size()) return;
  // What has expired makes room first.
  for (ConnectionNode& node : pool) {
    if (node.in_table && Expired(node.connection, now_ms)) Kill(&node);
  }
  if (in_table * 2 < table.size()) return;
  const size_t size = table.size() * 4;
  table.assign(size, nullptr);
  // The by-source chains keep their order, newest first: gather, then refill
  // from the oldest.
  std::vector<ConnectionNode*> sources;
  for (ConnectionNode* head : by_source) {
    for (ConnectionNode* node = head; node != nullptr;
         node = node->source_next) {
      sources.push_back(node);
    }
  }
  by_source.assign(size, nullptr);
  for (auto it = sources.rbegin(); it != sources.rend(); ++it) AddToSource(*it);
  in_table = 0;
  for (ConnectionNode& node : pool) {
    if (node.in_table) Insert(&node);
  }
}

TupleLink* Tracker::Impl::Find(const Tuple& tuple, Zone zone, uint64_t now_ms) {
  TupleLink* link = table[HashTuple(tuple) & (table.size() - 1)];
  while (link != nullptr) {
    TupleLink* const next = link->next;
    ConnectionNode* node = link->node;
    if (TupleOf(*link) == tuple) {
      if (Expired(node->connection, now_ms)) {
        // The other direction may be `next`; start again.
        Kill(node);
        link = table[HashTuple(tuple) & (table.size() - 1)];
        continue;
      }
      if (ZoneOf(node->connection).IdFor(link->direction) ==
          zone.IdFor(link->direction)) {
        return link;
      }
    }
    link = next;
  }
  return nullptr;
}

bool Tracker::Impl::Taken(const Tuple& tuple, const ConnectionNode& ignored,
                          uint64_t now_ms) {
  const Zone zone = ZoneOf(ignored.connection);
  for (const TupleLink* link = table[HashTuple(tuple) & (table.size() - 1)];
       link != nullptr; link = link->next) {
    const Connection& other = link->node->connection;
    if (link->node == &ignored || !(TupleOf(*link) == tuple) ||
        Expired(other, now_ms) ||
        ZoneOf(other).IdFor(link->direction) != zone.IdFor(link->direction)) {
      continue;
    }
    // The same flow twice is left to the clash resolution of Confirm.
    if (other.original == ignored.connection.original &&
        ZoneOf(other).IdFor(0) == zone.IdFor(0)) {
      continue;
    }
    return true;
  }
  return false;
}

Zone Tracker::Impl::PacketZone(const PacketState& packet) const {
  const ConntrackTemplate& ct = packet.ct_template;
  if (!ct.set) return {};
  return {ct.zone_from_mark ? static_cast<uint16_t>(packet.mark) : ct.zone,
          ct.zone_directions};
}

void Tracker::Impl::Hold(PacketState* packet, ConnectionNode* node,
                         CtInfo info) {
  ++node->references;
  packet->connection = &node->connection;
  packet->ct_info = info;
  if (node->connection.indeterminate) {
    packet->MarkIndeterminate(node->connection.indeterminate_because);
  }
}

void Tracker::Impl::RelateByInner(PacketState* packet, size_t inner,
                                  Zone zone) {
  // nf_conntrack_inet_error().
  const ConntrackHeader header =
      FindConntrackHeader(packet->family, packet->bytes, inner);
  Tuple quoted, wanted;
  if (!header.ok ||
      !TupleAt(packet->family, packet->bytes, inner, header, &quoted) ||
      !InvertTuple(quoted, &wanted)) {
    return;
  }
  if (!tainted.empty()) {
    for (const Tuple& tuple : {quoted, wanted}) {
      const auto it = tainted.find(tuple);
      if (it != tainted.end()) packet->MarkIndeterminate(it->second);
    }
  }
  TupleLink* link = Find(wanted, zone, packet->now_ms);
  if (link == nullptr) return;
  // The error must be addressed to whom the connection's packets of this
  // direction go.
  if (DestinationOf(*packet) != TupleOf(*link).dst) return;
  Hold(packet, link->node,
       link->direction == 1 ? CtInfo::kRelatedReply : CtInfo::kRelated);
}

Tracker::Impl::IcmpResult Tracker::Impl::TrackIcmpError(
    PacketState* packet, const ConntrackHeader& header, Zone zone) {
  const bool v4 = packet->family == Family::kIpv4;
  if (header.protocol != (v4 ? 1 : 58)) return IcmpResult::kGoOn;
  const size_t at = header.offset;
  if (at + 8 > packet->bytes.size()) return IcmpResult::kDone;
  if (packet->hook == Hook::kPrerouting &&
      !TransportChecksumOk(packet->family, packet->bytes, at,
                           header.protocol)) {
    return IcmpResult::kDone;
  }
  const uint8_t type = packet->bytes[at];
  if (v4) {
    if (type > 18) return IcmpResult::kDone;
    if (!IsIcmpv4Error(type)) return IcmpResult::kGoOn;
    RelateByInner(packet, at + 8, zone);
    return IcmpResult::kDone;
  }
  if (IsIcmpv6Untracked(type)) {
    packet->ct_info = CtInfo::kUntracked;
    return IcmpResult::kDone;
  }
  if (type == 137) {
    // nf_conntrack_icmpv6_redirect(): 40 bytes of message, then options.
    if (at + 40 > packet->bytes.size()) return IcmpResult::kDone;
    if (packet->bytes[at + 1] != 0) return IcmpResult::kGoOn;
    if (packet->bytes[7] != 255 || !IsIpv6LinkLocal(SourceOf(*packet))) {
      return IcmpResult::kDone;
    }
    if (at + 42 > packet->bytes.size() || packet->bytes[at + 41] == 0) {
      return IcmpResult::kDone;
    }
    if (packet->bytes[at + 40] != 4) return IcmpResult::kGoOn;
    RelateByInner(packet, at + 48, zone);
    return IcmpResult::kDone;
  }
  if (type >= 128) return IcmpResult::kGoOn;
  RelateByInner(packet, at + 8, zone);
  return IcmpResult::kDone;
}

ProtocolVerdict Tracker::Impl::TrackProtocol(PacketState* packet,
                                             const ConntrackHeader& header) {
  Connection* connection = packet->connection;
  const ProtocolPacket view{
      .family = packet->family,
      .bytes = packet->bytes,
      .offset = header.offset,
      .info = packet->ct_info,
      .check_checksum = packet->hook == Hook::kPrerouting,
      .now_ms = packet->now_ms,
  };
  switch (connection->original.protocol) {
    case IPPROTO_TCP: {
      bool kill = false;
      const ProtocolVerdict verdict = TrackTcp(connection, view, &kill);
      if (kill) Kill(NodeOf(connection));
      return verdict;
    }
    case IPPROTO_UDP:
      return TrackUdp(connection, view);
    case IPPROTO_UDPLITE:
      return TrackUdplite(connection, view);
    case IPPROTO_ICMP:
      return TrackIcmp(connection, view);
    case IPPROTO_ICMPV6:
      return TrackIcmpv6(connection, view);
    case IPPROTO_GRE:
      return TrackGre(connection, view);
    case IPPROTO_SCTP:
      return TrackSctp(connection, view);
    default:
      return TrackGeneric(connection, view);
  }
}

bool Tracker::Track(PacketState* packet) {
  // Seen before (it comes back over lo, or REJECT attached it).
  if (packet->connection != nullptr || packet->ct_info == CtInfo::kUntracked) {
    return true;
  }
  packet->ct_info = CtInfo::kInvalid;
  const Zone zone = impl_->PacketZone(*packet);
  // From here on the packet has a connection or none, no template.
  packet->ct_template = {};
  if (!packet->headers.ok) return true;
  const ConntrackHeader header =
      FindConntrackHeader(packet->family, packet->bytes, 0);
  if (!header.ok) return true;
  if (impl_->TrackIcmpError(packet, header, zone) == Impl::IcmpResult::kDone) {
    return true;
  }
  Tuple tuple, reply;
  if (!TupleAt(packet->family, packet->bytes, 0, header, &tuple)) return true;
  const bool has_reply = InvertTuple(tuple, &reply);
  if (!impl_->tainted.empty()) {
    auto it = impl_->tainted.find(tuple);
    if (it == impl_->tainted.end() && has_reply) {
      it = impl_->tainted.find(reply);
    }
    if (it != impl_->tainted.end()) packet->MarkIndeterminate(it->second);
  }
  // A second round follows a closed connection that is opened again; the
  // connection it then makes is new, so there is no third.
  for (int round = 0; round < 2; ++round) {
    TupleLink* link = impl_->Find(tuple, zone, packet->now_ms);
    if (link == nullptr) {
      if (!has_reply) return true;
      ConnectionNode* node = impl_->Allocate();
      Connection* connection = &node->connection;
      connection->original = tuple;
      connection->reply = reply;
      connection->zone = zone.id;
      connection->zone_directions = zone.directions;
      impl_->Hold(packet, node, CtInfo::kNew);
    } else if (link->direction == 1) {
      impl_->Hold(packet, link->node, CtInfo::kEstablishedReply);
    } else {
      const uint32_t status = link->node->connection.status;
      impl_->Hold(packet, link->node,
                  (status & kStatusSeenReply) != 0  ? CtInfo::kEstablished
                  : (status & kStatusExpected) != 0 ? CtInfo::kRelated
                                                    : CtInfo::kNew);
    }
    switch (impl_->TrackProtocol(packet, header)) {
      case ProtocolVerdict::kOk:
        if (packet->ct_info == CtInfo::kEstablishedReply) {
          packet->connection->status |= kStatusSeenReply;
        }
        return true;
      case ProtocolVerdict::kInvalid:
        Release(packet);
        packet->ct_info = CtInfo::kInvalid;
        return true;
      case ProtocolVerdict::kDrop:
        Release(packet);
        packet->ct_info = CtInfo::kInvalid;
        return false;
      case ProtocolVerdict::kRepeat:
        Release(packet);
        break;
    }
  }
  packet->ct_info = CtInfo::kInvalid;
  return true;
}

void Tracker::Share(PacketState* packet) {
  if (packet->connection != nullptr) ++NodeOf(packet->connection)->references;
}

void Tracker::Release(PacketState* packet) {
  if (packet->connection == nullptr) return;
  ConnectionNode* node = NodeOf(packet->connection);
  packet->connection = nullptr;
  impl_->Unhold(node);
}

bool Tracker::Confirm(PacketState* packet) {
  Connection* connection = packet->connection;
  if (connection == nullptr || (connection->status & kStatusConfirmed) != 0) {
    return true;
  }
  // An answer of REJECT does not confirm what it rejects.
  if (DirectionOf(packet->ct_info) != 0) return true;
  if ((connection->status & kStatusDying) != 0) return false;
  if (impl_->LeftToChance(connection->reply)) {
    packet->MarkIndeterminate("a clash with a NAT port chosen at random");
  }
  const Zone zone = ZoneOf(*connection);
  if (impl_->Find(connection->original, zone, packet->now_ms) != nullptr ||
      impl_->Find(connection->reply, zone, packet->now_ms) != nullptr) {
    return false;
  }
  impl_->Grow(packet->now_ms);
  impl_->Insert(NodeOf(connection));
  connection->expires_ms += packet->now_ms;
  connection->status |= kStatusConfirmed;
  return true;
}

void Tracker::Attach(PacketState* answer, const PacketState& rejected) {
  // The answer to an untracked packet is itself tracked: nf_ct_attach() turns
  // "untracked" into "related without a connection".
  if (rejected.connection == nullptr) return;
  impl_->Hold(answer, NodeOf(rejected.connection),
              DirectionOf(rejected.ct_info) == 0 ? CtInfo::kRelatedReply
                                                 : CtInfo::kRelated);
}

void Tracker::SetClosing(PacketState* packet) {
  if (packet->connection != nullptr) {
    SetTcpClosing(packet->connection, packet->now_ms);
  }
}

void Tracker::Taint(const PacketState& packet, std::string_view because) {
  Connection* connection = packet.connection;
  if (connection != nullptr) {
    if (!connection->indeterminate) {
      connection->indeterminate = true;
      connection->indeterminate_because = because;
    }
    // Whether it came to be confirmed is open as well.
    impl_->tainted.try_emplace(connection->original, because);
    impl_->tainted.try_emplace(connection->reply, because);
    return;
  }
  if (!packet.headers.ok) return;
  const ConntrackHeader header =
      FindConntrackHeader(packet.family, packet.bytes, 0);
  Tuple tuple;
  if (header.ok && TupleAt(packet.family, packet.bytes, 0, header, &tuple)) {
    impl_->tainted.try_emplace(tuple, because);
  }
}

void Tracker::Clear() {
  impl_ = std::make_unique<Impl>();
  named_state_.reset();
}

bool Tracker::IsOpen(const Tuple& tuple, uint16_t zone, uint8_t zone_directions,
                     uint64_t now_ms) {
  const TupleLink* link = impl_->Find(tuple, {zone, zone_directions}, now_ms);
  if (link == nullptr) return false;
  // TCP_CONNTRACK_TIME_WAIT, TCP_CONNTRACK_CLOSE
  constexpr uint8_t kTimeWait = 7, kClose = 8;
  const uint8_t state = link->node->connection.tcp_state;
  return tuple.protocol != IPPROTO_TCP ||
         (state != kTimeWait && state != kClose);
}

std::optional<Tuple> TupleOf(const PacketState& packet) {
  const ConntrackHeader header =
      FindConntrackHeader(packet.family, packet.bytes, 0);
  Tuple tuple;
  if (!header.ok || !TupleAt(packet.family, packet.bytes, 0, header, &tuple)) {
    return std::nullopt;
  }
  return tuple;
}

size_t Tracker::connections_count() const { return impl_->in_table; }

}  // namespace nfarena
