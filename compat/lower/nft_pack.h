// A uapi structure -> the model's extension, for the encoders only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>

#include "compat/model/ruleset.h"

namespace nfarena::nft {

/// Padded to XT_ALIGN, as the kernel wants it.
template <typename T>
Extension Pack(std::string name, uint8_t revision, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  Extension extension;
  extension.name = std::move(name);
  extension.revision = revision;
  extension.payload.resize((sizeof(T) + 7) & ~size_t{7});
  std::memcpy(extension.payload.data(), &value, sizeof(T));
  extension.user_size = static_cast<uint16_t>(extension.payload.size());
  return extension;
}

/// Only the first `user` bytes are user space's; the kernel's follow.
template <typename T>
Extension PackPart(std::string name, uint8_t revision, const T& value,
                   size_t user) {
  Extension extension = Pack(std::move(name), revision, value);
  extension.user_size = static_cast<uint16_t>(user);
  return extension;
}

/// NUL-terminated; what does not fit is cut off.
template <size_t N>
void CopyText(const std::string& from, char (&to)[N]) {
  std::memcpy(to, from.data(), std::min(from.size(), N - 1));
}

template <typename Union>
void CopyAddress(const Address& from, Union* to) {
  static_assert(sizeof(Union) == sizeof(Address));
  std::memcpy(to, from.data(), from.size());
}

/// `bit` when `set`, else 0.
template <typename Flags>
Flags Bit(bool set, unsigned bit) {
  return static_cast<Flags>(set ? bit : 0);
}

}  // namespace nfarena::nft
