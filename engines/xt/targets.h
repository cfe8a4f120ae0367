// The target functions, checkentry() functions and states that the registry
// names.  Each .cc holds one theme; registry.cc alone knows them all.
#pragma once

#include "engines/xt/extension.h"

namespace nfarena::xt {

#define DECLARE_TARGET(name) \
  XtTargetResult name(const uint8_t* payload, const XtContext& context)
#define DECLARE_TARGET_CHECK(name) \
  Status name(std::span<const uint8_t> payload, const XtUse& use)

// target_reject.cc
DECLARE_TARGET(TargetReject4);
DECLARE_TARGET_CHECK(CheckReject4);
DECLARE_TARGET(TargetReject6);
DECLARE_TARGET_CHECK(CheckReject6);

// target_log.cc
DECLARE_TARGET(TargetLog);
DECLARE_TARGET_CHECK(CheckLog);
DECLARE_TARGET(TargetNflog);
DECLARE_TARGET_CHECK(CheckNflog);
DECLARE_TARGET(TargetTrace);

// target_queue.cc
DECLARE_TARGET(TargetNfqueue0);
DECLARE_TARGET(TargetNfqueue1);
DECLARE_TARGET(TargetNfqueue3);
DECLARE_TARGET_CHECK(CheckNfqueue1);
DECLARE_TARGET_CHECK(CheckNfqueue2);
DECLARE_TARGET_CHECK(CheckNfqueue3);

// target_set.cc
DECLARE_TARGET(TargetSet0);
DECLARE_TARGET(TargetSet1);
DECLARE_TARGET(TargetSet2);
DECLARE_TARGET(TargetSet3);
DECLARE_TARGET_CHECK(CheckSetTarget0);
DECLARE_TARGET_CHECK(CheckSetTarget1);
DECLARE_TARGET_CHECK(CheckSetTarget3);

// target_mark.cc
DECLARE_TARGET(TargetMark);
DECLARE_TARGET(TargetConnmark1);
DECLARE_TARGET(TargetConnmark2);
DECLARE_TARGET_CHECK(CheckConnmark2);
DECLARE_TARGET(TargetClassify);

// target_nat.cc
DECLARE_TARGET(TargetSnat0);
DECLARE_TARGET(TargetSnat1);
DECLARE_TARGET(TargetSnat2);
DECLARE_TARGET(TargetDnat0);
DECLARE_TARGET(TargetDnat1);
DECLARE_TARGET(TargetDnat2);
DECLARE_TARGET_CHECK(CheckNat0);
DECLARE_TARGET(TargetMasquerade4);
DECLARE_TARGET(TargetMasquerade6);
DECLARE_TARGET(TargetRedirect4);
DECLARE_TARGET(TargetRedirect6);
DECLARE_TARGET(TargetNetmap4);
DECLARE_TARGET(TargetNetmap6);
/// MASQUERADE and REDIRECT: the range names no address.
DECLARE_TARGET_CHECK(CheckNoAddress4);
DECLARE_TARGET_CHECK(CheckNoAddress6);
/// NETMAP: it must.
DECLARE_TARGET_CHECK(CheckNetmap4);
DECLARE_TARGET_CHECK(CheckNetmap6);

// target_ct.cc
DECLARE_TARGET(TargetCt);
DECLARE_TARGET(TargetNotrack);
DECLARE_TARGET_CHECK(CheckCt0);
DECLARE_TARGET_CHECK(CheckCt1);
DECLARE_TARGET_CHECK(CheckCt2);

// target_header.cc
DECLARE_TARGET(TargetDscp);
DECLARE_TARGET_CHECK(CheckDscpTarget);
DECLARE_TARGET(TargetTos);
DECLARE_TARGET(TargetTtl);
DECLARE_TARGET_CHECK(CheckTtlTarget);
DECLARE_TARGET(TargetEcn);
DECLARE_TARGET_CHECK(CheckEcnTarget);
DECLARE_TARGET(TargetTcpoptstrip);

// target_nothing.cc
DECLARE_TARGET(TargetNothing);
DECLARE_TARGET_CHECK(CheckAudit);
DECLARE_TARGET_CHECK(CheckChecksum);

// target_tcpmss.cc
DECLARE_TARGET(TargetTcpmss);
DECLARE_TARGET_CHECK(CheckTcpmss);

}  // namespace nfarena::xt
