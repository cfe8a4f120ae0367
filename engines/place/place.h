// Places where the rules of iptables commands are in force, on any engine.
//
// A kernel engine's place is the network namespace of the process.  A twin has
// no such thing, so its place is a file for each namespace, family and engine:
// every command loads it into the engine, does its work there and writes back
// what the engine then says is in force.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "compat/command/store.h"
#include "engines/core/engine.h"

namespace nfarena {

struct PlaceOptions {
  Family family = Family::kIpv4;
  /// Twins: where the files are; "" = $NFARENA_STATE_DIR, else /run/nfarena.
  std::string state_directory;
};

/// The store outlives neither the process nor its namespace.
/// Errors: kSystem (no right), kUnsupported.
[[nodiscard]] Result<std::unique_ptr<RulesetStore>> OpenPlace(
    const Engine& engine, const PlaceOptions& options);

}  // namespace nfarena
