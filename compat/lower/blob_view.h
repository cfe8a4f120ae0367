// A checked blob: the only way to read one.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compat/lower/blob_format.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena {

struct BlobChain {
  std::string_view name;
  TableKind table;
  bool base = false;
  Hook hook = Hook::kPrerouting;  // base chains
  uint32_t first = 0;             // offset of the first rule
  uint32_t end = 0;               // offset behind the end rule
  uint32_t rules_count = 0;       // without the end rule
};

struct BlobSection {
  Hook hook;
  TableKind table;
  uint32_t chain;
};

struct BlobExtension {
  std::string_view name;
  uint8_t revision;
  BlobExtensionKind kind;
};

/// One action; `parameters` points into the blob.
struct BlobAction {
  BlobOp op;
  uint8_t flags;
  uint32_t argument;
  std::span<const uint8_t> parameters;
};

/// Refers to the bytes it was made from, which must outlive it.
class BlobView {
 public:
  /// Checks everything the format promises: sizes, offsets, references, and
  /// that jumps stay in their table and make no loop that a hook reaches.
  /// Errors: kRange with the offset of what is wrong; kConflict for a loop,
  /// errno ELOOP.  Never reads past `bytes`.
  [[nodiscard]] static Result<BlobView> Parse(std::span<const uint8_t> bytes);

  Family family() const { return family_; }
  std::span<const uint8_t> bytes() const { return bytes_; }
  const BlobHeader& header() const { return header_; }
  const std::vector<BlobChain>& chains() const { return chains_; }
  const std::vector<BlobSection>& sections() const { return sections_; }
  const std::vector<BlobExtension>& extensions() const { return extensions_; }

  BlobRuleHead RuleAt(uint32_t offset) const {
    return Load<BlobRuleHead>(offset);
  }
  /// The action at `offset`; the next one is `*next` further.
  BlobAction ActionAt(uint32_t offset, uint32_t* next) const;
  /// For every rule in blob order, ends included: hooks from which packets can
  /// come to it, 1 << Hook.  Rules behind an unconditional verdict of their
  /// chain are not reached, as the kernel has it (mark_source_chains).
  std::vector<uint8_t> HookMasks() const;
  /// One line a rule, for people.
  std::string Disassemble() const;

 private:
  friend class BlobChecker;
  template <typename T>
  T Load(uint32_t offset) const {
    T value;
    std::memcpy(&value, bytes_.data() + offset, sizeof(value));
    return value;
  }

  Family family_ = Family::kIpv4;
  std::span<const uint8_t> bytes_;
  BlobHeader header_{};
  std::vector<BlobChain> chains_;
  std::vector<BlobSection> sections_;
  std::vector<BlobExtension> extensions_;
  /// Chains by hooks that reach them, from the walk that looks for loops.
  std::vector<uint8_t> chain_hooks_;
};

}  // namespace nfarena
