#include "engines/reference/condition.h"

#include <netinet/in.h>

#include <algorithm>

#include "engines/core/tracker.h"
#include "engines/reference/limit.h"
#include "engines/reference/options.h"
#include "engines/reference/question.h"
#include "engines/reference/view.h"

namespace nfarena::reference {
namespace {

// PACKET_* of include/uapi/linux/if_packet.h.
constexpr int kPacketHost = 0, kPacketBroadcast = 1, kPacketMulticast = 2;

constexpr uint64_t kClockDoubtSeconds = 2;

bool InRange(const PortRange& range, uint16_t port) {
  return (port >= range.first && port <= range.last) != range.inverted;
}

bool InRange(const IdRange& range, uint32_t id) {
  return (id >= range.first && id <= range.last) != range.inverted;
}

bool InRange(const AddressRange& range, const Address& address) {
  return (address >= range.first && address <= range.last) != range.inverted;
}

/// address and wanted agree in the bits of the mask.
bool SameUnderMask(const Address& address, const Address& wanted,
                   const Address& mask) {
  for (size_t i = 0; i < address.size(); ++i) {
    if ((address[i] & mask[i]) != (wanted[i] & mask[i])) return false;
  }
  return true;
}

/// IPv4 masks the packet's address only, so that a rule with bits outside its
/// mask never holds; IPv6 masks both.
bool AddressHolds(Family family, const Address& address, const Address& wanted,
                  const Address& mask) {
  if (family == Family::kIpv6) return SameUnderMask(address, wanted, mask);
  for (size_t i = 0; i < 4; ++i) {
    if ((address[i] & mask[i]) != wanted[i]) return false;
  }
  return true;
}

bool InterfaceHolds(const InterfaceTest& test,
                    const std::array<char, 16>& device) {
  for (size_t i = 0; i < device.size(); ++i) {
    if ((device[i] ^ test.name[i]) & test.mask[i]) return false;
  }
  return true;
}

/// The protocol part of ip6_packet_match().
bool Protocol6Holds(const Selector& selector, PacketState* packet) {
  if (selector.protocol == 0) return true;
  if (!packet->headers.transport_ok) {
    packet->hotdrop = true;
    return false;
  }
  const bool same = packet->headers.protocol == selector.protocol;
  return same != ((selector.inverted & kInvertProtocol) != 0);
}

bool Protocol4Holds(const Selector& selector, const PacketState& packet) {
  if (selector.protocol != 0) {
    const bool same = packet.bytes[9] == selector.protocol;
    if (same == ((selector.inverted & kInvertProtocol) != 0)) return false;
  }
  const bool misses = selector.fragment && packet.headers.fragment_offset == 0;
  return misses == ((selector.inverted & kInvertFragment) != 0);
}

/// What a conntrack state test sees: the packet's state as a bit, by the
/// numbers of the conntrack match.
uint16_t StateBitOf(const PacketState& packet) {
  // A template left by -j CT looks like a new connection until the tracker
  // has seen the packet.
  if (packet.connection == nullptr && packet.ct_template.set) {
    return kCtStateNew;
  }
  if (packet.connection == nullptr) {
    return packet.ct_info == CtInfo::kUntracked ? kCtStateUntracked
                                                : kCtStateInvalid;
  }
  switch (packet.ct_info) {
    case CtInfo::kEstablished:
    case CtInfo::kEstablishedReply:
      return kCtStateEstablished;
    case CtInfo::kRelated:
    case CtInfo::kRelatedReply:
      return kCtStateRelated;
    case CtInfo::kNew:
      return kCtStateNew;
    case CtInfo::kUntracked:
    case CtInfo::kInvalid:
      break;
  }
  return kCtStateInvalid;
}

bool IsIpv6Unicast(const Address& address) {
  // ipv6_addr_type(): neither multicast, nor ::, nor mapped IPv4.
  if (address[0] == 0xff) return false;
  const bool zero80 = std::all_of(address.begin(), address.begin() + 10,
                                  [](uint8_t byte) { return byte == 0; });
  if (zero80 && address[10] == 0xff && address[11] == 0xff) return false;
  return address != Address{};
}

/// Evaluates one alternative of Condition.
class Evaluation {
 public:
  Evaluation(Memory* memory, SharedMemory* shared, PacketState* packet)
      : memory_(*memory), shared_(*shared), packet_(*packet) {}

