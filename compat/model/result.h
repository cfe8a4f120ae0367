// Result<T>: a value, or an Error that says what, where and why.
//
// Every fallible function of the project returns Result or Status; exceptions
// do not cross an interface.  tl::expected is used because libstdc++ 12 offers
// std::expected only in C++23 mode; the alias keeps a later change to one line.
#pragma once

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace nfarena {

enum class ErrorCode : uint8_t {
  kSyntax,       // the input text is not valid
  kUnsupported,  // valid, but this engine or lowering cannot express it
  kRange,        // a count, size or offset is out of its limits
  kConflict,     // somebody else changed the ruleset, or the object exists
  kSystem,       // the operating system refused; errno_value says how
  kInternal,     // an invariant of nfarena itself is broken
};

/// The fixed lower-case name of a code, e.g. "unsupported".
const char* ErrorCodeName(ErrorCode code);

/// A place in an input text.  Lines and columns are counted from 1 (columns in
/// bytes); 0 means unknown.  `text` is the offending piece, for a person.
struct SourcePlace {
  std::string file;
  uint32_t line = 0;
  uint32_t column = 0;
  std::string text;
};

struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  SourcePlace place;
  int errno_value = 0;

  /// "file:line:column: error: message [text]", parts that are unknown left
  /// out; strerror(errno_value) appended when set.
  std::string ToString() const;
};

/// Names the file of an error that has a line but no file: engines know the
/// lines of rules, not where these were read from.
[[nodiscard]] Error InFile(Error error, const std::string& file);

template <typename T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

/// Makes the error alternative of a Result.
[[nodiscard]] inline tl::unexpected<Error> Fail(ErrorCode code,
                                                std::string message,
                                                SourcePlace place = {},
                                                int errno_value = 0) {
  return tl::unexpected<Error>(
      Error{code, std::move(message), std::move(place), errno_value});
}

/// A kSystem error that keeps the current errno.
[[nodiscard]] tl::unexpected<Error> FailErrno(std::string message);

}  // namespace nfarena

#define NFARENA_CONCAT_INNER(a, b) a##b
#define NFARENA_CONCAT(a, b) NFARENA_CONCAT_INNER(a, b)

/// Returns the error of a Status or Result from the enclosing function.
#define RETURN_IF_ERROR(expr)                                                \
  do {                                                                       \
    if (auto status_ = (expr); !status_) {                                   \
      return ::tl::unexpected<::nfarena::Error>(std::move(status_).error()); \
    }                                                                        \
  } while (false)

/// ASSIGN_OR_RETURN(auto x, Parse(s)): unwraps a Result or returns its error.
#define ASSIGN_OR_RETURN(lhs, expr) \
  ASSIGN_OR_RETURN_IMPL(NFARENA_CONCAT(result_, __LINE__), lhs, expr)
#define ASSIGN_OR_RETURN_IMPL(tmp, lhs, expr)                                  \
  auto tmp = (expr);                                                           \
  if (!tmp) return ::tl::unexpected<::nfarena::Error>(std::move(tmp).error()); \
  lhs = std::move(*tmp)
