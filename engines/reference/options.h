// Walking TCP's and DCCP's options as netfilter's matches do.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "engines/core/bytes.h"

namespace nfarena::reference {

/// From one option to the next.  Only the kind of each is looked at; kinds 0
/// and 1, and one without room for a length, count one byte.
inline size_t NextOption(std::span<const uint8_t> options, size_t at) {
  if (options[at] < 2 || at == options.size() - 1) return at + 1;
  return at + std::max<size_t>(options[at + 1], 1);
}

inline bool HasOption(std::span<const uint8_t> options, uint8_t kind) {
  for (size_t at = 0; at < options.size(); at = NextOption(options, at)) {
    if (options[at] == kind) return true;
  }
  return false;
}

/// The value of the first maximum segment size option of the right length.
inline std::optional<uint16_t> MssOption(std::span<const uint8_t> options) {
  constexpr uint8_t kMss = 2, kMssBytes = 4;
  for (size_t at = 0; at < options.size(); at = NextOption(options, at)) {
    if (options[at] == kMss && options.size() - at >= kMssBytes &&
        options[at + 1] == kMssBytes) {
      return LoadBe16(&options[at + 2]);
    }
  }
  return std::nullopt;
}

}  // namespace nfarena::reference
