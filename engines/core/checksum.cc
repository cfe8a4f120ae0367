#include "engines/core/checksum.h"

#include <array>

#include "engines/core/bytes.h"

namespace nfarena {
namespace {

/// csum_add(): 32-bit addition with end-around carry.
uint32_t Add(uint32_t a, uint32_t b) {
  const uint32_t sum = a + b;
  return sum + (sum < b ? 1u : 0u);
}

/// Where a protocol keeps its checksum, from its header; -1 for none.
int ChecksumOffset(Family family, uint8_t protocol) {
  switch (protocol) {
    case 6:
      return 16;
    case 17:
      return 6;
    case 1:
      return family == Family::kIpv4 ? 2 : -1;
    case 58:
      return family == Family::kIpv6 ? 2 : -1;
    default:
      return -1;
  }
}

Address AddressAt(std::span<const uint8_t> packet, size_t offset,
                  size_t length) {
  Address address{};
  std::memcpy(address.data(), packet.data() + offset, length);
  return address;
}

/// The pseudo header sum of a whole packet; 0 for ICMP, which has none.
uint32_t PacketPseudoSum(Family family, std::span<const uint8_t> packet,
                         size_t transport, uint8_t protocol) {
  if (family == Family::kIpv4 && protocol == 1) return 0;
  const auto length = static_cast<uint32_t>(packet.size() - transport);
  if (family == Family::kIpv4) {
    return PseudoHeaderSum(family, AddressAt(packet, 12, 4),
                           AddressAt(packet, 16, 4), protocol, length);
  }
  return PseudoHeaderSum(family, AddressAt(packet, 8, 16),
                         AddressAt(packet, 24, 16), protocol, length);
}

}  // namespace

uint32_t ChecksumPartial(std::span<const uint8_t> data, uint32_t sum) {
  uint64_t total = sum;
  size_t i = 0;
  for (; i + 4 <= data.size(); i += 4) total += LoadRaw32(&data[i]);
  if (i + 2 <= data.size()) {
    total += LoadRaw16(&data[i]);
    i += 2;
  }
  if (i < data.size()) {
    const std::array<uint8_t, 2> last = {data[i], 0};
    total += LoadRaw16(last.data());
  }
  total = (total & 0xffffffffu) + (total >> 32);
  total = (total & 0xffffffffu) + (total >> 32);
  return static_cast<uint32_t>(total);
}

uint16_t ChecksumFold(uint32_t sum) {
  sum = (sum & 0xffff) + (sum >> 16);
  sum = (sum & 0xffff) + (sum >> 16);
  return static_cast<uint16_t>(~sum);
}

uint32_t PseudoHeaderSum(Family family, const Address& src, const Address& dst,
                         uint8_t protocol, uint32_t length) {
  const size_t size = family == Family::kIpv4 ? 4 : 16;
  uint32_t sum = ChecksumPartial({src.data(), size});
  sum = ChecksumPartial({dst.data(), size}, sum);
  std::array<uint8_t, 8> tail{};
  StoreBe32(tail.data(), length);
  tail[7] = protocol;
  return ChecksumPartial(tail, sum);
}

uint16_t ChecksumReplace2(uint16_t check, uint16_t from, uint16_t to) {
  // csum16_add(csum16_sub(~check, from), to), each with end-around carry.
  const auto add16 = [](uint16_t a, uint16_t b) {
    const auto sum = static_cast<uint16_t>(a + b);
    return static_cast<uint16_t>(sum + (sum < b ? 1 : 0));
  };
  const uint16_t without =
      add16(static_cast<uint16_t>(~check), static_cast<uint16_t>(~from));
  return static_cast<uint16_t>(~add16(without, to));
}

uint16_t ChecksumReplace4(uint16_t check, uint32_t from, uint32_t to) {
  const uint32_t without = Add(~static_cast<uint32_t>(check), ~from);
  return ChecksumFold(Add(without, to));
}

uint16_t ChecksumReplace16(uint16_t check, const Address& from,
                           const Address& to) {
  std::array<uint32_t, 8> diff;
  for (size_t i = 0; i < 4; ++i) {
    diff[i] = ~LoadRaw32(&from[i * 4]);
    diff[i + 4] = LoadRaw32(&to[i * 4]);
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(diff.data());
  const uint32_t delta =
      ChecksumPartial({bytes, sizeof(diff)}, ~static_cast<uint32_t>(check));
  return ChecksumFold(delta);
}

void FixIpv4Checksum(std::span<uint8_t> packet) {
  const size_t length = static_cast<size_t>(packet[0] & 0xf) * 4;
  StoreRaw16(&packet[10], 0);
  StoreRaw16(&packet[10],
             ChecksumFold(ChecksumPartial(packet.subspan(0, length))));
}

void FixTransportChecksum(Family family, std::span<uint8_t> packet,
                          size_t transport, uint8_t protocol) {
  const int at = ChecksumOffset(family, protocol);
  if (at < 0 || transport + static_cast<size_t>(at) + 2 > packet.size()) return;
  uint8_t* field = &packet[transport + static_cast<size_t>(at)];
  StoreRaw16(field, 0);
  uint16_t check = ChecksumFold(
      ChecksumPartial(packet.subspan(transport),
                      PacketPseudoSum(family, packet, transport, protocol)));
  // RFC 768: a computed zero is sent as all ones.
  if (protocol == 17 && check == 0) check = 0xffff;
  StoreRaw16(field, check);
}

bool TransportChecksumOk(Family family, std::span<const uint8_t> packet,
                         size_t transport, uint8_t protocol) {
  const int at = ChecksumOffset(family, protocol);
  if (at < 0) return true;
  if (transport + static_cast<size_t>(at) + 2 > packet.size()) return false;
  if (protocol == 17 && LoadRaw16(&packet[transport + 6]) == 0) {
    return family == Family::kIpv4;
  }
  return ChecksumFold(ChecksumPartial(
             packet.subspan(transport),
             PacketPseudoSum(family, packet, transport, protocol))) == 0;
}

}  // namespace nfarena
