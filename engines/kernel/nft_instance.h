// kernel-nft and kernel-nft-compat: nf_tables of the running kernel.
#pragma once

#include <memory>

#include "compat/lower/nft_batch.h"
#include "compat/model/result.h"
#include "engines/core/engine.h"

namespace nfarena::kernel {

/// Errors: kSystem (rights.h).
[[nodiscard]] Result<std::unique_ptr<Instance>> OpenNft(
    const OpenOptions& options, const NftOptions& lowering);

}  // namespace nfarena::kernel
