// Matches that ask the host, lowered from their payload: what compat/meaning
// says of them is too little to tell whether nftables means the same.
//
// Most are carried.  The reasons are facts of the kernel that a look at the
// names does not tell; each is a difference that a packet, or another program,
// can see.
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_addrtype.h>
#include <linux/netfilter/xt_policy.h>

#include <cstring>

#include "compat/lower/nft_emit.h"
#include "compat/lower/nft_host_payloads.h"
#include "compat/lower/nft_lowering.h"

namespace nfarena::nft {
namespace {

constexpr uint8_t kArriving =
    HookBit(Hook::kPrerouting) | HookBit(Hook::kInput);
constexpr uint8_t kLeaving =
    HookBit(Hook::kOutput) | HookBit(Hook::kPostrouting);

/// --pol none and --pol ipsec without elements ask whether there is any
/// transformation; that is one bit.
std::string LowerPolicy(const Extension& match, const RuleContext& context,
                        LoweredRule* out) {
  for (const bool inbound : {true, false}) {
    for (const bool none : {true, false}) {
      if (match != PackPolicy(inbound, none)) continue;
      if ((context.hook_mask & (inbound ? kLeaving : kArriving)) != 0) {
        return "the kernel refuses that direction in this chain";
      }
      Emitter emit(&out->exprs);
      if (inbound) {
        emit.LoadMeta(NFT_META_SECPATH);
      } else {
        emit.Add(Rt{NFT_RT_XFRM});
      }
      emit.Equal(Data::U8(none ? 0 : 1), false);
      return "";
    }
  }
  return "xfrm asks one state of a bundle by its place, policy asks for any "
         "or for all in order";
}

/// IPv6's MULTICAST and UNSPEC are properties of the address alone.  The
/// shapes are not those of -s and -d, which say the same.
std::string LowerAddrtype6(const Extension& match, LoweredRule* out) {
  const auto info = PayloadAs<xt_addrtype_info_v1>(match);
  if (!info || match.revision != 1) return "another revision";
  constexpr uint32_t kInverted =
      XT_ADDRTYPE_INVERT_SOURCE | XT_ADDRTYPE_INVERT_DEST;
  const auto of_address_alone = [](uint16_t types) {
    return types == 0 || types == XT_ADDRTYPE_MULTICAST ||
           types == XT_ADDRTYPE_UNSPEC;
  };
  if ((info->source == 0 && info->dest == 0) || (info->flags & ~kInverted) ||
      !of_address_alone(info->source) || !of_address_alone(info->dest)) {
    return "fib gives one type for an IPv6 address, xtables tests several "
           "properties";
  }
  Emitter emit(&out->exprs);
  const auto test = [&emit](uint16_t types, uint32_t offset, bool inverted) {
    if (types == XT_ADDRTYPE_MULTICAST) {
      emit.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, offset, 4);
      emit.EqualMasked(Data::Be32(0xff000000), Data::Be32(0xff000000),
                       inverted);
    } else if (types == XT_ADDRTYPE_UNSPEC) {
      Data ones = Data::Zero(16);
      ones.bytes.fill(0xff);
      emit.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, offset, 16);
      emit.Add(Bitwise{16, kReg1, kReg1, ones, Data::Zero(16)});
      emit.Equal(Data::Zero(16), inverted);
    }
  };
  test(info->source, 8, (info->flags & XT_ADDRTYPE_INVERT_SOURCE) != 0);
  test(info->dest, 24, (info->flags & XT_ADDRTYPE_INVERT_DEST) != 0);
  return "";
}

/// Why a match of that name is carried, whatever its options.
struct Reason {
  std::string_view name, why;
};
constexpr std::string_view kCutOff =
    "xtables drops a packet whose header is cut off, nftables ends the rule";
constexpr Reason kReasons[] = {
    {"bpf", "nftables runs no programs"},
    {"cgroup",
     "meta cgroup takes a listener for the answers it sends, cgroup takes full "
     "sockets only"},
    {"cluster", "nftables' hash of a connection is another one"},
    {"connlabel",
     "it makes room for labels in new connections, ct label does not"},
    {"eui64", "nftables compares no two fields of a packet"},
    {"ipcomp", kCutOff},
    {"mh", kCutOff},
    {"nfacct", "its counter is one of nfacct, not an object of nf_tables"},
    {"osf",
     "it looks through all fingerprints of a genre, nftables takes the first "
     "that fits"},
    {"physdev", "the inet families do not see the ports of a bridge"},
    {"rateest", "its estimators are no objects of nf_tables"},
    {"rpfilter",
     "fib takes routes of the types broadcast and anycast, rpfilter does not"},
    {"socket",
     "it turns defragmentation on in its namespace, nftables' socket does not"},
    {"srh", "nftables compares no two fields of a packet"},
};

}  // namespace

std::optional<std::string> LowerHostMatch(const Extension& match,
                                          const RuleContext& context,
                                          LoweredRule* out) {
  if (match.name == "policy") return LowerPolicy(match, context, out);
  if (match.name == "addrtype" && context.family == Family::kIpv6) {
    return LowerAddrtype6(match, out);
  }
  for (const Reason& reason : kReasons) {
    if (reason.name == match.name) return std::string(reason.why);
  }
  return std::nullopt;
}

}  // namespace nfarena::nft
