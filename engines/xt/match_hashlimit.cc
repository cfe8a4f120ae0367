// hashlimit (revisions 1 to 3): a rate for each address, port or both.
//
// The table of rates belongs to the network namespace and has a name; the
// first rule that names it says how it is kept, for all of them.  It is kept
// while a program has a rule of that name.
//
// A kernel engine runs by another clock than the packets.  So each entry is
// also kept as if time stood still, and asked what two more seconds would
// change; once the three differ, its answers are marked indeterminate.
// Source: net/netfilter/xt_hashlimit.c.
#include <algorithm>
#include <cerrno>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>

#include "engines/xt/access.h"
#include "engines/xt/check.h"
#include "engines/xt/matches.h"
#include "engines/xt/uapi.h"

namespace nfarena::xt {
namespace {

constexpr uint64_t kHz = 250;
constexpr uint64_t kMsPerJiffy = 1000 / kHz;
constexpr uint64_t kClockDoubtJiffies = 2 * kHz;

/// CREDITS_PER_JIFFY and its two brothers: a day of them, or of bytes a
/// second, fits the integers.
constexpr uint64_t kCreditsPerJiffy = uint64_t{1} << 39;
constexpr uint64_t kCreditsPerJiffy1 = 128;
constexpr uint64_t kCreditsPerJiffyBytes = uint64_t{1} << 24;
static_assert(kCreditsPerJiffy <= UINT64_MAX / (kHz * 86400) &&
              kCreditsPerJiffy > UINT64_MAX / (kHz * 86400) / 2);
static_assert(kCreditsPerJiffyBytes <= UINT32_MAX / kHz &&
              kCreditsPerJiffyBytes > UINT32_MAX / kHz / 2);
constexpr uint64_t kBytesCap = kCreditsPerJiffyBytes * kHz;

constexpr uint32_t kSizeMax = 1048576;   // HASHLIMIT_MAX_SIZE
constexpr uint32_t kSizeDefault = 8192;  // on a host of over 1 GiB
constexpr uint32_t kModes = XT_HASHLIMIT_HASH_DIP | XT_HASHLIMIT_HASH_DPT |
                            XT_HASHLIMIT_HASH_SIP | XT_HASHLIMIT_HASH_SPT |
                            XT_HASHLIMIT_INVERT | XT_HASHLIMIT_BYTES |
                            XT_HASHLIMIT_RATE_MATCH;

using Config = hashlimit_cfg3;

template <typename Info>
Config ConfigOf(const uint8_t* payload) {
  const auto from = LOAD_FIELD(payload, Info, cfg);
  Config config{};
  config.mode = from.mode;
  config.avg = from.avg;
  config.burst = from.burst;
  config.size = std::min(from.size, kSizeMax);
  config.max = std::min(from.max, kSizeMax);
  config.gc_interval = from.gc_interval;
  config.expire = from.expire;
  config.srcmask = from.srcmask;
  config.dstmask = from.dstmask;
  if constexpr (std::is_same_v<Info, xt_hashlimit_mtinfo3>) {
    config.interval = from.interval;
  }
  return config;
}

template <typename Info>
std::string_view NameOf(const uint8_t* payload) {
  const auto* name =
      reinterpret_cast<const char*>(payload + offsetof(Info, name));
  return {name, strnlen(name, sizeof(Info::name))};
}

/// user2credits()
uint64_t ToCredits(uint64_t user, int revision) {
  const uint64_t scale =
      revision == 1 ? XT_HASHLIMIT_SCALE : XT_HASHLIMIT_SCALE_v2;
  const uint64_t second =
      kHz * (revision == 1 ? kCreditsPerJiffy1 : kCreditsPerJiffy);
  if (scale >= second) return user / (scale / second);
  return user * (second / scale);
}

/// user2credits_byte()
uint32_t ToByteCredits(uint64_t user) {
  return static_cast<uint32_t>(static_cast<uint32_t>(user) * kBytesCap >> 32);
}

/// user2rate(), user2rate_bytes()
uint64_t ToRate(const Config& config) {
  if (!(config.mode & XT_HASHLIMIT_BYTES)) {
    return config.avg == 0 ? 0 : XT_HASHLIMIT_SCALE_v2 / config.avg;
  }
  const auto user = static_cast<uint32_t>(config.avg);
  const uint64_t rate = user == 0 ? UINT32_MAX : UINT32_MAX / user;
  return (rate - 1) << XT_HASHLIMIT_BYTE_SHIFT;
}

/// struct rateinfo
struct Rate {
  uint64_t previous = 0;  // jiffies
  uint64_t credit = 0, credit_cap = 0, cost = 0;
  // XT_HASHLIMIT_RATE_MATCH
  uint64_t current = 0, rate = 0, burst = 0;
  bool over_in_window_before = false;
};

/// rateinfo_init()
Rate NewRate(const Config& config, int revision, uint64_t now) {
  Rate rate;
  rate.previous = now;
  if (config.mode & XT_HASHLIMIT_RATE_MATCH) {
    rate.rate = ToRate(config);
    if (!(config.mode & XT_HASHLIMIT_BYTES)) {
      rate.burst = config.burst + rate.rate;
    } else {
      rate.burst = config.burst != 0 ? config.burst * rate.rate : rate.rate;
    }
  } else if (config.mode & XT_HASHLIMIT_BYTES) {
    rate.credit = kBytesCap;
    rate.cost = ToByteCredits(config.avg);
    rate.credit_cap = config.burst;
  } else {
    rate.credit = ToCredits(config.avg * config.burst, revision);
    rate.cost = ToCredits(config.avg, revision);
    rate.credit_cap = rate.credit;
  }
  return rate;
}

/// rateinfo_recalc()
void Recalculate(const Config& config, int revision, uint64_t now, Rate* rate) {
  if (now <= rate->previous) return;
  const uint64_t delta = now - rate->previous;
  if (config.mode & XT_HASHLIMIT_RATE_MATCH) {
    const uint64_t interval = config.interval * kHz;
    if (delta < interval) return;
    rate->previous = now;
    rate->over_in_window_before = rate->current * interval > delta * rate->rate;
    rate->current = 0;
    return;
  }
  rate->previous = now;
  uint64_t each = revision == 1 ? kCreditsPerJiffy1 : kCreditsPerJiffy;
  uint64_t cap = rate->credit_cap;
  if (config.mode & XT_HASHLIMIT_BYTES) {
    each = kCreditsPerJiffyBytes;
    cap = kBytesCap;
  }
  // Time that fills it anyway must not overflow.
  if (delta > cap / each) {
    rate->credit = cap;
  } else {
    rate->credit = std::min(rate->credit + delta * each, cap);
  }
}

/// The second half of hashlimit_mt_common(): whether it is under the limit.
bool Take(const Config& rule, uint64_t bytes, Rate* rate) {
  if (rule.mode & XT_HASHLIMIT_RATE_MATCH) {
    rate->current += rule.mode & XT_HASHLIMIT_BYTES ? bytes : 1;
    return !rate->over_in_window_before && rate->current <= rate->burst;
  }
  uint64_t cost = rate->cost;
  if (rule.mode & XT_HASHLIMIT_BYTES) {
    cost *= (bytes >> XT_HASHLIMIT_BYTE_SHIFT) + 1;
    cost = std::min(cost, kBytesCap);
    if (rate->credit < cost && rate->credit_cap != 0) {
      --rate->credit_cap;
      rate->credit = kBytesCap;
    }
  }
  if (rate->credit < cost) return false;
  rate->credit -= cost;
  return true;
}

struct Key {
  Address source{}, destination{};
  uint16_t source_port = 0, destination_port = 0;
  bool operator==(const Key&) const = default;
};

struct KeyHash {
  size_t operator()(const Key& key) const {
    static_assert(std::has_unique_object_representations_v<Key>);
    return std::hash<std::string_view>{}(
        {reinterpret_cast<const char*>(&key), sizeof(key)});
  }
};

struct Entry {
  Rate rate;             // by the packets' time
  Rate without_time;     // no time passes
  uint64_t expires = 0;  // jiffies
  bool uncertain = false;
};

struct Table {
  Config config;
  std::unordered_map<Key, Entry, KeyHash> entries;
};

/// maskl(), hashlimit_ipv6_mask()
Address Masked(const uint8_t* bytes, size_t size, unsigned bits) {
  Address address{};
  for (size_t i = 0; i < size && i * 8 < bits; ++i) {
    const unsigned kept =
        std::min<unsigned>(bits - static_cast<unsigned>(i) * 8, 8);
    address[i] = static_cast<uint8_t>(bytes[i] & (0xff00 >> kept));
  }
  return address;
}

/// proto_ports_offset()
std::optional<size_t> PortsOffset(uint8_t protocol) {
  switch (protocol) {
    case IPPROTO_TCP:
    case IPPROTO_UDP:
    case IPPROTO_DCCP:
    case IPPROTO_ESP:
    case IPPROTO_SCTP:
    case IPPROTO_UDPLITE:
      return 0;
    case IPPROTO_AH:
      return 4;
    default:
      return std::nullopt;
  }
}

/// hashlimit_init_dst(): nothing when the packet ends before its ports.
std::optional<Key> KeyOf(const Config& config, const PacketState& packet) {
  Key key;
  const size_t size = AddressBytes(packet);
  if (config.mode & XT_HASHLIMIT_HASH_DIP) {
    key.destination = Masked(DestinationBytes(packet), size, config.dstmask);
  }
  if (config.mode & XT_HASHLIMIT_HASH_SIP) {
    key.source = Masked(SourceBytes(packet), size, config.srcmask);
  }
  if (!(config.mode & (XT_HASHLIMIT_HASH_DPT | XT_HASHLIMIT_HASH_SPT))) {
    return key;
  }
  if (!IsIpv4(packet)) {
    if (!packet.headers.transport_ok ||
        packet.headers.protocol == IPPROTO_NONE) {
      return std::nullopt;
    }
    // ipv6_skip_exthdr() stops at the header of a later fragment.
    if (packet.headers.fragment_offset != 0) return key;
  }
  const auto offset = PortsOffset(packet.headers.protocol);
  if (!offset) return key;
  const uint8_t* ports =
      HeaderAt(packet, packet.headers.transport + *offset, 4);
  if (ports == nullptr) return std::nullopt;
  if (config.mode & XT_HASHLIMIT_HASH_SPT) key.source_port = LoadBe16(ports);
  if (config.mode & XT_HASHLIMIT_HASH_DPT) {
    key.destination_port = LoadBe16(ports + 2);
  }
  return key;
}

/// dsthash_alloc_init(): nullptr when the table is full.
Entry* AddEntry(const Key& key, int revision, uint64_t now, Table* table) {
  const Config& config = table->config;
  const uint32_t size = config.size == 0 ? kSizeDefault : config.size;
  const uint32_t most = config.max == 0 ? 8 * size : std::max(config.max, size);
  if (table->entries.size() >= most) {
    std::erase_if(table->entries, [now](const auto& entry) {
      return now > entry.second.expires;
    });
  }
  if (table->entries.size() >= most) return nullptr;
  Entry& entry = table->entries[key];
  entry.rate = NewRate(config, revision, now);
  entry.without_time = NewRate(config, revision, 0);
  return &entry;
}

bool MatchCommon(const Config& rule, std::string_view name, int revision,
                 const XtContext& context) {
  PacketState& packet = *context.packet;
  const std::lock_guard lock(context.net->mutex);
  Table& table = *context.net->named.Find<Table>(NamedKind::kHashlimit, name);
  const Config& config = table.config;
  const auto key = KeyOf(config, packet);
  if (!key) return Hotdrop(context);

  const uint64_t now = packet.now_ms / kMsPerJiffy;
  const uint64_t later = now + kClockDoubtJiffies;
  const auto found = table.entries.find(*key);
  Entry* entry = found == table.entries.end() ? nullptr : &found->second;
  if (entry == nullptr) {
    entry = AddEntry(*key, revision, now, &table);
    if (entry == nullptr) return Hotdrop(context);
    entry->expires = now;
  }
  // What the garbage collector takes away comes back full.
  Rate ahead = entry->rate;
  if (now > entry->expires) entry->rate = NewRate(config, revision, now);
  if (later > entry->expires) ahead = NewRate(config, revision, now);
  entry->expires = now + config.expire / kMsPerJiffy;

  Recalculate(config, revision, now, &entry->rate);
  Recalculate(config, revision, later, &ahead);
  const uint64_t bytes = packet.bytes.size();
  const bool under = Take(rule, bytes, &entry->rate);
  const bool under_without_time = Take(rule, bytes, &entry->without_time);
  const bool under_later = Take(rule, bytes, &ahead);
  if (under != under_without_time || under != under_later) {
    entry->uncertain = true;
  }
  if (entry->uncertain) packet.MarkIndeterminate("hashlimit");
  return under != static_cast<bool>(rule.mode & XT_HASHLIMIT_INVERT);
}

/// xt_check_proc_name()
Status CheckName(std::string_view name, size_t room) {
  if (name.size() == room) return Refuse(ENAMETOOLONG, "name without an end");
  if (name.empty() || name == "." || name == ".." ||
      name.find('/') != std::string_view::npos) {
    return Refuse(EINVAL, "bad name");
  }
  return {};
}

Status CheckRate(const Config& config, int revision) {
  if (config.mode & XT_HASHLIMIT_RATE_MATCH) {
    if (revision < 3) return Refuse(EINVAL, "rate match needs revision 3");
    if (config.avg == 0 || config.avg > UINT32_MAX) {
      return Refuse(ERANGE, "invalid rate");
    }
    if (config.interval == 0) return Refuse(EINVAL, "invalid interval");
  } else if (config.mode & XT_HASHLIMIT_BYTES) {
    if (ToByteCredits(config.avg) == 0) {
      return Refuse(EINVAL, "overflow, rate too high");
    }
  } else if (config.burst == 0 ||
             ToCredits(config.avg * config.burst, revision) <
                 ToCredits(config.avg, revision)) {
    return Refuse(ERANGE, "rate and burst overflow, try lower");
  }
  return {};
}

template <typename Info>
Status CheckCommon(const uint8_t* payload, int revision, const XtUse& use) {
  const std::string_view name = NameOf<Info>(payload);
  if (Status status = CheckName(name, sizeof(Info::name)); !status) {
    return status;
  }
  const Config config = ConfigOf<Info>(payload);
  const unsigned bits = use.family == Family::kIpv4 ? 32 : 128;
  if (config.gc_interval == 0 || config.expire == 0 || config.srcmask > bits ||
      config.dstmask > bits || (config.mode & ~kModes) != 0) {
    return Refuse(EINVAL, "bad times, masks or modes");
  }
  if (Status status = CheckRate(config, revision); !status) return status;
  if (use.net == nullptr) {
    return Refuse(ENOENT, "there is no place for its table here");
  }
  const std::lock_guard lock(use.net->mutex);
  const Table* table = use.net->named.Hold<Table>(
      NamedKind::kHashlimit, name,
      [&config] {
        return std::make_unique<Table>(Table{config, {}});
      },
      use.holds);
  if (((table->config.mode ^ config.mode) & XT_HASHLIMIT_RATE_MATCH) != 0) {
    return Refuse(EINVAL, "another rule keeps the table as a bucket or a rate");
  }
  return {};
}

}  // namespace

bool MatchHashlimit1(const uint8_t* payload, const XtContext& context) {
  using Info = xt_hashlimit_mtinfo1;
  return MatchCommon(ConfigOf<Info>(payload), NameOf<Info>(payload), 1,
                     context);
}

bool MatchHashlimit2(const uint8_t* payload, const XtContext& context) {
  using Info = xt_hashlimit_mtinfo2;
  return MatchCommon(ConfigOf<Info>(payload), NameOf<Info>(payload), 2,
                     context);
}

bool MatchHashlimit3(const uint8_t* payload, const XtContext& context) {
  using Info = xt_hashlimit_mtinfo3;
  return MatchCommon(ConfigOf<Info>(payload), NameOf<Info>(payload), 3,
                     context);
}

Status CheckHashlimit1(std::span<const uint8_t> payload, const XtUse& use) {
  return CheckCommon<xt_hashlimit_mtinfo1>(payload.data(), 1, use);
}

Status CheckHashlimit2(std::span<const uint8_t> payload, const XtUse& use) {
  return CheckCommon<xt_hashlimit_mtinfo2>(payload.data(), 2, use);
}

Status CheckHashlimit3(std::span<const uint8_t> payload, const XtUse& use) {
  return CheckCommon<xt_hashlimit_mtinfo3>(payload.data(), 3, use);
}

}  // namespace nfarena::xt
