#include "compat/lower/nft_raise_match.h"

#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstring>

#include "compat/model/overloaded.h"

namespace nfarena::nft {
namespace {

bool IsZero(const Data& data) {
  return std::ranges::all_of(data.view(), [](uint8_t b) { return b == 0; });
}

class TestReader {
 public:
  explicit TestReader(TestTarget* to) : to_(to) {}

  // Not inlined: where g++ 12 sees the object, it takes the call through a
  // pointer to member for a read behind it (-Wmaybe-uninitialized).
  [[gnu::noinline]] Status Read(const Test& test) {
    return std::visit(
        Overloaded{
            [&](const Payload& e) { return DispatchPayload(e, test); },
            [&](const Meta& e) { return DispatchMeta(e, test); },
            [&](const Ct& e) { return RaiseConntrackTest(e, test, to_); },
            [&](const Fib& e) { return AddressType(e, test); },
            [&](const Numgen& e) { return Statistic(e, test); },
            [&](const auto&) -> Status { return NoForm(); },
        },
        test.value.source);
  }

 private:
  using Handler = Status (TestReader::*)(const Test&);
  struct PayloadHandler {
    uint32_t base, offset, min_len, max_len;
    bool ipv4, ipv6;
    Handler handle;
  };
  struct MetaHandler {
    uint32_t key;
    Handler handle;
  };
  static const PayloadHandler kPayloadHandlers[];
  static const MetaHandler kMetaHandlers[];

  Status DispatchPayload(const Payload& e, const Test& test);
  Status DispatchMeta(const Meta& e, const Test& test);

  // Selector.

  Status In(const Test& test) {
    return Interface(test, kInvertIn, &to_->selector.in);
  }
  Status Out(const Test& test) {
    return Interface(test, kInvertOut, &to_->selector.out);
  }

  Status Interface(const Test& test, InvertBit bit, InterfaceTest* to) {
    if (!test.equality() || test.value.swapped || *to != InterfaceTest{} ||
        test.from.size == 0) {
      return NoForm();
    }
    const auto view = test.from.view();
    if (test.inverted()) Invert(bit);
    if (test.value.bitwise) {  // a mask with gaps
      const Bitwise& bitwise = *test.value.bitwise;
      if (bitwise.len != to->mask.size() || view.size() != to->name.size()) {
        return NoForm();
      }
      std::ranges::copy(bitwise.mask.view(), to->mask.begin());
      std::memcpy(to->name.data(), view.data(), view.size());
      return {};
    }
    static constexpr char kNoInterface[] = "INVAL/D";
    if (!test.inverted() && view.size() == sizeof(kNoInterface) &&
        std::memcmp(view.data(), kNoInterface, view.size()) == 0) {
      Invert(bit);
      to->name[0] = '+';
      return {};
    }
    const auto end = std::ranges::find(view, uint8_t{0});
    if (std::any_of(end, view.end(), [](uint8_t b) { return b != 0; })) {
      return NoForm();
    }
    const auto length = static_cast<size_t>(end - view.begin());
    std::memcpy(to->name.data(), view.data(), length);
    if (end != view.end()) {  // the whole name with its NUL
      std::fill_n(to->mask.begin(), length + 1, uint8_t{0xff});
      return {};
    }
    if (length + 2 > to->name.size())
      return NoForm("a prefix that is too long");
    to->name[length] = '+';
    std::fill_n(to->mask.begin(), length, uint8_t{0xff});
    return {};
  }

  void Invert(InvertBit bit) {
    to_->selector.inverted = static_cast<uint8_t>(to_->selector.inverted | bit);
  }

  Status Protocol(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1) {
      return NoForm();
    }
    const uint8_t protocol = test.from.bytes[0];
    const bool inverted = (to_->selector.inverted & kInvertProtocol) != 0;
    if (to_->selector.protocol != 0) {
      // nft tests it again before each header field.
      if (to_->selector.protocol == protocol && !inverted && !test.inverted()) {
        return {};
      }
      return NoForm("a second protocol");
    }
    if (protocol == 0) return NoForm("protocol 0 is iptables' \"any\"");
    to_->selector.protocol = protocol;
    if (test.inverted()) Invert(kInvertProtocol);
    return {};
  }

  Status Source(const Test& test) {
    return AddressTest(test, kInvertSrc, &to_->selector.src,
                       &to_->selector.src_mask, &to_->has_source,
                       &IprangeMatch::source);
  }
  Status Destination(const Test& test) {
    return AddressTest(test, kInvertDst, &to_->selector.dst,
                       &to_->selector.dst_mask, &to_->has_destination,
                       &IprangeMatch::destination);
  }

