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
DECLARE_MATCH(MatchConnbytes);
DECLARE_CHECK(CheckConnbytes);

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
DECLARE_MATCH(MatchQuota);
DECLARE_CHECK(CheckQuota);
extern const XtStateLayout kQuotaState;

// match_recent.cc
DECLARE_MATCH(MatchRecent);
DECLARE_CHECK(CheckRecent);

// match_transport.cc
DECLARE_MATCH(MatchEsp);
DECLARE_MATCH(MatchAh4);
/// esp, and ah of IPv4.
DECLARE_CHECK(CheckSpi);
DECLARE_MATCH(MatchSctp);
DECLARE_CHECK(CheckSctp);
DECLARE_MATCH(MatchDccp);
DECLARE_CHECK(CheckDccp);
DECLARE_MATCH(MatchTcpmss);
DECLARE_MATCH(MatchEcn);
DECLARE_CHECK(CheckEcn);

// match_extension_header.cc
DECLARE_MATCH(MatchAh6);
DECLARE_CHECK(CheckAh6);
DECLARE_MATCH(MatchRt);
DECLARE_CHECK(CheckRt);
DECLARE_MATCH(MatchFrag);
DECLARE_CHECK(CheckFrag);
DECLARE_MATCH(MatchHbh);
DECLARE_MATCH(MatchDst);
/// hbh and dst.
DECLARE_CHECK(CheckOptions);
DECLARE_MATCH(MatchIpv6header);
DECLARE_CHECK(CheckIpv6header);
DECLARE_MATCH(MatchEui64);

// match_content.cc
DECLARE_MATCH(MatchString);
DECLARE_CHECK(CheckString);
DECLARE_MATCH(MatchU32);
DECLARE_CHECK(CheckU32);

// match_path.cc
DECLARE_MATCH(MatchRpfilter);
DECLARE_CHECK(CheckRpfilter);
DECLARE_MATCH(MatchRealm);
DECLARE_MATCH(MatchPhysdev);
DECLARE_CHECK(CheckPhysdev);
DECLARE_MATCH(MatchHelper);

// match_host.cc
DECLARE_MATCH(MatchCpu);
DECLARE_CHECK(CheckCpu);
DECLARE_MATCH(MatchDevgroup);
DECLARE_CHECK(CheckDevgroup);
DECLARE_MATCH(MatchPolicy);
DECLARE_CHECK(CheckPolicy);
DECLARE_MATCH(MatchSocket);
DECLARE_CHECK(CheckSocket1);
DECLARE_CHECK(CheckSocket2);
DECLARE_CHECK(CheckSocket3);

// match_time.cc
DECLARE_MATCH(MatchTime);
DECLARE_CHECK(CheckTime);

// match_connlimit.cc
DECLARE_MATCH(MatchConnlimit);
DECLARE_CHECK(CheckConnlimit);
extern const XtStateLayout kConnlimitState;

// match_hashlimit.cc
DECLARE_MATCH(MatchHashlimit1);
DECLARE_MATCH(MatchHashlimit2);
DECLARE_MATCH(MatchHashlimit3);
DECLARE_CHECK(CheckHashlimit1);
DECLARE_CHECK(CheckHashlimit2);
DECLARE_CHECK(CheckHashlimit3);

// match_set.cc
DECLARE_MATCH(MatchSet0);
DECLARE_CHECK(CheckSet0);
DECLARE_MATCH(MatchSet1);
DECLARE_MATCH(MatchSet3);
DECLARE_MATCH(MatchSet4);
DECLARE_CHECK(CheckSet1);

}  // namespace nfarena::xt
