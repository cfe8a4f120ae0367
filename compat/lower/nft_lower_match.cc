#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <limits>

#include "compat/lower/nft_emit.h"
#include "compat/lower/nft_lowering.h"

namespace nfarena::nft {
namespace {

/// nft's numbers of key types (include/datatype.h of nftables).
constexpr uint32_t kTypeInetService = 13;
constexpr uint32_t kTypeFibAddrtype = 38;

constexpr uint32_t kUint32Max = std::numeric_limits<uint32_t>::max();

std::span<const uint8_t> Bytes(const Address& address, Family family) {
  return std::span(address).first(family == Family::kIpv4 ? 4 : 16);
}

/// One visitor call per kind of condition; each returns "" or the reason why
/// nftables' own expressions do not mean the same.
class ConditionLowering {
 public:
  ConditionLowering(const Selector& selector, const RuleContext& context,
                    const NftOptions& options, uint32_t* next_set_id,
                    LoweredRule* out)
      : selector_(selector),
        context_(context),
        options_(options),
        next_set_id_(next_set_id),
        out_(out),
        emit_(&out->exprs) {}

  std::string operator()(const TcpMatch& tcp) {
    if (!Protocol(IPPROTO_TCP)) return "needs -p tcp";
    if (tcp.option != 0 || tcp.option_inverted) {
      return "exthdr does not see the options that xtables sees in a "
             "malformed list";
    }
    const bool flags =
        tcp.flags_mask != 0 || tcp.flags_value != 0 || tcp.flags_inverted;
    if (tcp.source.any() && tcp.destination.any() && !flags) {
      return "without a test it only checks that the header is whole";
    }
    if (auto reason = Ports(tcp.source, tcp.destination, 4, 16);
        !reason.empty()) {
      return reason;
    }
    if (flags) {
      emit_.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);
      emit_.EqualMasked(Data::U8(tcp.flags_mask), Data::U8(tcp.flags_value),
                        tcp.flags_inverted);
    }
    return "";
  }

  std::string operator()(const UdpMatch& udp) {
    if (!Protocol(IPPROTO_UDP) && !Protocol(IPPROTO_UDPLITE)) {
      return "needs -p udp or udplite";
    }
    if (udp.source.any() && udp.destination.any()) {
      return "without a test it only checks that the header is whole";
    }
    return Ports(udp.source, udp.destination, 1, 7);
  }

