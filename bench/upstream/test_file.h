// The test files of the iptables source tree, extensions/*.t: rules, the text
// iptables-save must show for them, and whether they load.
//
// Format, as iptables-test.py of iptables 1.8.9 reads it:
//   :CHAIN[,CHAIN...]        the chains that follow go to, each one by itself
//   *TABLE                   their table
//   @COMMAND                 a shell command of its own
//   %COMMAND                 the same, of iptables
//   RULE;SAVED;RESULT[;VARIANT[;OTHER]]
// SAVED "=" is the rule's own text.  RESULT is OK, FAIL (does not load) or
// NOMATCH (loads, and save shows something else).  VARIANT (NFT or LEGACY) says
// whose RESULT that is; the other's is OTHER, or the opposite.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/result.h"

namespace nfarena {

enum class UpstreamResult : uint8_t { kOk, kFail, kNoMatch };

struct UpstreamLine {
  enum class Kind : uint8_t { kRule, kShell, kIptables };
  Kind kind = Kind::kRule;
  uint32_t line = 0;                // 1-based
  std::string text;                 // the rule, or the command
  std::string saved;                // what save shows of it
  std::vector<std::string> chains;  // kRule
  std::string table;                // "" = the default
  UpstreamResult legacy = UpstreamResult::kOk;
  UpstreamResult nft = UpstreamResult::kOk;
};

/// Errors: kSyntax, with the line.
[[nodiscard]] Result<std::vector<UpstreamLine>> ParseUpstreamTests(
    std::string_view text, const std::string& file);

/// Cuts a command line as a shell does: blanks, quotes and backslashes; no
/// variables, no patterns.  Errors: kSyntax (a quote that is not closed).
[[nodiscard]] Result<std::vector<std::string>> SplitShellWords(
    std::string_view text);

}  // namespace nfarena
