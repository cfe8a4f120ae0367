#include "engines/vm/set.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace nfarena::vm {
namespace {

// Flags the headers of Debian 12 may lack.
constexpr uint32_t kSetFeatures = NFT_SET_INTERVAL | NFT_SET_MAP |
                                  NFT_SET_TIMEOUT | NFT_SET_OBJECT |
                                  NFT_SET_EVAL;

bool HigherKey(const SetValue& a, const SetValue& b) {
  return std::memcmp(a.data(), b.data(), sizeof(SetValue)) > 0;
}

// Marks a slot whose element is gone; probing goes on over it.
Element* GoneSlot() {
  static Element gone;
  return &gone;
}

}  // namespace

Set::Set(Table* owner, SetDescription description, SetShape shape)
    : table(owner),
      d(std::move(description)),
      shape_(shape),
      ordered_(HigherKey) {
  // Only the growing hash table can be changed by packets.
  dynamic_ = shape == SetShape::kHash &&
             ((d.flags & (NFT_SET_EVAL | NFT_SET_TIMEOUT)) != 0 || d.size == 0);
  uint32_t offset = 0;
  for (const uint8_t size : d.field_sizes) {
    fields_.push_back({offset, size});
    offset += (size + 3u) & ~3u;
  }
  present_.active = {true, true};
  Publish();
}

Set::~Set() = default;

bool Set::ChooseShape(const SetDescription& description, SetShape* shape) {
  const uint32_t features = description.flags & kSetFeatures;
  if ((features & NFT_SET_INTERVAL) != 0) {
    if ((features & NFT_SET_EVAL) != 0) return false;
    *shape = SetShape::kInterval;
    if (description.field_sizes.size() >= 2) *shape = SetShape::kConcat;
    return true;
  }
  *shape = SetShape::kHash;
  if (features == 0 && description.key_size <= 2 &&
      !description.has_expression) {
    *shape = SetShape::kBitmap;
  }
  return true;
}

bool Set::anonymous() const { return (d.flags & NFT_SET_ANONYMOUS) != 0; }
bool Set::is_map() const { return (d.flags & NFT_SET_MAP) != 0; }
bool Set::is_verdict_map() const {
  return is_map() && d.data_type == NFT_DATA_VERDICT;
}

int Set::Compare(const SetValue& a, const SetValue& b) const {
  return std::memcmp(a.data(), b.data(), d.key_size);
}

// ---- what packets do ----

Element* Set::Find(const uint32_t* key, uint64_t now_ms) const {
  Element* found = nullptr;
  switch (shape_) {
    case SetShape::kHash:
      found = FindHash(key, now_ms);
      break;
    case SetShape::kBitmap: {
      uint16_t index = 0;
      std::memcpy(&index, key, d.key_size);
      if ((bits_[index / 64] >> (index % 64) & 1) != 0) {
        found = const_cast<Element*>(&present_);
      }
      break;
    }
    case SetShape::kInterval:
      found = FindInterval(key, now_ms);
      break;
    case SetShape::kConcat:
      for (Element* element : visible_) {
        if (Covers(*element, key) && !element->Expired(now_ms)) {
          found = element;
          break;
        }
      }
      break;
  }
  if (found == nullptr && catchall_ != nullptr && catchall_->active.now &&
      !catchall_->Expired(now_ms)) {
    found = catchall_;
  }
  return found;
}

uint64_t Set::Hash(const uint32_t* key) const {
  constexpr uint64_t kMultiplier = 0x9e3779b97f4a7c15;
  uint64_t hash = 0;
  size_t done = 0;
  const auto* bytes = reinterpret_cast<const uint8_t*>(key);
  while (done < d.key_size) {
    uint64_t chunk = 0;
    const size_t size = std::min<size_t>(8, d.key_size - done);
    std::memcpy(&chunk, bytes + done, size);
    hash = (hash ^ chunk) * kMultiplier;
    hash ^= hash >> 32;
    done += size;
  }
  return hash;
}

