// The names of targets that are no extensions.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "compat/model/ruleset.h"

namespace nfarena {

/// Whether the name is one of the verdicts' and so never a chain's.
/// Source: libiptc/libiptc.c TC_CREATE_CHAIN.
inline bool IsStandardTarget(std::string_view name) {
  constexpr std::array<std::string_view, 4> kNames = {"ACCEPT", "DROP", "QUEUE",
                                                      "RETURN"};
  return std::ranges::find(kNames, name) != kNames.end();
}

/// What -j or -g was given: a verdict, a chain or an extension; "" = none.
inline std::string_view TargetName(const Target& target) {
  switch (target.kind) {
    case TargetKind::kNone:
      return "";
    case TargetKind::kAccept:
      return "ACCEPT";
    case TargetKind::kDrop:
      return "DROP";
    case TargetKind::kQueue:
      return "QUEUE";
    case TargetKind::kReturn:
      return "RETURN";
    case TargetKind::kJump:
    case TargetKind::kGoto:
      return target.chain;
    case TargetKind::kExtension:
      return target.extension.name;
  }
  return "";
}

}  // namespace nfarena
