// The parameter sets that rules are drawn from.
//
// Each table is a list of outcomes with weights; only their proportions count.
// Where they come from: see generator.h.
#pragma once

#include <cstdint>
#include <span>

#include "corpus/generator/generator.h"

namespace nfarena {

/// ClassBench's classes of port ranges.
enum class PortClass : uint8_t {
  kWildcard,        // WC: 0 to 65535
  kHigh,            // HI: 1024 to 65535
  kLow,             // LO: 0 to 1023
  kArbitraryRange,  // AR
  kExact,           // EM: one port
};

struct ProtocolWeight {
  uint8_t protocol;  // 0 = any
  uint16_t weight;
};

/// Lengths of the source and destination prefixes of one rule, in the terms of
/// IPv4.
struct PrefixPair {
  uint8_t src_bits, dst_bits;
  uint16_t weight;
};

struct PortPair {
  PortClass src, dst;
  uint16_t weight;
};

struct PortWeight {
  uint16_t port;
  uint16_t weight;
};

struct RangeWeight {
  PortRange range;
  uint16_t weight;
};

/// How addresses of one side share their prefixes.  An address is walked from
/// its first bit on; at each bit the tree of prefixes either forks or not.
struct AddressTree {
  /// How often it forks, in thousandths, in the first and the second half of
  /// an address.
  uint16_t fork_high_permille, fork_low_permille;
  /// Of a fork, how often the heavier side is taken, in thousandths (500 = the
  /// sides are equal).
  uint16_t heavy_permille;
};

struct Parameters {
  std::span<const ProtocolWeight> protocols;
  std::span<const PrefixPair> prefixes;
  std::span<const PortPair> tcp_ports, udp_ports;
  std::span<const PortWeight> exact_ports;
  std::span<const RangeWeight> ranges;
  AddressTree src_tree, dst_tree;
  /// How often a rule's source lies in the same tree as its destination, in
  /// thousandths.
  uint16_t same_site_permille;
  uint16_t accept_permille;
};

const Parameters& ParametersOf(RuleProfile profile);

}  // namespace nfarena
