#include "compat/lower/nft_raising.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/if_arp.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "compat/lower/nft_payload.h"
#include "compat/lower/nft_test_shape.h"

namespace nfarena::nft {
namespace {

constexpr uint32_t kAllBits = 0xffffffff;

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

Address ToAddress(const Data& data) {
  Address address{};
  std::ranges::copy(data.view(), address.begin());
  return address;
}

PortRange ToPorts(const Interval& interval) {
  return {interval.from.be16(), interval.to.be16(), interval.inverted};
}

/// The number of the 32-bit register at which netlink's register begins.
std::optional<size_t> WordOf(uint32_t reg) {
  if (reg >= NFT_REG_1 && reg <= NFT_REG_4) return (reg - NFT_REG_1) * 4;
  if (reg >= NFT_REG32_00 && reg <= NFT_REG32_15) return reg - NFT_REG32_00;
  return std::nullopt;
}

class RuleRaiser {
 public:
  RuleRaiser(Family family, const RuleRecord& record, const SetContents& sets)
      : family_(family), record_(record), sets_(sets) {}

  Result<Rule> Run() {
    if (!record_.comment.empty()) Push(CommentMatch{record_.comment});
    for (const Expr& expr : record_.exprs) {
      current_ = &expr;
      RETURN_IF_ERROR(
          std::visit([this](const auto& e) { return Take(e); }, expr));
    }
    for (Value& value : registers_) RETURN_IF_ERROR(Forget(&value));
    if (ether_) return No("a test of the device's type alone");
    for (Pending& pending : pending_) {
      rule_.matches.push_back(
          pending.condition
              ? EncodeMatch(family_, *pending.condition,
                            static_cast<uint8_t>(rule_.selector.protocol))
              : std::move(pending.carried));
    }
    return std::move(rule_);
  }

 private:
  /// A match of the rule being made; tests that follow may still add to it.
  struct Pending {
    std::optional<Condition> condition;
    Extension carried;
  };
  using Handler = Status (RuleRaiser::*)(const Test&);

  struct PayloadHandler {
    uint32_t base, offset, min_len, max_len;
    bool ipv4, ipv6;
    Handler handle;
  };
  struct KeyHandler {
    uint32_t key;
    Handler handle;
  };

  static const PayloadHandler kPayloadHandlers[];
  static const KeyHandler kMetaHandlers[];
  static const KeyHandler kCtHandlers[];

  tl::unexpected<Error> No(std::string_view why = "") const {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("expression \"{}\" has no form in iptables{}{}",
                            current_ != nullptr ? PrintExpr(*current_) : "",
                            why.empty() ? "" : ": ", why));
  }

  // ----------------------------------------------------------- registers

  /// A load that nothing used is a test of its own, or an error.
  Status Forget(Value* value) {
    if (value->used) return {};
    value->used = true;
    if (const auto* meta = std::get_if<Meta>(&value->source)) {
      // iptables-nft 1.8.9 makes a lone load of "-i +".
      if (meta->key == NFT_META_IIFNAME) {
        rule_.selector.in.name[0] = '+';
        return {};
      }
      if (meta->key == NFT_META_OIFNAME) {
        rule_.selector.out.name[0] = '+';
        return {};
      }
    }
    if (const auto* payload = std::get_if<Payload>(&value->source)) {
      // The guard of NftOptions::exact_fragments.
      if (payload->base == NFT_PAYLOAD_TRANSPORT_HEADER &&
          (payload->len == 3 || payload->len == 7 || payload->len == 16)) {
        return {};
      }
    }
    return No("a value is loaded and not used");
  }

  template <typename Source>
  Status Load(uint32_t reg, const Source& source) {
    const auto word = WordOf(reg);
    if (!word) return No("no such register");
    RETURN_IF_ERROR(Forget(&registers_[*word]));
    registers_[*word] = Value{source, std::nullopt, false, false};
    return {};
  }

  /// The value in a register, which counts as used from now on.
  const Value* Use(uint32_t reg) {
    const auto word = WordOf(reg);
    if (!word ||
        std::holds_alternative<std::monostate>(registers_[*word].source)) {
      return nullptr;
    }
    registers_[*word].used = true;
    return &registers_[*word];
  }

  std::optional<Data> Constant(uint32_t reg, size_t size) {
    const Value* value = Use(reg);
    if (value == nullptr || !value->plain()) return std::nullopt;
    const auto* immediate = std::get_if<Immediate>(&value->source);
    if (immediate == nullptr || immediate->data.size != size) {
      return std::nullopt;
    }
    return immediate->data;
  }

  // ---------------------------------------------------------- expressions

  Status Take(const Payload& e) { return Load(e.dreg, e); }
  Status Take(const Meta& e) { return Load(e.dreg, e); }
  Status Take(const Ct& e) { return Load(e.dreg, e); }
  Status Take(const Fib& e) { return Load(e.dreg, e); }
  Status Take(const Numgen& e) { return Load(e.dreg, e); }
  Status Take(const Immediate& e) { return Load(e.dreg, e); }

  Status Take(const Bitwise& e) {
    const Value* from = Use(e.sreg);
    const auto word = WordOf(e.dreg);
    if (from == nullptr || !word || !from->plain()) return No();
    Value value = *from;
    value.bitwise = e;
    value.used = false;
    registers_[*word] = std::move(value);
    return {};
  }

  Status Take(const Byteorder& e) {
    const Value* from = Use(e.sreg);
    const auto word = WordOf(e.dreg);
    if (from == nullptr || !word || !from->plain() || e.len != 4 ||
        e.size != 4 || e.op != NFT_BYTEORDER_HTON) {
      return No();
    }
    Value value = *from;
    value.swapped = true;
    value.used = false;
    registers_[*word] = std::move(value);
    return {};
  }

  Status Take(const Cmp& e) {
    static constexpr Relation kRelations[] = {
        Relation::kEqual,  Relation::kNotEqual, Relation::kLess,
        Relation::kAtMost, Relation::kMore,     Relation::kAtLeast};
    if (e.op >= std::size(kRelations)) return No();
    return Dispatch(e.sreg, {.relation = kRelations[e.op], .from = e.data});
  }

