#include "engines/core/topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <tuple>
#include <unordered_map>

#include "engines/core/bytes.h"

namespace nfarena {
namespace {

bool Contains(const Prefix& prefix, const Address& address) {
  const size_t whole = prefix.bits / 8;
  if (std::memcmp(prefix.address.data(), address.data(), whole) != 0) {
    return false;
  }
  const int rest = prefix.bits % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<uint8_t>(0xff << (8 - rest));
  return ((prefix.address[whole] ^ address[whole]) & mask) == 0;
}

Address Masked(const Address& address, uint8_t bits) {
  Address result{};
  const size_t whole = bits / 8;
  std::copy_n(address.begin(), whole, result.begin());
  if (bits % 8 != 0) {
    result[whole] =
        static_cast<uint8_t>(address[whole] & (0xff << (8 - bits % 8)));
  }
  return result;
}

bool IsZero(const Address& address) { return address == Address{}; }

// Source: include/linux/in.h, include/net/ipv6.h.
bool IsV4Multicast(const Address& a) { return (a[0] & 0xf0) == 0xe0; }
bool IsV4LocalMulticast(const Address& a) {
  return a[0] == 224 && a[1] == 0 && a[2] == 0;
}
bool IsV4Loopback(const Address& a) { return a[0] == 127; }
bool IsV4LimitedBroadcast(const Address& a) {
  return a[0] == 255 && a[1] == 255 && a[2] == 255 && a[3] == 255;
}
/// ipv4_is_zeronet(): since Linux 5.3 this is 0.0.0.0 alone.
bool IsV4ZeroNet(const Address& a) {
  return a[0] == 0 && a[1] == 0 && a[2] == 0 && a[3] == 0;
}
bool IsV6Multicast(const Address& a) { return a[0] == 0xff; }
bool IsV6Loopback(const Address& a) {
  Address loopback{};
  loopback[15] = 1;
  return a == loopback;
}
/// ipv6_addr_scope() of what is no group; groups have theirs in the address.
constexpr int kV6Global = 14;
int V6Scope(const Address& a) {
  if (a[0] == 0xff) return a[1] & 0xf;
  if (IsV6Loopback(a)) return 2;
  if (a[0] != 0xfe || (a[1] & 0x80) == 0) return kV6Global;
  return (a[1] & 0x40) == 0 ? 2 : 5;  // fe80::/10 the link, fec0::/10 the site
}
/// net/ipv6/addrlabel.c, of what a device can have.
int V6Label(const Address& a) {
  const bool special = a[0] == 0x20 && a[1] == 0x01 && a[2] == 0;
  if (a[0] == 0x20 && a[1] == 0x02) return 2;      // 6to4
  if (special && a[3] == 0) return 6;              // Teredo
  if (special && (a[3] & 0xf0) == 0x10) return 7;  // ORCHID
  return (a[0] & 0xfe) == 0xfc ? 5 : 1;            // unique local
}

bool IsMulticast(Family family, const Address& a) {
  return family == Family::kIpv4 ? IsV4Multicast(a) : IsV6Multicast(a);
}
bool IsLoopback(Family family, const Address& a) {
  return family == Family::kIpv4 ? IsV4Loopback(a) : IsV6Loopback(a);
}
/// An address that a device could have.
bool IsPlainUnicast(Family family, const Address& a) {
  if (IsMulticast(family, a) || IsLoopback(family, a)) return false;
  if (family == Family::kIpv4) {
    return !IsV4ZeroNet(a) && !IsV4LimitedBroadcast(a);
  }
  return !IsZero(a);
}

/// The groups every IPv4 or IPv6 device belongs to by itself.
/// Source: net/ipv4/igmp.c ip_mc_up(), net/ipv6/addrconf.c ipv6_add_dev() with
/// forwarding on.
bool IsStandardGroup(Family family, const Address& a) {
  if (family == Family::kIpv4) return IsV4LocalMulticast(a) && a[3] == 1;
  if (a[0] != 0xff) return false;
  for (size_t i = 2; i < 15; ++i) {
    if (a[i] != 0) return false;
  }
  switch (a[1]) {
    case 1:
      return a[15] == 1 || a[15] == 2;
    case 2:
      return a[15] == 1 || a[15] == 2;
    case 5:
      return a[15] == 2;
    default:
      return false;
  }
}

/// ff02::1:ffXX:XXXX of an address.
Address SolicitedNode(const Address& a) {
  Address group{};
  group[0] = 0xff;
  group[1] = 0x02;
  group[11] = 0x01;
  group[12] = 0xff;
  std::copy_n(a.begin() + 13, 3, group.begin() + 13);
  return group;
}

uint8_t HostBits(Family family) { return family == Family::kIpv4 ? 32 : 128; }

std::string AddressText(Family family, const Address& a) {
  if (family == Family::kIpv4) {
    return fmt::format("{}.{}.{}.{}", a[0], a[1], a[2], a[3]);
  }
  std::string text;
  for (size_t i = 0; i < 16; i += 2) {
    text += fmt::format("{}{:x}", i == 0 ? "" : ":", LoadBe16(&a[i]));
  }
  return text;
}

struct AddressHash {
  size_t operator()(const Address& a) const {
    uint64_t words[2];
    std::memcpy(words, a.data(), 16);
    uint64_t h = words[0] * 0x9e3779b97f4a7c15u ^ words[1];
    h ^= h >> 32;
    return static_cast<size_t>(h * 0xff51afd7ed558ccdu);
  }
};

}  // namespace

/// One table a prefix length and input device, longest first.
struct Topology::Index {
  struct Local {
    bool broadcast = false;
    uint32_t device = 0;  // index in devices; beyond them: unknown
  };
  std::unordered_map<Address, Local, AddressHash> local;
  static std::string_view DeviceOf(const Topology& topology,
                                   const Local& local) {
    return local.device < topology.devices.size()
               ? std::string_view(topology.devices[local.device].name)
               : std::string_view();
  }
  struct Level {
    uint8_t bits;
    std::unordered_map<Address, uint32_t, AddressHash> routes;
  };
  // A handful of devices: a scan is quicker than a hash of the name.
  std::vector<std::pair<std::string, std::vector<Level>>> by_in;
  std::vector<std::tuple<std::string, Address>> groups;  // joined: in, group

