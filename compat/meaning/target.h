// What a target says: the uapi payload of an extension as a plain struct.
// See match.h for the conventions.  Standard verdicts and jumps are not here:
// the model itself says them (TargetKind).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

/// -j REJECT: drops, and answers with an ICMP error or a TCP reset.
struct RejectTarget {
  Family family = Family::kIpv4;
  bool tcp_reset = false;
  uint8_t icmp_type = 0;  // ICMP 3, ICMPv6 1
  uint8_t icmp_code = 0;
  bool operator==(const RejectTarget&) const = default;
};

/// Bits of LogTarget::flags; XT_LOG_*.
enum LogFlag : uint8_t {
  kLogTcpSequence = 0x01,
  kLogTcpOptions = 0x02,
  kLogIpOptions = 0x04,
  kLogUid = 0x08,
  kLogMacDecode = 0x20,
};

struct LogTarget {
  uint8_t level = 0;
  uint8_t flags = 0;  // LogFlag
  std::string prefix;
  bool operator==(const LogTarget&) const = default;
};

struct NflogTarget {
  uint16_t group = 0;
  uint16_t threshold = 0;
  bool has_length = false;  // --nflog-size was given (0 included)
  uint32_t length = 0;      // --nflog-range or --nflog-size
  std::string prefix;
  bool operator==(const NflogTarget&) const = default;
};

/// Queues first .. first + count - 1; count 1 = just `first`.
struct NfqueueTarget {
  uint16_t first = 0;
  uint16_t count = 1;
  bool bypass = false;
  bool cpu_fanout = false;
  bool operator==(const NfqueueTarget&) const = default;
};

/// mark = (mark & ~mask) ^ value
struct MarkTarget {
  uint32_t value = 0, mask = 0;
  bool operator==(const MarkTarget&) const = default;
};

enum class ConnmarkMode : uint8_t { kSet, kSave, kRestore };

/// Source of the arithmetic: net/netfilter/xt_connmark.c connmark_tg_shift().
struct ConnmarkTarget {
  ConnmarkMode mode = ConnmarkMode::kSet;
  uint32_t value = 0;  // kSet
  uint32_t connmark_mask = 0;
  uint32_t mark_mask = 0;  // kSave, kRestore
  bool shift_right = false;
  uint8_t shift_bits = 0;
  bool operator==(const ConnmarkTarget&) const = default;
};

/// Bits of NatParameters::flags; NF_NAT_RANGE_*.
enum NatFlag : uint32_t {
  kNatToAddresses = 1u << 0,
  kNatToPorts = 1u << 1,
  kNatToRandom = 1u << 2,
  kNatToPersistent = 1u << 3,
  kNatToRandomFully = 1u << 4,
  kNatToPortOffset = 1u << 5,  // ports are shifted, from base_port
  kNatToNetwork = 1u << 6,
};

/// struct nf_nat_range2.  Ports in host order; for ICMP they are identifiers.
struct NatParameters {
  uint32_t flags = 0;  // NatFlag
  Address first{}, last{};
  uint16_t first_port = 0, last_port = 0;
  uint16_t base_port = 0;
  bool operator==(const NatParameters&) const = default;
};

struct SnatTarget {
  NatParameters to;
  bool operator==(const SnatTarget&) const = default;
};
struct DnatTarget {
  NatParameters to;
  bool operator==(const DnatTarget&) const = default;
};
/// Addresses come from the outgoing device; only ports and flags count.
struct MasqueradeTarget {
  NatParameters to;
  bool operator==(const MasqueradeTarget&) const = default;
};
/// Addresses are the incoming device's (loopback for local packets).
struct RedirectTarget {
  NatParameters to;
  bool operator==(const RedirectTarget&) const = default;
};
/// Host bits stay, network bits (those in which first and last agree) become
/// those of `to.first`.
struct NetmapTarget {
  NatParameters to;
  bool operator==(const NetmapTarget&) const = default;
};