  Status AddressTest(const Test& test, InvertBit bit, Address* address,
                     Address* mask, bool* taken,
                     std::optional<AddressRange> IprangeMatch::*side) {
    const size_t size = std::get<Payload>(test.value.source).len;
    if (!test.equality()) {
      const auto interval = ToInterval(test, size);
      const size_t whole = to_->family == Family::kIpv4 ? 4 : 16;
      if (!interval || !test.value.plain() || size != whole) return NoForm();
      // Lowering tests a source before a destination of the same match.
      auto& iprange =
          to_->matches.Join<IprangeMatch>([side](const IprangeMatch& last) {
            return side == &IprangeMatch::destination && !last.destination;
          });
      iprange.*side = AddressRange{ToAddress(interval->from),
                                   ToAddress(interval->to), interval->inverted};
      return {};
    }
    if (test.value.swapped || test.from.size != size || *taken) return NoForm();
    *taken = true;
    *address = ToAddress(test.from);
    if (test.value.bitwise) {
      const Bitwise& bitwise = *test.value.bitwise;
      if (bitwise.len != size || !IsZero(bitwise.xor_bits)) return NoForm();
      *mask = ToAddress(bitwise.mask);
    } else {
      std::fill_n(mask->begin(), size, uint8_t{0xff});
    }
    if (test.inverted()) Invert(bit);
    return {};
  }

  Status Fragment(const Test& test) {
    const auto bits = ToMasked(test, 2);
    if (!bits || bits->mask.be16() != 0x1fff || bits->value.be16() != 0 ||
        to_->selector.fragment) {
      return NoForm();
    }
    to_->selector.fragment = true;
    if (!test.inverted()) Invert(kInvertFragment);
    return {};
  }

  // Ports and ICMP.

  bool HasProtocol(uint8_t protocol) const {
    return to_->selector.protocol == protocol &&
           (to_->selector.inverted & kInvertProtocol) == 0;
  }

  Status SourcePort(const Test& test) {
    if (HasProtocol(IPPROTO_ICMP) || HasProtocol(IPPROTO_ICMPV6)) {
      return IcmpTypeAndCode(test);
    }
    return Port(test, &TcpMatch::source, &UdpMatch::source, PortSide::kSource);
  }
  Status DestinationPort(const Test& test) {
    return Port(test, &TcpMatch::destination, &UdpMatch::destination,
                PortSide::kDestination);
  }

  Status Port(const Test& test, PortRange TcpMatch::*tcp,
              PortRange UdpMatch::*udp, PortSide side) {
    if (!test.value.plain()) return NoForm();
    if (test.lookup()) return Multiport(test, side);
    const auto interval = ToInterval(test, 2);
    if (!interval) return NoForm();
    return SetPort(ToPorts(*interval), tcp, udp);
  }

  Status SetPort(const PortRange& range, PortRange TcpMatch::*tcp,
                 PortRange UdpMatch::*udp) {
    if (HasProtocol(IPPROTO_TCP)) {
      to_->matches.Join<TcpMatch>([tcp](const TcpMatch& last) {
        return (last.*tcp).any();
      }).*tcp = range;
      return {};
    }
    if (HasProtocol(IPPROTO_UDP) || HasProtocol(IPPROTO_UDPLITE)) {
      to_->matches.Join<UdpMatch>([udp](const UdpMatch& last) {
        return (last.*udp).any();
      }).*udp = range;
      return {};
    }
    return NoForm("ports without -p tcp or -p udp");
  }

  /// Both ports as one number.  Inverted, it is what iptables-nft makes of two
  /// inverted ports, although it means less.
  Status BothPorts(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 4) {
      return NoForm();
    }
    const auto source = static_cast<uint16_t>(test.from.be32() >> 16);
    const auto destination = static_cast<uint16_t>(test.from.be32());
    RETURN_IF_ERROR(SetPort({source, source, test.inverted()},
                            &TcpMatch::source, &UdpMatch::source));
    return SetPort({destination, destination, test.inverted()},
                   &TcpMatch::destination, &UdpMatch::destination);
  }

  Status Multiport(const Test& test, PortSide side) {
    const auto intervals = ToIntervals(*test.set, 2);
    constexpr size_t kMost = 15;
    size_t count = 0;
    MultiportMatch multiport;
    if (!intervals || intervals->empty()) return NoForm();
    for (const Interval& interval : *intervals) {
      multiport.ranges.push_back(ToPorts(interval));
      count += interval.from == interval.to ? 1 : 2;
    }
    if (count > kMost) return NoForm("over 15 ports");
    multiport.side = side;
    multiport.inverted = test.inverted();
    to_->matches.Push(std::move(multiport));
    return {};
  }

