// Matches on what the kernel knows besides the packet (the clock, the CPU,
// devices, routes, the connection's counts) and on what it keeps from earlier
// packets.
//
// A match that keeps a table of addresses (hashlimit, recent, connlimit) has a
// dynamic set as its nearest relative, and none of them means the same on every
// sequence of packets; the reasons are below.
#include <limits.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <limits>

#include "compat/lower/nft_emit.h"
#include "compat/lower/nft_lowering.h"

namespace nfarena::nft {
namespace {

/// nft's number of the key type "string" (include/datatype.h of nftables).
constexpr uint32_t kTypeString = 5;
constexpr size_t kHelperNameBytes = 16;  // NF_CT_HELPER_NAME_LEN

constexpr uint64_t kNsPerS = 1'000'000'000;
constexpr uint32_t kLastSecond = 24 * 60 * 60 - 1;

class StateLowering {
 public:
  explicit StateLowering(const ConditionSite& site)
      : site_(site), emit_(&site.out->exprs) {}

  using Answer = std::optional<std::string>;

  Answer operator()(const QuotaMatch& quota) {
    // Both match while the bytes so far, this packet's included, are at most
    // the quota.  Kernels before the middle of 2025 had nft_quota end on the
    // packet that uses it up to the last byte.
    if (quota.bytes > static_cast<uint64_t>(INT64_MAX)) {
      return "nf_tables takes no quota of 2^63 bytes or more";
    }
    emit_.Add(
        Quota{quota.bytes, 0, quota.inverted ? uint32_t{NFT_QUOTA_F_INV} : 0u});
    return "";
  }

  Answer operator()(const TimeMatch& time) {
    if (time.local_time) {
      return "nftables' dates and hours are UTC, --kerneltz is the kernel's "
             "time zone";
    }
    constexpr uint8_t kAllWeekDays = 0xfe;
    constexpr uint32_t kAllMonthDays = 0xfffffffe;
    if (time.week_days != kAllWeekDays) {
      return "nftables' day of the week is in the kernel's time zone, not UTC";
    }
    if (time.month_days != kAllMonthDays) {
      return "nftables has no day of the month";
    }
    if (time.contiguous) {
      return "--contiguous is about days, and none is asked for";
    }
    if (time.date_first_s > time.date_last_s) return "an empty range of dates";
    const bool over_midnight = time.day_first_s >= time.day_last_s;
    if (over_midnight && time.day_first_s <= time.day_last_s + 1) {
      return "its hours are the whole day";
    }
    // xtables counts whole seconds; dates end in 2038 when none is given.
    emit_.LoadMeta(NFT_META_TIME_NS);
    emit_.HostToBigEndian(8);
    emit_.Between(Data::Be64(time.date_first_s * kNsPerS),
                  Data::Be64(time.date_last_s * kNsPerS + kNsPerS - 1), false);
    if (time.day_first_s == 0 && time.day_last_s == kLastSecond) return "";
    emit_.LoadMeta(NFT_META_TIME_HOUR);
    emit_.HostToBigEndian(4);
    if (over_midnight) {
      emit_.InRange(Data::Be32(time.day_last_s + 1),
                    Data::Be32(time.day_first_s - 1), true);
    } else {
      emit_.InRange(Data::Be32(time.day_first_s), Data::Be32(time.day_last_s),
                    false);
    }
    return "";
  }

  Answer operator()(const ConnbytesMatch& connbytes) {
    static constexpr uint32_t kKeys[] = {NFT_CT_PKTS, NFT_CT_BYTES,
                                         NFT_CT_AVGPKT};
    std::optional<uint8_t> direction;
    if (connbytes.direction == ConnbytesDirection::kOriginal) {
      direction = IP_CT_DIR_ORIGINAL;
    } else if (connbytes.direction == ConnbytesDirection::kReply) {
      direction = IP_CT_DIR_REPLY;
    }
    // A connection older than the accounting has no counts: xtables does not
    // match it, nftables takes them for 0.  One with counts has at least the
    // packet in hand.
    const bool holds_zero = (connbytes.first == 0) != connbytes.inverted;
    if (holds_zero) {
      emit_.Add(Ct{NFT_CT_PKTS, kReg1, {}});
      emit_.Equal(Data::Zero(8), true);
    }
    emit_.Add(Ct{kKeys[static_cast<size_t>(connbytes.what)], kReg1, direction});
    emit_.HostToBigEndian(8);
    emit_.Between(Data::Be64(connbytes.first), Data::Be64(connbytes.last),
                  connbytes.inverted);
    return "";
  }

