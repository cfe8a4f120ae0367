// Rewriting a packet's headers as netfilter's targets and NAT do: the field,
// the IP header checksum and the upper-layer checksum, incrementally, so that
// a wrong checksum stays wrong by the same amount.
//
// Every function leaves `headers` valid and returns false (packet unchanged)
// when the field does not exist in this packet.
// Source: net/netfilter/nf_nat_proto.c, xt_DSCP.c, xt_HL.c.
#pragma once

#include <cstdint>

#include "engines/core/packet_state.h"

namespace nfarena {

/// Source or destination address, with the checksums of TCP, UDP, UDPLITE,
/// DCCP and ICMPv6 when their header is in this packet (first fragment).
bool RewriteAddress(PacketState* packet, bool source, const Address& address);
/// Source or destination port of TCP, UDP, UDPLITE, DCCP, SCTP.
bool RewritePort(PacketState* packet, bool source, uint16_t port);
/// TOS or traffic class: (old & keep_mask) | value, 8 bits.
bool RewriteTos(PacketState* packet, uint8_t keep_mask, uint8_t value);
/// TTL or hop limit.
bool RewriteTtl(PacketState* packet, uint8_t ttl);

}  // namespace nfarena
