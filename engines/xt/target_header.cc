// DSCP, TOS, TTL, HL, ECN and TCPOPTSTRIP: they rewrite fields of headers.
// Source: net/netfilter/xt_DSCP.c, xt_HL.c, xt_TCPOPTSTRIP.c,
// net/ipv4/netfilter/ipt_ECN.c.

#include <algorithm>
#include <cerrno>

#include "engines/core/checksum.h"
#include "engines/core/rewrite.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/tcp_options.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr uint8_t kEcnMask = 3;
constexpr uint8_t kTcpEce = 0x40, kTcpCwr = 0x80;
constexpr size_t kTcpChecksumOffset = 16;

constexpr XtTargetResult kDropped{XtVerdict::kDrop, 0};

/// inet_proto_csum_replace2() on the TCP checksum.
void ReplaceTcpWord(uint8_t* tcp, uint16_t from, uint16_t to) {
  uint8_t* check = tcp + kTcpChecksumOffset;
  StoreRaw16(check, ChecksumReplace4(LoadRaw16(check), from, to));
}

/// set_ect_ip(), which has its own way with the checksum.
void SetEcnOfIp(PacketState* packet, uint8_t ecn) {
  uint8_t* ip = packet->bytes.data();
  const uint8_t old = ip[1];
  if ((old & kEcnMask) == (ecn & kEcnMask)) return;
  ip[1] = static_cast<uint8_t>((old & ~kEcnMask) | (ecn & kEcnMask));
  StoreRaw16(ip + 10,
             ChecksumReplace2(LoadRaw16(ip + 10), htons(old), htons(ip[1])));
}

/// set_ect_tcp(); false: the header is cut off.
bool SetEcnOfTcp(PacketState* packet, const ipt_ECN_info& info) {
  const size_t at = packet->headers.transport;
  if (HeaderAt(*packet, at, kTcpHeaderBytes) == nullptr) return false;
  uint8_t* tcp = packet->bytes.data() + at;
  const uint16_t old_word = LoadRaw16(tcp + 12);
  uint8_t flags = tcp[13];
  if (info.operation & IPT_ECN_OP_SET_ECE) {
    flags = static_cast<uint8_t>((flags & ~kTcpEce) |
                                 (info.proto.tcp.ece ? kTcpEce : 0));
  }
  if (info.operation & IPT_ECN_OP_SET_CWR) {
    flags = static_cast<uint8_t>((flags & ~kTcpCwr) |
                                 (info.proto.tcp.cwr ? kTcpCwr : 0));
  }
  if (flags == tcp[13]) return true;
  tcp[13] = flags;
  ReplaceTcpWord(tcp, old_word, LoadRaw16(tcp + 12));
  return true;
}

}  // namespace

XtTargetResult TargetDscp(const uint8_t* payload, const XtContext& context) {
  const uint8_t dscp = LOAD_FIELD(payload, xt_DSCP_info, dscp);
  if (DsField(*context.packet) >> XT_DSCP_SHIFT != dscp) {
    RewriteTos(context.packet, kEcnMask,
               static_cast<uint8_t>(dscp << XT_DSCP_SHIFT));
  }
  return {};
}

Status CheckDscpTarget(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_DSCP_info, dscp) > XT_DSCP_MAX) {
    return Refuse(EDOM, "DSCP over 63");
  }
  return {};
}

XtTargetResult TargetTos(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_tos_target_info>(payload);
  const uint8_t old = DsField(*context.packet);
  const auto changed =
      static_cast<uint8_t>((old & ~info.tos_mask) ^ info.tos_value);
  if (old != changed) RewriteTos(context.packet, 0, changed);
  return {};
}

XtTargetResult TargetTtl(const uint8_t* payload, const XtContext& context) {
  PacketState& packet = *context.packet;
  const auto info = LoadAt<TtlInfo>(payload);
  const int old = packet.bytes[IsIpv4(packet) ? 8 : 7];
  int changed = old;
  switch (info.mode) {
    case kTtlSet:
      changed = info.value;
      break;
    case kTtlIncrement:
      changed = std::min(old + info.value, 255);
      break;
    case kTtlDecrement:
      changed = std::max(old - info.value, 0);
      break;
  }
  if (changed != old) RewriteTtl(&packet, static_cast<uint8_t>(changed));
  return {};
}

Status CheckTtlTarget(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<TtlInfo>(payload.data());
  if (info.mode > kTtlDecrement) return Refuse(EINVAL, "unknown mode");
  if (info.mode != kTtlSet && info.value == 0) {
    return Refuse(EINVAL, "change by nothing");
  }
  return {};
}

XtTargetResult TargetEcn(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<ipt_ECN_info>(payload);
  PacketState& packet = *context.packet;
  if (info.operation & IPT_ECN_OP_SET_IP) SetEcnOfIp(&packet, info.ip_ect);
  if ((info.operation & (IPT_ECN_OP_SET_ECE | IPT_ECN_OP_SET_CWR)) &&
      packet.bytes[9] == IPPROTO_TCP && !SetEcnOfTcp(&packet, info)) {
    return kDropped;
  }
  return {};
}

Status CheckEcnTarget(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<ipt_ECN_info>(payload.data());
  if (info.operation & IPT_ECN_OP_MASK) {
    return Refuse(EINVAL, "unknown operation");
  }
  if (info.ip_ect & ~kEcnMask) return Refuse(EINVAL, "codepoint over 3");
  if ((info.operation & (IPT_ECN_OP_SET_ECE | IPT_ECN_OP_SET_CWR)) &&
      (use.protocol != IPPROTO_TCP || use.protocol_inverted)) {
    return Refuse(EINVAL, "bits of TCP need -p tcp");
  }
  return {};
}

XtTargetResult TargetTcpoptstrip(const uint8_t* payload,
                                 const XtContext& context) {
  constexpr uint8_t kNop = 1;
  PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return {};
  const size_t at = packet.headers.transport;
  const uint8_t* header = HeaderAt(packet, at, kTcpHeaderBytes);
  if (header == nullptr) return kDropped;
  const size_t header_bytes = size_t{header[12]} / 16 * 4;
  if (header_bytes < kTcpHeaderBytes ||
      HeaderAt(packet, at, header_bytes) == nullptr) {
    return kDropped;
  }
  const auto info = LoadAt<xt_tcpoptstrip_target_info>(payload);
  uint8_t* tcp = packet.bytes.data() + at;
  for (size_t i = kTcpHeaderBytes; i + 1 < header_bytes;) {
    const size_t size = OptionBytes(tcp, i, header_bytes);
    if (i + size > header_bytes) break;
    if (tcpoptstrip_test_bit(info.strip_bmap, tcp[i])) {
      for (size_t j = i; j < i + size; ++j) {
        // The byte as the high or low half of its 16-bit word.
        const unsigned shift = j % 2 == 0 ? 8 : 0;
        ReplaceTcpWord(tcp, htons(static_cast<uint16_t>(tcp[j] << shift)),
                       htons(static_cast<uint16_t>(kNop << shift)));
        tcp[j] = kNop;
      }
    }
    i += size;
  }
  return {};
}

}  // namespace nfarena::xt
