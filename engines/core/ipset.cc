#include "engines/core/ipset.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "engines/core/ipset_key.h"

namespace nfarena {
namespace {

using Bucket = std::vector<IpSetElement>;

constexpr uint64_t kMsPerSecond = 1000;
constexpr uint64_t kClockDoubtMs = 2 * kMsPerSecond;

uint8_t FullBits(const IpSet& set) {
  return set.family == Family::kIpv6 ? 128 : 32;
}

bool IsExpired(const IpSetElement& element, uint64_t now_ms) {
  return element.expires_ms != 0 && now_ms > element.expires_ms;
}

/// The same for a packet's answer: a kernel's clock stands at any time between
/// when the element came and a little after the packet's own.
bool HasExpired(const IpSetElement& element, PacketState* packet) {
  if (IsExpired(element, packet->now_ms + kClockDoubtMs)) {
    packet->MarkIndeterminate("ipset timeout");
  }
  return IsExpired(element, packet->now_ms);
}

uint64_t ExpiryOf(uint32_t timeout_s, uint64_t now_ms) {
  return timeout_s == 0 ? 0 : now_ms + timeout_s * kMsPerSecond;
}

bool SameDevice(const IpSetElement& element,
                const std::array<char, 16>& device) {
  if (!element.wildcard) return element.device == device;
  const std::string_view beginning = DeviceName(element.device);
  return DeviceName(device).substr(0, beginning.size()) == beginning;
}

bool Compares(uint64_t value, IpSetCompare test, uint64_t with) {
  switch (test) {
    case IpSetCompare::kNone:
      return true;
    case IpSetCompare::kEqual:
      return value == with;
    case IpSetCompare::kNotEqual:
      return value != with;
    case IpSetCompare::kLess:
      return value < with;
    case IpSetCompare::kGreater:
      return value > with;
  }
  return false;
}

/// ip_set_match_extensions(): whether an element that was found counts.
bool ExtensionsHold(const IpSet& set, const IpSetQuery& query,
                    PacketState* packet, IpSetElement* element,
                    IpSetMapping* mapping) {
  if (set.timeout_s && HasExpired(*element, packet)) return false;
  if (set.counters) {
    if (query.update_counters) {
      ++element->counters.packets;
      element->counters.bytes += packet->bytes.size();
    }
    if (!Compares(element->counters.packets, query.packets_test,
                  query.packets) ||
        !Compares(element->counters.bytes, query.bytes_test, query.bytes)) {
      return false;
    }
  }
  if (set.mappings && mapping != nullptr) *mapping = element->mapping;
  return true;
}

void NotePrefix(IpSet* set, const IpSetKey& key) {
  for (size_t i = 0; i < key.prefix_bits.size(); ++i) {
    auto& prefixes = set->prefixes[i];
    const uint8_t bits = key.prefix_bits[i];
    const auto it = std::find_if(
        prefixes.begin(), prefixes.end(),
        [bits](const auto& prefix) { return prefix.first <= bits; });
    if (it != prefixes.end() && it->first == bits) {
      ++it->second;
    } else {
      prefixes.insert(it, {bits, 1});
    }
  }
}

void ForgetPrefix(IpSet* set, const IpSetKey& key) {
  for (size_t i = 0; i < key.prefix_bits.size(); ++i) {
    auto& prefixes = set->prefixes[i];
    const uint8_t bits = key.prefix_bits[i];
    const auto it = std::find_if(
        prefixes.begin(), prefixes.end(),
        [bits](const auto& prefix) { return prefix.first == bits; });
    if (it != prefixes.end() && --it->second == 0) prefixes.erase(it);
  }
}

/// The element of `bucket` that stands for the device.
Bucket::iterator FindDevice(Bucket* bucket,
                            const std::array<char, 16>& device) {
  return std::find_if(
      bucket->begin(), bucket->end(),
      [&](const IpSetElement& e) { return SameDevice(e, device); });
}

void Erase(IpSet* set, const IpSetKey& key, Bucket* bucket,
           Bucket::iterator at) {
  bucket->erase(at);
  --set->elements_count;
  ForgetPrefix(set, key);
}

/// The garbage collector of a set that is full.
void EraseExpired(IpSet* set, uint64_t now_ms) {
  for (auto& [key, bucket] : set->elements) {
    for (size_t i = bucket.size(); i-- > 0;) {
      if (IsExpired(bucket[i], now_ms)) {
        Erase(set, key, &bucket, bucket.begin() + static_cast<ptrdiff_t>(i));
      }
    }
  }
}

/// Where an element that a packet adds goes: into the narrowest net there is.
IpSetKey NarrowestNet(const IpSet& set, IpSetKey key) {
  for (size_t i = 0; i < key.prefix_bits.size(); ++i) {
    const auto& prefixes = set.prefixes[i];
    key.prefix_bits[i] = prefixes.empty() ? FullBits(set) : prefixes[0].first;
    key.address[i] = PrefixOf(key.address[i], key.prefix_bits[i]);
  }
  return key;
}

bool Applies(const IpSet& set, const IpSetQuery& query,
             const PacketState& packet) {
  return set.type != nullptr && query.dimensions >= set.type->dimensions() &&
         (!set.family || *set.family == packet.family);
}

/// bitmap_ipmac_do_add(): what the element's Ethernet address says of adding.
/// Returns the timeout it is to have, or nothing when it stays as it is.
std::optional<uint32_t> FillMac(const IpSetPoint& point,
                                const IpSetQuery& query, bool expired,
                                uint32_t timeout_s, IpSetElement* element) {
  if (!element->mac) {
    element->mac = point.mac;
    return query.timeout_s.value_or(element->timeout_s);
  }
  if (!query.renew) return expired ? std::optional(timeout_s) : std::nullopt;
  element->mac = point.mac;
  return timeout_s;
}

}  // namespace

std::optional<uint16_t> IpSets::Find(std::string_view name) const {
  const auto it =
      std::find_if(sets_.begin(), sets_.end(),
                   [name](const IpSet& set) { return set.name == name; });
  if (it == sets_.end()) return std::nullopt;
  return static_cast<uint16_t>(it - sets_.begin());
}

Status IpSets::Check(uint16_t index) const {
  if (unknown_) return {};
  if (index >= sets_.size()) {
    return Fail(ErrorCode::kUnsupported,
                sets_.empty() ? "the members of the ipset are not known here"
                              : fmt::format("there is no ipset {}", index),
                {}, ENOENT);
  }
  const IpSet& set = sets_[index];
  if (!set.unsupported.empty()) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("ipset '{}': {}", set.name, set.unsupported));
  }
  return {};
}

