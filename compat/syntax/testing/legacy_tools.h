// iptables-legacy-restore and iptables-legacy-save, run in a namespace of the
// test's own: what a printed text is compared with.
#pragma once

#include <string>

#include "compat/model/ruleset.h"

namespace nfarena {

struct Ran {
  int status = -1;     // of waitpid(); 0 = exited with 0
  std::string output;  // stdout and stderr
};

/// Runs a shell command to its end.
Ran RunShell(const std::string& command);

/// Whether users other than root exist here; -m owner takes only users that
/// exist in the user namespace.
bool UsersAreMapped();

/// The lines that do not start with '#'.
std::string WithoutComments(const std::string& text);

/// Owns a scratch directory, with a lock file of its own: the host's is not a
/// test's to hold.
class LegacyTools {
 public:
  LegacyTools();
  ~LegacyTools();
  LegacyTools(const LegacyTools&) = delete;
  LegacyTools& operator=(const LegacyTools&) = delete;

  /// Takes this process into a network namespace of its own, as root of a user
  /// namespace if that is what it takes.  "" or the reason why the tools cannot
  /// be used.  May be called again for an empty namespace, by root only.
  std::string EnterNamespace();

  /// Loads the text; `options` are iptables-restore's, "-c" for instance.
  Ran Restore(Family family, const std::string& text,
              const std::string& options);
  /// `options` are iptables-save's.
  static Ran Save(Family family, const std::string& options);
  /// Makes the sets of an "ipset save" text.
  Ran RestoreSets(const std::string& ipset_save);

 private:
  std::string Write(const char* name, const std::string& text);

  std::string directory_;
};

}  // namespace nfarena
