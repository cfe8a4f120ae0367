// How an engine's part in a differential run stands in JSON: in result files
// and in the answer of `nfarena diff --json`.
#pragma once

#include <nlohmann/json.hpp>

#include "bench/correctness/differential.h"

namespace nfarena {

nlohmann::json RunJson(const EngineRun& run);

}  // namespace nfarena
