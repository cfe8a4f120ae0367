// One table in force, with the interface ip_tables has in the kernel: the
// bytes of setsockopt and getsockopt.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "compat/model/result.h"
#include "engines/legacy/legacy_program.h"
#include "engines/legacy/legacy_walk.h"

namespace nfarena {

/// struct ipt_getinfo
struct LegacyInfo {
  uint32_t valid_hooks = 0;
  std::array<uint32_t, 5> hook_entry{};
  std::array<uint32_t, 5> underflow{};
  uint32_t num_entries = 0;
  uint32_t size = 0;
};

/// A replacement that was translated and only waits to be put in force, so
/// that several tables can change together or not at all.
struct LegacyReplacement {
  std::shared_ptr<const LegacyProgram> program;
  uint32_t num_counters = 0;
};

/// Not thread safe: one packet path, as one CPU.
class LegacyTable {
 public:
  /// The table as the kernel registers it: built-in chains, policy ACCEPT.
  LegacyTable(Family family, TableKind kind, NetState* net = nullptr);

  Family family() const { return family_; }
  TableKind kind() const { return kind_; }

  /// IPT_SO_GET_INFO
  LegacyInfo Info() const;
  /// IPT_SO_SET_REPLACE: `bytes` is struct ipt_replace (ip6t_replace) with its
  /// entries; the counters pointer is not used.  Returns the counters of the
  /// entries replaced.  Errors: errno_value as the kernel's (EINVAL, ENOMEM,
  /// ELOOP, ENOENT, EPROTOTYPE, EAGAIN: num_counters is not the number of
  /// entries in force).
  [[nodiscard]] Result<std::vector<Counters>> Replace(
      std::span<const uint8_t> bytes);
  /// The first half of Replace: everything that can fail but EAGAIN.
  [[nodiscard]] Result<LegacyReplacement> Translate(
      std::span<const uint8_t> bytes, LegacyFault* fault) const;
  /// EAGAIN or ok.
  [[nodiscard]] Status CheckCounters(const LegacyReplacement& next) const;
  /// The second half: cannot fail.
  std::vector<Counters> Commit(LegacyReplacement next);
  /// IPT_SO_GET_ENTRIES: the entries with their counters.  Errors: EAGAIN when
  /// `size` is not the table's.
  [[nodiscard]] Result<std::vector<uint8_t>> GetEntries(uint32_t size) const;
  /// IPT_SO_SET_ADD_COUNTERS: struct xt_counters_info and its counters.
  /// Errors: EINVAL (sizes, another number of entries), ENOENT (other table).
  [[nodiscard]] Status AddCounters(std::span<const uint8_t> bytes);

  /// The packet path: iptable_*.c's hook function.
  StageVerdict Evaluate(Hook hook, bool trace, PacketState* packet) {
    return WalkLegacy(*generation_->program, hook, trace, &generation_->context,
                      packet);
  }

  const LegacyProgram& program() const { return *generation_->program; }
  const LegacyContext& context() const { return generation_->context; }

 private:
  /// A program and what belongs to it; replaced as one pointer.
  struct Generation {
    std::shared_ptr<const LegacyProgram> program;
    LegacyContext context;
  };

  Family family_;
  TableKind kind_;
  NetState* net_;
  std::unique_ptr<Generation> generation_;
};

}  // namespace nfarena
