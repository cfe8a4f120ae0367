#include "compat/lower/nft_comparison.h"

#include <algorithm>

namespace nfarena::nft {
namespace {

Data Ones(size_t size) {
  Data data = Data::Zero(static_cast<uint8_t>(size));
  std::fill_n(data.bytes.begin(), size, uint8_t{0xff});
  return data;
}

/// The number before a big-endian one; zero has none.
Data Before(Data data) {
  for (size_t i = data.size; i-- > 0;) {
    if (data.bytes[i]-- != 0) break;
  }
  return data;
}

bool Less(const Data& a, const Data& b) {
  return std::ranges::lexicographical_compare(a.view(), b.view());
}

}  // namespace

bool Value::word() const {
  const auto* payload = std::get_if<Payload>(&source);
  return payload != nullptr && payload->dreg == kWordReg && payload->len == 4;
}

std::optional<Interval> ToInterval(const Test& test, size_t size) {
  if (test.lookup() || test.from.size != size) return std::nullopt;
  const Data zero = Data::Zero(static_cast<uint8_t>(size));
  switch (test.relation) {
    case Relation::kEqual:
    case Relation::kNotEqual:
      return Interval{test.from, test.from, test.inverted()};
    case Relation::kAtMost:
      return Interval{zero, test.from, false};
    case Relation::kMore:
      return Interval{zero, test.from, true};
    case Relation::kAtLeast:
      return Interval{test.from, Ones(size), false};
    case Relation::kLess:
      return Interval{test.from, Ones(size), true};
    case Relation::kInside:
    case Relation::kOutside:
      if (test.to.size != size) return std::nullopt;
      return Interval{test.from, test.to, test.inverted()};
    default:
      return std::nullopt;
  }
}

std::optional<std::vector<Interval>> ToIntervals(
    const std::vector<ElementsRecord::Element>& elements, size_t size) {
  std::vector<ElementsRecord::Element> sorted = elements;
  for (const auto& element : sorted) {
    if (element.key.size != size ||
        (element.key_end && element.key_end->size != size)) {
      return std::nullopt;
    }
  }
  // At equal keys one interval's end comes before the next one's start.
  std::ranges::sort(sorted, [](const auto& a, const auto& b) {
    if (Less(a.key, b.key)) return true;
    if (Less(b.key, a.key)) return false;
    return a.interval_end && !b.interval_end;
  });
  const bool has_ends = std::ranges::any_of(
      sorted, [](const auto& element) { return element.interval_end; });
  std::vector<Interval> intervals;
  bool open = false;
  for (const auto& element : sorted) {
    if (element.interval_end) {
      if (open) intervals.back().to = Before(element.key);
      open = false;
      continue;
    }
    // Where one ends and the next begins, they are one.
    const bool follows = has_ends && !open && !intervals.empty() &&
                         intervals.back().to == Before(element.key);
    if (!follows) intervals.push_back({element.key, element.key, false});
    if (element.key_end) intervals.back().to = *element.key_end;
    open = has_ends && !element.key_end;
    if (open) intervals.back().to = Ones(size);
  }
  return intervals;
}

}  // namespace nfarena::nft