  Status Take(const Range& e) {
    if (e.op != NFT_RANGE_EQ && e.op != NFT_RANGE_NEQ) return No();
    return Dispatch(e.sreg,
                    {.relation = e.op == NFT_RANGE_EQ ? Relation::kInside
                                                      : Relation::kOutside,
                     .from = e.from,
                     .to = e.to});
  }

  Status Take(const Lookup& e) {
    if (e.dreg || (e.flags & ~uint32_t{NFT_LOOKUP_F_INV}) != 0) return No();
    const auto* set = sets_.Find(record_.table, e);
    if (set == nullptr) return No("the elements of its set are not there");
    return Dispatch(e.sreg, {.relation = (e.flags & NFT_LOOKUP_F_INV) != 0
                                             ? Relation::kNotInSet
                                             : Relation::kInSet,
                             .set = set});
  }

  Status Take(const Counter& e) {
    if (counted_) return No("a second counter");
    counted_ = true;
    rule_.counters = {e.packets, e.bytes};
    return {};
  }

  Status Take(const Limit& e) {
    constexpr uint64_t kScale = 10'000;
    if (e.type != NFT_LIMIT_PKTS || e.flags != 0 || e.rate == 0 ||
        e.unit_s > kAllBits / kScale) {
      return No();
    }
    RETURN_IF_ERROR(IsTest());
    const uint64_t interval = e.unit_s * kScale / e.rate;
    if (interval == 0) return No("a rate that iptables cannot say");
    Push(LimitMatch{static_cast<uint32_t>(interval), e.burst});
    return {};
  }

  Status Take(const CarriedMatch& e) {
    RETURN_IF_ERROR(IsTest());
    Pending pending;
    pending.carried = Carried(e.name, e.revision, e.info);
    pending_.push_back(std::move(pending));
    return {};
  }

  Status Take(const CarriedTarget& e) {
    // What lowering makes of -j QUEUE; -j NFQUEUE has a later revision.
    if (e.name == "NFQUEUE" && e.revision == 0 &&
        std::ranges::all_of(e.info, [](uint8_t b) { return b == 0; })) {
      return SetTarget(TargetKind::kQueue);
    }
    RETURN_IF_ERROR(SetTarget(TargetKind::kExtension));
    rule_.target.extension = Carried(e.name, e.revision, e.info);
    return {};
  }

  Status Take(const Verdict& e) {
    switch (e.code) {
      case NF_ACCEPT:
        return SetTarget(TargetKind::kAccept);
      case NF_DROP:
        return SetTarget(TargetKind::kDrop);
      case NFT_RETURN:
        return SetTarget(TargetKind::kReturn);
      case NFT_JUMP:
      case NFT_GOTO:
        RETURN_IF_ERROR(SetTarget(e.code == NFT_JUMP ? TargetKind::kJump
                                                     : TargetKind::kGoto));
        rule_.target.chain = e.chain;
        return {};
      default:
        return No();
    }
  }

  Status Take(const Reject& e) {
    RejectTarget reject;
    reject.family = family_;
    if (e.type == NFT_REJECT_TCP_RST) {
      reject.tcp_reset = true;
      return SetAction(reject);
    }
    static constexpr uint8_t kCodes4[] = {0, 1, 2, 3, 9, 10, 13};
    const bool known = family_ == Family::kIpv4
                           ? std::ranges::count(kCodes4, e.code) != 0
                           : e.code <= 6;
    if (e.type != NFT_REJECT_ICMP_UNREACH || !known) return No();
    reject.icmp_code = e.code;
    return SetAction(reject);
  }

  Status Take(const Log& e) {
    // The arrays of the two targets: 30 and 64 bytes with their NUL.
    if (e.group) {
      if (e.prefix.size() > 63 || e.level || e.flags != 0) return No();
      return SetAction(NflogTarget{*e.group, e.threshold, e.snaplen.has_value(),
                                   e.snaplen.value_or(0), e.prefix});
    }
    const uint32_t level = e.level.value_or(NFT_LOGLEVEL_WARNING);
    if (e.prefix.size() > 29 || level > NFT_LOGLEVEL_DEBUG || e.snaplen ||
        e.threshold != 0 || e.flags > 0xff) {
      return No();
    }
    return SetAction(LogTarget{static_cast<uint8_t>(level),
                               static_cast<uint8_t>(e.flags), e.prefix});
  }

  Status Take(const Queue& e) {
    return SetAction(NfqueueTarget{e.first, e.total,
                                   (e.flags & NFT_QUEUE_FLAG_BYPASS) != 0,
                                   (e.flags & NFT_QUEUE_FLAG_CPU_FANOUT) != 0});
  }

  Status Take(const Notrack&) {
    CtTarget ct;
    ct.notrack = true;
    return SetAction(ct);
  }

  Status Take(const Nat& e) {
    NatParameters to;
    to.flags = e.flags & kNatOptionFlags;
    if (e.address_min != 0) {
      const size_t size = family_ == Family::kIpv4 ? 4 : 16;
      const auto first = Constant(e.address_min, size);
      const auto last =
          e.address_max != 0 ? Constant(e.address_max, size) : first;
      if (!first || !last) return No("an address that is no constant");
      to.first = ToAddress(*first);
      to.last = ToAddress(*last);
      to.flags |= kNatToAddresses;
    }
    RETURN_IF_ERROR(Ports(e.proto_min, e.proto_max, &to));
    if ((e.flags & kNatToNetwork) != 0) {
      to.flags = kNatToAddresses;
      return SetAction(NetmapTarget{to});
    }
    if (e.type == NFT_NAT_SNAT) return SetAction(SnatTarget{to});
    return SetAction(DnatTarget{to});
  }

  Status Take(const Masq& e) {
    NatParameters to;
    to.flags = e.flags & kNatOptionFlags;
    RETURN_IF_ERROR(Ports(e.proto_min, e.proto_max, &to));
    return SetAction(MasqueradeTarget{to});
  }

  Status Take(const Redir& e) {
    NatParameters to;
    to.flags = e.flags & kNatOptionFlags;
    RETURN_IF_ERROR(Ports(e.proto_min, e.proto_max, &to));
    return SetAction(RedirectTarget{to});
  }

