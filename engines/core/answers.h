// The answers that the IP stack makes for a packet it or REJECT refuses: ICMP
// and ICMPv6 errors and TCP resets, byte for byte.
//
// They are here, and not with the REJECT target, because the stack itself makes
// some of them (time exceeded) and because the source address needs the
// topology.  IP ids of ICMP errors come from a counter of the kernel; they are
// zero here and masked out by DescribeDifference().
// Source: net/ipv4/icmp.c __icmp_send(), net/ipv6/icmp.c icmp6_send(),
// net/ipv4/netfilter/nf_reject_ipv4.c, net/ipv6/netfilter/nf_reject_ipv6.c.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "engines/core/packet_state.h"

namespace nfarena {

/// Builds the ICMP (ICMPv6 for IPv6) error for `rejected` into `answer`.
/// `info` is the second header word (MTU, pointer).  False: the stack sends
/// none (an error about an error, a fragment, a broadcast, no address).
bool BuildIcmpError(const PacketState& rejected, uint8_t type, uint8_t code,
                    uint32_t info, std::vector<uint8_t>* answer);

/// The device whose link an ICMPv6 error about `rejected` is sent on when it
/// goes to a link-local address: icmp6_iif().  Valid as long as the packet and
/// the topology are.
std::string_view LinkOfError(const PacketState& rejected);

/// REJECT's ICMP answer: BuildIcmpError with type "destination unreachable"
/// after nf_send_unreach()'s own tests (checksum of the rejected packet).
bool BuildRejectUnreachable(const PacketState& rejected, uint8_t code,
                            std::vector<uint8_t>* answer);

/// REJECT --reject-with tcp-reset: nf_send_reset().  False: no reset is sent
/// (not TCP, a reset itself, bad checksum, fragment, broadcast).
bool BuildTcpReset(const PacketState& rejected, std::vector<uint8_t>* answer);

}  // namespace nfarena
