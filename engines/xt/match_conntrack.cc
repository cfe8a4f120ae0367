// conntrack (revisions 1 to 3), state, connmark and connbytes.
// Source: net/netfilter/xt_conntrack.c, xt_state.c, xt_connmark.c,
// xt_connbytes.c.

#include <cerrno>
#include <utility>

#include "engines/core/tracker.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

/// Seconds that real time may be away from the packets' virtual time before a
/// result counts as unaffected by the clock.
constexpr uint64_t kClockDoubtSeconds = 2;

/// XT_CONNTRACK_STATE_BIT: a template that -j CT left counts as new, a reply
/// has the bit of its original direction.
unsigned StateBit(CtInfo info) {
  return 1u << (static_cast<unsigned>(info) % IP_CT_IS_REPLY + 1);
}

bool AddressEqual(const Address& address, const uint8_t* want,
                  const uint8_t* mask, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    if ((address[i] ^ want[i]) & mask[i]) return false;
  }
  return true;
}

/// The three revisions share everything up to the masks.
using Info = xt_conntrack_mtinfo3;
static_assert(offsetof(xt_conntrack_mtinfo1, state_mask) ==
              offsetof(Info, state_mask));
static_assert(offsetof(xt_conntrack_mtinfo2, status_mask) ==
              offsetof(Info, status_mask));

struct Conditions {
  unsigned match;
  unsigned invert;

  /// Whether a condition was asked for and is not fulfilled.
  bool Fails(unsigned bit, bool is_true) const {
    return (match & bit) && is_true == ((invert & bit) != 0);
  }
};

bool PortsMatch(const Conditions& conditions, const uint8_t* payload,
                const Connection& connection, bool ranges) {
  struct PortTest {
    unsigned bit;
    uint16_t port;
    size_t low, high;
  };
  const PortTest tests[] = {
      {XT_CONNTRACK_ORIGSRC_PORT, connection.original.src_port,
       offsetof(Info, origsrc_port), offsetof(Info, origsrc_port_high)},
      {XT_CONNTRACK_ORIGDST_PORT, connection.original.dst_port,
       offsetof(Info, origdst_port), offsetof(Info, origdst_port_high)},
      {XT_CONNTRACK_REPLSRC_PORT, connection.reply.src_port,
       offsetof(Info, replsrc_port), offsetof(Info, replsrc_port_high)},
      {XT_CONNTRACK_REPLDST_PORT, connection.reply.dst_port,
       offsetof(Info, repldst_port), offsetof(Info, repldst_port_high)},
  };
  for (const PortTest& test : tests) {
    if (!(conditions.match & test.bit)) continue;
    // Revision 3 has ranges in host order, the others one port as on the wire.
    const bool in =
        ranges ? InRange(test.port, LoadAt<uint16_t>(payload, test.low),
                         LoadAt<uint16_t>(payload, test.high), false)
               : test.port == LoadBe16(payload + test.low);
    if (conditions.Fails(test.bit, in)) return false;
  }
  return true;
}

bool AddressesMatch(const Conditions& conditions, const uint8_t* payload,
                    const Connection& connection, size_t size) {
  struct AddressTest {
    unsigned bit;
    const Address& address;
    size_t want, mask;
  };
  const AddressTest tests[] = {
      {XT_CONNTRACK_ORIGSRC, connection.original.src,
       offsetof(Info, origsrc_addr), offsetof(Info, origsrc_mask)},
      {XT_CONNTRACK_ORIGDST, connection.original.dst,
       offsetof(Info, origdst_addr), offsetof(Info, origdst_mask)},
      {XT_CONNTRACK_REPLSRC, connection.reply.src, offsetof(Info, replsrc_addr),
       offsetof(Info, replsrc_mask)},
      {XT_CONNTRACK_REPLDST, connection.reply.dst, offsetof(Info, repldst_addr),
       offsetof(Info, repldst_mask)},
  };
  for (const AddressTest& test : tests) {
    if (!(conditions.match & test.bit)) continue;
    if (conditions.Fails(test.bit,
                         AddressEqual(test.address, payload + test.want,
                                      payload + test.mask, size))) {
      return false;
    }
  }
  return true;
}

bool ExpiresIn(uint64_t seconds, const uint8_t* payload) {
  return seconds >= LOAD_FIELD(payload, Info, expires_min) &&
         seconds <= LOAD_FIELD(payload, Info, expires_max);
}

bool ExpiryMatches(const Conditions& conditions, const uint8_t* payload,
                   PacketState* packet) {
  const Connection& connection = *packet->connection;
  // The timeout of an unconfirmed connection is still relative; the kernel
  // takes it for a time long ago.
  uint64_t left_s = 0;
  if ((connection.status & kStatusConfirmed) &&
      connection.expires_ms > packet->now_ms) {
    left_s = (connection.expires_ms - packet->now_ms) / 1000;
  }
  const bool in = ExpiresIn(left_s, payload);
  for (uint64_t late = 1; late <= kClockDoubtSeconds && late <= left_s;
       ++late) {
    if (ExpiresIn(left_s - late, payload) != in) {
      packet->MarkIndeterminate("conntrack --ctexpire");
    }
  }
  return !conditions.Fails(XT_CONNTRACK_EXPIRES, in);
}

