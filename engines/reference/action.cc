#include "engines/reference/action.h"

#include <netinet/in.h>

#include <algorithm>

#include "engines/core/checksum.h"
#include "engines/core/path.h"
#include "engines/core/rewrite.h"
#include "engines/core/tracker.h"
#include "engines/reference/mss.h"
#include "engines/reference/reject.h"
#include "engines/reference/view.h"

namespace nfarena::reference {
namespace {

// The two headers number the flags alike.
static_assert(uint32_t{kNatToAddresses} == uint32_t{kNatMapIps});
static_assert(uint32_t{kNatToPorts} == uint32_t{kNatProtoSpecified});
static_assert(uint32_t{kNatToRandom} == uint32_t{kNatProtoRandom});
static_assert(uint32_t{kNatToPersistent} == uint32_t{kNatPersistent});
static_assert(uint32_t{kNatToRandomFully} == uint32_t{kNatProtoRandomFully});
static_assert(uint32_t{kNatToPortOffset} == uint32_t{kNatProtoOffset});
static_assert(uint32_t{kNatToNetwork} == uint32_t{kNatNetmap});

NatRange ToRange(const NatParameters& to) {
  NatRange range;
  range.flags = to.flags;
  range.min = to.first;
  range.max = to.last;
  range.min_port = to.first_port;
  range.max_port = to.last_port;
  range.base_port = to.base_port;
  return range;
}

/// A range of one address; ports as `to` says.
NatRange ToOneAddress(const NatParameters& to, const Address& address) {
  NatRange range = ToRange(to);
  range.flags |= kNatMapIps;
  range.min = range.max = address;
  range.base_port = 0;
  return range;
}

IpSetQuery QueryOf(const SetSelection& set) {
  return {.set = set.index,
          .dimensions = set.dimensions,
          .source_parts = set.source_mask};
}

class Performance {
 public:
  Performance(SharedMemory* shared, PacketState* packet)
      : shared_(*shared), packet_(*packet) {}

  Effect operator()(const RejectTarget& reject) {
    if (const auto answer = AnswerOf(reject, packet_);
        answer && packet_.path != nullptr) {
      packet_.path->AddAnswer(*answer);
    }
    return {EffectKind::kDrop};
  }

  Effect operator()(const LogTarget& log) {
    LogRecord record;
    record.prefix = log.prefix;
    record.level = log.level;
    return Record(std::move(record));
  }

  Effect operator()(const NflogTarget& nflog) {
    LogRecord record;
    record.prefix = nflog.prefix;
    record.group = nflog.group;
    record.nflog = true;
    return Record(std::move(record));
  }

  Effect operator()(const NfqueueTarget& queue) {
    // Several queues share by a hash with a random seed, or by CPU; the first
    // stands for them.
    if (queue.count > 1) packet_.MarkIndeterminate("NFQUEUE --queue-balance");
    return {EffectKind::kQueue, queue.first};
  }

  Effect operator()(const MarkTarget& mark) {
    packet_.mark = (packet_.mark & ~mark.mask) ^ mark.value;
    return {};
  }

  Effect operator()(const ConnmarkTarget& connmark) {
    Connection* connection = packet_.connection;
    if (connection == nullptr) return {};
    const auto shift = [&](uint32_t value) {
      return connmark.shift_right ? value >> connmark.shift_bits
                                  : value << connmark.shift_bits;
    };
    switch (connmark.mode) {
      case ConnmarkMode::kSet:
        connection->mark = shift((connection->mark & ~connmark.connmark_mask) ^
                                 connmark.value);
        break;
      case ConnmarkMode::kSave:
        connection->mark = (connection->mark & ~connmark.connmark_mask) ^
                           shift(packet_.mark & connmark.mark_mask);
        break;
      case ConnmarkMode::kRestore:
        packet_.mark = (packet_.mark & ~connmark.mark_mask) ^
                       shift(connection->mark & connmark.connmark_mask);
        break;
    }
    return {};
  }

  Effect operator()(const SnatTarget& snat) {
    return Bind(ToRange(snat.to), NatManip::kSource);
  }

  Effect operator()(const DnatTarget& dnat) {
    return Bind(ToRange(dnat.to), NatManip::kDestination);
  }

  Effect operator()(const MasqueradeTarget& masquerade) {
    if (packet_.connection == nullptr) return {EffectKind::kAccept};
    return Bound(
        packet_.tracker->SetupMasquerade(&packet_, ToRange(masquerade.to)));
  }

