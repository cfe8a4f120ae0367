#include "engines/kernel/events.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <charconv>
#include <cstring>

#include "engines/kernel/netlink.h"

namespace nfarena::kernel {
namespace {

template <typename T>
bool ReadStruct(std::span<const uint8_t> payload, T* value) {
  if (payload.size() < sizeof(T)) return false;
  std::memcpy(value, payload.data(), sizeof(T));
  return true;
}

std::optional<Hook> HookOf(uint8_t number) {
  if (number >= kHookCount) return std::nullopt;
  return static_cast<Hook>(number);
}

std::optional<Event> DecodeLog(std::span<const uint8_t> attributes,
                               uint16_t group) {
  Event event;
  bool head = false;
  ForEachAttribute(attributes, [&](uint16_t type, auto payload) {
    switch (type) {
      case NFULA_PACKET_HDR: {
        nfulnl_msg_packet_hdr packet{};
        const auto hook =
            ReadStruct(payload, &packet) ? HookOf(packet.hook) : std::nullopt;
        if (hook) {
          event.hook = *hook;
          head = true;
        }
        break;
      }
      case NFULA_MARK:
        event.mark = ReadBe32(payload);
        break;
      case NFULA_IFINDEX_INDEV:
        event.in_index = ReadBe32(payload);
        break;
      case NFULA_IFINDEX_OUTDEV:
        event.out_index = ReadBe32(payload);
        break;
      case NFULA_PAYLOAD:
        event.bytes = payload;
        break;
      case NFULA_PREFIX:
        event.prefix = ReadText(payload);
        break;
      default:
        break;
    }
  });
  if (!head) return std::nullopt;
  event.kind = EventKind::kNflog;
  event.group = group;
  if (group == kProbeGroup && event.prefix == kFinalPrefix) {
    event.kind = EventKind::kFinal;
  } else if (group == kProbeGroup && event.prefix == kPriorityPrefix) {
    event.kind = EventKind::kPriority;
  } else if (group == 0) {
    // ip_tables writes its trace through the family's logger, whose group
    // is 0.
    if (const auto trace = ParseLegacyTrace(event.prefix)) {
      event.kind = EventKind::kLegacyTrace;
      event.table = trace->table;
      event.chain = trace->chain;
      event.step = trace->step;
      event.rulenum = trace->rulenum;
    }
  }
  return event;
}

std::optional<Event> DecodeQueue(std::span<const uint8_t> attributes,
                                 uint16_t queue) {
  Event event;
  bool head = false;
  ForEachAttribute(attributes, [&](uint16_t type, auto payload) {
    switch (type) {
      case NFQA_PACKET_HDR: {
        nfqnl_msg_packet_hdr packet{};
        const auto hook =
            ReadStruct(payload, &packet) ? HookOf(packet.hook) : std::nullopt;
        if (hook) {
          event.hook = *hook;
          event.packet_id = ntohl(packet.packet_id);
          head = true;
        }
        break;
      }
      case NFQA_MARK:
        event.mark = ReadBe32(payload);
        break;
      case NFQA_IFINDEX_INDEV:
        event.in_index = ReadBe32(payload);
        break;
      case NFQA_IFINDEX_OUTDEV:
        event.out_index = ReadBe32(payload);
        break;
      case NFQA_PAYLOAD:
        event.bytes = payload;
        break;
      default:
        break;
    }
  });
  if (!head) return std::nullopt;
  event.kind = EventKind::kQueue;
  event.queue = queue;
  return event;
}

std::optional<Event> DecodeTrace(std::span<const uint8_t> attributes) {
  Event event;
  event.kind = EventKind::kNftTrace;
  std::optional<TraceStep> step;
  ForEachAttribute(attributes, [&](uint16_t type, auto payload) {
    switch (type) {
      case NFTA_TRACE_TABLE:
        event.table = ReadText(payload);
        break;
      case NFTA_TRACE_CHAIN:
        event.chain = ReadText(payload);
        break;
      case NFTA_TRACE_RULE_HANDLE:
        event.handle = ReadBe64(payload);
        break;
      case NFTA_TRACE_VERDICT:
        ForEachAttribute(payload, [&event](uint16_t inner, auto value) {
          if (inner != NFTA_VERDICT_CODE) return;
          event.drops = (ReadBe32(value) & NF_VERDICT_MASK) == NF_DROP;
        });
        break;
      case NFTA_TRACE_POLICY:
        event.drops = ReadBe32(payload) == NF_DROP;
        break;
      case NFTA_TRACE_TYPE:
        switch (ReadBe32(payload)) {
          case NFT_TRACETYPE_POLICY:
            step = TraceStep::kPolicy;
            break;
          case NFT_TRACETYPE_RETURN:
            step = TraceStep::kReturn;
            break;
          case NFT_TRACETYPE_RULE:
            step = TraceStep::kRule;
            break;
          default:
            break;
        }
        break;
      default:
        break;
    }
  });
  if (!step || event.table.empty() || event.chain.empty()) return std::nullopt;
  event.step = *step;
  return event;
}

}  // namespace

std::optional<LegacyTrace> ParseLegacyTrace(std::string_view prefix) {
  constexpr std::string_view kHead = "TRACE: ";
  if (!prefix.starts_with(kHead)) return std::nullopt;
  prefix.remove_prefix(kHead.size());
  if (!prefix.ends_with(' ')) return std::nullopt;
  prefix.remove_suffix(1);
  // The table comes first, number and step last; what is between is the chain.
  const size_t table_end = prefix.find(':');
  const size_t number_colon = prefix.rfind(':');
  if (table_end == std::string_view::npos || number_colon <= table_end) {
    return std::nullopt;
  }
  const size_t step_colon = prefix.rfind(':', number_colon - 1);
  if (step_colon == std::string_view::npos || step_colon <= table_end) {
    return std::nullopt;
  }
  LegacyTrace trace;
  trace.table = prefix.substr(0, table_end);
  trace.chain = prefix.substr(table_end + 1, step_colon - table_end - 1);
  const auto step =
      prefix.substr(step_colon + 1, number_colon - step_colon - 1);
  if (step == "rule") {
    trace.step = TraceStep::kRule;
  } else if (step == "return") {
    trace.step = TraceStep::kReturn;
  } else if (step == "policy") {
    trace.step = TraceStep::kPolicy;
  } else {
    return std::nullopt;
  }
  const auto number = prefix.substr(number_colon + 1);
  const auto [end, error] = std::from_chars(
      number.data(), number.data() + number.size(), trace.rulenum);
  if (error != std::errc() || end != number.data() + number.size()) {
    return std::nullopt;
  }
  return trace;
}

std::optional<Event> DecodeEvent(const nlmsghdr* message) {
  if (message->nlmsg_len < sizeof(nlmsghdr) + sizeof(nfgenmsg)) {
    return std::nullopt;
  }
  nfgenmsg head{};
  std::memcpy(&head,
              reinterpret_cast<const uint8_t*>(message) + sizeof(nlmsghdr),
              sizeof head);
  const auto attributes = AttributesOf(message, sizeof(nfgenmsg));
  // res_id is the group or queue for these two.
  switch (message->nlmsg_type) {
    case NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET:
      return DecodeLog(attributes, ntohs(head.res_id));
    case NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET:
      return DecodeQueue(attributes, ntohs(head.res_id));
    case NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE:
      return DecodeTrace(attributes);
    default:
      return std::nullopt;
  }
}

}  // namespace nfarena::kernel
