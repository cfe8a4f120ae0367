#include "engines/legacy/legacy_engine.h"

#include "engines/core/testing/twin_behaviour.h"

namespace nfarena::testing {

INSTANTIATE_TEST_SUITE_P(Legacy, TwinBehaviour,
                         ::testing::Values(&LegacyEngine()));

}  // namespace nfarena::testing