  Answer operator()(const HelperMatch& helper) {
    if (helper.inverted) {
      return "inverted it also holds without a helper, where ct helper ends "
             "the rule";
    }
    if (helper.name.size() >= kHelperNameBytes) {
      return "a name longer than a helper can have";
    }
    if (helper.name.empty()) return "any helper is none that is compared";
    emit_.Add(Ct{NFT_CT_HELPER, kReg1, {}});
    // xtables compares as many bytes as the helper's own name has: one that is
    // the beginning of the name asked for matches as well.
    AnonymousSet set;
    set.key_type = kTypeString;
    set.key_len = kHelperNameBytes;
    for (size_t size = 1; size <= helper.name.size(); ++size) {
      Data key = Data::Zero(kHelperNameBytes);
      std::copy_n(helper.name.begin(), size, key.bytes.begin());
      set.elements.push_back({key, false});
    }
    AddLookup(std::move(set), false, kReg1, site_);
    return "";
  }

  Answer operator()(const CpuMatch& cpu) {
    emit_.LoadMeta(NFT_META_CPU);
    emit_.Equal(Data::Host32(cpu.cpu), cpu.inverted);
    return "";
  }

  Answer operator()(const DevgroupMatch& devgroup) {
    constexpr uint8_t kWithInput = HookBit(Hook::kPrerouting) |
                                   HookBit(Hook::kInput) |
                                   HookBit(Hook::kForward);
    constexpr uint8_t kWithOutput = HookBit(Hook::kForward) |
                                    HookBit(Hook::kOutput) |
                                    HookBit(Hook::kPostrouting);
    if (auto reason = CheckGroup(devgroup.source, kWithInput) +
                      CheckGroup(devgroup.destination, kWithOutput);
        !reason.empty()) {
      return reason;
    }
    if (!devgroup.source.asked && !devgroup.destination.asked) {
      return "nothing is asked";
    }
    TestGroup(NFT_META_IIFGROUP, devgroup.source);
    TestGroup(NFT_META_OIFGROUP, devgroup.destination);
    return "";
  }

  Answer operator()(const RealmMatch& realm) {
    emit_.Add(Rt{NFT_RT_CLASSID});
    emit_.EqualMasked(Data::Host32(realm.mask), Data::Host32(realm.id),
                      realm.inverted);
    return "";
  }

  Answer operator()(const HashlimitMatch&) {
    return "with its table full it drops the packet, where a set ends the "
           "rule; and it goes on with a bucket that has expired until it is "
           "collected";
  }

  Answer operator()(const RecentMatch&) {
    return "a full list forgets its oldest address, a set takes no new one; "
           "and /proc/net/xt_recent is part of it";
  }

  Answer operator()(const ConnlimitMatch&) {
    return "it counts each zone apart, and connections older than the rule; a "
           "set of connlimit expressions does neither";
  }

  template <typename Other>
  Answer operator()(const Other&) {
    return std::nullopt;
  }

 private:
  std::string CheckGroup(const DeviceGroupTest& test, uint8_t hooks) const {
    if (!test.asked) return "";
    if ((site_.context.hook_mask & ~hooks) != 0) {
      return "xtables refuses it where the packet has no such device";
    }
    if ((test.group & ~test.mask) != 0) return "a group outside its mask";
    return "";
  }

  void TestGroup(uint32_t key, const DeviceGroupTest& test) {
    if (!test.asked) return;
    emit_.LoadMeta(key);
    emit_.EqualMasked(Data::Host32(test.mask), Data::Host32(test.group),
                      test.inverted);
  }

  const ConditionSite& site_;
  Emitter emit_;
};

}  // namespace

void AddLookup(AnonymousSet set, bool inverted, uint32_t sreg,
               const ConditionSite& site) {
  set.id = (*site.next_set_id)++;
  site.out->exprs.push_back(Lookup{
      sreg, "__set%d", set.id, inverted ? uint32_t{NFT_LOOKUP_F_INV} : 0u, {}});
  site.out->sets.push_back(std::move(set));
}

std::optional<std::string> LowerStateMatch(const Condition& condition,
                                           const ConditionSite& site) {
  return std::visit(StateLowering(site), condition);
}

}  // namespace nfarena::nft