  Effect operator()(const RedirectTarget& redirect) {
    if (packet_.connection == nullptr) return {EffectKind::kAccept};
    return Bound(
        packet_.tracker->SetupRedirect(&packet_, ToRange(redirect.to)));
  }

  Effect operator()(const NetmapTarget& netmap) {
    const bool destination =
        packet_.hook == Hook::kPrerouting || packet_.hook == Hook::kOutput;
    Address address = destination ? DestinationOf(packet_) : SourceOf(packet_);
    const size_t length = IsIpv4(packet_) ? 4 : 16;
    for (size_t i = 0; i < length; ++i) {
      // Bits in which first and last agree are the network's.
      const auto network =
          static_cast<uint8_t>(~(netmap.to.first[i] ^ netmap.to.last[i]));
      address[i] = static_cast<uint8_t>((address[i] & ~network) |
                                        (netmap.to.first[i] & network));
    }
    return Bind(ToOneAddress(netmap.to, address),
                destination ? NatManip::kDestination : NatManip::kSource);
  }

  Effect operator()(const CtTarget& ct) {
    if (ct.notrack) return Untrack();
    if (Seen()) return {};
    packet_.ct_template.set = true;
    packet_.ct_template.zone = ct.zone;
    packet_.ct_template.zone_from_mark = ct.zone_from_mark;
    // Both or none given: the zone holds for both directions.
    packet_.ct_template.zone_directions = ct.zone_original == ct.zone_reply ? 3
                                          : ct.zone_original                ? 1
                                                                            : 2;
    return {};
  }

  Effect operator()(const NotrackTarget&) { return Untrack(); }

  Effect operator()(const TraceTarget&) {
    packet_.traced = true;
    return {};
  }

  Effect operator()(const TcpmssTarget& tcpmss) {
    return {SetMss(tcpmss, &packet_) ? EffectKind::kContinue
                                     : EffectKind::kDrop};
  }

  Effect operator()(const DscpTarget& dscp) {
    constexpr uint8_t kEcnBits = 3;
    if (TosOf(packet_) >> 2 != dscp.value) {
      RewriteTos(&packet_, kEcnBits, static_cast<uint8_t>(dscp.value << 2));
    }
    return {};
  }

  Effect operator()(const TosTarget& tos) {
    const uint8_t old = TosOf(packet_);
    const auto changed = static_cast<uint8_t>((old & ~tos.mask) ^ tos.value);
    if (changed != old) RewriteTos(&packet_, 0, changed);
    return {};
  }

  Effect operator()(const TtlTarget& ttl) {
    const int old = TtlOf(packet_);
    int changed = old;
    switch (ttl.change) {
      case TtlChange::kSet:
        changed = ttl.value;
        break;
      case TtlChange::kIncrease:
        changed = std::min(old + ttl.value, 255);
        break;
      case TtlChange::kDecrease:
        changed = std::max(old - ttl.value, 0);
        break;
    }
    if (changed != old) RewriteTtl(&packet_, static_cast<uint8_t>(changed));
    return {};
  }

  Effect operator()(const ClassifyTarget& classify) {
    packet_.priority = classify.priority;
    return {};
  }

  Effect operator()(const ChecksumTarget&) {
    // Packets here are complete: nothing was left to the hardware.
    return {};
  }

  Effect operator()(const EcnTarget& ecn) {
    if (ecn.set_ip && (TosOf(packet_) & 3) != ecn.ip_ect) {
      SetIpByte(1, static_cast<uint8_t>((TosOf(packet_) & ~3) | ecn.ip_ect));
    }
    if ((!ecn.set_ece && !ecn.set_cwr) || packet_.bytes[9] != IPPROTO_TCP) {
      return {};
    }
    if (!Transport(packet_, 20)) return {EffectKind::kDrop};
    uint8_t* tcp = &packet_.bytes[packet_.headers.transport];
    uint8_t flags = tcp[13];
    if (ecn.set_ece) flags = SetBit(flags, 0x40, ecn.ece);
    if (ecn.set_cwr) flags = SetBit(flags, 0x80, ecn.cwr);
    if (flags != tcp[13]) {
      const uint16_t old = LoadRaw16(tcp + 12);
      tcp[13] = flags;
      AdjustTcpChecksum(tcp, old, LoadRaw16(tcp + 12));
    }
    return {};
  }

