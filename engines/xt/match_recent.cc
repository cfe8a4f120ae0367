// recent: lists of addresses that packets put themselves on.
//
// The lists belong to the network namespace and are found by name; they hang
// on the tracker.  A list remembers 100 addresses, the longest unseen gives way
// (ip_list_tot), and up to 256 times an address.  The kernel keeps as many
// times as the rules of a list ask for; more of them change no answer.
//
// Which times count as recent depends on a clock that a kernel engine does not
// share with the packets, so an answer that would be another one without any
// time passing, or with two seconds more, is marked indeterminate.
// Source: net/netfilter/xt_recent.c.
#include <algorithm>
#include <bit>
#include <cerrno>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "engines/core/tracker.h"
#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr size_t kAddressesMax = 100;  // ip_list_tot
constexpr size_t kStampsMax = 256;     // XT_RECENT_MAX_NSTAMPS
constexpr uint64_t kClockDoubtMs = 2000;

using Info = xt_recent_mtinfo_v1;

struct RecentEntry {
  Address address{};
  Family family = Family::kIpv4;
  uint8_t ttl = 0;
  std::deque<uint64_t> stamps_ms;  // the newest last
};

struct RecentTable {
  std::string name;
  Address mask{};
  std::list<RecentEntry> entries;  // the longest unseen first

  RecentEntry* Find(const Address& address, Family family, uint8_t ttl) {
    for (RecentEntry& entry : entries) {
      if (entry.family == family && entry.address == address &&
          (ttl == entry.ttl || ttl == 0 || entry.ttl == 0)) {
        return &entry;
      }
    }
    return nullptr;
  }
  void Remove(const RecentEntry* entry) {
    entries.remove_if([entry](const RecentEntry& e) { return &e == entry; });
  }
  /// recent_entry_update(): seen now, so the last to give way.
  void Touch(RecentEntry* entry, uint64_t now_ms) {
    entry->stamps_ms.push_back(now_ms);
    if (entry->stamps_ms.size() > kStampsMax) entry->stamps_ms.pop_front();
    const auto at =
        std::find_if(entries.begin(), entries.end(),
                     [entry](const RecentEntry& e) { return &e == entry; });
    entries.splice(entries.end(), entries, at);
  }
};

struct RecentTables {
  std::list<RecentTable> tables;

  RecentTable& Get(std::string_view name, const Address& mask) {
    for (RecentTable& table : tables) {
      if (table.name == name) return table;
    }
    // The first rule of a list sets the mask for all.
    tables.push_back({.name = std::string(name), .mask = mask, .entries = {}});
    return tables.back();
  }
};

RecentTables& TablesOf(Tracker* tracker) {
  std::shared_ptr<void>& slot = tracker->named_state();
  if (slot == nullptr) slot = std::make_shared<RecentTables>();
  return *static_cast<RecentTables*>(slot.get());
}

std::string_view NameOf(const Info& info) {
  return {info.name, strnlen(info.name, sizeof(info.name))};
}

/// Whether enough of the times are recent at `now_ms`.
bool EnoughHits(const Info& info, const RecentEntry& entry, uint64_t now_ms) {
  uint32_t hits = 0;
  for (const uint64_t stamp : entry.stamps_ms) {
    const uint64_t age = now_ms > stamp ? now_ms - stamp : 0;
    if (info.seconds != 0 && age > uint64_t{info.seconds} * 1000) continue;
    ++hits;
    if (info.hit_count == 0 || hits >= info.hit_count) return true;
  }
  return false;
}

bool IsEnough(const Info& info, const RecentEntry& entry, PacketState* packet) {
  const uint64_t now = packet->now_ms;
  const bool enough = EnoughHits(info, entry, now);
  const uint64_t oldest = entry.stamps_ms.front();
  if (EnoughHits(info, entry, oldest) != enough ||
      EnoughHits(info, entry, now + kClockDoubtMs) != enough) {
    packet->MarkIndeterminate("recent --seconds");
  }
  return enough;
}

}  // namespace

