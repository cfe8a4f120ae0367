// Any bytes as a batch that is well formed: right lengths and nesting, names
// that mostly exist, values that are mostly small.
//
// Mutated netlink bytes hardly get past the first check of lengths, so the
// fuzzers let their input choose among messages, attributes and values
// instead.  What an expression may hold is taken from its own attribute rules.
#pragma once

#include <cstdint>

#include "compat/model/testing/choices.h"
#include "engines/vm/testing/batch_builder.h"

namespace nfarena::vm {

using testing::Choices;

/// A batch that makes what RandomBatch refers to: table "filter" with chains of
/// every hook, user chains, sets, maps and objects.  Always accepted.
Bytes StandingBatch(uint8_t family);

/// A batch of 1 to `most` messages.
Bytes RandomBatch(uint8_t family, size_t most, Choices* choices);

}  // namespace nfarena::vm
