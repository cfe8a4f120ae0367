// mark, owner and comment: what is not in the packet's bytes.
// Source: net/netfilter/xt_mark.c, xt_owner.c, xt_comment.c.

#include <cerrno>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

enum class Socket : uint8_t {
  kNone,      // forwarded, or a RST made by REJECT
  kOfKernel,  // an ICMP error: the stack's own socket, which has no file
  kOfProcess,
};

Socket SocketOf(const PacketState& packet) {
  if (packet.answer) {
    return packet.headers.protocol == IPPROTO_TCP ? Socket::kNone
                                                  : Socket::kOfKernel;
  }
  return packet.local_out ? Socket::kOfProcess : Socket::kNone;
}

}  // namespace

bool MatchMark(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_mark_mtinfo1>(payload);
  return static_cast<bool>(((context.packet->mark & info.mask) == info.mark) ^
                           info.invert);
}

bool MatchOwner(const uint8_t* payload, const XtContext& context) {
  const PacketState& packet = *context.packet;
  const auto info = LoadAt<xt_owner_match_info>(payload);
  const unsigned differing = info.match ^ info.invert;
  const Socket socket = SocketOf(packet);
  if (socket == Socket::kNone) return differing == 0;
  if (info.match & info.invert & XT_OWNER_SOCKET) return false;
  if (socket == Socket::kOfKernel) {
    return (differing & (XT_OWNER_UID | XT_OWNER_GID)) == 0;
  }
  // A packet that does not name its owner was sent by root.  Supplementary
  // groups are not modelled: a process has its own group only.
  uint32_t uid = 0, gid = 0;
  if (packet.origin != nullptr) {
    uid = packet.origin->uid.value_or(0);
    gid = packet.origin->gid.value_or(0);
  }
  if ((info.match & XT_OWNER_UID) &&
      !InRange(uid, info.uid_min, info.uid_max, info.invert & XT_OWNER_UID)) {
    return false;
  }
  return !(info.match & XT_OWNER_GID) ||
         InRange(gid, info.gid_min, info.gid_max, info.invert & XT_OWNER_GID);
}

Status CheckOwner(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_owner_match_info>(payload.data());
  constexpr uint32_t kInvalidId = 0xffffffff;
  if (info.match & ~XT_OWNER_MASK) return Refuse(EINVAL, "unknown flags");
  if ((info.match & XT_OWNER_UID) &&
      (info.uid_max < info.uid_min || info.uid_max == kInvalidId)) {
    return Refuse(EINVAL, "bad range of user ids");
  }
  if ((info.match & XT_OWNER_GID) &&
      (info.gid_max < info.gid_min || info.gid_max == kInvalidId)) {
    return Refuse(EINVAL, "bad range of group ids");
  }
  return {};
}

bool MatchComment(const uint8_t*, const XtContext&) { return true; }

}  // namespace nfarena::xt
