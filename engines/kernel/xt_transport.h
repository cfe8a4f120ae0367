// The setsockopt interface of ip_tables and ip6_tables: the bytes that
// compat/lower makes, on their way to the kernel and back.
//
// The interface replaces whole tables, one a call.  ReplaceTables makes several
// of them one step, as far as one can without a kernel that has transactions:
// when a later table is refused, those before it get their old content back,
// counters included.
// Source: net/ipv4/netfilter/ip_tables.c do_ipt_set_ctl(), do_ipt_get_ctl().
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "compat/lower/xt_table.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/engine.h"
#include "engines/kernel/fd.h"

namespace nfarena::kernel {

/// struct ipt_getinfo.
struct XtInfo {
  uint32_t valid_hooks = 0;
  std::array<uint32_t, kHookCount> hook_entry{}, underflow{};
  uint32_t num_entries = 0;
  uint32_t size = 0;  // bytes of all entries
};

/// A table as the kernel has it.
struct XtSnapshot {
  XtInfo info;
  std::vector<uint8_t> entries;  // `info.size` bytes, counters inside
};

class XtSocket {
 public:
  /// A raw socket in the calling thread's namespace.
  /// Errors: kSystem (CAP_NET_RAW missing).
  [[nodiscard]] static Result<XtSocket> Open(Family family);

  /// IPT_SO_GET_INFO; makes the table when it does not exist yet.
  /// Errors: kSystem (ENOENT: the kernel has no such table).
  [[nodiscard]] Result<XtInfo> Info(TableKind table) const;
  /// IPT_SO_GET_ENTRIES, again when the table changed in between.
  [[nodiscard]] Result<XtSnapshot> Read(TableKind table) const;
  /// The tables that exist already, so that looking makes none.
  [[nodiscard]] Result<std::vector<TableKind>> ExistingTables() const;

  /// Puts one image in force and then its counters, if it has any.  Adds what
  /// it cost to `cost` when not null.
  /// Errors: kSystem with the kernel's errno; the table is then unchanged.
  [[nodiscard]] Status Replace(XtTableImage image, UpdateCost* cost) const;
  /// Puts a snapshot back, counters included.
  [[nodiscard]] Status Restore(TableKind table,
                               const XtSnapshot& snapshot) const;

  Family family() const { return family_; }

 private:
  XtSocket(Family family, UniqueFd fd) : family_(family), fd_(std::move(fd)) {}
  Status SetReplace(TableKind table, std::vector<uint8_t>* replace,
                    UpdateCost* cost) const;
  Status AddCounters(TableKind table, std::span<const Counters> counters,
                     UpdateCost* cost) const;

  Family family_;
  UniqueFd fd_;
};

/// Puts all images in force, in their order, or none.  On error `failed` (when
/// not null) is the index of the image that was refused.
[[nodiscard]] Status ReplaceTables(const XtSocket& socket,
                                   std::vector<XtTableImage> images,
                                   UpdateCost* cost, size_t* failed);

/// The tables of the kernel -> model.  `tables` are read in their order.
[[nodiscard]] Result<Ruleset> ReadTables(const XtSocket& socket,
                                         std::span<const TableKind> tables,
                                         UpdateCost* cost);

}  // namespace nfarena::kernel
