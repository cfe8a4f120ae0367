#include "engines/blob/blob_engine.h"

#include "engines/core/testing/twin_behaviour.h"

namespace nfarena::testing {

INSTANTIATE_TEST_SUITE_P(Blob, TwinBehaviour, ::testing::Values(&BlobEngine()));

}  // namespace nfarena::testing
