#include "engines/xt/ipv6_headers.h"

#include "engines/xt/access.h"

namespace nfarena::xt {
namespace {

constexpr size_t kIpv6HeaderBytes = 40;

}  // namespace

bool IsExtensionHeader(uint8_t kind) {
  switch (kind) {
    case kHeaderHopByHop:
    case kHeaderRouting:
    case kHeaderFragment:
    case kHeaderAh:
    case kHeaderNone:
    case kHeaderDestination:
      return true;
    default:
      return false;
  }
}

FoundHeader FindExtensionHeader(const PacketState& packet, uint8_t kind) {
  constexpr FoundHeader kMissing{HeaderSearch::kMissing, 0};
  constexpr FoundHeader kBroken{HeaderSearch::kBroken, 0};
  uint8_t next = packet.bytes[6];
  size_t at = kIpv6HeaderBytes;
  while (true) {
    const bool found = next == kind;
    if (!IsExtensionHeader(next) || next == kHeaderNone) {
      return found ? FoundHeader{HeaderSearch::kFound, at} : kMissing;
    }
    const uint8_t* header = HeaderAt(packet, at, 2);
    if (header == nullptr) return kBroken;
    if (next == kHeaderRouting && HeaderAt(packet, at, 4) == nullptr) {
      return kBroken;
    }
    size_t size = 8;
    if (next == kHeaderFragment) {
      const uint8_t* offset = HeaderAt(packet, at + 2, 2);
      if (offset == nullptr) return kBroken;
      // What follows in a later fragment is not a header.
      if ((LoadBe16(offset) & ~7u) != 0) {
        return found ? FoundHeader{HeaderSearch::kFound, at} : kMissing;
      }
    } else {
      size = ExtensionHeaderBytes(next, header[1]);
    }
    if (found) return {HeaderSearch::kFound, at};
    if (packet.bytes.size() - at < size) return kBroken;
    next = header[0];
    at += size;
  }
}

}  // namespace nfarena::xt
