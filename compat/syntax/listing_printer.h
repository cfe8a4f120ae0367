// A ruleset with remarks -> iptables-save text in which the remarks are
// comments.
#pragma once

#include <string>

#include "compat/model/remark.h"
#include "compat/syntax/save_printer.h"

namespace nfarena {

/// As PrintSave, with each remark as a comment at its place.
std::string PrintListing(const Ruleset& ruleset, const Remarks& remarks,
                         const PrintOptions& options);

}  // namespace nfarena
