// Random numbers that are the same everywhere.
//
// The distributions of <random> differ between libraries, so the few that are
// needed are here, in integers.
#pragma once

#include <cstdint>
#include <span>

namespace nfarena {

/// splitmix64's mixing step: a good 64-bit hash of a number.
constexpr uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

class Random {
 public:
  explicit Random(uint64_t seed) : state_(Mix(seed)) {}

  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15;
    return Mix(state_);
  }
  /// 0 <= result < bound; bound > 0.
  uint32_t Below(uint32_t bound) {
    return static_cast<uint32_t>(((Next() >> 32) * bound) >> 32);
  }
  /// low <= result <= high.
  uint32_t Between(uint32_t low, uint32_t high) {
    return low + static_cast<uint32_t>(
                     (Next() >> 32) * (uint64_t{high} - low + 1) >> 32);
  }
  /// True that many times in a thousand.
  bool Permille(uint32_t permille) { return Below(1000) < permille; }

 private:
  uint64_t state_;
};

/// Draws an entry of a table whose entries have a `weight`.
template <typename Entry>
const Entry& Draw(std::span<const Entry> table, Random* random) {
  uint32_t total = 0;
  for (const Entry& entry : table) total += entry.weight;
  uint32_t at = random->Below(total);
  for (const Entry& entry : table) {
    if (at < entry.weight) return entry;
    at -= entry.weight;
  }
  return table.back();  // not reached: the weights add up to `total`
}

}  // namespace nfarena
