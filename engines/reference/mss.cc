#include "engines/reference/mss.h"

#include <algorithm>
#include <optional>

#include "engines/core/checksum.h"
#include "engines/reference/view.h"

namespace nfarena::reference {
namespace {

constexpr size_t kTcpHeader = 20, kTcpHeaderMax = 60;
constexpr uint8_t kOptionEnd = 0, kOptionNop = 1, kOptionMss = 2;
constexpr size_t kMssBytes = 4;

// MTUs of the devices that topology.h speaks of: TUN and TAP devices at their
// largest, and the loopback device.
constexpr uint32_t kTunMtu = 65535, kTapMtu = 65535 - 14, kLoopbackMtu = 65536,
                   kLargestIpv4 = 65535;

uint32_t MtuOf(const PacketState& packet, std::string_view device) {
  uint32_t mtu = device == "lo" ? kLoopbackMtu : kTunMtu;
  for (const Device& known : packet.topology->devices) {
    if (known.name == device && known.link_layer) mtu = kTapMtu;
  }
  return IsIpv4(packet) ? std::min(mtu, kLargestIpv4) : mtu;
}

/// What fits the way on and the way back to the sender.
uint16_t PathMss(const PacketState& packet) {
  uint32_t mtu = MtuOf(packet, DeviceName(packet.out));
  const RouteDecision back =
      packet.topology->FindRoute("", Address{}, SourceOf(packet));
  if (back.ok) {
    mtu = std::min(mtu, MtuOf(packet, back.local ? "lo" : back.out));
  }
  return static_cast<uint16_t>(mtu - (IsIpv4(packet) ? 20 : 40) - kTcpHeader);
}

/// One step over the options; those without a length count one byte.
size_t OptionBytes(std::span<const uint8_t> tcp, size_t at) {
  if (tcp[at] == kOptionEnd || tcp[at] == kOptionNop || tcp[at + 1] == 0) {
    return 1;
  }
  return tcp[at + 1];
}

/// Where the option's value is, if there is one.
std::optional<size_t> FindMss(std::span<const uint8_t> tcp,
                              size_t header_bytes) {
  for (size_t at = kTcpHeader; at + kMssBytes <= header_bytes;
       at += OptionBytes(tcp, at)) {
    if (tcp[at] == kOptionMss && tcp[at + 1] == kMssBytes) return at + 2;
  }
  return std::nullopt;
}

/// The checksum follows each change by its difference, so that a wrong one
/// stays wrong.
void Adjust(std::span<uint8_t> check, uint32_t from, uint32_t to) {
  StoreRaw16(check.data(), ChecksumReplace4(LoadRaw16(check.data()), from, to));
}

uint16_t Raw16(size_t host) {
  uint8_t bytes[2];
  StoreBe16(bytes, static_cast<uint16_t>(host));
  return LoadRaw16(bytes);
}

void GrowIpLength(PacketState* packet) {
  if (IsIpv4(*packet)) {
    uint8_t* field = &packet->bytes[2];
    uint8_t* check = &packet->bytes[10];
    const uint16_t old = LoadRaw16(field);
    StoreBe16(field, static_cast<uint16_t>(LoadBe16(field) + kMssBytes));
    StoreRaw16(check,
               ChecksumReplace2(LoadRaw16(check), old, LoadRaw16(field)));
  } else {
    uint8_t* field = &packet->bytes[4];
    StoreBe16(field, static_cast<uint16_t>(LoadBe16(field) + kMssBytes));
  }
}

void AddMss(uint16_t mss, PacketState* packet) {
  const size_t start = packet->headers.transport;
  const size_t old_bytes = packet->bytes.size() - start;
  uint8_t option[kMssBytes] = {kOptionMss, kMssBytes};
  StoreBe16(option + 2, mss);
  packet->bytes.insert(
      packet->bytes.begin() + static_cast<std::ptrdiff_t>(start + kTcpHeader),
      std::begin(option), std::end(option));

  const auto tcp = std::span<uint8_t>(packet->bytes).subspan(start);
  const auto check = tcp.subspan(16, 2);
  Adjust(check, Raw16(old_bytes), Raw16(old_bytes + kMssBytes));
  Adjust(check, 0, LoadRaw32(option));
  const uint16_t old_offset_word = LoadRaw16(&tcp[12]);
  tcp[12] = static_cast<uint8_t>(tcp[12] + (kMssBytes / 4 << 4));
  Adjust(check, old_offset_word, LoadRaw16(&tcp[12]));

  GrowIpLength(packet);
  ParseHeaders(packet);
}

}  // namespace

bool SetMss(const TcpmssTarget& tcpmss, PacketState* packet) {
  if (packet->headers.fragment_offset != 0) return true;
  const size_t start = packet->headers.transport;
  if (!Transport(*packet, kTcpHeader)) return false;
  const auto tcp = std::span<uint8_t>(packet->bytes).subspan(start);
  const size_t header_bytes = size_t{4} * (tcp[12] >> 4);
  if (header_bytes < kTcpHeader || header_bytes > tcp.size()) return false;

  const uint16_t mss = tcpmss.clamp_to_pmtu ? PathMss(*packet) : tcpmss.mss;
  if (const auto at = FindMss(tcp, header_bytes)) {
    const uint16_t old = LoadBe16(&tcp[*at]);
    if (old <= mss) return true;
    const uint16_t old_raw = LoadRaw16(&tcp[*at]);
    StoreBe16(&tcp[*at], mss);
    Adjust(tcp.subspan(16, 2), old_raw, LoadRaw16(&tcp[*at]));
    return true;
  }
  // Behind data there is no place for it, nor in a full header.
  if (tcp.size() > header_bytes || header_bytes == kTcpHeaderMax) return true;
  // A sender that says nothing takes the least that every host must take:
  // RFC 9293 section 3.7.1, RFC 8200 section 5.
  const uint16_t silent = IsIpv4(*packet) ? 536 : 1220;
  AddMss(std::min(mss, silent), packet);
  return true;
}

}  // namespace nfarena::reference
