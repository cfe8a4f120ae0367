// A packet in front of one rule, for the tests of this directory.
//
// Rules are written in iptables' words and packets field by field, so that a
// test line says what the rule says and what the packet holds.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/testing/addresses.h"
#include "engines/core/packet_state.h"
#include "engines/core/tracker.h"
#include "engines/reference/evaluator.h"

namespace nfarena::reference::testing {

inline constexpr uint8_t kFin = 0x01, kSyn = 0x02, kRst = 0x04, kPsh = 0x08,
                         kAck = 0x10, kUrg = 0x20;

using nfarena::testing::ParseAddress;

/// An IPv6 extension header; its first byte (what follows) is filled in.
struct ExtensionHeader {
  uint8_t kind;
  std::vector<uint8_t> bytes;
};

/// The fields of a packet; the family is that of `src`.
struct Fields {
  const char* src = "192.0.2.1";
  const char* dst = "198.51.100.1";
  uint8_t protocol = 6;
  uint16_t sport = 40000, dport = 80;  // TCP, UDP and their like
  uint8_t type = 8, code = 0;          // ICMP
  uint8_t flags = kSyn;                // TCP
  uint32_t sequence = 1000, acknowledgment = 0;
  std::vector<uint8_t> options;  // TCP, a multiple of 4 bytes
  std::vector<uint8_t> data;     // behind the upper-layer header
  uint8_t tos = 0;
  uint8_t ttl = 64;
  uint16_t fragment_offset = 0;  // in 8-byte units
  bool more_fragments = false;
  std::vector<ExtensionHeader> extensions = {};  // IPv6
  size_t cut = SIZE_MAX;                         // upper-layer bytes kept
  const char* in = "eth0";                       // "" = sent by this host
  const char* out = "eth1";
  uint32_t mark = 0;
  std::optional<std::array<uint8_t, 6>> mac_src, mac_dst;
  std::optional<uint32_t> uid, gid;
  uint64_t time_ms = 0;
};

Packet Build(const Fields& fields);

/// eth0 has 192.0.2.254/24 and 2001:db8::fe/64, eth1 198.51.100.254/24 and
/// 2001:db8:1::fe/64; the rest is reached by eth1.
Topology TestTopology(Family family);

/// One packet at one hook, with all that a rule can ask about.
struct Stand {
  Stand(const Fields& fields, Hook hook);
  Stand(const Stand&) = delete;
  Stand& operator=(const Stand&) = delete;

  /// Gives the packet the connection of the stand.
  void Track(CtInfo info);

  Packet packet;
  Topology topology;
  Outcome outcome;
  Connection connection;
  PacketState state;
};

/// One ruleset in force, parsed from the lines between the table's name and
/// COMMIT.
class Bench {
 public:
  /// Rules may name the sets that `ipset_save` makes.
  Bench(Family family, TableKind table, std::string_view lines,
        std::string_view ipset_save = "");

  /// Empty when the ruleset was parsed and loaded.
  const std::string& error() const { return error_; }
  int error_number() const { return error_number_; }
  Evaluator& evaluator() { return evaluator_; }
  const IpSets& sets() const { return sets_; }
  StageVerdict Evaluate(Stand* stand);
  /// "filter/FORWARD/1"
  std::string Name(const RuleRef& ref) const;

 private:
  TableKind table_;
  IpSets sets_;
  Evaluator evaluator_{&sets_};
  std::string error_;
  int error_number_ = 0;
};

}  // namespace nfarena::reference::testing