bool IpSets::Test(const IpSetQuery& query, PacketState* packet,
                  IpSetMapping* mapping) {
  IpSet& set = sets_[query.set];
  if (!Applies(set, query, *packet)) return false;
  const Answer answer = Ask(&set, query, packet, mapping);
  const bool has_nets = set.type->has(IpSetPart::kNet);
  // --return-nomatch: the exceptions are asked for, not the rest.
  return answer ==
         (query.return_nomatch && has_nets ? Answer::kNoMatch : Answer::kYes);
}

IpSets::Answer IpSets::Ask(IpSet* set, const IpSetQuery& query,
                           PacketState* packet, IpSetMapping* mapping) {
  if (set->type->has(IpSetPart::kSet)) {
    return AskList(set, query, packet, mapping) ? Answer::kYes : Answer::kNo;
  }
  const auto point = IpSetPointOf(*set, query, *packet);
  if (!point) return Answer::kNo;
  const bool by_device = set->type->has(IpSetPart::kDevice);
  IpSetKey key = point->key;
  for (const auto& outer : set->prefixes[0]) {
    key.prefix_bits[0] = outer.first;
    key.address[0] = PrefixOf(point->key.address[0], outer.first);
    for (const auto& inner : set->prefixes[1]) {
      key.prefix_bits[1] = inner.first;
      key.address[1] = PrefixOf(point->key.address[1], inner.first);
      const auto bucket = set->elements.find(key);
      if (bucket == set->elements.end() || bucket->second.empty()) continue;
      bool only_other_devices = by_device;
      for (IpSetElement& element : bucket->second) {
        only_other_devices = by_device;
        if (by_device && !SameDevice(element, point->device)) continue;
        if (set->type->bitmap && set->type->has(IpSetPart::kMac)) {
          if (!element.mac) {
            // The first packet from the address completes the element.
            Add(query, packet);
            return Answer::kYes;
          }
          if (*element.mac != point->mac) return Answer::kNo;
        }
        if (ExtensionsHold(*set, query, packet, &element, mapping)) {
          return element.nomatch ? Answer::kNoMatch : Answer::kYes;
        }
        only_other_devices = false;
      }
      // A net that is there for other devices hides the wider ones.
      if (only_other_devices) return Answer::kNo;
    }
  }
  return Answer::kNo;
}

bool IpSets::AskList(IpSet* set, const IpSetQuery& query, PacketState* packet,
                     IpSetMapping* mapping) {
  IpSetQuery inner = query;
  inner.packets_test = inner.bytes_test = IpSetCompare::kNone;
  if (!query.update_subcounters) inner.update_counters = false;
  for (IpSetElement& element : set->list) {
    inner.set = element.set;
    if (Test(inner, packet, mapping) &&
        ExtensionsHold(*set, query, packet, &element, mapping)) {
      return true;
    }
  }
  return false;
}

bool IpSets::ChangeFirst(const IpSet& list, IpSetQuery query,
                         PacketState* packet, Change change) {
  return std::any_of(
      list.list.begin(), list.list.end(), [&](const IpSetElement& element) {
        query.set = element.set;
        return !HasExpired(element, packet) && (this->*change)(query, packet);
      });
}

