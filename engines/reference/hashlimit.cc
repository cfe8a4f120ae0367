#include "engines/reference/hashlimit.h"

#include <netinet/in.h>

#include <algorithm>

#include "engines/reference/question.h"
#include "engines/reference/view.h"

namespace nfarena::reference {
namespace {

// Credits a jiffy: the largest powers of two for which a day (bytes: a second)
// of them fits 64 (revision 1 and bytes: 32) bits.
constexpr uint64_t kCredits = uint64_t{1} << 39;
constexpr uint64_t kCredits1 = 128;
constexpr uint64_t kByteCredits = uint64_t{1} << 24;
constexpr uint64_t kByteCapacity = kByteCredits * kJiffiesPerSecond;
static_assert(kCredits <= ~uint64_t{0} / (kJiffiesPerSecond * 86400) &&
              kCredits > ~uint64_t{0} / (kJiffiesPerSecond * 86400) / 2);
static_assert(kByteCredits <= 0xffffffff / kJiffiesPerSecond &&
              kByteCredits > 0xffffffff / kJiffiesPerSecond / 2);

constexpr uint64_t kScale = 1000000;     // XT_HASHLIMIT_SCALE_v2
constexpr uint64_t kScale1 = 10000;      // revision 1
constexpr uint32_t kDefaultSize = 8192;  // on a host of over 1 GiB

bool IsRevision1(const HashlimitMatch& limit) { return limit.scale == kScale1; }

uint64_t CreditsPerJiffy(const HashlimitMatch& limit) {
  return IsRevision1(limit) ? kCredits1 : kCredits;
}

/// user2credits(), wrapping where the kernel's 64 bits wrap.
uint64_t ToCredits(const HashlimitMatch& limit, uint64_t user) {
  const uint64_t per_second = kJiffiesPerSecond * CreditsPerJiffy(limit);
  const uint64_t scale = IsRevision1(limit) ? kScale1 : kScale;
  if (scale >= per_second) return user / (scale / per_second);
  return user * (per_second / scale);
}

/// user2credits_byte()
uint64_t ToByteCredits(uint64_t user) {
  return (user & 0xffffffff) * kByteCapacity >> 32;
}

/// A packet's cost in units of 16 bytes.
uint64_t Chunks(uint64_t bytes) { return (bytes >> 4) + 1; }

/// What a window holds: packets or bytes an interval.
uint64_t WindowRate(const HashlimitMatch& limit) {
  if (!limit.bytes) return limit.average == 0 ? 0 : kScale / limit.average;
  const auto user = static_cast<uint32_t>(limit.average);
  const uint64_t reciprocal = user == 0 ? 0xffffffff : 0xffffffffu / user;
  return (reciprocal - 1) << 4;
}

uint64_t WindowBurst(const HashlimitMatch& limit) {
  const uint64_t rate = WindowRate(limit);
  if (!limit.bytes) return limit.burst + rate;
  return limit.burst == 0 ? rate : limit.burst * rate;
}

HashlimitBucket FullBucket(const HashlimitMatch& config, uint64_t now) {
  HashlimitBucket bucket;
  bucket.changed_jiffy = now;
  if (config.rate_match) return bucket;
  if (config.bytes) {
    bucket.credit = kByteCapacity;
    bucket.cost = ToByteCredits(config.average);
    bucket.capacity = config.burst;  // how often it is filled up at once
  } else {
    bucket.credit = ToCredits(config, config.average * config.burst);
    bucket.cost = ToCredits(config, config.average);
    bucket.capacity = bucket.credit;
  }
  return bucket;
}

/// rateinfo_recalc(): what time has given since.
void Refill(const HashlimitMatch& config, uint64_t now,
            HashlimitBucket* bucket) {
  if (now <= bucket->changed_jiffy) return;
  const uint64_t elapsed = now - bucket->changed_jiffy;
  if (config.rate_match) {
    const uint64_t interval = config.interval_s * kJiffiesPerSecond;
    if (elapsed < interval) return;
    bucket->changed_jiffy = now;
    bucket->over = bucket->current * interval > elapsed * WindowRate(config);
    bucket->current = 0;
    return;
  }
  bucket->changed_jiffy = now;
  const uint64_t capacity = config.bytes ? kByteCapacity : bucket->capacity;
  const uint64_t per_jiffy =
      config.bytes ? kByteCredits : CreditsPerJiffy(config);
  // As much time as fills any bucket is enough; more would overflow.
  const uint64_t enough = capacity / per_jiffy + 1;
  bucket->credit = std::min(
      bucket->credit + std::min(elapsed, enough) * per_jiffy, capacity);
}

/// Takes a packet's cost out, if it is there.
bool Take(const HashlimitMatch& limit, const HashlimitMatch& config,
          uint64_t bytes, HashlimitBucket* bucket) {
  if (limit.rate_match) {
    bucket->current += limit.bytes ? bytes : 1;
    return !bucket->over && bucket->current <= WindowBurst(config);
  }
  uint64_t cost = bucket->cost;
  if (limit.bytes) {
    cost = std::min(Chunks(bytes) * bucket->cost, kByteCapacity);
    if (bucket->credit < cost && bucket->capacity != 0) {
      --bucket->capacity;
      bucket->credit = kByteCapacity;
    }
  }
  if (bucket->credit < cost) return false;
  bucket->credit -= cost;
  return true;
}

/// proto_ports_offset(): where the 4 bytes of "ports" are, if there are any.
std::optional<size_t> PortsOffset(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_DCCP:
    case IPPROTO_ESP:  // its index
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE:
      return 0;
    case IPPROTO_AH:  // its index
      return 4;
    default:
      return std::nullopt;
  }
}

Address Prefix(Address address, size_t bits) {
  for (size_t i = 0; i < address.size(); ++i) {
    const size_t before = i * 8;
    const size_t kept = bits > before ? std::min<size_t>(bits - before, 8) : 0;
    address[i] = static_cast<uint8_t>(address[i] & (0xff00 >> kept));
  }
  return address;
}

}  // namespace

