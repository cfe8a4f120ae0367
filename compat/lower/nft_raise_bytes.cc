// Tests of bytes that were loaded into a register of their own -> u32, ecn,
// string; see nft_lower_bytes.cc.
#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>

#include "compat/lower/nft_raise_match.h"

namespace nfarena::nft {
namespace {

/// XT_U32_MAXSIZE, of tests, of numbers in one and of its values.
constexpr size_t kMostOfU32 = 10;
constexpr size_t kMostText = 128;  // XT_STRING_MAX_PATTERN_SIZE
constexpr size_t kRegister = 16;

Status Word(const Payload& e, const Test& test, TestTarget* to) {
  U32Test word;
  if (test.value.bitwise || test.value.swapped) return NoForm();
  if (e.base == NFT_PAYLOAD_NETWORK_HEADER) {
    word.start = e.offset;
  } else if (e.base == NFT_PAYLOAD_TRANSPORT_HEADER &&
             to->family == Family::kIpv4) {
    word.steps = {{U32Operation::kShiftRight, 22},
                  {U32Operation::kAnd, 0x3c},
                  {U32Operation::kAt, e.offset}};
  } else {
    return NoForm();
  }
  word.steps.insert(word.steps.end(), test.value.steps.begin(),
                    test.value.steps.end());
  if (test.value.host || word.steps.size() >= kMostOfU32) return NoForm();
  std::vector<Interval> values;
  if (test.relation == Relation::kInSet) {
    auto intervals = ToIntervals(*test.set, 4);
    if (!intervals || intervals->empty()) return NoForm();
    values = *std::move(intervals);
  } else {
    const auto interval = ToInterval(test, 4);
    if (!interval || interval->inverted) return NoForm();
    values.push_back(*interval);
  }
  if (values.size() > kMostOfU32) return NoForm("over 10 values");
  for (const Interval& value : values) {
    word.values.push_back({value.from.be32(), value.to.be32(), false});
  }
  to->matches
      .Join<U32Match>([](const U32Match& last) {
        return !last.inverted && last.tests.size() < kMostOfU32;
      })
      .tests.push_back(std::move(word));
  return {};
}

Status EcnIp(const Test& test, TestTarget* to) {
  const bool ipv4 = to->family == Family::kIpv4;
  const auto bits = ToMasked(test, ipv4 ? 1 : 2);
  if (!bits) return NoForm();
  const uint32_t mask = ipv4 ? bits->mask.bytes[0] : bits->mask.be16();
  const uint32_t value = ipv4 ? bits->value.bytes[0] : bits->value.be16();
  const unsigned shift = ipv4 ? 0 : 4;
  if (mask != 3u << shift || (value & ~mask) != 0) return NoForm();
  EcnMatch ecn;
  ecn.test_ip = true;
  ecn.ip_ect = static_cast<uint8_t>(value >> shift);
  ecn.ip_inverted = test.inverted();
  to->matches.Push(ecn);
  return {};
}

Status EcnTcp(const Test& test, TestTarget* to) {
  constexpr uint8_t kEce = 0x40, kCwr = 0x80;
  const auto bits = ToMasked(test, 1);
  const bool tcp = to->selector.protocol == IPPROTO_TCP &&
                   (to->selector.inverted & kInvertProtocol) == 0;
  if (!bits || bits->value.bytes[0] != 0 || !tcp || !to->whole_tcp) {
    return NoForm();
  }
  const bool inverted = test.relation == Relation::kEqual;
  if (bits->mask.bytes[0] == kEce) {
    auto& ecn = to->matches.Join<EcnMatch>(
        [](const EcnMatch& last) { return !last.test_ece && !last.test_cwr; });
    ecn.test_ece = true;
    ecn.ece_inverted = inverted;
  } else if (bits->mask.bytes[0] == kCwr) {
    auto& ecn = to->matches.Join<EcnMatch>(
        [](const EcnMatch& last) { return !last.test_cwr; });
    ecn.test_cwr = true;
    ecn.cwr_inverted = inverted;
  } else {
    return NoForm();
  }
  to->half_ecn = false;
  return {};
}

Status Text(const Payload& e, const Test& test, TestTarget* to) {
  if (e.base != NFT_PAYLOAD_NETWORK_HEADER || !test.value.plain() ||
      test.relation != Relation::kEqual || test.from.size != e.len) {
    return NoForm();
  }
  auto& string = to->matches.Join<StringMatch>([&e](const StringMatch& last) {
    return last.pattern.size() % kRegister == 0 && last.to == e.offset &&
           last.pattern.size() + e.len <= kMostText;
  });
  if (string.pattern.empty()) {
    string.from = static_cast<uint16_t>(e.offset);
    string.algorithm = "kmp";
  }
  const auto view = test.from.view();
  string.pattern.insert(string.pattern.end(), view.begin(), view.end());
  string.to = static_cast<uint16_t>(e.offset + e.len);
  return {};
}

}  // namespace

Status RaiseBytesTest(const Payload& e, const Test& test, TestTarget* to) {
  constexpr uint32_t kMostOffset = 255;  // the kernel takes no more
  if (e.offset > kMostOffset) return NoForm();
  if (e.dreg == kTextReg) return Text(e, test, to);
  if (e.len == 4) return Word(e, test, to);
  const bool ipv4 = to->family == Family::kIpv4;
  if (e.base == NFT_PAYLOAD_NETWORK_HEADER && e.offset == (ipv4 ? 1u : 0u) &&
      e.len == (ipv4 ? 1u : 2u)) {
    return EcnIp(test, to);
  }
  if (e.base == NFT_PAYLOAD_TRANSPORT_HEADER && e.offset == 13 && e.len == 1) {
    return EcnTcp(test, to);
  }
  return NoForm("iptables does not test these bytes");
}

bool TakesLoneBytes(const Payload& e, TestTarget* to) {
  if (e.base != NFT_PAYLOAD_TRANSPORT_HEADER || e.offset != 19 || e.len != 1 ||
      e.dreg != kWordReg) {
    return false;
  }
  to->whole_tcp = to->half_ecn = true;
  return true;
}

}  // namespace nfarena::nft
