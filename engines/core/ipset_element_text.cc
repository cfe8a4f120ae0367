#include "engines/core/ipset_element_text.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <bit>
#include <charconv>
#include <iterator>
#include <span>

#include "engines/core/bytes.h"

namespace nfarena {
namespace {

using enum IpSetPart;

/// A bitmap's most; nobody writes longer ranges into one word.
constexpr size_t kElementsMax = 65536;

struct Name {
  std::string_view name;
  uint8_t number;
};

constexpr Name kProtocols[] = {
    {"ah", IPPROTO_AH},
    {"esp", IPPROTO_ESP},
    {"gre", IPPROTO_GRE},
    {"icmp", IPPROTO_ICMP},
    {"icmpv6", IPPROTO_ICMPV6},
    {"igmp", IPPROTO_IGMP},
    {"ipip", 94},
    {"ipv6-icmp", IPPROTO_ICMPV6},
    {"ospf", 89},
    {"pim", IPPROTO_PIM},
    {"sctp", IPPROTO_SCTP},
    {"tcp", IPPROTO_TCP},
    {"udp", IPPROTO_UDP},
    {"udplite", IPPROTO_UDPLITE},
    {"vrrp", 112},
};

/// ipset's words for ICMP's types and codes.
struct IcmpName {
  std::string_view name;
  uint8_t type, code;
};

constexpr IcmpName kIcmpNames[] = {
    {"echo-reply", 0, 0},
    {"pong", 0, 0},
    {"network-unreachable", 3, 0},
    {"host-unreachable", 3, 1},
    {"protocol-unreachable", 3, 2},
    {"port-unreachable", 3, 3},
    {"fragmentation-needed", 3, 4},
    {"source-route-failed", 3, 5},
    {"network-unknown", 3, 6},
    {"host-unknown", 3, 7},
    {"network-prohibited", 3, 9},
    {"host-prohibited", 3, 10},
    {"TOS-network-unreachable", 3, 11},
    {"TOS-host-unreachable", 3, 12},
    {"communication-prohibited", 3, 13},
    {"host-precedence-violation", 3, 14},
    {"precedence-cutoff", 3, 15},
    {"source-quench", 4, 0},
    {"network-redirect", 5, 0},
    {"host-redirect", 5, 1},
    {"TOS-network-redirect", 5, 2},
    {"TOS-host-redirect", 5, 3},
    {"echo-request", 8, 0},
    {"ping", 8, 0},
    {"router-advertisement", 9, 0},
    {"router-solicitation", 10, 0},
    {"ttl-zero-during-transit", 11, 0},
    {"ttl-zero-during-reassembly", 11, 1},
    {"ip-header-bad", 12, 0},
    {"required-option-missing", 12, 1},
    {"timestamp-request", 13, 0},
    {"timestamp-reply", 14, 0},
    {"address-mask-request", 17, 0},
    {"address-mask-reply", 18, 0},
};

constexpr IcmpName kIcmpv6Names[] = {
    {"no-route", 1, 0},
    {"communication-prohibited", 1, 1},
    {"address-unreachable", 1, 3},
    {"port-unreachable", 1, 4},
    {"packet-too-big", 2, 0},
    {"ttl-zero-during-transit", 3, 0},
    {"ttl-zero-during-reassembly", 3, 1},
    {"bad-header", 4, 0},
    {"unknown-header-type", 4, 1},
    {"unknown-option", 4, 2},
    {"echo-request", 128, 0},
    {"ping", 128, 0},
    {"echo-reply", 129, 0},
    {"pong", 129, 0},
    {"router-solicitation", 133, 0},
    {"router-advertisement", 134, 0},
    {"neighbour-solicitation", 135, 0},
    {"neighbour-advertisement", 136, 0},
    {"redirect", 137, 0},
};

tl::unexpected<Error> Bad(std::string_view text, const char* what) {
  return Fail(ErrorCode::kSyntax, fmt::format("'{}' is not {}", text, what));
}

template <typename T>
std::optional<T> ToNumber(std::string_view text, int base = 10) {
  T value{};
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

/// The text before and after the first `mark`, if it has one.
std::optional<std::pair<std::string_view, std::string_view>> SplitAt(
    std::string_view text, char mark) {
  const size_t at = text.find(mark);
  if (at == text.npos) return std::nullopt;
  return std::pair{text.substr(0, at), text.substr(at + 1)};
}

bool WithPorts(uint8_t protocol) {
  return protocol == IPPROTO_TCP || protocol == IPPROTO_UDP ||
         protocol == IPPROTO_SCTP || protocol == IPPROTO_UDPLITE;
}

Result<Address> ToAddress(std::string_view text, Family family) {
  Address address{};
  const std::string zero_ended(text);
  const int af = family == Family::kIpv4 ? AF_INET : AF_INET6;
  if (inet_pton(af, zero_ended.c_str(), address.data()) != 1) {
    return Bad(text,
               family == Family::kIpv4 ? "an IPv4 address" : "an IPv6 address");
  }
  return address;
}

uint8_t AddressBits(Family family) {
  return family == Family::kIpv4 ? 32 : 128;
}

Address FromNumber(uint32_t number) {
  Address address{};
  StoreBe32(address.data(), number);
  return address;
}

struct Net {
  Address address;
  uint8_t bits;
};

/// Addresses as they are written: one, a network, or a range (IPv4 only).
struct AddressRange {
  Net net;  // `bits` as written, or all of them
  bool with_bits = false;
  std::optional<uint32_t> last;  // a range from net.address to here
};

Result<AddressRange> ToRange(std::string_view text, Family family) {
  AddressRange range;
  range.net.bits = AddressBits(family);
  if (const auto parts = SplitAt(text, '/')) {
    ASSIGN_OR_RETURN(range.net.address, ToAddress(parts->first, family));
    const auto bits = ToNumber<uint8_t>(parts->second);
    if (!bits || *bits > AddressBits(family)) {
      return Bad(parts->second, "a prefix length");
    }
    range.net.bits = *bits;
    range.with_bits = true;
  } else if (const auto ends = SplitAt(text, '-');
             ends && family == Family::kIpv4) {
    ASSIGN_OR_RETURN(range.net.address, ToAddress(ends->first, family));
    ASSIGN_OR_RETURN(const Address last, ToAddress(ends->second, family));
    uint32_t from = LoadBe32(range.net.address.data());
    uint32_t to = LoadBe32(last.data());
    if (from > to) std::swap(from, to);
    range.net.address = FromNumber(from);
    range.last = to;
  } else {
    ASSIGN_OR_RETURN(range.net.address, ToAddress(text, family));
  }
  return range;
}

/// The single addresses of it.
Result<std::vector<Address>> AddressesOf(const AddressRange& range,
                                         Family family) {
  if (family == Family::kIpv6) {
    if (range.net.bits != 128) {
      return Fail(ErrorCode::kRange, "an IPv6 network in a set of addresses");
    }
    return std::vector<Address>{range.net.address};
  }
  uint64_t first = LoadBe32(range.net.address.data());
  uint64_t last = range.last.value_or(static_cast<uint32_t>(first));
  if (range.with_bits) {
    const uint64_t hosts = uint64_t{1} << (32 - range.net.bits);
    first -= first % hosts;
    last = first + hosts - 1;
  }
  if (last - first >= kElementsMax) {
    return Fail(ErrorCode::kRange,
                fmt::format("over {} addresses in one element", kElementsMax));
  }
  std::vector<Address> addresses;
  for (uint64_t at = first; at <= last; ++at) {
    addresses.push_back(FromNumber(static_cast<uint32_t>(at)));
  }
  return addresses;
}

/// The networks of it, each as long as fits: ip_set_range_to_cidr().
Result<std::vector<Net>> NetsOf(const AddressRange& range, bool allow_all) {
  if (!range.last) {
    if (range.net.bits == 0 && !allow_all) {
      return Fail(ErrorCode::kRange, "prefix length 0 in a set of networks");
    }
    return std::vector<Net>{
        {PrefixOf(range.net.address, range.net.bits), range.net.bits}};
  }
  std::vector<Net> nets;
  uint64_t at = LoadBe32(range.net.address.data());
  const uint64_t last = *range.last;
  if (at == 0 && last == UINT32_MAX) {
    return Fail(ErrorCode::kRange, "a range of all addresses");
  }
  while (at <= last) {
    int free_bits = at == 0 ? 31 : std::countr_zero(at);
    while (at + (uint64_t{1} << free_bits) - 1 > last) --free_bits;
    nets.push_back({FromNumber(static_cast<uint32_t>(at)),
                    static_cast<uint8_t>(32 - free_bits)});
    at += uint64_t{1} << free_bits;
  }
  return nets;
}

Result<uint8_t> ToProtocol(std::string_view text) {
  const auto* it =
      std::find_if(std::begin(kProtocols), std::end(kProtocols),
                   [text](const Name& p) { return p.name == text; });
  if (it != std::end(kProtocols)) return it->number;
  const auto number = ToNumber<uint8_t>(text);
  if (!number || *number == 0) return Bad(text, "a protocol");
  return *number;
}

Result<uint16_t> ToIcmp(std::string_view text,
                        std::span<const IcmpName> names) {
  for (const IcmpName& name : names) {
    if (name.name == text) {
      return static_cast<uint16_t>(name.type << 8 | name.code);
    }
  }
  const auto parts = SplitAt(text, '/');
  const auto type = ToNumber<uint8_t>(parts ? parts->first : text);
  const auto code = parts ? ToNumber<uint8_t>(parts->second) : uint8_t{0};
  if (!type || !code) return Bad(text, "a type of ICMP");
  return static_cast<uint16_t>(*type << 8 | *code);
}

struct Ports {
  uint8_t protocol = IPPROTO_TCP;
  uint16_t first = 0, last = 0;
};

/// "[PROTOCOL:]PORT[-PORT]", "icmp:TYPE/CODE"
Result<Ports> ToPorts(std::string_view text, Family family) {
  Ports ports;
  if (const auto parts = SplitAt(text, ':')) {
    ASSIGN_OR_RETURN(ports.protocol, ToProtocol(parts->first));
    text = parts->second;
  }
  // The other family's ICMP is a protocol without ports to the kernel.
  if (ports.protocol == IPPROTO_ICMP && family == Family::kIpv4) {
    ASSIGN_OR_RETURN(ports.first, ToIcmp(text, kIcmpNames));
    ports.last = ports.first;
    return ports;
  }
  if (ports.protocol == IPPROTO_ICMPV6 && family == Family::kIpv6) {
    ASSIGN_OR_RETURN(ports.first, ToIcmp(text, kIcmpv6Names));
    ports.last = ports.first;
    return ports;
  }
  const auto ends = SplitAt(text, '-');
  const auto first = ToNumber<uint16_t>(ends ? ends->first : text);
  const auto last = ends ? ToNumber<uint16_t>(ends->second) : first;
  if (!first || !last) return Bad(text, "a port");
  if (WithPorts(ports.protocol)) {
    ports.first = std::min(*first, *last);
    ports.last = std::max(*first, *last);
  }
  return ports;
}

Result<std::array<uint8_t, 6>> ToMac(std::string_view text) {
  std::array<uint8_t, 6> mac{};
  for (size_t i = 0; i < mac.size(); ++i) {
    const std::string_view digits =
        text.substr(std::min(i * 3, text.size()), 2);
    const auto byte = ToNumber<uint8_t>(digits, 16);
    const bool ends = i + 1 == mac.size();
    if (!byte || digits.size() != 2 ||
        (ends ? text.size() != 17 : text[i * 3 + 2] != ':')) {
      return Bad(text, "an Ethernet address");
    }
    mac[i] = *byte;
  }
  if (mac == std::array<uint8_t, 6>{}) {
    return Fail(ErrorCode::kRange, "the zero Ethernet address in a set");
  }
  return mac;
}

class ElementParser {
 public:
  explicit ElementParser(const IpSet& set)
      : set_(set), family_(set.family.value_or(Family::kIpv4)) {}

  Result<std::vector<IpSetPoint>> Run(std::string_view text) {
    points_.emplace_back();
    for (const IpSetPart part : set_.type->parts) {
      if (part == kNone) break;
      // Only bitmap:ip,mac's Ethernet address may be left out.
      if (!rest_given_) {
        if (part == kMac && set_.type->bitmap) break;
        return Fail(
            ErrorCode::kSyntax,
            fmt::format("an element of '{}' has more parts", set_.type->name));
      }
      const size_t comma = std::min(text.find(','), text.size());
      RETURN_IF_ERROR(ReadPart(part, text.substr(0, comma)));
      rest_given_ = comma < text.size();
      text.remove_prefix(std::min(comma + 1, text.size()));
    }
    if (rest_given_) {
      return Fail(
          ErrorCode::kSyntax,
          fmt::format("an element of '{}' has fewer parts", set_.type->name));
    }
    return std::move(points_);
  }

 private:
  /// Every point so far, once for each of `count` values.
  template <typename Put>
  Status Multiply(size_t count, Put put) {
    if (points_.size() * count > kElementsMax) {
      return Fail(ErrorCode::kRange,
                  fmt::format("over {} elements in one word", kElementsMax));
    }
    std::vector<IpSetPoint> all;
    all.reserve(points_.size() * count);
    for (const IpSetPoint& point : points_) {
      for (size_t i = 0; i < count; ++i) {
        all.push_back(point);
        put(i, &all.back());
      }
    }
    points_ = std::move(all);
    return {};
  }

  Status ReadPart(IpSetPart part, std::string_view text) {
    switch (part) {
      case kAddress:
        return ReadAddress(text);
      case kNet:
        return ReadNet(text);
      case kPort:
        return ReadPort(text);
      case kMac: {
        ASSIGN_OR_RETURN(const auto mac, ToMac(text));
        return Multiply(1, [&](size_t, IpSetPoint* point) {
          (set_.type->bitmap ? point->mac : point->key.mac) = mac;
        });
      }
      case kDevice:
        return ReadDevice(text);
      case kMark: {
        const bool hex = text.starts_with("0x");
        const auto mark =
            ToNumber<uint32_t>(hex ? text.substr(2) : text, hex ? 16 : 10);
        if (!mark) return Bad(text, "a mark");
        return Multiply(1, [&](size_t, IpSetPoint* point) {
          point->key.mark = *mark & set_.mark_mask;
        });
      }
      case kNone:
      case kSet:
        break;
    }
    return {};
  }

  Status ReadAddress(std::string_view text) {
    ASSIGN_OR_RETURN(const auto range, ToRange(text, family_));
    ASSIGN_OR_RETURN(auto addresses, AddressesOf(range, family_));
    for (Address& address : addresses) {
      const uint32_t number = LoadBe32(address.data());
      if (set_.type->bitmap && (number < set_.first || number > set_.last)) {
        return Fail(ErrorCode::kRange,
                    fmt::format("'{}' is outside of the bitmap", text));
      }
      if (set_.mask) address = MaskedBy(address, *set_.mask);
      const bool zero = address == Address{} && !set_.type->bitmap;
      if (zero && (set_.mask || set_.type->dimensions() == 1)) {
        return Fail(ErrorCode::kRange, "the zero address in a set");
      }
    }
    addresses.erase(std::unique(addresses.begin(), addresses.end()),
                    addresses.end());
    const size_t slot = addresses_++;
    return Multiply(addresses.size(), [&](size_t i, IpSetPoint* point) {
      point->key.address[slot] = addresses[i];
      point->key.prefix_bits[slot] = AddressBits(family_);
    });
  }

  Status ReadNet(std::string_view text) {
    ASSIGN_OR_RETURN(const auto range, ToRange(text, family_));
    ASSIGN_OR_RETURN(const auto nets, NetsOf(range, set_.type->has(kDevice)));
    const size_t slot = addresses_++;
    return Multiply(nets.size(), [&](size_t i, IpSetPoint* point) {
      point->key.address[slot] = nets[i].address;
      point->key.prefix_bits[slot] = nets[i].bits;
    });
  }

  Status ReadPort(std::string_view text) {
    ASSIGN_OR_RETURN(const Ports ports, ToPorts(text, family_));
    if (set_.type->bitmap &&
        (ports.first < set_.first || ports.last > set_.last)) {
      return Fail(ErrorCode::kRange,
                  fmt::format("'{}' is outside of the bitmap", text));
    }
    return Multiply(
        size_t{ports.last} - ports.first + 1, [&](size_t i, IpSetPoint* point) {
          point->key.port = static_cast<uint16_t>(ports.first + i);
          point->key.protocol = set_.type->bitmap ? 0 : ports.protocol;
        });
  }

  Status ReadDevice(std::string_view text) {
    constexpr std::string_view kPhysical = "physdev:";
    const bool physical = text.starts_with(kPhysical);
    if (physical) text.remove_prefix(kPhysical.size());
    if (text.empty() || text.size() > 15) return Bad(text, "a device");
    return Multiply(1, [&](size_t, IpSetPoint* point) {
      SetDeviceName(text, &point->device);
      point->key.physical = physical;
    });
  }

  const IpSet& set_;
  const Family family_;
  std::vector<IpSetPoint> points_;
  size_t addresses_ = 0;
  bool rest_given_ = true;
};

}  // namespace

Result<std::vector<IpSetPoint>> ParseIpSetElement(const IpSet& set,
                                                  std::string_view text) {
  return ElementParser(set).Run(text);
}

Result<Address> ParseIpSetMask(std::string_view text,
                               std::optional<Family> family) {
  const Family of = family.value_or(Family::kIpv4);
  const auto bits = ToNumber<uint8_t>(text);
  if (!bits) return ToAddress(text, of);
  if (*bits == 0 || *bits > AddressBits(of)) return Bad(text, "a netmask");
  Address ones;
  ones.fill(0xff);
  return PrefixOf(ones, *bits);
}

Result<std::pair<uint32_t, uint32_t>> ParseIpSetRange(const IpSetType& type,
                                                      std::string_view text) {
  if (type.has(kPort)) {
    ASSIGN_OR_RETURN(const Ports ports, ToPorts(text, Family::kIpv4));
    return std::pair<uint32_t, uint32_t>{ports.first, ports.last};
  }
  ASSIGN_OR_RETURN(const auto range, ToRange(text, Family::kIpv4));
  ASSIGN_OR_RETURN(const auto addresses, AddressesOf(range, Family::kIpv4));
  return std::pair{LoadBe32(addresses.front().data()),
                   LoadBe32(addresses.back().data())};
}

}  // namespace nfarena
