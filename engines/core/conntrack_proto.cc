// The trackers of UDP, UDPLITE, ICMP, ICMPv6, GRE, SCTP and everything else,
// and how a tuple is read and turned round.
// Source: net/netfilter/nf_conntrack_core.c, nf_conntrack_proto_*.c.

#include <algorithm>
#include <array>
#include <optional>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/tracker_impl.h"

namespace nfarena {
namespace {

constexpr uint64_t kSecond = 1000;

/// IPv4: icmp's invmap; 0 stands for "no answer" and is no reply type of any.
std::optional<uint8_t> InverseIcmpType(uint8_t type) {
  switch (type) {
    case 8:
      return 0;
    case 0:
      return 8;
    case 13:
      return 14;
    case 14:
      return 13;
    case 15:
      return 16;
    case 16:
      return 15;
    case 17:
      return 18;
    case 18:
      return 17;
    default:
      return std::nullopt;
  }
}

std::optional<uint8_t> InverseIcmpv6Type(uint8_t type) {
  switch (type) {
    case 128:
      return 129;
    case 129:
      return 128;
    case 139:
      return 140;
    case 140:
      return 139;
    default:
      return std::nullopt;
  }
}

bool IsExtension(uint8_t next) {
  return next == 0 || next == 43 || next == 44 || next == 51 || next == 59 ||
         next == 60;
}

}  // namespace

ConntrackHeader FindConntrackHeader(Family family,
                                    std::span<const uint8_t> bytes,
                                    size_t network) {
  ConntrackHeader result;
  if (family == Family::kIpv4) {
    if (bytes.size() < network + 20) return result;
    const uint8_t* header = &bytes[network];
    if ((LoadBe16(header + 6) & 0x1fff) != 0) return result;
    const size_t offset = network + static_cast<size_t>(header[0] & 0xf) * 4;
    if (offset > bytes.size()) return result;
    return {true, header[9], offset};
  }
  // ipv6_skip_exthdr(), which unlike ipv6_find_hdr() gives up at next header
  // 59 and does not test the length of an extension header.
  if (bytes.size() < network + 40) return result;
  uint8_t next = bytes[network + 6];
  size_t at = network + 40;
  while (IsExtension(next)) {
    if (next == 59 || at + 2 > bytes.size()) return result;
    size_t length = (static_cast<size_t>(bytes[at + 1]) + 1) * 8;
    if (next == 44) {
      if (at + 4 > bytes.size()) return result;
      if ((LoadBe16(&bytes[at + 2]) & ~7) != 0) return result;
      length = 8;
    } else if (next == 51) {
      length = (static_cast<size_t>(bytes[at + 1]) + 2) * 4;
    }
    next = bytes[at];
    at += length;
  }
  return {true, next, at};
}

bool TupleAt(Family family, std::span<const uint8_t> bytes, size_t network,
             const ConntrackHeader& header, Tuple* tuple) {
  *tuple = {};
  tuple->family = family;
  tuple->protocol = header.protocol;
  if (family == Family::kIpv4) {
    if (network + 20 > bytes.size()) return false;
    std::copy_n(&bytes[network + 12], 4, tuple->src.begin());
    std::copy_n(&bytes[network + 16], 4, tuple->dst.begin());
  } else {
    if (network + 40 > bytes.size()) return false;
    std::copy_n(&bytes[network + 8], 16, tuple->src.begin());
    std::copy_n(&bytes[network + 24], 16, tuple->dst.begin());
  }
  const size_t at = header.offset;
  const size_t left = at < bytes.size() ? bytes.size() - at : 0;
  switch (header.protocol) {
    case 1:
    case 58:
      if (left < 8) return false;
      tuple->dst_port = LoadBe16(&bytes[at]);  // type, code
      tuple->src_port = LoadBe16(&bytes[at + 4]);
      return true;
    case 6:
    case 17:
    case 132:
    case 136:
      if (left < 4) return false;
      tuple->src_port = LoadBe16(&bytes[at]);
      tuple->dst_port = LoadBe16(&bytes[at + 2]);
      return true;
    case 47:
      // Only the enhanced GRE of PPTP has a key that is looked at.
      if (left < 4 || (bytes[at + 1] & 7) != 1) return true;
      if (left < 8) return true;
      if (LoadBe16(&bytes[at + 2]) != 0x880b) return false;
      tuple->dst_port = LoadBe16(&bytes[at + 6]);
      return true;
    default:
      return true;
  }
}

bool InvertTuple(const Tuple& tuple, Tuple* inverse) {
  inverse->family = tuple.family;
  inverse->protocol = tuple.protocol;
  inverse->src = tuple.dst;
  inverse->dst = tuple.src;
  if (tuple.protocol == 1 || tuple.protocol == 58) {
    const auto type = static_cast<uint8_t>(tuple.dst_port >> 8);
    const auto other =
        tuple.protocol == 1 ? InverseIcmpType(type) : InverseIcmpv6Type(type);
    if (!other) return false;
    inverse->src_port = tuple.src_port;
    inverse->dst_port =
        static_cast<uint16_t>((*other << 8) | (tuple.dst_port & 0xff));
    return true;
  }
  inverse->src_port = tuple.dst_port;
  inverse->dst_port = tuple.src_port;
  return true;
}

void Refresh(Connection* connection, const ProtocolPacket& packet,
             uint64_t timeout_ms) {
  // Before confirmation the timeout is relative: it starts at confirmation.
  connection->expires_ms = (connection->status & kStatusConfirmed) != 0
                               ? packet.now_ms + timeout_ms
                               : timeout_ms;
  Counters* counters = &connection->direction[DirectionOf(packet.info)];
  ++counters->packets;
  counters->bytes += packet.length();
}

ProtocolVerdict TrackUdp(Connection* connection, const ProtocolPacket& packet) {
  if (packet.offset + 8 > packet.bytes.size()) return ProtocolVerdict::kInvalid;
  const uint8_t* header = &packet.bytes[packet.offset];
  const size_t length = LoadBe16(header + 4);
  if (length > packet.bytes.size() - packet.offset || length < 8) {
    return ProtocolVerdict::kInvalid;
  }
  if (LoadBe16(header + 6) != 0 && packet.check_checksum &&
      !TransportChecksumOk(packet.family, packet.bytes, packet.offset, 17)) {
    return ProtocolVerdict::kInvalid;
  }
  if ((connection->status & kStatusConfirmed) == 0) {
    connection->udp_stream_ms = packet.now_ms + 2 * kSecond;
  }
  uint64_t timeout = 30 * kSecond;
  if ((connection->status & kStatusSeenReply) != 0 &&
      packet.now_ms > connection->udp_stream_ms) {
    timeout = 120 * kSecond;
    connection->status |= kStatusAssured;
  }
  Refresh(connection, packet, timeout);
  return ProtocolVerdict::kOk;
}

ProtocolVerdict TrackUdplite(Connection* connection,
                             const ProtocolPacket& packet) {
  if (packet.offset + 8 > packet.bytes.size()) return ProtocolVerdict::kInvalid;
  const uint8_t* header = &packet.bytes[packet.offset];
  const size_t length = packet.bytes.size() - packet.offset;
  size_t coverage = LoadBe16(header + 4);
  if (coverage == 0) coverage = length;
  if (coverage < 8 || coverage > length || LoadBe16(header + 6) == 0) {
    return ProtocolVerdict::kInvalid;
  }
  if (packet.check_checksum) {
    const auto covered = packet.bytes.subspan(packet.offset, coverage);
    Address src{}, dst{};
    const bool v4 = packet.family == Family::kIpv4;
    const size_t size = v4 ? 4 : 16;
    std::copy_n(&packet.bytes[v4 ? 12 : 8], size, src.begin());
    std::copy_n(&packet.bytes[v4 ? 16 : 24], size, dst.begin());
    // The kernel asks for protocol UDP here, so that only a packet whose sum
    // is right under number 17 passes.
    const uint32_t sum = PseudoHeaderSum(packet.family, src, dst, 17,
                                         static_cast<uint32_t>(length));
    if (ChecksumFold(ChecksumPartial(covered, sum)) != 0) {
      return ProtocolVerdict::kInvalid;
    }
  }
  uint64_t timeout = 30 * kSecond;
  if ((connection->status & kStatusSeenReply) != 0) {
    timeout = 120 * kSecond;
    connection->status |= kStatusAssured;
  }
  Refresh(connection, packet, timeout);
  return ProtocolVerdict::kOk;
}

ProtocolVerdict TrackIcmp(Connection* connection,
                          const ProtocolPacket& packet) {
  if (packet.family != Family::kIpv4) return ProtocolVerdict::kInvalid;
  switch (connection->original.dst_port >> 8) {
    case 8:
    case 13:
    case 15:
    case 17:
      break;
    default:
      return ProtocolVerdict::kInvalid;
  }
  Refresh(connection, packet, 30 * kSecond);
  return ProtocolVerdict::kOk;
}

ProtocolVerdict TrackIcmpv6(Connection* connection,
                            const ProtocolPacket& packet) {
  if (packet.family != Family::kIpv6) return ProtocolVerdict::kInvalid;
  const int type = connection->original.dst_port >> 8;
  if ((connection->status & kStatusConfirmed) == 0 && type != 128 &&
      type != 139) {
    return ProtocolVerdict::kInvalid;
  }
  Refresh(connection, packet, 30 * kSecond);
  return ProtocolVerdict::kOk;
}

ProtocolVerdict TrackGre(Connection* connection, const ProtocolPacket& packet) {
  if ((connection->status & kStatusSeenReply) != 0) {
    Refresh(connection, packet, 180 * kSecond);
    connection->status |= kStatusAssured;
  } else {
    Refresh(connection, packet, 30 * kSecond);
  }
  return ProtocolVerdict::kOk;
}

ProtocolVerdict TrackGeneric(Connection* connection,
                             const ProtocolPacket& packet) {
  Refresh(connection, packet, 600 * kSecond);
  return ProtocolVerdict::kOk;
}

namespace {

// Chunk types of RFC 9260, in the order of the table's rows.
constexpr uint8_t kChunkData = 0, kChunkInit = 1, kChunkInitAck = 2,
                  kChunkHeartbeat = 4, kChunkHeartbeatAck = 5, kChunkAbort = 6,
                  kChunkShutdown = 7, kChunkShutdownAck = 8, kChunkError = 9,
                  kChunkCookieEcho = 10, kChunkCookieAck = 11,
                  kChunkShutdownComplete = 14;

enum SctpState : uint8_t {
  kSctpNone,
  kSctpClosed,
  kSctpCookieWait,
  kSctpCookieEchoed,
  kSctpEstablished,
  kSctpShutdownSent,
  kSctpShutdownReceived,
  kSctpShutdownAckSent,
  kSctpHeartbeatSent,
  kSctpStateCount,
};
constexpr std::array<uint64_t, kSctpStateCount> kSctpTimeouts = {
    0, 10, 3, 3, 210, 3, 3, 3, 30};

constexpr SctpState sNO = kSctpNone, sCL = kSctpClosed, sCW = kSctpCookieWait,
                    sCE = kSctpCookieEchoed, sES = kSctpEstablished,
                    sSS = kSctpShutdownSent, sSR = kSctpShutdownReceived,
                    sSA = kSctpShutdownAckSent, sHS = kSctpHeartbeatSent,
                    sIV = kSctpStateCount;
static_assert(sNO == 0);

constexpr SctpState kSctpTable[2][11][kSctpStateCount] = {
    {
        // original:         NO   CL   CW   CE   ES   SS   SR   SA   HS
        /* init         */ {sCL, sCL, sCW, sCE, sES, sCL, sCL, sSA, sCW},
        /* init_ack     */ {sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sCL},
        /* abort        */ {sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
        /* shutdown     */ {sCL, sCL, sCW, sCE, sSS, sSS, sSR, sSA, sCL},
        /* shutdown_ack */ {sSA, sCL, sCW, sCE, sES, sSA, sSA, sSA, sSA},
        /* error        */ {sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sCL},
        /* cookie_echo  */ {sCL, sCL, sCE, sCE, sES, sSS, sSR, sSA, sCL},
        /* cookie_ack   */ {sCL, sCL, sCW, sES, sES, sSS, sSR, sSA, sCL},
        /* shutdown_comp*/ {sCL, sCL, sCW, sCE, sES, sSS, sSR, sCL, sCL},
        /* heartbeat    */ {sHS, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS},
        /* heartbeat_ack*/ {sCL, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS},
    },
    {
        // reply:            NO   CL   CW   CE   ES   SS   SR   SA   HS
        /* init         */ {sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sIV},
        /* init_ack     */ {sIV, sCW, sCW, sCE, sES, sSS, sSR, sSA, sIV},
        /* abort        */ {sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sIV},
        /* shutdown     */ {sIV, sCL, sCW, sCE, sSR, sSS, sSR, sSA, sIV},
        /* shutdown_ack */ {sIV, sCL, sCW, sCE, sES, sSA, sSA, sSA, sIV},
        /* error        */ {sIV, sCL, sCW, sCL, sES, sSS, sSR, sSA, sIV},
        /* cookie_echo  */ {sIV, sCL, sCE, sCE, sES, sSS, sSR, sSA, sIV},
        /* cookie_ack   */ {sIV, sCL, sCW, sES, sES, sSS, sSR, sSA, sIV},
        /* shutdown_comp*/ {sIV, sCL, sCW, sCE, sES, sSS, sSR, sCL, sIV},
        /* heartbeat    */ {sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sHS},
        /* heartbeat_ack*/ {sIV, sCL, sCW, sCE, sES, sSS, sSR, sSA, sES},
    },
};

SctpState NextSctpState(int direction, SctpState state, uint8_t chunk) {
  static constexpr std::array<uint8_t, 11> kRows = {
      kChunkInit,       kChunkInitAck,     kChunkAbort,
      kChunkShutdown,   kChunkShutdownAck, kChunkError,
      kChunkCookieEcho, kChunkCookieAck,   kChunkShutdownComplete,
      kChunkHeartbeat,  kChunkHeartbeatAck};
  const auto row = std::find(kRows.begin(), kRows.end(), chunk);
  if (row == kRows.end()) return state;  // DATA, SACK and the like
  return kSctpTable[direction][row - kRows.begin()][state];
}

struct Chunk {
  uint8_t type;
  uint8_t flags;
  uint16_t length;
  size_t offset;
  size_t count;
};

/// for_each_sctp_chunk(): visit says whether to go on; a zero length would
/// stand still and ends the walk (the basic checks refuse it before).
template <typename Visit>
bool WalkChunks(const ProtocolPacket& packet, Visit visit) {
  size_t at = packet.offset + 12;
  for (size_t count = 0; at < packet.bytes.size(); ++count) {
    if (at + 4 > packet.bytes.size()) return true;
    const Chunk chunk{packet.bytes[at], packet.bytes[at + 1],
                      LoadBe16(&packet.bytes[at + 2]), at, count};
    if (!visit(chunk)) return false;
    if (chunk.length == 0) return true;
    at += (chunk.length + 3u) & ~3u;
  }
  return true;
}

/// The verification tag an INIT or INIT ACK carries; nullopt when cut off.
std::optional<uint32_t> InitTag(const ProtocolPacket& packet,
                                const Chunk& chunk) {
  if (chunk.offset + 4 + 16 > packet.bytes.size()) return std::nullopt;
  return LoadBe32(&packet.bytes[chunk.offset + 4]);
}

/// do_basic_checks(); fills `seen` with the chunk types met.
bool SctpChunksSane(const ProtocolPacket& packet, std::array<bool, 256>* seen) {
  bool alone = false;
  size_t count = 0;
  const bool sane = WalkChunks(packet, [&](const Chunk& chunk) {
    if (chunk.type == kChunkInit || chunk.type == kChunkInitAck ||
        chunk.type == kChunkShutdownComplete) {
      alone = true;
    }
    if (((chunk.type == kChunkCookieAck || chunk.type == kChunkCookieEcho ||
          alone) &&
         chunk.count != 0) ||
        chunk.length == 0) {
      return false;
    }
    (*seen)[chunk.type] = true;
    ++count;
    return true;
  });
  return sane && count != 0;
}

bool StartSctp(Connection* c, const ProtocolPacket& packet, uint32_t vtag) {
  c->sctp = {};
  return WalkChunks(packet, [&](const Chunk& chunk) {
    const SctpState state = NextSctpState(0, kSctpNone, chunk.type);
    if (state == kSctpNone || state == kSctpStateCount) return false;
    if (chunk.type == kChunkInit) {
      if (vtag != 0) return false;
      const auto tag = InitTag(packet, chunk);
      if (!tag) return false;
      c->sctp.vtag[1] = *tag;
    } else if (chunk.type == kChunkHeartbeat) {
      c->sctp.vtag[0] = vtag;
    } else if (chunk.type == kChunkShutdownAck) {
      c->sctp.vtag[1] = vtag;
    }
    return true;
  });
}

/// The rules of RFC 9260 section 8.5.1 for one chunk; false = invalid.
/// *ignore is set by a heartbeat with a foreign tag; *next to go on with the
/// next chunk at once.
bool CheckSctpTag(Connection* c, const Chunk& chunk, uint32_t vtag,
                  int direction, bool data_seen, bool* ignore, bool* next) {
  SctpFlow* flow = &c->sctp;
  const int other = 1 - direction;
  switch (chunk.type) {
    case kChunkInit:
      return vtag == 0;
    case kChunkAbort:
    case kChunkShutdownComplete:
      return vtag == flow->vtag[(chunk.flags & 1) != 0 ? other : direction];
    case kChunkCookieEcho:
      return vtag == flow->vtag[direction];
    case kChunkCookieAck:
      flow->init[0] = flow->init[1] = false;
      return true;
    case kChunkHeartbeat:
      if (flow->vtag[direction] == 0) {
        flow->vtag[direction] = vtag;
      } else if (vtag != flow->vtag[direction]) {
        if (data_seen || *ignore) return false;
        flow->heartbeat_failed = true;
        flow->last_dir = static_cast<uint8_t>(direction);
        *ignore = true;
        *next = true;
      } else {
        flow->heartbeat_failed = false;
      }
      return true;
    case kChunkHeartbeatAck:
      if (flow->vtag[direction] == 0) {
        flow->vtag[direction] = vtag;
      } else if (vtag != flow->vtag[direction]) {
        if (data_seen || *ignore || !flow->heartbeat_failed ||
            flow->last_dir == direction) {
          return false;
        }
        flow->heartbeat_failed = false;
        flow->vtag[direction] = vtag;
        flow->vtag[other] = 0;
      } else {
        flow->heartbeat_failed = false;
      }
      return true;
    default:
      return true;
  }
}

/// Notes the tags of INIT and INIT ACK; false = invalid.
bool NoteInit(Connection* c, const ProtocolPacket& packet, const Chunk& chunk,
              int direction, SctpState old_state, SctpState new_state,
              bool* ignore) {
  if (chunk.type != kChunkInit && chunk.type != kChunkInitAck) return true;
  SctpFlow* flow = &c->sctp;
  const int other = 1 - direction;
  const auto tag = InitTag(packet, chunk);
  if (!tag) return false;
  if (chunk.type == kChunkInit) {
    if (old_state == kSctpNone || flow->vtag[other] != *tag) {
      if (flow->init[direction] && flow->init[other]) flow->init[other] = false;
      flow->init[direction] = true;
    }
    if (new_state == kSctpClosed && old_state == kSctpClosed &&
        (c->status & kStatusConfirmed) != 0) {
      *ignore = true;
    }
  } else {
    const uint32_t vtag = flow->vtag[other];
    if (!flow->init[other] && vtag != 0 && vtag != *tag) return false;
    if (flow->init[direction] && flow->init[other] && vtag != *tag) {
      return false;
    }
  }
  flow->vtag[other] = *tag;
  return true;
}

}  // namespace

ProtocolVerdict TrackSctp(Connection* c, const ProtocolPacket& packet) {
  if (packet.offset + 12 > packet.bytes.size()) {
    return ProtocolVerdict::kInvalid;
  }
  const auto sctp = packet.bytes.subspan(packet.offset);
  if (packet.check_checksum && LoadRaw32(&sctp[8]) != SctpChecksum(sctp)) {
    return ProtocolVerdict::kInvalid;
  }
  const uint32_t vtag = LoadBe32(&sctp[4]);
  std::array<bool, 256> seen{};
  if (!SctpChunksSane(packet, &seen)) return ProtocolVerdict::kInvalid;
  if ((c->status & kStatusConfirmed) == 0) {
    if (seen[kChunkAbort] || seen[kChunkShutdownComplete] ||
        seen[kChunkCookieAck] || !StartSctp(c, packet, vtag)) {
      return ProtocolVerdict::kInvalid;
    }
  }
  const int direction = DirectionOf(packet.info);
  if (!seen[kChunkInit] && !seen[kChunkShutdownComplete] &&
      !seen[kChunkCookieEcho] && !seen[kChunkAbort] &&
      !seen[kChunkShutdownAck] && !seen[kChunkHeartbeat] &&
      !seen[kChunkHeartbeatAck] && vtag != c->sctp.vtag[direction]) {
    return ProtocolVerdict::kInvalid;
  }
  bool ignore = false;
  SctpState new_state = kSctpNone;
  const bool valid = WalkChunks(packet, [&](const Chunk& chunk) {
    bool next = false;
    if (!CheckSctpTag(c, chunk, vtag, direction, seen[kChunkData], &ignore,
                      &next)) {
      return false;
    }
    if (next) return true;
    const auto old_state = static_cast<SctpState>(c->sctp.state);
    new_state = NextSctpState(direction, old_state, chunk.type);
    if (new_state == kSctpStateCount) return false;
    if (!NoteInit(c, packet, chunk, direction, old_state, new_state, &ignore)) {
      return false;
    }
    c->sctp.state = new_state;
    if (old_state != new_state && new_state == kSctpEstablished) {
      c->status |= kStatusAssured;
    }
    return true;
  });
  if (!valid) return ProtocolVerdict::kInvalid;
  if (!ignore) Refresh(c, packet, kSctpTimeouts[new_state] * kSecond);
  return ProtocolVerdict::kOk;
}

uint32_t SctpChecksum(std::span<const uint8_t> sctp) {
  // RFC 9260 appendix A: reflected CRC32c, stored little endian.
  uint32_t crc = 0xffffffffu;
  for (size_t i = 0; i < sctp.size(); ++i) {
    const uint8_t byte = i >= 8 && i < 12 ? uint8_t{0} : sctp[i];
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82f63b78u : 0u);
    }
  }
  crc = ~crc;
  const std::array<uint8_t, 4> stored = {
      static_cast<uint8_t>(crc), static_cast<uint8_t>(crc >> 8),
      static_cast<uint8_t>(crc >> 16), static_cast<uint8_t>(crc >> 24)};
  return LoadRaw32(stored.data());
}

}  // namespace nfarena
