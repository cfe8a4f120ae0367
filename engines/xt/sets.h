// How the match set and the target SET name a set, and what of it.
#pragma once

#include <cstdint>

#include "engines/core/ipset.h"
#include "engines/xt/extension.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {

/// Set, dimensions and sides; all else of the query as by default.
IpSetQuery SetQueryOf(const xt_set_info& set);
IpSetQuery SetQueryOf(const xt_set_info_v0& set);

/// ENOENT when there is no such set, no errno when it is not modelled.
[[nodiscard]] Status CheckSetExists(uint16_t index, const XtUse& use);

}  // namespace nfarena::xt