bool HashlimitOverflows(const HashlimitMatch& limit) {
  if (limit.rate_match) return false;
  if (limit.bytes) return ToByteCredits(limit.average) == 0;
  return limit.burst == 0 || ToCredits(limit, limit.average * limit.burst) <
                                 ToCredits(limit, limit.average);
}

std::optional<HashlimitKey> HashlimitKeyOf(const HashlimitMatch& config,
                                           const PacketState& packet) {
  HashlimitKey key;
  if (config.by_source)
    key.source = Prefix(SourceOf(packet), config.source_bits);
  if (config.by_destination) {
    key.destination = Prefix(DestinationOf(packet), config.destination_bits);
  }
  if (!config.by_source_port && !config.by_destination_port) return key;
  if (!IsIpv4(packet)) {
    if (!packet.headers.transport_ok ||
        packet.headers.protocol == IPPROTO_NONE) {
      return std::nullopt;
    }
    // Of a later fragment the kernel knows no protocol (IPv4: its data).
    if (packet.headers.fragment_offset != 0) return key;
  }
  const auto offset = PortsOffset(packet.headers.protocol);
  if (!offset) return key;
  const auto ports = BytesAt(packet, packet.headers.transport + *offset, 4);
  if (!ports) return std::nullopt;
  if (config.by_source_port) key.source_port = LoadBe16(ports->data());
  if (config.by_destination_port) {
    key.destination_port = LoadBe16(ports->data() + 2);
  }
  return key;
}

std::optional<HashlimitAnswer> TakeFromHashlimit(const HashlimitMatch& limit,
                                                 const HashlimitKey& key,
                                                 uint64_t packet_bytes,
                                                 uint64_t now_jiffies,
                                                 HashlimitTable* table) {
  const HashlimitMatch& config = table->config;
  auto it = table->entries.find(key);
  if (it == table->entries.end()) {
    const uint32_t size = config.size == 0 ? kDefaultSize : config.size;
    const uint32_t most =
        config.max_entries == 0 ? 8 * size : std::max(config.max_entries, size);
    if (table->entries.size() >= most) return std::nullopt;
    it = table->entries.emplace(key, HashlimitEntry{}).first;
    it->second.by_clock = FullBucket(config, now_jiffies);
    it->second.without_clock = FullBucket(config, 0);
    it->second.used_jiffy = now_jiffies;
  }
  HashlimitEntry& entry = it->second;
  // A bucket nobody has used for a while is thrown away, sooner or later.
  const uint64_t expire =
      config.expire_ms / (1000 / kJiffiesPerSecond) + entry.used_jiffy;
  if (now_jiffies > expire) entry.by_clock = FullBucket(config, now_jiffies);
  HashlimitBucket ahead = now_jiffies + kDoubtJiffies > expire
                              ? FullBucket(config, now_jiffies)
                              : entry.by_clock;
  entry.used_jiffy = now_jiffies;

  Refill(config, now_jiffies, &entry.by_clock);
  Refill(config, now_jiffies + kDoubtJiffies, &ahead);
  HashlimitAnswer answer;
  answer.within = Take(limit, config, packet_bytes, &entry.by_clock);
  const bool without_clock =
      Take(limit, config, packet_bytes, &entry.without_clock);
  const bool later = Take(limit, config, packet_bytes, &ahead);
  if (without_clock != answer.within || later != answer.within) {
    entry.uncertain = true;
  }
  answer.certain = !entry.uncertain;
  return answer;
}

}  // namespace nfarena::reference
