// What iptables-nft 1.8.9 makes of a rule, byte for byte in what counts: the
// same expressions in the same order.  Native there are only the selector, tcp,
// udp, mark and limit, TRACE and NFLOG; everything else runs the xtables
// module.  Facts: iptables 1.8.9, iptables/nft.c, nft-shared.c, nft-ipv4.c.
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_NFLOG.h>
#include <linux/netfilter/xt_limit.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_tcpudp.h>

#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "compat/lower/nft_emit.h"
#include "compat/lower/nft_lowering.h"

namespace nfarena::nft {
namespace {

void AddReason(std::string_view text, LoweredRule* out) {
  if (!out->reason.empty()) out->reason += "; ";
  out->reason += text;
}

/// The payload as its structure, or nothing when it is too short for it.
template <typename T>
std::optional<T> As(const Extension& extension) {
  T value;
  if (extension.payload.size() < sizeof(T)) return std::nullopt;
  std::memcpy(&value, extension.payload.data(), sizeof(T));
  return value;
}

/// iptables-nft goes by the name, not by the mask.  Of "+" alone the model
/// keeps no name.
void TestInterface(uint32_t key, const InterfaceTest& test, bool inverted,
                   Emitter* emit) {
  const std::span name(reinterpret_cast<const uint8_t*>(test.name.data()),
                       test.name.size());
  const size_t length = strnlen(test.name.data(), test.name.size());
  if (length == 0 && !inverted) return;
  emit->LoadMeta(key);
  if (length != 0 && test.name[length - 1] != '+') {
    emit->Equal(Data(name.first(std::min(length + 1, name.size()))), inverted);
  } else if (length > 1) {
    emit->Equal(Data(name.first(length - 1)), inverted);
  } else if (inverted) {
    static constexpr uint8_t kNoInterface[] = {'I', 'N', 'V', 'A',
                                               'L', '/', 'D', 0};
    emit->Equal(Data(kNoInterface), false);
  }
}

/// Returns false for a compare of nothing, which the kernel refuses.
bool TestAddress(uint32_t offset, std::span<const uint8_t> address,
                 std::span<const uint8_t> mask, bool inverted, Emitter* emit) {
  const auto is_set = [](std::span<const uint8_t> bytes) {
    return !Emitter::AllZero(Data(bytes));
  };
  if (!is_set(address) && !is_set(mask) && !inverted) return true;
  size_t ones = 0;
  while (ones < mask.size() && mask[ones] == 0xff) ++ones;
  const bool bitwise = is_set(mask.subspan(ones));
  const size_t size = bitwise ? mask.size() : ones;
  if (size == 0) return false;
  emit->LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, offset,
                    static_cast<uint32_t>(size));
  if (bitwise) {
    const Data bits(mask);
    emit->Add(Bitwise{bits.size, kReg1, kReg1, bits, Data::Zero(bits.size)});
  }
  emit->Equal(Data(address.first(size)), inverted);
  return true;
}

Status SelectorAsIptablesNft(const Rule& rule, const RuleContext& context,
                             LoweredRule* out) {
  const Selector& selector = rule.selector;
  Emitter emit(&out->exprs);
  const auto inverted = [&selector](InvertBit bit) {
    return (selector.inverted & bit) != 0;
  };
  TestInterface(NFT_META_IIFNAME, selector.in, inverted(kInvertIn), &emit);
  TestInterface(NFT_META_OIFNAME, selector.out, inverted(kInvertOut), &emit);
  if (selector.protocol != 0) {
    emit.LoadMeta(NFT_META_L4PROTO);
    emit.Equal(Data::U8(static_cast<uint8_t>(selector.protocol)),
               inverted(kInvertProtocol));
  }
  const bool ipv4 = context.family == Family::kIpv4;
  const size_t size = ipv4 ? 4 : 16;
  const bool made =
      TestAddress(ipv4 ? 12 : 8, std::span(selector.src).first(size),
                  std::span(selector.src_mask).first(size),
                  inverted(kInvertSrc), &emit) &&
      TestAddress(ipv4 ? 16 : 24, std::span(selector.dst).first(size),
                  std::span(selector.dst_mask).first(size),
                  inverted(kInvertDst), &emit);
  if (!made) {
    return Fail(ErrorCode::kUnsupported,
                "iptables-nft makes an empty compare of an inverted /0, which "
                "the kernel refuses",
                PlaceOf(rule));
  }
  if (selector.fragment && ipv4) {
    emit.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, 6, 2);
    emit.EqualMasked(Data::Be16(0x1fff), Data::Zero(2),
                     !inverted(kInvertFragment));
  }
  return {};
}

