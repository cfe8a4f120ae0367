// Unaligned big-endian access to packet bytes.  The caller has checked that
// the offset lies inside; nothing here does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace nfarena {

inline uint16_t LoadBe16(const uint8_t* p) {
  return static_cast<uint16_t>((p[0] << 8) | p[1]);
}
inline uint32_t LoadBe32(const uint8_t* p) {
  return (static_cast<uint32_t>(p[0]) << 24) |
         (static_cast<uint32_t>(p[1]) << 16) |
         (static_cast<uint32_t>(p[2]) << 8) | p[3];
}
inline void StoreBe16(uint8_t* p, uint16_t value) {
  p[0] = static_cast<uint8_t>(value >> 8);
  p[1] = static_cast<uint8_t>(value);
}
inline void StoreBe32(uint8_t* p, uint32_t value) {
  StoreBe16(p, static_cast<uint16_t>(value >> 16));
  StoreBe16(p + 2, static_cast<uint16_t>(value));
}
/// Memory order, for checksums.
inline uint16_t LoadRaw16(const uint8_t* p) {
  uint16_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}
inline uint32_t LoadRaw32(const uint8_t* p) {
  uint32_t value;
  std::memcpy(&value, p, sizeof(value));
  return value;
}
inline void StoreRaw16(uint8_t* p, uint16_t value) {
  std::memcpy(p, &value, sizeof(value));
}

}  // namespace nfarena
