#include "bench/upstream/test_file.h"

#include <fmt/format.h>

#include <optional>

namespace nfarena {
namespace {

std::vector<std::string> Cut(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0;;) {
    const size_t end = text.find(at, begin);
    parts.emplace_back(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return parts;
    begin = end + 1;
  }
}

std::string_view TrimEnd(std::string_view text) {
  return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

std::optional<UpstreamResult> ResultFrom(std::string_view word) {
  if (word == "OK") return UpstreamResult::kOk;
  if (word == "FAIL") return UpstreamResult::kFail;
  if (word == "NOMATCH") return UpstreamResult::kNoMatch;
  return std::nullopt;
}

// Source: iptables-test.py variant_res().
UpstreamResult Opposite(UpstreamResult result) {
  return result == UpstreamResult::kOk ? UpstreamResult::kFail
                                       : UpstreamResult::kOk;
}

Status ReadResult(const std::vector<std::string>& fields, UpstreamLine* line) {
  const auto bad = [](std::string_view what, const std::string& word) {
    return Fail(ErrorCode::kSyntax, fmt::format("{} '{}'", what, word),
                {.text = word});
  };
  const auto result = ResultFrom(TrimEnd(fields[2]));
  if (!result) return bad("unknown result", fields[2]);
  line->legacy = line->nft = *result;
  if (fields.size() == 3) return {};
  UpstreamResult other = Opposite(*result);
  if (fields.size() > 4) {
    const auto given = ResultFrom(TrimEnd(fields[4]));
    if (!given) return bad("unknown result", fields[4]);
    other = *given;
  }
  const std::string_view variant = TrimEnd(fields[3]);
  if (variant == "LEGACY") {
    line->nft = other;
  } else if (variant == "NFT") {
    line->legacy = other;
  } else {
    return bad("unknown variant", fields[3]);
  }
  return {};
}

}  // namespace

Result<std::vector<UpstreamLine>> ParseUpstreamTests(std::string_view text,
                                                     const std::string& file) {
  std::vector<UpstreamLine> lines;
  std::vector<std::string> chains;
  std::string table;
  uint32_t number = 0;
  while (!text.empty()) {
    ++number;
    const size_t end = text.find('\n');
    const std::string_view raw = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    const std::string_view line = TrimEnd(raw);
    if (line.empty() || line[0] == '#') continue;
    UpstreamLine parsed{.line = number};
    switch (line[0]) {
      case ':':
        chains = Cut(line.substr(1), ',');
        continue;
      case '*':
        table = line.substr(1);
        continue;
      case '@':
      case '%':
        parsed.kind = line[0] == '@' ? UpstreamLine::Kind::kShell
                                     : UpstreamLine::Kind::kIptables;
        parsed.text = line.substr(1);
        break;
      default: {
        const std::vector<std::string> fields = Cut(raw, ';');
        const SourcePlace place{.file = file, .line = number};
        if (fields.size() < 3) {
          return Fail(ErrorCode::kSyntax, "expected RULE;SAVED;RESULT", place);
        }
        if (chains.empty()) {
          return Fail(ErrorCode::kSyntax, "a rule before the first :CHAIN",
                      place);
        }
        parsed.text = fields[0];
        parsed.saved = fields[1] == "=" ? fields[0] : fields[1];
        parsed.chains = chains;
        parsed.table = table;
        if (Status status = ReadResult(fields, &parsed); !status) {
          Error error = status.error();
          error.place.file = file;
          error.place.line = number;
          return tl::unexpected<Error>(std::move(error));
        }
        break;
      }
    }
    lines.push_back(std::move(parsed));
  }
  return lines;
}

Result<std::vector<std::string>> SplitShellWords(std::string_view text) {
  std::vector<std::string> words;
  std::string word;
  bool in_word = false;
  char quote = '\0';
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '\'') {
      if (c == quote) {
        quote = '\0';
      } else {
        word.push_back(c);
      }
    } else if (c == '\\' && i + 1 < text.size()) {
      const char next = text[++i];
      // Inside double quotes only these lose their backslash.
      constexpr std::string_view kEscaped = "\"\\$`";
      if (quote == '"' && kEscaped.find(next) == std::string_view::npos) {
        word.push_back(c);
      }
      word.push_back(next);
      in_word = true;
    } else if (quote == '"' && c == '"') {
      quote = '\0';
    } else if (quote == '\0' && (c == '"' || c == '\'')) {
      quote = c;
      in_word = true;
    } else if (quote == '\0' && (c == ' ' || c == '\t')) {
      if (in_word) words.push_back(std::exchange(word, {}));
      in_word = false;
    } else {
      word.push_back(c);
      in_word = true;
    }
  }
  if (quote != '\0') {
    return Fail(ErrorCode::kSyntax, "quote is not closed");
  }
  if (in_word) words.push_back(std::move(word));
  return words;
}

}  // namespace nfarena
