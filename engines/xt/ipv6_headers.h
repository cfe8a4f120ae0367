// Finding one extension header of an IPv6 packet.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engines/core/packet_state.h"

namespace nfarena::xt {

enum class HeaderSearch : uint8_t {
  kFound,
  kMissing,  // -ENOENT: the rule does not match
  kBroken,   // -EBADMSG: the packet is dropped
};

struct FoundHeader {
  HeaderSearch search = HeaderSearch::kMissing;
  size_t offset = 0;
};

/// ipv6_find_hdr() for one kind of header.
/// Source: net/ipv6/exthdrs_core.c.
FoundHeader FindExtensionHeader(const PacketState& packet, uint8_t kind);

/// hop-by-hop, routing, fragment, AH, none or destination options.
bool IsExtensionHeader(uint8_t kind);

inline constexpr uint8_t kHeaderHopByHop = 0, kHeaderRouting = 43,
                         kHeaderFragment = 44, kHeaderEsp = 50, kHeaderAh = 51,
                         kHeaderNone = 59, kHeaderDestination = 60;

/// The length that a header other than fragment says it has.
inline size_t ExtensionHeaderBytes(uint8_t kind, uint8_t length_field) {
  return kind == kHeaderAh ? (size_t{length_field} + 2) * 4
                           : (size_t{length_field} + 1) * 8;
}

}  // namespace nfarena::xt
