// Reading a uapi structure out of an extension's payload, for the decoders of
// this directory only.
//
// The kernel asks for exactly XT_ALIGN(sizeof(structure)) bytes; a dump of
// nf_tables gives the unaligned size.  Both are taken, anything else is an
// error, and no byte is read before its presence is checked.
#pragma once

#include <algorithm>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena::payload {

/// An error that stands at the extension: its column and name.
inline tl::unexpected<Error> FailAt(const Extension& extension, ErrorCode code,
                                    std::string message) {
  SourcePlace place;
  place.column = extension.column;
  place.text = extension.name;
  return Fail(code, std::move(message), std::move(place));
}

constexpr size_t XtAlign(size_t size) { return (size + 7) & ~size_t{7}; }

/// Errors: kRange (size of the payload is not that of T).
template <typename T>
[[nodiscard]] Result<T> Read(const Extension& extension) {
  static_assert(std::is_trivially_copyable_v<T>);
  const size_t size = extension.payload.size();
  if (size < sizeof(T) || size > XtAlign(sizeof(T))) {
    return FailAt(extension, ErrorCode::kRange,
                  extension.name + " revision " +
                      std::to_string(extension.revision) + " takes " +
                      std::to_string(XtAlign(sizeof(T))) +
                      " bytes of parameters, not " + std::to_string(size));
  }
  T value;
  std::memcpy(&value, extension.payload.data(), sizeof(T));
  return value;
}

/// The text in a fixed-size array, up to its NUL or its end.
template <size_t N>
std::string Text(const char (&array)[N]) {
  return std::string(array, strnlen(array, N));
}

/// An address of union nf_inet_addr; IPv4 uses the first 4 bytes only.
template <typename Union>
Address ToAddress(Family family, const Union& from) {
  Address to{};
  static_assert(sizeof(from) == 16);
  std::memcpy(to.data(), &from, family == Family::kIpv4 ? 4 : 16);
  return to;
}

/// kRange when a flag word has bits that the kernel's check refuses.
[[nodiscard]] inline Status RefuseBits(const Extension& extension,
                                       uint32_t value, uint32_t known,
                                       std::string_view what) {
  if ((value & ~known) == 0) return {};
  return FailAt(extension, ErrorCode::kRange,
                extension.name + ": unknown bits in " + std::string(what));
}

/// One line of a decoder table.
template <typename Meaning>
struct Decoder {
  std::string_view name;
  uint8_t revision;
  bool ipv4, ipv6;
  Result<Meaning> (*decode)(Family family, const Extension& extension);
};

/// Finds the decoder in one of the tables and runs it, or says why there is
/// none.
template <typename Meaning>
[[nodiscard]] Result<Meaning> Decode(
    std::initializer_list<std::span<const Decoder<Meaning>>> tables,
    std::string_view kind, Family family, const Extension& extension) {
  bool name_known = false;
  bool family_known = false;
  for (const auto& table : tables) {
    for (const Decoder<Meaning>& decoder : table) {
      if (decoder.name != extension.name) continue;
      name_known = true;
      if (!(family == Family::kIpv4 ? decoder.ipv4 : decoder.ipv6)) continue;
      family_known = true;
      if (decoder.revision != extension.revision) continue;
      return decoder.decode(family, extension);
    }
  }
  std::string message = std::string(kind) + " " + extension.name;
  if (family_known) {
    message +=
        ": revision " + std::to_string(extension.revision) + " is not known";
  } else if (name_known) {
    message += std::string(" does not exist for ") + FamilyName(family);
  } else {
    message += ": its meaning is not known";
  }
  return FailAt(extension, ErrorCode::kUnsupported, std::move(message));
}

}  // namespace nfarena::payload
