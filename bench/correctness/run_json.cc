#include "bench/correctness/run_json.h"

namespace nfarena {

nlohmann::json RunJson(const EngineRun& run) {
  return {{"engine", run.engine},
          {"state", RunStateName(run.state)},
          {"reason", run.reason},
          {"compared", run.compared},
          {"indeterminate", run.indeterminate},
          {"differences", run.differences},
          {"counters_compared", run.counters_compared}};
}

}  // namespace nfarena