  Status Take(const MetaWrite& e) {
    const Value* value = Use(e.sreg);
    if (value == nullptr) return No();
    switch (e.key) {
      case NFT_META_MARK:
        return SetMark(*value);
      case NFT_META_NFTRACE: {
        const auto* constant = std::get_if<Immediate>(&value->source);
        if (constant == nullptr || constant->data.bytes[0] != 1) return No();
        return SetAction(TraceTarget{});
      }
      case NFT_META_PRIORITY: {
        const auto constant = Constant(e.sreg, 4);
        if (!constant) return No();
        return SetAction(ClassifyTarget{constant->host32()});
      }
      default:
        return No();
    }
  }

  Status Take(const CtWrite& e) {
    const Value* value = Use(e.sreg);
    if (value == nullptr || e.key != NFT_CT_MARK || e.direction ||
        value->swapped) {
      return No();
    }
    ConnmarkTarget mark;
    if (const auto* constant = std::get_if<Immediate>(&value->source)) {
      if (constant->data.size != 4 || value->bitwise) return No();
      mark.value = constant->data.host32();
      mark.connmark_mask = kAllBits;
      return SetAction(mark);
    }
    if (IsCtMark(*value) && value->bitwise) {
      mark.value = value->bitwise->xor_bits.host32();
      mark.connmark_mask = ~value->bitwise->mask.host32();
      return SetAction(mark);
    }
    if (IsMetaMark(*value)) {
      mark.mode = ConnmarkMode::kSave;
      mark.connmark_mask = kAllBits;
      mark.mark_mask = MaskOf(*value);
      if (value->bitwise && value->bitwise->xor_bits.host32() != 0) return No();
      return SetAction(mark);
    }
    return No();
  }

  Status Take(const PayloadWrite& e) {
    const Value* value = Use(e.sreg);
    if (value == nullptr || e.base != NFT_PAYLOAD_NETWORK_HEADER ||
        value->swapped) {
      return No();
    }
    if (family_ == Family::kIpv6 && e.offset == 7 && e.len == 1) {
      const auto constant = Constant(e.sreg, 1);
      if (!constant) return No();
      return SetAction(TtlTarget{family_, TtlChange::kSet, constant->bytes[0]});
    }
    // Words of the header, rewritten in place.
    const auto* loaded = std::get_if<Payload>(&value->source);
    if (loaded == nullptr || loaded->base != e.base ||
        loaded->offset != e.offset || loaded->len != 2 || e.len != 2 ||
        !value->bitwise || value->bitwise->len != 2) {
      return No();
    }
    const uint16_t keep = value->bitwise->mask.be16();
    const uint16_t bits = value->bitwise->xor_bits.be16();
    if (e.offset == 8 && family_ == Family::kIpv4) {
      if (keep != 0x00ff || (bits & 0xff) != 0) return No();
      return SetAction(
          TtlTarget{family_, TtlChange::kSet, static_cast<uint8_t>(bits >> 8)});
    }
    if (e.offset != 0) return No();
    return SetTrafficClass(keep, bits);
  }

  Status Take(const Other&) { return No(); }

  // -------------------------------------------------------------- targets

  static constexpr uint32_t kNatOptionFlags =
      kNatToRandom | kNatToPersistent | kNatToRandomFully;

  Status SetTarget(TargetKind kind) {
    if (rule_.target.kind != TargetKind::kNone) return No("a second target");
    rule_.target.kind = kind;
    return {};
  }

  Status SetAction(const Action& action) {
    RETURN_IF_ERROR(SetTarget(TargetKind::kExtension));
    rule_.target.extension = EncodeTarget(family_, action);
    return {};
  }

  static Extension Carried(const std::string& name, uint32_t revision,
                           const std::vector<uint8_t>& info) {
    Extension extension;
    extension.name = name;
    extension.revision = static_cast<uint8_t>(revision);
    extension.payload = info;
    extension.payload.resize((info.size() + 7) & ~size_t{7});
    extension.user_size = static_cast<uint16_t>(
        std::min<size_t>(extension.payload.size(), 0xffff));
    return extension;
  }

  Status Ports(uint32_t min, uint32_t max, NatParameters* to) {
    if (min == 0) return {};
    const auto first = Constant(min, 2);
    const auto last = max != 0 ? Constant(max, 2) : first;
    if (!first || !last) return No("a port that is no constant");
    to->first_port = first->be16();
    to->last_port = last->be16();
    to->flags |= kNatToPorts;
    return {};
  }

  static bool IsMetaMark(const Value& value) {
    const auto* meta = std::get_if<Meta>(&value.source);
    return meta != nullptr && meta->key == NFT_META_MARK;
  }
  static bool IsCtMark(const Value& value) {
    const auto* ct = std::get_if<Ct>(&value.source);
    return ct != nullptr && ct->key == NFT_CT_MARK && !ct->direction;
  }
  static uint32_t MaskOf(const Value& value) {
    return value.bitwise ? value.bitwise->mask.host32() : kAllBits;
  }

  Status SetMark(const Value& value) {
    if (value.swapped) return No();
    if (const auto* constant = std::get_if<Immediate>(&value.source)) {
      if (constant->data.size != 4 || value.bitwise) return No();
      return SetAction(MarkTarget{constant->data.host32(), kAllBits});
    }
    if (IsMetaMark(value) && value.bitwise) {
      return SetAction(MarkTarget{value.bitwise->xor_bits.host32(),
                                  ~value.bitwise->mask.host32()});
    }
    if (IsCtMark(value)) {
      if (value.bitwise && value.bitwise->xor_bits.host32() != 0) return No();
      ConnmarkTarget mark;
      mark.mode = ConnmarkMode::kRestore;
      mark.connmark_mask = MaskOf(value);
      mark.mark_mask = kAllBits;
      return SetAction(mark);
    }
    return No();
  }

  Status SetTrafficClass(uint16_t keep, uint16_t bits) {
    const int shift = family_ == Family::kIpv4 ? 0 : 4;
    const auto changed = static_cast<uint16_t>(~keep);
    if ((changed & ~(0xff << shift)) != 0 || (bits & ~(0xff << shift)) != 0) {
      return No();
    }
    const auto mask = static_cast<uint8_t>(changed >> shift);
    const auto value = static_cast<uint8_t>(bits >> shift);
    if (mask == 0xfc && (value & 3) == 0) {
      return SetAction(DscpTarget{static_cast<uint8_t>(value >> 2)});
    }
    return SetAction(TosTarget{value, mask});
  }

  // ---------------------------------------------------------------- tests

