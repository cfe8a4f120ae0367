// The part of a rule that lives in its entry: addresses, devices, protocol.
// Source: ip_packet_match() of net/ipv4/netfilter/ip_tables.c and
// ip6_packet_match() of net/ipv6/netfilter/ip6_tables.c.
#include "engines/xt/access.h"

namespace nfarena {
namespace {

bool Inverted(const Selector& selector, InvertBit bit) {
  return (selector.inverted & bit) != 0;
}

/// (value & mask) == want, `Word` at a time.  The wanted side is not masked:
/// a rule with bits outside its mask never matches, as in the kernel.
template <typename Word>
bool MaskedEqual(const void* value, const void* mask, const void* want,
                 size_t size) {
  Word difference = 0;
  for (size_t i = 0; i < size; i += sizeof(Word)) {
    const auto load = [i](const void* from) {
      return xt::LoadAt<Word>(static_cast<const uint8_t*>(from), i);
    };
    difference |= (load(value) & load(mask)) ^ load(want);
  }
  return difference == 0;
}

bool AddressMatches(const PacketState& packet, const uint8_t* address,
                    const Address& mask, const Address& want) {
  return xt::IsIpv4(packet)
             ? MaskedEqual<uint32_t>(address, mask.data(), want.data(), 4)
             : MaskedEqual<uint64_t>(address, mask.data(), want.data(), 16);
}

/// ifname_compare_aligned(): here both sides are masked.
bool DeviceMatches(const std::array<char, 16>& device,
                   const InterfaceTest& test) {
  uint64_t difference = 0;
  for (size_t i = 0; i < 16; i += 8) {
    const auto load = [i](const void* from) {
      return xt::LoadAt<uint64_t>(static_cast<const uint8_t*>(from), i);
    };
    difference |=
        (load(device.data()) ^ load(test.name.data())) & load(test.mask.data());
  }
  return difference == 0;
}

/// False when the rule does not match, or the packet was hotdropped.
bool ProtocolMatches6(const Selector& selector, PacketState& packet) {
  if (selector.protocol == 0) return true;
  if (!packet.headers.transport_ok) {
    packet.hotdrop = true;
    return false;
  }
  return (packet.headers.protocol == selector.protocol) !=
         Inverted(selector, kInvertProtocol);
}

bool ProtocolMatches4(const Selector& selector, const PacketState& packet) {
  if (selector.protocol != 0 && (packet.bytes[9] == selector.protocol) ==
                                    Inverted(selector, kInvertProtocol)) {
    return false;
  }
  const bool misses = selector.fragment && packet.headers.fragment_offset == 0;
  return misses == Inverted(selector, kInvertFragment);
}

}  // namespace

bool MatchSelector(const Selector& selector, PacketState& packet) {
  if (AddressMatches(packet, xt::SourceBytes(packet), selector.src_mask,
                     selector.src) == Inverted(selector, kInvertSrc)) {
    return false;
  }
  if (AddressMatches(packet, xt::DestinationBytes(packet), selector.dst_mask,
                     selector.dst) == Inverted(selector, kInvertDst)) {
    return false;
  }
  if (DeviceMatches(packet.in, selector.in) == Inverted(selector, kInvertIn)) {
    return false;
  }
  if (DeviceMatches(packet.out, selector.out) ==
      Inverted(selector, kInvertOut)) {
    return false;
  }
  return xt::IsIpv4(packet) ? ProtocolMatches4(selector, packet)
                            : ProtocolMatches6(selector, packet);
}

}  // namespace nfarena
