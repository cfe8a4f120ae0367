// log, reject, nat, masq, redir, queue.
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>

#include <cstring>
#include <optional>
#include <vector>

#include "engines/core/answers.h"
#include "engines/core/path.h"
#include "engines/core/tracker.h"
#include "engines/vm/operations.h"

namespace nfarena::vm {

int32_t Run(const LogCode& code, Frame* frame) {
  Outcome* outcome = frame->view->packet->outcome;
  // Audit records are not log records.
  if (outcome == nullptr || (!code.nflog && code.level == NFT_LOGLEVEL_AUDIT)) {
    return kVerdictContinue;
  }
  LogRecord& record = outcome->logs.emplace_back();
  if (code.prefix != nullptr) record.prefix = code.prefix;
  record.nflog = code.nflog != 0;
  if (record.nflog) {
    record.group = code.group;
  } else {
    record.level = code.level;
  }
  return kVerdictContinue;
}

// ---- reject ----

namespace {

// nft_reject_icmp_code(), nft_reject_icmpv6_code(): the abstract codes.
uint8_t AbstractCode(uint8_t code, bool ipv4) {
  switch (code) {
    case NFT_REJECT_ICMPX_NO_ROUTE:
      return ipv4 ? ICMP_NET_UNREACH : ICMP6_DST_UNREACH_NOROUTE;
    case NFT_REJECT_ICMPX_PORT_UNREACH:
      return ipv4 ? ICMP_PORT_UNREACH : ICMP6_DST_UNREACH_NOPORT;
    case NFT_REJECT_ICMPX_HOST_UNREACH:
      return ipv4 ? ICMP_HOST_UNREACH : ICMP6_DST_UNREACH_ADDR;
    default:  // NFT_REJECT_ICMPX_ADMIN_PROHIBITED
      return ipv4 ? ICMP_PKT_FILTERED : ICMP6_DST_UNREACH_ADMIN;
  }
}

}  // namespace

int32_t Run(const RejectCode& code, Frame* frame) {
  const PacketState& packet = *frame->view->packet;
  if (packet.path == nullptr) return kVerdictDrop;
  const bool ipv4 = packet.family == Family::kIpv4;
  std::vector<uint8_t> answer;
  bool answered = false;
  switch (code.type) {
    case NFT_REJECT_ICMP_UNREACH:
      answered = BuildRejectUnreachable(packet, code.icmp_code, &answer);
      break;
    case NFT_REJECT_TCP_RST:
      answered = BuildTcpReset(packet, &answer);
      break;
    case NFT_REJECT_ICMPX_UNREACH:
      // Only the inet family knows it; elsewhere it drops in silence.
      if (frame->family == NFPROTO_INET) {
        answered = BuildRejectUnreachable(
            packet, AbstractCode(code.icmp_code, ipv4), &answer);
      }
      break;
  }
  if (answered) packet.path->AddAnswer(answer);
  return kVerdictDrop;
}

// ---- nat ----

namespace {

int32_t Bound(bool bound) { return bound ? kVerdictAccept : kVerdictDrop; }

void LoadPorts(Registers* registers, uint8_t min_reg, uint8_t max_reg,
               NatRange* range) {
  if (min_reg == 0) return;
  range->min_port = ntohs(registers->Load16(min_reg));
  range->max_port = ntohs(registers->Load16(max_reg));
}

}  // namespace

int32_t Run(const NatCode& code, Frame* frame) {
  PacketState* packet = frame->view->packet;
  const bool ipv4 = packet->family == Family::kIpv4;
  if (frame->family == NFPROTO_INET && code.family != NFPROTO_INET &&
      code.family != (ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6)) {
    return kVerdictContinue;
  }
  // The nat hook asks only about packets that have a connection.
  if (packet->connection == nullptr) return kVerdictAccept;
  NatRange range;
  range.flags = code.flags;
  if (code.sreg_addr_min != 0) {
    const size_t bytes = code.family == NFPROTO_IPV4 ? 4 : 16;
    std::memcpy(range.min.data(), frame->registers->at(code.sreg_addr_min),
                bytes);
    std::memcpy(range.max.data(), frame->registers->at(code.sreg_addr_max),
                bytes);
  }
  LoadPorts(frame->registers, code.sreg_proto_min, code.sreg_proto_max, &range);
  const NatManip manip =
      code.destination ? NatManip::kDestination : NatManip::kSource;
  if (code.sreg_addr_min != 0 && (code.flags & kNatNetmap) != 0) {
    return Bound(packet->tracker->SetupNetmap(packet, range, manip));
  }
  return Bound(packet->tracker->SetupNat(packet, range, manip));
}

int32_t Run(const MasqCode& code, Frame* frame) {
  PacketState* packet = frame->view->packet;
  if (packet->connection == nullptr) return kVerdictAccept;
  NatRange range;
  range.flags = code.flags;
  LoadPorts(frame->registers, code.sreg_proto_min, code.sreg_proto_max, &range);
  return Bound(packet->tracker->SetupMasquerade(packet, range));
}

int32_t Run(const RedirCode& code, Frame* frame) {
  PacketState* packet = frame->view->packet;
  if (packet->connection == nullptr) return kVerdictAccept;
  NatRange range;
  range.flags = code.flags;
  LoadPorts(frame->registers, code.sreg_proto_min, code.sreg_proto_max, &range);
  return Bound(packet->tracker->SetupRedirect(packet, range));
}

// ---- queue ----

int32_t Run(const QueueCode& code, Frame* frame) {
  uint32_t number = code.number;
  if (code.head.opcode == Opcode::kQueueRegister) {
    number = *frame->registers->at(code.sreg);
  } else if (code.total > 1) {
    // Spread by a hash with a random seed, or by CPU; the first stands for all.
    frame->view->packet->MarkIndeterminate("NFQUEUE --queue-balance");
  }
  // The bypass flag speaks of queues that nobody listens on.
  return static_cast<int32_t>((number & 0xffff) << 16 | kVerdictQueue);
}

}  // namespace nfarena::vm