void PortRangeTest(const uint16_t (&range)[2], bool inverted, uint32_t offset,
                   Emitter* emit) {
  if (range[0] == 0 && range[1] == 0xffff) return;  // even when inverted
  emit->LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, offset, 2);
  const Data low = Data::Be16(range[0]);
  const Data high = Data::Be16(range[1]);
  if (range[0] == range[1]) {
    emit->Equal(low, inverted);
  } else if (range[0] == 0) {
    emit->Add(Cmp{inverted ? NFT_CMP_GT : NFT_CMP_LTE, kReg1, high});
  } else {
    emit->InRange(low, high, inverted);
  }
}

void Ports(const uint16_t (&source)[2], bool source_inverted,
           const uint16_t (&destination)[2], bool destination_inverted,
           LoweredRule* out) {
  Emitter emit(&out->exprs);
  const auto single = [](const uint16_t(&range)[2]) {
    return range[0] != 0 && range[0] == range[1];
  };
  if (single(source) && single(destination) &&
      source_inverted == destination_inverted) {
    emit.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, 0, 4);
    emit.Equal(Data::Be32(uint32_t{source[0]} << 16 | destination[0]),
               source_inverted);
    if (source_inverted) {
      AddReason(
          "iptables-nft compares both inverted ports as one number, which "
          "also matches when only one differs",
          out);
    }
    return;
  }
  PortRangeTest(source, source_inverted, 0, &emit);
  PortRangeTest(destination, destination_inverted, 2, &emit);
}

/// The functions below return false when iptables-nft carries the match.
bool TcpAsIptablesNft(const Extension& match, LoweredRule* out) {
  const auto tcp = As<xt_tcp>(match);
  constexpr uint8_t kNative =
      XT_TCP_INV_SRCPT | XT_TCP_INV_DSTPT | XT_TCP_INV_FLAGS;
  xt_tcp nothing{};
  nothing.spts[1] = nothing.dpts[1] = 0xffff;
  if (!tcp || (tcp->invflags & ~kNative) != 0 || tcp->option != 0 ||
      std::memcmp(&*tcp, &nothing, sizeof(nothing)) == 0) {
    return false;
  }
  if (tcp->flg_mask != 0) {
    Emitter emit(&out->exprs);
    emit.LoadPayload(NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1);
    emit.Add(Bitwise{1, kReg1, kReg1, Data::U8(tcp->flg_mask), Data::Zero(1)});
    emit.Equal(Data::U8(tcp->flg_cmp), (tcp->invflags & XT_TCP_INV_FLAGS) != 0);
  }
  Ports(tcp->spts, (tcp->invflags & XT_TCP_INV_SRCPT) != 0, tcp->dpts,
        (tcp->invflags & XT_TCP_INV_DSTPT) != 0, out);
  return true;
}

bool UdpAsIptablesNft(const Extension& match, LoweredRule* out) {
  const auto udp = As<xt_udp>(match);
  xt_udp nothing{};
  nothing.spts[1] = nothing.dpts[1] = 0xffff;
  if (!udp || udp->invflags > XT_UDP_INV_MASK ||
      std::memcmp(&*udp, &nothing, sizeof(nothing)) == 0) {
    return false;
  }
  Ports(udp->spts, (udp->invflags & XT_UDP_INV_SRCPT) != 0, udp->dpts,
        (udp->invflags & XT_UDP_INV_DSTPT) != 0, out);
  return true;
}

bool MarkAsIptablesNft(const Extension& match, LoweredRule* out) {
  const auto mark = As<xt_mark_mtinfo1>(match);
  if (!mark) return false;
  Emitter emit(&out->exprs);
  emit.LoadMeta(NFT_META_MARK);
  emit.EqualMasked(Data::Host32(mark->mask), Data::Host32(mark->mark),
                   mark->invert != 0);
  return true;
}

