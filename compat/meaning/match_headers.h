// Matches on parts of headers and on contents, beyond the ports and flags of
// match.h, which includes this.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "compat/model/ruleset.h"

namespace nfarena {

/// first <= value <= last, then inverted.
struct NumberRange {
  uint32_t first = 0;
  uint32_t last = 0xffffffff;
  bool inverted = false;
  bool operator==(const NumberRange&) const = default;
};

/// -m ecn
struct EcnMatch {
  bool test_ip = false;
  uint8_t ip_ect = 0;  // the two bits
  bool ip_inverted = false;
  bool test_ece = false, ece_inverted = false;
  bool test_cwr = false, cwr_inverted = false;
  bool operator==(const EcnMatch&) const = default;
};

/// -m esp: the security parameter index.
struct EspMatch {
  NumberRange spi;
  bool operator==(const EspMatch&) const = default;
};

/// -m ah; length and reserved are IPv6's only.
struct AhMatch {
  Family family = Family::kIpv4;
  NumberRange spi;
  uint32_t length_bytes = 0;  // 0 = not asked for
  bool length_inverted = false;
  bool reserved_zero = false;  // --ahres
  bool operator==(const AhMatch&) const = default;
};

enum class SctpChunks : uint8_t { kNotAsked, kAny, kAll, kOnly };

struct SctpChunkFlags {
  uint8_t chunk_type = 0;
  uint8_t flags = 0, mask = 0;
  bool operator==(const SctpChunkFlags&) const = default;
};

/// -m sctp.  A part that was not asked for is empty.
struct SctpMatch {
  bool test_source = false, test_destination = false;
  NumberRange source, destination;
  SctpChunks chunks = SctpChunks::kNotAsked;
  bool chunks_inverted = false;
  std::array<uint32_t, 8> chunk_types{};  // a bit a type
  std::vector<SctpChunkFlags> chunk_flags;
  bool operator==(const SctpMatch&) const = default;
};

/// -m dccp
struct DccpMatch {
  bool test_source = false, test_destination = false;
  NumberRange source, destination;
  bool test_type = false, type_inverted = false;
  uint16_t types = 0;  // a bit a type
  bool test_option = false, option_inverted = false;
  uint8_t option = 0;
  bool operator==(const DccpMatch&) const = default;
};

/// -m tcpmss; a segment without the option matches only if inverted.
struct TcpmssMatch {
  uint16_t first = 0, last = 0;
  bool inverted = false;
  bool operator==(const TcpmssMatch&) const = default;
};

/// -m string: the first occurrence from byte `from` of the packet on ends at
/// or before byte `to`.
struct StringMatch {
  uint16_t from = 0, to = 0xffff;
  std::string algorithm;  // how to search, never what is found
  std::vector<uint8_t> pattern;
  bool ignore_case = false;
  bool inverted = false;
  bool operator==(const StringMatch&) const = default;
};

enum class U32Operation : uint8_t { kAnd, kShiftLeft, kShiftRight, kAt };

struct U32Step {
  U32Operation operation = U32Operation::kAnd;
  uint32_t number = 0;
  bool operator==(const U32Step&) const = default;
};

/// A word of the packet, changed by the steps, is in one of the ranges.
struct U32Test {
  uint32_t start = 0;  // byte offset of the word
  std::vector<U32Step> steps;
  std::vector<NumberRange> values;
  bool operator==(const U32Test&) const = default;
};

/// -m u32: all tests hold, then inverted.
struct U32Match {
  std::vector<U32Test> tests;
  bool inverted = false;
  bool operator==(const U32Match&) const = default;
};

/// -m frag: the IPv6 fragment header.
struct FragMatch {
  NumberRange id;
  bool reserved_zero = false;
  bool first = false;  // --fragfirst
  bool more = false;   // --fragmore
  bool last = false;   // --fraglast
  bool operator==(const FragMatch&) const = default;
};

/// -m rt: the IPv6 routing header.
struct RtMatch {
  bool test_type = false, type_inverted = false;
  uint32_t type = 0;
  NumberRange segments_left;
  bool test_length = false, length_inverted = false;
  uint32_t length_bytes = 0;
  bool reserved_zero = false;
  bool test_addresses = false;
  bool addresses_among = false;  // --rt-0-not-strict: in this order, anywhere
  std::vector<Address> addresses;
  bool operator==(const RtMatch&) const = default;
};

struct OptionTest {
  uint8_t type = 0;
  bool any_length = true;
  uint8_t length = 0;
  bool operator==(const OptionTest&) const = default;
};

/// -m hbh, -m dst: the options of an IPv6 header of that kind, in this order
/// from its first on.
struct OptionsMatch {
  bool hop_by_hop = true;  // false: destination options
  bool test_length = false, length_inverted = false;
  uint32_t length_bytes = 0;
  bool test_options = false;
  std::vector<OptionTest> options;
  bool operator==(const OptionsMatch&) const = default;
};

/// Bits of Ipv6headerMatch; MASK_* of ip6t_ipv6header.h.
enum Ipv6HeaderBit : uint8_t {
  kHeaderHopByHop = 128,
  kHeaderDestination = 64,
  kHeaderRouting = 32,
  kHeaderFragment = 16,
  kHeaderAuth = 8,
  kHeaderEsp = 4,
  kHeaderNone = 2,
  kHeaderUpper = 1,
};

/// -m ipv6header: which headers there are.  `soft`: each wanted header is (or,
/// with its bit inverted, is not) there; else: exactly these, then inverted.
struct Ipv6headerMatch {
  uint8_t headers = 0;
  uint8_t inverted = 0;
  bool soft = false;
  bool operator==(const Ipv6headerMatch&) const = default;
};

}  // namespace nfarena
