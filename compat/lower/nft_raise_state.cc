// Tests of the clock, the CPU, devices, routes and of a connection's counts and
// helper -> matches; see nft_lower_state.cc.
#include <limits.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <string>

#include "compat/lower/nft_raise_match.h"

namespace nfarena::nft {
namespace {

constexpr uint64_t kNsPerS = 1'000'000'000;
constexpr uint32_t kLastSecond = 24 * 60 * 60 - 1;
constexpr uint32_t kMostLength = 0xffff;

Status Date(const Test& test, TestTarget* to) {
  const auto interval = ToInterval(test, 8);
  if (!interval || !test.value.swapped || interval->inverted) return NoForm();
  const uint64_t first = interval->from.be64();
  const uint64_t last = interval->to.be64();
  if (first % kNsPerS != 0 || last % kNsPerS != kNsPerS - 1 ||
      last / kNsPerS > UINT32_MAX) {
    return NoForm("iptables counts whole seconds, up to 2106");
  }
  TimeMatch time;
  time.date_first_s = static_cast<uint32_t>(first / kNsPerS);
  time.date_last_s = static_cast<uint32_t>(last / kNsPerS);
  to->matches.Push(time);
  return {};
}

Status Hour(const Test& test, TestTarget* to) {
  const auto interval = ToInterval(test, 4);
  if (!interval || !test.value.swapped) return NoForm();
  uint32_t first = interval->from.be32();
  uint32_t last = interval->to.be32();
  if (interval->inverted) {
    // All but these: over midnight.
    if (first == 0 || last >= kLastSecond) {
      return NoForm("not over midnight");
    }
    std::swap(first, last);
    ++first;
    --last;
  }
  if (first > kLastSecond || last > kLastSecond || first == last) {
    return NoForm("no hours of a day");
  }
  bool joined = false;
  auto& time = to->matches.Join<TimeMatch>([&joined](const TimeMatch& before) {
    joined = before.day_first_s == 0 && before.day_last_s == kLastSecond;
    return joined;
  });
  if (!joined) time.date_last_s = INT_MAX;  // iptables' dates end in 2038
  time.day_first_s = first;
  time.day_last_s = last;
  return {};
}

Status Length(const Test& test, TestTarget* to) {
  auto interval = ToInterval(test, 4);
  if (!interval || !test.value.swapped) return NoForm();
  uint32_t first = interval->from.be32();
  uint32_t last = interval->to.be32();
  if (last == UINT32_MAX && first != 0) {  // "at least": not "less than"
    last = first - 1;
    first = 0;
    interval->inverted = !interval->inverted;
  }
  if (last > kMostLength) return NoForm("a length of over 65,535");
  to->matches.Push(LengthMatch{static_cast<uint16_t>(first),
                               static_cast<uint16_t>(last),
                               interval->inverted});
  return {};
}

Status Cpu(const Test& test, TestTarget* to) {
  if (!test.equality() || !test.value.plain() || test.from.size != 4) {
    return NoForm();
  }
  to->matches.Push(CpuMatch{test.from.host32(), test.inverted()});
  return {};
}

Status Group(const Test& test, bool output, TestTarget* to) {
  const auto bits = ToMasked(test, 4);
  if (!bits) return NoForm();
  const DeviceGroupTest group{true, bits->value.host32(), bits->mask.host32(),
                              test.inverted()};
  if ((group.group & ~group.mask) != 0) return NoForm("it never holds");
  // Lowering tests the input before the output of the same match.
  auto& devgroup =
      to->matches.Join<DevgroupMatch>([output](const DevgroupMatch& last) {
        return output && !last.destination.asked;
      });
  (output ? devgroup.destination : devgroup.source) = group;
  return {};
}

Status Realm(const Test& test, TestTarget* to) {
  const auto bits = ToMasked(test, 4);
  if (!bits || to->family != Family::kIpv4) return NoForm();
  to->matches.Push(
      RealmMatch{bits->value.host32(), bits->mask.host32(), test.inverted()});
  return {};
}

/// "The connection has counts", which a test that holds for 0 asks first.
bool IsCountsTest(const Ct& ct, const Test& test) {
  return ct.key == NFT_CT_PKTS && !ct.direction && test.value.plain() &&
         test.relation == Relation::kNotEqual &&
         test.from == Data::Zero(sizeof(uint64_t));
}

Status Connbytes(const Ct& ct, const Test& test, TestTarget* to) {
  if (IsCountsTest(ct, test) && !to->half_connbytes) {
    to->half_connbytes = true;
    return {};
  }
  const auto interval = ToInterval(test, 8);
  if (!interval || !test.value.swapped) return NoForm();
  ConnbytesMatch connbytes;
  connbytes.what = ct.key == NFT_CT_PKTS    ? ConnbytesWhat::kPackets
                   : ct.key == NFT_CT_BYTES ? ConnbytesWhat::kBytes
                                            : ConnbytesWhat::kAverage;
  connbytes.direction = !ct.direction ? ConnbytesDirection::kBoth
                        : *ct.direction == IP_CT_DIR_ORIGINAL
                            ? ConnbytesDirection::kOriginal
                            : ConnbytesDirection::kReply;
  connbytes.first = interval->from.be64();
  connbytes.last = interval->to.be64();
  connbytes.inverted = interval->inverted;
  if (connbytes.inverted && connbytes.first == connbytes.last) {
    return NoForm("iptables inverts no single count");
  }
  const bool holds_zero = (connbytes.first == 0) != connbytes.inverted;
  if (!holds_zero && to->half_connbytes) return NoForm("0 is asked for alone");
  to->half_connbytes = false;
  to->matches.Push(connbytes);
  return {};
}

/// The name, and each beginning of it.
Status Helper(const Test& test, TestTarget* to) {
  if (test.relation != Relation::kInSet || !test.value.plain()) {
    return NoForm("iptables asks for a name and its beginnings");
  }
  std::vector<std::string> names;
  for (const auto& element : *test.set) {
    const auto view = element.key.view();
    const auto end = std::ranges::find(view, uint8_t{0});
    if (element.interval_end || view.size() != 16 || end == view.begin() ||
        std::any_of(end, view.end(), [](uint8_t b) { return b != 0; })) {
      return NoForm();
    }
    names.emplace_back(view.begin(), end);
  }
  std::ranges::sort(names, {}, &std::string::size);
  for (size_t i = 0; i < names.size(); ++i) {
    if (names[i] != names.back().substr(0, i + 1)) {
      return NoForm("iptables asks for a name and its beginnings");
    }
  }
  if (names.empty()) return NoForm();
  to->matches.Push(HelperMatch{names.back(), false});
  return {};
}

}  // namespace

Status RaiseMetaTest(const Meta& meta, const Test& test, TestTarget* to) {
  switch (meta.key) {
    case NFT_META_TIME_NS:
      return Date(test, to);
    case NFT_META_TIME_HOUR:
      return Hour(test, to);
    case NFT_META_LEN:
      return Length(test, to);
    case NFT_META_CPU:
      return Cpu(test, to);
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
      return Group(test, meta.key == NFT_META_OIFGROUP, to);
    case NFT_META_RTCLASSID:
      return Realm(test, to);
    default:
      return NoForm("iptables does not test this key");
  }
}

Status RaiseCountTest(const Ct& ct, const Test& test, TestTarget* to) {
  switch (ct.key) {
    case NFT_CT_PKTS:
    case NFT_CT_BYTES:
    case NFT_CT_AVGPKT:
      return Connbytes(ct, test, to);
    case NFT_CT_HELPER:
      return Helper(test, to);
    default:
      return NoForm("iptables does not test this key");
  }
}

}  // namespace nfarena::nft
