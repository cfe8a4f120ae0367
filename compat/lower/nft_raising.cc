#include "compat/lower/nft_raising.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/xt_AUDIT.h>
#include <linux/netfilter/xt_CONNSECMARK.h>
#include <linux/netfilter/xt_CT.h>
#include <linux/netfilter/xt_SYNPROXY.h>
#include <linux/netfilter/xt_TEE.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "compat/lower/nft_comparison.h"
#include "compat/lower/nft_encode.h"
#include "compat/lower/nft_host_payloads.h"
#include "compat/lower/nft_lowering.h"
#include "compat/lower/nft_raise_match.h"

namespace nfarena::nft {
namespace {

constexpr uint32_t kAllBits = 0xffffffff;

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
    tests_.family = family_;
    if (!record_.comment.empty()) {
      tests_.matches.Push(CommentMatch{record_.comment});
    }
    for (const Expr& expr : record_.exprs) {
      current_ = &expr;
      RETURN_IF_ERROR(
          std::visit([this](const auto& e) { return Take(e); }, expr));
    }
    for (Value& value : registers_) RETURN_IF_ERROR(Forget(&value));
    if (const char* half = tests_.half(); *half != 0) return No(half);
    if (!behind_.empty()) return No("a test behind the counter");
    rule_.selector = tests_.selector;
    rule_.matches = tests_.matches.Take(
        family_, static_cast<uint8_t>(rule_.selector.protocol));
    return std::move(rule_);
  }

