// Which revisions of an extension the kernel takes.
//
// Asked from the running kernel where that is allowed; otherwise (no right, or
// the module is not there) answered from a table of Linux 6.x, so that parsing
// works without any right and gives the same payloads everywhere.
#pragma once

#include <cstdint>
#include <string_view>

#include "compat/model/ruleset.h"

namespace nfarena {

/// The highest revision Linux 6.x knows; -1 when the table has no such name.
int BuiltinRevision(bool target, std::string_view name);

/// Whether the kernel, or the table, takes `revision`; a name that neither
/// knows is assumed to be taken.
bool RevisionSupported(Family family, bool target, std::string_view name,
                       uint8_t revision);

}  // namespace nfarena