  /// iptables has its tests before the counter and the target.
  Status IsTest() const {
    if (counted_) return No("a test behind the counter");
    if (rule_.target.kind != TargetKind::kNone) {
      return No("a test behind the target");
    }
    return {};
  }

  void Push(Condition condition) {
    Pending pending;
    pending.condition = std::move(condition);
    pending_.push_back(std::move(pending));
  }

  /// The last match when it is a T that `fits`, else a new one.
  template <typename T, typename Fits>
  T& Join(const Fits& fits) {
    if (!pending_.empty() && pending_.back().condition) {
      T* last = std::get_if<T>(&*pending_.back().condition);
      if (last != nullptr && fits(*last)) return *last;
    }
    Push(T{});
    return std::get<T>(*pending_.back().condition);
  }

  Status Dispatch(uint32_t reg, Test test) {
    const Value* value = Use(reg);
    if (value == nullptr) return No();
    RETURN_IF_ERROR(IsTest());
    test.value = *value;
    return std::visit(
        Overloaded{
            [&](const Payload& e) { return DispatchPayload(e, test); },
            [&](const Meta& e) { return DispatchMeta(e, test); },
            [&](const Ct& e) { return DispatchCt(e, test); },
            [&](const Fib& e) { return AddressType(e, test); },
            [&](const Numgen& e) { return Statistic(e, test); },
            [&](const auto&) -> Status { return No(); },
        },
        test.value.source);
  }

  Status DispatchPayload(const Payload& e, const Test& test);
  Status DispatchMeta(const Meta& e, const Test& test);
  Status DispatchCt(const Ct& e, const Test& test);

  // Selector.

  Status In(const Test& test) {
    return Interface(test, kInvertIn, &rule_.selector.in);
  }
  Status Out(const Test& test) {
    return Interface(test, kInvertOut, &rule_.selector.out);
  }

  Status Interface(const Test& test, InvertBit bit, InterfaceTest* to) {
    if (!test.equality() || test.value.swapped || *to != InterfaceTest{} ||
        test.from.size == 0) {
      return No();
    }
    const auto view = test.from.view();
    if (test.inverted()) Invert(bit);
    if (test.value.bitwise) {  // a mask with gaps
      const Bitwise& bitwise = *test.value.bitwise;
      if (bitwise.len != to->mask.size() || view.size() != to->name.size()) {
        return No();
      }
      std::ranges::copy(bitwise.mask.view(), to->mask.begin());
      std::memcpy(to->name.data(), view.data(), view.size());
      return {};
    }
    static constexpr char kNoInterface[] = "INVAL/D";
    if (!test.inverted() && view.size() == sizeof(kNoInterface) &&
        std::memcmp(view.data(), kNoInterface, view.size()) == 0) {
      Invert(bit);
      to->name[0] = '+';
      return {};
    }
    const auto end = std::ranges::find(view, uint8_t{0});
    if (std::any_of(end, view.end(), [](uint8_t b) { return b != 0; })) {
      return No();
    }
    const auto length = static_cast<size_t>(end - view.begin());
    std::memcpy(to->name.data(), view.data(), length);
    if (end != view.end()) {  // the whole name with its NUL
      std::fill_n(to->mask.begin(), length + 1, uint8_t{0xff});
      return {};
    }
    if (length + 2 > to->name.size()) return No("a prefix that is too long");
    to->name[length] = '+';
    std::fill_n(to->mask.begin(), length, uint8_t{0xff});
    return {};
  }

  void Invert(InvertBit bit) {
    rule_.selector.inverted =
        static_cast<uint8_t>(rule_.selector.inverted | bit);
  }

  Status Protocol(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1) {
      return No();
    }
    const uint8_t protocol = test.from.bytes[0];
    const bool inverted = (rule_.selector.inverted & kInvertProtocol) != 0;
    if (rule_.selector.protocol != 0) {
      // nft tests it again before each header field.
      if (rule_.selector.protocol == protocol && !inverted &&
          !test.inverted()) {
        return {};
      }
      return No("a second protocol");
    }
    if (protocol == 0) return No("protocol 0 is iptables' \"any\"");
    rule_.selector.protocol = protocol;
    if (test.inverted()) Invert(kInvertProtocol);
    return {};
  }

  Status Source(const Test& test) {
    return AddressTest(test, kInvertSrc, &rule_.selector.src,
                       &rule_.selector.src_mask, &has_source_,
                       &IprangeMatch::source);
  }
  Status Destination(const Test& test) {
    return AddressTest(test, kInvertDst, &rule_.selector.dst,
                       &rule_.selector.dst_mask, &has_destination_,
                       &IprangeMatch::destination);
  }

  Status AddressTest(const Test& test, InvertBit bit, Address* address,
                     Address* mask, bool* taken,
                     std::optional<AddressRange> IprangeMatch::*side) {
    const size_t size = std::get<Payload>(test.value.source).len;
    if (!test.equality()) {
      const auto interval = ToInterval(test, size);
      const size_t whole = family_ == Family::kIpv4 ? 4 : 16;
      if (!interval || !test.value.plain() || size != whole) return No();
      // Lowering tests a source before a destination of the same match.
      auto& iprange = Join<IprangeMatch>([side](const IprangeMatch& last) {
        return side == &IprangeMatch::destination && !last.destination;
      });
      iprange.*side = AddressRange{ToAddress(interval->from),
                                   ToAddress(interval->to), interval->inverted};
      return {};
    }
    if (test.value.swapped || test.from.size != size || *taken) return No();
    *taken = true;
    *address = ToAddress(test.from);
    if (test.value.bitwise) {
      const Bitwise& bitwise = *test.value.bitwise;
      if (bitwise.len != size || !AllZero(bitwise.xor_bits)) return No();
      *mask = ToAddress(bitwise.mask);
    } else {
      std::fill_n(mask->begin(), size, uint8_t{0xff});
    }
    if (test.inverted()) Invert(bit);
    return {};
  }

  static bool AllZero(const Data& data) {
    return std::ranges::all_of(data.view(), [](uint8_t b) { return b == 0; });
  }

  Status Fragment(const Test& test) {
    const auto bits = Masked(test, 2);
    if (!bits || bits->mask.be16() != 0x1fff || bits->value.be16() != 0 ||
        rule_.selector.fragment) {
      return No();
    }
    rule_.selector.fragment = true;
    if (!test.inverted()) Invert(kInvertFragment);
    return {};
  }

