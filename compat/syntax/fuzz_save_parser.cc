// Any bytes -> ParseSave -> PrintSave: no crash, no hang, and what was printed
// is taken again.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "compat/syntax/save_parser.h"
#include "compat/syntax/save_printer.h"
#include "compat/syntax/testing/fuzz_support.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nfarena;
  if (size == 0) return 0;
  const uint8_t flags = data[0];
  const std::string_view text(reinterpret_cast<const char*>(data) + 1,
                              size - 1);
  ParseOptions options{.counters = (flags & 2) != 0, .resolve = false};
  if (flags & 4) {
    options.family = flags & 1 ? Family::kIpv6 : Family::kIpv4;
  }
  // Sets are read from a text: asking the kernel is neither fast nor the same
  // everywhere.
  static const KnownSets sets = {
      {"name", Family::kIpv4}, {"six", Family::kIpv6}, {"any", std::nullopt}};
  options.sets = &sets;
  std::vector<Warning> warnings;
  const auto parsed = ParseSave(text, options, &warnings);
  if (!parsed) {
    // A refusal names its line, and never blames ourselves.
    if (parsed.error().place.line == 0 ||
        parsed.error().code == ErrorCode::kInternal) {
      std::abort();
    }
    return 0;
  }
  const std::string printed =
      PrintSave(*parsed, {.counters = true, .sets = &sets});
  if (!fuzz::PrintsFaithfully(*parsed)) return 0;
  const auto again =
      ParseSave(printed, {.family = parsed->family, .resolve = false}, nullptr);
  if (!again || !SameRules(*parsed, *again)) {
    fuzz::Report(printed,
                 again ? PrintSave(*again, {}) : again.error().ToString());
  }
  // The same text on top of what it gave is either taken or refused.
  options.base = &*parsed;
  options.family.reset();
  (void)ParseSave(text, options, nullptr);
  return 0;
}
