// The walk over options that tcp, tcpmss and dccp share.
#pragma once

#include "engines/xt/access.h"

namespace nfarena::xt {

inline constexpr size_t kTcpHeaderBytes = 20;
inline constexpr uint8_t kTcpOptionMss = 2;
inline constexpr size_t kTcpOptionMssBytes = 4;

/// How far the option at `i` of `size` bytes reaches: a byte for no-operation,
/// end of options, a kind without its length and a length of zero.  May point
/// past the end.
inline size_t OptionBytes(const uint8_t* options, size_t i, size_t size) {
  if (options[i] < 2 || i == size - 1 || options[i + 1] == 0) return 1;
  return options[i + 1];
}

enum class OptionSearch : uint8_t { kFound, kMissing, kTruncated };

/// tcp_find_option(): also looks at what follows an end-of-options byte.
inline OptionSearch FindOption(const PacketState& packet, size_t offset,
                               size_t size, uint8_t option) {
  if (size == 0) return OptionSearch::kMissing;
  const uint8_t* options = HeaderAt(packet, offset, size);
  if (options == nullptr) return OptionSearch::kTruncated;
  for (size_t i = 0; i < size; i += OptionBytes(options, i, size)) {
    if (options[i] == option) return OptionSearch::kFound;
  }
  return OptionSearch::kMissing;
}

}  // namespace nfarena::xt
