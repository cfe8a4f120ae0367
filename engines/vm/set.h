// Sets, maps and verdict maps.
//
// The control plane keeps every element with its two generation bits; packets
// look up in an index made for the shape of the key:
//   kHash      one value a key, kept up to date element by element
//   kBitmap    keys of 1 or 2 bytes: presence bits, rebuilt at commit
//   kInterval  start and end elements of one-field ranges: a sorted array of
//              boundaries and a binary search, rebuilt at commit (the kernel
//              keeps a tree; an array is what a read-mostly twin wants)
//   kConcat    ranges over several fields: a scan over packed bounds, rebuilt
//              at commit.  The kernel's pipapo is sublinear; no lowering makes
//              such sets, so the twin has what is obviously right
// Which shape a set gets follows the kernel's choice, since that decides which
// requests are refused (nft_select_set_ops).
// Source: net/netfilter/nft_set_hash.c, _bitmap.c, _rbtree.c, _pipapo.c.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engines/vm/attribute.h"
#include "engines/vm/objects.h"

namespace nfarena::vm {

enum class SetShape : uint8_t { kHash, kBitmap, kInterval, kConcat };

/// Key or data of up to 16 words, in network or register order as given.
using SetValue = std::array<uint32_t, kMaxDataWords>;

struct Element {
  SetValue key{}, key_end{};
  bool has_key_end = false;
  bool has_data = false;
  bool has_timeout = false;  // the timeout extension is there, maybe 0
  bool catchall = false;
  bool interval_end = false;
  bool dead = false;
  Active active;
  uint32_t flags = 0;  // NFT_SET_ELEM_*, as given
  uint64_t timeout_ms = 0;
  uint64_t expires_ms = 0;
  SetValue data{};
  Data verdict{};  // of a verdict map
  Object* object = nullptr;
  std::vector<uint64_t> code;  // instructions of the element's expressions
  uint8_t expressions_count = 0;
  size_t position = 0;  // in its set
  std::vector<uint8_t> user_data;

  uint8_t* instructions() { return reinterpret_cast<uint8_t*>(code.data()); }
  const uint8_t* instructions() const {
    return reinterpret_cast<const uint8_t*>(code.data());
  }
  bool Expired(uint64_t now_ms) const {
    return timeout_ms != 0 && now_ms >= expires_ms;
  }
};

struct SetDescription {
  uint32_t flags = 0;  // NFT_SET_*
  uint32_t key_type = 0, key_size = 0;
  uint32_t data_type = 0, data_size = 0;
  uint32_t object_type = 0;
  uint32_t policy = 0;
  uint32_t size = 0;  // 0: no limit
  uint64_t timeout_ms = 0;
  uint32_t gc_interval = 0;
  std::vector<uint8_t> field_sizes;
  bool has_expression = false;
};

/// A lookup, dynset or objref that refers to a set.
struct SetBinding {
  const void* owner = nullptr;  // the instruction
  const Chain* chain = nullptr;
  bool map = false;
};

class Set {
 public:
  Set(Table* table, SetDescription description, SetShape shape);
  ~Set();
  Set(const Set&) = delete;
  Set& operator=(const Set&) = delete;

  /// The shape the kernel would choose; false: no backend has the features.
  static bool ChooseShape(const SetDescription& description, SetShape* shape);

  bool anonymous() const;
  bool is_map() const;
  bool is_verdict_map() const;
  bool dynamic() const { return dynamic_; }
  size_t key_words() const { return (d.key_size + 3) / 4; }

  /// The element that covers `key` among those packets see now, or nullptr.
  /// The catch-all element is the answer when nothing else is.
  Element* Find(const uint32_t* key, uint64_t now_ms) const;

  /// The same without the catch-all element (dynset).
  Element* FindOwn(const uint32_t* key, uint64_t now_ms) const {
    return FindHash(key, now_ms);
  }

  /// Adds for the next generation.  EEXIST: *existing is the same element;
  /// ENOTEMPTY: overlaps; ECANCELED: a second null end, to be ignored.  On
  /// error the element stays the caller's.
  [[nodiscard]] Errno Insert(std::unique_ptr<Element>* element,
                             Element** existing, uint64_t now_ms);
  /// The element of the next generation that a deletion means, or nullptr.
  Element* FindForDelete(const Element& wanted, uint64_t now_ms);
  /// Adds an element at once, for both generations (dynset).
  Element* AddDynamic(std::unique_ptr<Element> element);
  /// Takes an element out at once.
  std::unique_ptr<Element> Remove(Element* element);

  /// Rebuilds what packets look up; called when a commit changed elements.
  void Publish();

  /// In the kernel's walk order where that is fixed (intervals: highest key
  /// first), else in no order that means anything, as in the kernel.
  std::vector<Element*> Walk() const;

  Table* table;
  SetDescription d;
  std::string name;
  uint64_t handle = 0;
  uint32_t use = 0;
  uint32_t elements_count = 0;
  uint32_t deactivated_count = 0;
  Active active;
  bool dead = false;
  bool changed = false;
  std::vector<uint8_t> user_data;
  std::vector<SetBinding> bindings;
  /// Instructions copied into every element, each a block of its own.
  std::vector<std::vector<uint64_t>> expressions;

 private:
  struct Boundary {
    SetValue key;
    Element* element;  // nullptr: a gap starts here
  };
  /// Where a field of a concatenation lies in the key.
  struct Field {
    uint32_t offset, size;  // bytes
  };

  int Compare(const SetValue& a, const SetValue& b) const;
  uint64_t Hash(const uint32_t* key) const;
  void HashInsert(Element* element);
  void Rehash(size_t slots);
  Element* FindHash(const uint32_t* key, uint64_t now_ms) const;
  Element* FindInterval(const uint32_t* key, uint64_t now_ms) const;
  Element* FindConcat(const uint32_t* key, uint64_t now_ms) const;
  Errno CheckInterval(const Element& element, Element** existing,
                      uint64_t now_ms) const;
  Errno CheckConcat(const Element& element, Element** existing,
                    uint64_t now_ms) const;
  bool Covers(const Element& element, const uint32_t* key) const;
  void PublishIntervals();

  SetShape shape_;
  bool dynamic_ = false;
  std::vector<std::unique_ptr<Element>> elements_;
  Element* catchall_ = nullptr;  // newest
  // kHash, kBitmap: open addressing, nullptr = free, kGone = was used.
  std::vector<Element*> slots_;
  size_t slots_used_ = 0;
  std::vector<uint64_t> bits_;
  Element present_;  // what a bit that is set stands for
  // kInterval: all elements, highest key first, starts before ends.
  std::multimap<SetValue, Element*, bool (*)(const SetValue&, const SetValue&)>
      ordered_;
  std::vector<Boundary> boundaries_;
  std::vector<Field> fields_;
  std::vector<Element*> visible_;  // kConcat: what packets see
};

}  // namespace nfarena::vm