  std::string operator()(const IcmpMatch& icmp) {
    const bool ipv4 = icmp.family == Family::kIpv4;
    if (ipv4 && !Protocol(IPPROTO_ICMP)) return "needs -p icmp";
    if (!ipv4 && !Protocol(IPPROTO_ICMPV6)) return "needs -p icmpv6";
    if (icmp.any_type) {
      return "any type: it only checks that the header is whole";
    }
    if (icmp.code_first > icmp.code_last) return "an empty range of codes";
    GuardFragments(1, 7);
    if (icmp.code_first == 0 && icmp.code_last == 0xff) {
      emit_.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1);
      emit_.Equal(Data::U8(icmp.type), icmp.inverted);
      return "";
    }
    // Type and code lie side by side: one number of 16 bits.
    const auto both = [&icmp](uint8_t code) {
      return Data::Be16(static_cast<uint16_t>(icmp.type << 8 | code));
    };
    emit_.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2);
    if (icmp.code_first == icmp.code_last) {
      emit_.Equal(both(icmp.code_first), icmp.inverted);
    } else {
      emit_.InRange(both(icmp.code_first), both(icmp.code_last), icmp.inverted);
    }
    return "";
  }

  std::string operator()(const MultiportMatch& multiport) {
    if (multiport.side == PortSide::kEither) {
      return "either port: two lookups cannot be joined by \"or\"";
    }
    if (multiport.ranges.empty()) return "an empty list of ports";
    static constexpr uint8_t kWithPorts[] = {
        IPPROTO_TCP, IPPROTO_UDP, IPPROTO_UDPLITE, IPPROTO_SCTP, IPPROTO_DCCP};
    if (std::ranges::none_of(kWithPorts,
                             [this](uint8_t p) { return Protocol(p); })) {
      return "needs a protocol with ports";
    }
    GuardFragments(1, 3);
    emit_.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER,
                      multiport.side == PortSide::kSource ? 0 : 2, 2);
    AddLookup(PortSet(multiport.ranges), multiport.inverted);
    return "";
  }

  std::string operator()(const IprangeMatch& iprange) {
    const bool ipv4 = context_.family == Family::kIpv4;
    if (!iprange.source && !iprange.destination) return "no range is given";
    for (const auto& range : {iprange.source, iprange.destination}) {
      if (range && range->first > range->last) return "an empty range";
    }
    if (iprange.source) InRange(*iprange.source, ipv4 ? 12 : 8);
    if (iprange.destination) InRange(*iprange.destination, ipv4 ? 16 : 24);
    return "";
  }

  std::string operator()(const ConntrackMatch& conntrack) {
    const auto asked = [&conntrack](ConntrackTest test) {
      return (conntrack.tests & test) != 0;
    };
    const auto inverted = [&conntrack](ConntrackTest test) {
      return (conntrack.inverted & test) != 0;
    };
    const uint16_t others =
        conntrack.tests & ~uint16_t{kCtTestState | kCtTestStateAlias};
    if (!asked(kCtTestState) && others == 0) return "nothing is asked";
    if (asked(kCtTestState)) {
      if (auto reason =
              State(conntrack.state_mask, inverted(kCtTestState), others != 0);
          !reason.empty()) {
        return reason;
      }
    }
    if (asked(kCtTestDirection)) {
      LoadCt(NFT_CT_DIRECTION);
      emit_.Equal(Data::U8(IP_CT_DIR_ORIGINAL), inverted(kCtTestDirection));
    }
    struct AddressTest {
      ConntrackTest test;
      const MaskedAddress& value;
      bool source;
      uint8_t direction;
    };
    const AddressTest addresses[] = {
        {kCtTestOriginalSource, conntrack.original_source, true,
         IP_CT_DIR_ORIGINAL},
        {kCtTestOriginalDestination, conntrack.original_destination, false,
         IP_CT_DIR_ORIGINAL},
        {kCtTestReplySource, conntrack.reply_source, true, IP_CT_DIR_REPLY},
        {kCtTestReplyDestination, conntrack.reply_destination, false,
         IP_CT_DIR_REPLY},
    };
    for (const AddressTest& address : addresses) {
      if (!asked(address.test)) continue;
      LoadCt(address.source ? NFT_CT_SRC : NFT_CT_DST, address.direction);
      emit_.EqualMasked(Data(Bytes(address.value.mask, context_.family)),
                        Data(Bytes(address.value.address, context_.family)),
                        inverted(address.test));
    }
    if (asked(kCtTestProtocol)) {
      if (conntrack.protocol > 0xff) return "a protocol of over one byte";
      LoadCt(NFT_CT_PROTOCOL);
      emit_.Equal(Data::U8(static_cast<uint8_t>(conntrack.protocol)),
                  inverted(kCtTestProtocol));
    }
    struct PortTest {
      ConntrackTest test;
      const PortRange& value;
      bool source;
      uint8_t direction;
    };
    const PortTest ports[] = {
        {kCtTestOriginalSourcePort, conntrack.original_source_port, true,
         IP_CT_DIR_ORIGINAL},
        {kCtTestOriginalDestinationPort, conntrack.original_destination_port,
         false, IP_CT_DIR_ORIGINAL},
        {kCtTestReplySourcePort, conntrack.reply_source_port, true,
         IP_CT_DIR_REPLY},
        {kCtTestReplyDestinationPort, conntrack.reply_destination_port, false,
         IP_CT_DIR_REPLY},
    };
    for (const PortTest& port : ports) {
      if (!asked(port.test)) continue;
      if (port.value.first > port.value.last) return "an empty range of ports";
      LoadCt(port.source ? NFT_CT_PROTO_SRC : NFT_CT_PROTO_DST, port.direction);
      emit_.Between(Data::Be16(port.value.first), Data::Be16(port.value.last),
                    inverted(port.test));
    }
    if (asked(kCtTestStatus)) {
      LoadCt(NFT_CT_STATUS);
      emit_.AnyBit(conntrack.status_mask, inverted(kCtTestStatus));
    }
    if (asked(kCtTestExpires)) {
      return Expires(conntrack.expires_first_s, conntrack.expires_last_s,
                     inverted(kCtTestExpires));
    }
    return "";
  }

  std::string operator()(const StateMatch& state) {
    static constexpr uint32_t kKnown = kStateInvalid | kStateEstablished |
                                       kStateRelated | kStateNew |
                                       kStateUntracked;
    if ((state.state_mask & ~kKnown) != 0) return "a state nftables has not";
    // The numbers are those of nf_tables' ct state.
    LoadCt(NFT_CT_STATE);
    emit_.AnyBit(state.state_mask, false);
    return "";
  }

  std::string operator()(const MarkMatch& mark) {
    emit_.LoadMeta(NFT_META_MARK);
    emit_.EqualMasked(Data::Host32(mark.mask), Data::Host32(mark.value),
                      mark.inverted);
    return "";
  }

  std::string operator()(const ConnmarkMatch& mark) {
    // Before tracking there is at most the template that -j CT left:
    // xt_connmark sees its mark, nft_ct does not.
    if (context_.table == TableKind::kRaw) {
      return "nf_tables sees no mark before tracking";
    }
    LoadCt(NFT_CT_MARK);
    emit_.EqualMasked(Data::Host32(mark.mask), Data::Host32(mark.value),
                      mark.inverted);
    return "";
  }

  std::string operator()(const LimitMatch& limit) {
    Limit native;
    if (auto reason = ToNativeLimit(limit, &native); !reason.empty()) {
      return reason;
    }
    emit_.Add(native);
    return "";
  }

  std::string operator()(const MacMatch& mac) {
    // xt_mac looks at Ethernet devices only.
    emit_.LoadMeta(NFT_META_IIFTYPE);
    emit_.Equal(Data::Host16(ARPHRD_ETHER), false);
    emit_.LoadPayload(NFT_PAYLOAD_LL_HEADER, 6, 6);
    emit_.Equal(Data(mac.source), mac.inverted);
    return "";
  }

  std::string operator()(const AddrtypeMatch& addrtype) {
    // IPv6's is LowerHostMatch's.
    if (addrtype.limit_in && addrtype.limit_out) return "both interfaces";
    if (addrtype.source_types == 0 && addrtype.destination_types == 0) {
      return "no type is asked for";
    }
    const uint32_t device =
        (addrtype.limit_in ? uint32_t{NFTA_FIB_F_IIF} : 0u) |
        (addrtype.limit_out ? uint32_t{NFTA_FIB_F_OIF} : 0u);
    TestType(addrtype.source_types, NFTA_FIB_F_SADDR | device,
             addrtype.source_inverted);
    TestType(addrtype.destination_types, NFTA_FIB_F_DADDR | device,
             addrtype.destination_inverted);
    return "";
  }

  std::string operator()(const LengthMatch& length) {
    if (length.first > length.last) return "an empty range";
    if (context_.family == Family::kIpv4) {
      emit_.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, 2, 2);
      emit_.Between(Data::Be16(length.first), Data::Be16(length.last),
                    length.inverted);
      return "";
    }
    // xtables does not look at what the header says (length_mt6()).
    emit_.LoadMeta(NFT_META_LEN);
    emit_.HostToBigEndian(4);
    emit_.Between(Data::Be32(length.first), Data::Be32(length.last),
                  length.inverted);
    return "";
  }

  std::string operator()(const DscpMatch& dscp) {
    TestTrafficClass(0xfc, static_cast<uint8_t>(dscp.value << 2),
                     dscp.inverted);
    return "";
  }

  std::string operator()(const TosMatch& tos) {
    TestTrafficClass(tos.mask, tos.value, tos.inverted);
    return "";
  }

  std::string operator()(const TtlMatch& ttl) {
    static constexpr uint32_t kOps[] = {NFT_CMP_EQ, NFT_CMP_NEQ, NFT_CMP_LT,
                                        NFT_CMP_GT};
    emit_.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER,
                      ttl.family == Family::kIpv4 ? 8 : 7, 1);
    emit_.Add(
        Cmp{kOps[static_cast<size_t>(ttl.test)], kReg1, Data::U8(ttl.value)});
    return "";
  }

  std::string operator()(const PkttypeMatch& pkttype) {
    if (pkttype.type < 0 || pkttype.type > 0xff) return "no such type";
    emit_.LoadMeta(NFT_META_PKTTYPE);
    emit_.Equal(Data::U8(static_cast<uint8_t>(pkttype.type)), pkttype.inverted);
    return "";
  }

  std::string operator()(const OwnerMatch& owner) {
    if (owner.socket_exists || owner.supplementary_groups) {
      return "the existence of a socket and supplementary groups have no "
             "expression";
    }
    if (!owner.uid && !owner.gid) return "nothing is asked";
    for (const auto& id : {owner.uid, owner.gid}) {
      if (!id) continue;
      if (id->inverted) {
        return "inverted, it matches packets without a socket, on which "
               "skuid and skgid end the rule";
      }
      if (id->first > id->last) return "an empty range";
    }
    if (owner.uid) TestId(NFT_META_SKUID, *owner.uid);
    if (owner.gid) TestId(NFT_META_SKGID, *owner.gid);
    return "";
  }

  std::string operator()(const CommentMatch& comment) {
    if (!out_->comment.empty()) return "a rule has one comment";
    if (comment.text.empty()) return "an empty comment";
    if (comment.text.size() > kMaxComment) {
      return "longer than the user data of a rule";
    }
    out_->comment = comment.text;
    return "";
  }

  std::string operator()(const StatisticMatch& statistic) {
    if (statistic.mode == StatisticMode::kRandom) {
      constexpr uint32_t kWhole = 0x80000000;  // probabilities are of 2^31
      if (statistic.probability > kWhole) return "a probability of over 1";
      emit_.Add(Numgen{NFT_NG_RANDOM, kWhole, 0});
      emit_.HostToBigEndian(4);
      emit_.Add(Cmp{statistic.inverted ? NFT_CMP_GTE : NFT_CMP_LT, kReg1,
                    Data::Be32(statistic.probability)});
      return "";
    }
    if (statistic.every == kUint32Max ||
        statistic.start_count > statistic.every) {
      return "a count outside its cycle";
    }
    // numgen's first number is 0; xtables' count starts so that the packet
    // asked for is the first to find it at its end.
    emit_.Add(Numgen{NFT_NG_INCREMENTAL, statistic.every + 1, 0});
    emit_.Equal(Data::Host32(statistic.every - statistic.start_count),
                statistic.inverted);
    return "";
  }

  std::string operator()(const SetMatch&) {
    return "an ipset is not a set of nf_tables";
  }

  template <typename Other>
  std::string operator()(const Other&) {
    return "nftables has no such expression";
  }

 private:
  bool Protocol(uint8_t protocol) const {
    return selector_.protocol == protocol &&
           (selector_.inverted & kInvertProtocol) == 0;
  }

  /// xtables matches no header fields of later fragments.  Loading an odd
  /// number of bytes takes the kernel's general path, which ends the rule on a
  /// later fragment and on a header that does not reach so far.
  void GuardFragments(uint32_t offset, uint32_t len) {
    if (!options_.exact_fragments) return;
    emit_.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, len);
  }

  std::string Ports(const PortRange& source, const PortRange& destination,
                    uint32_t guard_offset, uint32_t guard_len) {
    for (const PortRange& range : {source, destination}) {
      if (range.first > range.last) return "an empty range of ports";
      if (range.inverted && range.first == 0 && range.last == 0xffff) {
        return "no port is left by the inversion";
      }
    }
    GuardFragments(guard_offset, guard_len);
    const auto single = [](const PortRange& range) {
      return range.first == range.last && !range.inverted;
    };
    if (single(source) && single(destination)) {
      emit_.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 4);
      emit_.Equal(Data::Be32(uint32_t{source.first} << 16 | destination.first),
                  false);
      return "";
    }
    Port(source, 0);
    Port(destination, 2);
    return "";
  }

  void Port(const PortRange& range, uint32_t offset) {
    if (range.any()) return;
    emit_.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2);
    emit_.Between(Data::Be16(range.first), Data::Be16(range.last),
                  range.inverted);
  }

  void InRange(const AddressRange& range, uint32_t offset) {
    const auto first = Bytes(range.first, context_.family);
    emit_.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, offset,
                      static_cast<uint32_t>(first.size()));
    emit_.InRange(Data(first), Data(Bytes(range.last, context_.family)),
                  range.inverted);
  }

  void LoadCt(uint32_t key, std::optional<uint8_t> direction = std::nullopt) {
    emit_.Add(Ct{key, kReg1, direction});
  }

  std::string State(uint16_t mask, bool inverted, bool others) {
    static constexpr uint16_t kNat = kCtStateSnat | kCtStateDnat;
    static constexpr uint16_t kPlain =
        kCtStateInvalid | kCtStateEstablished | kCtStateRelated | kCtStateNew;
    if ((mask & ~(kNat | kPlain | kCtStateUntracked)) != 0) {
      return "a state nftables has not";
    }
    static constexpr uint16_t kWithout = kCtStateInvalid | kCtStateUntracked;
    const bool without =
        inverted ? (mask & kWithout) != kWithout : (mask & kWithout) != 0;
    if (others && without) {
      return "a packet without connection passes the other tests of the match";
    }
    if ((mask & kNat) != 0) {
      if (inverted) {
        return "inverted SNAT or DNAT matches packets without connection, on "
               "which ct status ends the rule";
      }
      if ((mask & ~kNat) != 0) {
        return "SNAT and DNAT are a status, not a state, of nftables: no "
               "\"or\"";
      }
      LoadCt(NFT_CT_STATUS);
      emit_.AnyBit(
          ((mask & kCtStateSnat) != 0 ? uint32_t{IPS_SRC_NAT} : 0u) |
              ((mask & kCtStateDnat) != 0 ? uint32_t{IPS_DST_NAT} : 0u),
          false);
      return "";
    }
    uint32_t bits = mask & kPlain;  // the same numbers
    if ((mask & kCtStateUntracked) != 0) bits |= 1u << 6;
    LoadCt(NFT_CT_STATE);
    emit_.AnyBit(bits, inverted);
    return "";
  }

  /// xtables compares whole seconds, rounded down; nf_tables has milliseconds.
  std::string Expires(uint32_t first_s, uint32_t last_s, bool inverted) {
    constexpr uint32_t kMost = kUint32Max / 1000;
    if (first_s > last_s || first_s >= kMost) return "an empty range of times";
    const uint32_t last_ms = last_s >= kMost ? kUint32Max : last_s * 1000 + 999;
    LoadCt(NFT_CT_EXPIRATION);
    emit_.HostToBigEndian(4);
    emit_.Between(Data::Be32(first_s * 1000), Data::Be32(last_ms), inverted);
    return "";
  }

  void TestType(uint16_t types, uint32_t flags, bool inverted) {
    if (types == 0) return;
    emit_.Add(Fib{NFT_FIB_RESULT_ADDRTYPE, flags});
    if ((types & (types - 1)) == 0) {
      emit_.Equal(Data::Host32(static_cast<uint32_t>(__builtin_ctz(types))),
                  inverted);
      return;
    }
    AnonymousSet set;
    set.key_type = kTypeFibAddrtype;
    set.key_len = 4;
    for (uint32_t type = 0; type < 16; ++type) {
      if ((types >> type & 1) != 0) {
        set.elements.push_back({Data::Host32(type), false});
      }
    }
    AddLookup(std::move(set), inverted);
  }

  void TestId(uint32_t key, const IdRange& range) {
    emit_.LoadMeta(key);
    if (range.first == range.last) {
      emit_.Equal(Data::Host32(range.first), false);
      return;
    }
    emit_.HostToBigEndian(4);
    emit_.Between(Data::Be32(range.first), Data::Be32(range.last), false);
  }

  void TestTrafficClass(uint8_t mask, uint8_t value, bool inverted) {
    if (context_.family == Family::kIpv4) {
      emit_.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, 1, 1);
      emit_.EqualMasked(Data::U8(mask), Data::U8(value), inverted);
      return;
    }
    // IPv6's lies across the first two bytes, after the version.
    emit_.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, 0, 2);
    emit_.EqualMasked(Data::Be16(static_cast<uint16_t>(mask << 4)),
                      Data::Be16(static_cast<uint16_t>(value << 4)), inverted);
  }

  /// Overlapping and neighbouring ranges become one: a set of intervals takes
  /// no overlaps.
  static AnonymousSet PortSet(std::vector<PortRange> ranges) {
    std::ranges::sort(ranges, {}, &PortRange::first);
    std::vector<PortRange> merged;
    for (const PortRange& range : ranges) {
      // Signed 32-bit sums: 65535 + 1 must not wrap.
      if (!merged.empty() && range.first <= merged.back().last + 1) {
        merged.back().last = std::max(merged.back().last, range.last);
      } else {
        merged.push_back(range);
      }
    }
    const auto point = [](const PortRange& r) { return r.first == r.last; };
    AnonymousSet set;
    set.key_type = kTypeInetService;
    set.key_len = 2;
    // Neighbouring single ports stay what they are, and cost no intervals.
    if (std::ranges::all_of(ranges, point)) {
      ranges.erase(std::unique(ranges.begin(), ranges.end()), ranges.end());
      for (const PortRange& range : ranges) {
        set.elements.push_back({Data::Be16(range.first), false});
      }
      return set;
    }
    set.interval = true;
    if (merged.size() == 1 && merged.front().last == 0xffff) {
      // An end must be among the elements, or they read as single ports.
      merged.front().last = 0xfffe;
      merged.push_back({0xffff, 0xffff});
    }
    for (const PortRange& range : merged) {
      set.elements.push_back({Data::Be16(range.first), false});
      if (range.last == 0xffff) continue;  // open to the end
      set.elements.push_back(
          {Data::Be16(static_cast<uint16_t>(range.last + 1)), true});
    }
    return set;
  }

  void AddLookup(AnonymousSet set, bool inverted) {
    nft::AddLookup(std::move(set), inverted, kReg1,
                   {selector_, context_, next_set_id_, out_});
  }

  static std::string ToNativeLimit(const LimitMatch& limit, Limit* native);

  const Selector& selector_;
  const RuleContext& context_;
  const NftOptions& options_;
  uint32_t* next_set_id_;
  LoweredRule* out_;
  Emitter emit_;
};

