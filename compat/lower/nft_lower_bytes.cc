// Matches on bytes at fixed places of the packet: u32, string, ecn; and those
// on headers that exthdr and payload see otherwise than xtables does.
//
// They work in registers of their own (kWordReg, kTextReg), because a word at
// offset 12 is a source address when it is read back from register 1.
#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>

#include "compat/lower/nft_emit.h"
#include "compat/lower/nft_lowering.h"

namespace nfarena::nft {
namespace {

/// nft's number of the key type "integer" (include/datatype.h of nftables).
constexpr uint32_t kTypeInteger = 4;
/// nft_payload's offset is one byte.
constexpr uint32_t kMostOffset = 255;
/// A rule has at most 128 expressions, and others need theirs.
constexpr size_t kMostExprs = 64;

constexpr const char kCutOff[] =
    "xtables drops a packet whose header is cut off, nftables ends the rule";

class BytesLowering {
 public:
  explicit BytesLowering(const ConditionSite& site)
      : site_(site), out_(site.out->exprs) {}

  using Answer = std::optional<std::string>;

  Answer operator()(const EcnMatch& ecn) {
    const bool tcp = ecn.test_ece || ecn.test_cwr;
    if (!tcp && !ecn.test_ip) return "nothing is asked";
    if (tcp && !Protocol(IPPROTO_TCP)) return "needs -p tcp";
    if (ecn.test_ip && site_.context.family == Family::kIpv4) {
      Load(NFT_PAYLOAD_NETWORK_HEADER, 1, 1, kWordReg);
      Masked(Data::U8(3), Data::U8(ecn.ip_ect), ecn.ip_inverted);
    } else if (ecn.test_ip) {
      // The class lies across the first two bytes, after the version.
      Load(NFT_PAYLOAD_NETWORK_HEADER, 0, 2, kWordReg);
      Masked(Data::Be16(3 << 4),
             Data::Be16(static_cast<uint16_t>(uint32_t{ecn.ip_ect} << 4)),
             ecn.ip_inverted);
    }
    if (!tcp) return "";
    // The whole header must be there.  Loads of one byte: xtables looks at
    // later fragments as well, and so do these where the bytes lie in the
    // packet's first page.
    Load(NFT_PAYLOAD_TRANSPORT_HEADER, 19, 1, kWordReg);
    constexpr uint8_t kEce = 0x40, kCwr = 0x80;
    if (ecn.test_ece) Flag(kEce, ecn.ece_inverted);
    if (ecn.test_cwr) Flag(kCwr, ecn.cwr_inverted);
    return "";
  }

  Answer operator()(const U32Match& u32) {
    if (u32.inverted) {
      return "inverted it also holds on packets too short for its words";
    }
    if (u32.tests.empty()) return "it has no test";
    if (FollowsWord()) return "two in a row would come back as one";
    const size_t before = out_.size();
    // Only then does the transport header lie where the jump leads: it is not
    // looked for in later fragments.
    bool whole = site_.selector.fragment &&
                 (site_.selector.inverted & kInvertFragment) != 0;
    for (const U32Test& test : u32.tests) {
      if (auto reason = Word(test, whole); !reason.empty()) return reason;
      whole = whole || SaysWhole(test);
      if (out_.size() - before > kMostExprs) return "it has too many steps";
    }
    return "";
  }

  Answer operator()(const StringMatch& string) {
    // Only a text that can be at one place is no search.
    if (string.from + string.pattern.size() != string.to) {
      return "nftables does not search";
    }
    if (string.algorithm != "kmp") {
      return "this algorithm does not find a text that lies across pages";
    }
    if (string.ignore_case) return "nftables does not ignore case";
    if (string.inverted) {
      return "inverted it also holds on packets too short for the text";
    }
    if (string.to > kMostOffset) return "its offset is over 255 bytes";
    constexpr size_t kRegister = 16;
    for (size_t at = 0; at < string.pattern.size(); at += kRegister) {
      const size_t size = std::min(kRegister, string.pattern.size() - at);
      Load(NFT_PAYLOAD_NETWORK_HEADER, static_cast<uint32_t>(string.from + at),
           static_cast<uint32_t>(size), kTextReg);
      out_.push_back(Cmp{NFT_CMP_EQ, kTextReg,
                         Data(std::span(string.pattern).subspan(at, size))});
    }
    return "";
  }

  Answer operator()(const EspMatch&) { return kCutOff; }
  Answer operator()(const AhMatch&) { return kCutOff; }
  Answer operator()(const SctpMatch&) { return kCutOff; }
  Answer operator()(const DccpMatch&) { return kCutOff; }
  Answer operator()(const TcpmssMatch&) { return kCutOff; }
  Answer operator()(const FragMatch&) { return kCutOff; }
  Answer operator()(const RtMatch&) { return kCutOff; }
  Answer operator()(const OptionsMatch&) { return kCutOff; }
  Answer operator()(const Ipv6headerMatch&) {
    return "it walks on behind a fragment header, exthdr stops there";
  }

  template <typename Other>
  Answer operator()(const Other&) {
    return std::nullopt;
  }

 private:
  bool Protocol(uint8_t protocol) const {
    return site_.selector.protocol == protocol &&
           (site_.selector.inverted & kInvertProtocol) == 0;
  }

  void Load(uint32_t base, uint32_t offset, uint32_t len, uint32_t reg) {
    out_.push_back(Payload{base, offset, len, reg});
  }