  const std::vector<Level>* Levels(std::string_view in) const {
    for (const auto& [name, levels] : by_in) {
      if (name == in) return &levels;
    }
    return nullptr;
  }

  /// The longest route of the packets that come in by `in`; with a device, of
  /// those that lead there.
  const Route* Find(const Topology& topology, std::string_view in,
                    const Address& dst, std::string_view device) const {
    for (std::string_view table : {in, std::string_view("*")}) {
      const auto* levels = Levels(table);
      if (levels == nullptr) continue;
      for (const Level& level : *levels) {
        const auto it = level.routes.find(Masked(dst, level.bits));
        if (it == level.routes.end()) continue;
        const Route& route = topology.routes[it->second];
        if (device.empty() || route.out == device) return &route;
      }
    }
    return nullptr;
  }
};

void Topology::BuildIndex() { index_ = MakeIndex(); }

const Topology::Index& Topology::UseIndex(
    std::shared_ptr<const Index>* temporary) const {
  if (index_ != nullptr) return *index_;
  *temporary = MakeIndex();
  return **temporary;
}

std::shared_ptr<const Topology::Index> Topology::MakeIndex() const {
  auto index = std::make_shared<Index>();
  for (uint32_t i = 0; i < devices.size(); ++i) {
    for (const Prefix& prefix : devices[i].addresses) {
      index->local.try_emplace(prefix.address, Index::Local{false, i});
      if (family == Family::kIpv6) {
        index->groups.emplace_back(devices[i].name,
                                   SolicitedNode(prefix.address));
      } else if (prefix.bits < 31) {
        Address broadcast = prefix.address;
        for (uint8_t bit = prefix.bits; bit < 32; ++bit) {
          broadcast[bit / 8] |= static_cast<uint8_t>(0x80 >> (bit % 8));
        }
        index->local.try_emplace(broadcast, Index::Local{true, i});
      }
    }
  }
  for (uint32_t i = 0; i < routes.size(); ++i) {
    const Route& route = routes[i];
    if (route.broadcast) {
      const Device* device = FindDevice(route.out);
      const auto number =
          device != nullptr ? device - devices.data() : std::ssize(devices);
      index->local.try_emplace(
          route.destination.address,
          Index::Local{true, static_cast<uint32_t>(number)});
      continue;
    }
    if (route.local && IsMulticast(family, route.destination.address)) {
      index->groups.emplace_back(route.in, route.destination.address);
      continue;
    }
    auto by_in = std::find_if(index->by_in.begin(), index->by_in.end(),
                              [&](auto& e) { return e.first == route.in; });
    if (by_in == index->by_in.end()) {
      by_in = index->by_in.insert(by_in, {route.in, {}});
    }
    auto& levels = by_in->second;
    const uint8_t bits = route.destination.bits;
    auto level = std::find_if(levels.begin(), levels.end(),
                              [&](auto& l) { return l.bits <= bits; });
    if (level == levels.end() || level->bits != bits) {
      level = levels.insert(level, {bits, {}});
    }
    level->routes.try_emplace(Masked(route.destination.address, bits), i);
  }
  return index;
}

AddressType Topology::TypeOf(const Address& address,
                             std::string_view device) const {
  if (family == Family::kIpv4) {
    if (IsV4ZeroNet(address) || IsV4LimitedBroadcast(address)) {
      return AddressType::kBroadcast;
    }
    if (IsV4Multicast(address)) return AddressType::kMulticast;
    if (IsV4Loopback(address)) {
      if (!device.empty() && device != "lo") return AddressType::kUnicast;
      return address[1] == 255 && address[2] == 255 && address[3] == 255
                 ? AddressType::kBroadcast
                 : AddressType::kLocal;
    }
  } else {
    if (IsZero(address)) return AddressType::kUnspecified;
    if (IsV6Multicast(address)) return AddressType::kMulticast;
    if (IsV6Loopback(address)) {
      return device.empty() || device == "lo" ? AddressType::kLocal
                                              : AddressType::kUnicast;
    }
  }
  std::shared_ptr<const Index> temporary;
  const Index& index = UseIndex(&temporary);
  const auto it = index.local.find(address);
  if (it == index.local.end()) return AddressType::kUnicast;
  if (!device.empty() && index.DeviceOf(*this, it->second) != device) {
    return AddressType::kUnicast;
  }
  return it->second.broadcast ? AddressType::kBroadcast : AddressType::kLocal;
}

bool Topology::IsLocal(const Address& address) const {
  return TypeOf(address) == AddressType::kLocal;
}

const Device* Topology::FindDevice(std::string_view name) const {
  const auto it = std::find_if(devices.begin(), devices.end(),
                               [&](const Device& d) { return d.name == name; });
  return it == devices.end() ? nullptr : &*it;
}

std::string_view Topology::OwnerOf(const Address& address) const {
  if (IsLoopback(family, address)) return "lo";
  std::shared_ptr<const Index> temporary;
  const Index& index = UseIndex(&temporary);
  const auto it = index.local.find(address);
  if (it == index.local.end() || it->second.broadcast) return {};
  return index.DeviceOf(*this, it->second);
}

bool Topology::HasLinkLayer(std::string_view device) const {
  const Device* found = FindDevice(device);
  return found != nullptr && found->link_layer;
}

std::optional<Address> Topology::PrimaryAddress(std::string_view device) const {
  if (device == "lo") {
    Address loopback{};
    if (family == Family::kIpv4) {
      loopback = {127, 0, 0, 1};
    } else {
      loopback[15] = 1;
    }
    return loopback;
  }
  const Device* found = FindDevice(device);
  if (found == nullptr || found->addresses.empty()) return std::nullopt;
  const std::vector<Prefix>& own = found->addresses;
  if (family == Family::kIpv4) return own.front().address;
  // ipv6_link_dev_addr(): wide scopes first, the last added first.
  return std::max_element(own.rbegin(), own.rend(),
                          [](const Prefix& a, const Prefix& b) {
                            return V6Scope(a.address) < V6Scope(b.address);
                          })
      ->address;
}

std::optional<Address> Topology::RedirectAddress(
    std::string_view device, const Address& destination) const {
  const auto widest = PrimaryAddress(device);
  const int scope = family == Family::kIpv6 ? V6Scope(destination) : kV6Global;
  if (device == "lo" || scope == kV6Global || !widest) return widest;
  const std::vector<Prefix>& addresses = FindDevice(device)->addresses;
  const auto own = std::find_if(
      addresses.rbegin(), addresses.rend(),
      [&](const Prefix& a) { return V6Scope(a.address) == scope; });
  if (own == addresses.rend()) return std::nullopt;
  return own->address;
}

namespace {

int CommonBits(const Address& a, const Address& b) {
  int bits = 0;
  while (bits < 128 &&
         (((a[bits / 8] ^ b[bits / 8]) >> (7 - bits % 8)) & 1) == 0) {
    ++bits;
  }
  return bits;
}

}  // namespace

std::optional<Address> Topology::SourceFor(std::string_view device,
                                           const Address& destination) const {
  // lo has no address of a scope to send from; the kernel then takes any
  // device's, in the order of their creation.
  const bool any = device == "lo";
  if (family == Family::kIpv4) {
    for (const Device& candidate : devices) {
      if (!any && candidate.name != device) continue;
      for (const Prefix& own : candidate.addresses) {
        if (!any && Contains(own, destination)) return own.address;
      }
      if (!candidate.addresses.empty()) {
        return candidate.addresses.front().address;
      }
    }
    return std::nullopt;
  }
  // ipv6_dev_get_saddr(): RFC 6724 as far as it can tell our addresses apart.
  // Only to its own link a device must send from an address of its own.
  const int wanted = V6Scope(destination);
  const bool own_only = wanted <= 2 || IsV6Multicast(destination);
  if (any && own_only) return PrimaryAddress("lo");
  struct Candidate {
    const Prefix* prefix;
    bool on_device;
  };
  const auto better = [&](const Candidate& a, const Candidate& b) {
    const Address& first = a.prefix->address;
    const Address& second = b.prefix->address;
    if ((first == destination) != (second == destination)) {
      return first == destination;
    }
    const int scope_a = V6Scope(first), scope_b = V6Scope(second);
    if (scope_a != scope_b) {
      return scope_a < scope_b ? scope_a >= wanted : scope_b < wanted;
    }
    if (a.on_device != b.on_device) return a.on_device;
    const bool label_a = V6Label(first) == V6Label(destination);
    const bool label_b = V6Label(second) == V6Label(destination);
    if (label_a != label_b) return label_a;
    return std::min<int>(a.prefix->bits, CommonBits(first, destination)) >
           std::min<int>(b.prefix->bits, CommonBits(second, destination));
  };
  std::optional<Candidate> best;
  for (const Device& device_of : devices) {
    const bool on_device = device_of.name == device;
    if (own_only && !on_device) continue;
    // ipv6_link_dev_addr() puts a new address ahead of those of its scope, so
    // of equals the last one added is met first.
    for (auto own = device_of.addresses.rbegin();
         own != device_of.addresses.rend(); ++own) {
      const Candidate candidate{&*own, on_device};
      if (!best || better(candidate, *best)) best = candidate;
    }
  }
  if (!best) return std::nullopt;
  return best->prefix->address;
}

bool Topology::IsMember(std::string_view device, const Address& group) const {
  if (IsStandardGroup(family, group)) return true;
  std::shared_ptr<const Index> temporary;
  const Index& index = UseIndex(&temporary);
  return std::any_of(
      index.groups.begin(), index.groups.end(), [&](const auto& member) {
        return std::get<1>(member) == group &&
               (std::get<0>(member) == device || std::get<0>(member) == "*");
      });
}

RouteDecision Topology::FindRoute(std::string_view in, const Address& src,
                                  const Address& dst) const {
  std::shared_ptr<const Index> temporary;
  const Index& index = UseIndex(&temporary);
  RouteDecision decision;
  const bool arriving = !in.empty();
  const bool v4 = family == Family::kIpv4;
  const RouteDecision here{.ok = true, .local = true, .out = "lo"};

  // What no route can change.
  if (v4 && arriving) {
    if (IsV4Multicast(dst)) {
      // ip_route_input_rcu(), ip_mc_validate_source().
      if (IsV4Multicast(src) || IsV4LimitedBroadcast(src) ||
          IsV4Loopback(src) || (IsV4ZeroNet(src) && !IsV4LocalMulticast(dst))) {
        return decision;
      }
    } else {
      if (IsV4Multicast(src) || IsV4LimitedBroadcast(src)) return decision;
      if (IsV4LimitedBroadcast(dst) || (IsZero(src) && IsZero(dst))) {
        decision = here;
        decision.broadcast = true;
        return decision;
      }
      if (IsV4ZeroNet(src) || IsV4ZeroNet(dst) || IsV4Loopback(dst) ||
          IsV4Loopback(src)) {
        return decision;
      }
    }
  }
  if (v4 && !arriving && (IsZero(dst) || IsV4Loopback(dst))) return here;
  if (!v4 && IsV6Loopback(dst) && (!arriving || in == "lo")) return here;
  if (arriving && IsMulticast(family, dst)) {
    if (!IsMember(in, dst)) return decision;
    decision = here;
    decision.multicast = true;
    return decision;
  }

  // rt6_need_strict(): what comes for a link-local address stays on its link,
  // and so does what a rule has sent to ::1, which is on lo alone.
  const bool strict =
      !v4 && arriving && (IsIpv6LinkLocal(dst) || IsV6Loopback(dst));
  const auto local = index.local.find(dst);
  const bool elsewhere = strict && local != index.local.end() &&
                         index.DeviceOf(*this, local->second) != in;
  if (!elsewhere && local != index.local.end() &&
      !(local->second.broadcast && !arriving)) {
    decision = here;
    decision.broadcast = local->second.broadcast;
    return decision;
  }
  if (!elsewhere && local != index.local.end()) {
    decision.out = index.DeviceOf(*this, local->second);
    decision.ok = !decision.out.empty();
    return decision;
  }
  // "iif lo" stands for both: what this host sends and what comes over lo.
  const Route* route = index.Find(*this, in == "lo" ? std::string_view() : in,
                                  dst, strict ? in : std::string_view());
  // __mkroute_output(): a loopback source stays on lo.
  if (route == nullptr ||
      (!route->local && v4 && !arriving && IsV4Loopback(src))) {
    return decision;
  }
  if (route->local) return here;
  decision.ok = true;
  decision.out = route->out;
  return decision;
}

RouteDecision Topology::FindRouteAgain(std::string_view device,
                                       const Address& src,
                                       const Address& dst) const {
  std::shared_ptr<const Index> temporary;
  const Index& index = UseIndex(&temporary);
  if (family == Family::kIpv6) {
    if (!IsIpv6LinkLocal(dst) && !IsV6Multicast(dst)) {
      return FindRoute("", src, dst);
    }
    if (device != "lo" && IsV6Multicast(dst)) {
      return {.ok = true, .out = device};
    }
    // To its link alone: an address of this host is on its device, not on lo,
    // and on another link some neighbour's.
    if (!device.empty() && OwnerOf(dst) == device) {
      return {.ok = true, .local = true, .out = "lo"};
    }
    const Route* route = index.Find(*this, {}, dst, device);
    if (route == nullptr) return {};
    return {.ok = true, .local = route->local, .out = route->out};
  }
  // A source that could not be an address is left open.
  const AddressType type = TypeOf(src);
  const bool kept =
      type == AddressType::kLocal || type == AddressType::kUnicast;
  if (!kept || !(IsV4Multicast(dst) || IsV4LimitedBroadcast(dst))) {
    return FindRoute("", kept ? src : Address{}, dst);
  }
  // ip_route_output_key_hash_rcu(): to many by the device of the source.
  const std::string_view owner = OwnerOf(src);
  return {.ok = !owner.empty(), .out = owner};
}

namespace {

/// Collects what packets and rules say and settles it.
class TopologyBuilder {
 public:
  TopologyBuilder(const Ruleset& ruleset, std::span<const Packet> packets)
      : ruleset_(ruleset), packets_(packets), family_(ruleset.family) {}

