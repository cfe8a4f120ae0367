// A match or target of a rule -> text, by the callbacks of libxtables.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "compat/model/ruleset.h"
#include "compat/syntax/extension_library.h"
#include "compat/syntax/known_sets.h"
#include "compat/syntax/xt_headers.h"

namespace nfarena {

class ExtensionPrinter {
 public:
  /// `sets` null: the kernel is asked for the names of ipsets.  Both must
  /// outlive the printer.
  ExtensionPrinter(LibrarySession* session, const KnownSets* sets)
      : session_(session), sets_(sets) {}

  /// The rule whose extensions come next; callbacks look at its selector.
  void Start(const Rule* rule) {
    rule_ = rule;
    head_is_filled_ = false;
  }

  /// " -m NAME options" as iptables-save has it.
  void SaveMatch(const Extension& extension, std::string* out);
  /// " -j NAME options"
  void SaveTarget(const Extension& extension, std::string* out);
  /// What iptables -L shows behind the addresses; `numeric` as with -n.
  void ListMatch(const Extension& extension, bool numeric, std::string* out);
  void ListTarget(const Extension& extension, bool numeric, std::string* out);

 private:
  // What the callbacks see of the rule.
  union EntryHead {
    ipt_ip ipv4;
    ip6t_ip6 ipv6;
  };

  template <typename Side>
  void Save(const Extension& extension, std::string* out);
  template <typename Entry>
  const Entry* MakeEntry(const Extension& extension, size_t size);
  void FillHead();

  LibrarySession* session_;
  const KnownSets* sets_;
  const Rule* rule_ = nullptr;
  bool head_is_filled_ = false;
  EntryHead head_{};
  std::vector<uint64_t> block_;
};

}  // namespace nfarena
