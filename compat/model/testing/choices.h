// Bytes as a row of choices, for fuzzers whose input decides what is made
// instead of being it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace nfarena::testing {

/// Zero when the bytes are used up.
class Choices {
 public:
  explicit Choices(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  bool empty() const { return bytes_.empty(); }
  uint8_t Byte() {
    if (bytes_.empty()) return 0;
    const uint8_t byte = bytes_.front();
    bytes_ = bytes_.subspan(1);
    return byte;
  }
  uint32_t Word() {
    uint32_t word = 0;
    for (int i = 0; i < 4; ++i) word = word << 8 | Byte();
    return word;
  }
  /// Below `n`, which is at most 256.
  size_t Below(size_t n) { return Byte() % n; }
  bool OneIn(size_t n) { return Below(n) == n - 1; }
  /// Mostly small, sometimes anything.
  uint32_t Number() {
    const uint8_t kind = Byte();
    if (kind < 224) return kind % 32;
    if (kind < 248) return Byte();
    return Word();
  }
  /// `n` bytes, filled up with zeros.
  std::vector<uint8_t> Take(size_t n) {
    std::vector<uint8_t> bytes(n);
    const size_t have = std::min(n, bytes_.size());
    std::copy_n(bytes_.begin(), have, bytes.begin());
    bytes_ = bytes_.subspan(have);
    return bytes;
  }
  /// Overwrites up to three bytes, none in half of the cases.
  void Damage(std::vector<uint8_t>* bytes) {
    if (bytes->empty() || !OneIn(2)) return;
    for (size_t n = 1 + Below(3); n != 0; --n) {
      const size_t at = (size_t{Byte()} << 8 | Byte()) % bytes->size();
      (*bytes)[at] = Byte();
    }
  }

 private:
  std::span<const uint8_t> bytes_;
};

}  // namespace nfarena::testing
