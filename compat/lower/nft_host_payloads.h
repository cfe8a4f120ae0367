// The payloads of extensions that are lowered from, and raised to, their uapi
// structure: one spelling for both ways.
#pragma once

#include <linux/netfilter/xt_policy.h>

#include <algorithm>
#include <cstring>
#include <optional>

#include "compat/lower/nft_pack.h"
#include "compat/model/ruleset.h"

namespace nfarena::nft {

/// The payload as its structure, or nothing when it is too short for it.
template <typename T>
std::optional<T> PayloadAs(const Extension& extension) {
  T value;
  if (extension.payload.size() < sizeof(T)) return std::nullopt;
  std::memcpy(&value, extension.payload.data(), sizeof(T));
  return value;
}

/// -m policy --dir in|out --pol none|ipsec, as libxtables makes it.
inline Extension PackPolicy(bool inbound, bool none) {
  xt_policy_info info{};
  info.flags = static_cast<uint16_t>(
      (inbound ? XT_POLICY_MATCH_IN : XT_POLICY_MATCH_OUT) |
      (none ? XT_POLICY_MATCH_NONE : 0));
  info.len = none ? 0 : 1;
  return Pack("policy", 0, info);
}

/// The type of -j AUDIT as the prefix of a record that has no prefix: the
/// kernel keeps it, and writes none into audit's records.
inline constexpr const char* kAuditTypes[] = {"accept", "drop", "reject"};

}  // namespace nfarena::nft
