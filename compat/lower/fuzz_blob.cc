// Any bytes as a blob, or a ruleset lowered and damaged: an error, or a blob
// that can be read in every way; and what iptables can say of it lowers to a
// blob again.
#include <cstdlib>

#include "compat/lower/blob_lower.h"
#include "compat/lower/testing/random_extension.h"
#include "compat/model/testing/random_table.h"

namespace nfarena {
namespace {

using testing::Choices;

void Read(std::span<const uint8_t> bytes) {
  const auto view = BlobView::Parse(bytes);
  if (!view) return;
  (void)view->Disassemble();
  const size_t rules = view->header().rules_count + view->chains().size();
  if (view->HookMasks().size() != rules) std::abort();
  const auto ruleset = RaiseBlob(*view, {});
  if (!ruleset) return;
  const auto image = LowerBlob(*ruleset, {.counters = false});
  if (!image) std::abort();
  const auto again = BlobView::Parse(image->bytes);
  if (!again) std::abort();
  const auto raised = RaiseBlob(*again, {});
  if (!raised || !SameRules(*ruleset, *raised)) std::abort();
}

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const uint8_t mode = choices.Byte();
  if ((mode & 0xc0) == 0xc0) {
    Read(data.subspan(1));
    return;
  }
  const Family family = (mode & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  Ruleset ruleset{.family = family, .tables = {}};
  for (size_t i = 0; i < kTableKindCount; ++i) {
    if (!choices.OneIn(3)) continue;
    ruleset.tables.push_back(testing::RandomTable(
        family, static_cast<TableKind>(i), testing::RandomExtension, &choices));
  }
  const auto image = LowerBlob(ruleset, {.counters = (mode & 2) != 0});
  if (!image) return;
  std::vector<uint8_t> bytes = image->bytes;
  choices.Damage(&bytes);
  Read(bytes);
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size != 0) nfarena::Fuzz({data, size});
  return 0;
}
