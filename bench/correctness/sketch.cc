#include "bench/correctness/sketch.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

namespace nfarena {
namespace {

constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08,
                  kAck = 0x10, kUrg = 0x20;

bool HasPorts(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ||
         protocol == IPPROTO_UDPLITE;
}

/// Would the test accept this device name?  Byte compare under the mask.
bool NameMatches(const InterfaceTest& test, const std::string& name) {
  std::array<char, 16> padded{};
  std::memcpy(padded.data(), name.data(), std::min<size_t>(name.size(), 15));
  for (size_t i = 0; i < padded.size(); ++i) {
    if (((padded[i] ^ test.name[i]) & test.mask[i]) != 0) return false;
  }
  return true;
}

std::string AddressText(Family family, const Address& address) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(family == Family::kIpv4 ? AF_INET : AF_INET6, address.data(), text,
            sizeof text);
  return text;
}

/// Steers one Condition; one overload a match.
class Steering {
 public:
  Steering(bool hold, Chooser* choose, Sketch* sketch)
      : hold_(hold), choose_(*choose), sketch_(*sketch) {}

  bool operator()(const TcpMatch& m) {
    sketch_.protocol = IPPROTO_TCP;
    // A near miss breaks one of the parts that say something.
    std::vector<int> parts;
    if (!m.source.any()) parts.push_back(0);
    if (!m.destination.any()) parts.push_back(1);
    if (m.flags_mask != 0) parts.push_back(2);
    if (m.option != 0) parts.push_back(3);
    if (parts.empty()) return hold_;
    const int broken = hold_ ? -1 : parts[choose_.Below(parts.size())];
    if (!m.source.any()) {
      sketch_.src_port = choose_.PortIn(m.source, broken != 0);
    }
    if (!m.destination.any()) {
      sketch_.dst_port = choose_.PortIn(m.destination, broken != 1);
    }
    if (m.flags_mask != 0) Flags(m, broken != 2);
    if (m.option != 0 && (m.option_inverted == (broken == 3))) {
      sketch_.tcp_option = m.option;
    }
    return true;
  }
  bool operator()(const UdpMatch& m) {
    if (!HasPorts(sketch_.protocol)) sketch_.protocol = IPPROTO_UDP;
    const bool both = !m.source.any() && !m.destination.any();
    const bool break_source =
        !hold_ && (both ? choose_.Chance(0.5) : !m.source.any());
    if (!m.source.any()) {
      sketch_.src_port = choose_.PortIn(m.source, !break_source);
    }
    if (!m.destination.any()) {
      sketch_.dst_port = choose_.PortIn(m.destination, hold_ || break_source);
    }
    return hold_ || !m.source.any() || !m.destination.any();
  }
  bool operator()(const IcmpMatch& m) {
    sketch_.protocol = IcmpProtocol(m.family);
    if (m.any_type) return hold_;
    if (hold_ != m.inverted) {
      sketch_.icmp_type = m.type;
      sketch_.icmp_code = static_cast<uint8_t>(
          m.code_first +
          choose_.Below(std::min(m.code_last - m.code_first + 1, 4)));
    } else {
      sketch_.icmp_type = static_cast<uint8_t>(m.type ^ 1);
      sketch_.icmp_code = 0;
    }
    return true;
  }
  bool operator()(const MultiportMatch& m) {
    if (!HasPorts(sketch_.protocol)) sketch_.protocol = IPPROTO_TCP;
    if (m.ranges.empty()) return false;
    const PortRange& range = m.ranges[choose_.Below(m.ranges.size())];
    const uint16_t port = choose_.PortIn(range, hold_ != m.inverted);
    const bool source = m.side == PortSide::kSource ||
                        (m.side == PortSide::kEither && choose_.Chance(0.5));
    (source ? sketch_.src_port : sketch_.dst_port) = port;
    return true;
  }
  bool operator()(const IprangeMatch& m) {
    const auto settle = [&](const std::optional<AddressRange>& range,
                            std::optional<Address>* field) {
      if (!range) return;
      const bool inside = hold_ != range->inverted;
      Address address = choose_.Chance(0.5) ? range->first : range->last;
      if (!inside) {
        address = range->last;  // one past the end: the boundary itself
        const int last = sketch_.family == Family::kIpv4 ? 3 : 15;
        for (int i = last; i >= 0 && ++address[i] == 0; --i) {
        }
      }
      *field = address;
    };
    settle(m.source, &sketch_.src);
    settle(m.destination, &sketch_.dst);
    return true;
  }
  bool operator()(const ConntrackMatch& m) {
    if ((m.tests & kCtTestProtocol) != 0 && m.protocol < 256) {
      sketch_.protocol = static_cast<uint8_t>(m.protocol);
    }
    if ((m.tests & kCtTestOriginalDestination) != 0 && !sketch_.dst) {
      sketch_.dst = choose_.AddressIn(
          sketch_.family, m.original_destination.address,
          m.original_destination.mask,
          hold_ != ((m.inverted & kCtTestOriginalDestination) != 0));
    }
    if ((m.tests & kCtTestState) == 0) return true;
    const bool inverted = (m.inverted & kCtTestState) != 0;
    State(m.state_mask, hold_ != inverted);
    return true;
  }
  bool operator()(const StateMatch& m) {
    State(static_cast<uint16_t>(m.state_mask & 0xf), hold_);
    return true;
  }
  bool operator()(const MarkMatch& m) {
    // Marks come from rules on arriving packets, from sockets on local ones.
    if (sketch_.in.empty()) {
      sketch_.mark = hold_ != m.inverted ? m.value : ~m.value & 0xff;
    }
    return true;
  }
  bool operator()(const MacMatch& m) {
    auto mac = m.source;
    if (hold_ == m.inverted) mac[5] ^= 1;
    sketch_.mac = mac;
    return true;
  }
  bool operator()(const LengthMatch& m) {
    const bool inside = hold_ != m.inverted;
    uint32_t length = choose_.Chance(0.5) ? m.first : m.last;
    if (!inside) length = m.last < 1400 ? m.last + 1u : m.first - 1u;
    if (length > 1500) length = std::max<uint32_t>(m.first, 1500);
    // Room for the headers, whatever they will be.
    const uint32_t shortest = sketch_.family == Family::kIpv4 ? 60 : 80;
    if (length < shortest) {
      if (m.last < shortest) return false;
      length = std::max<uint32_t>(shortest, m.first);
    }
    if (length > 60000) return false;
    sketch_.length = static_cast<uint16_t>(length);
    return true;
  }
  bool operator()(const DscpMatch& m) {
    const uint8_t value = hold_ != m.inverted ? m.value : m.value ^ 1;
    sketch_.tos = static_cast<uint8_t>(value << 2);
    return true;
  }
  bool operator()(const TosMatch& m) {
    const uint8_t flip = static_cast<uint8_t>(m.mask & -m.mask);
    sketch_.tos = hold_ != m.inverted ? m.value : m.value ^ flip;
    return true;
  }
  bool operator()(const TtlMatch& m) {
    int value = m.value + (sketch_.forwarded ? 1 : 0);
    switch (m.test) {
      case TtlTest::kEqual:
        value += hold_ ? 0 : 1;
        break;
      case TtlTest::kNotEqual:
        value += hold_ ? 1 : 0;
        break;
      case TtlTest::kLess:
        value -= hold_ ? 1 : 0;
        break;
      case TtlTest::kGreater:
        value += hold_ ? 1 : 0;
        break;
    }
    sketch_.ttl = static_cast<uint8_t>(std::clamp(value, 2, 255));
    return true;
  }
  bool operator()(const OwnerMatch& m) {
    const auto id = [&](const IdRange& range) {
      const bool inside = hold_ != range.inverted;
      return inside ? range.first : range.last + 1;
    };
    if (m.uid) sketch_.uid = id(*m.uid);
    if (m.gid) sketch_.gid = id(*m.gid);
    return true;
  }
  bool operator()(const AddrtypeMatch& m) {
    constexpr uint16_t kLocal = 1u << 2, kBroadcast = 1u << 3,
                       kMulticast = 1u << 5;
    const bool inside = hold_ != m.destination_inverted;
    if (!inside || sketch_.dst || m.destination_types == 0) return true;
    const bool v4 = sketch_.family == Family::kIpv4;
    if ((m.destination_types & kLocal) != 0) {
      if (!sketch_.in.empty()) sketch_.out.clear();
    } else if ((m.destination_types & kMulticast) != 0) {
      sketch_.dst =
          v4 ? Address{224, 0, 0, 251}
             : Address{0xff, 0x02, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfb};
    } else if ((m.destination_types & kBroadcast) != 0 && v4) {
      sketch_.dst = Address{255, 255, 255, 255};
    }
    return true;
  }
  // What no field of the packet decides.
  bool operator()(const CommentMatch&) { return hold_; }
  template <typename Other>
  bool operator()(const Other&) {
    return hold_;
  }

