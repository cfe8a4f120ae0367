// CT and NOTRACK: what the tracker, which runs after the raw table, does with
// the packet.
//
// A helper is accepted where the kernel would find one of that name, but the
// twins' tracker reads no payload and so makes no expectations from it.
// Source: net/netfilter/xt_CT.c.

#include <algorithm>
#include <cerrno>
#include <string_view>

#include "engines/core/tracker.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/targets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

struct Helper {
  std::string_view name;
  uint8_t protocol;
  bool ipv4_only;
};

/// Source: net/netfilter/nf_conntrack_{amanda,ftp,h323,irc,netbios_ns,pptp,
/// sane,sip,snmp,tftp}.c.
constexpr Helper kHelpers[] = {
    {"H.245", IPPROTO_TCP, false},     {"Q.931", IPPROTO_TCP, false},
    {"RAS", IPPROTO_UDP, false},       {"amanda", IPPROTO_UDP, false},
    {"ftp", IPPROTO_TCP, false},       {"irc", IPPROTO_TCP, true},
    {"netbios-ns", IPPROTO_UDP, true}, {"pptp", IPPROTO_TCP, true},
    {"sane", IPPROTO_TCP, false},      {"sip", IPPROTO_TCP, false},
    {"sip", IPPROTO_UDP, false},       {"snmp", IPPROTO_UDP, true},
    {"tftp", IPPROTO_UDP, false},
};

/// skb->_nfct != 0: the packet is already tracked, exempt, or has a template.
bool Seen(const PacketState& packet) {
  return packet.connection != nullptr || packet.ct_info == CtInfo::kUntracked ||
         packet.ct_template.set;
}

void Exempt(PacketState* packet) { packet->ct_info = CtInfo::kUntracked; }

/// xt_ct_flags_to_dir(), as bits of ConntrackTemplate::zone_directions.
uint8_t ZoneDirections(uint16_t flags) {
  switch (flags & (XT_CT_ZONE_DIR_ORIG | XT_CT_ZONE_DIR_REPL)) {
    case XT_CT_ZONE_DIR_ORIG:
      return 1;
    case XT_CT_ZONE_DIR_REPL:
      return 2;
    default:
      return 3;
  }
}

Status CheckHelper(std::span<const char> field, const XtUse& use) {
  const std::string_view name(field.data(),
                              strnlen(field.data(), field.size()));
  if (name.empty()) return {};
  if (name.size() == field.size()) {
    return Refuse(ENAMETOOLONG, "helper name without an end");
  }
  if (use.protocol == 0 || use.protocol_inverted) {
    return Refuse(ENOENT, "a helper needs -p, not inverted");
  }
  const bool known = std::any_of(
      std::begin(kHelpers), std::end(kHelpers), [&](const Helper& helper) {
        return helper.name == name && helper.protocol == use.protocol &&
               !(helper.ipv4_only && use.family == Family::kIpv6);
      });
  if (!known) {
    return Refuse(ENOENT, "no such helper: " + std::string(name));
  }
  return {};
}

/// Everything but the flags; `timeout` is empty for revision 0.
Status CheckCommon(uint16_t flags, std::span<const char> helper,
                   std::span<const char> timeout, const XtUse& use) {
  if (flags & XT_CT_NOTRACK) return {};
  if (Status status = CheckHelper(helper, use); !status) return status;
  if (!timeout.empty() && timeout[0] != '\0') {
    // Timeout policies are made with nfct, outside the ruleset.
    return Refuse(ENOENT, "no such timeout policy");
  }
  return {};
}

}  // namespace

XtTargetResult TargetCt(const uint8_t* payload, const XtContext& context) {
  // Both layouts start with the flags and the zone.
  static_assert(offsetof(xt_ct_target_info, zone) ==
                offsetof(xt_ct_target_info_v1, zone));
  PacketState* packet = context.packet;
  if (Seen(*packet)) return {};
  const uint16_t flags = LOAD_FIELD(payload, xt_ct_target_info, flags);
  if (flags & XT_CT_NOTRACK) {
    Exempt(packet);
    return {};
  }
  packet->ct_template = {
      .set = true,
      .zone = LOAD_FIELD(payload, xt_ct_target_info, zone),
      .zone_from_mark = (flags & XT_CT_ZONE_MARK) != 0,
      .zone_directions = ZoneDirections(flags),
  };
  return {};
}

XtTargetResult TargetNotrack(const uint8_t*, const XtContext& context) {
  if (!Seen(*context.packet)) Exempt(context.packet);
  return {};
}

Status CheckCt0(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_ct_target_info>(payload.data());
  if (info.flags & ~XT_CT_NOTRACK) return Refuse(EINVAL, "unknown flags");
  return CheckCommon(info.flags, info.helper, {}, use);
}

Status CheckCt1(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_ct_target_info_v1>(payload.data());
  if (info.flags & ~XT_CT_NOTRACK) return Refuse(EINVAL, "unknown flags");
  return CheckCommon(info.flags, info.helper, info.timeout, use);
}

Status CheckCt2(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_ct_target_info_v1>(payload.data());
  if (info.flags & ~XT_CT_MASK) return Refuse(EINVAL, "unknown flags");
  return CheckCommon(info.flags, info.helper, info.timeout, use);
}

}  // namespace nfarena::xt
