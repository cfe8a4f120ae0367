// The words libiptc has for a change that cannot be made; scripts look for
// some of them ("No chain/target/match by that name").
#pragma once

#include <string_view>

#include "compat/model/delta.h"
#include "compat/model/ruleset.h"

namespace nfarena {

/// Why `change` fails on `ruleset`; "" when nothing here speaks against it and
/// the reason must be somebody else's.
/// Source: iptables 1.8.9, libiptc/libiptc.c TC_STRERROR().
std::string_view IptcMessage(const Change& change, const Ruleset& ruleset);

}  // namespace nfarena
