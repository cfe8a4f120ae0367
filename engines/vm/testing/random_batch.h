// Any bytes as a batch that is well formed: right lengths and nesting, names
// that mostly exist, values that are mostly small.
//
// Mutated netlink bytes hardly get past the first check of lengths, so the
// fuzzers let their input choose among messages, attributes and values
// instead.  What an expression may hold is taken from its own attribute rules.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "engines/vm/testing/batch_builder.h"

namespace nfarena::vm {

/// Bytes as a row of choices; zero when they are used up.
class Choices {
 public:
  explicit Choices(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }
  uint8_t Byte();
  uint32_t Word();
  /// Below `n`, which is at most 256.
  size_t Below(size_t n) { return Byte() % n; }
  bool OneIn(size_t n) { return Below(n) == n - 1; }
  /// Mostly small, sometimes anything.
  uint32_t Number();
  Bytes Take(size_t n);

 private:
  std::span<const uint8_t> bytes_;
};

/// A batch that makes what RandomBatch refers to: table "filter" with chains of
/// every hook, user chains, sets, maps and objects.  Always accepted.
Bytes StandingBatch(uint8_t family);

/// A batch of 1 to `most` messages.
Bytes RandomBatch(uint8_t family, size_t most, Choices* choices);

}  // namespace nfarena::vm
