// Any bytes as the text of "ipset save": an error with its line, or sets that
// the shortest such text makes again, and that rules can name.
#include <fmt/format.h>

#include <cstdlib>
#include <string>

#include "compat/syntax/known_sets.h"
#include "compat/syntax/save_parser.h"
#include "compat/syntax/save_printer.h"

namespace nfarena {
namespace {

void CheckRules(const KnownSets& sets) {
  std::string rules = "*filter\n:INPUT ACCEPT [0:0]\n";
  for (const KnownSet& set : sets) {
    rules += fmt::format("-A INPUT -m set --match-set {} src\n", set.name);
  }
  rules += "COMMIT\n";
  const auto parsed =
      ParseSave(rules, {.resolve = false, .sets = &sets}, nullptr);
  if (!parsed) return;  // of IPv6, or a name that needs quotes
  const std::string printed = PrintSave(*parsed, {.sets = &sets});
  const auto again =
      ParseSave(printed, {.resolve = false, .sets = &sets}, nullptr);
  if (!again || !SameRules(*parsed, *again)) std::abort();
}

void Fuzz(std::string_view text) {
  const auto sets = ReadKnownSets(text);
  if (!sets) {
    if (sets.error().place.line == 0) std::abort();
    return;
  }
  std::string shortest;
  for (const KnownSet& set : *sets) {
    if (set.name.empty()) std::abort();
    shortest +=
        fmt::format("create {} {}\n", set.name,
                    !set.family                   ? "list:set"
                    : set.family == Family::kIpv6 ? "hash:net family inet6"
                                                  : "hash:net");
  }
  const auto again = ReadKnownSets(shortest);
  if (!again || again->size() != sets->size()) std::abort();
  for (size_t i = 0; i < sets->size(); ++i) {
    if ((*again)[i].name != (*sets)[i].name ||
        (*again)[i].family != (*sets)[i].family) {
      std::abort();
    }
  }
  if (sets->size() < 8) CheckRules(*sets);
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nfarena::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
