// The kernel's own nf_tables, for tests that load batches and read them back.
//
// A minimal sender: one batch, one error; one dump of everything of a family.
// Like all of testing/, it acts on the namespace it is called in, which a test
// makes for itself.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena::testing {

/// Sends the batch as one transaction.  The error names the sequence number of
/// the first message refused.
Status SendNftBatch(std::span<const uint8_t> batch);

/// The messages of GETCHAIN, GETRULE and GETSETELEM dumps.
struct NftDumpBytes {
  std::vector<uint8_t> chains, rules, elements;
};
Result<NftDumpBytes> ReadNft(Family family);
/// With those of family inet.
Result<NftDumpBytes> ReadNftWithInet(Family family);

/// Runs a shell command in the caller's namespace; its output, and its status
/// in `*status`.
std::string RunCommand(const std::string& command, const std::string& input,
                       int* status);

}  // namespace nfarena::testing
