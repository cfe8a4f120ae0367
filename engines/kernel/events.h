// What the kernel tells about a packet while it walks through: log records,
// queued packets and trace records, as one ordered stream.
//
// All of them come over one netlink socket, so their order is the order in
// which they happened.  An Event's views point into the bytes it was read from.
// Source: include/uapi/linux/netfilter/nfnetlink_log.h, nfnetlink_queue.h,
// nf_tables.h (NFT_MSG_TRACE); trace_packet() of net/ipv4/netfilter/
// ip_tables.c for the text of a legacy trace record.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "compat/model/ruleset.h"

struct nlmsghdr;

namespace nfarena::kernel {

/// The nflog group of the probe's own records, and their prefixes.  A ruleset
/// may use the group too; it cannot type these prefixes.
inline constexpr uint16_t kProbeGroup = 65277;
inline constexpr std::string_view kFinalPrefix = "\001final";
inline constexpr std::string_view kPriorityPrefix = "\001priority";

enum class EventKind : uint8_t {
  kFinal,        // the probe's last hook: the packet as it leaves
  kPriority,     // the same, with skb->priority in `mark`
  kNflog,        // a rule's NFLOG
  kLegacyTrace,  // ip_tables' trace of one rule
  kNftTrace,     // nf_tables' trace of one rule
  kQueue,        // handed to user space; waits for its verdict
};

enum class TraceStep : uint8_t {
  kRule,    // a rule matched
  kReturn,  // a chain was left, by a rule or at its end
  kPolicy,  // the policy of a base chain
};

struct Event {
  EventKind kind = EventKind::kFinal;
  Hook hook = Hook::kPrerouting;  // not for kNftTrace
  uint32_t in_index = 0;          // ifindex, 0 = none
  uint32_t out_index = 0;
  uint32_t mark = 0;
  std::span<const uint8_t> bytes;  // from the IP header
  std::string_view prefix;         // kNflog
  uint16_t group = 0;              // kNflog
  uint16_t queue = 0;              // kQueue
  uint32_t packet_id = 0;          // kQueue: what the verdict names
  std::string_view table, chain;   // traces
  TraceStep step = TraceStep::kRule;
  uint32_t rulenum = 0;  // kLegacyTrace: 1-based, as the kernel counts
  uint64_t handle = 0;   // kNftTrace; 0 = no rule
  bool drops = false;    // kNftTrace: the verdict is to drop
};

/// nullopt when the message is none of the above or is cut off.
std::optional<Event> DecodeEvent(const nlmsghdr* message);

/// "TRACE: table:CHAIN:step:number "; a chain's name may hold colons.
struct LegacyTrace {
  std::string_view table, chain;
  TraceStep step = TraceStep::kRule;
  uint32_t rulenum = 0;
};
std::optional<LegacyTrace> ParseLegacyTrace(std::string_view prefix);

}  // namespace nfarena::kernel