  Effect operator()(const TcpoptstripTarget& strip) {
    if (packet_.headers.fragment_offset != 0) return {};
    const auto header = Transport(packet_, 20);
    const size_t header_bytes = header ? size_t{4} * ((*header)[12] >> 4) : 0;
    if (header_bytes < 20 || !Transport(packet_, header_bytes)) {
      return {EffectKind::kDrop};
    }
    StripOptions(strip, header_bytes,
                 &packet_.bytes[packet_.headers.transport]);
    return {};
  }

  /// TEE is refused when the ruleset is loaded.
  Effect operator()(const TeeTarget&) { return {}; }

  Effect operator()(const AuditTarget&) { return {}; }

  Effect operator()(const SetTarget& set) {
    IpSets& sets = *shared_.sets;
    if (set.add) {
      IpSetQuery query = QueryOf(*set.add);
      query.renew = set.renew;
      query.timeout_s = set.timeout_s;
      sets.Add(query, &packet_);
    }
    if (set.remove) sets.Delete(QueryOf(*set.remove), &packet_);
    if (!set.map) return {};
    IpSetMapping mapping;
    const bool found = sets.Test(QueryOf(*set.map), &packet_, &mapping);
    if (found == set.map_inverted) return {};
    if (set.map_mark) {
      packet_.mark = (packet_.mark & ~mapping.mark_mask) ^ mapping.mark;
    }
    if (set.map_priority) packet_.priority = mapping.priority;
    return {};
  }

 private:
  Effect Record(LogRecord record) {
    if (packet_.outcome != nullptr) {
      packet_.outcome->logs.push_back(std::move(record));
    }
    return {};
  }

  static Effect Bound(bool bound) {
    return {bound ? EffectKind::kAccept : EffectKind::kDrop};
  }

  /// The nat table is asked about new connections only, so there is one; a
  /// packet placed there without is let pass.
  Effect Bind(const NatRange& range, NatManip manip) {
    if (packet_.connection == nullptr) return {EffectKind::kAccept};
    return Bound(packet_.tracker->SetupNat(&packet_, range, manip));
  }

  /// Tracking was decided before: by an earlier CT rule, or on the packet's
  /// first way through the hooks (loopback).
  bool Seen() const {
    return packet_.connection != nullptr || packet_.ct_template.set ||
           packet_.ct_info == CtInfo::kUntracked;
  }

  static uint8_t SetBit(uint8_t byte, uint8_t bit, bool on) {
    return static_cast<uint8_t>(on ? byte | bit : byte & ~bit);
  }

  /// Changes one byte of the IPv4 header, with its checksum.
  void SetIpByte(size_t at, uint8_t value) {
    uint8_t* word = &packet_.bytes[at & ~size_t{1}];
    const uint16_t old = LoadRaw16(word);
    packet_.bytes[at] = value;
    uint8_t* check = &packet_.bytes[10];
    StoreRaw16(check, ChecksumReplace2(LoadRaw16(check), old, LoadRaw16(word)));
  }

  static void AdjustTcpChecksum(uint8_t* tcp, uint16_t from, uint16_t to) {
    StoreRaw16(tcp + 16, ChecksumReplace4(LoadRaw16(tcp + 16), from, to));
  }

  /// Overwrites the options of the given kinds with padding.
  static void StripOptions(const TcpoptstripTarget& strip, size_t header_bytes,
                           uint8_t* tcp) {
    constexpr uint8_t kNop = 1;
    size_t at = 20;
    while (at + 1 < header_bytes) {
      const uint8_t kind = tcp[at];
      const size_t length = kind <= kNop || tcp[at + 1] == 0 ? 1 : tcp[at + 1];
      if (at + length > header_bytes) break;
      if ((strip.kinds[kind / 32] >> (kind % 32) & 1) != 0) {
        for (size_t i = at; i < at + length; ++i) {
          uint8_t* word = &tcp[i & ~size_t{1}];
          const uint16_t old = LoadRaw16(word);
          tcp[i] = kNop;
          AdjustTcpChecksum(tcp, old, LoadRaw16(word));
        }
      }
      at += length;
    }
  }

  Effect Untrack() {
    if (!Seen()) packet_.ct_info = CtInfo::kUntracked;
    return {};
  }

  SharedMemory& shared_;
  PacketState& packet_;
};

}  // namespace

Effect Perform(const Action& action, SharedMemory* shared,
               PacketState* packet) {
  return std::visit(Performance(shared, packet), action);
}

}  // namespace nfarena::reference
