#include "engines/reference/shared_memory.h"

#include <bit>

namespace nfarena::reference {
namespace {

/// How many times of one address a list keeps for this rule: the hit count
/// rounded up, 32 when none is asked for.
uint32_t RingSize(const RecentMatch& recent) {
  constexpr uint32_t kDefault = 32;
  return recent.hit_count == 0 ? kDefault : std::bit_ceil(recent.hit_count);
}

}  // namespace

void SharedMemory::Use(const Condition& condition) {
  if (const auto* match = std::get_if<RecentMatch>(&condition)) {
    used_recent_[match->name] = true;
    auto [it, made] = recent.try_emplace(match->name);
    RecentList& list = it->second;
    if (made) {
      list.mask = match->mask;  // the first rule's holds for all
      list.ring_size = RingSize(*match);
    } else if (RingSize(*match) > list.ring_size) {
      list.entries.clear();
      list.ring_size = RingSize(*match);
    }
  } else if (const auto* limit = std::get_if<HashlimitMatch>(&condition)) {
    used_hashlimit_[limit->name] = true;
    auto [it, made] = hashlimit.try_emplace(limit->name);
    if (made) it->second.config = *limit;
  }
}

void SharedMemory::DropUnused() {
  std::erase_if(recent, [this](const auto& item) {
    return used_recent_.count(item.first) == 0;
  });
  std::erase_if(hashlimit, [this](const auto& item) {
    return used_hashlimit_.count(item.first) == 0;
  });
  used_recent_.clear();
  used_hashlimit_.clear();
}

}  // namespace nfarena::reference