Element* Set::FindHash(const uint32_t* key, uint64_t now_ms) const {
  const size_t mask = slots_.size() - 1;
  for (size_t at = Hash(key) & mask; slots_[at] != nullptr;
       at = (at + 1) & mask) {
    Element* element = slots_[at];
    if (element->active.now && !element->dead &&
        std::memcmp(element->key.data(), key, d.key_size) == 0 &&
        !element->Expired(now_ms)) {
      return element;
    }
  }
  return nullptr;
}

Element* Set::FindInterval(const uint32_t* key, uint64_t now_ms) const {
  const auto above = std::upper_bound(
      boundaries_.begin(), boundaries_.end(), key,
      [this](const uint32_t* wanted, const Boundary& boundary) {
        return std::memcmp(wanted, boundary.key.data(), d.key_size) < 0;
      });
  if (above == boundaries_.begin()) return nullptr;
  Element* element = std::prev(above)->element;
  if (element == nullptr || element->Expired(now_ms)) return nullptr;
  return element;
}

bool Set::Covers(const Element& element, const uint32_t* key) const {
  const auto* from = reinterpret_cast<const uint8_t*>(element.key.data());
  const auto* to =
      element.has_key_end
          ? reinterpret_cast<const uint8_t*>(element.key_end.data())
          : from;
  const auto* value = reinterpret_cast<const uint8_t*>(key);
  for (const Field& field : fields_) {
    if (std::memcmp(value + field.offset, from + field.offset, field.size) <
            0 ||
        std::memcmp(value + field.offset, to + field.offset, field.size) > 0) {
      return false;
    }
  }
  return true;
}

// ---- what the control plane does ----

void Set::Rehash(size_t slots) {
  slots_.assign(slots, nullptr);
  slots_used_ = 0;
  for (const auto& element : elements_) {
    if (!element->catchall) HashInsert(element.get());
  }
}

void Set::HashInsert(Element* element) {
  if ((slots_used_ + 1) * 4 > slots_.size() * 3) {
    // Rehash puts in every element of elements_, this one included.
    size_t slots = 16;
    while (elements_.size() * 2 > slots) slots *= 2;
    Rehash(slots);
    return;
  }
  const size_t mask = slots_.size() - 1;
  size_t at = Hash(element->key.data()) & mask;
  while (slots_[at] != nullptr) at = (at + 1) & mask;
  slots_[at] = element;
  ++slots_used_;
}

Errno Set::CheckInterval(const Element& element, Element** existing,
                         uint64_t now_ms) const {
  // Walks down from the closest higher key, as __nft_rbtree_insert() does.
  auto at = ordered_.lower_bound(element.key);
  if (at != ordered_.begin()) at = std::prev(at);
  Element* below = nullptr;  // closest with a key <= the new one
  Element* above = nullptr;  // closest with a key >= the new one
  for (; at != ordered_.end(); ++at) {
    Element* other = at->second;
    if (!other->active.next || other->Expired(now_ms)) continue;
    const int order = Compare(other->key, element.key);
    if (order > 0) {
      above = other;
      continue;
    }
    if (order < 0) {
      below = other;
      break;
    }
    if (other->interval_end) {
      below = other;
      break;
    }
    if (above == nullptr || Compare(above->key, element.key) != 0 ||
        above->interval_end == element.interval_end) {
      above = other;
    }
  }
  if (above != nullptr && Compare(above->key, element.key) == 0 &&
      above->interval_end == element.interval_end) {
    *existing = above;
    return EEXIST;
  }
  if (below != nullptr && Compare(below->key, element.key) == 0 &&
      below->interval_end && element.interval_end) {
    const SetValue zero{};
    if (Compare(element.key, zero) == 0) return ECANCELED;
    *existing = below;
    return EEXIST;
  }
  if (below != nullptr && !below->interval_end && !element.interval_end) {
    // Anonymous sets are constant and may hold two starts in a row, but not
    // one inside another's interval.
    if (!anonymous()) return ENOTEMPTY;
    auto where = ordered_.lower_bound(below->key);
    while (where != ordered_.end() && where->second != below) ++where;
    if (where != ordered_.begin() && where != ordered_.end() &&
        std::prev(where)->second->interval_end) {
      return ENOTEMPTY;
    }
  }
  if (below != nullptr && below->interval_end && element.interval_end) {
    return ENOTEMPTY;
  }
  if (above != nullptr && above->interval_end && element.interval_end) {
    return ENOTEMPTY;
  }
  return 0;
}

