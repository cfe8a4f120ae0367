#include <netinet/in.h>

#include <algorithm>
#include <cctype>

#include "engines/reference/options.h"
#include "engines/reference/question.h"
#include "engines/reference/view.h"

namespace nfarena::reference {
namespace {

constexpr size_t kTcpHeader = 20;

bool InRange(const NumberRange& range, uint32_t value) {
  return (value >= range.first && value <= range.last) != range.inverted;
}

// Next-header numbers of RFC 8200, RFC 4302, RFC 4303.
constexpr uint8_t kHopByHop = 0, kRouting = 43, kFragment = 44, kEsp = 50,
                  kAuth = 51, kNoNext = 59, kDestination = 60;

bool IsExtensionHeader(uint8_t next) {
  switch (next) {
    case kHopByHop:
    case kRouting:
    case kFragment:
    case kAuth:
    case kNoNext:
    case kDestination:
      return true;
    default:
      return false;
  }
}

/// Bytes of the extension header at `at`, of which two are there.
size_t ExtensionBytes(const PacketState& packet, uint8_t kind, size_t at) {
  const size_t length = packet.bytes[at + 1];
  if (kind == kFragment) return 8;
  if (kind == kAuth) return (length + 2) * 4;
  return (length + 1) * 8;
}

struct FoundHeader {
  bool found = false;
  bool broken = false;  // the chain ends inside a header
  size_t offset = 0;
};

/// ipv6_find_hdr() for one kind of extension header.
FoundHeader FindExtension(const PacketState& packet, uint8_t wanted) {
  constexpr FoundHeader kBroken{false, true, 0};
  uint8_t next = packet.bytes[6];
  size_t at = 40;
  while (IsExtensionHeader(next) && next != kNoNext) {
    if (!BytesAt(packet, at, 2)) return kBroken;
    if (next == kRouting && !BytesAt(packet, at, 4)) return kBroken;
    const bool found = next == wanted;
    if (next == kFragment) {
      if (!BytesAt(packet, at, 4)) return kBroken;
      // Behind the header of a later fragment there is no chain.
      const bool later = (LoadBe16(&packet.bytes[at + 2]) & ~7) != 0;
      if (later && !found) return {};
    }
    if (found) return {true, false, at};
    const size_t length = ExtensionBytes(packet, next, at);
    next = packet.bytes[at];
    at += length;
  }
  return {};
}

/// The extension header that a match asks about, whole; false as its answer
/// when there is none, with the packet dropped when it is broken.
std::optional<std::span<const uint8_t>> WholeExtension(const Question& question,
                                                       uint8_t kind,
                                                       size_t at_least) {
  const FoundHeader header = FindExtension(question.packet, kind);
  if (header.broken) question.Malformed();
  if (!header.found) return std::nullopt;
  if (!BytesAt(question.packet, header.offset, at_least)) {
    question.Malformed();
    return std::nullopt;
  }
  const size_t length = ExtensionBytes(question.packet, kind, header.offset);
  const auto whole = BytesAt(question.packet, header.offset, length);
  if (!whole) question.Malformed();
  return whole;
}

}  // namespace

bool Holds(const EcnMatch& ecn, const Question& question) {
  if (ecn.test_ip &&
      ((TosOf(question.packet) & 3) == ecn.ip_ect) == ecn.ip_inverted) {
    return false;
  }
  if (!ecn.test_ece && !ecn.test_cwr) return true;
  // A packet without a whole TCP header just does not match.
  const auto tcp = Transport(question.packet, kTcpHeader);
  if (!tcp) return false;
  const bool ece = (*tcp)[13] & 0x40;
  const bool cwr = (*tcp)[13] & 0x80;
  return (!ecn.test_ece || ece != ecn.ece_inverted) &&
         (!ecn.test_cwr || cwr != ecn.cwr_inverted);
}

bool Holds(const EspMatch& esp, const Question& question) {
  if (question.packet.headers.fragment_offset != 0) return false;
  const auto header = Transport(question.packet, 8);
  if (!header) return question.Malformed();
  return InRange(esp.spi, LoadBe32(header->data()));
}

bool Holds(const AhMatch& ah, const Question& question) {
  if (ah.family == Family::kIpv4) {
    if (question.packet.headers.fragment_offset != 0) return false;
    const auto header = Transport(question.packet, 12);
    if (!header) return question.Malformed();
    return InRange(ah.spi, LoadBe32(header->data() + 4));
  }
  const auto header = WholeExtension(question, kAuth, 12);
  // A header that says it is shorter than its own fields is taken at its
  // word by the kernel, which has read them already.
  if (!header) return false;
  const uint8_t* fields = header->data();
  if (!InRange(ah.spi, LoadBe32(fields + 4))) return false;
  if (ah.length_bytes != 0 &&
      (header->size() == ah.length_bytes) == ah.length_inverted) {
    return false;
  }
  return !ah.reserved_zero || LoadBe16(fields + 2) == 0;
}

namespace {

/// Whether a chunk's flags are as asked for its type.
bool ChunkFlagsHold(const SctpMatch& sctp, uint8_t type, uint8_t flags) {
  for (const SctpChunkFlags& wanted : sctp.chunk_flags) {
    if (wanted.chunk_type == type) {
      return (flags & wanted.mask) == wanted.flags;
    }
  }
  return true;
}

bool HasChunkType(const std::array<uint32_t, 8>& types, uint8_t type) {
  return (types[type / 32] >> (type % 32) & 1) != 0;
}

bool ChunksHold(const SctpMatch& sctp, const Question& question) {
  const PacketState& packet = question.packet;
  size_t at = packet.headers.transport + size_t{12};
  auto missing = sctp.chunk_types;  // kAll
  do {
    const auto chunk = BytesAt(packet, at, 4);
    const size_t length = chunk ? LoadBe16(chunk->data() + 2) : 0;
    if (length == 0) return question.Malformed();
    at += (length + 3) & ~size_t{3};
    const uint8_t type = (*chunk)[0];
    const bool flags = ChunkFlagsHold(sctp, type, (*chunk)[1]);
    if (HasChunkType(sctp.chunk_types, type)) {
      if (sctp.chunks == SctpChunks::kAny && flags) return true;
      if (sctp.chunks == SctpChunks::kAll && flags) {
        missing[type / 32] &= ~(1u << (type % 32));
      }
      if (sctp.chunks == SctpChunks::kOnly && !flags) return false;
    } else if (sctp.chunks == SctpChunks::kOnly) {
      return false;
    }
  } while (at < packet.bytes.size());
  switch (sctp.chunks) {
    case SctpChunks::kAll:
      return missing == std::array<uint32_t, 8>{};
    case SctpChunks::kOnly:
      return true;
    case SctpChunks::kAny:
    case SctpChunks::kNotAsked:
      break;
  }
  return false;
}

}  // namespace

bool Holds(const SctpMatch& sctp, const Question& question) {
  if (question.packet.headers.fragment_offset != 0) return false;
  const auto header = Transport(question.packet, 12);
  if (!header) return question.Malformed();
  if (sctp.test_source && !InRange(sctp.source, LoadBe16(header->data()))) {
    return false;
  }
  if (sctp.test_destination &&
      !InRange(sctp.destination, LoadBe16(header->data() + 2))) {
    return false;
  }
  return sctp.chunks == SctpChunks::kNotAsked ||
         ChunksHold(sctp, question) != sctp.chunks_inverted;
}

namespace {

/// Where the options of a DCCP packet begin: RFC 4340 section 5.1.
size_t DccpFixedBytes(std::span<const uint8_t> header) {
  const uint8_t type = header[8] >> 1 & 0xf;
  const size_t basic = 12 + ((header[8] & 1) != 0 ? 4 : 0);
  switch (type) {
    case 0:  // request: service code
      return basic + 4;
    case 2:  // data
      return basic;
    case 3:  // acknowledgments, with data or not, and all that close or sync
    case 4:
    case 5:
    case 6:
    case 8:
    case 9:
      return basic + 8;
    default:  // response, reset: a code besides; the kernel takes others so too
      return basic + 12;
  }
}

bool DccpOptionHolds(const DccpMatch& dccp, std::span<const uint8_t> header,
                     const Question& question) {
  const size_t fixed = DccpFixedBytes(header);
  const size_t all = size_t{4} * header[4];
  if (all < fixed) return question.Malformed();
  if (all == fixed) return false;
  const auto options = BytesAt(
      question.packet, question.packet.headers.transport + fixed, all - fixed);
  if (!options) return question.Malformed();
  return HasOption(*options, dccp.option);
}

}  // namespace

bool Holds(const DccpMatch& dccp, const Question& question) {
  if (question.packet.headers.fragment_offset != 0) return false;
  const auto header = Transport(question.packet, 12);
  if (!header) return question.Malformed();
  if (dccp.test_source && !InRange(dccp.source, LoadBe16(header->data()))) {
    return false;
  }
  if (dccp.test_destination &&
      !InRange(dccp.destination, LoadBe16(header->data() + 2))) {
    return false;
  }
  const uint8_t type = (*header)[8] >> 1 & 0xf;
  if (dccp.test_type && ((dccp.types >> type & 1) != 0) == dccp.type_inverted) {
    return false;
  }
  return !dccp.test_option ||
         DccpOptionHolds(dccp, *header, question) != dccp.option_inverted;
}

bool Holds(const TcpmssMatch& tcpmss, const Question& question) {
  const auto fixed = Transport(question.packet, kTcpHeader);
  if (!fixed) return question.Malformed();
  const size_t header_bytes = size_t{4} * ((*fixed)[12] >> 4);
  if (header_bytes < kTcpHeader) return question.Malformed();
  const auto header = Transport(question.packet, header_bytes);
  if (!header) return question.Malformed();
  const auto mss = MssOption(header->subspan(kTcpHeader));
  if (!mss) return tcpmss.inverted;
  return (*mss >= tcpmss.first && *mss <= tcpmss.last) != tcpmss.inverted;
}

bool Holds(const StringMatch& string, const Question& question) {
  const auto& bytes = question.packet.bytes;
  if (string.from >= bytes.size()) return string.inverted;
  const auto same = [&](uint8_t a, uint8_t b) {
    return string.ignore_case ? std::toupper(a) == std::toupper(b) : a == b;
  };
  const auto begin = bytes.begin() + string.from;
  const auto at = std::search(begin, bytes.end(), string.pattern.begin(),
                              string.pattern.end(), same);
  // Only the first occurrence counts, wherever it is.
  const bool found = at != bytes.end() &&
                     static_cast<size_t>(at - begin) + string.pattern.size() <=
                         static_cast<size_t>(string.to - string.from);
  return found != string.inverted;
}

namespace {

/// The word at `at` + `offset`, whole; nullopt past the end.
std::optional<uint32_t> WordAt(const PacketState& packet, uint64_t at,
                               uint64_t offset) {
  const auto word = at + offset > packet.bytes.size()
                        ? std::nullopt
                        : BytesAt(packet, at + offset, 4);
  if (!word) return std::nullopt;
  return LoadBe32(word->data());
}

bool U32TestHolds(const U32Test& test, const PacketState& packet) {
  uint32_t base = 0;
  auto value = WordAt(packet, 0, test.start);
  for (const U32Step& step : test.steps) {
    if (!value) return false;
    switch (step.operation) {
      case U32Operation::kAnd:
        *value &= step.number;
        break;
      case U32Operation::kShiftLeft:
        *value <<= step.number;
        break;
      case U32Operation::kShiftRight:
        *value >>= step.number;
        break;
      case U32Operation::kAt: {
        const uint32_t moved = base + *value;
        if (moved < base) return false;
        base = moved;
        value = WordAt(packet, base, step.number);
        break;
      }
    }
  }
  return value && std::any_of(test.values.begin(), test.values.end(),
                              [&](const NumberRange& range) {
                                return InRange(range, *value);
                              });
}

}  // namespace

bool Holds(const U32Match& u32, const Question& question) {
  const bool all = std::all_of(
      u32.tests.begin(), u32.tests.end(),
      [&](const U32Test& test) { return U32TestHolds(test, question.packet); });
  return all != u32.inverted;
}

bool Holds(const FragMatch& frag, const Question& question) {
  const FoundHeader header = FindExtension(question.packet, kFragment);
  if (header.broken) return question.Malformed();
  if (!header.found) return false;
  const auto fields = BytesAt(question.packet, header.offset, 8);
  if (!fields) return question.Malformed();
  const uint16_t word = LoadBe16(fields->data() + 2);
  const bool reserved = (*fields)[1] != 0 || (word & 6) != 0;
  const bool more = word & 1;
  return InRange(frag.id, LoadBe32(fields->data() + 4)) &&
         !(frag.reserved_zero && reserved) &&
         !(frag.first && (word & ~7) != 0) && !(frag.more && !more) &&
         !(frag.last && more);
}

namespace {

/// --rt-0-addrs: the addresses of a type 0 routing header.
bool RouteHolds(const RtMatch& rt, std::span<const uint8_t> header) {
  const size_t count = (header.size() - 8) / 16;
  if (rt.addresses.size() > count) return false;
  const auto address_at = [&](size_t i) {
    Address address;
    std::copy_n(&header[8 + i * 16], address.size(), address.begin());
    return address;
  };
  if (!rt.addresses_among) {
    // Exactly these.
    if (rt.addresses.size() != count) return false;
    for (size_t i = 0; i < count; ++i) {
      if (address_at(i) != rt.addresses[i]) return false;
    }
    return true;
  }
  size_t met = 0;
  for (size_t i = 0; i < count && met < rt.addresses.size(); ++i) {
    if (address_at(i) == rt.addresses[met]) ++met;
  }
  return met == rt.addresses.size();
}

}  // namespace

bool Holds(const RtMatch& rt, const Question& question) {
  const auto header = WholeExtension(question, kRouting, 4);
  if (!header) return false;
  if (!InRange(rt.segments_left, (*header)[3])) return false;
  if (rt.test_length &&
      (header->size() == rt.length_bytes) == rt.length_inverted) {
    return false;
  }
  if (rt.test_type && ((*header)[2] == rt.type) == rt.type_inverted) {
    return false;
  }
  if (rt.reserved_zero && LoadBe32(header->data() + 4) != 0) return false;
  return !rt.test_addresses || RouteHolds(rt, *header);
}

namespace {

/// The options one after the other, by type and length.
bool OptionsHold(const std::vector<OptionTest>& wanted,
                 std::span<const uint8_t> options) {
  size_t at = 0;
  for (size_t i = 0; i < wanted.size(); ++i) {
    if (at >= options.size()) return false;
    if (options[at] != wanted[i].type) return false;
    size_t length = 1;  // Pad1 has no length
    if (options[at] != 0) {
      if (at + 1 >= options.size()) return false;
      if (!wanted[i].any_length && options[at + 1] != wanted[i].length) {
        return false;
      }
      length = options[at + 1] + size_t{2};
    }
    // The last one may claim more than there is.
    if (at + length > options.size() && i + 1 < wanted.size()) return false;
    at += length;
  }
  return true;
}

}  // namespace

bool Holds(const OptionsMatch& options, const Question& question) {
  const auto header = WholeExtension(
      question, options.hop_by_hop ? kHopByHop : kDestination, 2);
  if (!header) return false;
  if (options.test_length &&
      (header->size() == options.length_bytes) == options.length_inverted) {
    return false;
  }
  return !options.test_options ||
         OptionsHold(options.options, header->subspan(2));
}

bool Holds(const Ipv6headerMatch& ipv6header, const Question& question) {
  const PacketState& packet = question.packet;
  uint8_t next = packet.bytes[6];
  size_t at = 40;
  uint8_t headers = 0;
  bool ended = false;
  while (!ended && (IsExtensionHeader(next) || next == kEsp)) {
    if (next == kNoNext) {
      headers |= kHeaderNone;
      break;
    }
    if (packet.bytes.size() < at + 2) return false;
    switch (next) {
      case kEsp:
        headers |= kHeaderEsp;
        break;
      case kHopByHop:
        headers |= kHeaderHopByHop;
        break;
      case kRouting:
        headers |= kHeaderRouting;
        break;
      case kFragment:
        headers |= kHeaderFragment;
        break;
      case kAuth:
        headers |= kHeaderAuth;
        break;
      default:
        headers |= kHeaderDestination;
        break;
    }
    if (next == kEsp) break;
    const size_t length = ExtensionBytes(packet, next, at);
    next = packet.bytes[at];
    at += length;
    ended = at > packet.bytes.size();
  }
  if (next != kNoNext && next != kEsp) headers |= kHeaderUpper;
  if (ipv6header.soft) {
    return ((headers ^ ipv6header.headers ^ ipv6header.inverted) &
            ipv6header.headers) == 0;
  }
  return (headers == ipv6header.headers) != (ipv6header.inverted != 0);
}

}  // namespace nfarena::reference
