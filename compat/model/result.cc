#include "compat/model/result.h"

#include <fmt/format.h>

#include <cerrno>
#include <system_error>

namespace nfarena {

const char* ErrorCodeName(ErrorCode code) {
  switch (code) {
    case ErrorCode::kSyntax:
      return "syntax";
    case ErrorCode::kUnsupported:
      return "unsupported";
    case ErrorCode::kRange:
      return "range";
    case ErrorCode::kConflict:
      return "conflict";
    case ErrorCode::kSystem:
      return "system";
    case ErrorCode::kInternal:
      return "internal";
  }
  return "unknown";
}

std::string Error::ToString() const {
  std::string out;
  if (!place.file.empty()) out += place.file + ":";
  if (place.line != 0) out += fmt::format("{}:", place.line);
  if (place.line != 0 && place.column != 0) {
    out += fmt::format("{}:", place.column);
  }
  if (!out.empty()) out += " ";
  out += "error: " + message;
  if (!place.text.empty()) out += fmt::format(" [{}]", place.text);
  if (errno_value != 0) {
    out += fmt::format(": {}", std::generic_category().message(errno_value));
  }
  return out;
}

Error InFile(Error error, const std::string& file) {
  if (error.place.line != 0 && error.place.file.empty()) {
    error.place.file = file;
  }
  return error;
}

tl::unexpected<Error> FailErrno(std::string message) {
  return Fail(ErrorCode::kSystem, std::move(message), {}, errno);
}

}  // namespace nfarena