 private:
  void Flags(const TcpMatch& m, bool hold) {
    const bool equal = hold != m.flags_inverted;
    uint8_t flags = m.flags_value & m.flags_mask;
    if (!equal) flags ^= static_cast<uint8_t>(m.flags_mask & -m.flags_mask);
    sketch_.tcp_flags = flags;
  }
  void State(uint16_t mask, bool inside) {
    static constexpr std::pair<uint16_t, WantedState> kStates[] = {
        {kCtStateNew, WantedState::kNew},
        {kCtStateEstablished, WantedState::kEstablished},
        {kCtStateRelated, WantedState::kRelated},
        {kCtStateInvalid, WantedState::kInvalid}};
    std::vector<WantedState> wanted;
    for (const auto& [bit, state] : kStates) {
      if (((mask & bit) != 0) == inside) wanted.push_back(state);
    }
    if (!wanted.empty()) sketch_.state = wanted[choose_.Below(wanted.size())];
  }

  bool hold_;
  Chooser& choose_;
  Sketch& sketch_;
};

/// The words of the transport header.
std::string TransportWords(const Sketch& s) {
  switch (s.protocol) {
    case IPPROTO_TCP: {
      std::string words = fmt::format("PROTO=TCP SPT={} DPT={} SEQ=1000",
                                      *s.src_port, *s.dst_port);
      static constexpr std::pair<uint8_t, const char*> kFlags[] = {
          {kUrg, " URG"}, {kAck, " ACK"}, {kPsh, " PSH"},
          {kRst, " RST"}, {kSyn, " SYN"}, {kFin, " FIN"}};
      if ((*s.tcp_flags & kAck) != 0) words += " ACK=1001";
      words += " WINDOW=65535";
      for (const auto& [bit, word] : kFlags) {
        if ((*s.tcp_flags & bit) != 0) words += word;
      }
      if (s.tcp_option == 2) words += " MSS=1460";
      return words;
    }
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      return fmt::format("PROTO={} SPT={} DPT={}",
                         s.protocol == IPPROTO_UDP ? "UDP" : "UDPLITE",
                         *s.src_port, *s.dst_port);
    case IPPROTO_ICMP:
      return fmt::format("PROTO=ICMP TYPE={} CODE={} ID={} SEQ=1", *s.icmp_type,
                         *s.icmp_code, *s.src_port);
    case IPPROTO_ICMPV6:
      return fmt::format("PROTO=ICMPv6 TYPE={} CODE={} ID={} SEQ=1",
                         *s.icmp_type, *s.icmp_code, *s.src_port);
    default:
      return fmt::format("PROTO={}", s.protocol);
  }
}

void Settle(Sketch* s, Chooser* choose) {
  if (!s->src) s->src = choose->PlainAddress(s->family);
  if (!s->dst) s->dst = choose->PlainAddress(s->family);
  if (s->protocol == 0) {
    const uint8_t kinds[] = {IPPROTO_TCP, IPPROTO_TCP, IPPROTO_UDP,
                             IcmpProtocol(s->family)};
    s->protocol = kinds[choose->Below(std::size(kinds))];
  }
  if (!s->src_port) {
    s->src_port = static_cast<uint16_t>(1024 + choose->Below(60000));
  }
  if (!s->dst_port) {
    static constexpr uint16_t kUsual[] = {22, 53, 80, 443, 8080, 123, 3306, 25};
    s->dst_port = kUsual[choose->Below(std::size(kUsual))];
  }
  if (!s->tcp_flags) {
    s->tcp_flags = s->state == WantedState::kEstablished ? kSyn | kAck
                   : s->state == WantedState::kInvalid   ? kSyn | kFin
                                                         : kSyn;
  }
  if (!s->icmp_type) {
    const bool reply = s->state == WantedState::kEstablished;
    s->icmp_type =
        s->family == Family::kIpv4 ? (reply ? 0 : 8) : (reply ? 129 : 128);
  }
  if (!s->icmp_code) s->icmp_code = 0;
}

}  // namespace

