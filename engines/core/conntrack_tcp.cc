// The TCP half of the tracker: the state table and the window check.
// Source: net/netfilter/nf_conntrack_proto_tcp.c with tcp_loose=1,
// tcp_be_liberal=0, tcp_max_retrans=3, tcp_ignore_invalid_rst=0.

#include <algorithm>
#include <array>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/tracker_impl.h"

namespace nfarena {
namespace {

/// enum tcp_conntrack, and the two answers of the table that are no state.
enum State : uint8_t {
  kNone,
  kSynSent,
  kSynRecv,
  kEstablished,
  kFinWait,
  kCloseWait,
  kLastAck,
  kTimeWait,
  kClose,
  kSynSent2,
  kStateCount,
  kInvalidState = kStateCount,
  kIgnore,
};

/// What of RST, SYN, FIN, ACK a segment has set.
enum Index : uint8_t {
  kSyn,
  kSynAck,
  kFin,
  kAck,
  kRst,
  kNoFlag,
  kIndexCount,
};

// IP_CT_TCP_FLAG_* of include/uapi/linux/netfilter/nf_conntrack_tcp.h.
constexpr uint8_t kWindowScale = 0x01, kSackPermitted = 0x02, kCloseInit = 0x04,
                  kBeLiberal = 0x08, kDataUnacknowledged = 0x10,
                  kMaxAckSet = 0x20, kExpectChallengeAck = 0x40,
                  kSimultaneousOpen = 0x80;

constexpr uint64_t kSecond = 1000, kMinute = 60 * kSecond,
                   kDay = 24 * 60 * kMinute;
constexpr std::array<uint64_t, kStateCount> kTimeouts = {0,
                                                         2 * kMinute,
                                                         60 * kSecond,
                                                         5 * kDay,
                                                         2 * kMinute,
                                                         60 * kSecond,
                                                         30 * kSecond,
                                                         2 * kMinute,
                                                         10 * kSecond,
                                                         2 * kMinute};
constexpr uint64_t kRetransTimeout = 5 * kMinute;
constexpr uint64_t kUnackTimeout = 5 * kMinute;
constexpr uint32_t kMaxRetransmissions = 3;

constexpr State sNO = kNone, sSS = kSynSent, sSR = kSynRecv, sES = kEstablished,
                sFW = kFinWait, sCW = kCloseWait, sLA = kLastAck,
                sTW = kTimeWait, sCL = kClose, sS2 = kSynSent2,
                sIV = kInvalidState, sIG = kIgnore;

/// [direction][index][state], columns in the order of State.
constexpr State kTable[2][kIndexCount][kStateCount] = {
    {
        // original: NO   SS   SR   ES   FW   CW   LA   TW   CL   S2
        /* syn    */ {sSS, sSS, sIG, sIG, sIG, sIG, sIG, sSS, sSS, sS2},
        /* synack */ {sIV, sIV, sSR, sIV, sIV, sIV, sIV, sIV, sIV, sSR},
        /* fin    */ {sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV},
        /* ack    */ {sES, sIV, sES, sES, sCW, sCW, sTW, sTW, sCL, sIV},
        /* rst    */ {sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
        /* none   */ {sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV},
    },
    {
        // reply:    NO   SS   SR   ES   FW   CW   LA   TW   CL   S2
        /* syn    */ {sIV, sS2, sIV, sIV, sIV, sIV, sIV, sSS, sIV, sS2},
        /* synack */ {sIV, sSR, sIG, sIG, sIG, sIG, sIG, sIG, sIG, sSR},
        /* fin    */ {sIV, sIV, sFW, sFW, sLA, sLA, sLA, sTW, sCL, sIV},
        /* ack    */ {sIV, sIG, sSR, sES, sCW, sCW, sTW, sTW, sCL, sIG},
        /* rst    */ {sIV, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL, sCL},
        /* none   */ {sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV, sIV},
    },
};
static_assert(sNO == 0);

// TCP flag bits of the header's byte 13.
constexpr uint8_t kFlagFin = 0x01, kFlagSyn = 0x02, kFlagRst = 0x04,
                  kFlagAck = 0x10, kFlagUrg = 0x20;

/// A segment's header in host order.
struct Segment {
  uint32_t seq = 0, ack = 0;
  uint16_t window = 0;
  uint8_t flags = 0;
  uint32_t end = 0;  // seq + payload + SYN + FIN
  std::span<const uint8_t> options;
  bool Has(uint8_t flag) const { return (flags & flag) != 0; }
};

bool Before(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b) < 0; }
bool After(uint32_t a, uint32_t b) { return Before(b, a); }

Index IndexOf(const Segment& segment) {
  if (segment.Has(kFlagRst)) return kRst;
  if (segment.Has(kFlagSyn)) return segment.Has(kFlagAck) ? kSynAck : kSyn;
  if (segment.Has(kFlagFin)) return kFin;
  if (segment.Has(kFlagAck)) return kAck;
  return kNoFlag;
}

/// tcp_valid_flags[]: PSH, ECE and CWR are always valid.
bool FlagsValid(uint8_t flags) {
  switch (flags & (kFlagFin | kFlagSyn | kFlagRst | kFlagAck | kFlagUrg)) {
    case kFlagSyn:
    case kFlagSyn | kFlagUrg:
    case kFlagSyn | kFlagAck:
    case kFlagRst:
    case kFlagRst | kFlagAck:
    case kFlagFin | kFlagAck:
    case kFlagFin | kFlagAck | kFlagUrg:
    case kFlagAck:
    case kFlagAck | kFlagUrg:
      return true;
    default:
      return false;
  }
}

/// tcp_error(): false for a segment that must not be tracked.
bool ReadSegment(const ProtocolPacket& packet, Segment* segment) {
  const size_t size = packet.bytes.size();
  if (packet.offset + 20 > size) return false;
  const uint8_t* header = &packet.bytes[packet.offset];
  const size_t length = static_cast<size_t>(header[12] >> 4) * 4;
  if (length < 20 || packet.offset + length > size) return false;
  if (packet.check_checksum &&
      !TransportChecksumOk(packet.family, packet.bytes, packet.offset, 6)) {
    return false;
  }
  segment->flags = header[13];
  if (!FlagsValid(segment->flags)) return false;
  segment->seq = LoadBe32(header + 4);
  segment->ack = LoadBe32(header + 8);
  segment->window = LoadBe16(header + 14);
  segment->options = packet.bytes.subspan(packet.offset + 20, length - 20);
  segment->end =
      segment->seq + static_cast<uint32_t>(size - packet.offset - length) +
      (segment->Has(kFlagSyn) ? 1 : 0) + (segment->Has(kFlagFin) ? 1 : 0);
  return true;
}

/// Calls visit(kind, data) for each complete option; visit says whether to go
/// on.
template <typename Visit>
void WalkOptions(std::span<const uint8_t> options, Visit visit) {
  size_t at = 0;
  while (at < options.size()) {
    const uint8_t kind = options[at];
    if (kind == 0) return;
    if (kind == 1) {
      ++at;
      continue;
    }
    if (options.size() - at < 2) return;
    const size_t length = options[at + 1];
    if (length < 2 || length > options.size() - at) return;
    if (!visit(kind, options.subspan(at + 2, length - 2))) return;
    at += length;
  }
}

/// tcp_options(): window scale and SACK permission of a SYN.
void ReadSynOptions(const Segment& segment, TcpSide* side) {
  if (segment.options.empty()) return;
  side->scale = 0;
  side->flags &= kBeLiberal;
  WalkOptions(segment.options,
              [side](uint8_t kind, std::span<const uint8_t> data) {
                if (kind == 4 && data.empty()) {
                  side->flags |= kSackPermitted;
                } else if (kind == 3 && data.size() == 1) {
                  side->scale = std::min<uint8_t>(data[0], 14);
                  side->flags |= kWindowScale;
                }
                return true;
              });
}

/// tcp_sack(): the highest right edge of the SACK blocks, at least `ack`.
uint32_t HighestSack(const Segment& segment) {
  uint32_t sack = segment.ack;
  WalkOptions(segment.options,
              [&sack](uint8_t kind, std::span<const uint8_t> data) {
                if (kind != 5 || data.size() < 8 || data.size() % 8 != 0) {
                  return true;
                }
                for (size_t i = 0; i < data.size(); i += 8) {
                  const uint32_t right = LoadBe32(&data[i + 4]);
                  if (After(right, sack)) sack = right;
                }
                return false;
              });
  return sack;
}

/// tcp_init_sender().
void InitSender(const Segment& segment, int direction, TcpSide* sender,
                TcpSide* receiver) {
  sender->end = sender->max_end = segment.end;
  sender->max_window = std::max<uint32_t>(segment.window, 1);
  ReadSynOptions(segment, sender);
  if (direction == 1 && !((sender->flags & kWindowScale) != 0 &&
                          (receiver->flags & kWindowScale) != 0)) {
    sender->scale = 0;
    receiver->scale = 0;
  }
}

enum class WindowVerdict : uint8_t { kIgnoreIt, kInvalidIt, kAcceptIt };

uint32_t MaxAckWindow(const TcpSide& side) {
  return std::max<uint32_t>(side.max_window, 66000);
}

/// tcp_in_window(): I to IV of the comment in the kernel's source.
WindowVerdict CheckWindow(Connection* c, int direction, Index index,
                          const Segment& segment) {
  TcpSide* sender = &c->tcp[direction];
  TcpSide* receiver = &c->tcp[1 - direction];
  uint32_t seq = segment.seq;
  uint32_t ack = segment.ack;
  uint32_t end = segment.end;
  uint32_t window = segment.window;
  uint32_t sack =
      (receiver->flags & kSackPermitted) != 0 ? HighestSack(segment) : ack;
  // nf_tcp_store_invalid(): a liberal sender's segments are all accepted.
  const auto refuse = [&](WindowVerdict verdict) {
    return (sender->flags & kBeLiberal) != 0 ? WindowVerdict::kAcceptIt
                                             : verdict;
  };

  if (sender->max_window == 0) {
    if (segment.Has(kFlagSyn)) {
      InitSender(segment, direction, sender, receiver);
      if (!segment.Has(kFlagAck)) return WindowVerdict::kAcceptIt;
    } else {
      // In the middle of a connection: believe the segment.
      sender->end = end;
      const uint32_t scaled = window << sender->scale;
      sender->max_window = std::max<uint32_t>(scaled, 1);
      sender->max_end = end + sender->max_window;
      if (receiver->max_window == 0) {
        receiver->end = receiver->max_end = sack;
      } else if (sack == receiver->end + 1) {
        ++receiver->end;  // the answer to a keepalive
      }
    }
  } else if (segment.Has(kFlagSyn) && After(end, sender->end) &&
             (c->tcp_state == kSynSent || c->tcp_state == kSynRecv)) {
    InitSender(segment, direction, sender, receiver);
    if (direction == 1 && !segment.Has(kFlagAck)) {
      return WindowVerdict::kAcceptIt;
    }
  }

  if (!segment.Has(kFlagAck) || (segment.Has(kFlagRst) && ack == 0)) {
    ack = sack = receiver->end;
  }
  if (segment.Has(kFlagRst) && seq == 0 && c->tcp_state == kSynSent) {
    seq = end = sender->end;
  }

  if (!Before(seq, sender->max_end + 1)) {
    const uint32_t overshot = end - sender->max_end + 1;
    const bool ack_ok = After(sack, receiver->end - MaxAckWindow(*sender) - 1);
    const bool in_window = receiver->max_window != 0 &&
                           After(end, sender->end - receiver->max_window - 1);
    if (in_window && ack_ok && overshot <= receiver->max_window &&
        Before(sack, receiver->end + 1)) {
      sender->end = end;
      sender->flags |= kDataUnacknowledged;
      return refuse(WindowVerdict::kIgnoreIt);
    }
    return refuse(WindowVerdict::kInvalidIt);
  }
  if (!Before(sack, receiver->end + 1)) {
    return refuse(WindowVerdict::kInvalidIt);
  }
  if (receiver->max_window != 0 &&
      !After(end, sender->end - receiver->max_window - 1)) {
    return refuse(WindowVerdict::kIgnoreIt);
  }
  if (!After(sack, receiver->end - MaxAckWindow(*sender) - 1)) {
    return refuse(WindowVerdict::kIgnoreIt);
  }

  if (!segment.Has(kFlagSyn)) window <<= sender->scale;
  const uint32_t offered = window + (sack - ack);
  sender->max_window = std::max(sender->max_window, offered);
  if (After(end, sender->end)) {
    sender->end = end;
    sender->flags |= kDataUnacknowledged;
  }
  if (segment.Has(kFlagAck)) {
    if ((sender->flags & kMaxAckSet) == 0) {
      sender->max_ack = ack;
      sender->flags |= kMaxAckSet;
    } else if (After(ack, sender->max_ack)) {
      sender->max_ack = ack;
    }
  }
  if (receiver->max_window != 0 && After(end, sender->max_end)) {
    receiver->max_window += end - sender->max_end;
  }
  if (After(sack + window, receiver->max_end - 1)) {
    receiver->max_end = sack + window + (window == 0 ? 1 : 0);
  }
  if (ack == receiver->end) {
    receiver->flags =
        static_cast<uint8_t>(receiver->flags & ~kDataUnacknowledged);
  }
  if (index == kAck) {
    if (c->tcp_last_dir == direction && c->tcp_last_seq == seq &&
        c->tcp_last_ack == ack && c->tcp_last_end == end &&
        c->tcp_last_window == segment.window) {
      ++c->tcp_retransmissions;
    } else {
      c->tcp_last_dir = static_cast<uint8_t>(direction);
      c->tcp_last_seq = seq;
      c->tcp_last_ack = ack;
      c->tcp_last_end = end;
      c->tcp_last_window = segment.window;
      c->tcp_retransmissions = 0;
    }
  }
  return WindowVerdict::kAcceptIt;
}

/// tcp_new().
bool StartConnection(Connection* c, const Segment& segment) {
  const State state = kTable[0][IndexOf(segment)][kNone];
  if (state >= kStateCount) return false;
  c->tcp_state = kNone;
  c->tcp[0] = c->tcp[1] = {};
  c->tcp_last_dir = 0;
  c->tcp_last_flags = c->tcp_last_wscale = 0;
  c->tcp_retransmissions = 0;
  c->tcp_last_seq = c->tcp_last_ack = c->tcp_last_end = 0;
  c->tcp_last_window = 0;
  TcpSide* side = &c->tcp[0];
  side->end = side->max_end = segment.end;
  side->max_window = std::max<uint32_t>(segment.window, 1);
  if (state == kSynSent) {
    ReadSynOptions(segment, side);
  } else {
    // Picked up in the middle: the window scale is not known.
    side->max_end += side->max_window;
    c->tcp[0].flags = c->tcp[1].flags = kSackPermitted | kBeLiberal;
  }
  c->tcp_last_index = kNoFlag;
  return true;
}

bool EarlyDropState(uint8_t state) {
  switch (state) {
    case kFinWait:
    case kLastAck:
    case kTimeWait:
    case kClose:
    case kCloseWait:
      return true;
    default:
      return false;
  }
}

/// The case TCP_CONNTRACK_IGNORE: the segment passes, and what may put us back
/// in sync is noted.  Returns true when this SYN/ACK did so; *old_state and
/// *new_state then say how.
bool NoteIgnored(Connection* c, const Segment& segment, int direction,
                 Index index, State* old_state, State* new_state) {
  if (index == kSynAck && c->tcp_last_index == kSyn &&
      c->tcp_last_dir != direction && segment.ack == c->tcp_last_end) {
    *old_state = kSynSent;
    *new_state = kSynRecv;
    TcpSide* client = &c->tcp[c->tcp_last_dir];
    client->end = client->max_end = c->tcp_last_end;
    client->max_window = std::max<uint32_t>(c->tcp_last_window, 1);
    client->scale = c->tcp_last_wscale;
    c->tcp_last_flags =
        static_cast<uint8_t>(c->tcp_last_flags & ~kExpectChallengeAck);
    client->flags = c->tcp_last_flags;
    TcpSide* server = &c->tcp[direction];
    const auto liberal = static_cast<uint8_t>(server->flags & kBeLiberal);
    *server = {};
    server->flags = liberal;
    return true;
  }
  c->tcp_last_index = index;
  c->tcp_last_dir = static_cast<uint8_t>(direction);
  c->tcp_last_seq = segment.seq;
  c->tcp_last_end = segment.end;
  c->tcp_last_window = segment.window;
  if (index == kSyn && direction == 0) {
    TcpSide seen;
    c->tcp_last_flags = c->tcp_last_wscale = 0;
    ReadSynOptions(segment, &seen);
    if ((seen.flags & kWindowScale) != 0) {
      c->tcp_last_flags |= kWindowScale;
      c->tcp_last_wscale = seen.scale;
    }
    c->tcp_last_flags |= seen.flags & kSackPermitted;
    if (*old_state == kLastAck) c->tcp_last_flags |= kExpectChallengeAck;
  }
  if (*old_state == kSynSent && index == kAck && direction == 1) {
    c->tcp_last_ack = segment.ack;
  }
  return false;
}

enum class ResetCheck : uint8_t { kCheckWindow, kSkipWindow, kInvalid };

/// The case TCP_CONNTRACK_CLOSE of a segment with RST.
ResetCheck CheckReset(const Connection& c, const Segment& segment,
                      int direction, State old_state, State* new_state) {
  if (EarlyDropState(c.tcp_state)) return ResetCheck::kSkipWindow;
  const TcpSide& other = c.tcp[1 - direction];
  const bool established =
      c.tcp_state == kEstablished && (c.status & kStatusAssured) != 0;
  if ((other.flags & kMaxAckSet) != 0 && c.tcp_last_index != kSyn) {
    if (segment.seq == 0 && !established) return ResetCheck::kCheckWindow;
    if (Before(segment.seq, other.max_ack)) return ResetCheck::kInvalid;
    if (!established || segment.seq == other.max_ack) {
      return ResetCheck::kCheckWindow;
    }
    if (c.tcp_last_index == kAck && c.tcp_last_dir == direction &&
        segment.seq == c.tcp_last_end) {
      return ResetCheck::kCheckWindow;
    }
    // Not exact: stay, there may be a challenge ACK.
    *new_state = old_state;
  }
  if ((((c.status & kStatusSeenReply) != 0 && c.tcp_last_index == kSyn &&
        c.tcp_last_dir != direction) ||
       ((c.status & kStatusAssured) == 0 && c.tcp_last_index == kAck)) &&
      segment.ack == c.tcp_last_end) {
    return ResetCheck::kSkipWindow;
  }
  if (old_state == kSynSent && c.tcp_last_index == kAck &&
      c.tcp_last_dir == 1 && segment.seq == c.tcp_last_ack) {
    return ResetCheck::kSkipWindow;
  }
  return ResetCheck::kCheckWindow;
}

uint64_t TimeoutFor(const Connection& c, State state, Index index) {
  const uint64_t timeout = kTimeouts[state];
  if (c.tcp_retransmissions >= kMaxRetransmissions) {
    return std::min(timeout, kRetransTimeout);
  }
  if (index == kRst && state == kEstablished) {
    return std::min(timeout, kUnackTimeout);
  }
  if (((c.tcp[0].flags | c.tcp[1].flags) & kDataUnacknowledged) != 0) {
    return std::min(timeout, kUnackTimeout);
  }
  if (c.tcp_last_window == 0) return std::min(timeout, kRetransTimeout);
  return timeout;
}

/// nf_tcp_handle_invalid(): a FIN or RST out of the window, seen in both
/// directions, shortens the wait.
void NoteInvalid(Connection* c, int direction, Index index, uint64_t now_ms) {
  if ((c->status & kStatusAssured) == 0) return;
  if (index != kRst && index != kFin) return;
  if (c->tcp_last_dir != direction &&
      (c->tcp_last_index == kFin || c->tcp_last_index == kRst)) {
    const uint64_t left =
        c->expires_ms > now_ms ? c->expires_ms - now_ms : uint64_t{0};
    if (left > kUnackTimeout) c->expires_ms = now_ms + kUnackTimeout;
  } else {
    c->tcp_last_index = index;
    c->tcp_last_dir = static_cast<uint8_t>(direction);
  }
}

}  // namespace

ProtocolVerdict TrackTcp(Connection* c, const ProtocolPacket& packet,
                         bool* kill) {
  Segment segment;
  if (!ReadSegment(packet, &segment)) return ProtocolVerdict::kInvalid;
  if ((c->status & kStatusConfirmed) == 0 && !StartConnection(c, segment)) {
    return ProtocolVerdict::kInvalid;
  }
  const int direction = DirectionOf(packet.info);
  const Index index = IndexOf(segment);
  auto old_state = static_cast<State>(c->tcp_state);
  State new_state = kTable[direction][index][old_state];
  bool check_window = true;

  if (new_state == kSynSent && old_state >= kTimeWait) {
    if (((c->tcp[0].flags | c->tcp[1].flags) & kCloseInit) != 0 ||
        (c->tcp_last_dir == direction && c->tcp_last_index == kRst)) {
      // A closed connection is opened again: forget it and start anew.
      *kill = true;
      return ProtocolVerdict::kRepeat;
    }
    new_state = kIgnore;
  }
  switch (new_state) {
    case kIgnore:
      if (!NoteIgnored(c, segment, direction, index, &old_state, &new_state)) {
        return ProtocolVerdict::kOk;
      }
      break;
    case kInvalidState:
      return ProtocolVerdict::kInvalid;
    case kTimeWait:
      if (old_state == kLastAck && index == kAck &&
          c->tcp_last_dir != direction && c->tcp_last_index == kSyn &&
          (c->tcp_last_flags & kExpectChallengeAck) != 0) {
        c->tcp_last_flags =
            static_cast<uint8_t>(c->tcp_last_flags & ~kExpectChallengeAck);
        return ProtocolVerdict::kOk;
      }
      break;
    case kSynSent2:
      c->tcp_last_flags |= kSimultaneousOpen;
      break;
    case kSynRecv:
      if (direction == 1 && index == kAck &&
          (c->tcp_last_flags & kSimultaneousOpen) != 0) {
        new_state = kEstablished;
      }
      break;
    case kClose:
      if (index != kRst) break;
      switch (CheckReset(*c, segment, direction, old_state, &new_state)) {
        case ResetCheck::kInvalid:
          return ProtocolVerdict::kInvalid;
        case ResetCheck::kSkipWindow:
          check_window = false;
          break;
        case ResetCheck::kCheckWindow:
          break;
      }
      break;
    default:
      break;
  }

  if (check_window) {
    switch (CheckWindow(c, direction, index, segment)) {
      case WindowVerdict::kIgnoreIt:
        return ProtocolVerdict::kOk;
      case WindowVerdict::kInvalidIt:
        NoteInvalid(c, direction, index, packet.now_ms);
        return ProtocolVerdict::kInvalid;
      case WindowVerdict::kAcceptIt:
        break;
    }
  }

  c->tcp_last_index = index;
  c->tcp_last_dir = static_cast<uint8_t>(direction);
  c->tcp_state = new_state;
  if (old_state != new_state && new_state == kFinWait) {
    c->tcp[direction].flags |= kCloseInit;
  }
  uint64_t timeout = TimeoutFor(*c, new_state, index);
  if ((c->status & kStatusSeenReply) == 0) {
    if (segment.Has(kFlagRst)) {
      // The only reply is a reset: there is no connection.
      *kill = true;
      return ProtocolVerdict::kOk;
    }
    if (index == kSyn && old_state == kSynSent) return ProtocolVerdict::kOk;
    if (new_state == kEstablished) timeout = std::min(timeout, kUnackTimeout);
  } else if ((c->status & kStatusAssured) == 0 &&
             (old_state == kSynRecv || old_state == kEstablished) &&
             new_state == kEstablished) {
    c->status |= kStatusAssured;
  }
  Refresh(c, packet, timeout);
  return ProtocolVerdict::kOk;
}

void SetTcpClosing(Connection* c, uint64_t now_ms) {
  if ((c->status & kStatusConfirmed) == 0 || c->original.protocol != 6) return;
  const uint8_t old_state = c->tcp_state;
  c->tcp_state = kClose;
  if (old_state != kClose) c->expires_ms = now_ms + kTimeouts[kClose];
}

}  // namespace nfarena
