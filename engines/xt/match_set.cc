// set (revisions 0 to 4): a question to an ipset.
// Source: net/netfilter/xt_set.c.

#include <cerrno>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

bool Ask(const XtSetQuery& query, const XtContext& context, bool invert) {
  return context.sets->Test(query, *context.packet) != invert;
}

XtSetQuery QueryOf(const xt_set_info& set) {
  return {.index = set.index, .dimensions = set.dim, .flags = set.flags};
}

/// Revisions 3 and 4 differ in the layout of their counter tests only.
template <typename Info>
bool MatchCounted(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<Info>(payload);
  XtSetQuery query = QueryOf(info.match_set);
  query.command_flags = info.flags;
  query.packets_op = info.packets.op;
  query.packets = info.packets.value;
  query.bytes_op = info.bytes.op;
  query.bytes = info.bytes.value;
  if (query.packets_op != IPSET_COUNTER_NONE ||
      query.bytes_op != IPSET_COUNTER_NONE) {
    query.command_flags |= IPSET_FLAG_MATCH_COUNTERS;
  }
  return Ask(query, context, info.match_set.flags & IPSET_INV_MATCH);
}

Status CheckExists(uint16_t index, const XtUse& use) {
  if (use.sets == nullptr) {
    return Refuse(ENOENT, "the contents of the ipset are not known here");
  }
  if (!use.sets->Exists(index)) return Refuse(ENOENT, "no such ipset");
  return {};
}

}  // namespace

bool MatchSet0(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_set_info_match_v0>(payload);
  // compat_flags(): one word a dimension, ended by zero.
  XtSetQuery query{.index = info.match_set.index};
  for (unsigned i = 0; i < IPSET_DIM_MAX - 1 && info.match_set.u.flags[i];
       ++i) {
    ++query.dimensions;
    if (info.match_set.u.flags[i] & IPSET_SRC) {
      query.flags |= static_cast<uint8_t>(1u << query.dimensions);
    }
  }
  const bool invert = info.match_set.u.flags[0] & IPSET_MATCH_INV;
  return Ask(query, context, invert);
}

Status CheckSet0(std::span<const uint8_t> payload, const XtUse& use) {
  const auto info = LoadAt<xt_set_info_match_v0>(payload.data());
  if (Status status = CheckExists(info.match_set.index, use); !status) {
    return status;
  }
  if (info.match_set.u.flags[IPSET_DIM_MAX - 1] != 0) {
    return Refuse(ERANGE, "too many dimensions");
  }
  return {};
}

bool MatchSet1(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_set_info_match_v1>(payload);
  XtSetQuery query = QueryOf(info.match_set);
  if (query.flags & IPSET_RETURN_NOMATCH) {
    query.command_flags |= IPSET_FLAG_RETURN_NOMATCH;
  }
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
  if (Status status = CheckExists(set.index, use); !status) return status;
  if (set.dim > IPSET_DIM_MAX) return Refuse(ERANGE, "too many dimensions");
  return {};
}

}  // namespace nfarena::xt