uint8_t IcmpProtocol(Family family) {
  return family == Family::kIpv4 ? uint8_t{IPPROTO_ICMP}
                                 : uint8_t{IPPROTO_ICMPV6};
}

Chooser::Chooser(const Ruleset& ruleset, uint64_t seed) : random_(seed) {
  devices_ = {"eth0", "eth1"};
  for (const Table& table : ruleset.tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        for (const InterfaceTest* test :
             {&rule.selector.in, &rule.selector.out}) {
          std::string name = test->ToString();
          if (name.empty() || name == "lo" || name == "+") continue;
          if (name.back() == '+') name.back() = '0';
          if (name.size() > 15) continue;
          if (std::find(devices_.begin(), devices_.end(), name) ==
              devices_.end()) {
            devices_.push_back(std::move(name));
          }
        }
      }
    }
  }
}

uint64_t Chooser::Below(uint64_t bound) {
  return bound == 0 ? 0 : random_() % bound;
}

bool Chooser::Chance(double probability) {
  return static_cast<double>(random_() >> 11) * 0x1p-53 < probability;
}

const std::string& Chooser::Device() {
  return devices_[Below(devices_.size())];
}

std::string Chooser::DeviceFor(const InterfaceTest& test, bool holds) {
  if (holds && NameMatches(test, "lo") && test.ToString() == "lo") return "lo";
  const size_t start = Below(devices_.size());
  for (size_t i = 0; i < devices_.size(); ++i) {
    const std::string& name = devices_[(start + i) % devices_.size()];
    if (NameMatches(test, name) == holds) return name;
  }
  return "";
}

