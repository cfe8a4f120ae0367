// The oracle: a plain evaluator of the model, slow and obviously right.
//
// It knows no wire form and shares no match or target with the other twins
// (engines/xt): they decode payloads as kernel modules do, it evaluates
// compat/meaning, so an error in one of the two shows as a difference.  What
// it shares with them is the way of a packet (Path) and the tracker.
#pragma once

#include "engines/core/engine.h"

namespace nfarena {

const Engine& ReferenceEngine();

}  // namespace nfarena
