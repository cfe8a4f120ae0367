// Any bytes as a dump of nf_tables, or a ruleset lowered and damaged: an error
// or a ruleset, and what was raised goes down again or is refused with words.
#include <cstdlib>

#include "compat/lower/nft_batch.h"
#include "compat/lower/nft_listing.h"
#include "compat/lower/testing/random_extension.h"
#include "compat/model/testing/random_table.h"

namespace nfarena {
namespace {

using testing::Choices;

/// A listing has a place for everything, and a remark is a line.
void List(Family family, const NftDump& dump) {
  const auto listing = ListNft(family, dump);
  if (!listing) {
    if (listing.error().message.empty()) std::abort();
    return;
  }
  for (const Remark& remark : listing->remarks) {
    if (remark.text.find('\n') != std::string::npos) std::abort();
  }
}

void Raise(Family family, const NftOptions& options,
           std::span<const uint8_t> bytes) {
  const NftDump dump{bytes, bytes, bytes};
  (void)DumpNftBatch(bytes);
  (void)ReadNftCounters(family, dump);
  List(family, dump);
  const auto raised = RaiseNft(family, dump);
  if (!raised) {
    if (raised.error().message.empty()) std::abort();
    return;
  }
  const auto batch = LowerNftRuleset(raised->ruleset, options, 0);
  if (!batch) {
    if (batch.error().message.empty()) std::abort();
    return;
  }
  (void)RaiseNft(family, {batch->bytes, batch->bytes, batch->bytes});
}

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const uint8_t mode = choices.Byte();
  const Family family = (mode & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  NftOptions options;
  options.mode = (mode & 2) != 0 ? NftMode::kCompat : NftMode::kNative;
  if ((mode & 0xc0) == 0xc0) {
    Raise(family, options, data.subspan(1));
    return;
  }
  Ruleset ruleset{.family = family, .tables = {}};
  ruleset.tables.push_back(testing::RandomTable(
      family, static_cast<TableKind>((mode >> 2) % kTableKindCount),
      testing::RandomExtension, &choices));
  const auto batch = LowerNftRuleset(ruleset, options, 0);
  if (!batch) return;
  std::vector<uint8_t> bytes = batch->bytes;
  choices.Damage(&bytes);
  Raise(family, options, bytes);
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size != 0) nfarena::Fuzz({data, size});
  return 0;
}