 private:
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
        tests_.selector.in.name[0] = '+';
        return {};
      }
      if (meta->key == NFT_META_OIFNAME) {
        tests_.selector.out.name[0] = '+';
        return {};
      }
    }
    if (const auto* payload = std::get_if<Payload>(&value->source)) {
      // The guard of NftOptions::exact_fragments.
      if (payload->base == NFT_PAYLOAD_TRANSPORT_HEADER &&
          (payload->len == 3 || payload->len == 7 || payload->len == 16)) {
        return {};
      }
      if (TakesLoneBytes(*payload, &tests_)) return {};
    }
    return No("a value is loaded and not used");
  }

  template <typename Source>
  Status Load(uint32_t reg, const Source& source) {
    const auto word = WordOf(reg);
    if (!word) return No("no such register");
    RETURN_IF_ERROR(Forget(&registers_[*word]));
    registers_[*word] = Value{source, std::nullopt, false, false, {}, false};
    return {};
  }

  /// The value in a register, which counts as used from now on.
  Value* Use(uint32_t reg) {
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
  Status Take(const Rt& e) { return Load(e.dreg, e); }
  Status Take(const Immediate& e) { return Load(e.dreg, e); }

  Status Take(const Bitwise& e) {
    Value* from = Use(e.sreg);
    const auto word = WordOf(e.dreg);
    if (from == nullptr || !word || !from->plain()) return No();
    if (from->word() && e.dreg == e.sreg) return TakeStep(e, from);
    if (e.op != NFT_BITWISE_BOOL) return No("iptables does not shift it");
    Value value = *from;
    value.bitwise = e;
    value.used = false;
    registers_[*word] = std::move(value);
    return {};
  }

  /// One step of u32.
  Status TakeStep(const Bitwise& e, Value* word) {
    word->used = false;
    if (e.len != 4) return No();
    if (e.op == NFT_BITWISE_BOOL) {
      if (e.xor_bits.host32() != 0) return No();
      word->steps.push_back(
          {U32Operation::kAnd, word->host ? e.mask.host32() : e.mask.be32()});
      return {};
    }
    if (!word->host) return No("a shift of bytes in network order");
    word->steps.push_back({e.op == NFT_BITWISE_LSHIFT
                               ? U32Operation::kShiftLeft
                               : U32Operation::kShiftRight,
                           e.shift});
    return {};
  }

  Status TakeStep(const Byteorder& e, Value* word) {
    word->used = false;
    const bool to_host = e.op == NFT_BYTEORDER_NTOH;
    if (e.len != 4 || e.size != 4 || to_host == word->host) return No();
    word->host = to_host;
    return {};
  }

  Status Take(const Byteorder& e) {
    Value* from = Use(e.sreg);
    const auto word = WordOf(e.dreg);
    if (from == nullptr || !word || !from->plain()) return No();
    if (from->word() && e.dreg == e.sreg) return TakeStep(e, from);
    if ((e.len != 4 && e.len != 8) || e.size != e.len ||
        e.op != NFT_BYTEORDER_HTON) {
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
    tests_.matches.Push(LimitMatch{static_cast<uint32_t>(interval), e.burst});
    return {};
  }

  Status Take(const Quota& e) {
    RETURN_IF_ERROR(IsTest());
    // The kernel adds a flag when it is used up.
    tests_.matches.Push(QuotaMatch{e.bytes, (e.flags & NFT_QUOTA_F_INV) != 0});
    return {};
  }

  Status Take(const CarriedMatch& e) {
    RETURN_IF_ERROR(IsTest());
    tests_.matches.PushCarried(Carried(e.name, e.revision, e.info));
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
      case NFT_CONTINUE:
        return {};
      default:
        return No();
    }
  }

  Status Take(const Reject& e) {
    RejectTarget reject;
    reject.family = family_;
    if (e.type == NFT_REJECT_TCP_RST) {
      if (!HasProtocol(IPPROTO_TCP)) return No("it needs -p tcp");
      reject.tcp_reset = true;
      return SetAction(reject);
    }
    if (e.type == NFT_REJECT_ICMPX_UNREACH) {
      // NFT_REJECT_ICMPX_*; source: net/netfilter/nft_reject.c.
      static constexpr uint8_t kIcmp[] = {0, 3, 1, 13};
      static constexpr uint8_t kIcmp6[] = {0, 4, 3, 1};
      if (e.code >= std::size(kIcmp)) return No();
      reject.icmp_code =
          family_ == Family::kIpv4 ? kIcmp[e.code] : kIcmp6[e.code];
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
    if (level == NFT_LOGLEVEL_AUDIT) return Audit(e);
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
      case NFT_META_SECMARK:
        return RestoreSecmark(*value);
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
    if (value != nullptr && e.key == NFT_CT_ZONE) return Zone(e);
    if (value != nullptr && e.key == NFT_CT_SECMARK) return SaveSecmark(*value);
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

  Status Take(const Dup& e) {
    const auto gateway = Constant(e.address, family_ == Family::kIpv4 ? 4 : 16);
    if (!gateway || e.device != 0) return No();
    xt_tee_tginfo tee{};
    CopyAddress(ToAddress(*gateway), &tee.gw);
    return SetExtension(PackPart("TEE", 1, tee, offsetof(xt_tee_tginfo, priv)));
  }

  Status Take(const Synproxy& e) {
    if (!HasProtocol(IPPROTO_TCP) ||
        !tests_.matches.Any<TcpMatch>(SynproxyFlags)) {
      return No("it answers more than SYN and ACK alone");
    }
    xt_synproxy_info info{};
    info.options = static_cast<uint8_t>(e.flags);
    info.wscale = e.wscale;
    info.mss = e.mss;
    return SetExtension(Pack("SYNPROXY", 0, info));
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

  Status SetExtension(Extension extension) {
    RETURN_IF_ERROR(SetTarget(TargetKind::kExtension));
    rule_.target.extension = std::move(extension);
    return {};
  }

  bool HasProtocol(uint8_t protocol) const {
    return tests_.selector.protocol == protocol &&
           (tests_.selector.inverted & kInvertProtocol) == 0;
  }

  // The targets of nft_lower_effects.cc.

  Status Audit(const Log& log) {
    xt_audit_info audit{};
    if (!log.prefix.empty()) {
      const auto* type = std::ranges::find(kAuditTypes, log.prefix);
      if (type == std::end(kAuditTypes)) return No();
      audit.type = static_cast<uint8_t>(type - std::begin(kAuditTypes));
    }
    if (log.snaplen || log.threshold != 0 || log.flags != 0) return No();
    return SetExtension(Pack("AUDIT", 0, audit));
  }

  /// Takes the tests behind the counter when they are `load` == 0 (!= 0) each.
  template <typename Source>
  bool TakeGuard(const Source& load, Relation relation) {
    if (behind_.empty()) return false;
    const Test& test = behind_.front();
    const auto* source = std::get_if<Source>(&test.value.source);
    if (source == nullptr || source->key != load.key || !test.value.plain() ||
        test.relation != relation || test.from != Data::Zero(4)) {
      return false;
    }
    behind_.erase(behind_.begin());
    return true;
  }

  Status Zone(const CtWrite& e) {
    const auto zone = Constant(e.sreg, 2);
    // Not for packets that are exempt from tracking.
    const bool guarded =
        behind_.size() == 1 && behind_[0].relation == Relation::kEqual &&
        std::get_if<Ct>(&behind_[0].value.source) != nullptr &&
        std::get<Ct>(behind_[0].value.source).key == NFT_CT_STATE &&
        behind_[0].value.bitwise &&
        behind_[0].value.bitwise->mask == Data::Host32(1u << 6) &&
        behind_[0].from == Data::Zero(4);
    if (!zone || !guarded) {
      return No("it gives packets a zone that are exempt from tracking");
    }
    behind_.clear();
    xt_ct_target_info_v1 ct{};
    ct.zone = zone->host16();
    if (e.direction) {
      ct.flags = *e.direction == 0 ? XT_CT_ZONE_DIR_ORIG : XT_CT_ZONE_DIR_REPL;
    }
    return SetExtension(
        PackPart("CT", 2, ct, offsetof(xt_ct_target_info_v1, ct)));
  }

  Status SaveSecmark(const Value& value) {
    const auto* mark = std::get_if<Meta>(&value.source);
    if (mark == nullptr || mark->key != NFT_META_SECMARK || !value.plain() ||
        !TakeGuard(Meta{NFT_META_SECMARK}, Relation::kNotEqual) ||
        !TakeGuard(Ct{NFT_CT_SECMARK, kReg1, {}}, Relation::kEqual)) {
      return No();
    }
    return Connsecmark(CONNSECMARK_SAVE);
  }

  Status RestoreSecmark(const Value& value) {
    const auto* mark = std::get_if<Ct>(&value.source);
    if (mark == nullptr || mark->key != NFT_CT_SECMARK || !value.plain() ||
        !TakeGuard(Meta{NFT_META_SECMARK}, Relation::kEqual) ||
        !TakeGuard(Ct{NFT_CT_SECMARK, kReg1, {}}, Relation::kNotEqual)) {
      return No();
    }
    return Connsecmark(CONNSECMARK_RESTORE);
  }

  Status Connsecmark(uint8_t mode) {
    xt_connsecmark_target_info info{};
    info.mode = mode;
    return SetExtension(Pack("CONNSECMARK", 0, info));
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

  Status Dispatch(uint32_t reg, Test test) {
    const Value* value = Use(reg);
    if (value == nullptr) return No();
    test.value = *value;
    if (counted_ && rule_.target.kind == TargetKind::kNone) {
      behind_.push_back(std::move(test));  // some target's
      return {};
    }
    RETURN_IF_ERROR(IsTest());
    if (auto raised = RaiseTest(test, &tests_); !raised) {
      return No(raised.error().message);
    }
    return {};
  }

  Family family_;
  const RuleRecord& record_;
  const SetContents& sets_;
  Rule rule_;
  TestTarget tests_;
  std::vector<Test> behind_;  // tests behind the counter
  std::array<Value, 16> registers_;
  const Expr* current_ = nullptr;
  bool counted_ = false;
};

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
