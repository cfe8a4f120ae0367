// Any bytes as a dump of nf_tables: an error or a ruleset, never a crash, and
// what was raised must print and go down again or be refused with words.
#include <cstddef>
#include <cstdint>
#include <span>

#include "compat/lower/nft_batch.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nfarena;
  if (size < 1) return 0;
  const Family family = (data[0] & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  NftOptions options;
  options.mode = (data[0] & 2) != 0 ? NftMode::kCompat : NftMode::kNative;
  const std::span<const uint8_t> bytes(data + 1, size - 1);
  const NftDump dump{bytes, bytes, bytes};
  (void)DumpNftBatch(bytes);
  (void)ReadNftCounters(family, dump);
  if (const auto raised = RaiseNft(family, dump)) {
    const auto batch = LowerNftRuleset(raised->ruleset, options, 0);
    if (batch) {
      (void)RaiseNft(family, {batch->bytes, batch->bytes, batch->bytes});
    }
  }
  return 0;
}
