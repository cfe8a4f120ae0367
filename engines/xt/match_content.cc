// string and u32: any bytes of the packet.
// Source: net/netfilter/xt_string.c, xt_u32.c, skb_find_text() of
// net/core/skbuff.c, lib/ts_kmp.c, lib/ts_bm.c.
#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

/// The C locale's toupper, as the kernel's.
uint8_t Upper(uint8_t c) {
  return c >= 'a' && c <= 'z' ? static_cast<uint8_t>(c - 'a' + 'A') : c;
}

std::string_view AlgorithmOf(const xt_string_info& info) {
  return {info.algo, strnlen(info.algo, sizeof(info.algo))};
}

/// One "&&" operand of u32: the value its location steps arrive at; nullopt
/// when they leave the packet.  Offsets wrap at 32 bits as the kernel's do.
std::optional<uint32_t> U32Value(const uint8_t* test,
                                 const PacketState& packet) {
  const auto length = static_cast<uint32_t>(packet.bytes.size());
  const uint8_t* bytes = packet.bytes.data();
  const auto location = [test](unsigned i) {
    return LoadAt<xt_u32_location_element>(
        test,
        offsetof(xt_u32_test, location) + i * sizeof(xt_u32_location_element));
  };
  uint32_t at = 0;
  const uint32_t first = location(0).number;
  if (length < 4 || first > length - 4) return std::nullopt;
  uint32_t value = LoadBe32(bytes + first);
  const unsigned steps = LOAD_FIELD(test, xt_u32_test, nnums);
  for (unsigned i = 1; i < steps; ++i) {
    const xt_u32_location_element step = location(i);
    switch (step.nextop) {
      case XT_U32_AND:
        value &= step.number;
        break;
      case XT_U32_LEFTSH:
        value <<= step.number;
        break;
      case XT_U32_RIGHTSH:
        value >>= step.number;
        break;
      case XT_U32_AT:
        if (at + value < at) return std::nullopt;
        at += value;
        if (at + 4 < at || length < at + 4 || step.number > length - at - 4) {
          return std::nullopt;
        }
        value = LoadBe32(bytes + at + step.number);
        break;
    }
  }
  return value;
}

bool U32TestHolds(const uint8_t* test, const PacketState& packet) {
  const std::optional<uint32_t> value = U32Value(test, packet);
  if (!value.has_value()) return false;
  const unsigned ranges = LOAD_FIELD(test, xt_u32_test, nvalues);
  for (unsigned i = 0; i < ranges; ++i) {
    const auto range = LoadAt<xt_u32_value_element>(
        test, offsetof(xt_u32_test, value) + i * sizeof(xt_u32_value_element));
    if (range.min <= *value && *value <= range.max) return true;
  }
  return false;
}

}  // namespace

bool MatchString(const uint8_t* payload, const XtContext& context) {
  const auto info = LoadAt<xt_string_info>(payload);
  const bool invert = info.u.v1.flags & XT_STRING_FLAG_INVERT;
  const auto& bytes = context.packet->bytes;
  if (info.from_offset >= bytes.size()) return invert;
  const bool any_case = info.u.v1.flags & XT_STRING_FLAG_IGNORECASE;
  const auto equal = [any_case](uint8_t a, uint8_t b) {
    return any_case ? Upper(a) == Upper(b) : a == b;
  };
  const auto* pattern = reinterpret_cast<const uint8_t*>(info.pattern);
  const auto found = std::search(bytes.begin() + info.from_offset, bytes.end(),
                                 pattern, pattern + info.patlen, equal);
  // The search runs to the end of the packet; what it finds first must lie
  // before the end that the rule sets.
  const auto end = static_cast<size_t>(found - bytes.begin()) + info.patlen;
  const bool match = found != bytes.end() && end <= info.to_offset;
  return match != invert;
}

Status CheckString(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_string_info>(payload.data());
  if (info.from_offset > info.to_offset) {
    return Refuse(EINVAL, "the range ends before it starts");
  }
  if (info.algo[XT_STRING_MAX_ALGO_NAME_SIZE - 1] != '\0') {
    return Refuse(EINVAL, "algorithm name without an end");
  }
  if (info.patlen > XT_STRING_MAX_PATTERN_SIZE || info.patlen == 0) {
    return Refuse(EINVAL, "bad length of the pattern");
  }
  if (info.u.v1.flags & ~(XT_STRING_FLAG_IGNORECASE | XT_STRING_FLAG_INVERT)) {
    return Refuse(EINVAL, "unknown flags");
  }
  // "fsm" takes a program, not a text.
  if (AlgorithmOf(info) != "bm" && AlgorithmOf(info) != "kmp") {
    return Refuse(ENOENT, "unknown algorithm");
  }
  return {};
}

bool MatchU32(const uint8_t* payload, const XtContext& context) {
  const unsigned tests = LOAD_FIELD(payload, xt_u32, ntests);
  bool match = true;
  for (unsigned i = 0; match && i < tests; ++i) {
    match = U32TestHolds(
        payload + offsetof(xt_u32, tests) + i * sizeof(xt_u32_test),
        *context.packet);
  }
  return static_cast<bool>(match ^ LOAD_FIELD(payload, xt_u32, invert));
}

Status CheckU32(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<xt_u32>(payload.data());
  if (info.ntests > std::size(info.tests)) {
    return Refuse(EINVAL, "too many tests");
  }
  for (unsigned i = 0; i < info.ntests; ++i) {
    const xt_u32_test& test = info.tests[i];
    if (test.nnums > std::size(test.location) ||
        test.nvalues > std::size(test.value)) {
      return Refuse(EINVAL, "too many numbers in a test");
    }
    for (unsigned j = 1; j < test.nnums; ++j) {
      const xt_u32_location_element& step = test.location[j];
      if ((step.nextop == XT_U32_LEFTSH || step.nextop == XT_U32_RIGHTSH) &&
          step.number >= 32) {
        return Refuse(EINVAL, "shift by over 31 bits");
      }
    }
  }
  return {};
}

}  // namespace nfarena::xt
