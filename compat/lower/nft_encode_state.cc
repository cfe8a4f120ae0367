// The payloads of nft_lower_state's and nft_lower_bytes' matches.
#include <linux/netfilter.h>
#include <linux/netfilter/xt_connbytes.h>
#include <linux/netfilter/xt_cpu.h>
#include <linux/netfilter/xt_devgroup.h>
#include <linux/netfilter/xt_ecn.h>
#include <linux/netfilter/xt_helper.h>
#include <linux/netfilter/xt_quota.h>
#include <linux/netfilter/xt_realm.h>
#include <linux/netfilter/xt_string.h>
#include <linux/netfilter/xt_time.h>
#include <linux/netfilter/xt_u32.h>

#include <algorithm>
#include <cstddef>

#include "compat/lower/nft_encode.h"
#include "compat/lower/nft_pack.h"

namespace nfarena::nft {
namespace {

struct StateEncoder {
  using Answer = std::optional<Extension>;

  Answer operator()(const QuotaMatch& quota) const {
    xt_quota_info raw{};
    raw.flags = Bit<uint32_t>(quota.inverted, XT_QUOTA_INVERT);
    raw.quota = quota.bytes;
    return PackPart("quota", 0, raw, offsetof(xt_quota_info, master));
  }

  Answer operator()(const TimeMatch& time) const {
    xt_time_info raw{};
    raw.date_start = time.date_first_s;
    raw.date_stop = time.date_last_s;
    raw.daytime_start = time.day_first_s;
    raw.daytime_stop = time.day_last_s;
    raw.monthdays_match = time.month_days;
    raw.weekdays_match = time.week_days;
    return Pack("time", 0, raw);
  }

  Answer operator()(const ConnbytesMatch& connbytes) const {
    xt_connbytes_info raw{};
    raw.count.from = connbytes.inverted ? connbytes.last : connbytes.first;
    raw.count.to = connbytes.inverted ? connbytes.first : connbytes.last;
    raw.what = static_cast<uint8_t>(connbytes.what);
    raw.direction = static_cast<uint8_t>(connbytes.direction);
    return Pack("connbytes", 0, raw);
  }

  Answer operator()(const HelperMatch& helper) const {
    xt_helper_info raw{};
    raw.invert = helper.inverted ? 1 : 0;
    CopyText(helper.name, raw.name);
    return Pack("helper", 0, raw);
  }

  Answer operator()(const CpuMatch& cpu) const {
    return Pack("cpu", 0, xt_cpu_info{cpu.cpu, cpu.inverted ? 1u : 0u});
  }

  Answer operator()(const DevgroupMatch& devgroup) const {
    xt_devgroup_info raw{};
    const DeviceGroupTest& source = devgroup.source;
    const DeviceGroupTest& destination = devgroup.destination;
    raw.flags = Bit<uint32_t>(source.asked, XT_DEVGROUP_MATCH_SRC) |
                Bit<uint32_t>(source.inverted, XT_DEVGROUP_INVERT_SRC) |
                Bit<uint32_t>(destination.asked, XT_DEVGROUP_MATCH_DST) |
                Bit<uint32_t>(destination.inverted, XT_DEVGROUP_INVERT_DST);
    raw.src_group = source.group;
    raw.src_mask = source.mask;
    raw.dst_group = destination.group;
    raw.dst_mask = destination.mask;
    return Pack("devgroup", 0, raw);
  }

  Answer operator()(const RealmMatch& realm) const {
    xt_realm_info raw{};
    raw.id = realm.id;
    raw.mask = realm.mask;
    raw.invert = realm.inverted;
    return Pack("realm", 0, raw);
  }

  Answer operator()(const EcnMatch& ecn) const {
    xt_ecn_info raw{};
    const auto bits = [](bool ip, bool ece, bool cwr) {
      return static_cast<uint8_t>((ip ? XT_ECN_OP_MATCH_IP : 0) |
                                  (ece ? XT_ECN_OP_MATCH_ECE : 0) |
                                  (cwr ? XT_ECN_OP_MATCH_CWR : 0));
    };
    raw.operation = bits(ecn.test_ip, ecn.test_ece, ecn.test_cwr);
    raw.invert = bits(ecn.ip_inverted, ecn.ece_inverted, ecn.cwr_inverted);
    raw.ip_ect = ecn.ip_ect;
    return Pack("ecn", 0, raw);
  }

  Answer operator()(const U32Match& u32) const {
    xt_u32 raw{};
    raw.ntests = static_cast<uint8_t>(
        std::min<size_t>(u32.tests.size(), XT_U32_MAXSIZE));
    raw.invert = u32.inverted;
    for (size_t i = 0; i < raw.ntests; ++i) Encode(u32.tests[i], &raw.tests[i]);
    return Pack("u32", 0, raw);
  }

  Answer operator()(const StringMatch& string) const {
    xt_string_info raw{};
    raw.from_offset = string.from;
    raw.to_offset = string.to;
    CopyText(string.algorithm, raw.algo);
    raw.patlen = static_cast<uint8_t>(
        std::min<size_t>(string.pattern.size(), sizeof(raw.pattern)));
    std::copy_n(string.pattern.begin(), raw.patlen, raw.pattern);
    return PackPart("string", 1, raw, offsetof(xt_string_info, config));
  }

  template <typename Other>
  Answer operator()(const Other&) const {
    return std::nullopt;
  }

 private:
  static void Encode(const U32Test& test, xt_u32_test* raw) {
    static constexpr uint8_t kOps[] = {XT_U32_AND, XT_U32_LEFTSH,
                                       XT_U32_RIGHTSH, XT_U32_AT};
    raw->location[0].number = test.start;
    raw->nnums = 1;
    for (const U32Step& step : test.steps) {
      if (raw->nnums == std::size(raw->location)) break;
      raw->location[raw->nnums].nextop =
          kOps[static_cast<size_t>(step.operation)];
      raw->location[raw->nnums++].number = step.number;
    }
    for (const NumberRange& value : test.values) {
      if (raw->nvalues == std::size(raw->value)) break;
      raw->value[raw->nvalues++] = {value.first, value.last};
    }
  }
};

}  // namespace

std::optional<Extension> EncodeStateMatch(const Condition& condition) {
  return std::visit(StateEncoder{}, condition);
}

}  // namespace nfarena::nft
