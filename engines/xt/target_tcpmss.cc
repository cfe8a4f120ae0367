// TCPMSS: lowers, or adds, the maximum segment size of a SYN.
// Source: net/netfilter/xt_TCPMSS.c.

#include <algorithm>
#include <array>
#include <cerrno>

#include "engines/core/checksum.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/tcp_options.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr size_t kTcpHeaderMaxBytes = 60;
constexpr size_t kTcpChecksumOffset = 16;
constexpr uint8_t kOptionNop = 1;
constexpr uint8_t kTcpSyn = 0x02;

/// The MTU of every device but lo: what a TUN or Ethernet device has.
constexpr uint32_t kDeviceMtu = 1500;

/// dst_mtu() of a route by that device; IPv4 stays below 65,536.
uint32_t MtuOf(const PacketState& packet, std::string_view device) {
  if (device != "lo" && !device.empty()) return kDeviceMtu;
  return IsIpv4(packet) ? 65535 : 65536;
}

/// tcpmss_reverse_mtu(): the MTU of this host's own way back to the sender.
uint32_t ReverseMtu(const PacketState& packet) {
  if (packet.topology == nullptr) return kDeviceMtu;
  const Address source = SourceOf(packet);
  if (packet.topology->IsLocal(source)) return MtuOf(packet, "lo");
  const RouteDecision route = packet.topology->FindRoute("", Address{}, source);
  if (!route.ok) return ~0u;
  return MtuOf(packet, route.local ? "lo" : route.out);
}

uint16_t ClampedMss(const PacketState& packet) {
  const uint32_t mtu =
      std::min(MtuOf(packet, DeviceName(packet.out)), ReverseMtu(packet));
  const size_t headers = (IsIpv4(packet) ? 20 : 40) + kTcpHeaderBytes;
  return static_cast<uint16_t>(mtu - headers);
}

size_t OptionStep(const uint8_t* tcp, size_t at) {
  if (tcp[at] <= kOptionNop || tcp[at + 1] == 0) return 1;
  return tcp[at + 1];
}

/// inet_proto_csum_replace2(): folds as the 32-bit form does.
void ReplaceWord(uint8_t* check, uint16_t from, uint16_t to) {
  StoreRaw16(check, ChecksumReplace4(LoadRaw16(check), from, to));
}

uint16_t ToRaw16(size_t host) { return htons(static_cast<uint16_t>(host)); }

/// Puts an MSS option in front of the others and grows the packet.
void InsertMss(PacketState* packet, uint16_t mss) {
  const size_t tcp_at = packet->headers.transport;
  const size_t old_bytes = packet->bytes.size() - tcp_at;
  const std::array<uint8_t, kTcpOptionMssBytes> option = {
      kTcpOptionMss, kTcpOptionMssBytes, static_cast<uint8_t>(mss >> 8),
      static_cast<uint8_t>(mss)};
  packet->bytes.insert(
      packet->bytes.begin() + static_cast<long>(tcp_at + kTcpHeaderBytes),
      option.begin(), option.end());

  uint8_t* ip = packet->bytes.data();
  uint8_t* tcp = ip + tcp_at;
  uint8_t* check = tcp + kTcpChecksumOffset;
  ReplaceWord(check, ToRaw16(old_bytes),
              ToRaw16(old_bytes + kTcpOptionMssBytes));
  StoreRaw16(check,
             ChecksumReplace4(LoadRaw16(check), 0, LoadRaw32(option.data())));
  const uint16_t old_word = LoadRaw16(tcp + 12);
  tcp[12] = static_cast<uint8_t>(tcp[12] + (kTcpOptionMssBytes / 4 << 4));
  ReplaceWord(check, old_word, LoadRaw16(tcp + 12));

  if (packet->family == Family::kIpv4) {
    const uint16_t old_length = LoadRaw16(ip + 2);
    StoreBe16(ip + 2,
              static_cast<uint16_t>(LoadBe16(ip + 2) + kTcpOptionMssBytes));
    StoreRaw16(ip + 10, ChecksumReplace2(LoadRaw16(ip + 10), old_length,
                                         LoadRaw16(ip + 2)));
  } else {
    StoreBe16(ip + 4,
              static_cast<uint16_t>(LoadBe16(ip + 4) + kTcpOptionMssBytes));
  }
  ParseHeaders(packet);
}

}  // namespace

XtTargetResult TargetTcpmss(const uint8_t* payload, const XtContext& context) {
  constexpr XtTargetResult kDropped{XtVerdict::kDrop, 0};
  PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return {};
  const size_t tcp_at = packet.headers.transport;
  if (HeaderAt(packet, tcp_at, kTcpHeaderBytes) == nullptr) return kDropped;
  uint8_t* tcp = packet.bytes.data() + tcp_at;
  const size_t tcp_bytes = packet.bytes.size() - tcp_at;
  const size_t header_bytes = static_cast<size_t>(tcp[12] >> 4) * 4;
  if (tcp_bytes < header_bytes || header_bytes < kTcpHeaderBytes) {
    return kDropped;
  }
  uint16_t mss = LOAD_FIELD(payload, xt_tcpmss_info, mss);
  if (mss == XT_TCPMSS_CLAMP_PMTU) mss = ClampedMss(packet);

  for (size_t i = kTcpHeaderBytes; i + kTcpOptionMssBytes <= header_bytes;
       i += OptionStep(tcp, i)) {
    if (tcp[i] != kTcpOptionMss || tcp[i + 1] != kTcpOptionMssBytes) continue;
    const uint16_t old = LoadBe16(tcp + i + 2);
    if (old <= mss) return {};  // it is never raised
    StoreBe16(tcp + i + 2, mss);
    ReplaceWord(tcp + kTcpChecksumOffset, htons(old), htons(mss));
    return {};
  }
  // With data behind the header there is no room for an option.
  if (tcp_bytes > header_bytes || header_bytes >= kTcpHeaderMaxBytes) {
    return {};
  }
  // A sender that names no size must be taken to have the least one.
  InsertMss(&packet, std::min<uint16_t>(mss, IsIpv4(packet) ? 536 : 1220));
  return {};
}

Status CheckTcpmss(std::span<const uint8_t> payload, const XtUse& use) {
  constexpr unsigned kOutgoing =
      1 << NF_INET_FORWARD | 1 << NF_INET_LOCAL_OUT | 1 << NF_INET_POST_ROUTING;
  if (LOAD_FIELD(payload.data(), xt_tcpmss_info, mss) == XT_TCPMSS_CLAMP_PMTU &&
      (use.hook_mask & ~kOutgoing) != 0) {
    return Refuse(EINVAL,
                  "clamping to the path MTU works in FORWARD, OUTPUT and "
                  "POSTROUTING only");
  }
  if (!use.wants_syn.value_or(true)) {
    return Refuse(EINVAL, "only works on TCP SYN packets");
  }
  return {};
}

}  // namespace nfarena::xt

namespace nfarena {

bool XtWantsSyn(std::string_view name, std::span<const uint8_t> payload) {
  if (name != "tcp" || payload.size() < sizeof(xt_tcp)) return false;
  const auto info = xt::LoadAt<xt_tcp>(payload.data());
  return (info.flg_cmp & xt::kTcpSyn) && !(info.invflags & XT_TCP_INV_FLAGS);
}

}  // namespace nfarena
