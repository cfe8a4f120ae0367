// MARK, CONNMARK and CLASSIFY: numbers tied to the packet or its connection.
// Source: net/netfilter/xt_mark.c, xt_connmark.c, xt_CLASSIFY.c.

#include <cerrno>

#include "engines/core/tracker.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

uint32_t Shift(uint32_t value, const xt_connmark_tginfo2& info) {
  return info.shift_dir == D_SHIFT_RIGHT ? value >> info.shift_bits
                                         : value << info.shift_bits;
}

XtTargetResult ChangeConnmark(const xt_connmark_tginfo2& info,
                              PacketState* packet) {
  Connection* connection = packet->connection;
  if (connection == nullptr) return {};
  switch (info.mode) {
    case XT_CONNMARK_SET:
      connection->mark =
          Shift((connection->mark & ~info.ctmask) ^ info.ctmark, info);
      break;
    case XT_CONNMARK_SAVE:
      connection->mark = (connection->mark & ~info.ctmask) ^
                         Shift(packet->mark & info.nfmask, info);
      break;
    case XT_CONNMARK_RESTORE:
      packet->mark = (packet->mark & ~info.nfmask) ^
                     Shift(connection->mark & info.ctmask, info);
      break;
  }
  return {};
}

}  // namespace

XtTargetResult TargetMark(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_mark_tginfo2>(payload);
  context.packet->mark = (context.packet->mark & ~info.mask) ^ info.mark;
  return {};
}

XtTargetResult TargetConnmark1(const uint8_t* payload,
                               const XtContext& context) {
  const auto old = LoadAt<xt_connmark_tginfo1>(payload);
  xt_connmark_tginfo2 info{};
  info.ctmark = old.ctmark;
  info.ctmask = old.ctmask;
  info.nfmask = old.nfmask;
  info.mode = old.mode;
  return ChangeConnmark(info, context.packet);
}

XtTargetResult TargetConnmark2(const uint8_t* payload,
                               const XtContext& context) {
  return ChangeConnmark(LoadAt<xt_connmark_tginfo2>(payload), context.packet);
}

Status CheckConnmark2(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_connmark_tginfo2>(payload.data());
  if (info.shift_dir > D_SHIFT_RIGHT || info.shift_bits >= 32) {
    return Refuse(EINVAL, "bad shift");
  }
  return {};
}

XtTargetResult TargetClassify(const uint8_t* payload,
                              const XtContext& context) {
  context.packet->priority =
      LOAD_FIELD(payload, xt_classify_target_info, priority);
  return {};
}

}  // namespace nfarena::xt