bool LimitAsIptablesNft(const Extension& match, LoweredRule* out) {
  const auto limit = As<xt_rateinfo>(match);
  if (!limit || limit->avg == 0) return false;
  static constexpr uint32_t kUnits[] = {XT_LIMIT_SCALE * 24 * 60 * 60,
                                        XT_LIMIT_SCALE * 60 * 60,
                                        XT_LIMIT_SCALE * 60, XT_LIMIT_SCALE};
  size_t i = 1;
  while (i < std::size(kUnits) && limit->avg <= kUnits[i] &&
         kUnits[i] / limit->avg >= kUnits[i] % limit->avg) {
    ++i;
  }
  out->exprs.push_back(Limit{kUnits[i - 1] / limit->avg,
                             kUnits[i - 1] / XT_LIMIT_SCALE, limit->burst,
                             NFT_LIMIT_PKTS, 0});
  return true;
}

bool NflogAsIptablesNft(const Extension& target, LoweredRule* out) {
  const auto info = As<xt_nflog_info>(target);
  if (!info) return false;
  Log log;
  log.prefix.assign(info->prefix, strnlen(info->prefix, sizeof(info->prefix)));
  log.group = info->group;
  if ((info->flags & XT_NFLOG_F_COPY_LEN) != 0) log.snaplen = info->len;
  log.threshold = info->threshold;
  out->exprs.push_back(std::move(log));
  return true;
}

bool TraceAsIptablesNft(const Extension&, LoweredRule* out) {
  out->exprs.push_back(Immediate{NFT_REG32_01, Data::U8(1)});
  out->exprs.push_back(MetaWrite{NFT_META_NFTRACE, NFT_REG32_01});
  return true;
}

/// What iptables-nft has native expressions for; another revision is carried.
struct NativeForm {
  std::string_view name;
  uint8_t revision;
  bool (*lower)(const Extension& extension, LoweredRule* out);
};
constexpr NativeForm kNativeMatches[] = {{"tcp", 0, TcpAsIptablesNft},
                                         {"udp", 0, UdpAsIptablesNft},
                                         {"mark", 1, MarkAsIptablesNft},
                                         {"limit", 0, LimitAsIptablesNft}};
constexpr NativeForm kNativeTargets[] = {{"NFLOG", 0, NflogAsIptablesNft},
                                         {"TRACE", 0, TraceAsIptablesNft}};

bool LowerNative(std::span<const NativeForm> forms, const Extension& extension,
                 LoweredRule* out) {
  for (const NativeForm& form : forms) {
    if (form.name == extension.name && form.revision == extension.revision) {
      return form.lower(extension, out);
    }
  }
  return false;
}

}  // namespace

Status LowerAsIptablesNft(const Rule& rule, const RuleContext& context,
                          LoweredRule* out) {
  if (rule.target.kind == TargetKind::kQueue) {
    SourcePlace place = PlaceOf(rule);
    if (rule.target.column != 0) place.column = rule.target.column;
    place.text = "QUEUE";
    return Fail(ErrorCode::kUnsupported,
                "iptables-nft asks for a target module named QUEUE, and there "
                "is none",
                std::move(place));
  }
  RETURN_IF_ERROR(SelectorAsIptablesNft(rule, context, out));
  for (const Extension& match : rule.matches) {
    if (LowerNative(kNativeMatches, match, out)) continue;
    CarryMatch(match, out);
    AddReason("match " + match.name + " as iptables-nft", out);
  }
  out->exprs.push_back(Counter{rule.counters.packets, rule.counters.bytes});
  if (rule.target.kind != TargetKind::kExtension) {
    LowerVerdict(rule.target, out);
  } else if (!LowerNative(kNativeTargets, rule.target.extension, out)) {
    CarryTarget(rule.target.extension, out);
    AddReason("target " + rule.target.extension.name + " as iptables-nft", out);
  }
  out->compat = true;  // iptables-nft always names the protocol
  return {};
}

}  // namespace nfarena::nft