bool IpSets::Add(const IpSetQuery& query, PacketState* packet) {
  IpSet& set = sets_[query.set];
  if (!Applies(set, query, *packet)) return false;
  if (set.type->has(IpSetPart::kSet)) {
    return ChangeFirst(set, query, packet, &IpSets::Add);
  }
  const auto point = IpSetPointOf(set, query, *packet);
  if (!point) return false;
  const IpSetKey key = NarrowestNet(set, point->key);
  uint32_t timeout_s = query.timeout_s.value_or(set.timeout_s.value_or(0));
  const bool keeps_mac = set.type->bitmap && set.type->has(IpSetPart::kMac);

  Bucket& bucket = set.elements[key];
  auto at = FindDevice(&bucket, point->device);
  if (at != bucket.end()) {
    const bool expired = HasExpired(*at, packet);
    if (keeps_mac) {
      const auto kept = FillMac(*point, query, expired, timeout_s, &*at);
      if (!kept) return false;
      timeout_s = *kept;
    } else if (!expired && !query.renew) {
      return false;
    }
  } else {
    if (set.elements_count >= set.elements_max && !set.type->bitmap) {
      EraseExpired(&set, packet->now_ms);
      if (set.elements_count >= set.elements_max) {
        if (!set.force_add) {
          if (bucket.empty()) set.elements.erase(key);
          return false;
        }
        // One of the others gives way: which one is a matter of the hash.
        packet->MarkIndeterminate("ipset forceadd");
      }
    }
    at = bucket.insert(bucket.end(), IpSetElement{.device = point->device});
    if (keeps_mac) at->mac = point->mac;
    ++set.elements_count;
    NotePrefix(&set, key);
  }
  at->nomatch = false;
  at->counters = {.packets = 1, .bytes = packet->bytes.size()};
  at->mapping = {};
  if (set.timeout_s) at->expires_ms = ExpiryOf(timeout_s, packet->now_ms);
  return true;
}

bool IpSets::Delete(const IpSetQuery& query, PacketState* packet) {
  IpSet& set = sets_[query.set];
  if (!Applies(set, query, *packet)) return false;
  if (set.type->has(IpSetPart::kSet)) {
    return ChangeFirst(set, query, packet, &IpSets::Delete);
  }
  const auto point = IpSetPointOf(set, query, *packet);
  if (!point) return false;
  const IpSetKey key = NarrowestNet(set, point->key);
  const auto bucket = set.elements.find(key);
  if (bucket == set.elements.end()) return false;
  const auto at = FindDevice(&bucket->second, point->device);
  if (at == bucket->second.end() || HasExpired(*at, packet)) return false;
  Erase(&set, key, &bucket->second, at);
  return true;
}

Status IpSets::Create(IpSet set) {
  if (Find(set.name)) {
    return Fail(ErrorCode::kConflict,
                fmt::format("set '{}' is created twice", set.name));
  }
  if (sets_.size() >= UINT16_MAX) {
    return Fail(ErrorCode::kRange, "more sets than numbers for them");
  }
  size_t addresses = 0;
  if (set.type != nullptr) {
    for (const IpSetPart part : set.type->parts) {
      if (part == IpSetPart::kNet) ++addresses;
      if (part == IpSetPart::kAddress) {
        set.prefixes[addresses++] = {{FullBits(set), 1}};
      }
    }
  }
  for (; addresses < set.prefixes.size(); ++addresses) {
    set.prefixes[addresses] = {{uint8_t{0}, 1}};
  }
  sets_.push_back(std::move(set));
  return {};
}

Status IpSets::Insert(uint16_t index, IpSetKey key, IpSetElement element,
                      bool renew) {
  IpSet& set = sets_[index];
  const Error twice{ErrorCode::kConflict,
                    fmt::format("set '{}' holds it already", set.name),
                    {},
                    EEXIST};
  if (set.type->has(IpSetPart::kSet)) {
    const auto at = std::find_if(
        set.list.begin(), set.list.end(),
        [&](const IpSetElement& e) { return e.set == element.set; });
    if (at == set.list.end()) {
      set.list.push_back(std::move(element));
    } else if (renew) {
      *at = std::move(element);
    } else {
      return tl::unexpected<Error>(twice);
    }
    return {};
  }
  Bucket& bucket = set.elements[key];
  const auto at = FindDevice(&bucket, element.device);
  if (at != bucket.end()) {
    if (!renew) return tl::unexpected<Error>(twice);
    *at = std::move(element);
    return {};
  }
  if (set.elements_count >= set.elements_max && !set.type->bitmap &&
      !set.force_add) {
    return Fail(ErrorCode::kRange, fmt::format("set '{}' is full", set.name));
  }
  bucket.push_back(std::move(element));
  ++set.elements_count;
  NotePrefix(&set, key);
  return {};
}

}  // namespace nfarena