/// xt_limit counts credits in whole jiffies and its arithmetic rounds down for
/// long times; nf_tables counts nanoseconds.  They agree when the bucket holds
/// exactly `burst` packets and the interval is not rounded.
std::string ConditionLowering::ToNativeLimit(const LimitMatch& limit,
                                             Limit* native) {
  constexpr uint32_t kScale = 10'000;  // XT_LIMIT_SCALE
  constexpr uint32_t kUnits_s[] = {1, 60, 3'600, 86'400};
  const uint64_t interval = limit.interval;
  const uint64_t whole = interval * limit.burst;
  if (interval == 0 || limit.burst == 0 || whole > kUint32Max) {
    return "a rate the kernel refuses";
  }
  // user2credits() for the thresholds of HZ 300, 250 or 1000, and 100.
  for (const uint64_t threshold : {111'848u, 134'217u, 167'772u}) {
    const auto credits = [threshold](uint64_t time) {
      return time > threshold ? time / kScale * kScale : time;
    };
    if (credits(interval) != interval ||
        credits(whole) / credits(interval) != limit.burst) {
      return "xtables rounds this rate or burst, nftables does not";
    }
  }
  // The smallest unit from which the interval comes back unchanged, as
  // iptables-nft chooses: 3/minute, but 1/second rather than 60/minute.
  for (const uint32_t unit_s : kUnits_s) {
    const uint64_t unit = uint64_t{unit_s} * kScale;
    const uint64_t rate = unit / interval;
    if (rate == 0 || unit / rate != interval) continue;
    *native = Limit{rate, unit_s, limit.burst, NFT_LIMIT_PKTS, 0};
    return "";
  }
  return "its interval is no whole number of packets a day";
}

}  // namespace

std::string LowerCondition(const Condition& condition, const Rule& rule,
                           const RuleContext& context,
                           const NftOptions& options, uint32_t* next_set_id,
                           LoweredRule* out) {
  const size_t exprs = out->exprs.size();
  const size_t sets = out->sets.size();
  const uint32_t set_id = *next_set_id;
  const ConditionSite site{rule.selector, context, next_set_id, out};
  auto part = LowerStateMatch(condition, site);
  if (!part) part = LowerBytesMatch(condition, site);
  const std::string reason =
      part ? *std::move(part)
           : std::visit(ConditionLowering(rule.selector, context, options,
                                          next_set_id, out),
                        condition);
  if (!reason.empty()) {
    out->exprs.erase(out->exprs.begin() + static_cast<ptrdiff_t>(exprs),
                     out->exprs.end());
    out->sets.erase(out->sets.begin() + static_cast<ptrdiff_t>(sets),
                    out->sets.end());
    *next_set_id = set_id;
  }
  return reason;
}

}  // namespace nfarena::nft
