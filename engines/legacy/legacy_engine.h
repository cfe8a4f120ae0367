// The twin of ip_tables and ip6_tables.
//
// It takes the bytes that setsockopt takes and walks them where they lie
// (legacy_program.h), one table at a time; a change reads the whole table,
// modifies it and puts it back, as libiptc does.
#pragma once

#include "engines/core/engine.h"

namespace nfarena {

/// "legacy".
const Engine& LegacyEngine();

}  // namespace nfarena
