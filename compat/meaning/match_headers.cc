#include "compat/meaning/match_headers.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/xt_dccp.h>
#include <linux/netfilter/xt_dscp.h>
#include <linux/netfilter/xt_ecn.h>
#include <linux/netfilter/xt_esp.h>
#include <linux/netfilter/xt_string.h>
#include <linux/netfilter/xt_tcpmss.h>
#include <linux/netfilter/xt_u32.h>
#include <linux/netfilter_ipv4/ipt_ah.h>
#include <linux/netfilter_ipv6/ip6t_ah.h>
#include <linux/netfilter_ipv6/ip6t_frag.h>
#include <linux/netfilter_ipv6/ip6t_ipv6header.h>
#include <linux/netfilter_ipv6/ip6t_opts.h>
#include <linux/netfilter_ipv6/ip6t_rt.h>

#include "compat/meaning/decoders.h"

namespace nfarena {
namespace {

using payload::FailAt;
using payload::Read;
using payload::RefuseBits;
using payload::Text;

// <linux/netfilter/xt_sctp.h> is no C++ (it uses _Bool and a macro "bytes"), so
// its structure stands here:
//   offset 0 destination ports, 4 source ports, 8 chunk map (a bit a type in
//   its first 32 bytes), 264 kind of test, 268 chunk flags (3 bytes each),
//   280 their number, 284 flags, 288 inverted
struct SctpInfo {
  uint16_t dpts[2];
  uint16_t spts[2];
  uint32_t chunkmap[64];
  uint32_t chunk_match_type;
  struct {
    uint8_t chunktype, flag, flag_mask;
  } flag_info[4];
  int32_t flag_count;
  uint32_t flags;
  uint32_t invflags;
};
static_assert(sizeof(SctpInfo) == 292);

// XT_SCTP_*, SCTP_CHUNK_MATCH_*
constexpr uint32_t kSctpSource = 1, kSctpDestination = 2, kSctpChunks = 4;
constexpr uint32_t kSctpAny = 1, kSctpAll = 2, kSctpOnly = 4;

template <typename T>
NumberRange Range(const T (&pair)[2], bool inverted) {
  return {pair[0], pair[1], inverted};
}

Result<Condition> DecodeEcn(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_ecn_info>(match));
  constexpr uint32_t kKnown =
      XT_ECN_OP_MATCH_IP | XT_ECN_OP_MATCH_ECE | XT_ECN_OP_MATCH_CWR;
  RETURN_IF_ERROR(RefuseBits(match, raw.operation, kKnown, "operation"));
  RETURN_IF_ERROR(RefuseBits(match, raw.invert, kKnown, "inversion flags"));
  EcnMatch ecn;
  ecn.test_ip = raw.operation & XT_ECN_OP_MATCH_IP;
  ecn.ip_ect = raw.ip_ect;
  ecn.ip_inverted = raw.invert & XT_ECN_OP_MATCH_IP;
  ecn.test_ece = raw.operation & XT_ECN_OP_MATCH_ECE;
  ecn.ece_inverted = raw.invert & XT_ECN_OP_MATCH_ECE;
  ecn.test_cwr = raw.operation & XT_ECN_OP_MATCH_CWR;
  ecn.cwr_inverted = raw.invert & XT_ECN_OP_MATCH_CWR;
  return ecn;
}

Result<Condition> DecodeEsp(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_esp>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, XT_ESP_INV_MASK, "inversion flags"));
  return EspMatch{Range(raw.spis, raw.invflags & XT_ESP_INV_SPI)};
}

Result<Condition> DecodeAh4(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<ipt_ah>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, IPT_AH_INV_MASK, "inversion flags"));
  AhMatch ah;
  ah.spi = Range(raw.spis, raw.invflags & IPT_AH_INV_SPI);
  return ah;
}

Result<Condition> DecodeAh6(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<ip6t_ah>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, IP6T_AH_INV_MASK, "inversion flags"));
  AhMatch ah;
  ah.family = Family::kIpv6;
  ah.spi = Range(raw.spis, raw.invflags & IP6T_AH_INV_SPI);
  ah.length_bytes = raw.hdrlen;
  ah.length_inverted = raw.invflags & IP6T_AH_INV_LEN;
  ah.reserved_zero = raw.hdrres != 0;
  return ah;
}

Result<SctpChunks> ToChunks(const Extension& match, const SctpInfo& raw) {
  if (!(raw.flags & kSctpChunks)) return SctpChunks::kNotAsked;
  switch (raw.chunk_match_type) {
    case kSctpAny:
      return SctpChunks::kAny;
    case kSctpAll:
      return SctpChunks::kAll;
    case kSctpOnly:
      return SctpChunks::kOnly;
    default:
      return FailAt(match, ErrorCode::kRange, "sctp: unknown chunk test");
  }
}

