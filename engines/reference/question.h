// What a condition is asked about, and the conditions that stand in files of
// their own.
#pragma once

#include <cstdint>
#include <string_view>

#include "compat/meaning/match.h"
#include "engines/core/packet_state.h"
#include "engines/reference/program.h"
#include "engines/reference/shared_memory.h"

namespace nfarena::reference {

struct Question {
  PacketState& packet;
  Memory& memory;        // of this match of this rule
  SharedMemory& shared;  // by name

  /// The packet ends inside a header that is asked about: it is dropped.
  bool Malformed() const {
    packet.hotdrop = true;
    return false;
  }
  /// `answer`, said to depend on the clock unless `certain`.
  bool Answer(bool answer, bool certain, std::string_view construct) const {
    if (!certain) packet.MarkIndeterminate(construct);
    return answer;
  }
};

/// The kernel's jiffies of 1/250 s.
inline constexpr uint64_t kJiffiesPerSecond = 250;
inline uint64_t JiffiesOf(const PacketState& packet) {
  return packet.now_ms / (1000 / kJiffiesPerSecond);
}
/// How far a kernel's clock may be ahead of the packets' virtual time before
/// an answer counts as certain.
inline constexpr uint64_t kDoubtJiffies = 2 * kJiffiesPerSecond;

// condition_stateful.cc
bool Holds(const RecentMatch& recent, const Question& question);
bool Holds(const HashlimitMatch& limit, const Question& question);
bool Holds(const ConnbytesMatch& connbytes, const Question& question);
bool Holds(const ConnlimitMatch& connlimit, const Question& question);
bool Holds(const QuotaMatch& quota, const Question& question);
bool Holds(const TimeMatch& time, const Question& question);

// condition_set.cc
bool Holds(const SetMatch& set, const Question& question);

// condition_headers.cc
bool Holds(const EcnMatch& ecn, const Question& question);
bool Holds(const EspMatch& esp, const Question& question);
bool Holds(const AhMatch& ah, const Question& question);
bool Holds(const SctpMatch& sctp, const Question& question);
bool Holds(const DccpMatch& dccp, const Question& question);
bool Holds(const TcpmssMatch& tcpmss, const Question& question);
bool Holds(const StringMatch& string, const Question& question);
bool Holds(const U32Match& u32, const Question& question);
bool Holds(const FragMatch& frag, const Question& question);
bool Holds(const RtMatch& rt, const Question& question);
bool Holds(const OptionsMatch& options, const Question& question);
bool Holds(const Ipv6headerMatch& ipv6header, const Question& question);

// condition_host.cc
bool Holds(const HelperMatch& helper, const Question& question);
bool Holds(const RpfilterMatch& rpfilter, const Question& question);
bool Holds(const PolicyMatch& policy, const Question& question);
bool Holds(const PhysdevMatch& physdev, const Question& question);
bool Holds(const CpuMatch& cpu, const Question& question);
bool Holds(const RealmMatch& realm, const Question& question);
bool Holds(const SocketMatch& socket, const Question& question);
bool Holds(const DevgroupMatch& devgroup, const Question& question);

}  // namespace nfarena::reference
