// A blob as the packet path reads it.
//
// The program is the blob itself, byte for byte (compat/lower/blob_format.h),
// but for the argument of match and target actions: there the loader puts an
// index into uses(), where the function and the state's place are.  Uses
// without state share one record, so the walk of 1,000 rules with a tcp match
// touches one of them.
//
// Immutable and shareable.  Counters and match state live outside, in
// BlobGeneration: the objection of 2013, made visible.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "compat/lower/blob_view.h"
#include "compat/model/result.h"
#include "engines/xt/extension.h"

namespace nfarena {

struct BlobUse {
  union {
    XtMatchFn match;
    XtTargetFn target;
  };
  uint32_t state_offset = 0;  // of its lock; kBlobNoState when it has none
  uint32_t extension = 0;     // index in the blob's extensions
};

inline constexpr uint32_t kBlobNoState = 0xffffffff;

/// A state waiting for its initial value.
struct BlobStateInit {
  const XtStateLayout* layout;
  uint32_t payload_offset;
  uint32_t state_offset;
};

/// Which action a load was refused for.
struct BlobFault {
  bool known = false;
  uint32_t chain = 0;
  uint32_t rule = 0;       // 1-based
  uint32_t extension = 0;  // matches and targets of the rule, from 0
};

class BlobProgram {
 public:
  /// Checks the blob and binds its extensions.  Errors: those of
  /// BlobView::Parse, kUnsupported with ENOENT (unknown extension) and what
  /// the extension's check says, with the offset; `fault` says which rule.
  [[nodiscard]] static Result<std::unique_ptr<const BlobProgram>> Load(
      std::span<const uint8_t> bytes, NetState* net, BlobFault* fault);

  Family family() const { return view_.family(); }
  const uint8_t* base() const { return bytes_.data(); }
  /// First rule of the chain that a stage enters; 0 when it has none.
  uint32_t Entry(TableKind table, Hook hook) const {
    return entries_[static_cast<size_t>(table)][static_cast<size_t>(hook)];
  }
  uint32_t EntryChain(TableKind table, Hook hook) const {
    return entry_chains_[static_cast<size_t>(table)][static_cast<size_t>(hook)];
  }
  /// The policy of a base chain, the return of a user chain.
  uint32_t EndRule(uint32_t chain) const { return end_rules_[chain]; }
  const std::vector<BlobUse>& uses() const { return uses_; }
  const std::vector<BlobStateInit>& states() const { return states_; }
  uint32_t state_bytes() const { return state_bytes_; }
  uint32_t counters_count() const { return view_.header().counters_count; }
  NetState* net() const { return net_; }
  const std::vector<BlobChain>& chains() const { return view_.chains(); }
  /// For each chain: its index in its table.
  uint32_t ChainInTable(uint32_t chain) const { return chain_index_[chain]; }
  size_t size() const { return bytes_.size(); }

  /// The bytes that were loaded.
  std::vector<uint8_t> ToBlob() const;

 private:
  friend class BlobLoader;
  /// Parsed from the bytes as loaded; binding changes no size in them.
  BlobView view_;
  std::vector<uint8_t> bytes_;
  std::array<std::array<uint32_t, kHookCount>, kTableKindCount> entries_{};
  std::array<std::array<uint32_t, kHookCount>, kTableKindCount> entry_chains_{};
  std::vector<uint32_t> chain_index_;
  std::vector<uint32_t> end_rules_;
  std::vector<BlobUse> uses_;
  std::vector<BlobStateInit> states_;
  uint32_t state_bytes_ = 0;
  NetState* net_ = nullptr;
  NamedHolds holds_;
};

}  // namespace nfarena
