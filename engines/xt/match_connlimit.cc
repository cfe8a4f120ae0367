// connlimit: how many connections an address, or a network, has.
//
// Each rule counts for itself.  Its state is a number under which its counts
// lie; they stay as long as some program has a rule of this match.
// Source: net/netfilter/xt_connlimit.c.
#include <cerrno>
#include <memory>
#include <mutex>
#include <unordered_map>

#include "engines/core/connection_counts.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

/// Of all rules of a network namespace.
struct RuleCounts {
  std::unordered_map<uint64_t, ConnectionCounts> by_rule;
  uint64_t last_number = 0;
};

}  // namespace

const XtStateLayout kConnlimitState = {sizeof(uint64_t), nullptr};

bool MatchConnlimit(const uint8_t* payload, const XtContext& context) {
  PacketState& packet = *context.packet;
  const auto info = LoadAt<xt_connlimit_info>(payload);
  const std::lock_guard lock(context.net->mutex);
  auto& rules = *context.net->named.Find<RuleCounts>(NamedKind::kConnlimit, "");
  auto* number = static_cast<uint64_t*>(context.state);
  if (*number == 0) *number = ++rules.last_number;

  Address address = info.flags & XT_CONNLIMIT_DADDR ? DestinationOf(packet)
                                                    : SourceOf(packet);
  const auto* mask = reinterpret_cast<const uint8_t*>(&info.mask);
  for (size_t i = 0; i < address.size(); ++i) {
    address[i] = static_cast<uint8_t>(address[i] & mask[i]);
  }
  const auto count = rules.by_rule[*number].Count(address, packet);
  if (!count) return Hotdrop(context);
  if (!count->IsCertain(info.limit)) packet.MarkIndeterminate("connlimit");
  return count->IsOver(info.limit) !=
         static_cast<bool>(info.flags & XT_CONNLIMIT_INVERT);
}

Status CheckConnlimit(std::span<const uint8_t>, const XtUse& use) {
  if (use.net == nullptr) {
    return Refuse(ENOENT, "there is no place for its counts here");
  }
  const std::lock_guard lock(use.net->mutex);
  use.net->named.Hold<RuleCounts>(
      NamedKind::kConnlimit, "", [] { return std::make_unique<RuleCounts>(); },
      use.holds);
  return {};
}

}  // namespace nfarena::xt
