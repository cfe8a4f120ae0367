// The match and target extensions of libxtables, for both families in one
// process.
//
// libxtables is written for a program that handles one family and exits on the
// first error.  This wrapper makes it a library: its exit callback throws
// XtablesExit, which callers catch next to their calls into libxtables; its
// messages on stderr are captured; target objects that it forgot when they
// were loaded for the other family are loaded a second time.
//
// Everything here is used under a LibrarySession, which holds the one lock.
#pragma once

#include <cstdint>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "compat/syntax/xt_headers.h"

namespace nfarena {

/// Thrown by libxtables' exit callback; never leaves this directory.
struct XtablesExit {
  std::string message;
  bool parameter_problem = true;  // the text is wrong, not the system
};

/// What of an option's value can be read without a resolver.
enum class LiteralKind : uint8_t { kNone, kPort, kPortRange, kHost, kHostMask };

/// One long option of an extension.
struct ExtensionOption {
  std::string_view name;
  int has_arg = 0;  // as in struct option
  int value = 0;    // what parse() is called with, or the x6 entry's id
  const xt_option_entry* entry = nullptr;  // x6 extensions
  LiteralKind literal = LiteralKind::kNone;
  /// `entry` with a type that needs no resolver; for a literal value.
  xt_option_entry literal_entry{};
};

/// A match or target as loaded for one family; lives as long as the process.
struct LoadedExtension {
  const xtables_match* match = nullptr;  // exactly one of the two is set
  const xtables_target* target = nullptr;
  std::string name;         // what -m or -j was given
  std::string kernel_name;  // what the entry carries
  uint8_t revision = 0;
  bool converted = false;  // kernel_name differs and libxtables tells the user
  uint32_t size = 0;       // of the payload
  uint16_t user_size = 0;
  uint32_t udata_size = 0;
  bool has_parser = false;
  std::vector<ExtensionOption> options;
  /// The only table the kernel takes this target in, if there is one.
  /// Source: struct xt_target, member table, in net/netfilter/.
  std::optional<TableKind> only_table;
  /// x6 extensions: options that must be given, for a check without calls.
  uint32_t mandatory = 0;
  struct OptionRule {
    uint32_t bit, also, excluded;
  };
  std::vector<OptionRule> option_rules;
};

/// Holds the lock of libxtables, switches it to a family and captures what it
/// prints on stderr.  Sessions do not nest.
class LibrarySession {
 public:
  explicit LibrarySession(Family family);
  ~LibrarySession();
  LibrarySession(const LibrarySession&) = delete;
  LibrarySession& operator=(const LibrarySession&) = delete;

  /// Ok, or why libxtables cannot be used in this process.
  const Status& status() const { return status_; }
  Family family() const { return family_; }

  /// The match of this name, nullptr when libxtables knows none.
  const LoadedExtension* FindMatch(std::string_view name);
  const LoadedExtension* FindTarget(std::string_view name);

  /// The lines libxtables wrote to stderr since the last call, and those that
  /// were added.
  bool has_diagnostics() const;
  std::vector<std::string> TakeDiagnostics();
  /// Puts a line of our own among them, in the order of what happened.
  void AddDiagnostic(std::string_view line);

 private:
  Family family_;
  Status status_;
  FILE* saved_stderr_;
};

/// Redirects stdout, where libxtables' save callbacks print, to a string.
/// Needs a LibrarySession.  Other threads' stdout goes there too meanwhile.
class StdoutCapture {
 public:
  explicit StdoutCapture(std::string* sink);
  ~StdoutCapture();
  StdoutCapture(const StdoutCapture&) = delete;
  StdoutCapture& operator=(const StdoutCapture&) = delete;
  /// Makes everything printed so far visible in the sink.
  void Flush();

 private:
  FILE* saved_stdout_;
};

}  // namespace nfarena
