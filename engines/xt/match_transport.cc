// esp, ah (IPv4), sctp, dccp, tcpmss and ecn: upper-layer headers other than
// ports.
// Source: net/netfilter/xt_esp.c, xt_sctp.c, xt_dccp.c, xt_tcpmss.c, xt_ecn.c,
// net/ipv4/netfilter/ipt_ah.c.
#include <array>
#include <cerrno>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/tcp_options.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr size_t kEspHeaderBytes = 8;
constexpr size_t kAhHeaderBytes = 12;
constexpr size_t kSctpHeaderBytes = 12;
constexpr size_t kDccpHeaderBytes = 12;
constexpr size_t kDccpExtendedBytes = 4;  // the long sequence number
enum DccpType : uint8_t {
  kDccpRequest = 0,
  kDccpData = 2,
  kDccpAck = 3,
  kDccpDataAck = 4,
  kDccpCloseRequest = 5,
  kDccpClose = 6,
  kDccpSync = 8,
  kDccpSyncAck = 9,
};
constexpr uint8_t kTcpEce = 0x40, kTcpCwr = 0x80;
constexpr uint8_t kEcnFieldMask = 3;

// esp and ah of IPv4 have one layout: two SPIs and inverse flags.
static_assert(offsetof(xt_esp, invflags) == offsetof(ipt_ah, invflags) &&
              XT_ESP_INV_SPI == IPT_AH_INV_SPI);

bool MatchSpi(const uint8_t* payload, const XtContext& context,
              size_t header_bytes, size_t spi_offset) {
  const PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return false;
  const uint8_t* header =
      HeaderAt(packet, packet.headers.transport, header_bytes);
  if (header == nullptr) return Hotdrop(context);
  const auto info = LoadAt<xt_esp>(payload);
  return InRange(LoadBe32(header + spi_offset), info.spis[0], info.spis[1],
                 info.invflags & XT_ESP_INV_SPI);
}

/// Which of the conditions that a payload asks for is met.
struct Asked {
  uint32_t flags;
  uint32_t inverse;

  bool Holds(uint32_t condition, bool met) const {
    return !(flags & condition) || met != ((inverse & condition) != 0);
  }
};

using ChunkMap = std::array<uint32_t, 8>;

bool IsSet(const ChunkMap& map, uint8_t type) {
  return map[type / 32] >> type % 32 & 1u;
}

/// match_flags(): the first test about this chunk type decides.
bool ChunkFlagsMatch(const xt_sctp_info& info, uint8_t type, uint8_t flags) {
  for (int i = 0; i < info.flag_count; ++i) {
    const xt_sctp_flag_info& test = info.flag_info[i];
    if (test.chunktype == type) return (flags & test.flag_mask) == test.flag;
  }
  return true;
}

/// match_packet(): nullopt when the chunks are broken.
std::optional<bool> ChunksMatch(const xt_sctp_info& info,
                                const PacketState& packet, size_t offset) {
  ChunkMap wanted;
  std::memcpy(wanted.data(), info.chunkmap, sizeof(wanted));
  ChunkMap missing = wanted;
  do {
    const uint8_t* chunk = HeaderAt(packet, offset, 4);
    if (chunk == nullptr || LoadBe16(chunk + 2) == 0) return std::nullopt;
    const uint8_t type = chunk[0], flags = chunk[1];
    offset += (LoadBe16(chunk + 2) + 3u) & ~3u;
    const bool matches =
        IsSet(wanted, type) && ChunkFlagsMatch(info, type, flags);
    switch (info.chunk_match_type) {
      case SCTP_CHUNK_MATCH_ANY:
        if (matches) return true;
        break;
      case SCTP_CHUNK_MATCH_ALL:
        if (matches) missing[type / 32] &= ~(1u << type % 32);
        break;
      case SCTP_CHUNK_MATCH_ONLY:
        if (!matches) return false;
        break;
    }
  } while (offset < packet.bytes.size());
  switch (info.chunk_match_type) {
    case SCTP_CHUNK_MATCH_ALL:
      return missing == ChunkMap{};
    case SCTP_CHUNK_MATCH_ONLY:
      return true;
    default:
      return false;
  }
}