  bool operator()(const TcpMatch& tcp) {
    if (packet_.headers.fragment_offset != 0) {
      // A fragment 8 bytes into the TCP header could overwrite its flags.
      if (packet_.headers.fragment_offset == 1) packet_.hotdrop = true;
      return false;
    }
    const auto header = Transport(packet_, 20);
    if (!header) return Malformed();
    if (!InRange(tcp.source, LoadBe16(header->data()))) return false;
    if (!InRange(tcp.destination, LoadBe16(header->data() + 2))) return false;
    const uint8_t flags = (*header)[13];
    if (((flags & tcp.flags_mask) == tcp.flags_value) == tcp.flags_inverted) {
      return false;
    }
    return tcp.option == 0 || TcpOptionHolds(tcp, (*header)[12]);
  }

  bool operator()(const UdpMatch& udp) {
    if (packet_.headers.fragment_offset != 0) return false;
    const auto header = Transport(packet_, 8);
    if (!header) return Malformed();
    return InRange(udp.source, LoadBe16(header->data())) &&
           InRange(udp.destination, LoadBe16(header->data() + 2));
  }

  bool operator()(const IcmpMatch& icmp) {
    if (packet_.headers.fragment_offset != 0) return false;
    const auto header = Transport(packet_, 8);
    if (!header) return Malformed();
    const uint8_t type = (*header)[0];
    const uint8_t code = (*header)[1];
    const bool same =
        icmp.any_type || (type == icmp.type && code >= icmp.code_first &&
                          code <= icmp.code_last);
    return same != icmp.inverted;
  }

  bool operator()(const MultiportMatch& multiport) {
    if (packet_.headers.fragment_offset != 0) return false;
    const auto header = Transport(packet_, 4);
    if (!header) return Malformed();
    const uint16_t source = LoadBe16(header->data());
    const uint16_t destination = LoadBe16(header->data() + 2);
    const auto holds = [&](const PortRange& range) {
      switch (multiport.side) {
        case PortSide::kSource:
          return InRange(range, source);
        case PortSide::kDestination:
          return InRange(range, destination);
        case PortSide::kEither:
          return InRange(range, source) || InRange(range, destination);
      }
      return false;
    };
    const bool any =
        std::any_of(multiport.ranges.begin(), multiport.ranges.end(), holds);
    return any != multiport.inverted;
  }

  bool operator()(const IprangeMatch& iprange) {
    if (iprange.source && !InRange(*iprange.source, SourceOf(packet_))) {
      return false;
    }
    return !iprange.destination ||
           InRange(*iprange.destination, DestinationOf(packet_));
  }

  bool operator()(const ConntrackMatch& conntrack) {
    if (conntrack.tests & kCtTestState) {
      uint16_t state = StateBitOf(packet_);
      if (packet_.connection != nullptr) {
        if (packet_.connection->status & kStatusSrcNat) state |= kCtStateSnat;
        if (packet_.connection->status & kStatusDstNat) state |= kCtStateDnat;
      }
      if (!Passes(conntrack, kCtTestState,
                  (conntrack.state_mask & state) != 0)) {
        return false;
      }
    }
    // Without a connection nothing else is asked, and only a question about
    // the state can be answered with yes.
    if (packet_.connection == nullptr) {
      return (conntrack.tests & kCtTestState) != 0;
    }
    return ConnectionHolds(conntrack, *packet_.connection);
  }

  bool operator()(const StateMatch& state) {
    const uint16_t bit = StateBitOf(packet_);
    // The two modules number UNTRACKED differently.
    const uint32_t wanted =
        bit == kCtStateUntracked ? kStateUntracked : uint32_t{bit};
    return (state.state_mask & wanted) != 0;
  }

