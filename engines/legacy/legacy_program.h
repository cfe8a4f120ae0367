// One table of ip_tables as the packet path reads it: the entries of
// SET_REPLACE, checked and bound.
//
// The layout is the kernel's own: the bytes that came over the interface are
// kept in place, and what the kernel overlays on them is overlaid here too, so
// that a walk touches the same cache lines:
//
//   entry.comefrom       hooks from which the entry is reached
//   entry.counters.pcnt  index of the entry's counter (the kernel: a per-CPU
//                        pointer)
//   entry.counters.bcnt  chain << 32 | rule, to name it in outcomes and traces
//   match and target header (32 bytes), where user space has the name:
//     0   u16  size, header and payload
//     8   ptr  function of the extension, null in a standard target
//     16  u32  byte offset of its state, kNoState when it has none
//     20  u32  index in uses()
//     31  u8   revision
//
// Invariant: every offset in here was checked when it was translated, so the
// walk checks none.  A program never changes; counters and match state are
// outside, in LegacyTable.
// Source: net/ipv4/netfilter/ip_tables.c, net/netfilter/x_tables.c.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/xt/extension.h"

namespace nfarena {

/// The fields of struct ipt_replace in front of its entries.
struct LegacyReplaceHead {
  TableKind table = TableKind::kFilter;
  uint32_t valid_hooks = 0;
  uint32_t num_entries = 0;
  std::array<uint32_t, 5> hook_entry{};
  std::array<uint32_t, 5> underflow{};
};

/// Where a translation was refused.
struct LegacyFault {
  uint32_t entry = 0;      // index in blob order
  int32_t extension = -1;  // match number from 0; matches_count = the target
};

/// What a match or target header points to.
struct LegacyExtensionUse {
  std::string name;
  /// Exact; GET_ENTRIES shows what pads it as zero.
  uint32_t payload_bytes = 0;
  const XtStateLayout* state = nullptr;  // null: it has none
  uint32_t payload_offset = 0;           // only with a state
  uint32_t state_offset = 0;
};

inline constexpr uint32_t kLegacyNoState = 0xffffffff;

/// Frees what was allocated with this alignment.
struct LegacyAlignedDelete {
  size_t alignment = 0;
  void operator()(uint8_t* bytes) const;
};

class LegacyProgram {
 public:
  /// translate_table(): the kernel's checks in the kernel's order.  The error
  /// has the kernel's errno: EINVAL (offsets, hooks, underflows, sizes, a
  /// check refused), ELOOP (loop or jump to no entry), ENOENT (unknown match or
  /// target), EPROTOTYPE (known, but not in this revision; often ENOENT too).
  /// `fault` says which entry, when it is one.
  [[nodiscard]] static Result<std::shared_ptr<const LegacyProgram>> Translate(
      Family family, const LegacyReplaceHead& head,
      std::span<const uint8_t> entries, NetState* net, LegacyFault* fault);

  Family family() const { return family_; }
  TableKind kind() const { return kind_; }
  const uint8_t* entries() const { return bytes_.get(); }
  uint32_t size() const { return size_; }
  uint32_t entries_count() const { return entries_count_; }
  /// Depth that jumps can reach at most: the number of ERROR nodes.
  uint32_t stack_size() const { return stack_size_; }
  uint32_t valid_hooks() const { return valid_hooks_; }
  /// 0xffffffff where the table has no chain.
  const std::array<uint32_t, 5>& hook_entry() const { return hook_entry_; }
  const std::array<uint32_t, 5>& underflow() const { return underflow_; }
  std::span<const LegacyExtensionUse> uses() const { return uses_; }
  uint32_t state_bytes() const { return state_bytes_; }
  NetState* net() const { return net_; }

  /// GET_ENTRIES: the bytes as user space knows them.
  /// counters.size() == entries_count().
  std::vector<uint8_t> ToUser(std::span<const Counters> counters) const;
  /// One line an entry, for people.
  std::string Disassemble() const;

 private:
  template <typename Traits>
  friend class LegacyTranslator;

  Family family_ = Family::kIpv4;
  TableKind kind_ = TableKind::kFilter;
  std::unique_ptr<uint8_t[], LegacyAlignedDelete> bytes_;
  uint32_t size_ = 0;
  uint32_t entries_count_ = 0;
  uint32_t stack_size_ = 0;
  uint32_t valid_hooks_ = 0;
  std::array<uint32_t, 5> hook_entry_{};
  std::array<uint32_t, 5> underflow_{};
  std::vector<LegacyExtensionUse> uses_;
  uint32_t state_bytes_ = 0;
  NetState* net_ = nullptr;
  NamedHolds holds_;
};

/// The overlay on a match or target header; see the top of this file.
struct LegacyBound {
  uint16_t size;
  uint8_t unused[6];
  union {
    XtMatchFn match;
    XtTargetFn target;
  };
  uint32_t state_offset;
  uint32_t use;
  uint8_t unused_too[7];
  uint8_t revision;
};
static_assert(sizeof(LegacyBound) == 32);

}  // namespace nfarena