bool MatchRecent(const uint8_t* payload, const XtContext& context) {
  PacketState& packet = *context.packet;
  const auto info = LoadAt<Info>(payload);
  const bool invert = info.invert & 1;
  // A packet placed at a hook for timing has no namespace around it.
  if (packet.tracker == nullptr) return invert;
  Address mask;
  std::memcpy(mask.data(), &info.mask, sizeof(mask));
  RecentTable& table = TablesOf(packet.tracker).Get(NameOf(info), mask);

  Address address =
      info.side == XT_RECENT_DEST ? DestinationOf(packet) : SourceOf(packet);
  for (size_t i = 0; i < address.size(); ++i) address[i] &= table.mask[i];
  auto ttl = static_cast<uint8_t>(packet.bytes[IsIpv4(packet) ? 8 : 7]);
  // The TTL as it was before forwarding.
  if (packet.out[0] != '\0' && !packet.local_out) ++ttl;

  RecentEntry* entry = table.Find(address, packet.family,
                                  info.check_set & XT_RECENT_TTL ? ttl : 0);
  if (entry == nullptr) {
    if (!(info.check_set & XT_RECENT_SET)) return invert;
    if (table.entries.size() >= kAddressesMax) table.entries.pop_front();
    table.entries.push_back({.address = address,
                             .family = packet.family,
                             .ttl = ttl,
                             .stamps_ms = {packet.now_ms}});
    return !invert;
  }

  bool match = invert;
  if (info.check_set & XT_RECENT_SET) {
    match = !match;
  } else if (info.check_set & XT_RECENT_REMOVE) {
    table.Remove(entry);
    return !match;
  } else {
    if (IsEnough(info, *entry, &packet)) match = !match;
    const bool updates = (info.check_set & XT_RECENT_UPDATE) && match;
    if (info.check_set & XT_RECENT_REAP) {
      RecentEntry* oldest = &table.entries.front();
      const bool working = oldest == entry;
      const uint64_t age = packet.now_ms - oldest->stamps_ms.back();
      if (!(working && updates) && age > uint64_t{info.seconds} * 1000) {
        table.Remove(oldest);
        if (working) return match;
      }
    }
    if (!updates) return match;
  }
  table.Touch(entry, packet.now_ms);
  entry->ttl = ttl;
  return match;
}

Status CheckRecent(std::span<const uint8_t> payload, const XtUse&) {
  const auto info = LoadAt<Info>(payload.data());
  const unsigned modes = info.check_set & (XT_RECENT_SET | XT_RECENT_REMOVE |
                                           XT_RECENT_CHECK | XT_RECENT_UPDATE);
  if (info.check_set & ~XT_RECENT_VALID_FLAGS || std::popcount(modes) != 1) {
    return Refuse(EINVAL, "exactly one of set, check, update and remove");
  }
  if ((modes & (XT_RECENT_SET | XT_RECENT_REMOVE)) &&
      (info.seconds != 0 || info.hit_count != 0 ||
       (info.check_set & XT_RECENT_MODIFIERS))) {
    return Refuse(EINVAL, "set and remove have no conditions");
  }
  if ((info.check_set & XT_RECENT_REAP) && info.seconds == 0) {
    return Refuse(EINVAL, "--reap needs --seconds");
  }
  if (info.hit_count >= kStampsMax) {
    return Refuse(EINVAL, "hit count over 255");
  }
  const std::string_view name = NameOf(info);
  if (name.size() == sizeof(info.name)) {
    return Refuse(ENAMETOOLONG, "list name without an end");
  }
  if (name.empty() || name == "." || name == ".." ||
      name.find('/') != std::string_view::npos) {
    return Refuse(EINVAL, "bad list name");
  }
  return {};
}

}  // namespace nfarena::xt
