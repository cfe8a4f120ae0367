// One element of a set as ipset writes it: "192.0.2.0/24,tcp:80,eth0".
//
// What stands for several elements (a range of addresses or ports, a network
// in a set of addresses) comes out as several, as the kernel stores them.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "compat/model/result.h"
#include "engines/core/ipset.h"
#include "engines/core/ipset_key.h"

namespace nfarena {

/// The elements with their keys as the set keeps them.
/// Errors: kSyntax, kRange (outside of a bitmap, over 65,536 elements in one
/// word, the zero address).
[[nodiscard]] Result<std::vector<IpSetPoint>> ParseIpSetElement(
    const IpSet& set, std::string_view text);

/// A netmask (bits) or bitmask (an address) of a set of this family.
[[nodiscard]] Result<Address> ParseIpSetMask(std::string_view text,
                                             std::optional<Family> family);

/// The range of a bitmap: first and last address or port.
[[nodiscard]] Result<std::pair<uint32_t, uint32_t>> ParseIpSetRange(
    const IpSetType& type, std::string_view text);

}  // namespace nfarena
