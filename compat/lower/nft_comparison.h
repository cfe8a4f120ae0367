// One comparison that a rule makes (a test), put together from the expressions
// that make it.
#pragma once

#include <optional>
#include <variant>
#include <vector>

#include "compat/lower/nft_records.h"
#include "compat/meaning/match.h"

namespace nfarena::nft {

/// What a register holds: where it was loaded from and what was done to it.
struct Value {
  std::variant<std::monostate, Payload, Meta, Ct, Fib, Numgen, Immediate, Rt>
      source;
  std::optional<Bitwise> bitwise;
  bool swapped = false;  // host order -> big endian
  bool used = true;      // nothing yet needs to be used
  // Of a word in kWordReg, instead: what u32 does to it.
  std::vector<U32Step> steps;
  bool host = false;  // in host order, as shifts see it

  bool plain() const { return !bitwise && !swapped; }
  /// Four bytes of the packet in kWordReg.
  bool word() const;
};

enum class Relation : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kAtMost,
  kMore,
  kAtLeast,
  kInside,
  kOutside,
  kInSet,
  kNotInSet,
};

struct Test {
  Value value;
  Relation relation = Relation::kEqual;
  Data from, to;  // `to` of kInside and kOutside only
  const std::vector<ElementsRecord::Element>* set = nullptr;

  bool equality() const {
    return relation == Relation::kEqual || relation == Relation::kNotEqual;
  }
  bool lookup() const {
    return relation == Relation::kInSet || relation == Relation::kNotInSet;
  }
  /// For equality(), lookup() and kInside / kOutside.
  bool inverted() const {
    return relation == Relation::kNotEqual || relation == Relation::kOutside ||
           relation == Relation::kNotInSet;
  }
};

/// from <= value <= to as big-endian numbers of the same size.
struct Interval {
  Data from, to;
  bool inverted = false;
};

/// The interval a test asks for; nullopt for a lookup or for data that have not
/// `size` bytes.
std::optional<Interval> ToInterval(const Test& test, size_t size);

/// A set's elements of `size` bytes as intervals in ascending order; nullopt
/// when they are no such set.
std::optional<std::vector<Interval>> ToIntervals(
    const std::vector<ElementsRecord::Element>& elements, size_t size);

}  // namespace nfarena::nft