Address Chooser::PlainAddress(Family family) {
  Address address{};
  if (family == Family::kIpv4) {
    // RFC 2544's 198.18.0.0/15: nobody's, and no martian.
    address = {198, static_cast<uint8_t>(18 + Below(2)),
               static_cast<uint8_t>(Below(256)),
               static_cast<uint8_t>(1 + Below(254))};
  } else {
    // RFC 3849's documentation prefix.
    address = {0x20, 0x01, 0x0d, 0xb8};
    for (size_t i = 8; i < 16; ++i)
      address[i] = static_cast<uint8_t>(Below(256));
    address[15] |= 1;
  }
  return address;
}

Address Chooser::AddressIn(Family family, const Address& address,
                           const Address& mask, bool inside) {
  Address out = PlainAddress(family);
  const size_t size = family == Family::kIpv4 ? 4 : 16;
  bool narrow = false;
  for (size_t i = 0; i < size; ++i) {
    const uint8_t free_bits = i >= 2 || family == Family::kIpv6
                                  ? out[i]
                                  : static_cast<uint8_t>(Below(256));
    out[i] =
        static_cast<uint8_t>((address[i] & mask[i]) | (free_bits & ~mask[i]));
    narrow |= mask[i] != 0;
  }
  if (inside || !narrow) return out;
  // Outside: the lowest bit that counts is flipped, the nearest miss.
  for (size_t i = size; i-- > 0;) {
    if (mask[i] != 0) {
      out[i] ^= static_cast<uint8_t>(mask[i] & -mask[i]);
      break;
    }
  }
  return out;
}

uint16_t Chooser::PortIn(const PortRange& range, bool inside) {
  if (inside == range.inverted) {
    // One beyond the range, where there is room.
    if (range.last < 0xffff && (range.first == 0 || Chance(0.5))) {
      return static_cast<uint16_t>(range.last + 1);
    }
    return static_cast<uint16_t>(range.first == 0 ? 0 : range.first - 1);
  }
  if (range.first >= range.last) return range.first;
  switch (Below(3)) {
    case 0:
      return range.first;
    case 1:
      return range.last;
    default:
      return static_cast<uint16_t>(
          range.first + Below(uint64_t{range.last} - range.first + 1));
  }
}

bool Steer(const Condition& condition, bool hold, Chooser* choose,
           Sketch* sketch) {
  return std::visit(Steering(hold, choose, sketch), condition);
}

