#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstring>

#include "compat/lower/nft_emit.h"
#include "compat/lower/nft_lowering.h"

namespace nfarena::nft {
namespace {

/// What iptables-nft compares with when nothing may match: a name no interface
/// can have.
constexpr char kNoInterface[] = "INVAL/D";

/// Leading bytes of 0xff, or nullopt when others follow a gap.
std::optional<size_t> PrefixBytes(std::span<const uint8_t> mask) {
  const auto end =
      std::ranges::find_if(mask, [](uint8_t b) { return b != 0xff; });
  const bool rest_zero =
      std::all_of(end, mask.end(), [](uint8_t b) { return b == 0; });
  if (!rest_zero) return std::nullopt;
  return static_cast<size_t>(end - mask.begin());
}

void TestInterface(uint32_t key, const InterfaceTest& test, bool inverted,
                   Emitter* emit) {
  const std::span<const uint8_t> mask(test.mask);
  const std::span name(reinterpret_cast<const uint8_t*>(test.name.data()),
                       test.name.size());
  const auto prefix = PrefixBytes(mask);
  if (prefix && *prefix == 0) {
    if (!inverted) return;
    emit->LoadMeta(key);
    emit->Equal(Data(std::span(reinterpret_cast<const uint8_t*>(kNoInterface),
                               sizeof(kNoInterface))),
                false);
    return;
  }
  emit->LoadMeta(key);
  if (prefix) {
    // An exact name counts its NUL, so that "eth1" does not match "eth10".
    emit->Equal(Data(name.first(*prefix)), inverted);
    return;
  }
  Data masked(name);
  for (size_t i = 0; i < masked.bytes.size(); ++i) masked.bytes[i] &= mask[i];
  emit->EqualMasked(Data(mask), masked, inverted);
}

/// (address in the packet & mask) == address.  A mask of whole bytes shortens
/// the load instead.
void TestAddress(uint32_t offset, std::span<const uint8_t> address,
                 std::span<const uint8_t> mask, bool inverted, Emitter* emit) {
  bool inside = true;  // no bit of the address lies outside the mask
  for (size_t i = 0; i < address.size(); ++i) {
    inside &= (address[i] & ~mask[i]) == 0;
  }
  const auto prefix = PrefixBytes(mask);
  if (inside && prefix && *prefix == 0 && !inverted) return;
  const size_t size = inside && prefix && *prefix > 0 ? *prefix : mask.size();
  emit->LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, offset,
                    static_cast<uint32_t>(size));
  emit->EqualMasked(Data(mask.first(size)), Data(address.first(size)),
                    inverted);
}

}  // namespace

Status LowerSelector(const Rule& rule, const RuleContext& context,
                     LoweredRule* out) {
  const Selector& selector = rule.selector;
  Emitter emit(&out->exprs);
  const auto inverted = [&selector](InvertBit bit) {
    return (selector.inverted & bit) != 0;
  };
  TestInterface(NFT_META_IIFNAME, selector.in, inverted(kInvertIn), &emit);
  TestInterface(NFT_META_OIFNAME, selector.out, inverted(kInvertOut), &emit);
  if (selector.protocol > 0xff) {
    return Fail(ErrorCode::kUnsupported,
                "nf_tables compares protocols of one byte", PlaceOf(rule));
  }
  if (selector.protocol != 0) {
    emit.LoadMeta(NFT_META_L4PROTO);
    emit.Equal(Data::U8(static_cast<uint8_t>(selector.protocol)),
               inverted(kInvertProtocol));
  }
  const bool ipv4 = context.family == Family::kIpv4;
  const size_t size = ipv4 ? 4 : 16;
  TestAddress(ipv4 ? 12 : 8, std::span(selector.src).first(size),
              std::span(selector.src_mask).first(size), inverted(kInvertSrc),
              &emit);
  TestAddress(ipv4 ? 16 : 24, std::span(selector.dst).first(size),
              std::span(selector.dst_mask).first(size), inverted(kInvertDst),
              &emit);
  if (selector.fragment && !ipv4) {
    return Fail(ErrorCode::kUnsupported, "-f is IPv4's", PlaceOf(rule));
  }
  if (selector.fragment) {
    emit.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, 6, 2);
    emit.EqualMasked(Data::Be16(0x1fff), Data::Zero(2),
                     !inverted(kInvertFragment));
  } else if (inverted(kInvertFragment)) {
    return Fail(ErrorCode::kUnsupported, "an inverted -f without -f",
                PlaceOf(rule));
  }
  return {};
}

}  // namespace nfarena::nft