bool MatchConntrack(const uint8_t* payload, const XtContext& context,
                    unsigned state_mask, unsigned status_mask, bool ranges) {
  PacketState& packet = *context.packet;
  const Connection* connection = packet.connection;
  const Conditions conditions{LOAD_FIELD(payload, Info, match_flags),
                              LOAD_FIELD(payload, Info, invert_flags)};
  if (conditions.match & XT_CONNTRACK_STATE) {
    unsigned bits = XT_CONNTRACK_STATE_INVALID;
    if (connection != nullptr) {
      bits = StateBit(packet.ct_info);
      if (connection->status & kStatusSrcNat) {
        bits |= XT_CONNTRACK_STATE_SNAT;
      }
      if (connection->status & kStatusDstNat) {
        bits |= XT_CONNTRACK_STATE_DNAT;
      }
    } else if (packet.ct_template.set) {
      bits = StateBit(CtInfo::kNew);
    } else if (packet.ct_info == CtInfo::kUntracked) {
      bits = XT_CONNTRACK_STATE_UNTRACKED;
    }
    if (conditions.Fails(XT_CONNTRACK_STATE, (state_mask & bits) != 0)) {
      return false;
    }
  }
  // Without a connection only a question about the state has an answer, and
  // whatever else the rule asks is then not looked at.
  if (connection == nullptr) return conditions.match & XT_CONNTRACK_STATE;

  if (conditions.Fails(XT_CONNTRACK_DIRECTION,
                       DirectionOf(packet.ct_info) == 0)) {
    return false;
  }
  if (!AddressesMatch(conditions, payload, *connection, AddressBytes(packet))) {
    return false;
  }
  if (conditions.Fails(XT_CONNTRACK_PROTO,
                       connection->original.protocol ==
                           LOAD_FIELD(payload, Info, l4proto))) {
    return false;
  }
  if (!PortsMatch(conditions, payload, *connection, ranges)) return false;
  if (conditions.Fails(XT_CONNTRACK_STATUS,
                       (status_mask & connection->status) != 0)) {
    return false;
  }
  return !(conditions.match & XT_CONNTRACK_EXPIRES) ||
         ExpiryMatches(conditions, payload, &packet);
}

}  // namespace

bool MatchConntrack1(const uint8_t* payload, const XtContext& context) {
  return MatchConntrack(
      payload, context, LOAD_FIELD(payload, xt_conntrack_mtinfo1, state_mask),
      LOAD_FIELD(payload, xt_conntrack_mtinfo1, status_mask), false);
}

bool MatchConntrack2(const uint8_t* payload, const XtContext& context) {
  return MatchConntrack(payload, context, LOAD_FIELD(payload, Info, state_mask),
                        LOAD_FIELD(payload, Info, status_mask), false);
}

bool MatchConntrack3(const uint8_t* payload, const XtContext& context) {
  return MatchConntrack(payload, context, LOAD_FIELD(payload, Info, state_mask),
                        LOAD_FIELD(payload, Info, status_mask), true);
}

bool MatchState(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  unsigned bit = XT_STATE_INVALID;
  if (packet.connection != nullptr) {
    bit = StateBit(packet.ct_info);
  } else if (packet.ct_template.set) {
    bit = StateBit(CtInfo::kNew);
  } else if (packet.ct_info == CtInfo::kUntracked) {
    bit = XT_STATE_UNTRACKED;
  }
  return LOAD_FIELD(payload, xt_state_info, statemask) & bit;
}

bool MatchConnmark(const uint8_t* payload, const XtContext& context) {
  const auto mark = ConnectionMarkOf(*context.packet);
  if (!mark) return false;
  const auto info = LoadAt<xt_connmark_mtinfo1>(payload);
  return static_cast<bool>(((*mark & info.mask) == info.mark) ^ info.invert);
}

bool MatchConnbytes(const uint8_t* payload, const XtContext& context) {
  const Connection* connection = context.packet->connection;
  if (connection == nullptr) return false;
  const auto info = LoadAt<xt_connbytes_info>(payload);
  Counters sum;
  for (int direction = 0; direction < 2; ++direction) {
    if (info.direction != XT_CONNBYTES_DIR_BOTH &&
        info.direction != direction) {
      continue;
    }
    sum.packets += connection->direction[direction].packets;
    sum.bytes += connection->direction[direction].bytes;
  }
  uint64_t value = 0;
  switch (info.what) {
    case XT_CONNBYTES_PKTS:
      value = sum.packets;
      break;
    case XT_CONNBYTES_BYTES:
      value = sum.bytes;
      break;
    case XT_CONNBYTES_AVGPKT:
      if (sum.packets != 0) value = sum.bytes / sum.packets;
      break;
  }
  // A range that ends before it starts is an inverted one.
  if (info.count.to >= info.count.from) {
    return value >= info.count.from && value <= info.count.to;
  }
  return value < info.count.to || value > info.count.from;
}

Status CheckConnbytes(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_connbytes_info>(payload.data());
  if (info.what > XT_CONNBYTES_AVGPKT ||
      info.direction > XT_CONNBYTES_DIR_BOTH) {
    return Refuse(EINVAL, "unknown quantity or direction");
  }
  return {};
}

}  // namespace nfarena::xt