std::vector<SelectorPart> PartsOf(const Selector& s) {
  std::vector<SelectorPart> parts;
  if (!s.in.any()) parts.push_back(SelectorPart::kIn);
  if (!s.out.any()) parts.push_back(SelectorPart::kOut);
  if (s.src_mask != Address{}) parts.push_back(SelectorPart::kSrc);
  if (s.dst_mask != Address{}) parts.push_back(SelectorPart::kDst);
  if (s.protocol != 0) parts.push_back(SelectorPart::kProtocol);
  if (s.fragment) parts.push_back(SelectorPart::kFragment);
  return parts;
}

void SteerSelector(const Selector& s, SelectorPart part, bool hold,
                   Chooser* choose, Sketch* sketch) {
  const auto wanted = [&](InvertBit bit) {
    return hold != ((s.inverted & bit) != 0);
  };
  switch (part) {
    case SelectorPart::kIn: {
      if (sketch->in.empty()) return;  // local: nothing comes in
      const std::string name = choose->DeviceFor(s.in, wanted(kInvertIn));
      if (name == "lo") {  // what comes in by lo was sent by this host
        sketch->in.clear();
        sketch->out = "lo";
      } else if (!name.empty()) {
        sketch->in = name;
      }
      return;
    }
    case SelectorPart::kOut: {
      if (sketch->out.empty()) return;
      const std::string name = choose->DeviceFor(s.out, wanted(kInvertOut));
      if (name == "lo") sketch->in.clear();
      if (!name.empty()) sketch->out = name;
      return;
    }
    case SelectorPart::kSrc:
      sketch->src = choose->AddressIn(sketch->family, s.src, s.src_mask,
                                      wanted(kInvertSrc));
      return;
    case SelectorPart::kDst:
      sketch->dst = choose->AddressIn(sketch->family, s.dst, s.dst_mask,
                                      wanted(kInvertDst));
      return;
    case SelectorPart::kProtocol:
      if (wanted(kInvertProtocol)) {
        sketch->protocol = static_cast<uint8_t>(s.protocol);
      } else {
        sketch->protocol =
            s.protocol == IPPROTO_UDP ? IPPROTO_TCP : IPPROTO_UDP;
      }
      return;
    case SelectorPart::kFragment:
      sketch->fragment = wanted(kInvertFragment);
      return;
  }
}

std::string SketchLine(Sketch* s, Chooser* choose) {
  Settle(s, choose);
  std::string line = fmt::format("IN={} OUT={}", s->in, s->out);
  if (s->mac && !s->in.empty()) {
    // As the kernel prints it: destination, source, EtherType.
    line += fmt::format(" MAC=02:00:00:00:00:01:{:02x}:08:00",
                        fmt::join(*s->mac, ":"));
  }
  line += fmt::format(" SRC={} DST={}", AddressText(s->family, *s->src),
                      AddressText(s->family, *s->dst));
  if (s->length) line += fmt::format(" LEN={}", *s->length);
  if (s->family == Family::kIpv4) {
    if (s->tos) {
      line += fmt::format(" TOS=0x{:02X} PREC=0x{:02X}", *s->tos & 0x1e,
                          *s->tos & 0xe0);
    }
    line += fmt::format(" TTL={}", s->ttl.value_or(64));
    if (s->fragment) line += " FRAG:185";
  } else {
    if (s->tos) line += fmt::format(" TC={}", *s->tos);
    line += fmt::format(" HOPLIMIT={}", s->ttl.value_or(64));
  }
  line += " " + TransportWords(*s);
  if (s->mark) line += fmt::format(" MARK=0x{:x}", *s->mark);
  if (s->uid && s->in.empty()) line += fmt::format(" UID={}", *s->uid);
  if (s->gid && s->in.empty()) line += fmt::format(" GID={}", *s->gid);
  return line;
}

Sketch Reversed(const Sketch& s) {
  Sketch back = s;
  std::swap(back.src, back.dst);
  std::swap(back.in, back.out);
  if (s.out == "lo") std::swap(back.in, back.out);  // lo stays lo
  if (s.protocol != IPPROTO_ICMP && s.protocol != IPPROTO_ICMPV6) {
    std::swap(back.src_port, back.dst_port);
  }
  back.mac.reset();
  back.mark.reset();
  back.uid.reset();
  back.gid.reset();
  back.state = WantedState::kAny;
  return back;
}

}  // namespace nfarena