/// dccp_find_option(): nullopt when the header is broken.
std::optional<bool> DccpHasOption(const PacketState& packet,
                                  const uint8_t* dccp, uint8_t option) {
  const bool extended = dccp[8] & 1;
  // The type's own header lies behind the generic one.
  // Source: include/linux/dccp.h, dccp_packet_hdr_len().
  size_t header = kDccpHeaderBytes + (extended ? kDccpExtendedBytes : 0);
  switch (dccp[8] >> 1 & 0x0f) {
    case kDccpData:
      break;
    case kDccpRequest:
      header += 4;
      break;
    case kDccpAck:
    case kDccpDataAck:
    case kDccpCloseRequest:
    case kDccpClose:
    case kDccpSync:
    case kDccpSyncAck:
      header += 8;
      break;
    default:  // response, reset, unknown
      header += 12;
  }
  const size_t total = size_t{dccp[4]} * 4;
  if (total < header) return std::nullopt;
  switch (FindOption(packet, packet.headers.transport + header, total - header,
                     option)) {
    case OptionSearch::kFound:
      return true;
    case OptionSearch::kMissing:
      return false;
    case OptionSearch::kTruncated:
      break;
  }
  return std::nullopt;
}

}  // namespace

bool MatchEsp(const uint8_t* payload, const XtContext& context) {
  return MatchSpi(payload, context, kEspHeaderBytes, 0);
}

bool MatchAh4(const uint8_t* payload, const XtContext& context) {
  return MatchSpi(payload, context, kAhHeaderBytes, 4);
}

Status CheckSpi(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_esp, invflags) & ~XT_ESP_INV_MASK) {
    return Refuse(EINVAL, "unknown inverse flags");
  }
  return {};
}

bool MatchSctp(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return false;
  const size_t at = packet.headers.transport;
  const uint8_t* sctp = HeaderAt(packet, at, kSctpHeaderBytes);
  if (sctp == nullptr) return Hotdrop(context);
  const auto info = LoadAt<xt_sctp_info>(payload);
  const Asked asked{info.flags, info.invflags};
  if (!asked.Holds(XT_SCTP_SRC_PORTS, InRange(LoadBe16(sctp), info.spts[0],
                                              info.spts[1], false)) ||
      !asked.Holds(XT_SCTP_DEST_PORTS, InRange(LoadBe16(sctp + 2), info.dpts[0],
                                               info.dpts[1], false))) {
    return false;
  }
  if (!(info.flags & XT_SCTP_CHUNK_TYPES)) return true;
  const std::optional<bool> chunks =
      ChunksMatch(info, packet, at + kSctpHeaderBytes);
  if (!chunks.has_value()) return Hotdrop(context);
  return asked.Holds(XT_SCTP_CHUNK_TYPES, *chunks);
}

Status CheckSctp(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_sctp_info>(payload.data());
  // The count is signed, and the kernel compares it as unsigned.
  if (static_cast<unsigned>(info.flag_count) > XT_NUM_SCTP_FLAGS) {
    return Refuse(EINVAL, "too many flag tests");
  }
  if ((info.flags | info.invflags) & ~uint32_t{XT_SCTP_VALID_FLAGS} ||
      info.invflags & ~info.flags) {
    return Refuse(EINVAL, "unknown flags");
  }
  constexpr uint32_t kMatchTypes =
      SCTP_CHUNK_MATCH_ALL | SCTP_CHUNK_MATCH_ANY | SCTP_CHUNK_MATCH_ONLY;
  if ((info.flags & XT_SCTP_CHUNK_TYPES) &&
      !(info.chunk_match_type & kMatchTypes)) {
    return Refuse(EINVAL, "unknown kind of chunk test");
  }
  return {};
}

