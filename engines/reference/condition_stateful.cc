#include <netinet/in.h>

#include <algorithm>

#include "engines/core/tracker.h"
#include "engines/reference/hashlimit.h"
#include "engines/reference/question.h"
#include "engines/reference/view.h"

namespace nfarena::reference {
namespace {

// --- recent -----------------------------------------------------------------

constexpr size_t kAddressesMax = 100;  // ip_list_tot

Address Masked(const Address& address, const Address& mask) {
  Address masked;
  std::transform(
      address.begin(), address.end(), mask.begin(), masked.begin(),
      [](uint8_t a, uint8_t m) { return static_cast<uint8_t>(a & m); });
  return masked;
}

/// The TTL as it was before this host forwarded the packet.
uint8_t ArrivedTtl(const PacketState& packet) {
  const bool leaves = packet.out[0] != '\0';
  const bool from_socket =
      packet.local_out &&
      !(packet.answer && packet.headers.protocol == IPPROTO_TCP);
  return static_cast<uint8_t>(TtlOf(packet) + (leaves && !from_socket));
}

using EntryIt = std::list<RecentEntry>::iterator;

EntryIt FindEntry(RecentList* list, const Address& address, uint8_t ttl) {
  return std::find_if(
      list->entries.begin(), list->entries.end(), [&](const RecentEntry& e) {
        return e.address == address && (ttl == 0 || e.ttl == 0 || e.ttl == ttl);
      });
}

/// Notes that the address was seen now.
void See(RecentList* list, EntryIt entry, uint64_t now) {
  entry->next &= list->ring_size - 1;
  if (entry->next == entry->times.size()) {
    entry->times.push_back(now);
  } else {
    entry->times[entry->next] = now;
  }
  ++entry->next;
  list->entries.splice(list->entries.end(), list->entries, entry);
}

/// Whether the address was seen often enough, were it `now`.
bool SeenEnough(const RecentMatch& recent, const RecentEntry& entry,
                uint64_t now) {
  const uint64_t span = recent.seconds * kJiffiesPerSecond;
  uint32_t hits = 0;
  for (const uint64_t time : entry.times) {
    if (recent.seconds != 0 && now > time + span) continue;
    if (recent.hit_count == 0 || ++hits >= recent.hit_count) return true;
  }
  return false;
}

/// --reap: the least recently seen address goes when its last time is too long
/// ago.
void Reap(RecentList* list, EntryIt working, bool will_update, uint64_t now,
          uint64_t span) {
  const EntryIt oldest = list->entries.begin();
  if (oldest == working && will_update) return;
  const uint64_t last =
      oldest->times[(oldest->next - 1) % oldest->times.size()];
  if (now > last + span) list->entries.erase(oldest);
}

}  // namespace

bool Holds(const RecentMatch& recent, const Question& question) {
  const PacketState& packet = question.packet;
  RecentList& list = question.shared.recent.at(recent.name);
  const Address address = Masked(
      recent.destination ? DestinationOf(packet) : SourceOf(packet), list.mask);
  const uint8_t ttl = ArrivedTtl(packet);
  const uint64_t now = JiffiesOf(packet);
  const EntryIt entry = FindEntry(&list, address, recent.same_ttl ? ttl : 0);

  if (entry == list.entries.end()) {
    if (recent.command != RecentCommand::kSet) return recent.inverted;
    if (list.entries.size() >= kAddressesMax) list.entries.pop_front();
    RecentEntry made;
    made.address = address;
    made.ttl = ttl;
    made.times = {now};
    made.next = 1;
    list.entries.push_back(std::move(made));
    return !recent.inverted;
  }
  if (recent.command == RecentCommand::kRemove) {
    list.entries.erase(entry);
    return !recent.inverted;
  }
  if (recent.command == RecentCommand::kSet) {
    See(&list, entry, now);
    entry->ttl = ttl;
    return !recent.inverted;
  }

  const bool enough = SeenEnough(recent, *entry, now);
  // At a clock that stands still all times are recent.
  const bool certain =
      SeenEnough(recent, *entry, 0) == enough &&
      SeenEnough(recent, *entry, now + kDoubtJiffies) == enough;
  if (!certain) entry->uncertain = true;
  const bool answer = enough != recent.inverted;
  const bool reliable = !entry->uncertain;
  const bool update = recent.command == RecentCommand::kUpdate && answer;
  if (recent.reap) {
    Reap(&list, entry, update, now, recent.seconds * kJiffiesPerSecond);
  }
  if (update) {
    See(&list, entry, now);
    entry->ttl = ttl;
  }
  return question.Answer(answer, reliable, "recent --seconds");
}

bool Holds(const HashlimitMatch& limit, const Question& question) {
  HashlimitTable& table = question.shared.hashlimit.at(limit.name);
  const auto key = HashlimitKeyOf(table.config, question.packet);
  if (!key) return question.Malformed();
  const auto answer =
      TakeFromHashlimit(limit, *key, question.packet.bytes.size(),
                        JiffiesOf(question.packet), &table);
  if (!answer) return question.Malformed();  // the table is full
  return question.Answer(answer->within != limit.inverted, answer->certain,
                         "hashlimit");
}

bool Holds(const ConnbytesMatch& connbytes, const Question& question) {
  const Connection* connection = question.packet.connection;
  if (connection == nullptr) return false;
  Counters counted;
  const auto add = [&counted](const Counters& counters) {
    counted.packets += counters.packets;
    counted.bytes += counters.bytes;
  };
  if (connbytes.direction != ConnbytesDirection::kReply) {
    add(connection->direction[0]);
  }
  if (connbytes.direction != ConnbytesDirection::kOriginal) {
    add(connection->direction[1]);
  }
  uint64_t value = 0;
  switch (connbytes.what) {
    case ConnbytesWhat::kPackets:
      value = counted.packets;
      break;
    case ConnbytesWhat::kBytes:
      value = counted.bytes;
      break;
    case ConnbytesWhat::kAverage:
      if (counted.packets != 0) value = counted.bytes / counted.packets;
      break;
  }
  return (value >= connbytes.first && value <= connbytes.last) !=
         connbytes.inverted;
}

bool Holds(const ConnlimitMatch& connlimit, const Question& question) {
  const PacketState& packet = question.packet;
  const Address address =
      Masked(connlimit.destination ? DestinationOf(packet) : SourceOf(packet),
             connlimit.mask);
  const auto count = question.memory.connections.Count(address, packet);
  if (!count) return question.Malformed();
  return question.Answer(count->IsOver(connlimit.limit) != connlimit.inverted,
                         count->IsCertain(connlimit.limit), "connlimit");
}

bool Holds(const QuotaMatch& quota, const Question& question) {
  const uint64_t bytes = question.packet.bytes.size();
  const bool within = question.memory.quota_bytes >= bytes;
  question.memory.quota_bytes =
      within ? question.memory.quota_bytes - bytes : 0;
  return within != quota.inverted;
}

namespace {

constexpr int64_t kSecondsPerDay = 24 * 60 * 60;

/// Day of the month of a day since 1970-01-01, by the proleptic Gregorian
/// calendar (H. Hinnant's days-to-civil).
uint32_t MonthDay(int64_t days) {
  const int64_t shifted = days + 719468;
  const int64_t era = shifted / 146097;
  const int64_t day_of_era = shifted - era * 146097;
  const int64_t year_of_era = (day_of_era - day_of_era / 1460 +
                               day_of_era / 36524 - day_of_era / 146096) /
                              365;
  const int64_t day_of_year =
      day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
  const int64_t month = (5 * day_of_year + 2) / 153;
  return static_cast<uint32_t>(day_of_year - (153 * month + 2) / 5 + 1);
}

bool TimeHolds(const TimeMatch& time, int64_t now_s) {
  if (now_s < time.date_first_s || now_s > time.date_last_s) return false;
  const auto second = static_cast<uint32_t>(now_s % kSecondsPerDay);
  if (time.day_first_s < time.day_last_s) {
    if (second < time.day_first_s || second > time.day_last_s) return false;
  } else {
    if (second < time.day_first_s && second > time.day_last_s) return false;
    if (time.contiguous && second <= time.day_last_s) now_s -= kSecondsPerDay;
  }
  const int64_t days = now_s / kSecondsPerDay;
  // 1970-01-01 was a Thursday: Monday is 1, Sunday 7.
  const auto week_day = static_cast<uint32_t>((days + 3) % 7 + 1);
  if ((time.week_days >> week_day & 1) == 0) return false;
  return (time.month_days >> MonthDay(days) & 1) != 0;
}

}  // namespace

bool Holds(const TimeMatch& time, const Question& question) {
  const bool always = time == TimeMatch{.local_time = time.local_time,
                                        .contiguous = time.contiguous};
  const auto now_s = static_cast<int64_t>(question.packet.now_ms / 1000);
  return question.Answer(always || TimeHolds(time, now_s), always, "time");
}

}  // namespace nfarena::reference