  void Masked(const Data& mask, const Data& value, bool inverted) {
    out_.push_back(
        Bitwise{mask.size, kWordReg, kWordReg, mask, Data::Zero(mask.size)});
    out_.push_back(Cmp{inverted ? NFT_CMP_NEQ : NFT_CMP_EQ, kWordReg, value});
  }

  void Flag(uint8_t bit, bool inverted) {
    Load(NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, kWordReg);
    Masked(Data::U8(bit), Data::U8(0), !inverted);
  }

  /// The rule's last expression so far is a test of a word.
  bool FollowsWord() const {
    if (out_.empty()) return false;
    const Expr& last = out_.back();
    if (const auto* cmp = std::get_if<Cmp>(&last)) {
      return cmp->sreg == kWordReg && cmp->data.size == 4;
    }
    if (const auto* range = std::get_if<Range>(&last)) {
      return range->sreg == kWordReg;
    }
    const auto* lookup = std::get_if<Lookup>(&last);
    return lookup != nullptr && lookup->sreg == kWordReg;
  }

  /// The test leaves only packets whose fragment offset is 0: no bit of bytes 6
  /// and 7 behind the flags is set.
  bool SaysWhole(const U32Test& test) const {
    if (site_.context.family != Family::kIpv4) return false;
    if (test.start < 4 || test.start > 6) return false;
    if (test.values.size() != 1 || test.values[0].last != 0) return false;
    uint32_t mask = 0xffffffff;
    for (const U32Step& step : test.steps) {
      if (step.operation != U32Operation::kAnd) return false;
      mask &= step.number;
    }
    const uint32_t offset = uint32_t{0x1fff} << (8 * (test.start - 4));
    return (mask & offset) == offset;
  }

  /// 0 >> 22 & 0x3C @ N: byte N behind the IPv4 header.
  bool JumpsOverHeader(const U32Test& test) const {
    return site_.context.family == Family::kIpv4 && test.start == 0 &&
           test.steps.size() >= 3 &&
           test.steps[0] == U32Step{U32Operation::kShiftRight, 22} &&
           test.steps[1] == U32Step{U32Operation::kAnd, 0x3c} &&
           test.steps[2].operation == U32Operation::kAt;
  }

  std::string Word(const U32Test& test, bool whole) {
    uint32_t base = NFT_PAYLOAD_NETWORK_HEADER;
    uint32_t offset = test.start;
    std::span<const U32Step> steps(test.steps);
    if (JumpsOverHeader(test)) {
      if (!whole) {
        return "its jump reads later fragments as well, the transport header "
               "is not looked for in them";
      }
      base = NFT_PAYLOAD_TRANSPORT_HEADER;
      offset = steps[2].number;
      steps = steps.subspan(3);
    }
    if (offset > kMostOffset) return "its offset is over 255 bytes";
    Load(base, offset, 4, kWordReg);
    bool host = false;
    for (const U32Step& step : steps) {
      if (step.operation == U32Operation::kAt) {
        return "it jumps by what the packet says";
      }
      if (step.operation == U32Operation::kAnd) {
        out_.push_back(
            Bitwise{4, kWordReg, kWordReg,
                    host ? Data::Host32(step.number) : Data::Be32(step.number),
                    Data::Zero(4)});
        continue;
      }
      if (step.number == 0 || step.number > 31) {
        return "a shift by no bit or by all";
      }
      if (!host) Swap(NFT_BYTEORDER_NTOH);
      host = true;
      Bitwise shift{4, kWordReg, kWordReg, {}, {}};
      shift.op = step.operation == U32Operation::kShiftLeft
                     ? NFT_BITWISE_LSHIFT
                     : NFT_BITWISE_RSHIFT;
      shift.shift = step.number;
      out_.push_back(shift);
    }
    if (host) Swap(NFT_BYTEORDER_HTON);
    return Values(test.values);
  }

  void Swap(uint32_t op) {
    out_.push_back(Byteorder{op, 4, 4, kWordReg, kWordReg});
  }

  std::string Values(std::span<const NumberRange> values) {
    if (values.empty()) return "it has no value";
    for (const NumberRange& value : values) {
      if (value.first > value.last) return "an empty range of values";
    }
    if (values.size() == 1) {
      const Data first = Data::Be32(values[0].first);
      const Data last = Data::Be32(values[0].last);
      if (first == last) {
        out_.push_back(Cmp{NFT_CMP_EQ, kWordReg, first});
      } else {
        out_.push_back(Range{NFT_RANGE_EQ, kWordReg, first, last});
      }
      return "";
    }
    AnonymousSet set;
    set.key_type = kTypeInteger;
    set.key_len = 4;
    set.interval = std::ranges::any_of(values, [](const NumberRange& value) {
      return value.first != value.last;
    });
    const NumberRange* before = nullptr;
    for (const NumberRange& value : values) {
      if (before != nullptr && before->last >= value.first) {
        return "a set keeps no order of values, and takes no overlaps";
      }
      if (before != nullptr && set.interval &&
          before->last + 1 == value.first) {
        return "in a set of ranges, neighbours are one";
      }
      before = &value;
      set.elements.push_back({Data::Be32(value.first), false});
      if (set.interval && value.last != 0xffffffff) {
        set.elements.push_back({Data::Be32(value.last + 1), true});
      }
    }
    AddLookup(std::move(set), false, kWordReg, site_);
    return "";
  }

  const ConditionSite& site_;
  std::vector<Expr>& out_;
};

}  // namespace

std::optional<std::string> LowerBytesMatch(const Condition& condition,
                                           const ConditionSite& site) {
  return std::visit(BytesLowering(site), condition);
}

}  // namespace nfarena::nft
