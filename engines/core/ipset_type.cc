#include <algorithm>
#include <cstring>
#include <iterator>
#include <type_traits>

#include "engines/core/ipset.h"

namespace nfarena {
namespace {

using enum IpSetPart;

constexpr IpSetType kTypes[] = {
    {"bitmap:ip", {kAddress}, true},
    {"bitmap:ip,mac", {kAddress, kMac}, true},
    {"bitmap:port", {kPort}, true},
    {"hash:ip", {kAddress}},
    {"hash:ip,mac", {kAddress, kMac}},
    {"hash:ip,mark", {kAddress, kMark}},
    {"hash:ip,port", {kAddress, kPort}},
    {"hash:ip,port,ip", {kAddress, kPort, kAddress}},
    {"hash:ip,port,net", {kAddress, kPort, kNet}},
    {"hash:mac", {kMac}},
    {"hash:net", {kNet}},
    {"hash:net,iface", {kNet, kDevice}},
    {"hash:net,net", {kNet, kNet}},
    {"hash:net,port", {kNet, kPort}},
    {"hash:net,port,net", {kNet, kPort, kNet}},
    {"list:set", {kSet}},
};

}  // namespace

size_t IpSetType::dimensions() const {
  return static_cast<size_t>(std::count_if(
      parts.begin(), parts.end(), [](IpSetPart p) { return p != kNone; }));
}

bool IpSetType::has(IpSetPart part) const {
  return std::find(parts.begin(), parts.end(), part) != parts.end();
}

const IpSetType* FindIpSetType(std::string_view name) {
  const auto* it =
      std::find_if(std::begin(kTypes), std::end(kTypes),
                   [name](const IpSetType& type) { return type.name == name; });
  return it == std::end(kTypes) ? nullptr : it;
}

size_t IpSetKeyHash::operator()(const IpSetKey& key) const {
  static_assert(std::has_unique_object_representations_v<IpSetKey>);
  static_assert(sizeof(IpSetKey) % sizeof(uint64_t) == 0);
  std::array<uint64_t, sizeof(IpSetKey) / sizeof(uint64_t)> words;
  std::memcpy(words.data(), &key, sizeof(key));
  uint64_t hash = 0;
  for (const uint64_t word : words) {
    // The finalizer of MurmurHash3: sets of neighbours are the rule here.
    hash ^= word;
    hash ^= hash >> 33;
    hash *= 0xff51afd7ed558ccd;
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace nfarena