Result<Condition> DecodeSctp(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<SctpInfo>(match));
  RETURN_IF_ERROR(RefuseBits(
      match, raw.flags, kSctpSource | kSctpDestination | kSctpChunks, "flags"));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, raw.flags, "inversion flags"));
  if (raw.flag_count < 0 ||
      static_cast<size_t>(raw.flag_count) > std::size(raw.flag_info)) {
    return FailAt(match, ErrorCode::kRange, "sctp: too many chunk flags");
  }
  SctpMatch sctp;
  sctp.test_source = raw.flags & kSctpSource;
  sctp.source = Range(raw.spts, raw.invflags & kSctpSource);
  sctp.test_destination = raw.flags & kSctpDestination;
  sctp.destination = Range(raw.dpts, raw.invflags & kSctpDestination);
  ASSIGN_OR_RETURN(sctp.chunks, ToChunks(match, raw));
  sctp.chunks_inverted = raw.invflags & kSctpChunks;
  std::copy_n(raw.chunkmap, sctp.chunk_types.size(), sctp.chunk_types.begin());
  for (int i = 0; i < raw.flag_count; ++i) {
    const auto& flag = raw.flag_info[i];
    sctp.chunk_flags.push_back({flag.chunktype, flag.flag, flag.flag_mask});
  }
  return sctp;
}

Result<Condition> DecodeDccp(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_dccp_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.flags, XT_DCCP_VALID_FLAGS, "flags"));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, raw.flags, "inversion flags"));
  DccpMatch dccp;
  dccp.test_source = raw.flags & XT_DCCP_SRC_PORTS;
  dccp.source = Range(raw.spts, raw.invflags & XT_DCCP_SRC_PORTS);
  dccp.test_destination = raw.flags & XT_DCCP_DEST_PORTS;
  dccp.destination = Range(raw.dpts, raw.invflags & XT_DCCP_DEST_PORTS);
  dccp.test_type = raw.flags & XT_DCCP_TYPE;
  dccp.type_inverted = raw.invflags & XT_DCCP_TYPE;
  dccp.types = raw.typemask;
  dccp.test_option = raw.flags & XT_DCCP_OPTION;
  dccp.option_inverted = raw.invflags & XT_DCCP_OPTION;
  dccp.option = raw.option;
  return dccp;
}

Result<Condition> DecodeTcpmss(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_tcpmss_match_info>(match));
  return TcpmssMatch{raw.mss_min, raw.mss_max, raw.invert != 0};
}

Result<Condition> DecodeString(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_string_info>(match));
  RETURN_IF_ERROR(RefuseBits(match, raw.u.v1.flags,
                             XT_STRING_FLAG_INVERT | XT_STRING_FLAG_IGNORECASE,
                             "flags"));
  StringMatch string;
  string.from = raw.from_offset;
  string.to = raw.to_offset;
  string.algorithm = Text(raw.algo);
  string.ignore_case = raw.u.v1.flags & XT_STRING_FLAG_IGNORECASE;
  string.inverted = raw.u.v1.flags & XT_STRING_FLAG_INVERT;
  // The kernel loads "bm", "kmp" and "fsm", of which the last takes a pattern
  // of another kind.
  if (string.algorithm != "bm" && string.algorithm != "kmp") {
    return FailAt(match, ErrorCode::kUnsupported,
                  "string: algorithm " + string.algorithm + " is not known");
  }
  if (string.from > string.to || raw.patlen == 0 ||
      raw.patlen > XT_STRING_MAX_PATTERN_SIZE) {
    return FailAt(match, ErrorCode::kRange, "string: bad pattern or offsets");
  }
  string.pattern.assign(raw.pattern, raw.pattern + raw.patlen);
  return string;
}

Result<U32Test> ToU32Test(const Extension& match, const xt_u32_test& raw) {
  // The first number is where to start, so there is one.
  if (raw.nnums == 0 || raw.nnums > XT_U32_MAXSIZE + 1 ||
      raw.nvalues > XT_U32_MAXSIZE + 1) {
    return FailAt(match, ErrorCode::kRange, "u32: bad number of steps");
  }
  U32Test test;
  test.start = raw.location[0].number;
  for (size_t i = 1; i < raw.nnums; ++i) {
    const xt_u32_location_element& step = raw.location[i];
    if (step.nextop > XT_U32_AT) {
      return FailAt(match, ErrorCode::kRange, "u32: unknown operation");
    }
    const auto operation = static_cast<U32Operation>(step.nextop);
    if ((operation == U32Operation::kShiftLeft ||
         operation == U32Operation::kShiftRight) &&
        step.number >= 32) {
      return FailAt(match, ErrorCode::kRange, "u32: shift over 31");
    }
    test.steps.push_back({operation, step.number});
  }
  for (size_t i = 0; i < raw.nvalues; ++i) {
    test.values.push_back({raw.value[i].min, raw.value[i].max, false});
  }
  return test;
}

Result<Condition> DecodeU32(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<xt_u32>(match));
  if (raw.ntests > XT_U32_MAXSIZE + 1) {
    return FailAt(match, ErrorCode::kRange, "u32: too many tests");
  }
  U32Match u32;
  u32.inverted = raw.invert != 0;
  for (size_t i = 0; i < raw.ntests; ++i) {
    ASSIGN_OR_RETURN(auto test, ToU32Test(match, raw.tests[i]));
    u32.tests.push_back(std::move(test));
  }
  return u32;
}

