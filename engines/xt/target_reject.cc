// REJECT: drop, and answer where an answer is allowed.
// Source: net/ipv4/netfilter/ipt_REJECT.c, net/ipv6/netfilter/ip6t_REJECT.c.

#include <cerrno>
#include <optional>
#include <vector>

#include "engines/core/answers.h"
#include "engines/core/path.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

// ICMPv6 codes newer than <netinet/icmp6.h>.
constexpr uint8_t kIcmp6PolicyFail = 5;
constexpr uint8_t kIcmp6RejectRoute = 6;

constexpr XtTargetResult kDropped{XtVerdict::kDrop, 0};

/// Answers with the code or, for nullopt, with a reset; then drops.
XtTargetResult Reject(const XtContext& context, std::optional<uint8_t> code) {
  const PacketState& packet = *context.packet;
  if (packet.path == nullptr) return kDropped;
  std::vector<uint8_t> answer;
  const bool answered = code.has_value()
                            ? BuildRejectUnreachable(packet, *code, &answer)
                            : BuildTcpReset(packet, &answer);
  if (answered) packet.path->AddAnswer(answer);
  return kDropped;
}

Status CheckReset(const XtUse& use) {
  if (use.protocol != IPPROTO_TCP || use.protocol_inverted) {
    return Refuse(EINVAL, "tcp-reset needs -p tcp");
  }
  return {};
}

}  // namespace

XtTargetResult TargetReject4(const uint8_t* payload, const XtContext& context) {
  switch (LoadAt<uint32_t>(payload)) {
    case IPT_ICMP_NET_UNREACHABLE:
      return Reject(context, ICMP_NET_UNREACH);
    case IPT_ICMP_HOST_UNREACHABLE:
      return Reject(context, ICMP_HOST_UNREACH);
    case IPT_ICMP_PROT_UNREACHABLE:
      return Reject(context, ICMP_PROT_UNREACH);
    case IPT_ICMP_PORT_UNREACHABLE:
      return Reject(context, ICMP_PORT_UNREACH);
    case IPT_ICMP_NET_PROHIBITED:
      return Reject(context, ICMP_NET_ANO);
    case IPT_ICMP_HOST_PROHIBITED:
      return Reject(context, ICMP_HOST_ANO);
    case IPT_ICMP_ADMIN_PROHIBITED:
      return Reject(context, ICMP_PKT_FILTERED);
    case IPT_TCP_RESET:
      return Reject(context, std::nullopt);
    default:
      return kDropped;
  }
}

Status CheckReject4(std::span<const uint8_t> payload, const XtUse& use) {
  switch (LoadAt<uint32_t>(payload.data())) {
    case IPT_ICMP_ECHOREPLY:
      return Refuse(EINVAL, "echo-reply is no longer supported");
    case IPT_TCP_RESET:
      return CheckReset(use);
    default:
      return {};
  }
}

XtTargetResult TargetReject6(const uint8_t* payload, const XtContext& context) {
  switch (LoadAt<uint32_t>(payload)) {
    case IP6T_ICMP6_NO_ROUTE:
      return Reject(context, ICMP6_DST_UNREACH_NOROUTE);
    case IP6T_ICMP6_ADM_PROHIBITED:
      return Reject(context, ICMP6_DST_UNREACH_ADMIN);
    case IP6T_ICMP6_NOT_NEIGHBOUR:
      return Reject(context, ICMP6_DST_UNREACH_BEYONDSCOPE);
    case IP6T_ICMP6_ADDR_UNREACH:
      return Reject(context, ICMP6_DST_UNREACH_ADDR);
    case IP6T_ICMP6_PORT_UNREACH:
      return Reject(context, ICMP6_DST_UNREACH_NOPORT);
    case IP6T_ICMP6_POLICY_FAIL:
      return Reject(context, kIcmp6PolicyFail);
    case IP6T_ICMP6_REJECT_ROUTE:
      return Reject(context, kIcmp6RejectRoute);
    case IP6T_TCP_RESET:
      return Reject(context, std::nullopt);
    default:
      return kDropped;
  }
}

Status CheckReject6(std::span<const uint8_t> payload, const XtUse& use) {
  switch (LoadAt<uint32_t>(payload.data())) {
    case IP6T_ICMP6_ECHOREPLY:
      return Refuse(EINVAL, "echo-reply is not supported");
    case IP6T_TCP_RESET:
      return CheckReset(use);
    default:
      return {};
  }
}

}  // namespace nfarena::xt