  Result<Topology> Build() {
    topology_.family = family_;
    RETURN_IF_ERROR(AddDevices());
    RETURN_IF_ERROR(CollectWishes());
    AddAddresses();
    AddRuleNetworks();
    AddRoutes();
    topology_.BuildIndex();
    return std::move(topology_);
  }

 private:
  /// Where one packet wants (in, destination) to go.
  struct Wish {
    bool local = false;
    std::string out;
    uint32_t line = 0;
  };

  static std::string_view InOf(const Packet& packet) {
    return packet.in == "lo" ? std::string_view() : packet.in;
  }

  bool ReadAddresses(const Packet& packet, Address* src, Address* dst) const {
    *src = *dst = {};
    const bool v4 = packet.family == Family::kIpv4;
    if (packet.family != family_ || packet.bytes.size() < (v4 ? 20u : 40u)) {
      return false;
    }
    const size_t size = v4 ? 4 : 16;
    std::copy_n(&packet.bytes[v4 ? 12 : 8], size, src->begin());
    std::copy_n(&packet.bytes[v4 ? 16 : 24], size, dst->begin());
    return true;
  }

  Status AddDevice(std::string_view name, uint32_t line) {
    if (name.empty() || name == "lo") return {};
    if (name.size() > 15) {
      return Fail(ErrorCode::kRange, "a device name has at most 15 bytes",
                  {.line = line, .text = std::string(name)});
    }
    if (names_.emplace(name).second) {
      topology_.devices.push_back(
          {.name = std::string(name), .addresses = {}, .link_layer = false});
    }
    return {};
  }

