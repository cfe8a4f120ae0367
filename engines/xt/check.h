// The refusals of checkentry().
#pragma once

#include <string>
#include <utility>

#include "compat/model/result.h"

namespace nfarena::xt {

/// The kernel would answer `errno_value` to the ruleset; `reason` says why.
/// The caller puts the extension's name and place in front.
[[nodiscard]] inline Status Refuse(int errno_value, std::string reason) {
  return Fail(ErrorCode::kUnsupported, std::move(reason), {}, errno_value);
}

}  // namespace nfarena::xt
