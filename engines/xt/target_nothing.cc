// CHECKSUM and AUDIT: targets that leave the packet and its verdict alone.
// Source: net/netfilter/xt_CHECKSUM.c, xt_AUDIT.c.
#include <cerrno>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {

// CHECKSUM fills in what a network card would have filled in; the packets of
// the arena are complete.  AUDIT writes to the audit log only.
XtTargetResult TargetNothing(const uint8_t*, const XtContext&) { return {}; }

Status CheckAudit(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_audit_info, type) > XT_AUDIT_TYPE_MAX) {
    return Refuse(EINVAL, "unknown kind of record");
  }
  return {};
}

Status CheckChecksum(std::span<const uint8_t> payload, const XtUse&) {
  if (LOAD_FIELD(payload.data(), xt_CHECKSUM_info, operation) !=
      XT_CHECKSUM_OP_FILL) {
    return Refuse(EINVAL, "unknown operation");
  }
  return {};
}

}  // namespace nfarena::xt