Errno Set::CheckConcat(const Element& element, Element** existing,
                       uint64_t now_ms) const {
  const SetValue& end = element.has_key_end ? element.key_end : element.key;
  const auto covering = [&](const SetValue& key) -> Element* {
    for (const auto& other : elements_) {
      if (!other->catchall && other->active.next && !other->Expired(now_ms) &&
          Covers(*other, key.data())) {
        return other.get();
      }
    }
    return nullptr;
  };
  if (Element* other = covering(element.key)) {
    const SetValue& other_end =
        other->has_key_end ? other->key_end : other->key;
    if (Compare(element.key, other->key) != 0 || Compare(end, other_end) != 0) {
      return ENOTEMPTY;
    }
    *existing = other;
    return EEXIST;
  }
  if (covering(end) != nullptr) return ENOTEMPTY;
  const auto* from = reinterpret_cast<const uint8_t*>(element.key.data());
  const auto* to = reinterpret_cast<const uint8_t*>(end.data());
  for (const Field& field : fields_) {
    if (std::memcmp(from + field.offset, to + field.offset, field.size) > 0) {
      return EINVAL;
    }
  }
  return 0;
}

Errno Set::Insert(std::unique_ptr<Element>* new_element, Element** existing,
                  uint64_t now_ms) {
  const Element* element = new_element->get();
  if (element->catchall) {
    for (const auto& other : elements_) {
      if (other->catchall && other->active.next && !other->Expired(now_ms)) {
        *existing = other.get();
        return EEXIST;
      }
    }
  } else if (shape_ == SetShape::kInterval) {
    const Errno error = CheckInterval(*element, existing, now_ms);
    if (error != 0) return error;
  } else if (shape_ == SetShape::kConcat) {
    const Errno error = CheckConcat(*element, existing, now_ms);
    if (error != 0) return error;
  } else {
    const size_t mask = slots_.size() - 1;
    for (size_t at = Hash(element->key.data()) & mask; slots_[at] != nullptr;
         at = (at + 1) & mask) {
      Element* other = slots_[at];
      if (other != GoneSlot() && other->active.next && !other->dead &&
          Compare(other->key, element->key) == 0 && !other->Expired(now_ms)) {
        *existing = other;
        return EEXIST;
      }
    }
  }
  Element* added = new_element->get();
  added->position = elements_.size();
  elements_.push_back(std::move(*new_element));
  if (added->catchall) return 0;
  if (shape_ == SetShape::kInterval) {
    // Equal keys: starts before ends.
    if (added->interval_end) {
      ordered_.emplace_hint(ordered_.upper_bound(added->key), added->key,
                            added);
    } else {
      ordered_.emplace_hint(ordered_.lower_bound(added->key), added->key,
                            added);
    }
  } else if (shape_ != SetShape::kConcat) {
    HashInsert(added);
  }
  return 0;
}