  bool operator()(const MarkMatch& mark) {
    return ((packet_.mark & mark.mask) == mark.value) != mark.inverted;
  }

  bool operator()(const ConnmarkMatch& connmark) {
    const auto mark = ConnectionMarkOf(packet_);
    return mark &&
           ((*mark & connmark.mask) == connmark.value) != connmark.inverted;
  }

  bool operator()(const LimitMatch& limit) {
    const LimitAnswer answer = TakeFromLimit(limit, packet_.now_ms, &memory_);
    if (!answer.certain) packet_.MarkIndeterminate("limit");
    return answer.within;
  }

  bool operator()(const MacMatch& mac) {
    // Inverted or not, a packet without an Ethernet header does not match.
    const auto layer = LinkLayerOf(packet_);
    return layer && (layer->src == mac.source) != mac.inverted;
  }

  bool operator()(const AddrtypeMatch& addrtype) {
    std::string_view device;
    if (addrtype.limit_in) device = DeviceName(packet_.in);
    if (addrtype.limit_out) device = DeviceName(packet_.out);
    if (addrtype.source_types != 0 &&
        HasType(SourceOf(packet_), addrtype.source_types, device) ==
            addrtype.source_inverted) {
      return false;
    }
    return addrtype.destination_types == 0 ||
           HasType(DestinationOf(packet_), addrtype.destination_types,
                   device) != addrtype.destination_inverted;
  }

  bool operator()(const LengthMatch& length) {
    // IPv4 asks the header, IPv6 counts the bytes.
    const size_t actual =
        IsIpv4(packet_) ? LoadBe16(&packet_.bytes[2]) : packet_.bytes.size();
    return (actual >= length.first && actual <= length.last) != length.inverted;
  }

  bool operator()(const DscpMatch& dscp) {
    return (TosOf(packet_) >> 2 == dscp.value) != dscp.inverted;
  }

  bool operator()(const TosMatch& tos) {
    return ((TosOf(packet_) & tos.mask) == tos.value) != tos.inverted;
  }

  bool operator()(const TtlMatch& ttl) {
    switch (ttl.test) {
      case TtlTest::kEqual:
        return TtlOf(packet_) == ttl.value;
      case TtlTest::kNotEqual:
        return TtlOf(packet_) != ttl.value;
      case TtlTest::kLess:
        return TtlOf(packet_) < ttl.value;
      case TtlTest::kGreater:
        return TtlOf(packet_) > ttl.value;
    }
    return false;
  }

  bool operator()(const PkttypeMatch& pkttype) {
    return (PacketType() == pkttype.type) != pkttype.inverted;
  }

  bool operator()(const OwnerMatch& owner) {
    if (!HasSocket()) {
      // Every question must be inverted, and every inversion asked for.
      return (!owner.uid || owner.uid->inverted) &&
             (!owner.gid || owner.gid->inverted) &&
             owner.socket_exists == owner.socket_inverted &&
             !owner.supplementary_groups;
    }
    if (owner.socket_exists && owner.socket_inverted) return false;
    if (packet_.answer) {
      // The stack's own socket has no owner: as above, for the ids only.
      return (!owner.uid || owner.uid->inverted) &&
             (!owner.gid || owner.gid->inverted);
    }
    // A sender whose owner is not told is root's.  Its supplementary groups
    // are those of a process with none but its own.
    const Packet* origin = packet_.origin;
    const uint32_t uid = origin != nullptr ? origin->uid.value_or(0) : 0;
    const uint32_t gid = origin != nullptr ? origin->gid.value_or(0) : 0;
    return (!owner.uid || InRange(*owner.uid, uid)) &&
           (!owner.gid || InRange(*owner.gid, gid));
  }

  bool operator()(const CommentMatch&) { return true; }

