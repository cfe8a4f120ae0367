// NFQUEUE (revisions 0 to 3).
// Source: net/netfilter/xt_NFQUEUE.c.

#include <cerrno>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

XtTargetResult Queue(uint16_t queue) { return {XtVerdict::kQueue, queue}; }

/// Several queues share the load by a hash with a random seed, or by CPU; the
/// first stands for them.
XtTargetResult QueueOneOf(uint16_t queue, uint16_t total,
                          const XtContext& context) {
  if (total > 1) context.packet->MarkIndeterminate("NFQUEUE --queue-balance");
  return Queue(queue);
}

Status CheckTotal(std::span<const uint8_t> payload) {
  const auto info = LoadAt<xt_NFQ_info_v1>(payload.data());
  if (info.queues_total == 0) return Refuse(EINVAL, "no queue");
  if (info.queues_total - 1 + info.queuenum > 0xffff) {
    return Refuse(ERANGE, "queue number over 65535");
  }
  return {};
}

}  // namespace

XtTargetResult TargetNfqueue0(const uint8_t* payload, const XtContext&) {
  return Queue(LOAD_FIELD(payload, xt_NFQ_info, queuenum));
}

// Revision 2 adds the bypass flag only: what happens when nobody listens on
// the queue, which is not the ruleset's doing.
XtTargetResult TargetNfqueue1(const uint8_t* payload,
                              const XtContext& context) {
  const auto info = LoadAt<xt_NFQ_info_v1>(payload);
  return QueueOneOf(info.queuenum, info.queues_total, context);
}

XtTargetResult TargetNfqueue3(const uint8_t* payload,
                              const XtContext& context) {
  return TargetNfqueue1(payload, context);
}

Status CheckNfqueue1(std::span<const uint8_t> payload, const XtUse&) {
  return CheckTotal(payload);
}

Status CheckNfqueue2(std::span<const uint8_t> payload, const XtUse&) {
  if (Status status = CheckTotal(payload); !status) return status;
  if (LOAD_FIELD(payload.data(), xt_NFQ_info_v2, bypass) > 1) {
    return Refuse(EINVAL, "unknown flags");
  }
  return {};
}

Status CheckNfqueue3(std::span<const uint8_t> payload, const XtUse&) {
  if (Status status = CheckTotal(payload); !status) return status;
  if (LOAD_FIELD(payload.data(), xt_NFQ_info_v3, flags) & ~NFQ_FLAG_MASK) {
    return Refuse(EINVAL, "unknown flags");
  }
  return {};
}

}  // namespace nfarena::xt
