// Any choices as an extension: a name that a decoder may know, with whatever
// payload.
#pragma once

#include <iterator>

#include "compat/model/ruleset.h"
#include "compat/model/testing/choices.h"

namespace nfarena::testing {

inline Extension RandomExtension(bool target, Choices* choices) {
  constexpr const char* kMatches[] = {
      "tcp",      "udp",  "icmp",      "icmp6",    "multiport", "iprange",
      "state",    "mark", "conntrack", "connmark", "limit",     "mac",
      "addrtype", "dscp", "tos",       "ttl",      "hl",        "pkttype",
      "owner",    "set",  "statistic", "length",   "comment",   "recent"};
  constexpr const char* kTargets[] = {
      "REJECT", "LOG",  "NFLOG",   "NFQUEUE",    "MARK",     "CONNMARK",
      "SNAT",   "DNAT", "NETMAP",  "MASQUERADE", "REDIRECT", "CT",
      "TRACE",  "DSCP", "NOTRACK", "CLASSIFY",   "TCPMSS",   "TOS"};
  Extension extension;
  extension.name = target ? kTargets[choices->Below(std::size(kTargets))]
                          : kMatches[choices->Below(std::size(kMatches))];
  extension.revision = static_cast<uint8_t>(choices->Below(4));
  extension.payload = choices->Take(8 * (1 + choices->Below(16)));
  extension.user_size = static_cast<uint16_t>(extension.payload.size());
  return extension;
}

}  // namespace nfarena::testing