  bool operator()(const StatisticMatch& statistic) {
    bool hit = false;
    switch (statistic.mode) {
      case StatisticMode::kRandom:
        hit = Draw() < statistic.probability;
        // 0 and 2^31 leave nothing to chance.
        if (statistic.probability != 0 && statistic.probability < 0x80000000u) {
          packet_.MarkIndeterminate("statistic --mode random");
        }
        break;
      case StatisticMode::kNth:
        memory_.count =
            memory_.count == statistic.every ? 0 : memory_.count + 1;
        hit = memory_.count == 0;
        break;
    }
    return hit != statistic.inverted;
  }

  /// Those that stand in files of their own.
  template <typename Other>
  bool operator()(const Other& other) {
    return Holds(other, Question{packet_, memory_, shared_});
  }

 private:
  /// The packet ends inside a header that is asked about.
  bool Malformed() {
    packet_.hotdrop = true;
    return false;
  }

  bool TcpOptionHolds(const TcpMatch& tcp, uint8_t offset_byte) {
    const size_t header_bytes = size_t{4} * (offset_byte >> 4);
    if (header_bytes < 20) return Malformed();
    if (header_bytes == 20) return tcp.option_inverted;
    const auto header = Transport(packet_, header_bytes);
    if (!header) return Malformed();
    return HasOption(header->subspan(20), tcp.option) != tcp.option_inverted;
  }

  /// Whether a test was not asked for, or is fulfilled.
  static bool Passes(const ConntrackMatch& conntrack, uint16_t test,
                     bool holds) {
    if ((conntrack.tests & test) == 0) return true;
    return holds != ((conntrack.inverted & test) != 0);
  }

  bool ConnectionHolds(const ConntrackMatch& want,
                       const Connection& connection) {
    const auto address = [&](uint16_t test, const Address& actual,
                             const MaskedAddress& wanted) {
      return Passes(want, test,
                    SameUnderMask(actual, wanted.address, wanted.mask));
    };
    // The inversion is in the range already.
    const auto port = [&](uint16_t test, uint16_t actual,
                          const PortRange& wanted) {
      return (want.tests & test) == 0 || InRange(wanted, actual);
    };
    return Passes(want, kCtTestDirection, DirectionOf(packet_.ct_info) == 0) &&
           address(kCtTestOriginalSource, connection.original.src,
                   want.original_source) &&
           address(kCtTestOriginalDestination, connection.original.dst,
                   want.original_destination) &&
           address(kCtTestReplySource, connection.reply.src,
                   want.reply_source) &&
           address(kCtTestReplyDestination, connection.reply.dst,
                   want.reply_destination) &&
           Passes(want, kCtTestProtocol,
                  connection.original.protocol == want.protocol) &&
           port(kCtTestOriginalSourcePort, connection.original.src_port,
                want.original_source_port) &&
           port(kCtTestOriginalDestinationPort, connection.original.dst_port,
                want.original_destination_port) &&
           port(kCtTestReplySourcePort, connection.reply.src_port,
                want.reply_source_port) &&
           port(kCtTestReplyDestinationPort, connection.reply.dst_port,
                want.reply_destination_port) &&
           Passes(want, kCtTestStatus,
                  (want.status_mask & connection.status) != 0) &&
           ExpiryHolds(want, connection);
  }

  bool ExpiryHolds(const ConntrackMatch& want, const Connection& connection) {
    if ((want.tests & kCtTestExpires) == 0) return true;
    // Before it is confirmed, a connection's timeout is relative and has run
    // out when read as a point in time.
    uint64_t left_s = 0;
    if ((connection.status & kStatusConfirmed) != 0 &&
        connection.expires_ms > packet_.now_ms) {
      left_s = (connection.expires_ms - packet_.now_ms) / 1000;
    }
    const auto in = [&](uint64_t seconds) {
      return seconds >= want.expires_first_s && seconds <= want.expires_last_s;
    };
    for (uint64_t late = 1; late <= std::min(kClockDoubtSeconds, left_s);
         ++late) {
      if (in(left_s - late) != in(left_s)) {
        packet_.MarkIndeterminate("conntrack --ctexpire");
      }
    }
    return Passes(want, kCtTestExpires, in(left_s));
  }