  /// (value & mask) == / != constant, of `size` bytes.
  struct MaskedTest {
    Data mask, value;
  };
  std::optional<MaskedTest> Masked(const Test& test, uint32_t size) const {
    if (!test.equality() || test.value.swapped || test.from.size != size) {
      return std::nullopt;
    }
    MaskedTest masked{Data::Zero(static_cast<uint8_t>(size)), test.from};
    if (!test.value.bitwise) {
      std::fill_n(masked.mask.bytes.begin(), size, uint8_t{0xff});
      return masked;
    }
    if (test.value.bitwise->len != size ||
        !AllZero(test.value.bitwise->xor_bits)) {
      return std::nullopt;
    }
    masked.mask = test.value.bitwise->mask;
    return masked;
  }

  // Ports and ICMP.

  bool HasProtocol(uint8_t protocol) const {
    return rule_.selector.protocol == protocol &&
           (rule_.selector.inverted & kInvertProtocol) == 0;
  }

  Status SourcePort(const Test& test) {
    if (HasProtocol(IPPROTO_ICMP) || HasProtocol(IPPROTO_ICMPV6)) {
      return IcmpTypeAndCode(test);
    }
    return Port(test, &TcpMatch::source, &UdpMatch::source, PortSide::kSource);
  }
  Status DestinationPort(const Test& test) {
    return Port(test, &TcpMatch::destination, &UdpMatch::destination,
                PortSide::kDestination);
  }

  Status Port(const Test& test, PortRange TcpMatch::*tcp,
              PortRange UdpMatch::*udp, PortSide side) {
    if (!test.value.plain()) return No();
    if (test.lookup()) return Multiport(test, side);
    const auto interval = ToInterval(test, 2);
    if (!interval) return No();
    return SetPort(ToPorts(*interval), tcp, udp);
  }

  Status SetPort(const PortRange& range, PortRange TcpMatch::*tcp,
                 PortRange UdpMatch::*udp) {
    if (HasProtocol(IPPROTO_TCP)) {
      Join<TcpMatch>([tcp](const TcpMatch& last) {
        return (last.*tcp).any();
      }).*tcp = range;
      return {};
    }
    if (HasProtocol(IPPROTO_UDP) || HasProtocol(IPPROTO_UDPLITE)) {
      Join<UdpMatch>([udp](const UdpMatch& last) {
        return (last.*udp).any();
      }).*udp = range;
      return {};
    }
    return No("ports without -p tcp or -p udp");
  }

