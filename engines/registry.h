// All engines, by name.  The list in registry.cc is the only place that names
// every engine; everything else asks here.
#pragma once

#include <span>
#include <string_view>

#include "engines/core/engine.h"

namespace nfarena {

/// In the order tables and figures show them.
std::span<const Engine* const> Engines();

/// Errors: kSyntax with the list of known names.
[[nodiscard]] Result<const Engine*> FindEngine(std::string_view name);

}  // namespace nfarena
