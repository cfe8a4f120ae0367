// The byte layout of xtables entries, for both families behind one name.
//
// struct ipt_entry and ip6t_entry differ only in the selector in front; code
// that packs, checks or walks entries is written once as a template over
// XtTraits<Family>.  Included by .cc files only, because it brings the kernel's
// headers with it.
//
//   offset        bytes  struct ipt_entry (ip6t_entry)
//   0             84     ipt_ip (136: ip6t_ip6)
//   84  (136)     4      nfcache
//   88  (140)     2      target_offset, from the entry's start
//   90  (142)     2      next_offset, size of the whole entry
//   92  (144)     4      comefrom, hooks that reach it (kernel's)
//   96  (152)     16     counters {packets, bytes}
//   112 (168)     ...    matches, then one target, each 8-byte aligned
//
//   match, target: u16 size of it all, char name[29], u8 revision, payload
// Source: include/uapi/linux/netfilter_ipv4/ip_tables.h, x_tables.h.
#pragma once

#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "compat/model/ruleset.h"

namespace nfarena {

inline constexpr size_t kXtAlign = 8;
constexpr size_t XtAlign(size_t bytes) {
  return (bytes + kXtAlign - 1) / kXtAlign * kXtAlign;
}

/// Verdicts of a standard target: negative, or a byte offset to jump to.
enum XtStandardVerdict : int32_t {
  kXtDrop = -1,
  kXtAccept = -2,
  kXtQueue = -4,
  kXtReturn = -5,
};

inline constexpr size_t kXtHeaderBytes = sizeof(xt_entry_match);
inline constexpr size_t kXtNameBytes = XT_EXTENSION_MAXNAMELEN;  // with the NUL
inline constexpr size_t kXtStandardTargetBytes =
    XtAlign(sizeof(xt_standard_target));
inline constexpr size_t kXtErrorTargetBytes = XtAlign(sizeof(xt_error_target));
/// Where the error node's text is, and its size with the NUL.
inline constexpr size_t kXtErrorNameBytes = XT_FUNCTION_MAXNAMELEN;
/// XT_MAX_TABLE_SIZE of net/netfilter/x_tables.c less struct xt_table_info,
/// which the kernel allocates in the same block.
inline constexpr size_t kXtMaxTableBytes = 512 * 1024 * 1024 - 64 - 1;

static_assert(kXtHeaderBytes == 32);
static_assert(sizeof(xt_entry_target) == kXtHeaderBytes);
static_assert(kXtStandardTargetBytes == 40);
static_assert(kXtErrorTargetBytes == 64);
static_assert(NF_INET_NUMHOOKS == kHookCount);

template <Family family>
struct XtTraits;

template <>
struct XtTraits<Family::kIpv4> {
  using Entry = ipt_entry;
  using Selector = ipt_ip;
  using Replace = ipt_replace;
  static constexpr Family kFamily = Family::kIpv4;
  static constexpr uint8_t kFlagGoto = IPT_F_GOTO;
  static constexpr uint8_t kFlagFragment = IPT_F_FRAG;
  static constexpr uint8_t kFlagProtocol = 0;  // IPv4 has no such flag
  static constexpr uint8_t kFlagMask = IPT_F_MASK;
  static constexpr uint8_t kInvertMask = IPT_INV_MASK;
  static Selector& selector(Entry& e) { return e.ip; }
  static const Selector& selector(const Entry& e) { return e.ip; }
};

template <>
struct XtTraits<Family::kIpv6> {
  using Entry = ip6t_entry;
  using Selector = ip6t_ip6;
  using Replace = ip6t_replace;
  static constexpr Family kFamily = Family::kIpv6;
  static constexpr uint8_t kFlagGoto = IP6T_F_GOTO;
  static constexpr uint8_t kFlagFragment = 0;  // -m frag is a match in IPv6
  static constexpr uint8_t kFlagProtocol = IP6T_F_PROTO;
  static constexpr uint8_t kFlagMask = IP6T_F_MASK;
  static constexpr uint8_t kInvertMask = IP6T_INV_MASK;
  static Selector& selector(Entry& e) { return e.ipv6; }
  static const Selector& selector(const Entry& e) { return e.ipv6; }
};

static_assert(sizeof(ipt_entry) == 112 && sizeof(ipt_ip) == 84);
static_assert(sizeof(ip6t_entry) == 168 && sizeof(ip6t_ip6) == 136);
static_assert(sizeof(ipt_replace) == 96 && sizeof(ip6t_replace) == 96);
static_assert(offsetof(ipt_entry, next_offset) == 90);
static_assert(offsetof(ip6t_entry, next_offset) == 142);

/// Calls `f.template operator()<XtTraits<F>>()` for the family at run time.
template <typename F>
decltype(auto) WithXtTraits(Family family, F&& f) {
  return family == Family::kIpv4
             ? f.template operator()<XtTraits<Family::kIpv4>>()
             : f.template operator()<XtTraits<Family::kIpv6>>();
}

}  // namespace nfarena