  bool HasType(const Address& address, uint16_t types,
               std::string_view device) {
    if (IsIpv4(packet_)) {
      const AddressType type = packet_.topology->TypeOf(address, device);
      return (types >> static_cast<unsigned>(type) & 1u) != 0;
    }
    return HasType6(address, types, device);
  }

  /// xt_addrtype.c, match_type6(): the simple types exclude, the routed ones
  /// include.
  bool HasType6(const Address& address, uint16_t types,
                std::string_view device) {
    const auto wants = [types](AddressType type) {
      return (types >> static_cast<unsigned>(type) & 1u) != 0;
    };
    if (wants(AddressType::kMulticast) && address[0] != 0xff) return false;
    if (wants(AddressType::kUnicast) && !IsIpv6Unicast(address)) return false;
    if (wants(AddressType::kUnspecified) && address != Address{}) return false;
    if (!wants(AddressType::kLocal) && !wants(AddressType::kAnycast) &&
        !wants(AddressType::kUnreachable)) {
      return true;
    }
    const AddressType type = packet_.topology->TypeOf(address, device);
    const bool reachable =
        packet_.topology->IsLocal(address) || address[0] == 0xff ||
        packet_.topology->FindRoute("", Address{}, address).ok;
    if (!reachable) return wants(AddressType::kUnreachable);
    return (wants(AddressType::kLocal) && type == AddressType::kLocal) ||
           (wants(AddressType::kAnycast) && type == AddressType::kAnycast) ||
           (wants(AddressType::kUnreachable) &&
            type == AddressType::kUnreachable);
  }

  /// skb->pkt_type: what the link layer said about an arriving packet.
  int PacketType() const {
    if (packet_.local_out || packet_.answer || packet_.origin == nullptr ||
        !packet_.origin->mac_dst) {
      return kPacketHost;
    }
    const auto& mac = *packet_.origin->mac_dst;
    if (std::all_of(mac.begin(), mac.end(),
                    [](uint8_t byte) { return byte == 0xff; })) {
      return kPacketBroadcast;
    }
    return (mac[0] & 1) != 0 ? kPacketMulticast : kPacketHost;
  }

  /// A socket of this host is behind it: its own packets, and ICMP answers,
  /// which the stack's own socket sends.  A TCP reset has none.
  bool HasSocket() const {
    if (packet_.answer) return packet_.headers.protocol != IPPROTO_TCP;
    return packet_.local_out;
  }

  /// 31 random bits.
  uint32_t Draw() {
    // Knuth's MMIX generator; the high bits are the good ones.
    memory_.random =
        memory_.random * 6364136223846793005u + 1442695040888963407u;
    return static_cast<uint32_t>(memory_.random >> 33);
  }

  Memory& memory_;
  SharedMemory& shared_;
  PacketState& packet_;
};

}  // namespace

bool SelectorHolds(const Selector& selector, PacketState* packet) {
  const auto inverted = [&](uint8_t bit) {
    return (selector.inverted & bit) != 0;
  };
  if (AddressHolds(packet->family, SourceOf(*packet), selector.src,
                   selector.src_mask) == inverted(kInvertSrc)) {
    return false;
  }
  if (AddressHolds(packet->family, DestinationOf(*packet), selector.dst,
                   selector.dst_mask) == inverted(kInvertDst)) {
    return false;
  }
  if (InterfaceHolds(selector.in, packet->in) == inverted(kInvertIn)) {
    return false;
  }
  if (InterfaceHolds(selector.out, packet->out) == inverted(kInvertOut)) {
    return false;
  }
  return IsIpv4(*packet) ? Protocol4Holds(selector, *packet)
                         : Protocol6Holds(selector, packet);
}

bool Holds(MatchMeaning* match, SharedMemory* shared, PacketState* packet) {
  return std::visit(Evaluation(&match->memory, shared, packet),
                    match->condition);
}

}  // namespace nfarena::reference