  Status TcpFlags(const Test& test) {
    const auto bits = ToMasked(test, 1);
    if (!bits || !HasProtocol(IPPROTO_TCP)) return NoForm();
    auto& tcp = to_->matches.Join<TcpMatch>([](const TcpMatch& last) {
      return last.flags_mask == 0 && last.flags_value == 0 &&
             !last.flags_inverted;
    });
    tcp.flags_mask = bits->mask.bytes[0];
    tcp.flags_value = bits->value.bytes[0];
    tcp.flags_inverted = test.inverted();
    return {};
  }

  Status IcmpType(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1) {
      return NoForm();
    }
    return PushIcmp(test.from.bytes[0], 0, 0xff, test.inverted());
  }

  Status IcmpTypeAndCode(const Test& test) {
    const auto interval = ToInterval(test, 2);
    if (!interval || !test.value.plain() ||
        interval->from.bytes[0] != interval->to.bytes[0]) {
      return NoForm();
    }
    return PushIcmp(interval->from.bytes[0], interval->from.bytes[1],
                    interval->to.bytes[1], interval->inverted);
  }

  Status PushIcmp(uint8_t type, uint8_t first, uint8_t last, bool inverted) {
    if (!HasProtocol(to_->family == Family::kIpv4 ? uint8_t{IPPROTO_ICMP}
                                                  : uint8_t{IPPROTO_ICMPV6})) {
      return NoForm("an ICMP type without its protocol");
    }
    IcmpMatch icmp;
    icmp.family = to_->family;
    icmp.type = type;
    icmp.code_first = first;
    icmp.code_last = last;
    icmp.inverted = inverted;
    to_->matches.Push(icmp);
    return {};
  }

  // Header fields.

  Status TrafficClass(const Test& test) {
    const bool ipv4 = to_->family == Family::kIpv4;
    const auto bits = ToMasked(test, ipv4 ? 1 : 2);
    if (!bits) return NoForm();
    const auto field = [ipv4](const Data& data) -> uint32_t {
      return ipv4 ? data.bytes[0] : data.be16() >> 4;
    };
    const uint32_t mask = field(bits->mask);
    const uint32_t value = field(bits->value);
    const bool low_bits = !ipv4 && ((bits->mask.be16() & 0xf) != 0 ||
                                    (bits->value.be16() & 0xf) != 0);
    if (mask > 0xff || value > 0xff || low_bits) return NoForm();
    if (mask == 0xfc && (value & 3) == 0) {
      to_->matches.Push(
          DscpMatch{static_cast<uint8_t>(value >> 2), test.inverted()});
    } else {
      to_->matches.Push(TosMatch{static_cast<uint8_t>(value),
                                 static_cast<uint8_t>(mask), test.inverted()});
    }
    return {};
  }

  Status Length(const Test& test) {
    const auto interval = ToInterval(test, 2);
    if (!interval || !test.value.plain()) return NoForm();
    const uint32_t header = to_->family == Family::kIpv4 ? 0 : 40;
    const uint32_t first = interval->from.be16() + header;
    const uint32_t last = interval->to.be16() + header;
    if (last > 0xffff) return NoForm("a length of over 65,535");
    to_->matches.Push(LengthMatch{static_cast<uint16_t>(first),
                                  static_cast<uint16_t>(last),
                                  interval->inverted});
    return {};
  }

  Status Ttl(const Test& test) {
    TtlMatch ttl;
    ttl.family = to_->family;
    if (!test.value.plain() || test.from.size != 1) return NoForm();
    switch (test.relation) {
      case Relation::kEqual:
        ttl.test = TtlTest::kEqual;
        break;
      case Relation::kNotEqual:
        ttl.test = TtlTest::kNotEqual;
        break;
      case Relation::kLess:
        ttl.test = TtlTest::kLess;
        break;
      case Relation::kMore:
        ttl.test = TtlTest::kGreater;
        break;
      default:
        return NoForm();
    }
    ttl.value = test.from.bytes[0];
    to_->matches.Push(ttl);
    return {};
  }

  Status Mac(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 6 ||
        !to_->half_mac) {
      return NoForm();
    }
    to_->half_mac = false;
    MacMatch mac;
    std::copy_n(test.from.bytes.begin(), mac.source.size(), mac.source.begin());
    mac.inverted = test.inverted();
    to_->matches.Push(mac);
    return {};
  }

  // Metadata.

  Status DeviceType(const Test& test) {
    if (test.relation != Relation::kEqual || !test.value.plain() ||
        test.from.size != 2 || test.from.host16() != ARPHRD_ETHER) {
      return NoForm();
    }
    to_->half_mac = true;  // the first half of -m mac
    return {};
  }

  Status Mark(const Test& test) {
    const auto bits = ToMasked(test, 4);
    if (!bits) return NoForm();
    to_->matches.Push(
        MarkMatch{bits->value.host32(), bits->mask.host32(), test.inverted()});
    return {};
  }

  Status PacketType(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1) {
      return NoForm();
    }
    to_->matches.Push(PkttypeMatch{test.from.bytes[0], test.inverted()});
    return {};
  }

  Status UserId(const Test& test) { return Id(test, &OwnerMatch::uid); }
  Status GroupId(const Test& test) { return Id(test, &OwnerMatch::gid); }

  Status Id(const Test& test, std::optional<IdRange> OwnerMatch::*side) {
    IdRange range;
    if (test.value.bitwise) return NoForm();
    if (!test.value.swapped) {
      if (test.relation != Relation::kEqual || test.from.size != 4) {
        return NoForm();
      }
      range.first = range.last = test.from.host32();
    } else {
      const auto interval = ToInterval(test, 4);
      if (!interval || interval->inverted) return NoForm();
      range.first = interval->from.be32();
      range.last = interval->to.be32();
    }
    to_->matches.Join<OwnerMatch>([side](const OwnerMatch& last) {
      return !(last.*side) && !last.gid;
    }).*side = range;
    return {};
  }

  // Others.

  Status AddressType(const Fib& fib, const Test& test) {
    constexpr uint32_t kKnown =
        NFTA_FIB_F_SADDR | NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_OIF;
    if (fib.result != NFT_FIB_RESULT_ADDRTYPE || (fib.flags & ~kKnown) != 0 ||
        !test.value.plain() || to_->family != Family::kIpv4) {
      return NoForm();
    }
    uint32_t types = 0;
    const auto add = [&types](const Data& data) {
      if (data.size != 4 || data.host32() > 15) return false;
      types |= 1u << data.host32();
      return true;
    };
    if (test.lookup()) {
      for (const auto& element : *test.set) {
        if (element.interval_end || !add(element.key)) return NoForm();
      }
    } else if (!test.equality() || !add(test.from)) {
      return NoForm();
    }
    const bool source = (fib.flags & NFTA_FIB_F_SADDR) != 0;
    const bool in = (fib.flags & NFTA_FIB_F_IIF) != 0;
    const bool out = (fib.flags & NFTA_FIB_F_OIF) != 0;
    auto& addrtype =
        to_->matches.Join<AddrtypeMatch>([&](const AddrtypeMatch& last) {
          return !source && last.destination_types == 0 &&
                 last.limit_in == in && last.limit_out == out;
        });
    addrtype.limit_in = in;
    addrtype.limit_out = out;
    if (source) {
      addrtype.source_types = static_cast<uint16_t>(types);
      addrtype.source_inverted = test.inverted();
    } else {
      addrtype.destination_types = static_cast<uint16_t>(types);
      addrtype.destination_inverted = test.inverted();
    }
    return {};
  }

  Status Statistic(const Numgen& numgen, const Test& test) {
    StatisticMatch statistic;
    if (numgen.offset != 0 || test.from.size != 4 || test.value.bitwise) {
      return NoForm();
    }
    if (numgen.type == NFT_NG_RANDOM) {
      if (numgen.modulus != 0x80000000 || !test.value.swapped ||
          (test.relation != Relation::kLess &&
           test.relation != Relation::kAtLeast)) {
        return NoForm();
      }
      statistic.probability = test.from.be32();
      statistic.inverted = test.relation == Relation::kAtLeast;
      to_->matches.Push(statistic);
      return {};
    }
    const uint32_t packet = test.from.host32();
    if (!test.equality() || test.value.swapped || packet >= numgen.modulus) {
      return NoForm();
    }
    statistic.mode = StatisticMode::kNth;
    statistic.every = numgen.modulus - 1;
    statistic.packet = packet;
    statistic.start_count = statistic.every - packet;
    statistic.inverted = test.inverted();
    to_->matches.Push(statistic);
    return {};
  }

  TestTarget* to_;
};

