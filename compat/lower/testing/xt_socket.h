// The kernel's own xtables interface, for tests that compare bytes with it.
//
// Everything happens in a network namespace of a child process, so that the
// caller's own ruleset is never touched.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compat/model/ruleset.h"

namespace nfarena::testing {

/// struct ipt_getinfo and the bytes of GET_ENTRIES.
struct KernelTable {
  uint32_t valid_hooks = 0;
  uint32_t hook_entry[5] = {};
  uint32_t underflow[5] = {};
  uint32_t num_entries = 0;
  std::vector<uint8_t> entries;
};

/// Why tests against the kernel cannot run here; nullopt when they can.
std::optional<std::string> KernelTestsBlockedBy();

/// Runs `body` in a child with a fresh network namespace.  What it returns
/// ("" = good) comes back; so does the news that it died.
std::string InNamespace(const std::function<std::string()>& body);

/// Runs iptables-legacy-restore (ip6tables-...) in the caller's namespace.
/// Returns its exit status.
int LegacyRestore(Family family, const std::string& text);

/// GET_INFO and GET_ENTRIES; the errno on failure.
int ReadTable(Family family, TableKind kind, KernelTable* table);

/// SET_REPLACE with the bytes of `replace`, num_counters and the counters
/// pointer filled in (`num_counters` 0 = as many as the table has now).
/// Returns 0 or the errno.
int WriteTable(Family family, TableKind kind, std::span<const uint8_t> replace,
               uint32_t num_counters = 0);

/// SET_REPLACE with `replace` as it is but for the counters pointer, which is
/// made to point to enough room for `counters` counters.
int WriteTableRaw(Family family, std::span<const uint8_t> replace,
                  size_t counters);

}  // namespace nfarena::testing
