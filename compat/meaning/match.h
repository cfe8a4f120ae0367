// What a match says: the uapi payload of an extension as a plain struct.
//
// Every field is in host byte order except Address (network order, as in the
// model); every flag word is split into named bits.  The payload itself stays
// the neutral form of the model because that is what the xtables line of
// engines takes; only who must know the meaning (reference, the nft lowering,
// the prover) decodes, and all of them decode through this one place.
//
// A revision that no kernel of today offers any more is refused, never guessed.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "compat/meaning/match_headers.h"
#include "compat/meaning/match_host.h"
#include "compat/meaning/match_stateful.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

/// first <= port <= last, then inverted.  0..65535 not inverted is "any".
/// A range with first > last holds no port (the kernel takes such rules).
struct PortRange {
  uint16_t first = 0;
  uint16_t last = 0xffff;
  bool inverted = false;
  bool operator==(const PortRange&) const = default;
  bool any() const { return first == 0 && last == 0xffff && !inverted; }
};

/// -m tcp.  All parts must hold; each is inverted on its own.
struct TcpMatch {
  PortRange source, destination;
  uint8_t option = 0;  // 0 = not asked for
  bool option_inverted = false;
  uint8_t flags_mask = 0;  // header byte 13; mask 0 and value 0 always hold
  uint8_t flags_value = 0;
  bool flags_inverted = false;
  bool operator==(const TcpMatch&) const = default;
};

/// -m udp, -m udplite
struct UdpMatch {
  PortRange source, destination;
  bool operator==(const UdpMatch&) const = default;
};

/// -m icmp, -m icmp6
struct IcmpMatch {
  Family family = Family::kIpv4;
  bool any_type = false;  // IPv4's type 255; type and codes then say nothing
  uint8_t type = 0;
  uint8_t code_first = 0;
  uint8_t code_last = 0xff;
  bool inverted = false;
  bool operator==(const IcmpMatch&) const = default;
};

enum class PortSide : uint8_t { kSource, kDestination, kEither };

/// -m multiport: one of the ranges holds the port, then inverted.  The
/// protocol (one that has ports) is the rule's own.
struct MultiportMatch {
  PortSide side = PortSide::kSource;
  std::vector<PortRange> ranges;  // at most 15, none of them inverted
  bool inverted = false;
  bool operator==(const MultiportMatch&) const = default;
};

/// Addresses compare as big-endian numbers.
struct AddressRange {
  Address first{}, last{};
  bool inverted = false;
  bool operator==(const AddressRange&) const = default;
};

/// -m iprange
struct IprangeMatch {
  std::optional<AddressRange> source, destination;
  bool operator==(const IprangeMatch&) const = default;
};

/// What -m conntrack asks about; XT_CONNTRACK_* of xt_conntrack.h.
enum ConntrackTest : uint16_t {
  kCtTestState = 1u << 0,
  kCtTestProtocol = 1u << 1,
  kCtTestOriginalSource = 1u << 2,
  kCtTestOriginalDestination = 1u << 3,
  kCtTestReplySource = 1u << 4,
  kCtTestReplyDestination = 1u << 5,
  kCtTestStatus = 1u << 6,
  kCtTestExpires = 1u << 7,
  kCtTestOriginalSourcePort = 1u << 8,
  kCtTestOriginalDestinationPort = 1u << 9,
  kCtTestReplySourcePort = 1u << 10,
  kCtTestReplyDestinationPort = 1u << 11,
  kCtTestDirection = 1u << 12,   // inverted = REPLY
  kCtTestStateAlias = 1u << 13,  // written as -m state; says nothing else
};

/// Bits of ConntrackMatch::state_mask; XT_CONNTRACK_STATE_*.
enum ConntrackStateBit : uint16_t {
  kCtStateInvalid = 1u << 0,
  kCtStateEstablished = 1u << 1,
  kCtStateRelated = 1u << 2,
  kCtStateNew = 1u << 3,
  kCtStateSnat = 1u << 6,
  kCtStateDnat = 1u << 7,
  kCtStateUntracked = 1u << 8,
};

struct MaskedAddress {
  Address address{}, mask{};
  bool operator==(const MaskedAddress&) const = default;
};

/// -m conntrack (and -m state, which iptables 1.8 writes as conntrack).
/// `tests` names what is asked, `inverted` which of it is inverted; both hold
/// ConntrackTest bits.  Ports are ranges (revisions before 3: one port).
struct ConntrackMatch {
  uint16_t tests = 0;
  uint16_t inverted = 0;
  uint16_t state_mask = 0;   // ConntrackStateBit
  uint16_t status_mask = 0;  // IPS_*; 0 with kCtTestStatus = "NONE"
  uint16_t protocol = 0;
  MaskedAddress original_source, original_destination;
  MaskedAddress reply_source, reply_destination;
  PortRange original_source_port, original_destination_port;
  PortRange reply_source_port, reply_destination_port;
  uint32_t expires_first_s = 0;
  uint32_t expires_last_s = 0;
  bool operator==(const ConntrackMatch&) const = default;
};

/// Bits of StateMatch::state_mask; XT_STATE_* (UNTRACKED differs from
/// conntrack's).
enum StateBit : uint32_t {
  kStateInvalid = 1u << 0,
  kStateEstablished = 1u << 1,
  kStateRelated = 1u << 2,
  kStateNew = 1u << 3,
  kStateUntracked = 1u << 6,
};

/// The old "state" module, revision 0.
struct StateMatch {
  uint32_t state_mask = 0;  // StateBit
  bool operator==(const StateMatch&) const = default;
};