struct CtTarget {
  bool notrack = false;
  uint16_t zone = 0;
  bool zone_original = false;  // only in this direction; neither or both set
  bool zone_reply = false;     // = both directions
  bool zone_from_mark = false;
  uint32_t events = 0;  // 0 = all
  uint32_t expect_events = 0;
  std::string helper, timeout;  // "" = none
  bool operator==(const CtTarget&) const = default;
};

/// -j NOTRACK of old; the same as CtTarget with notrack.
struct NotrackTarget {
  bool operator==(const NotrackTarget&) const = default;
};

struct TraceTarget {
  bool operator==(const TraceTarget&) const = default;
};

struct TcpmssTarget {
  bool clamp_to_pmtu = false;
  uint16_t mss = 0;  // when not clamped
  bool operator==(const TcpmssTarget&) const = default;
};

struct DscpTarget {
  uint8_t value = 0;  // 6 bits
  bool operator==(const DscpTarget&) const = default;
};

/// tos = (tos & ~mask) ^ value
struct TosTarget {
  uint8_t value = 0, mask = 0;
  bool operator==(const TosTarget&) const = default;
};

enum class TtlChange : uint8_t { kSet, kIncrease, kDecrease };

/// -j TTL (IPv4), -j HL (IPv6); saturates at 0 and 255.
struct TtlTarget {
  Family family = Family::kIpv4;
  TtlChange change = TtlChange::kSet;
  uint8_t value = 0;
  bool operator==(const TtlTarget&) const = default;
};

struct ClassifyTarget {
  uint32_t priority = 0;  // skb->priority, major << 16 | minor
  bool operator==(const ClassifyTarget&) const = default;
};

/// -j CHECKSUM: fills in a checksum that was left to the hardware; a complete
/// packet stays as it is.
struct ChecksumTarget {
  bool operator==(const ChecksumTarget&) const = default;
};

/// -j ECN (IPv4)
struct EcnTarget {
  bool set_ip = false;
  uint8_t ip_ect = 0;  // the two bits
  bool set_ece = false, ece = false;
  bool set_cwr = false, cwr = false;
  bool operator==(const EcnTarget&) const = default;
};

/// -j TCPOPTSTRIP: options of these kinds become padding.
struct TcpoptstripTarget {
  std::array<uint32_t, 8> kinds{};  // a bit a kind
  bool operator==(const TcpoptstripTarget&) const = default;
};

/// -j TEE: a copy goes to another host of the link.
struct TeeTarget {
  Address gateway{};
  std::string out;  // "" = by the routes
  bool operator==(const TeeTarget&) const = default;
};

/// One set that -j SET names.
struct SetSelection {
  uint16_t index = 0;
  uint8_t dimensions = 0;
  uint8_t source_mask = 0;  // bit i: dimension i (from 0) is the source's
  bool operator==(const SetSelection&) const = default;
};

/// -j SET: the packet's element goes into one ipset, out of another; a third
/// says what to give the packet.
struct SetTarget {
  std::optional<SetSelection> add, remove, map;
  bool renew = false;                 // --exist
  std::optional<uint32_t> timeout_s;  // --timeout
  bool map_inverted = false;
  bool map_mark = false, map_priority = false, map_queue = false;
  bool operator==(const SetTarget&) const = default;
};

enum class AuditType : uint8_t { kAccept, kDrop, kReject };

/// -j AUDIT: a record for the audit subsystem; the packet goes on.
struct AuditTarget {
  AuditType type = AuditType::kAccept;
  bool operator==(const AuditTarget&) const = default;
};

using Action = std::variant<
    RejectTarget, LogTarget, NflogTarget, NfqueueTarget, MarkTarget,
    ConnmarkTarget, SnatTarget, DnatTarget, MasqueradeTarget, RedirectTarget,
    NetmapTarget, CtTarget, NotrackTarget, TraceTarget, TcpmssTarget,
    DscpTarget, TosTarget, TtlTarget, ClassifyTarget, ChecksumTarget, EcnTarget,
    TcpoptstripTarget, TeeTarget, AuditTarget, SetTarget>;

/// Decodes the extension target of a rule; errors as DecodeMatch.
[[nodiscard]] Result<Action> DecodeTarget(Family family,
                                          const Extension& target);

}  // namespace nfarena