  /// Both ports as one number.  Inverted, it is what iptables-nft makes of two
  /// inverted ports, although it means less.
  Status BothPorts(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 4) {
      return No();
    }
    const auto source = static_cast<uint16_t>(test.from.be32() >> 16);
    const auto destination = static_cast<uint16_t>(test.from.be32());
    RETURN_IF_ERROR(SetPort({source, source, test.inverted()},
                            &TcpMatch::source, &UdpMatch::source));
    return SetPort({destination, destination, test.inverted()},
                   &TcpMatch::destination, &UdpMatch::destination);
  }

  Status Multiport(const Test& test, PortSide side) {
    const auto intervals = ToIntervals(*test.set, 2);
    constexpr size_t kMost = 15;
    size_t count = 0;
    MultiportMatch multiport;
    if (!intervals || intervals->empty()) return No();
    for (const Interval& interval : *intervals) {
      multiport.ranges.push_back(ToPorts(interval));
      count += interval.from == interval.to ? 1 : 2;
    }
    if (count > kMost) return No("over 15 ports");
    multiport.side = side;
    multiport.inverted = test.inverted();
    Push(std::move(multiport));
    return {};
  }

  Status TcpFlags(const Test& test) {
    const auto bits = Masked(test, 1);
    if (!bits || !HasProtocol(IPPROTO_TCP)) return No();
    auto& tcp = Join<TcpMatch>([](const TcpMatch& last) {
      return last.flags_mask == 0 && last.flags_value == 0 &&
             !last.flags_inverted;
    });
    tcp.flags_mask = bits->mask.bytes[0];
    tcp.flags_value = bits->value.bytes[0];
    tcp.flags_inverted = test.inverted();
    return {};
  }

  Status IcmpType(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1) {
      return No();
    }
    return PushIcmp(test.from.bytes[0], 0, 0xff, test.inverted());
  }

  Status IcmpTypeAndCode(const Test& test) {
    const auto interval = ToInterval(test, 2);
    if (!interval || !test.value.plain() ||
        interval->from.bytes[0] != interval->to.bytes[0]) {
      return No();
    }
    return PushIcmp(interval->from.bytes[0], interval->from.bytes[1],
                    interval->to.bytes[1], interval->inverted);
  }

  Status PushIcmp(uint8_t type, uint8_t first, uint8_t last, bool inverted) {
    if (!HasProtocol(family_ == Family::kIpv4 ? uint8_t{IPPROTO_ICMP}
                                              : uint8_t{IPPROTO_ICMPV6})) {
      return No("an ICMP type without its protocol");
    }
    IcmpMatch icmp;
    icmp.family = family_;
    icmp.type = type;
    icmp.code_first = first;
    icmp.code_last = last;
    icmp.inverted = inverted;
    Push(icmp);
    return {};
  }

  // Header fields.

  Status TrafficClass(const Test& test) {
    const bool ipv4 = family_ == Family::kIpv4;
    const auto bits = Masked(test, ipv4 ? 1 : 2);
    if (!bits) return No();
    const auto field = [ipv4](const Data& data) -> uint32_t {
      return ipv4 ? data.bytes[0] : data.be16() >> 4;
    };
    const uint32_t mask = field(bits->mask);
    const uint32_t value = field(bits->value);
    const bool low_bits = !ipv4 && ((bits->mask.be16() & 0xf) != 0 ||
                                    (bits->value.be16() & 0xf) != 0);
    if (mask > 0xff || value > 0xff || low_bits) return No();
    if (mask == 0xfc && (value & 3) == 0) {
      Push(DscpMatch{static_cast<uint8_t>(value >> 2), test.inverted()});
    } else {
      Push(TosMatch{static_cast<uint8_t>(value), static_cast<uint8_t>(mask),
                    test.inverted()});
    }
    return {};
  }

  Status Length(const Test& test) {
    const auto interval = ToInterval(test, 2);
    if (!interval || !test.value.plain()) return No();
    const uint32_t header = family_ == Family::kIpv4 ? 0 : 40;
    const uint32_t first = interval->from.be16() + header;
    const uint32_t last = interval->to.be16() + header;
    if (last > 0xffff) return No("a length of over 65,535");
    Push(LengthMatch{static_cast<uint16_t>(first), static_cast<uint16_t>(last),
                     interval->inverted});
    return {};
  }

  Status Ttl(const Test& test) {
    TtlMatch ttl;
    ttl.family = family_;
    if (!test.value.plain() || test.from.size != 1) return No();
    switch (test.relation) {
      case Relation::kEqual:
        ttl.test = TtlTest::kEqual;
        break;
      case Relation::kNotEqual:
        ttl.test = TtlTest::kNotEqual;
        break;
      case Relation::kLess:
        ttl.test = TtlTest::kLess;
        break;
      case Relation::kMore:
        ttl.test = TtlTest::kGreater;
        break;
      default:
        return No();
    }
    ttl.value = test.from.bytes[0];
    Push(ttl);
    return {};
  }

  Status Mac(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 6 ||
        !ether_) {
      return No();
    }
    ether_ = false;
    MacMatch mac;
    std::copy_n(test.from.bytes.begin(), mac.source.size(), mac.source.begin());
    mac.inverted = test.inverted();
    Push(mac);
    return {};
  }

  // Metadata.

  Status DeviceType(const Test& test) {
    if (test.relation != Relation::kEqual || !test.value.plain() ||
        test.from.size != 2 || test.from.host16() != ARPHRD_ETHER) {
      return No();
    }
    ether_ = true;  // the first half of -m mac
    return {};
  }

  Status Mark(const Test& test) {
    const auto bits = Masked(test, 4);
    if (!bits) return No();
    Push(MarkMatch{bits->value.host32(), bits->mask.host32(), test.inverted()});
    return {};
  }

  Status PacketType(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1) {
      return No();
    }
    Push(PkttypeMatch{test.from.bytes[0], test.inverted()});
    return {};
  }

  Status UserId(const Test& test) { return Id(test, &OwnerMatch::uid); }
  Status GroupId(const Test& test) { return Id(test, &OwnerMatch::gid); }

  Status Id(const Test& test, std::optional<IdRange> OwnerMatch::*side) {
    IdRange range;
    if (test.value.bitwise) return No();
    if (!test.value.swapped) {
      if (test.relation != Relation::kEqual || test.from.size != 4) {
        return No();
      }
      range.first = range.last = test.from.host32();
    } else {
      const auto interval = ToInterval(test, 4);
      if (!interval || interval->inverted) return No();
      range.first = interval->from.be32();
      range.last = interval->to.be32();
    }
    Join<OwnerMatch>([side](const OwnerMatch& last) {
      return !(last.*side) && !last.gid;
    }).*side = range;
    return {};
  }

  // Connection tracking.

  /// A match whose state test lets packets without connection through passes
  /// all its other tests too, so nothing may be added to such a one; and a
  /// state test begins a match.
  ConntrackMatch& Conntrack(ConntrackTest test) {
    auto& match = Join<ConntrackMatch>([test](const ConntrackMatch& last) {
      static constexpr uint16_t kWithout = kCtStateInvalid | kCtStateUntracked;
      const bool inverted = (last.inverted & kCtTestState) != 0;
      const bool without = (last.tests & kCtTestState) != 0 &&
                           (inverted ? (last.state_mask & kWithout) != kWithout
                                     : (last.state_mask & kWithout) != 0);
      return test != kCtTestState && (last.tests & test) == 0 && !without;
    });
    match.tests = static_cast<uint16_t>(match.tests | test);
    return match;
  }

  void InvertConntrack(ConntrackMatch* match, ConntrackTest test) {
    match->inverted = static_cast<uint16_t>(match->inverted | test);
  }

  /// (loaded & bits) != 0 or == 0; the bits and whether it is inverted.
  std::optional<std::pair<uint32_t, bool>> AnyBit(const Test& test) const {
    const auto masked = Masked(test, 4);
    if (!masked || !test.value.bitwise || masked->value.host32() != 0) {
      return std::nullopt;
    }
    return std::pair(masked->mask.host32(), test.relation == Relation::kEqual);
  }

  Status CtState(const Test& test) {
    const auto bits = AnyBit(test);
    constexpr uint32_t kUntracked = 1u << 6;
    constexpr uint32_t kPlain =
        kCtStateInvalid | kCtStateEstablished | kCtStateRelated | kCtStateNew;
    if (!bits || (bits->first & ~(kPlain | kUntracked)) != 0) return No();
    auto& match = Conntrack(kCtTestState);
    match.state_mask = static_cast<uint16_t>(bits->first & kPlain);
    if ((bits->first & kUntracked) != 0) match.state_mask |= kCtStateUntracked;
    if (bits->second) InvertConntrack(&match, kCtTestState);
    return {};
  }

  Status CtStatus(const Test& test) {
    const auto bits = AnyBit(test);
    constexpr uint32_t kNat = IPS_SRC_NAT | IPS_DST_NAT;
    if (!bits) return No();
    if ((bits->first & kNat) != 0) {  // virtual states of iptables
      if ((bits->first & ~kNat) != 0 || bits->second) return No();
      auto& match = Conntrack(kCtTestState);
      if ((bits->first & IPS_SRC_NAT) != 0) match.state_mask |= kCtStateSnat;
      if ((bits->first & IPS_DST_NAT) != 0) match.state_mask |= kCtStateDnat;
      return {};
    }
    if (bits->first > 0xffff) return No();
    auto& match = Conntrack(kCtTestStatus);
    match.status_mask = static_cast<uint16_t>(bits->first);
    if (bits->second) InvertConntrack(&match, kCtTestStatus);
    return {};
  }

  Status CtDirection(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1 ||
        test.from.bytes[0] > IP_CT_DIR_REPLY) {
      return No();
    }
    auto& match = Conntrack(kCtTestDirection);
    const bool reply = test.from.bytes[0] == IP_CT_DIR_REPLY;
    if (reply != test.inverted()) InvertConntrack(&match, kCtTestDirection);
    return {};
  }

  Status CtMark(const Test& test) {
    const auto bits = Masked(test, 4);
    if (!bits) return No();
    Push(ConnmarkMatch{bits->value.host32(), bits->mask.host32(),
                       test.inverted()});
    return {};
  }

  Status CtProtocol(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1) {
      return No();
    }
    auto& match = Conntrack(kCtTestProtocol);
    match.protocol = test.from.bytes[0];
    if (test.inverted()) InvertConntrack(&match, kCtTestProtocol);
    return {};
  }

  Status CtExpiration(const Test& test) {
    const auto interval = ToInterval(test, 4);
    if (!interval || !test.value.swapped) return No();
    const uint32_t first = interval->from.be32();
    const uint32_t last = interval->to.be32();
    if (first % 1000 != 0 || (last != kAllBits && last % 1000 != 999)) {
      return No("iptables counts whole seconds");
    }
    auto& match = Conntrack(kCtTestExpires);
    match.expires_first_s = first / 1000;
    match.expires_last_s = last == kAllBits ? kAllBits : last / 1000;
    if (interval->inverted) InvertConntrack(&match, kCtTestExpires);
    return {};
  }

  Status CtSource(const Test& test) {
    return CtAddress(test, kCtTestOriginalSource,
                     &ConntrackMatch::original_source, kCtTestReplySource,
                     &ConntrackMatch::reply_source);
  }
  Status CtDestination(const Test& test) {
    return CtAddress(
        test, kCtTestOriginalDestination, &ConntrackMatch::original_destination,
        kCtTestReplyDestination, &ConntrackMatch::reply_destination);
  }

  Status CtAddress(const Test& test, ConntrackTest original,
                   MaskedAddress ConntrackMatch::*original_field,
                   ConntrackTest reply,
                   MaskedAddress ConntrackMatch::*reply_field) {
    const auto bits = Masked(test, family_ == Family::kIpv4 ? 4 : 16);
    const auto direction = std::get<Ct>(test.value.source).direction;
    if (!bits || !direction) return No();
    const bool is_reply = *direction == IP_CT_DIR_REPLY;
    const ConntrackTest which = is_reply ? reply : original;
    auto& match = Conntrack(which);
    match.*(is_reply ? reply_field : original_field) =
        MaskedAddress{ToAddress(bits->value), ToAddress(bits->mask)};
    if (test.inverted()) InvertConntrack(&match, which);
    return {};
  }

  Status CtSourcePort(const Test& test) {
    return CtPort(test, kCtTestOriginalSourcePort,
                  &ConntrackMatch::original_source_port, kCtTestReplySourcePort,
                  &ConntrackMatch::reply_source_port);
  }
  Status CtDestinationPort(const Test& test) {
    return CtPort(test, kCtTestOriginalDestinationPort,
                  &ConntrackMatch::original_destination_port,
                  kCtTestReplyDestinationPort,
                  &ConntrackMatch::reply_destination_port);
  }

  Status CtPort(const Test& test, ConntrackTest original,
                PortRange ConntrackMatch::*original_field, ConntrackTest reply,
                PortRange ConntrackMatch::*reply_field) {
    const auto interval = ToInterval(test, 2);
    const auto direction = std::get<Ct>(test.value.source).direction;
    if (!interval || !test.value.plain() || !direction) return No();
    const bool is_reply = *direction == IP_CT_DIR_REPLY;
    const ConntrackTest which = is_reply ? reply : original;
    auto& match = Conntrack(which);
    PortRange range = ToPorts(*interval);
    if (range.inverted) InvertConntrack(&match, which);
    range.inverted = false;  // the match's own bit says it
    match.*(is_reply ? reply_field : original_field) = range;
    return {};
  }

  // Others.

  Status AddressType(const Fib& fib, const Test& test) {
    constexpr uint32_t kKnown =
        NFTA_FIB_F_SADDR | NFTA_FIB_F_DADDR | NFTA_FIB_F_IIF | NFTA_FIB_F_OIF;
    if (fib.result != NFT_FIB_RESULT_ADDRTYPE || (fib.flags & ~kKnown) != 0 ||
        !test.value.plain() || family_ != Family::kIpv4) {
      return No();
    }
    uint32_t types = 0;
    const auto add = [&types](const Data& data) {
      if (data.size != 4 || data.host32() > 15) return false;
      types |= 1u << data.host32();
      return true;
    };
    if (test.lookup()) {
      for (const auto& element : *test.set) {
        if (element.interval_end || !add(element.key)) return No();
      }
    } else if (!test.equality() || !add(test.from)) {
      return No();
    }
    const bool source = (fib.flags & NFTA_FIB_F_SADDR) != 0;
    const bool in = (fib.flags & NFTA_FIB_F_IIF) != 0;
    const bool out = (fib.flags & NFTA_FIB_F_OIF) != 0;
    auto& addrtype = Join<AddrtypeMatch>([&](const AddrtypeMatch& last) {
      return !source && last.destination_types == 0 && last.limit_in == in &&
             last.limit_out == out;
    });
    addrtype.limit_in = in;
    addrtype.limit_out = out;
    if (source) {
      addrtype.source_types = static_cast<uint16_t>(types);
      addrtype.source_inverted = test.inverted();
    } else {
      addrtype.destination_types = static_cast<uint16_t>(types);
      addrtype.destination_inverted = test.inverted();
    }
    return {};
  }

  Status Statistic(const Numgen& numgen, const Test& test) {
    StatisticMatch statistic;
    if (numgen.offset != 0 || test.from.size != 4 || test.value.bitwise) {
      return No();
    }
    if (numgen.type == NFT_NG_RANDOM) {
      if (numgen.modulus != 0x80000000 || !test.value.swapped ||
          (test.relation != Relation::kLess &&
           test.relation != Relation::kAtLeast)) {
        return No();
      }
      statistic.probability = test.from.be32();
      statistic.inverted = test.relation == Relation::kAtLeast;
      Push(statistic);
      return {};
    }
    const uint32_t packet = test.from.host32();
    if (!test.equality() || test.value.swapped || packet >= numgen.modulus) {
      return No();
    }
    statistic.mode = StatisticMode::kNth;
    statistic.every = numgen.modulus - 1;
    statistic.packet = packet;
    statistic.start_count = statistic.every - packet;
    statistic.inverted = test.inverted();
    Push(statistic);
    return {};
  }

  Family family_;
  const RuleRecord& record_;
  const SetContents& sets_;
  Rule rule_;
  std::vector<Pending> pending_;
  std::array<Value, 16> registers_;
  const Expr* current_ = nullptr;
  bool counted_ = false;
  bool ether_ = false;  // half a -m mac
  bool has_source_ = false;
  bool has_destination_ = false;
};

