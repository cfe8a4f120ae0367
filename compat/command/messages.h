// How the programs say what went wrong, and with which exit status.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "compat/command/program.h"

namespace nfarena {

/// "iptables v1.8.9 (legacy)"
std::string VersionText(const Program& program);

/// A call that is refused: to `output->err`, and the exit status.  `line` is
/// of a save file; 0 = the error's own, or none.
int ReportProblem(const Program& program, const Error& error,
                  ProgramOutput* output);

/// A change that cannot be made.  `words` are libiptc's for it; empty = the
/// error's own.
int ReportFailure(const Program& program, std::string_view words,
                  const Error& error, ProgramOutput* output);

/// The lock is somebody else's.
int ReportLock(int wait_seconds, const Error& error, ProgramOutput* output);

void AddLines(const std::vector<std::string>& lines, std::string* text);

}  // namespace nfarena
