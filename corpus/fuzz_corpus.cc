// Any bytes as a corpus entry: a refusal names its place, and the sections of
// what is taken are lines of the text, at the line they say.
#include <cstdlib>
#include <string>
#include <vector>

#include "corpus/corpus.h"

namespace nfarena {
namespace {

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = text.find('\n');
    lines.push_back(text.substr(0, end));
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
  }
  return lines;
}

void Check(const CorpusSection& section,
           const std::vector<std::string_view>& lines) {
  if (section.first_line == 0) {
    if (!section.text.empty()) std::abort();
    return;
  }
  size_t at = section.first_line - 1;
  for (const std::string_view line : Lines(section.text)) {
    if (at >= lines.size() || lines[at] != line) std::abort();
    ++at;
  }
}

void Fuzz(std::string_view text) {
  const auto entry = ParseCorpusEntry(text, "fuzz.case");
  if (!entry) {
    if (!entry.error().starts_with("fuzz.case:")) std::abort();
    return;
  }
  if (entry->id.empty() || entry->licence.empty()) std::abort();
  const auto lines = Lines(text);
  Check(entry->ruleset, lines);
  Check(entry->packets, lines);
  Check(entry->ipset, lines);
  for (const CorpusExpectation& expectation : entry->expectations) {
    if (expectation.packet == 0 || expectation.verdict.empty()) std::abort();
  }
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nfarena::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