const RuleRaiser::PayloadHandler RuleRaiser::kPayloadHandlers[] = {
    {NFT_PAYLOAD_LL_HEADER, 6, 6, 6, true, true, &RuleRaiser::Mac},
    {NFT_PAYLOAD_NETWORK_HEADER, 0, 2, 2, false, true,
     &RuleRaiser::TrafficClass},
    {NFT_PAYLOAD_NETWORK_HEADER, 1, 1, 1, true, false,
     &RuleRaiser::TrafficClass},
    {NFT_PAYLOAD_NETWORK_HEADER, 2, 2, 2, true, false, &RuleRaiser::Length},
    {NFT_PAYLOAD_NETWORK_HEADER, 4, 2, 2, false, true, &RuleRaiser::Length},
    {NFT_PAYLOAD_NETWORK_HEADER, 6, 2, 2, true, false, &RuleRaiser::Fragment},
    {NFT_PAYLOAD_NETWORK_HEADER, 7, 1, 1, false, true, &RuleRaiser::Ttl},
    {NFT_PAYLOAD_NETWORK_HEADER, 8, 1, 1, true, false, &RuleRaiser::Ttl},
    {NFT_PAYLOAD_NETWORK_HEADER, 9, 1, 1, true, false, &RuleRaiser::Protocol},
    {NFT_PAYLOAD_NETWORK_HEADER, 12, 1, 4, true, false, &RuleRaiser::Source},
    {NFT_PAYLOAD_NETWORK_HEADER, 16, 1, 4, true, false,
     &RuleRaiser::Destination},
    {NFT_PAYLOAD_NETWORK_HEADER, 8, 1, 16, false, true, &RuleRaiser::Source},
    {NFT_PAYLOAD_NETWORK_HEADER, 24, 1, 16, false, true,
     &RuleRaiser::Destination},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 1, 1, true, true, &RuleRaiser::IcmpType},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 2, 2, true, true,
     &RuleRaiser::SourcePort},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, 2, true, true,
     &RuleRaiser::DestinationPort},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 0, 4, 4, true, true, &RuleRaiser::BothPorts},
    {NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1, 1, true, true, &RuleRaiser::TcpFlags},
};

