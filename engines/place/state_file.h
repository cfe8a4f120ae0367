// The place of a twin's rules between two commands.
#pragma once

#include "engines/place/place.h"

namespace nfarena {

/// A file of iptables-save text with counters, replaced as a whole by
/// rename(2): a process that is killed leaves the old one or the new one.
[[nodiscard]] Result<std::unique_ptr<RulesetStore>> OpenStateFile(
    const Engine& engine, const PlaceOptions& options);

}  // namespace nfarena
