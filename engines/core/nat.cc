// The NAT half of the tracker: choosing a tuple, binding it, rewriting packets.
// Source: net/netfilter/nf_nat_core.c, nf_nat_proto.c, nf_nat_masquerade.c,
// nf_nat_redirect.c, xt_NETMAP.c.

#include <algorithm>
#include <array>
#include <cstring>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/tracker_impl.h"

namespace nfarena {
namespace {

constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kGre = 47, kIcmpv6 = 58,
                  kSctp = 132, kUdplite = 136;
constexpr uint32_t kRandomAll = kNatProtoRandom | kNatProtoRandomFully;
constexpr uint32_t kMaxAttempts = 128;  // NF_NAT_MAX_ATTEMPTS

uint32_t Rotate(uint32_t value, int bits) {
  return (value << bits) | (value >> (32 - bits));
}

/// The bytes of an address as the four words the kernel hashes, memory order.
std::array<uint32_t, 4> Words(const Address& address) {
  std::array<uint32_t, 4> words;
  std::memcpy(words.data(), address.data(), sizeof(words));
  return words;
}

/// The field that NAT may change in a tuple: port, or ICMP id.
uint16_t* PortOf(Tuple* tuple, NatManip manip) {
  if (tuple->protocol == kIcmp || tuple->protocol == kIcmpv6) {
    return &tuple->src_port;
  }
  return manip == NatManip::kSource ? &tuple->src_port : &tuple->dst_port;
}

/// l4proto_in_range().
bool PortInRange(const Tuple& tuple, NatManip manip, const NatRange& range) {
  switch (tuple.protocol) {
    case kIcmp:
    case kIcmpv6:
    case kGre:
    case kTcp:
    case kUdp:
    case kUdplite:
    case kSctp: {
      Tuple copy = tuple;
      const uint16_t port = *PortOf(&copy, manip);
      return port >= range.min_port && port <= range.max_port;
    }
    default:
      return true;
  }
}

/// nf_in_range(): source-mapped like this, does the tuple meet the range?
bool SourceInRange(const Tuple& tuple, const NatRange& range) {
  if ((range.flags & kNatMapIps) != 0 &&
      (tuple.src < range.min || tuple.src > range.max)) {
    return false;
  }
  if ((range.flags & kNatProtoSpecified) == 0) return true;
  return PortInRange(tuple, NatManip::kSource, range);
}

/// find_best_ips_proto(): a fixed hash of the addresses picks one of the range.
void PickAddress(const NatRange& range, uint16_t zone, NatManip manip,
                 Tuple* tuple) {
  if ((range.flags & kNatMapIps) == 0) return;
  Address* field = manip == NatManip::kSource ? &tuple->src : &tuple->dst;
  if (range.min == range.max) {
    *field = range.min;
    return;
  }
  const size_t last = tuple->family == Family::kIpv4 ? 0 : 3;
  const bool persistent = (range.flags & kNatPersistent) != 0;
  const std::array<uint32_t, 4> source = Words(tuple->src);
  uint32_t hash =
      Jhash2(source, persistent ? 0 : Words(tuple->dst)[last] ^ zone);
  bool full_range = false;
  for (size_t i = 0; i <= last; ++i) {
    uint32_t low = 0;
    uint32_t count = ~0u;
    if (!full_range) {
      low = LoadBe32(&range.min[i * 4]);
      count = LoadBe32(&range.max[i * 4]) - low + 1;
    }
    const auto offset =
        static_cast<uint32_t>((static_cast<uint64_t>(hash) * count) >> 32);
    StoreBe32(&(*field)[i * 4], low + offset);
    if (!std::equal(field->begin() + i * 4, field->begin() + i * 4 + 4,
                    range.max.begin() + i * 4)) {
      full_range = true;
    }
    // The destination as it is now: for a DNAT, the new one.
    if (!persistent) hash ^= Words(tuple->dst)[i];
  }
}

/// nf_csum_update(): the change of an address in a checksum with a pseudo
/// header.
uint16_t ReplaceAddress(Family family, uint16_t check, const Address& from,
                        const Address& to) {
  return family == Family::kIpv4
             ? ChecksumReplace4(check, LoadRaw32(from.data()),
                                LoadRaw32(to.data()))
             : ChecksumReplace16(check, from, to);
}

/// l4proto_manip_pkt(): ports or ids, and the checksum for those and for the
/// address that is about to change from `from` to `to`.  An inner packet may
/// be cut after 8 bytes; its checksum then stays.
bool ManipulateTransport(Family family, std::span<uint8_t> l4,
                         const Tuple& target, NatManip manip,
                         const Address& from, const Address& to) {
  const bool source = manip == NatManip::kSource;
  const uint16_t port = source ? target.src_port : target.dst_port;
  const auto replace_port = [&](uint8_t* field, uint8_t* check) {
    const uint16_t old = LoadRaw16(field);
    StoreBe16(field, port);
    if (check == nullptr) return;
    const uint16_t sum = ReplaceAddress(family, LoadRaw16(check), from, to);
    StoreRaw16(check, ChecksumReplace2(sum, old, LoadRaw16(field)));
  };
  switch (target.protocol) {
    case kTcp:
      if (l4.size() < 8) return false;
      replace_port(&l4[source ? 0 : 2], l4.size() >= 20 ? &l4[16] : nullptr);
      return true;
    case kUdp:
    case kUdplite: {
      if (l4.size() < 8) return false;
      uint8_t* check = &l4[6];
      const bool sum = target.protocol == kUdplite || LoadRaw16(check) != 0;
      replace_port(&l4[source ? 0 : 2], sum ? check : nullptr);
      if (sum && LoadRaw16(check) == 0) StoreRaw16(check, 0xffff);
      return true;
    }
    case kSctp:
      if (l4.size() < 8) return false;
      StoreBe16(&l4[source ? 0 : 2], port);
      if (l4.size() >= 12) {
        const uint32_t crc = SctpChecksum(l4);
        std::memcpy(&l4[8], &crc, sizeof(crc));
      }
      return true;
    case kIcmp: {
      if (l4.size() < 8) return false;
      const uint8_t type = l4[0];
      if (type != 8 && type != 0 && (type < 13 || type > 18)) return true;
      const uint16_t old = LoadRaw16(&l4[4]);
      StoreBe16(&l4[4], target.src_port);
      StoreRaw16(&l4[2],
                 ChecksumReplace2(LoadRaw16(&l4[2]), old, LoadRaw16(&l4[4])));
      return true;
    }
    case kIcmpv6: {
      if (l4.size() < 8) return false;
      uint16_t sum = ReplaceAddress(family, LoadRaw16(&l4[2]), from, to);
      if (l4[0] == 128 || l4[0] == 129) {
        const uint16_t old = LoadRaw16(&l4[4]);
        StoreBe16(&l4[4], target.src_port);
        sum = ChecksumReplace2(sum, old, LoadRaw16(&l4[4]));
      }
      StoreRaw16(&l4[2], sum);
      return true;
    }
    case kGre:
      if (l4.size() < 8) return false;
      if (source) return true;
      switch (l4[1] & 7) {
        case 0:
          return true;
        case 1:
          StoreBe16(&l4[6], port);
          return true;
        default:
          return false;
      }
    default:
      return true;
  }
}

bool Done(const Connection& connection, NatManip manip) {
  return (connection.status &
          (manip == NatManip::kSource ? kStatusSrcNatDone
                                      : kStatusDstNatDone)) != 0;
}

/// Whether this connection's packets of this direction are rewritten there.
bool Rewrites(const PacketState& packet, NatManip manip) {
  const bool reply = DirectionOf(packet.ct_info) == 1;
  const bool source = (manip == NatManip::kSource) != reply;
  return (packet.connection->status &
          (source ? kStatusSrcNat : kStatusDstNat)) != 0;
}

}  // namespace

uint32_t Jhash2(std::span<const uint32_t> words, uint32_t initial) {
  uint32_t a =
      0xdeadbeefu + (static_cast<uint32_t>(words.size()) << 2) + initial;
  uint32_t b = a;
  uint32_t c = a;
  size_t i = 0;
  for (; words.size() - i > 3; i += 3) {
    a += words[i];
    b += words[i + 1];
    c += words[i + 2];
    a = (a - c) ^ Rotate(c, 4);
    c += b;
    b = (b - a) ^ Rotate(a, 6);
    a += c;
    c = (c - b) ^ Rotate(b, 8);
    b += a;
    a = (a - c) ^ Rotate(c, 16);
    c += b;
    b = (b - a) ^ Rotate(a, 19);
    a += c;
    c = (c - b) ^ Rotate(b, 4);
    b += a;
  }
  const size_t left = words.size() - i;
  if (left == 0) return c;
  if (left == 3) c += words[i + 2];
  if (left >= 2) b += words[i + 1];
  a += words[i];
  c = (c ^ b) - Rotate(b, 14);
  a = (a ^ c) - Rotate(c, 11);
  b = (b ^ a) - Rotate(a, 25);
  c = (c ^ b) - Rotate(b, 16);
  a = (a ^ c) - Rotate(c, 4);
  b = (b ^ a) - Rotate(a, 14);
  c = (c ^ b) - Rotate(b, 24);
  return c;
}

bool ManipulatePacket(Family family, std::span<uint8_t> bytes, size_t network,
                      const Tuple& target, NatManip manip) {
  const bool v4 = family == Family::kIpv4;
  const bool source = manip == NatManip::kSource;
  const size_t size = v4 ? 4 : 16;
  if (bytes.size() < network + (v4 ? 20 : 40)) return false;
  uint8_t* field =
      &bytes[network + (v4 ? (source ? 12 : 16) : (source ? 8 : 24))];
  Address from{};
  std::copy_n(field, size, from.begin());
  const Address& to = source ? target.src : target.dst;

  if (v4) {
    const size_t offset =
        network + static_cast<size_t>(bytes[network] & 0xf) * 4;
    if (offset > bytes.size()) return false;
    if (!ManipulateTransport(family, bytes.subspan(offset), target, manip, from,
                             to)) {
      return false;
    }
    uint8_t* check = &bytes[network + 10];
    StoreRaw16(check, ChecksumReplace4(LoadRaw16(check), LoadRaw32(from.data()),
                                       LoadRaw32(to.data())));
  } else {
    // Behind a broken chain or in a later fragment only the address changes.
    const ConntrackHeader header = FindConntrackHeader(family, bytes, network);
    if (header.ok) {
      if (header.offset > bytes.size()) return false;
      if (!ManipulateTransport(family, bytes.subspan(header.offset), target,
                               manip, from, to)) {
        return false;
      }
    }
  }
  std::copy_n(to.begin(), size, field);
  return true;
}

bool Tracker::Impl::LeftToChance(const Tuple& reply) const {
  if (tainted.contains(reply)) return true;
  if (by_chance.empty()) return false;
  for (uint16_t Tuple::*port : {&Tuple::src_port, &Tuple::dst_port}) {
    Tuple rest = reply;
    rest.*port = 0;
    const auto it = by_chance.find(rest);
    if (it != by_chance.end() && reply.*port >= it->second.low &&
        reply.*port <= it->second.high) {
      return true;
    }
  }
  return false;
}

void Tracker::Impl::RememberChance(const Tuple& tuple, NatManip manip,
                                   uint32_t low, uint32_t count) {
  // The field that floats is the same before and after InvertTuple() swaps the
  // ports; ICMP ids are not swapped.
  Tuple rest;
  Tuple open = tuple;
  *PortOf(&open, manip) = 0;
  InvertTuple(open, &rest);
  const auto high = static_cast<uint16_t>(low + count - 1);
  const auto [it, fresh] =
      by_chance.try_emplace(rest, PortRange{static_cast<uint16_t>(low), high});
  if (fresh) return;
  it->second.low = std::min(it->second.low, static_cast<uint16_t>(low));
  it->second.high = std::max(it->second.high, high);
}

bool Tracker::Impl::UsedTuple(const Tuple& tuple, const ConnectionNode& node,
                              uint64_t now_ms, bool* determined) {
  Tuple reply;
  InvertTuple(tuple, &reply);
  if (LeftToChance(reply)) *determined = false;
  return Taken(reply, node, now_ms);
}

bool Tracker::Impl::FindSourceMapping(const Tuple& original,
                                      const NatRange& range,
                                      const ConnectionNode& node, Tuple* result,
                                      bool* determined) {
  const Zone zone = ZoneOf(node.connection);
  const Tuple& wanted = original;
  // The chain holds every connection whose original source this could be.
  for (const ConnectionNode* other = by_source[SourceBucket(wanted)];
       other != nullptr; other = other->source_next) {
    const Tuple& theirs = other->connection.original;
    if (theirs.protocol != wanted.protocol || theirs.src != wanted.src ||
        theirs.src_port != wanted.src_port ||
        ZoneOf(other->connection).IdFor(0) != zone.IdFor(0)) {
      continue;
    }
    if (!InvertTuple(other->connection.reply, result)) continue;
    result->dst = wanted.dst;
    result->dst_port = wanted.dst_port;
    if (other->connection.indeterminate) *determined = false;
    if (SourceInRange(*result, range)) return true;
  }
  return false;
}

bool Tracker::Impl::UniqueTuple(const Tuple& original, const NatRange& range,
                                ConnectionNode* node, NatManip manip,
                                uint64_t now_ms, Tuple* tuple) {
  const bool random = (range.flags & kRandomAll) != 0;
  bool determined = true;
  const auto used = [&] {
    return UsedTuple(*tuple, *node, now_ms, &determined);
  };
  if (manip == NatManip::kSource && !random) {
    if (SourceInRange(original, range)) {
      *tuple = original;
      if (!used()) return determined;
    } else if (FindSourceMapping(original, range, *node, tuple, &determined) &&
               !used()) {
      return determined;
    }
  }
  *tuple = original;
  PickAddress(range, node->connection.zone, manip, tuple);
  if (!random) {
    if ((range.flags & kNatProtoSpecified) != 0) {
      if ((range.flags & kNatProtoOffset) == 0 &&
          PortInRange(*tuple, manip, range) &&
          (range.min_port == range.max_port || !used())) {
        return determined;
      }
    } else if (!used()) {
      return determined;
    }
  }

  // nf_nat_l4proto_unique_tuple().
  uint16_t* port = PortOf(tuple, manip);
  uint32_t low = 0;
  uint32_t count = 0;
  const bool specified = (range.flags & kNatProtoSpecified) != 0;
  switch (tuple->protocol) {
    case kIcmp:
    case kIcmpv6:
      low = specified ? range.min_port : 0u;
      count = specified
                  ? static_cast<uint32_t>(range.max_port - range.min_port + 1)
                  : 65536u;
      break;
    case kUdp:
    case kUdplite:
    case kTcp:
    case kSctp:
      if (specified) {
        low = std::min(range.min_port, range.max_port);
        count = std::max(range.min_port, range.max_port) - low + 1;
      } else if (manip == NatManip::kDestination) {
        return determined;
      } else if (*port < 512) {
        low = 1, count = 511;
      } else if (*port < 1024) {
        low = 600, count = 1023 - 600 + 1;
      } else {
        low = 1024, count = 65535 - 1024 + 1;
      }
      break;
    default:
      return determined;  // GRE without PPTP's helper too
  }
  if (count == 0) return determined;
  uint16_t offset = 0;
  if ((range.flags & kNatProtoOffset) != 0) {
    offset = static_cast<uint16_t>(*port - range.base_port);
  } else if (random || manip != NatManip::kDestination) {
    // The kernel draws the first offset.
    if (count > 1) {
      determined = false;
      RememberChance(*tuple, manip, low, count);
    }
  }
  const uint32_t attempts = std::min(count, kMaxAttempts);
  for (uint32_t i = 0; i < attempts; ++i, ++offset) {
    *port = static_cast<uint16_t>(low + offset % count);
    if (!used()) return determined;
  }
  // Nothing free: the kernel draws other offsets while the range is larger
  // than what was tried.
  return determined && attempts >= count;
}

bool Tracker::SetupNat(PacketState* packet, const NatRange& range,
                       NatManip manip) {
  Connection* connection = packet->connection;
  if (connection == nullptr) return false;
  if ((connection->status & kStatusConfirmed) != 0) return true;
  if (Done(*connection, manip)) return false;
  ConnectionNode* node = NodeOf(connection);
  Tuple current, chosen;
  InvertTuple(connection->reply, &current);
  if (!impl_->UniqueTuple(current, range, node, manip, packet->now_ms,
                          &chosen)) {
    packet->MarkIndeterminate("a NAT port chosen at random");
  }
  if (!(chosen == current)) {
    InvertTuple(chosen, &connection->reply);
    connection->status |=
        manip == NatManip::kSource ? kStatusSrcNat : kStatusDstNat;
  }
  if (manip == NatManip::kSource) impl_->AddToSource(node);
  connection->status |=
      manip == NatManip::kSource ? kStatusSrcNatDone : kStatusDstNatDone;
  return true;
}

bool Tracker::SetupMasquerade(PacketState* packet, const NatRange& range) {
  Connection* connection = packet->connection;
  if (connection == nullptr) return false;
  if (packet->family == Family::kIpv4 &&
      connection->original.src == Address{}) {
    return true;  // a local packet before the host has an address
  }
  const auto address = packet->topology->SourceFor(DeviceName(packet->out),
                                                   DestinationOf(*packet));
  if (!address) return false;
  connection->masquerade = true;
  connection->masquerade_out = packet->out;
  NatRange own = range;
  own.flags |= kNatMapIps;
  own.min = own.max = *address;
  own.base_port = 0;
  return SetupNat(packet, own, NatManip::kSource);
}

bool Tracker::SetupRedirect(PacketState* packet, const NatRange& range) {
  const bool output = packet->hook == Hook::kOutput;
  const std::string_view device =
      output ? std::string_view("lo") : DeviceName(packet->in);
  const auto address =
      packet->topology->RedirectAddress(device, DestinationOf(*packet));
  if (!address) return false;
  NatRange own = range;
  own.flags |= kNatMapIps;
  own.min = own.max = *address;
  own.base_port = 0;
  return SetupNat(packet, own, NatManip::kDestination);
}

bool Tracker::SetupNetmap(PacketState* packet, const NatRange& range,
                          NatManip manip) {
  if (!packet->headers.ok) return false;
  Address address =
      manip == NatManip::kSource ? SourceOf(*packet) : DestinationOf(*packet);
  for (size_t i = 0; i < address.size(); ++i) {
    const auto host = static_cast<uint8_t>(range.min[i] ^ range.max[i]);
    address[i] =
        static_cast<uint8_t>((address[i] & host) | (range.min[i] & ~host));
  }
  NatRange own = range;
  own.flags |= kNatMapIps;
  own.min = own.max = address;
  own.base_port = 0;
  return SetupNat(packet, own, manip);
}

bool Tracker::WantsNatRules(const PacketState& packet, Hook hook) const {
  if (packet.connection == nullptr) return false;
  switch (packet.ct_info) {
    case CtInfo::kRelated:
    case CtInfo::kRelatedReply:
      if (packet.headers.protocol ==
          (packet.family == Family::kIpv4 ? kIcmp : kIcmpv6)) {
        return false;
      }
      break;
    case CtInfo::kNew:
      break;
    default:
      return false;
  }
  return !Done(*packet.connection, ManipOf(hook));
}

bool Tracker::SetupNullNat(PacketState* packet, Hook hook) {
  Connection* connection = packet->connection;
  if (connection == nullptr) return true;
  const NatManip manip = ManipOf(hook);
  NatRange range;
  range.flags = kNatMapIps;
  range.min = range.max = manip == NatManip::kSource ? connection->reply.dst
                                                     : connection->reply.src;
  return SetupNat(packet, range, manip);
}

bool Tracker::Impl::TranslateIcmpError(PacketState* packet, NatManip manip) {
  // nf_nat_icmp_reply_translation() and its ICMPv6 twin.
  const bool v4 = packet->family == Family::kIpv4;
  const ConntrackHeader header =
      FindConntrackHeader(packet->family, packet->bytes, 0);
  if (!header.ok) return false;
  const size_t at = header.offset;
  std::vector<uint8_t>& bytes = packet->bytes;
  const Connection& connection = *packet->connection;
  if (at + 8 + (v4 ? 20 : 40) > bytes.size()) return false;
  if (!TransportChecksumOk(packet->family, bytes, at, v4 ? kIcmp : kIcmpv6)) {
    return false;
  }
  if (bytes[at] == (v4 ? 5 : 137)) {
    // A redirect about a translated connection would mislead.
    constexpr uint32_t kBoth = kStatusSrcNatDone | kStatusDstNatDone;
    if ((connection.status & kBoth) != kBoth) return false;
    if ((connection.status & (kStatusSrcNat | kStatusDstNat)) != 0) {
      return false;
    }
  }
  if (!Rewrites(*packet, manip)) return true;
  const int direction = DirectionOf(packet->ct_info);
  const Tuple& other = direction == 0 ? connection.reply : connection.original;
  const NatManip opposite =
      manip == NatManip::kSource ? NatManip::kDestination : NatManip::kSource;
  if (!ManipulatePacket(packet->family, bytes, at + 8, other, opposite)) {
    return false;
  }
  FixTransportChecksum(packet->family, bytes, at, v4 ? kIcmp : kIcmpv6);
  Tuple target;
  if (!InvertTuple(other, &target)) return false;
  target.protocol = v4 ? kIcmp : kIcmpv6;
  return ManipulatePacket(packet->family, bytes, 0, target, manip);
}

bool Tracker::TranslatePacket(PacketState* packet, Hook hook) {
  Connection* connection = packet->connection;
  if (connection == nullptr) return true;
  const NatManip manip = ManipOf(hook);
  const bool related = packet->ct_info == CtInfo::kRelated ||
                       packet->ct_info == CtInfo::kRelatedReply;
  if (related && packet->headers.protocol ==
                     (packet->family == Family::kIpv4 ? kIcmp : kIcmpv6)) {
    return impl_->TranslateIcmpError(packet, manip);
  }
  if (hook == Hook::kPostrouting && connection->masquerade &&
      DirectionOf(packet->ct_info) == 0 &&
      connection->masquerade_out != packet->out) {
    // The route has changed since it was masqueraded: nf_nat_oif_changed().
    impl_->Kill(NodeOf(connection));
    return false;
  }
  if (!Rewrites(*packet, manip)) return true;
  Tuple target;
  if (!InvertTuple(DirectionOf(packet->ct_info) == 0 ? connection->reply
                                                     : connection->original,
                   &target)) {
    return false;
  }
  return ManipulatePacket(packet->family, packet->bytes, 0, target, manip);
}

}  // namespace nfarena
