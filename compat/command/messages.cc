#include "compat/command/messages.h"

#include <fmt/format.h>

#include <iterator>

namespace nfarena {

// The release whose behaviour is followed.
constexpr std::string_view kVersion = "1.8.9";

std::string VersionText(const Program& program) {
  return fmt::format("{} v{} ({})", program.name, kVersion, program.backend);
}

// Source: iptables 1.8.9, libxtables/xtables.c basic_exit_err().
int ReportProblem(const Program& program, const Error& error,
                  ProgramOutput* output) {
  auto out = std::back_inserter(output->err);
  fmt::format_to(out, "{}: {}", VersionText(program), error.message);
  if (!error.place.text.empty()) {
    fmt::format_to(out, " [{}]", error.place.text);
  }
  fmt::format_to(out, "\n");
  if (error.code == ErrorCode::kSystem) return kProgramFailed;
  if (error.place.line != 0) {
    fmt::format_to(out, "Error occurred at line: {}\n", error.place.line);
  }
  fmt::format_to(out, "Try `{0} -h' or '{0} --help' for more information.\n",
                 program.name);
  return kProgramUsage;
}

int ReportFailure(const Program& program, std::string_view words,
                  const Error& error, ProgramOutput* output) {
  if (!words.empty()) {
    output->err += fmt::format("{}: {}.\n", program.name, words);
  } else {
    output->err += fmt::format("{}: {}\n", program.name, error.ToString());
  }
  return kProgramFailed;
}

int ReportLock(int wait_seconds, const Error& error, ProgramOutput* output) {
  output->err += error.message + '\n';
  if (error.code != ErrorCode::kConflict) return kProgramNoResource;
  output->err += "Another app is currently holding the xtables lock. ";
  output->err += wait_seconds == 0 ? "Perhaps you want to use the -w option?\n"
                                   : fmt::format("Stopped waiting after {}s.\n",
                                                 wait_seconds);
  return kProgramNoResource;
}

void AddLines(const std::vector<std::string>& lines, std::string* text) {
  for (const std::string& line : lines) text->append(line).push_back('\n');
}

}  // namespace nfarena