Element* Set::FindForDelete(const Element& wanted, uint64_t now_ms) {
  const auto usable = [&](const Element& other) {
    return other.active.next && !other.dead && !other.Expired(now_ms);
  };
  if (wanted.catchall || shape_ == SetShape::kConcat) {
    for (const auto& other : elements_) {
      if (!usable(*other) || other->catchall != wanted.catchall) continue;
      if (wanted.catchall || Covers(*other, wanted.key.data())) {
        return other.get();
      }
    }
    return nullptr;
  }
  if (shape_ == SetShape::kInterval) {
    const auto [begin, end] = ordered_.equal_range(wanted.key);
    for (auto at = begin; at != end; ++at) {
      if (usable(*at->second) &&
          at->second->interval_end == wanted.interval_end) {
        return at->second;
      }
    }
    return nullptr;
  }
  const size_t mask = slots_.size() - 1;
  for (size_t at = Hash(wanted.key.data()) & mask; slots_[at] != nullptr;
       at = (at + 1) & mask) {
    Element* other = slots_[at];
    if (other != GoneSlot() && usable(*other) &&
        Compare(other->key, wanted.key) == 0) {
      return other;
    }
  }
  return nullptr;
}

Element* Set::AddDynamic(std::unique_ptr<Element> element) {
  element->active = {true, true};
  Element* added = element.get();
  added->position = elements_.size();
  elements_.push_back(std::move(element));
  HashInsert(added);
  ++elements_count;
  return added;
}

std::unique_ptr<Element> Set::Remove(Element* element) {
  if (element == catchall_) catchall_ = nullptr;
  if (!element->catchall) {
    if (shape_ == SetShape::kInterval) {
      const auto [begin, end] = ordered_.equal_range(element->key);
      const auto at = std::find_if(begin, end, [element](const auto& entry) {
        return entry.second == element;
      });
      if (at != end) ordered_.erase(at);
    } else if (shape_ != SetShape::kConcat) {
      const size_t mask = slots_.size() - 1;
      for (size_t at = Hash(element->key.data()) & mask; slots_[at] != nullptr;
           at = (at + 1) & mask) {
        if (slots_[at] == element) {
          slots_[at] = GoneSlot();
          break;
        }
      }
    }
  }
  // The last element takes the place of the removed one.
  const size_t position = element->position;
  std::swap(elements_[position], elements_.back());
  elements_[position]->position = position;
  std::unique_ptr<Element> removed = std::move(elements_.back());
  elements_.pop_back();
  return removed;
}

void Set::PublishIntervals() {
  boundaries_.clear();
  // Lowest key first; at equal keys an end comes before a start here, so that
  // the start, being last, wins.
  for (auto at = ordered_.rbegin(); at != ordered_.rend(); ++at) {
    Element* element = at->second;
    if (!element->active.now) continue;
    Element* covered = element->interval_end ? nullptr : element;
    if (!boundaries_.empty() &&
        Compare(boundaries_.back().key, element->key) == 0) {
      boundaries_.back().element = covered;
    } else {
      boundaries_.push_back({element->key, covered});
    }
  }
}

void Set::Publish() {
  changed = false;
  catchall_ = nullptr;
  for (const auto& element : elements_) {
    if (element->catchall && element->active.now) catchall_ = element.get();
  }
  switch (shape_) {
    case SetShape::kHash:
      if (slots_.empty()) Rehash(16);
      break;
    case SetShape::kBitmap:
      if (slots_.empty()) Rehash(16);
      bits_.assign((size_t{1} << (8 * d.key_size)) / 64, 0);
      for (const auto& element : elements_) {
        if (element->catchall || !element->active.now) continue;
        uint16_t index = 0;
        std::memcpy(&index, element->key.data(), d.key_size);
        bits_[index / 64] |= uint64_t{1} << (index % 64);
      }
      break;
    case SetShape::kInterval:
      PublishIntervals();
      break;
    case SetShape::kConcat:
      visible_.clear();
      for (const auto& element : elements_) {
        if (!element->catchall && element->active.now) {
          visible_.push_back(element.get());
        }
      }
      break;
  }
}

std::vector<Element*> Set::Walk() const {
  std::vector<Element*> all;
  all.reserve(elements_.size());
  if (shape_ == SetShape::kInterval) {
    for (const auto& [key, element] : ordered_) all.push_back(element);
    for (const auto& element : elements_) {
      if (element->catchall) all.push_back(element.get());
    }
    return all;
  }
  for (const auto& element : elements_) all.push_back(element.get());
  return all;
}

}  // namespace nfarena::vm
