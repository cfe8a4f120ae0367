// kernel-legacy: ip_tables or ip6_tables of the running kernel.
#pragma once

#include <memory>

#include "compat/model/result.h"
#include "engines/core/engine.h"

namespace nfarena::kernel {

/// Errors: kSystem (rights.h).
[[nodiscard]] Result<std::unique_ptr<Instance>> OpenLegacy(
    const OpenOptions& options);

}  // namespace nfarena::kernel