bool MatchDccp(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  if (packet.headers.fragment_offset != 0) return false;
  const uint8_t* dccp =
      HeaderAt(packet, packet.headers.transport, kDccpHeaderBytes);
  if (dccp == nullptr) return Hotdrop(context);
  const auto info = LoadAt<xt_dccp_info>(payload);
  const Asked asked{info.flags, info.invflags};
  const unsigned type = dccp[8] >> 1 & 0x0f;
  if (!asked.Holds(XT_DCCP_SRC_PORTS, InRange(LoadBe16(dccp), info.spts[0],
                                              info.spts[1], false)) ||
      !asked.Holds(XT_DCCP_DEST_PORTS, InRange(LoadBe16(dccp + 2), info.dpts[0],
                                               info.dpts[1], false)) ||
      !asked.Holds(XT_DCCP_TYPE, info.typemask >> type & 1u)) {
    return false;
  }
  if (!(info.flags & XT_DCCP_OPTION)) return true;
  const std::optional<bool> found = DccpHasOption(packet, dccp, info.option);
  if (!found.has_value()) return Hotdrop(context);
  return asked.Holds(XT_DCCP_OPTION, *found);
}

Status CheckDccp(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_dccp_info>(payload.data());
  if ((info.flags | info.invflags) & ~XT_DCCP_VALID_FLAGS ||
      info.invflags & ~info.flags) {
    return Refuse(EINVAL, "unknown flags");
  }
  return {};
}

bool MatchTcpmss(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const size_t at = packet.headers.transport;
  const uint8_t* tcp = HeaderAt(packet, at, kTcpHeaderBytes);
  if (tcp == nullptr) return Hotdrop(context);
  const size_t header_bytes = size_t{tcp[12]} / 16 * 4;
  if (header_bytes < kTcpHeaderBytes) return Hotdrop(context);
  const auto info = LoadAt<xt_tcpmss_match_info>(payload);
  const size_t size = header_bytes - kTcpHeaderBytes;
  if (size == 0) return info.invert;
  const uint8_t* options = HeaderAt(packet, at + kTcpHeaderBytes, size);
  if (options == nullptr) return Hotdrop(context);
  for (size_t i = 0; i < size; i += OptionBytes(options, i, size)) {
    if (options[i] == kTcpOptionMss && size - i >= kTcpOptionMssBytes &&
        options[i + 1] == kTcpOptionMssBytes) {
      return static_cast<bool>(InRange(LoadBe16(options + i + 2), info.mss_min,
                                       info.mss_max, false) ^
                               info.invert);
    }
  }
  return info.invert;
}

bool MatchEcn(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const auto info = LoadAt<xt_ecn_info>(payload);
  const Asked asked{info.operation, info.invert};
  if (!asked.Holds(XT_ECN_OP_MATCH_IP,
                   (DsField(packet) & kEcnFieldMask) == info.ip_ect)) {
    return false;
  }
  if (!(info.operation & (XT_ECN_OP_MATCH_ECE | XT_ECN_OP_MATCH_CWR))) {
    return true;
  }
  const uint8_t* tcp =
      HeaderAt(packet, packet.headers.transport, kTcpHeaderBytes);
  return tcp != nullptr &&
         asked.Holds(XT_ECN_OP_MATCH_ECE, tcp[13] & kTcpEce) &&
         asked.Holds(XT_ECN_OP_MATCH_CWR, tcp[13] & kTcpCwr);
}

Status CheckEcn(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_ecn_info>(payload.data());
  if ((info.operation | info.invert) & XT_ECN_OP_MATCH_MASK) {
    return Refuse(EINVAL, "unknown operation");
  }
  if ((info.operation & (XT_ECN_OP_MATCH_ECE | XT_ECN_OP_MATCH_CWR)) &&
      (use.protocol != IPPROTO_TCP || use.protocol_inverted)) {
    return Refuse(EINVAL, "bits of TCP need -p tcp");
  }
  return {};
}

}  // namespace nfarena::xt
