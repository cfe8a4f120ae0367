// One -m or -j of a rule while its options are read: libxtables' callbacks are
// called from here and nowhere else.
//
// Values that are plain numbers or addresses are prepared here, because
// libxtables asks the resolver for every port and host (about 20 us); the
// extension's own callback runs in either case.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/ruleset.h"
#include "compat/syntax/extension_library.h"
#include "compat/syntax/known_sets.h"
#include "compat/syntax/xt_headers.h"

namespace nfarena {

/// What an option's callback may need of the line around it.
struct OptionContext {
  char** argv;
  int argc;
  int* next;    // index of the next word; callbacks of the old style move it
  bool invert;  // a '!' stood before the option
  void* entry;  // struct ipt_entry or ip6t_entry, as far as it is known
  Family family;
  bool resolve;           // names of hosts may be looked up
  bool literals;          // false: libxtables reads literals too
  const KnownSets* sets;  // null: libxtables asks the kernel for sets
  std::vector<std::string>* resolved_names;
};

class ExtensionInstance {
 public:
  /// Makes it the match or target `extension`, in its initial state; `word` is
  /// the word of -m, -j or of the option that loaded it.
  void Start(const LoadedExtension* extension, int word);
  /// Reads one option.  Throws XtablesExit.
  void ParseOption(const ExtensionOption& option, char* argument,
                   const OptionContext& context);
  /// What the extension says when all options are read.  Throws XtablesExit.
  void FinalCheck();
  void Store(Family family, Extension* out) const;

  const LoadedExtension& extension() const { return *extension_; }
  int word() const { return word_; }
  /// A later -m of the same name took over.
  bool completed() const { return completed_; }
  void set_completed() { completed_ = true; }

 private:
  void ParseX6(const ExtensionOption& option, char* argument,
               const OptionContext& context);
  xt_entry_match* match() {
    return reinterpret_cast<xt_entry_match*>(block_.data());
  }
  xt_entry_target* target() {
    return reinterpret_cast<xt_entry_target*>(block_.data());
  }
  void* udata() { return udata_.empty() ? nullptr : udata_.data(); }

  const LoadedExtension* extension_ = nullptr;
  // struct xt_entry_match or xt_entry_target and the payload; kept from rule
  // to rule for its capacity.
  std::vector<uint64_t> block_;
  std::vector<uint64_t> udata_;
  unsigned flags_ = 0;
  int word_ = 0;
  bool completed_ = false;
};

}  // namespace nfarena
