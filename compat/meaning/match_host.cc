#include "compat/meaning/match_host.h"

#include <linux/netfilter.h>
#include <linux/netfilter/xt_cpu.h>
#include <linux/netfilter/xt_devgroup.h>
#include <linux/netfilter/xt_helper.h>
#include <linux/netfilter/xt_physdev.h>
#include <linux/netfilter/xt_policy.h>
#include <linux/netfilter/xt_realm.h>
#include <linux/netfilter/xt_rpfilter.h>
#include <linux/netfilter/xt_socket.h>

#include "compat/meaning/decoders.h"

namespace nfarena {
namespace {

using payload::FailAt;
using payload::Read;
using payload::RefuseBits;
using payload::Text;

Result<Condition> DecodeHelper(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_helper_info>(match));
  return HelperMatch{Text(raw.name), raw.invert != 0};
}

Result<Condition> DecodeRpfilter(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_rpfilter_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.flags,
                             XT_RPFILTER_LOOSE | XT_RPFILTER_VALID_MARK |
                                 XT_RPFILTER_ACCEPT_LOCAL | XT_RPFILTER_INVERT,
                             "flags"));
  RpfilterMatch rpfilter;
  rpfilter.loose = raw.flags & XT_RPFILTER_LOOSE;
  rpfilter.valid_mark = raw.flags & XT_RPFILTER_VALID_MARK;
  rpfilter.accept_local = raw.flags & XT_RPFILTER_ACCEPT_LOCAL;
  rpfilter.inverted = raw.flags & XT_RPFILTER_INVERT;
  return rpfilter;
}

Result<Condition> DecodePolicy(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_policy_info>(match));
  const bool in = raw.flags & XT_POLICY_MATCH_IN;
  const bool out = raw.flags & XT_POLICY_MATCH_OUT;
  if (in == out) {
    return FailAt(match, ErrorCode::kRange, "policy: not one direction");
  }
  if (raw.len > XT_POLICY_MAX_ELEM) {
    return FailAt(match, ErrorCode::kRange, "policy: too many elements");
  }
  return PolicyMatch{in, (raw.flags & XT_POLICY_MATCH_NONE) != 0};
}

template <size_t N>
InterfaceTest ToInterface(const char (&name)[N], const char (&mask)[N]) {
  InterfaceTest test;
  static_assert(N == sizeof(test.name));
  std::memcpy(test.name.data(), name, N);
  std::memcpy(test.mask.data(), mask, N);
  return test;
}

Result<Condition> DecodePhysdev(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_physdev_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.bitmask, XT_PHYSDEV_OP_MASK, "tests"));
  if (raw.bitmask == 0) {
    return FailAt(match, ErrorCode::kRange, "physdev: asks for nothing");
  }
  PhysdevMatch physdev;
  physdev.in = ToInterface(raw.physindev, raw.in_mask);
  physdev.out = ToInterface(raw.physoutdev, raw.out_mask);
  physdev.tests = raw.bitmask;
  physdev.inverted = raw.invert;
  return physdev;
}

Result<Condition> DecodeCpu(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_cpu_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.invert, 1, "inversion flag"));
  return CpuMatch{raw.cpu, raw.invert != 0};
}

Result<Condition> DecodeRealm(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_realm_info>(match));
  return RealmMatch{raw.id, raw.mask, raw.invert != 0};
}

Result<Condition> DecodeSocket(Family, const Extension& match) {
  uint8_t flags = 0;
  if (match.revision == 0) {
    if (!match.payload.empty()) {
      return FailAt(match, ErrorCode::kRange,
                    "socket revision 0 takes no parameters");
    }
  } else {
    static_assert(sizeof(xt_socket_mtinfo1) == sizeof(xt_socket_mtinfo3));
    ASSIGN_OR_RETURN(const auto raw, Read<xt_socket_mtinfo3>(match));
    flags = raw.flags;
    const uint32_t known = match.revision == 1   ? XT_SOCKET_FLAGS_V1
                           : match.revision == 2 ? XT_SOCKET_FLAGS_V2
                                                 : XT_SOCKET_FLAGS_V3;
    RETURN_IF_ERROR(RefuseBits(match, flags, known, "flags"));
  }
  SocketMatch socket;
  socket.transparent = flags & XT_SOCKET_TRANSPARENT;
  socket.no_wildcard = flags & XT_SOCKET_NOWILDCARD;
  socket.restore_mark = flags & XT_SOCKET_RESTORESKMARK;
  return socket;
}

Result<Condition> DecodeDevgroup(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_devgroup_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.flags,
                             XT_DEVGROUP_MATCH_SRC | XT_DEVGROUP_INVERT_SRC |
                                 XT_DEVGROUP_MATCH_DST | XT_DEVGROUP_INVERT_DST,
                             "flags"));
  DevgroupMatch devgroup;
  devgroup.source = {(raw.flags & XT_DEVGROUP_MATCH_SRC) != 0, raw.src_group,
                     raw.src_mask, (raw.flags & XT_DEVGROUP_INVERT_SRC) != 0};
  devgroup.destination = {(raw.flags & XT_DEVGROUP_MATCH_DST) != 0,
                          raw.dst_group, raw.dst_mask,
                          (raw.flags & XT_DEVGROUP_INVERT_DST) != 0};
  return devgroup;
}

constexpr payload::Decoder<Condition> kDecoders[] = {
    // name, revision, IPv4, IPv6, decoder
    {"helper", 0, true, true, DecodeHelper},
    {"rpfilter", 0, true, true, DecodeRpfilter},
    {"policy", 0, true, true, DecodePolicy},
    {"physdev", 0, true, true, DecodePhysdev},
    {"cpu", 0, true, true, DecodeCpu},
    {"realm", 0, true, false, DecodeRealm},
    {"socket", 0, true, false, DecodeSocket},
    {"socket", 1, true, true, DecodeSocket},
    {"socket", 2, true, true, DecodeSocket},
    {"socket", 3, true, true, DecodeSocket},
    {"devgroup", 0, true, true, DecodeDevgroup},
};

}  // namespace

std::span<const payload::Decoder<Condition>> HostDecoders() {
  return kDecoders;
}

}  // namespace nfarena
