// Everything that nf_tables has in force for a family -> a listing in iptables'
// words, whoever made it.
//
// Other than RaiseNft, which a change is based on and which therefore knows
// each rule by its handle or fails, this never fails on a rule: what iptables
// cannot say becomes a remark with the expressions, and a rule that says
// several of iptables' becomes several.
//
// Tables of family inet see both families' packets.  One with the name of a
// table of iptables is listed as that table where the family's own has none of
// that name; else, and as all other tables, in remarks.
#pragma once

#include "compat/lower/nft_batch.h"
#include "compat/model/remark.h"

namespace nfarena {

struct NftListing {
  Ruleset ruleset;  // with counters
  Remarks remarks;
};

/// `dump` holds the answers for the family and for inet, in any order.
/// Errors: kSyntax for bytes that are no such dump.
[[nodiscard]] Result<NftListing> ListNft(Family family, const NftDump& dump);

}  // namespace nfarena
