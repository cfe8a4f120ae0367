// iptables, iptables-restore and iptables-save as functions: the same words
// in, the same text and exit status out, for rules that are in force anywhere.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "compat/command/store.h"
#include "compat/model/result.h"

namespace nfarena {

/// Who is played, for what these programs say of themselves.
struct Program {
  std::string name = "iptables";   // "ip6tables-restore"
  std::string backend = "legacy";  // in brackets behind the version
  Family family = Family::kIpv4;
};

struct ProgramOutput {
  std::string out, err;
};

/// Exit statuses of iptables.  Source: iptables 1.8.9, include/xtables.h
/// enum xtables_exittype, and the exit(1) of its main functions.
enum ProgramExit : int {
  kProgramOk = 0,
  kProgramFailed = 1,
  kProgramUsage = 2,      // PARAMETER_PROBLEM
  kProgramNoTable = 3,    // VERSION_PROBLEM
  kProgramNoResource = 4  // RESOURCE_PROBLEM: the lock is held
};

/// `arguments` are without the program's own name.
int RunIptables(const Program& program, std::span<const char* const> arguments,
                RulesetStore* store, ProgramOutput* output);

/// `read` gives the text of a file; "" is standard input.
///
/// Where iptables-restore commits table by table and stops at the first that
/// fails, this commits all tables or none.
int RunIptablesRestore(
    const Program& program, std::span<const char* const> arguments,
    const std::function<Result<std::string>(const std::string& path)>& read,
    RulesetStore* store, ProgramOutput* output);

/// `write` puts the text into the file of -f.
int RunIptablesSave(const Program& program,
                    std::span<const char* const> arguments,
                    const std::function<Status(const std::string& path,
                                               const std::string& text)>& write,
                    RulesetStore* store, ProgramOutput* output);

}  // namespace nfarena
