// set (revisions 0 to 4): a question to an ipset.
// Source: net/netfilter/xt_set.c.

#include <cerrno>
#include <mutex>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/sets.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

bool Ask(const IpSetQuery& query, const XtContext& context, bool invert) {
  const std::lock_guard lock(context.net->mutex);
  return context.net->sets.Test(query, context.packet) != invert;
}

IpSetCompare CompareOf(uint8_t operation) {
  static_assert(IPSET_COUNTER_NONE == 0 && IPSET_COUNTER_EQ == 1 &&
                IPSET_COUNTER_NE == 2 && IPSET_COUNTER_LT == 3 &&
                IPSET_COUNTER_GT == 4);
  // The kernel takes any other number too; it compares as nothing.
  return static_cast<IpSetCompare>(operation);
}

/// Revisions 3 and 4 differ in the layout of their counter tests only.
template <typename Info>
bool MatchCounted(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<Info>(payload);
  IpSetQuery query = SetQueryOf(info.match_set);
  query.return_nomatch = info.flags & IPSET_FLAG_RETURN_NOMATCH;
  query.update_counters = !(info.flags & IPSET_FLAG_SKIP_COUNTER_UPDATE);
  query.update_subcounters = !(info.flags & IPSET_FLAG_SKIP_SUBCOUNTER_UPDATE);
  query.packets_test = CompareOf(info.packets.op);
  query.packets = info.packets.value;
  query.bytes_test = CompareOf(info.bytes.op);
  query.bytes = info.bytes.value;
  return Ask(query, context, info.match_set.flags & IPSET_INV_MATCH);
}

}  // namespace

IpSetQuery SetQueryOf(const xt_set_info& set) {
  return {.set = set.index,
          .dimensions = set.dim,
          .source_parts = static_cast<uint8_t>((set.flags & 0x7e) >> 1)};
}

IpSetQuery SetQueryOf(const xt_set_info_v0& set) {
  // compat_flags(): one word a dimension, ended by zero.
  IpSetQuery query{.set = static_cast<uint16_t>(set.index)};
  for (unsigned i = 0; i < IPSET_DIM_MAX - 1 && set.u.flags[i]; ++i) {
    if (set.u.flags[i] & IPSET_SRC) {
      query.source_parts |= static_cast<uint8_t>(1u << i);
    }
    ++query.dimensions;
  }
  return query;
}

Status CheckSetExists(uint16_t index, const XtUse& use) {
  if (use.net == nullptr) {
    return Refuse(ENOENT, "the members of the ipset are not known here");
  }
  const std::lock_guard lock(use.net->mutex);
  return use.net->sets.Check(index);
}

bool MatchSet0(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_set_info_match_v0>(payload);
  const bool invert = info.match_set.u.flags[0] & IPSET_MATCH_INV;
  return Ask(SetQueryOf(info.match_set), context, invert);
}

Status CheckSet0(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_set_info_match_v0>(payload.data());
  if (Status status = CheckSetExists(info.match_set.index, use); !status) {
    return status;
  }
  if (info.match_set.u.flags[IPSET_DIM_MAX - 1] != 0) {
    return Refuse(ERANGE, "too many dimensions");
  }
  return {};
}

bool MatchSet1(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_set_info_match_v1>(payload);
  IpSetQuery query = SetQueryOf(info.match_set);
  query.return_nomatch = info.match_set.flags & IPSET_RETURN_NOMATCH;
  return Ask(query, context, info.match_set.flags & IPSET_INV_MATCH);
}

bool MatchSet3(const uint8_t* payload, const XtContext& context) {
  return MatchCounted<xt_set_info_match_v3>(payload, context);
}

bool MatchSet4(const uint8_t* payload, const XtContext& context) {
  return MatchCounted<xt_set_info_match_v4>(payload, context);
}

Status CheckSet1(std::span<const uint8_t> payload, const XtUse& use) {
  const auto set = LoadAt<xt_set_info>(payload.data());
  if (Status status = CheckSetExists(set.index, use); !status) return status;
  if (set.dim > IPSET_DIM_MAX) return Refuse(ERANGE, "too many dimensions");
  return {};
}

}  // namespace nfarena::xt
