// Any bytes as a blob: an error, or a blob that can be read in every way; and
// what iptables can say of it lowers to a blob again.
#include <cstdlib>

#include "compat/lower/blob_lower.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nfarena;
  const auto view = BlobView::Parse({data, size});
  if (!view) return 0;
  (void)view->Disassemble();
  const size_t rules = view->header().rules_count + view->chains().size();
  if (view->HookMasks().size() != rules) std::abort();
  const auto ruleset = RaiseBlob(*view, {});
  if (!ruleset) return 0;
  const auto image = LowerBlob(*ruleset, {.counters = false});
  if (!image) std::abort();
  const auto again = BlobView::Parse(image->bytes);
  if (!again) std::abort();
  const auto raised = RaiseBlob(*again, {});
  if (!raised || !SameRules(*ruleset, *raised)) std::abort();
  return 0;
}
