#include "compat/syntax/tokenizer.h"

#include <fmt/format.h>

#include <cstring>

namespace nfarena {

namespace {
char program_name[] = "nfarena";

// What ends a run of bytes that are copied as they are.
bool EndsPlain(char c) { return c == ' ' || c == '\t' || c == '"'; }
}  // namespace

Words::Words()
    : buffer_(kMaxLineSize + kMaxWords + 2),
      argv_(kMaxWords + 2),
      columns_(kMaxWords + 2),
      sizes_(kMaxWords + 2) {
  argv_[0] = program_name;
}

void Words::Take(std::span<const char* const> arguments) {
  size_t bytes = 0;
  for (const char* argument : arguments) bytes += std::strlen(argument) + 1;
  if (buffer_.size() < bytes) buffer_.resize(bytes);
  if (argv_.size() < arguments.size() + 2) {
    argv_.resize(arguments.size() + 2);
    columns_.resize(arguments.size() + 2);
    sizes_.resize(arguments.size() + 2);
  }
  char* out = buffer_.data();
  count_ = 1;
  for (const char* argument : arguments) {
    const auto index = static_cast<size_t>(count_++);
    const size_t size = std::strlen(argument);
    argv_[index] = out;
    columns_[index] = static_cast<uint32_t>(out - buffer_.data() + 1);
    sizes_[index] = static_cast<uint32_t>(size);
    std::memcpy(out, argument, size + 1);
    out += size + 1;
  }
  argv_[static_cast<size_t>(count_)] = nullptr;
}

Status Words::Split(std::string_view line, size_t start) {
  count_ = 1;
  char* out = buffer_.data();
  char* word = out;
  size_t word_start = start;
  bool in_word = false;
  bool quoted = false;
  const size_t size = line.size();

  const auto too_long = [&] {
    return Fail(ErrorCode::kRange,
                fmt::format("word of over {} bytes", kMaxWordSize),
                {.column = static_cast<uint32_t>(word_start + 1)});
  };
  const auto finish = [&] {
    if (count_ > static_cast<int>(kMaxWords)) return false;
    argv_[count_] = word;
    columns_[count_] = static_cast<uint32_t>(word_start + 1);
    sizes_[count_] = static_cast<uint32_t>(out - word);
    ++count_;
    *out++ = '\0';
    word = out;
    in_word = false;
    return true;
  };
  const auto too_many = [&] {
    return Fail(ErrorCode::kRange, fmt::format("over {} words", kMaxWords),
                {.column = static_cast<uint32_t>(word_start + 1)});
  };

  for (size_t i = start; i < size; ++i) {
    const char c = line[i];
    if (quoted) {
      if (c == '\\') {
        // A backslash that ends the line escapes nothing.
        if (++i < size) *out++ = line[i];
      } else if (c == '"') {
        quoted = false;
        if (static_cast<size_t>(out - word) > kMaxWordSize) return too_long();
        if (!finish()) return too_many();
      } else {
        *out++ = c;
      }
      continue;
    }
    if (c == ' ' || c == '\t') {
      if (!in_word) continue;
      if (static_cast<size_t>(out - word) > kMaxWordSize) return too_long();
      if (!finish()) return too_many();
      continue;
    }
    if (!in_word) {
      in_word = true;
      word_start = i;
    }
    if (c == '"') {
      quoted = true;
      continue;
    }
    size_t end = i + 1;
    while (end < size && !EndsPlain(line[end])) ++end;
    std::memcpy(out, line.data() + i, end - i);
    out += end - i;
    i = end - 1;
  }
  if (quoted) {
    return Fail(ErrorCode::kSyntax, "quote is not closed",
                {.column = static_cast<uint32_t>(word_start + 1)});
  }
  if (out != word) {
    if (static_cast<size_t>(out - word) > kMaxWordSize) return too_long();
    if (!finish()) return too_many();
  }
  argv_[count_] = nullptr;
  return {};
}

}  // namespace nfarena