const RuleRaiser::KeyHandler RuleRaiser::kMetaHandlers[] = {
    {NFT_META_IIFNAME, &RuleRaiser::In},
    {NFT_META_OIFNAME, &RuleRaiser::Out},
    {NFT_META_L4PROTO, &RuleRaiser::Protocol},
    {NFT_META_MARK, &RuleRaiser::Mark},
    {NFT_META_PKTTYPE, &RuleRaiser::PacketType},
    {NFT_META_SKUID, &RuleRaiser::UserId},
    {NFT_META_SKGID, &RuleRaiser::GroupId},
    {NFT_META_IIFTYPE, &RuleRaiser::DeviceType},
};

const RuleRaiser::KeyHandler RuleRaiser::kCtHandlers[] = {
    {NFT_CT_STATE, &RuleRaiser::CtState},
    {NFT_CT_STATUS, &RuleRaiser::CtStatus},
    {NFT_CT_DIRECTION, &RuleRaiser::CtDirection},
    {NFT_CT_MARK, &RuleRaiser::CtMark},
    {NFT_CT_PROTOCOL, &RuleRaiser::CtProtocol},
    {NFT_CT_EXPIRATION, &RuleRaiser::CtExpiration},
    {NFT_CT_SRC, &RuleRaiser::CtSource},
    {NFT_CT_DST, &RuleRaiser::CtDestination},
    {NFT_CT_SRC_IP, &RuleRaiser::CtSource},
    {NFT_CT_DST_IP, &RuleRaiser::CtDestination},
    {NFT_CT_SRC_IP6, &RuleRaiser::CtSource},
    {NFT_CT_DST_IP6, &RuleRaiser::CtDestination},
    {NFT_CT_PROTO_SRC, &RuleRaiser::CtSourcePort},
    {NFT_CT_PROTO_DST, &RuleRaiser::CtDestinationPort},
};

Status RuleRaiser::DispatchPayload(const Payload& e, const Test& test) {
  for (const PayloadHandler& handler : kPayloadHandlers) {
    if (handler.base == e.base && handler.offset == e.offset &&
        e.len >= handler.min_len && e.len <= handler.max_len &&
        (family_ == Family::kIpv4 ? handler.ipv4 : handler.ipv6)) {
      return (this->*handler.handle)(test);
    }
  }
  return No("iptables does not test these bytes");
}

Status RuleRaiser::DispatchMeta(const Meta& e, const Test& test) {
  for (const KeyHandler& handler : kMetaHandlers) {
    if (handler.key == e.key) return (this->*handler.handle)(test);
  }
  return No("iptables does not test this key");
}

Status RuleRaiser::DispatchCt(const Ct& e, const Test& test) {
  for (const KeyHandler& handler : kCtHandlers) {
    if (handler.key == e.key) return (this->*handler.handle)(test);
  }
  return No("iptables does not test this key");
}

}  // namespace

void SetContents::Add(const ElementsRecord& record) {
  auto& elements = record.set_id != 0 ? by_id_[record.set_id]
                                      : by_name_[{record.table, record.set}];
  elements.insert(elements.end(), record.elements.begin(),
                  record.elements.end());
}

const std::vector<ElementsRecord::Element>* SetContents::Find(
    const std::string& table, const Lookup& lookup) const {
  if (lookup.set_id != 0) {
    const auto found = by_id_.find(lookup.set_id);
    return found == by_id_.end() ? nullptr : &found->second;
  }
  const auto found = by_name_.find({table, lookup.set});
  return found == by_name_.end() ? nullptr : &found->second;
}

Result<Rule> RaiseRule(Family family, const RuleRecord& record,
                       const SetContents& sets) {
  return RuleRaiser(family, record, sets).Run();
}

}  // namespace nfarena::nft
