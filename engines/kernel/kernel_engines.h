// The running kernel as engines, without a lab: an instance is a network
// namespace with TUN devices, and a packet written to one of them goes the
// kernel's own way through ip_tables or nf_tables.
//
// These are the truth that twins are checked against.  What they need of the
// host (root, or a user namespace; /dev/net/tun) is said by Available().
//
// What a kernel does not tell:
// - the mark and priority of a dropped packet;
// - which rule it was when a match itself dropped the packet as malformed
//   (hotdrop of ip_tables): Outcome::decided_by is then the last rule that
//   matched before;
// - what LOG wrote: that its rule matched is observed, its text is the rule's.
// The kernel's clock and random numbers are its own.
#pragma once

#include "engines/core/engine.h"

namespace nfarena {

/// "kernel-legacy": SET_REPLACE and libiptc.  As with the iptables command, a
/// change (Apply) zeroes the policy counters of its table: libiptc does.
const Engine& KernelLegacyEngine();
/// "kernel-nft": nf_tables, native expressions.
const Engine& KernelNftEngine();
/// "kernel-nft-compat": nf_tables as iptables-nft loads it.
const Engine& KernelNftCompatEngine();

}  // namespace nfarena
