// One line of a save file -> words, as iptables-restore cuts them.
//
// Words end at blanks, tabs and closing quotes; inside double quotes a
// backslash takes the next byte as it is.  So a"b c"d is the two words `ab c`
// and `d`, as for iptables-restore.  Words are NUL-terminated and writable,
// because the parsers of libxtables' extensions want argv.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "compat/model/result.h"

namespace nfarena {

/// The longest line iptables-restore reads in one piece, without its newline
/// (it would take the rest for another line).
inline constexpr size_t kMaxLineSize = 10238;
/// Limits of iptables-restore: words a line, counting "-t table" and the
/// program's name, and bytes a word.
inline constexpr size_t kMaxWords = 251;
inline constexpr size_t kMaxWordSize = 1023;

class Words {
 public:
  Words();
  Words(const Words&) = delete;
  Words& operator=(const Words&) = delete;

  /// Cuts `line` from byte `start` on.  Errors: kRange, kSyntax; the place has
  /// only the column.
  [[nodiscard]] Status Split(std::string_view line, size_t start);
  /// Takes the words that a program was called with, without its own name.
  /// Columns are those of the words joined by single blanks.
  void Take(std::span<const char* const> arguments);

  /// argv[0] is a placeholder for the program's name; argv[count()] is null.
  char** argv() { return argv_.data(); }
  const char* text(int index) const { return argv_[index]; }
  int count() const { return count_; }
  /// 1-based byte column of the word's first byte or opening quote.
  uint32_t column(int index) const { return columns_[index]; }
  size_t size(int index) const { return sizes_[index]; }
  std::string_view word(int index) const {
    return {argv_[index], sizes_[index]};
  }

 private:
  std::vector<char> buffer_;
  std::vector<char*> argv_;
  std::vector<uint32_t> columns_, sizes_;
  int count_ = 1;
};

}  // namespace nfarena