  Status AddDevices() {
    for (const Packet& packet : packets_) {
      RETURN_IF_ERROR(AddDevice(packet.in, packet.line));
      RETURN_IF_ERROR(AddDevice(packet.out, packet.line));
      if (packet.mac_src || packet.mac_dst) {
        Device* device = topology_.FindDevice(packet.in);
        if (device != nullptr) device->link_layer = true;
      }
    }
    // Exact names first, so that "eth+" sees them all.
    std::vector<std::string> prefixes;
    for (const Table& table : ruleset_.tables) {
      for (const Chain& chain : table.chains) {
        for (const Rule& rule : chain.rules) {
          for (const InterfaceTest* test :
               {&rule.selector.in, &rule.selector.out}) {
            if (test->any()) continue;
            std::string name = test->ToString();
            if (!name.empty() && name.back() == '+') {
              name.pop_back();
              prefixes.push_back(std::move(name));
            } else {
              RETURN_IF_ERROR(AddDevice(name, rule.line));
            }
          }
        }
      }
    }
    for (const std::string& prefix : prefixes) {
      const bool known =
          std::any_of(names_.begin(), names_.end(), [&](const auto& name) {
            return std::string_view(name).starts_with(prefix);
          });
      if (!known && prefix.size() < 15 && prefix != "lo") {
        RETURN_IF_ERROR(AddDevice(prefix + "0", 0));
      }
    }
    if (topology_.devices.empty()) RETURN_IF_ERROR(AddDevice("eth0", 0));
    return {};
  }