const TestReader::PayloadHandler TestReader::kPayloadHandlers[] = {
    {NFT_PAYLOAD_LL_HEADER, 6, 6, 6, true, true, &TestReader::Mac},
    {NFT_PAYLOAD_NETWORK_HEADER, 0, 2, 2, false, true,
     &TestReader::TrafficClass},
    {NFT_PAYLOAD_NETWORK_HEADER, 1, 1, 1, true, false,
     &TestReader::TrafficClass},
    {NFT_PAYLOAD_NETWORK_HEADER, 2, 2, 2, true, false, &TestReader::Length},
    {NFT_PAYLOAD_NETWORK_HEADER, 4, 2, 2, false, true, &TestReader::Length},
    {NFT_PAYLOAD_NETWORK_HEADER, 6, 2, 2, true, false, &TestReader::Fragment},
    {NFT_PAYLOAD_NETWORK_HEADER, 7, 1, 1, false, true, &TestReader::Ttl},
    {NFT_PAYLOAD_NETWORK_HEADER, 8, 1, 1, true, false, &TestReader::Ttl},
    {NFT_PAYLOAD_NETWORK_HEADER, 9, 1, 1, true, false, &TestReader::Protocol},
    {NFT_PAYLOAD_NETWORK_HEADER, 12, 1, 4, true, false, &TestReader::Source},
    {NFT_PAYLOAD_NETWORK_HEADER, 16, 1, 4, true, false,
     &TestReader::Destination},
    {NFT_PAYLOAD_NETWORK_HEADER, 8, 1, 16, false, true, &TestReader::Source},
    {NFT_PAYLOAD_NETWORK_HEADER, 24, 1, 16, false, true,
     &TestReader::Destination},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, 1, true, true, &TestReader::IcmpType},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, 2, true, true,
     &TestReader::SourcePort},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 2, true, true,
     &TestReader::DestinationPort},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 4, 4, true, true, &TestReader::BothPorts},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, 1, true, true, &TestReader::TcpFlags},
};

