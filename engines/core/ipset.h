// ipsets as the kernel keeps them: what a rule's -m set asks and -j SET
// changes.
//
// Sets live outside xtables, so they belong to the instance and outlive every
// update of the ruleset; a rule names one by its number, which is its place in
// the "ipset save" text that made it (ipset_text.h).  One table says what the
// elements of each type are made of, and every type is looked up in the same
// way: the kernel has a file a type, but they differ in nothing else.
//
// A set remembers: timeouts by the packets' virtual time, counters, elements
// that SET adds.  Whether an element has timed out on a kernel is a matter of
// another clock; such an answer is marked indeterminate.
// Not for use by several threads at once.
// Source: net/netfilter/ipset/, Linux 6.1.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "engines/core/packet_state.h"

namespace nfarena {

/// What one part of an element is; "hash:ip,port" has kAddress and kPort.
enum class IpSetPart : uint8_t {
  kNone,
  kAddress,
  kNet,     // the longest prefix that is in the set decides
  kPort,    // with its protocol; of ICMP, type and code
  kMac,     // of a packet that came over Ethernet
  kDevice,  // the packet's own device, or one whose name begins so
  kMark,
  kSet,  // an element of another set
};

inline constexpr size_t kIpSetPartsMax = 3;

struct IpSetType {
  std::string_view name;
  std::array<IpSetPart, kIpSetPartsMax> parts;
  bool bitmap = false;

  size_t dimensions() const;
  bool has(IpSetPart part) const;
};

/// nullptr when there is no such type.
const IpSetType* FindIpSetType(std::string_view name);

/// What tells two elements of a set apart; parts that its type has not are
/// zero.  Devices are not in it, because one element may stand for many.
struct IpSetKey {
  std::array<Address, 2> address{};  // the first and the second one
  uint32_t mark = 0;
  uint16_t port = 0;
  std::array<uint8_t, 6> mac{};
  std::array<uint8_t, 2> prefix_bits{};  // of nets
  uint8_t protocol = 0;
  bool physical = false;  // the device is a port of a bridge
  bool operator==(const IpSetKey&) const = default;
};

struct IpSetKeyHash {
  size_t operator()(const IpSetKey& key) const;
};

/// What -j SET --map-set puts on a packet.
struct IpSetMapping {
  uint32_t mark = 0, mark_mask = 0;
  uint32_t priority = 0;
  bool operator==(const IpSetMapping&) const = default;
};

/// What a set holds for one key.
struct IpSetElement {
  std::array<char, 16> device{};
  bool wildcard = false;  // `device` is the beginning of a name
  bool nomatch = false;
  uint16_t set = 0;                           // of a list
  std::optional<std::array<uint8_t, 6>> mac;  // bitmap:ip,mac
  uint64_t expires_ms = 0;                    // 0 = never
  uint32_t timeout_s = 0;  // bitmap:ip,mac without an address yet
  Counters counters;
  IpSetMapping mapping;
};

struct IpSet {
  std::string name;
  const IpSetType* type = nullptr;
  /// Why rules cannot use it here; then `type` may be null and it is empty.
  std::string unsupported;
  std::optional<Family> family;       // unset: it takes both
  uint32_t first = 0, last = 0;       // bitmaps: addresses or ports
  std::optional<Address> mask;        // of addresses: netmask or bitmask
  uint32_t mark_mask = 0xffffffff;    // hash:ip,mark
  std::optional<uint32_t> timeout_s;  // set: elements time out, after so long
  bool counters = false, mappings = false;
  bool force_add = false;
  uint32_t elements_max = 65536;

  /// More than one element of a key: they differ in the device.
  std::unordered_map<IpSetKey, std::vector<IpSetElement>, IpSetKeyHash>
      elements;
  std::vector<IpSetElement> list;  // of a list: its sets, in order
  size_t elements_count = 0;
  /// The prefix lengths that elements have, longest first, each with how many.
  /// Of an address that is no net: its full length only.
  std::array<std::vector<std::pair<uint8_t, uint32_t>>, 2> prefixes;
};

enum class IpSetCompare : uint8_t { kNone, kEqual, kNotEqual, kLess, kGreater };

/// How a rule asks for the packet's element of a set.
struct IpSetQuery {
  uint16_t set = 0;
  uint8_t dimensions = 0;    // parts given: "src,dst" is 2
  uint8_t source_parts = 0;  // bit k, from 0: part k is the packet's source
  bool return_nomatch = false;
  bool update_counters = true;     // of the element
  bool update_subcounters = true;  // of the elements of a list's sets
  IpSetCompare packets_test = IpSetCompare::kNone;
  IpSetCompare bytes_test = IpSetCompare::kNone;
  uint64_t packets = 0, bytes = 0;
  /// Add: an element that is there already is renewed.
  bool renew = false;
  std::optional<uint32_t> timeout_s;  // Add: other than the set's own
};

class IpSets {
 public:
  /// Stands for sets that are not known yet: Check takes every number.  Only
  /// for checks of a ruleset; no set of it may be asked.
  static IpSets Unknown() {
    IpSets sets;
    sets.unknown_ = true;
    return sets;
  }

  size_t size() const { return sets_.size(); }
  const IpSet& at(uint16_t index) const { return sets_[index]; }
  /// The set's number, if it exists.
  std::optional<uint16_t> Find(std::string_view name) const;
  /// Ok, or why a rule cannot use this set: there is none (ENOENT), or its type
  /// is not modelled.
  [[nodiscard]] Status Check(uint16_t index) const;

  /// ip_set_test(): whether the packet's element is in the set.  A set of
  /// another family or of more dimensions than the query has no such element.
  /// The set must exist.  `mapping`, if given, gets what the element maps to.
  bool Test(const IpSetQuery& query, PacketState* packet,
            IpSetMapping* mapping = nullptr);
  /// ip_set_add(), ip_set_del(): false when nothing changed.
  bool Add(const IpSetQuery& query, PacketState* packet);
  bool Delete(const IpSetQuery& query, PacketState* packet);

  /// Makes an empty set.  Errors: kConflict (the name is taken).
  [[nodiscard]] Status Create(IpSet set);
  /// Adds one element from outside: `key` as the set keeps it (masked).
  /// Errors: kConflict (it is there already and `renew` is not set), kRange
  /// (the set is full).
  [[nodiscard]] Status Insert(uint16_t index, IpSetKey key,
                              IpSetElement element, bool renew);

 private:
  enum class Answer : uint8_t { kNo, kYes, kNoMatch };

  Answer Ask(IpSet* set, const IpSetQuery& query, PacketState* packet,
             IpSetMapping* mapping);
  bool AskList(IpSet* set, const IpSetQuery& query, PacketState* packet,
               IpSetMapping* mapping);
  /// list_set_kadd(), list_set_kdel(): the first set of a list that the packet
  /// changes is the only one.
  using Change = bool (IpSets::*)(const IpSetQuery& query, PacketState* packet);
  bool ChangeFirst(const IpSet& list, IpSetQuery query, PacketState* packet,
                   Change change);

  std::vector<IpSet> sets_;
  bool unknown_ = false;
};

}  // namespace nfarena
