// The xtables2-style reconstruction: one table, one blob, one pointer swap.
//
// What it is built from, and what is ours, is said in
// compat/lower/blob_format.h.
#pragma once

#include "engines/core/engine.h"

namespace nfarena {

/// "blob".
const Engine& BlobEngine();

}  // namespace nfarena