const TestReader::MetaHandler TestReader::kMetaHandlers[] = {
    {NFT_META_IIFNAME, &TestReader::In},
    {NFT_META_OIFNAME, &TestReader::Out},
    {NFT_META_L4PROTO, &TestReader::Protocol},
    {NFT_META_MARK, &TestReader::Mark},
    {NFT_META_PKTTYPE, &TestReader::PacketType},
    {NFT_META_SKUID, &TestReader::UserId},
    {NFT_META_SKGID, &TestReader::GroupId},
    {NFT_META_IIFTYPE, &TestReader::DeviceType},
};

Status TestReader::DispatchPayload(const Payload& e, const Test& test) {
  if (e.dreg == kWordReg || e.dreg == kTextReg) {
    return RaiseBytesTest(e, test, to_);
  }
  for (const PayloadHandler& handler : kPayloadHandlers) {
    if (handler.base == e.base && handler.offset == e.offset &&
        e.len >= handler.min_len && e.len <= handler.max_len &&
        (to_->family == Family::kIpv4 ? handler.ipv4 : handler.ipv6)) {
      return (this->*handler.handle)(test);
    }
  }
  return NoForm("iptables does not test these bytes");
}

Status TestReader::DispatchMeta(const Meta& e, const Test& test) {
  for (const MetaHandler& handler : kMetaHandlers) {
    if (handler.key == e.key) return (this->*handler.handle)(test);
  }
  return RaiseMetaTest(e, test, to_);
}

}  // namespace

Address ToAddress(const Data& data) {
  Address address{};
  std::ranges::copy(data.view(), address.begin());
  return address;
}

PortRange ToPorts(const Interval& interval) {
  return {interval.from.be16(), interval.to.be16(), interval.inverted};
}

std::optional<MaskedTest> ToMasked(const Test& test, uint32_t size) {
  if (!test.equality() || test.value.swapped || test.from.size != size) {
    return std::nullopt;
  }
  MaskedTest masked{Data::Zero(static_cast<uint8_t>(size)), test.from};
  if (!test.value.bitwise) {
    std::fill_n(masked.mask.bytes.begin(), size, uint8_t{0xff});
    return masked;
  }
  if (test.value.bitwise->len != size ||
      !IsZero(test.value.bitwise->xor_bits)) {
    return std::nullopt;
  }
  masked.mask = test.value.bitwise->mask;
  return masked;
}

Status RaiseTest(const Test& test, TestTarget* to) {
  if (auto host = RaiseHostTest(test, to)) return *std::move(host);
  return TestReader(to).Read(test);
}

}  // namespace nfarena::nft
