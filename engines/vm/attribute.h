// Netlink attributes: reading with the kernel's rules, and writing.
//
// A parser sees exactly what the kernel's would: which attributes are too
// short, which are ignored, which of two equal ones counts.  Lengths are
// checked here, once, against a policy table, so that a decoder may read an
// attribute that it got without looking at its length again.  An own walker
// and not libmnl's, because a batch may start at any address (a file, a fuzzer)
// and because the errno of each failure has to be the kernel's.
// Source: lib/nlattr.c, nla_parse_deprecated().
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string_view>
#include <vector>

namespace nfarena::vm {

/// 0, or the positive errno value the kernel answers with.
using Errno = int;

/// One attribute.  Default constructed = not there.
class Attribute {
 public:
  Attribute() = default;
  Attribute(uint16_t type, std::span<const uint8_t> payload)
      : data_(payload.data()),
        size_(static_cast<uint16_t>(payload.size())),
        type_(type),
        present_(true) {}

  explicit operator bool() const { return present_; }
  uint16_t type() const { return type_; }
  size_t size() const { return size_; }
  std::span<const uint8_t> payload() const { return {data_, size_}; }

  /// Network order integers.  The policy has checked the length.
  uint8_t U8() const { return data_[0]; }
  uint16_t Be16() const;
  uint32_t Be32() const;
  uint64_t Be64() const;
  /// Text up to the first NUL or the end.
  std::string_view Text() const;

 private:
  const uint8_t* data_ = nullptr;
  uint16_t size_ = 0;
  uint16_t type_ = 0;
  bool present_ = false;
};

enum class AttributeKind : uint8_t {
  kIgnored,    // no policy: any length
  kU8,         // at least 1 byte
  kU16,        // at least 2 bytes
  kU32,        // at least 4 bytes
  kU64,        // at least 8 bytes
  kMax32,      // U32 whose value must not pass `limit`: ERANGE
  kMask32,     // U32 with no bit outside `limit`: EINVAL
  kString,     // at least 1 byte, at most `limit` (0 = any) without NUL
  kNulString,  // has a NUL in its first `limit` + 1 bytes
  kBinary,     // at most `limit` bytes (0 = any)
  kNested,     // empty or at least one attribute header
  kExprList,   // nested list of expressions, each checked for its name and data
  kElementList,  // nested list of set elements, each checked
};

struct AttributeRule {
  uint16_t type = 0;
  AttributeKind kind = AttributeKind::kIgnored;
  uint32_t limit = 0;
};

/// The rules of one nesting level, indexed by attribute type.
class AttributePolicy {
 public:
  static constexpr size_t kMaxType = 31;

  constexpr AttributePolicy(uint16_t max_type,
                            std::initializer_list<AttributeRule> rules)
      : max_type_(max_type) {
    for (const AttributeRule& rule : rules) rules_[rule.type] = rule;
  }
  constexpr uint16_t max_type() const { return max_type_; }
  constexpr const AttributeRule& rule(uint16_t type) const {
    return rules_[type];
  }

 private:
  uint16_t max_type_;
  std::array<AttributeRule, kMaxType + 1> rules_{};
};

/// The attributes of one level, indexed by type.
class AttributeTable {
 public:
  const Attribute& operator[](size_t type) const { return table_[type]; }
  Attribute& operator[](size_t type) { return table_[type]; }

 private:
  std::array<Attribute, AttributePolicy::kMaxType + 1> table_{};
};

/// Reads one level.  Attributes of unknown type and bytes after the last whole
/// attribute are ignored, the last of equal ones counts, as in the kernel.
[[nodiscard]] Errno ParseAttributes(std::span<const uint8_t> bytes,
                                    const AttributePolicy& policy,
                                    AttributeTable* table);

/// Steps through a nested list: `rest` shrinks, false at its end.
bool NextAttribute(std::span<const uint8_t>* rest, Attribute* attribute);

/// Appends messages and attributes in the kernel's layout to a byte vector.
class MessageWriter {
 public:
  explicit MessageWriter(std::vector<uint8_t>* out) : out_(out) {}

  /// A netlink header and an nfgenmsg; EndMessage fills in the length.
  void BeginMessage(uint16_t type, uint16_t flags, uint32_t seq,
                    uint32_t port_id, uint8_t family, uint16_t res_id);
  void EndMessage();

  /// Returns where the nest starts; EndNest wants it back.
  size_t BeginNest(uint16_t type);
  void EndNest(size_t start);

  void Put(uint16_t type, std::span<const uint8_t> payload);
  void PutU8(uint16_t type, uint8_t value);
  void PutBe16(uint16_t type, uint16_t value);
  void PutBe32(uint16_t type, uint32_t value);
  void PutBe64(uint16_t type, uint64_t value);
  /// With its NUL.
  void PutString(uint16_t type, std::string_view text);

 private:
  std::vector<uint8_t>* out_;
  size_t message_ = 0;
};

}  // namespace nfarena::vm
