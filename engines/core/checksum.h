// The internet checksum, in the kernel's arithmetic.
//
// Two checksums that are equal modulo 0xffff can differ in their bytes (0 and
// 0xffff); twins are compared with the kernel byte by byte, so the incremental
// forms here fold exactly as csum_replace2/4 do rather than as a textbook does.
// Source: include/net/checksum.h, RFC 1071, RFC 1624.
#pragma once

#include <cstdint>
#include <span>

#include "compat/model/ruleset.h"

namespace nfarena {

/// Unfolded one's complement sum of `data` (16-bit words in memory order, an
/// odd last byte padded with zero), added to `sum`.
uint32_t ChecksumPartial(std::span<const uint8_t> data, uint32_t sum = 0);
/// Folds to the complement, in memory order: store it with memcpy.
uint16_t ChecksumFold(uint32_t sum);
/// The sum of the pseudo header of TCP, UDP, ICMPv6; `length` in bytes.
uint32_t PseudoHeaderSum(Family family, const Address& src, const Address& dst,
                         uint8_t protocol, uint32_t length);

/// csum_replace2(): `check` after a 16-bit word changed; all in memory order.
uint16_t ChecksumReplace2(uint16_t check, uint16_t from, uint16_t to);
/// csum_replace4(): the same for a 32-bit word.
uint16_t ChecksumReplace4(uint16_t check, uint32_t from, uint32_t to);
/// inet_proto_csum_replace16(): for an IPv6 address.
uint16_t ChecksumReplace16(uint16_t check, const Address& from,
                           const Address& to);

/// Recomputes the header checksum of the IPv4 header at bytes[0]; the header
/// must be complete.
void FixIpv4Checksum(std::span<uint8_t> packet);
/// Recomputes the TCP, UDP, ICMP or ICMPv6 checksum of a whole packet whose
/// upper-layer header starts at `transport`; other protocols stay as they are.
void FixTransportChecksum(Family family, std::span<uint8_t> packet,
                          size_t transport, uint8_t protocol);
/// True when the transport checksum of the packet is right (UDP over IPv4 may
/// have none).
bool TransportChecksumOk(Family family, std::span<const uint8_t> packet,
                         size_t transport, uint8_t protocol);

}  // namespace nfarena
