#include "corpus/corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sstream>

namespace nfarena {
namespace {

std::string_view Trim(std::string_view s) {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) {
    s.remove_prefix(1);
  }
  while (!s.empty() &&
         (s.back() == ' ' || s.back() == '\t' || s.back() == '\r')) {
    s.remove_suffix(1);
  }
  return s;
}

std::vector<std::string> Words(std::string_view text) {
  std::istringstream in{std::string(text)};
  return {std::istream_iterator<std::string>(in), {}};
}

/// Builds one entry line by line.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) { entry_.path = path; }

  tl::expected<CorpusEntry, std::string> Read(std::string_view text) {
    while (!text.empty()) {
      ++line_;
      const size_t end = std::min(text.find('\n'), text.size());
      const std::string_view line = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      if (const std::string why = Line(line); !why.empty()) {
        return tl::unexpected(
            fmt::format("{}:{}: {}", entry_.path.string(), line_, why));
      }
    }
    for (const auto& [name, value] : {std::pair{"id", &entry_.id},
                                      {"description", &entry_.description},
                                      {"origin", &entry_.origin},
                                      {"licence", &entry_.licence},
                                      {"ruleset", &entry_.ruleset.text}}) {
      if (value->empty()) {
        return tl::unexpected(
            fmt::format("{}: no {}", entry_.path.string(), name));
      }
    }
    return std::move(entry_);
  }

 private:
  /// Empty, or what is wrong with the line.
  std::string Line(std::string_view line) {
    if (line.starts_with("--- ")) return Section(Trim(line.substr(4)));
    if (section_ != nullptr) {
      section_->text.append(line).push_back('\n');
      return "";
    }
    if (in_expect_) return Expectation(Trim(line));
    return Header(Trim(line));
  }

  std::string Header(std::string_view line) {
    if (line.empty()) return "";
    if (!line.starts_with('#')) return "text before the first section";
    line = Trim(line.substr(1));
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) return "a header is '# key: value'";
    const std::string_view key = Trim(line.substr(0, colon));
    const std::string value{Trim(line.substr(colon + 1))};
    if (key == "id") {
      entry_.id = value;
    } else if (key == "description") {
      entry_.description = value;
    } else if (key == "origin") {
      entry_.origin = value;
    } else if (key == "licence") {
      entry_.licence = value;
    } else if (key == "requires") {
      entry_.requires_features = Words(value);
    } else if (key == "family") {
      if (value != "ipv4" && value != "ipv6") return "family: ipv4 or ipv6";
      entry_.ipv6 = value == "ipv6";
    } else {
      return fmt::format("unknown key '{}'", key);
    }
    return "";
  }

  std::string Section(std::string_view name) {
    section_ = nullptr;
    in_expect_ = name == "expect";
    if (name == "ruleset") {
      section_ = &entry_.ruleset;
    } else if (name == "packets") {
      section_ = &entry_.packets;
    } else if (name == "ipset") {
      section_ = &entry_.ipset;
    } else if (!in_expect_) {
      return fmt::format("unknown section '{}'", name);
    }
    if (section_ != nullptr) {
      if (section_->first_line != 0) {
        return fmt::format("second section '{}'", name);
      }
      section_->first_line = line_ + 1;
    }
    return "";
  }

  std::string Expectation(std::string_view line) {
    if (line.empty() || line.starts_with('#')) return "";
    const size_t colon = line.find(':');
    CorpusExpectation expectation;
    const std::string_view number = line.substr(0, colon);
    const auto [end, error] = std::from_chars(
        number.data(), number.data() + number.size(), expectation.packet);
    const std::vector<std::string> words = colon == std::string_view::npos
                                               ? std::vector<std::string>{}
                                               : Words(line.substr(colon + 1));
    if (error != std::errc{} || end != number.data() + number.size() ||
        expectation.packet == 0 || words.empty() || words.size() > 2) {
      return "an expectation is 'PACKET-NUMBER: verdict [chain]'";
    }
    expectation.verdict = words[0];
    if (words.size() == 2) expectation.chain = words[1];
    entry_.expectations.push_back(std::move(expectation));
    return "";
  }

  CorpusEntry entry_;
  CorpusSection* section_ = nullptr;
  bool in_expect_ = false;
  uint32_t line_ = 0;
};

}  // namespace

tl::expected<CorpusEntry, std::string> ParseCorpusEntry(
    std::string_view text, const std::filesystem::path& path) {
  return Reader(path).Read(text);
}

tl::expected<CorpusEntry, std::string> LoadCorpusEntry(
    const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return tl::unexpected(fmt::format("{}: cannot be read", path.string()));
  }
  std::ostringstream text;
  text << in.rdbuf();
  return ParseCorpusEntry(text.str(), path);
}

tl::expected<std::vector<CorpusEntry>, std::string> LoadCorpus(
    const std::filesystem::path& root) {
  std::vector<CorpusEntry> entries;
  std::error_code error;
  for (auto it = std::filesystem::recursive_directory_iterator(root, error);
       !error && it != std::filesystem::recursive_directory_iterator();
       it.increment(error)) {
    if (it->path().extension() != ".case") continue;
    auto entry = LoadCorpusEntry(it->path());
    if (!entry) return tl::unexpected(entry.error());
    entries.push_back(std::move(*entry));
  }
  if (error) {
    return tl::unexpected(
        fmt::format("{}: {}", root.string(), error.message()));
  }
  if (entries.empty()) {
    return tl::unexpected(
        fmt::format("{}: no corpus entry (*.case) found", root.string()));
  }
  std::sort(entries.begin(), entries.end(),
            [](const auto& a, const auto& b) { return a.id < b.id; });
  const auto twice = std::adjacent_find(
      entries.begin(), entries.end(),
      [](const auto& a, const auto& b) { return a.id == b.id; });
  if (twice != entries.end()) {
    return tl::unexpected(fmt::format("{}: id '{}' is used twice",
                                      std::next(twice)->path.string(),
                                      twice->id));
  }
  return entries;
}

std::filesystem::path CorpusRoot() {
  if (const char* named = std::getenv("NFARENA_CORPUS")) return named;
  if (std::filesystem::is_directory(NFARENA_SOURCE_CORPUS)) {
    return NFARENA_SOURCE_CORPUS;
  }
  return NFARENA_INSTALLED_CORPUS;
}

}  // namespace nfarena
