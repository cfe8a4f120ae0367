// Addresses and masks as -s and -d take them.
#pragma once

#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

struct AddressAndMask {
  Address address{};  // already masked
  Address mask{};
};

/// "192.0.2.1", "192.0.2.0/24", "192.0.2.0/255.255.255.0", "a,b/8", a host or
/// network name.  Appends to `out`, one for each address a name has.
/// `resolved` gets the names that were asked from the resolver; with `resolve`
/// false a name is an error instead.  Errors: kSyntax without place.
/// Source: xtables_ipparse_multiple() and xtables_ip6parse_multiple() of
/// libxtables, which would ask the resolver for literals too.
[[nodiscard]] Status ParseAddressList(std::string_view text, Family family,
                                      bool resolve,
                                      std::vector<AddressAndMask>* out,
                                      std::vector<std::string>* resolved);

/// Plain dotted quad, each number at most three digits: "192.0.2.1".
bool ParseIpv4Literal(std::string_view text, uint8_t out[4]);

/// The first `bits` bits set; `size` bytes.
void SetPrefixMask(unsigned bits, size_t size, uint8_t* out);

}  // namespace nfarena
