// LOG, NFLOG and TRACE: they tell, and the packet goes on.
// Source: net/netfilter/xt_LOG.c, xt_NFLOG.c, xt_TRACE.c.

#include <cerrno>
#include <string>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

template <size_t N>
std::string Text(const char (&field)[N]) {
  return {field, strnlen(field, N)};
}

}  // namespace

XtTargetResult TargetLog(const uint8_t* payload, const XtContext& context) {
  if (Outcome* outcome = context.packet->outcome) {
    const auto info = LoadAt<xt_log_info>(payload);
    LogRecord& record = outcome->logs.emplace_back();
    record.prefix = Text(info.prefix);
    record.level = info.level;
  }
  return {};
}

Status CheckLog(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_log_info>(payload.data());
  if (info.level >= 8) return Refuse(EINVAL, "level over 7");
  if (info.prefix[sizeof(info.prefix) - 1] != '\0') {
    return Refuse(EINVAL, "prefix without an end");
  }
  return {};
}

XtTargetResult TargetNflog(const uint8_t* payload, const XtContext& context) {
  if (Outcome* outcome = context.packet->outcome) {
    const auto info = LoadAt<xt_nflog_info>(payload);
    LogRecord& record = outcome->logs.emplace_back();
    record.prefix = Text(info.prefix);
    record.group = info.group;
    record.nflog = true;
  }
  return {};
}

Status CheckNflog(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_nflog_info>(payload.data());
  if (info.flags & ~XT_NFLOG_MASK) return Refuse(EINVAL, "unknown flags");
  if (info.prefix[sizeof(info.prefix) - 1] != '\0') {
    return Refuse(EINVAL, "prefix without an end");
  }
  return {};
}

XtTargetResult TargetTrace(const uint8_t*, const XtContext& context) {
  context.packet->traced = true;
  return {};
}

}  // namespace nfarena::xt
