// The expressions of one nf_tables rule -> the rule of iptables that says the
// same: what this project's lowerings emit, what iptables-nft emits, and rules
// of nft that happen to have such a form.
//
// Decoding follows the registers: a load, an optional mask or byte swap and a
// compare make one test; a table says which part of an iptables rule tests that
// header field or key.  Nothing is taken from a copy of the text hidden in user
// data (only a comment is there), so what is raised is what the kernel runs.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compat/lower/nft_records.h"
#include "compat/model/ruleset.h"

namespace nfarena::nft {

/// Elements by table and set; of a batch's anonymous sets by their number too.
class SetContents {
 public:
  void Add(const ElementsRecord& record);
  /// nullptr when the dump did not have them.
  const std::vector<ElementsRecord::Element>* Find(const std::string& table,
                                                   const Lookup& lookup) const;

 private:
  std::map<std::pair<std::string, std::string>,
           std::vector<ElementsRecord::Element>>
      by_name_;
  std::map<uint32_t, std::vector<ElementsRecord::Element>> by_id_;
};

/// Errors: kUnsupported with the expression that has no form in iptables.
[[nodiscard]] Result<Rule> RaiseRule(Family family, const RuleRecord& record,
                                     const SetContents& sets);

}  // namespace nfarena::nft
