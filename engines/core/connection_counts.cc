#include "engines/core/connection_counts.h"

#include <netinet/in.h>

#include <algorithm>

namespace nfarena {

std::optional<ConnectionCount> ConnectionCounts::Count(
    const Address& address, const PacketState& packet) {
  Seen current;
  bool confirmed = false, assured = false;
  if (packet.connection != nullptr) {
    const Connection& connection = *packet.connection;
    current = {connection.original, connection.zone,
               connection.zone_directions};
    confirmed = (connection.status & kStatusConfirmed) != 0;
    assured = (connection.status & kStatusAssured) != 0;
  } else {
    // Untracked or invalid: counted, and forgotten with the next packet.
    const auto tuple = TupleOf(packet);
    if (!tuple) return std::nullopt;
    current.tuple = *tuple;
  }

  current.may_be_reset = current.tuple.protocol == IPPROTO_TCP &&
                         packet.hook != Hook::kForward &&
                         packet.route != RouteKind::kForward;

  List& list = lists_[{address, current.zone}];
  std::erase_if(list.seen, [&packet](const Seen& seen) {
    return packet.tracker == nullptr ||
           !packet.tracker->IsOpen(seen.tuple, seen.zone, seen.zone_directions,
                                   packet.now_ms);
  });
  const bool known = std::any_of(
      list.seen.begin(), list.seen.end(), [&current](const Seen& seen) {
        return seen.tuple == current.tuple && seen.zone == current.zone;
      });
  // An assured connection was there before the rule saw it: it is not counted,
  // unless nothing is.
  const bool skipped = confirmed && assured && list.added != 0;
  if (!known && !skipped) list.seen.push_back(current);
  if (!skipped && (!known || !confirmed)) ++list.added;
  ConnectionCount count;
  count.now = static_cast<uint32_t>(list.seen.size());
  count.at_most = std::max(list.added, count.now);
  count.at_least = static_cast<uint32_t>(std::count_if(
      list.seen.begin(), list.seen.end(), [&current](const Seen& seen) {
        return !seen.may_be_reset || seen.tuple == current.tuple;
      }));
  return count;
}

}  // namespace nfarena