  Status CollectWishes() {
    for (const Packet& packet : packets_) {
      Address src, dst;
      if (!ReadAddresses(packet, &src, &dst)) continue;
      const std::string in(InOf(packet));
      const bool here = packet.in == "lo" || packet.out == "lo" ||
                        (!in.empty() && packet.out.empty());
      if (!here && !packet.out.empty()) ++leaving_[packet.out];
      const bool to_broadcast =
          packet.mac_dst &&
          *packet.mac_dst ==
              std::array<uint8_t, 6>{0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
      if (IsMulticast(family_, dst)) {
        if (here && !in.empty()) groups_.emplace(in, dst);
        if (in.empty() && !here) {
          RETURN_IF_ERROR(AddWish(in, dst, {false, packet.out, packet.line}));
        }
      } else if (IsPlainUnicast(family_, dst)) {
        if (here && !in.empty() && to_broadcast && family_ == Family::kIpv4) {
          broadcasts_.emplace(dst, in);
        } else if (!in.empty() || !packet.out.empty()) {
          RETURN_IF_ERROR(
              AddWish(in, dst, {here, here ? "" : packet.out, packet.line}));
          if (!here) SoftRoute(dst, packet.out);
          if (here) AddOwner(dst, in);
        }
      } else if (family_ == Family::kIpv4 && IsV4LimitedBroadcast(dst) &&
                 in.empty() && !here) {
        RETURN_IF_ERROR(AddWish(in, dst, {false, packet.out, packet.line}));
      }
      if (IsPlainUnicast(family_, src)) {
        if (in.empty()) {
          AddOwner(src, packet.out == "lo" ? "" : packet.out);
        } else {
          SoftRoute(src, in);
        }
      }
    }
    return {};
  }

  Status AddWish(const std::string& in, const Address& dst, Wish wish) {
    const auto [it, fresh] = wishes_.try_emplace({in, dst}, wish);
    if (!fresh &&
        (it->second.local != wish.local || it->second.out != wish.out)) {
      const auto where = [](const Wish& w) {
        return w.local ? std::string("this host") : "OUT=" + w.out;
      };
      return Fail(
          ErrorCode::kConflict,
          fmt::format("IN={} DST={} goes to {} here and to {} in line {}", in,
                      AddressText(family_, dst), where(wish), where(it->second),
                      it->second.line),
          {.line = wish.line});
    }
    return {};
  }

  void AddOwner(const Address& address, const std::string& device) {
    if (owners_.try_emplace(address, device).second) {
      owner_order_.push_back(address);
    }
  }

  void SoftRoute(const Address& address, const std::string& device) {
    if (behind_.try_emplace(address, device).second) {
      behind_order_.push_back(address);
    }
  }

  void AddAddresses() {
    // An address that some packet wants to pass through this host, or that is
    // a neighbour, cannot be the host's own.
    std::set<Address> foreign;
    for (const auto& [key, wish] : wishes_) {
      if (!wish.local) foreign.insert(key.second);
    }
    for (const auto& [address, device] : broadcasts_) foreign.insert(address);
    for (const Address& address : owner_order_) {
      if (foreign.contains(address)) continue;
      const std::string& name = owners_[address];
      Device* device = name.empty() ? &topology_.devices.front()
                                    : topology_.FindDevice(name);
      if (device == nullptr) continue;
      device->addresses.push_back({address, HostBits(family_)});
      local_.insert(address);
    }
    uint32_t number = 0;
    for (Device& device : topology_.devices) {
      if (!device.addresses.empty()) continue;
      Address own;
      do {
        own = OwnAddress(++number);
      } while (foreign.contains(own) || behind_.contains(own) ||
               local_.contains(own));
      const auto bits =
          static_cast<uint8_t>(family_ == Family::kIpv4 ? 24 : 64);
      device.addresses.push_back({own, bits});
      local_.insert(own);
    }
  }

  /// The benchmarking networks of RFC 2544 and RFC 5180: nobody's real ones.
  Address OwnAddress(uint32_t number) const {
    if (family_ == Family::kIpv4) {
      return {198, static_cast<uint8_t>(18 + number / 256 % 2),
              static_cast<uint8_t>(number), 1};
    }
    Address address{0x20, 0x01, 0x00, 0x02};
    StoreBe16(&address[6], static_cast<uint16_t>(number));
    address[15] = 1;
    return address;
  }

  void AddRuleNetworks() {
    const uint8_t host_bits = HostBits(family_);
    for (const Table& table : ruleset_.tables) {
      for (const Chain& chain : table.chains) {
        for (const Rule& rule : chain.rules) {
          const Selector& s = rule.selector;
          AddRuleNetwork(s.src, s.src_mask, s.in,
                         s.inverted & (kInvertSrc | kInvertIn), host_bits);
          AddRuleNetwork(s.dst, s.dst_mask, s.out,
                         s.inverted & (kInvertDst | kInvertOut), host_bits);
        }
      }
    }
  }

  void AddRuleNetwork(const Address& network, const Address& mask,
                      const InterfaceTest& device, int inverted,
                      uint8_t host_bits) {
    if (inverted != 0 || device.any()) return;
    const std::string name = device.ToString();
    if (name.empty() || name.back() == '+' || name == "lo") return;
    uint8_t bits = 0;
    while (bits < host_bits && (mask[bits / 8] & (0x80 >> (bits % 8))) != 0) {
      ++bits;
    }
    // A network mask with holes is no route.
    Address full{};
    full.fill(0xff);
    if (bits == 0 || Masked(full, bits) != mask) return;
    if (!IsPlainUnicast(family_, network)) return;
    // What a large ruleset says about single hosts is no map of a network.
    if (networks_.size() < kMaxNetworks) {
      networks_.try_emplace({Masked(network, bits), bits}, name);
    }
  }

  void AddRoutes() {
    const uint8_t host_bits = HostBits(family_);
    for (const auto& [address, device] : broadcasts_) {
      topology_.routes.push_back({.in = "*",
                                  .destination = {address, 32},
                                  .local = true,
                                  .broadcast = true,
                                  .out = device});
    }
    for (const auto& [device, group] : groups_) {
      if (IsStandardGroup(family_, group)) continue;
      topology_.routes.push_back({.in = device,
                                  .destination = {group, host_bits},
                                  .local = true,
                                  .broadcast = false,
                                  .out = ""});
    }
    const std::string fallback = DefaultDevice();
    std::map<Address, std::string> shared;  // "*" host routes made
    for (const Address& address : behind_order_) {
      const std::string& device = behind_[address];
      if (local_.contains(address) || broadcasts_.contains(address)) continue;
      shared.emplace(address, device);
      if (SharedDevice(address, fallback) == device) continue;
      AddRoute("*", {address, host_bits}, device);
    }
    for (const auto& [prefix, device] : networks_) {
      // A packet says more of a single host than a rule.
      const auto host = shared.find(prefix.address);
      if (prefix.bits == host_bits && host != shared.end() &&
          host->second != device) {
        continue;
      }
      AddRoute("*", prefix, device);
    }
    for (const auto& [key, wish] : wishes_) {
      const auto& [in, dst] = key;
      if (local_.contains(dst)) continue;
      const auto it = shared.find(dst);
      const std::string now =
          it != shared.end() ? it->second : SharedDevice(dst, fallback);
      if (!wish.local && wish.out == now) continue;
      topology_.routes.push_back({.in = in,
                                  .destination = {dst, host_bits},
                                  .local = wish.local,
                                  .broadcast = false,
                                  .out = wish.out});
    }
    AddRoute("*", {}, fallback);
  }

  /// Where the networks and the default of "*" send an address.
  std::string SharedDevice(const Address& address,
                           const std::string& fallback) const {
    const Prefix* best = nullptr;
    std::string device = fallback;
    for (const auto& [prefix, name] : networks_) {
      if (!Contains(prefix, address)) continue;
      if (best != nullptr && best->bits >= prefix.bits) continue;
      best = &prefix;
      device = name;
    }
    return device;
  }

  void AddRoute(std::string in, Prefix destination, std::string out) {
    topology_.routes.push_back({.in = std::move(in),
                                .destination = destination,
                                .local = false,
                                .broadcast = false,
                                .out = std::move(out)});
  }

  std::string DefaultDevice() const {
    const Device* best = nullptr;
    uint32_t count = 0;
    for (const Device& device : topology_.devices) {
      const auto it = leaving_.find(device.name);
      if (it != leaving_.end() && it->second > count) {
        count = it->second;
        best = &device;
      }
    }
    if (best != nullptr) return best->name;
    for (const Table& table : ruleset_.tables) {
      for (const Chain& chain : table.chains) {
        for (const Rule& rule : chain.rules) {
          const std::string name = rule.selector.out.ToString();
          if (!name.empty() && name != "lo" && names_.contains(name)) {
            return name;
          }
        }
      }
    }
    return topology_.devices.back().name;
  }

  static constexpr size_t kMaxNetworks = 256;

  const Ruleset& ruleset_;
  std::span<const Packet> packets_;
  Family family_;
  Topology topology_;
  std::set<std::string> names_;
  std::map<std::pair<std::string, Address>, Wish> wishes_;
  std::map<Address, std::string> owners_;  // local address -> device
  std::vector<Address> owner_order_;
  std::map<Address, std::string> behind_;  // neighbour -> device
  std::vector<Address> behind_order_;
  std::map<Address, std::string> broadcasts_;
  std::set<std::pair<std::string, Address>> groups_;
  std::map<Prefix, std::string> networks_;
  std::map<std::string, uint32_t> leaving_;
  std::set<Address> local_;
};

}  // namespace

Result<Topology> Topology::For(const Ruleset& ruleset,
                               std::span<const Packet> packets) {
  return TopologyBuilder(ruleset, packets).Build();
}

}  // namespace nfarena
