// The ipsets a ruleset refers to, where no kernel has them.
//
// The match "set" and the target "SET" hold a set's number, and libxtables asks
// the kernel for it.  In a fresh namespace sets are numbered in the order they
// are created, so the "ipset save" text that creates them says the same; with
// it, a ruleset is parsed and printed anywhere and without any right.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "compat/syntax/extension_library.h"

namespace nfarena {

struct KnownSet {
  std::string name;
  std::optional<Family> family;  // unset: the set takes both
};
/// Its index is the set's number.
using KnownSets = std::vector<KnownSet>;

/// The sets that a text in the form of "ipset save" creates, in order.
/// Errors: kConflict (a name twice), with the line.
[[nodiscard]] Result<KnownSets> ReadKnownSets(std::string_view ipset_save);

/// Whether `option` names a set: --match-set, --add-set, --del-set, --map-set.
bool IsSetOption(const LoadedExtension& extension,
                 const ExtensionOption& option);

/// Does what libxtables does for such an option, with `sets` for the kernel.
/// `payload` is the extension's; `words` are what follows the set's name.
/// Throws XtablesExit.  Source: libxt_set.c and libxt_SET.c of iptables 1.8.9.
void ParseSetOption(const LoadedExtension& extension,
                    const ExtensionOption& option, const char* name,
                    const char* directions, bool inverted, Family family,
                    const KnownSets& sets, uint8_t* payload, unsigned* flags);

/// " --match-set NAME src,dst ..." as libxtables saves it; false for a revision
/// that this does not know.
bool PrintSetExtension(const Extension& extension, bool target,
                       const KnownSets& sets, std::string* out);

}  // namespace nfarena