Result<Condition> DecodeFrag(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<ip6t_frag>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, IP6T_FRAG_INV_MASK, "inversion flags"));
  FragMatch frag;
  // The length that --fraglen sets is looked at by nobody in the kernel.
  frag.id = Range(raw.ids, raw.invflags & IP6T_FRAG_INV_IDS);
  frag.reserved_zero = raw.flags & IP6T_FRAG_RES;
  frag.first = raw.flags & IP6T_FRAG_FST;
  frag.more = raw.flags & IP6T_FRAG_MF;
  frag.last = raw.flags & IP6T_FRAG_NMF;
  return frag;
}

Result<Condition> DecodeRt(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<ip6t_rt>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, IP6T_RT_INV_MASK, "inversion flags"));
  if (raw.addrnr > IP6T_RT_HOPS ||
      ((raw.flags & IP6T_RT_FST_MASK) && raw.addrnr == 0)) {
    return FailAt(match, ErrorCode::kRange, "rt: bad number of addresses");
  }
  const bool type_0 = (raw.flags & IP6T_RT_TYP) && raw.rt_type == 0 &&
                      !(raw.invflags & IP6T_RT_INV_TYP);
  if ((raw.flags & (IP6T_RT_RES | IP6T_RT_FST_MASK)) && !type_0) {
    return FailAt(match, ErrorCode::kRange, "rt: needs --rt-type 0");
  }
  RtMatch rt;
  rt.test_type = raw.flags & IP6T_RT_TYP;
  rt.type_inverted = raw.invflags & IP6T_RT_INV_TYP;
  rt.type = raw.rt_type;
  rt.segments_left = Range(raw.segsleft, raw.invflags & IP6T_RT_INV_SGS);
  rt.test_length = raw.flags & IP6T_RT_LEN;
  rt.length_inverted = raw.invflags & IP6T_RT_INV_LEN;
  rt.length_bytes = raw.hdrlen;
  rt.reserved_zero = raw.flags & IP6T_RT_RES;
  rt.test_addresses = raw.flags & IP6T_RT_FST;
  rt.addresses_among =
      rt.test_addresses && (raw.flags & IP6T_RT_FST_NSTRICT) != 0;
  for (size_t i = 0; i < raw.addrnr; ++i) {
    static_assert(sizeof(raw.addrs[0]) == sizeof(Address));
    Address address;
    std::memcpy(address.data(), &raw.addrs[i], address.size());
    rt.addresses.push_back(address);
  }
  return rt;
}

Result<Condition> DecodeOptions(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<ip6t_opts>(match));
  RETURN_IF_ERROR(
      RefuseBits(match, raw.invflags, IP6T_OPTS_INV_MASK, "inversion flags"));
  if (raw.optsnr > IP6T_OPTS_OPTSNR || (raw.flags & IP6T_OPTS_NSTRICT)) {
    return FailAt(match, ErrorCode::kRange, match.name + ": bad options");
  }
  OptionsMatch options;
  options.hop_by_hop = match.name == "hbh";
  options.test_length = raw.flags & IP6T_OPTS_LEN;
  options.length_inverted = raw.invflags & IP6T_OPTS_INV_LEN;
  options.length_bytes = raw.hdrlen;
  options.test_options = raw.flags & IP6T_OPTS_OPTS;
  for (size_t i = 0; i < raw.optsnr; ++i) {
    OptionTest option;
    option.type = static_cast<uint8_t>(raw.opts[i] >> 8);
    option.length = static_cast<uint8_t>(raw.opts[i] & 0xff);
    option.any_length = option.length == 0xff;
    options.options.push_back(option);
  }
  return options;
}

Result<Condition> DecodeIpv6header(Family, const Extension& match) {
  ASSIGN_OR_RETURN(const auto raw, Read<ip6t_ipv6header_info>(match));
  if (raw.modeflag == 0 && raw.invflags != 0 && raw.invflags != 0xff) {
    return FailAt(match, ErrorCode::kRange, "ipv6header: bad inversion");
  }
  return Ipv6headerMatch{raw.matchflags, raw.invflags, raw.modeflag != 0};
}

constexpr payload::Decoder<Condition> kDecoders[] = {
    // name, revision, IPv4, IPv6, decoder
    {"ecn", 0, true, true, DecodeEcn},
    {"esp", 0, true, true, DecodeEsp},
    {"ah", 0, true, false, DecodeAh4},
    {"ah", 0, false, true, DecodeAh6},
    {"sctp", 0, true, true, DecodeSctp},
    {"dccp", 0, true, true, DecodeDccp},
    {"tcpmss", 0, true, true, DecodeTcpmss},
    {"string", 1, true, true, DecodeString},
    {"u32", 0, true, true, DecodeU32},
    {"frag", 0, false, true, DecodeFrag},
    {"rt", 0, false, true, DecodeRt},
    {"hbh", 0, false, true, DecodeOptions},
    {"dst", 0, false, true, DecodeOptions},
    {"ipv6header", 0, false, true, DecodeIpv6header},
};

}  // namespace

std::span<const payload::Decoder<Condition>> HeaderDecoders() {
  return kDecoders;
}

}  // namespace nfarena
