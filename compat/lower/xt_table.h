// A table <-> the bytes of IPT_SO_SET_REPLACE and IPT_SO_GET_ENTRIES.
//
// The image is what setsockopt takes: struct ipt_replace (ip6t_replace), then
// the entries in libiptc's order (built-in chains in hook order, each with its
// policy entry; user chains by name, each between an ERROR head and a RETURN
// foot; a last ERROR entry).  num_counters and the counters pointer are left
// zero: only the engine that sends it knows them.
// Source: include/uapi/linux/netfilter_ipv4/ip_tables.h, libiptc/libiptc.c.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

struct XtEntryRef {
  RuleRef rule;         // rule 0: the chain's foot (policy or RETURN)
  uint32_t offset = 0;  // bytes from the first entry
  bool head = false;    // ERROR node: start of a user chain, or table end
};

struct XtTableImage {
  Family family = Family::kIpv4;
  TableKind kind = TableKind::kFilter;
  std::vector<uint8_t> replace;     // struct ipt_replace + entries
  std::vector<XtEntryRef> entries;  // one an entry, in blob order
  std::vector<Counters> counters;   // same order, from the model
};

/// Errors: kRange (entry over 65,535 bytes, blob over 512 MiB, chain name too
/// long), kUnsupported never: every extension has its binary form.
[[nodiscard]] Result<XtTableImage> LowerXtTable(Family family,
                                                const Table& table);

/// Reads a blob back.  `entries` is struct ipt_get_entries' entrytable (or the
/// entries of an ipt_replace), `counters` empty = those inside the entries.
/// Every offset and size is checked before use.
[[nodiscard]] Result<Table> RaiseXtTable(
    Family family, TableKind kind, std::span<const uint8_t> entries,
    std::span<const uint32_t, 5> hook_entry,
    std::span<const uint32_t, 5> underflow, uint32_t valid_hooks,
    std::span<const Counters> counters);

}  // namespace nfarena
