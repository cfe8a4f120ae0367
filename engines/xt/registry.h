// All matches and targets that the twins know, for those who walk through them;
// one by its name is FindXtMatch and FindXtTarget of extension.h.
#pragma once

#include <span>

#include "engines/xt/extension.h"

namespace nfarena {

/// Sorted by name and revision.
std::span<const XtMatch> XtMatches();
std::span<const XtTarget> XtTargets();

}  // namespace nfarena