/// (mark & mask) == value, then inverted.
struct MarkMatch {
  uint32_t value = 0, mask = 0;
  bool inverted = false;
  bool operator==(const MarkMatch&) const = default;
};
struct ConnmarkMatch {
  uint32_t value = 0, mask = 0;
  bool inverted = false;
  bool operator==(const ConnmarkMatch&) const = default;
};

/// -m limit: one packet every `interval` / 10,000 seconds on average
/// (XT_LIMIT_SCALE), `burst` at once.
struct LimitMatch {
  uint32_t interval = 0;  // 1/10,000 s
  uint32_t burst = 0;
  bool operator==(const LimitMatch&) const = default;
};

struct MacMatch {
  std::array<uint8_t, 6> source{};
  bool inverted = false;
  bool operator==(const MacMatch&) const = default;
};

/// -m addrtype: masks of 1 << RTN_*; 0 = not asked for.
struct AddrtypeMatch {
  uint16_t source_types = 0, destination_types = 0;
  bool source_inverted = false, destination_inverted = false;
  bool limit_in = false, limit_out = false;  // --limit-iface-in, -out
  bool operator==(const AddrtypeMatch&) const = default;
};

/// Layer 3 length (IPv6: payload length + 40).
struct LengthMatch {
  uint16_t first = 0, last = 0xffff;
  bool inverted = false;
  bool operator==(const LengthMatch&) const = default;
};

struct DscpMatch {
  uint8_t value = 0;  // 6 bits
  bool inverted = false;
  bool operator==(const DscpMatch&) const = default;
};

/// (tos & mask) == value, then inverted.  IPv6: the traffic class.
struct TosMatch {
  uint8_t value = 0, mask = 0;
  bool inverted = false;
  bool operator==(const TosMatch&) const = default;
};

enum class TtlTest : uint8_t { kEqual, kNotEqual, kLess, kGreater };

/// -m ttl (IPv4), -m hl (IPv6)
struct TtlMatch {
  Family family = Family::kIpv4;
  TtlTest test = TtlTest::kEqual;
  uint8_t value = 0;
  bool operator==(const TtlMatch&) const = default;
};

/// PACKET_HOST 0, PACKET_BROADCAST 1, PACKET_MULTICAST 2, PACKET_OTHERHOST 3...
struct PkttypeMatch {
  int32_t type = 0;
  bool inverted = false;
  bool operator==(const PkttypeMatch&) const = default;
};

struct IdRange {
  uint32_t first = 0, last = 0;
  bool inverted = false;
  bool operator==(const IdRange&) const = default;
};

/// -m owner.  A packet without a socket matches only if everything that is
/// asked is inverted.
struct OwnerMatch {
  std::optional<IdRange> uid, gid;
  bool socket_exists = false;
  bool socket_inverted = false;
  bool supplementary_groups = false;
  bool operator==(const OwnerMatch&) const = default;
};

/// Always holds.
struct CommentMatch {
  std::string text;
  bool operator==(const CommentMatch&) const = default;
};

enum class StatisticMode : uint8_t { kRandom, kNth };

/// -m statistic
struct StatisticMatch {
  StatisticMode mode = StatisticMode::kRandom;
  uint32_t probability = 0;  // of 2^31 (kRandom)
  /// kNth: the kernel's form, which is one less than `--every`: packet number
  /// `packet` of each `every` + 1 matches.
  uint32_t every = 0;
  uint32_t packet = 0;
  /// kNth: the running count when loaded; user space sets it to
  /// `every` - `packet`.  A packet that finds it at `every` matches.
  uint32_t start_count = 0;
  bool inverted = false;
  bool operator==(const StatisticMatch&) const = default;
};

enum class CounterTest : uint8_t { kNone, kEqual, kNotEqual, kLess, kGreater };

/// -m set.  The set itself lives in the kernel; the payload holds its index.
struct SetMatch {
  uint16_t index = 0;
  uint8_t dimensions = 0;
  uint8_t source_mask = 0;  // bit i: dimension i (from 0) is the source's
  bool inverted = false;
  bool return_nomatch = false;
  bool update_counters = true;
  bool update_subcounters = true;
  CounterTest packets_test = CounterTest::kNone;
  uint64_t packets = 0;
  CounterTest bytes_test = CounterTest::kNone;
  uint64_t bytes = 0;
  bool operator==(const SetMatch&) const = default;
};

using Condition = std::variant<
    // match.h
    TcpMatch, UdpMatch, IcmpMatch, MultiportMatch, IprangeMatch, ConntrackMatch,
    StateMatch, MarkMatch, ConnmarkMatch, LimitMatch, MacMatch, AddrtypeMatch,
    LengthMatch, DscpMatch, TosMatch, TtlMatch, PkttypeMatch, OwnerMatch,
    CommentMatch, StatisticMatch, SetMatch,
    // match_stateful.h
    RecentMatch, HashlimitMatch, ConnlimitMatch, ConnbytesMatch, QuotaMatch,
    TimeMatch,
    // match_headers.h
    EcnMatch, EspMatch, AhMatch, SctpMatch, DccpMatch, TcpmssMatch, StringMatch,
    U32Match, FragMatch, RtMatch, OptionsMatch, Ipv6headerMatch,
    // match_host.h
    HelperMatch, RpfilterMatch, PolicyMatch, PhysdevMatch, CpuMatch, RealmMatch,
    SocketMatch, DevgroupMatch>;

/// Decodes one match of a rule.  `place` of an error holds the extension's
/// column and name; line and file are the caller's to add.
/// Errors: kUnsupported (no meaning known for this name, family or revision),
/// kRange (payload shorter than the structure, or a field out of its limits).
[[nodiscard]] Result<Condition> DecodeMatch(Family family,
                                            const Extension& match);

}  // namespace nfarena
