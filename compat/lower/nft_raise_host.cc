// Tests of the host's knowledge -> matches: the other way of nft_lower_host.cc,
// and what the tables of family inet need.
#include <arpa/inet.h>
#include <linux/if_ether.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_addrtype.h>

#include <algorithm>
#include <cstring>

#include "compat/lower/nft_host_payloads.h"
#include "compat/lower/nft_raise_match.h"

namespace nfarena::nft {
namespace {

Status RaisePolicy(const Test& test, bool inbound, TestTarget* to) {
  if (!test.equality() || !test.value.plain() || test.from.size != 1 ||
      test.from.bytes[0] > 1) {
    return NoForm();
  }
  const bool none = (test.from.bytes[0] == 0) != test.inverted();
  to->matches.PushCarried(PackPolicy(inbound, none));
  return {};
}

/// In a table of family inet nft tests the family before each address.
Status RaiseFamily(const Test& test, uint16_t number, uint16_t own,
                   uint16_t other) {
  if (!test.equality() || !test.value.plain()) return NoForm();
  if ((number == own && !test.inverted()) ||
      (number == other && test.inverted())) {
    return {};
  }
  return NoForm("it is not about this family");
}

/// The loopback device is number 1 in every namespace; others have no fixed
/// number.
Status RaiseDevice(const Test& test, InvertBit bit, InterfaceTest* device,
                   TestTarget* to) {
  if (!test.equality() || !test.value.plain() || test.from.size != 4 ||
      test.from.host32() != 1 || *device != InterfaceTest{}) {
    return NoForm("a device by its number");
  }
  static constexpr char kLoopback[] = "lo";
  std::memcpy(device->name.data(), kLoopback, sizeof(kLoopback));
  std::fill_n(device->mask.begin(), sizeof(kLoopback), uint8_t{0xff});
  if (test.inverted()) {
    to->selector.inverted = static_cast<uint8_t>(to->selector.inverted | bit);
  }
  return {};
}

/// The shapes that lowering makes of -m addrtype for IPv6.
std::optional<uint16_t> AddressProperty(const Payload& load, const Test& test) {
  if (!test.equality() || !test.value.bitwise || test.value.swapped) {
    return std::nullopt;
  }
  const Bitwise& bitwise = *test.value.bitwise;
  const auto all = [](std::span<const uint8_t> bytes, uint8_t wanted) {
    return std::ranges::all_of(bytes,
                               [wanted](uint8_t b) { return b == wanted; });
  };
  if (bitwise.len != load.len || test.from.size != load.len ||
      !all(bitwise.xor_bits.view(), 0)) {
    return std::nullopt;
  }
  if (load.len == 4 && bitwise.mask == Data::Be32(0xff000000) &&
      test.from == Data::Be32(0xff000000)) {
    return XT_ADDRTYPE_MULTICAST;
  }
  if (load.len == 16 && all(bitwise.mask.view(), 0xff) &&
      all(test.from.view(), 0)) {
    return XT_ADDRTYPE_UNSPEC;
  }
  return std::nullopt;
}

std::optional<Status> RaiseAddressType6(const Payload& load, const Test& test,
                                        TestTarget* to) {
  if (to->family != Family::kIpv6 || load.base != NFT_PAYLOAD_NETWORK_HEADER ||
      (load.offset != 8 && load.offset != 24)) {
    return std::nullopt;
  }
  const auto type = AddressProperty(load, test);
  if (!type) return std::nullopt;
  const bool source = load.offset == 8;
  auto& match =
      to->matches.Join<AddrtypeMatch>([source](const AddrtypeMatch& last) {
        return !source && last.destination_types == 0;
      });
  (source ? match.source_types : match.destination_types) = *type;
  (source ? match.source_inverted : match.destination_inverted) =
      test.inverted();
  return Status{};
}

std::optional<Status> RaiseMeta(const Meta& meta, const Test& test,
                                TestTarget* to) {
  const bool ipv4 = to->family == Family::kIpv4;
  switch (meta.key) {
    case NFT_META_SECPATH:
      return RaisePolicy(test, true, to);
    case NFT_META_NFPROTO:
      if (test.from.size != 1) return NoForm();
      return RaiseFamily(test, test.from.bytes[0],
                         ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6,
                         ipv4 ? NFPROTO_IPV6 : NFPROTO_IPV4);
    case NFT_META_PROTOCOL:
      if (test.from.size != 2) return NoForm();
      return RaiseFamily(test, test.from.be16(), ipv4 ? ETH_P_IP : ETH_P_IPV6,
                         ipv4 ? ETH_P_IPV6 : ETH_P_IP);
    case NFT_META_IIF:
      return RaiseDevice(test, kInvertIn, &to->selector.in, to);
    case NFT_META_OIF:
      return RaiseDevice(test, kInvertOut, &to->selector.out, to);
    default:
      return std::nullopt;
  }
}

/// A connection has one state at a time: in a map, nft compares it.
std::optional<Status> RaiseState(const Ct& ct, const Test& test,
                                 TestTarget* to) {
  const uint32_t state = test.from.host32();
  if (ct.key != NFT_CT_STATE || !test.equality() || !test.value.plain() ||
      test.from.size != 4 || (state & (state - 1)) != 0 || state == 0) {
    return std::nullopt;
  }
  Test any_bit = test;
  any_bit.value.bitwise = Bitwise{4, kReg1, kReg1, test.from, Data::Zero(4)};
  any_bit.from = Data::Zero(4);
  any_bit.relation = test.inverted() ? Relation::kEqual : Relation::kNotEqual;
  return RaiseConntrackTest(ct, any_bit, to);
}

}  // namespace

std::optional<Status> RaiseHostTest(const Test& test, TestTarget* to) {
  if (const auto* meta = std::get_if<Meta>(&test.value.source)) {
    return RaiseMeta(*meta, test, to);
  }
  if (const auto* load = std::get_if<Payload>(&test.value.source)) {
    return RaiseAddressType6(*load, test, to);
  }
  if (const auto* ct = std::get_if<Ct>(&test.value.source)) {
    return RaiseState(*ct, test, to);
  }
  if (const auto* rt = std::get_if<Rt>(&test.value.source)) {
    if (rt->key == NFT_RT_XFRM) return RaisePolicy(test, false, to);
    // nft reads the same number by either expression.
    if (rt->key == NFT_RT_CLASSID) {
      return RaiseMetaTest(Meta{NFT_META_RTCLASSID}, test, to);
    }
  }
  return std::nullopt;
}

}  // namespace nfarena::nft
