// The match functions, checkentry() functions and states that the registry
// names.  Each .cc holds one theme; registry.cc alone knows them all.
#pragma once

#include "engines/xt/extension.h"

namespace nfarena::xt {

#define DECLARE_MATCH(name) \
  bool name(const uint8_t* payload, const XtContext& context)
#define DECLARE_CHECK(name) \
  Status name(std::span<const uint8_t> payload, const XtUse& use)

// match_ports.cc
DECLARE_MATCH(MatchTcp);
DECLARE_CHECK(CheckTcp);
DECLARE_MATCH(MatchUdp);
DECLARE_CHECK(CheckUdp);
DECLARE_MATCH(MatchMultiport);
DECLARE_CHECK(CheckMultiport);

// match_icmp.cc
DECLARE_MATCH(MatchIcmp);
DECLARE_CHECK(CheckIcmp);
DECLARE_MATCH(MatchIcmp6);
DECLARE_CHECK(CheckIcmp6);

// match_address.cc
DECLARE_MATCH(MatchIprange);
DECLARE_MATCH(MatchAddrtype0);
DECLARE_MATCH(MatchAddrtype1);
DECLARE_CHECK(CheckAddrtype1);
DECLARE_MATCH(MatchMac);
DECLARE_MATCH(MatchPkttype);

// match_conntrack.cc
DECLARE_MATCH(MatchConntrack1);
DECLARE_MATCH(MatchConntrack2);
DECLARE_MATCH(MatchConntrack3);
DECLARE_MATCH(MatchState);
DECLARE_MATCH(MatchConnmark);

// match_header.cc
DECLARE_MATCH(MatchLength);
DECLARE_MATCH(MatchDscp);
DECLARE_CHECK(CheckDscp);
DECLARE_MATCH(MatchTos);
DECLARE_MATCH(MatchTtl);
DECLARE_MATCH(MatchHl);
DECLARE_CHECK(CheckTtl);

// match_meta.cc
DECLARE_MATCH(MatchMark);
DECLARE_MATCH(MatchOwner);
DECLARE_CHECK(CheckOwner);
DECLARE_MATCH(MatchComment);

// match_rate.cc
DECLARE_MATCH(MatchLimit);
DECLARE_CHECK(CheckLimit);
DECLARE_MATCH(MatchStatistic);
DECLARE_CHECK(CheckStatistic);
extern const XtStateLayout kLimitState;
extern const XtStateLayout kStatisticState;

// match_set.cc
DECLARE_MATCH(MatchSet0);
DECLARE_CHECK(CheckSet0);
DECLARE_MATCH(MatchSet1);
DECLARE_MATCH(MatchSet3);
DECLARE_MATCH(MatchSet4);
DECLARE_CHECK(CheckSet1);

}  // namespace nfarena::xt
