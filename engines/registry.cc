#include "engines/registry.h"

#include <array>
#include <string>

#include "engines/blob/blob_engine.h"
#include "engines/kernel/kernel_engines.h"
#include "engines/legacy/legacy_engine.h"
#include "engines/reference/reference_engine.h"
#include "engines/vm/vm_engine.h"

namespace nfarena {

std::span<const Engine* const> Engines() {
  static const std::array<const Engine*, 8> kEngines = {
      &ReferenceEngine(), &LegacyEngine(),         &BlobEngine(),
      &VmEngine(),        &VmCompatEngine(),       &KernelLegacyEngine(),
      &KernelNftEngine(), &KernelNftCompatEngine()};
  return kEngines;
}

Result<const Engine*> FindEngine(std::string_view name) {
  std::string known;
  for (const Engine* engine : Engines()) {
    if (engine->name() == name) return engine;
    if (!known.empty()) known += ", ";
    known += engine->name();
  }
  return Fail(ErrorCode::kSyntax, "no engine is called '" + std::string(name) +
                                      "'; there are: " + known);
}

}  // namespace nfarena
