// What a decoder made of a payload, for the tests of decoders.
#pragma once

#include <gtest/gtest.h>

#include <string_view>
#include <variant>

#include "compat/meaning/match.h"
#include "compat/meaning/target.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "compat/model/testing/rule_builder.h"

namespace nfarena::testing {

inline constexpr Family kV4 = Family::kIpv4, kV6 = Family::kIpv6;

/// Where the extensions of these tests stand in their line.
inline constexpr uint32_t kColumn = 17;

template <typename Info>
Extension Placed(std::string_view name, uint8_t revision, const Info& info) {
  Extension extension = ExtensionOf(name, revision, info);
  extension.column = kColumn;
  return extension;
}

/// The alternative `Meaning`, which is expected to be there.
template <typename Meaning, typename Variant>
Meaning Held(const Result<Variant>& decoded) {
  if (!decoded) {
    ADD_FAILURE() << decoded.error().ToString();
    return {};
  }
  if (!std::holds_alternative<Meaning>(*decoded)) {
    ADD_FAILURE() << "alternative " << decoded->index();
    return {};
  }
  return std::get<Meaning>(*decoded);
}

/// The error, which is expected to be there.
template <typename Variant>
Error Refusal(const Result<Variant>& decoded) {
  if (decoded) {
    ADD_FAILURE() << "decoded as alternative " << decoded->index();
    return {};
  }
  return decoded.error();
}

template <typename Meaning>
Meaning DecodedMatch(Family family, const Extension& match) {
  return Held<Meaning>(DecodeMatch(family, match));
}
inline Error RefusedMatch(Family family, const Extension& match) {
  return Refusal(DecodeMatch(family, match));
}

template <typename Meaning>
Meaning DecodedTarget(Family family, const Extension& target) {
  return Held<Meaning>(DecodeTarget(family, target));
}
inline Error RefusedTarget(Family family, const Extension& target) {
  return Refusal(DecodeTarget(family, target));
}

}  // namespace nfarena::testing
