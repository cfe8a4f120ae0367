#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>

#include "compat/lower/nft_emit.h"
#include "compat/lower/nft_lowering.h"

namespace nfarena::nft {
namespace {

constexpr uint32_t kReg2 = 2;
constexpr uint32_t kReg3 = 3;
constexpr uint32_t kReg4 = 4;

/// Hooks at which the kernel translates sources; destinations at the others.
constexpr uint8_t kSourceHooks =
    HookBit(Hook::kInput) | HookBit(Hook::kPostrouting);

/// The flags that a nat, masq or redir expression takes from user space.  Those
/// for "addresses given" and "ports given" follow from nat's registers; masq
/// and redir want kNatToPorts said (masq ignores its ports without, redir when
/// it has other flags).  Source: nft_masq.c, nft_redir.c of Linux 6.1.
constexpr uint32_t kNatOptions =
    kNatToRandom | kNatToPersistent | kNatToRandomFully;

/// Source: nft_csum_replace() of net/netfilter/nft_payload.c, which treats the
/// checksum of IPv4's header like that of UDP, where 0 means "none".
constexpr char kChecksumOfZero[] =
    "nftables writes a header checksum of 0 as 0xffff";

class ActionLowering {
 public:
  ActionLowering(const RuleContext& context, const NftOptions& options,
                 LoweredRule* out)
      : context_(context), options_(options), emit_(&out->exprs) {}

  std::string operator()(const RejectTarget& reject) {
    if (reject.tcp_reset) {
      emit_.Add(Reject{NFT_REJECT_TCP_RST, 0});
    } else {
      emit_.Add(Reject{NFT_REJECT_ICMP_UNREACH, reject.icmp_code});
    }
    return "";
  }

  std::string operator()(const LogTarget& log) {
    if (log.level > NFT_LOGLEVEL_DEBUG) return "a level the kernel refuses";
    Log native;
    native.prefix = log.prefix;
    if (log.level != NFT_LOGLEVEL_WARNING) native.level = log.level;
    native.flags = log.flags;
    emit_.Add(std::move(native));
    return "";
  }

  std::string operator()(const NflogTarget& log) {
    if (log.length != 0 && !log.has_length) {
      return "--nflog-range has no effect, and no expression";
    }
    Log native;
    native.prefix = log.prefix;
    native.group = log.group;
    native.threshold = log.threshold;
    if (log.has_length) native.snaplen = log.length;
    emit_.Add(std::move(native));
    return "";
  }

  std::string operator()(const NfqueueTarget& queue) {
    if (!options_.native_queue) {
      return "a kernel may lack the queue expression (CONFIG_NFT_QUEUE)";
    }
    Queue native{.first = queue.first, .total = queue.count};
    if (queue.bypass) native.flags |= NFT_QUEUE_FLAG_BYPASS;
    if (queue.cpu_fanout) native.flags |= NFT_QUEUE_FLAG_CPU_FANOUT;
    emit_.Add(native);
    return "";
  }

  std::string operator()(const MarkTarget& mark) {
    if (mark.mask == 0xffffffff) {
      emit_.Add(Immediate{kReg1, Data::Host32(mark.value)});
    } else {
      emit_.LoadMeta(NFT_META_MARK);
      MaskAndXor(~mark.mask, mark.value);
    }
    emit_.Add(MetaWrite{NFT_META_MARK});
    return "";
  }

  std::string operator()(const ConnmarkTarget& mark) {
    constexpr uint32_t kAll = 0xffffffff;
    if (mark.shift_bits != 0) return "it shifts the mark";
    switch (mark.mode) {
      case ConnmarkMode::kSet:
        if (mark.connmark_mask == kAll) {
          emit_.Add(Immediate{kReg1, Data::Host32(mark.value)});
        } else {
          emit_.Add(Ct{NFT_CT_MARK, kReg1, {}});
          MaskAndXor(~mark.connmark_mask, mark.value);
        }
        emit_.Add(CtWrite{NFT_CT_MARK, kReg1, {}});
        return "";
      case ConnmarkMode::kSave:
        if (mark.connmark_mask != kAll) {
          return "it joins two marks, bitwise takes one";
        }
        emit_.LoadMeta(NFT_META_MARK);
        if (mark.mark_mask != kAll) MaskAndXor(mark.mark_mask, 0);
        emit_.Add(CtWrite{NFT_CT_MARK, kReg1, {}});
        return "";
      case ConnmarkMode::kRestore:
        if (mark.mark_mask != kAll) {
          return "it joins two marks, bitwise takes one";
        }
        emit_.Add(Ct{NFT_CT_MARK, kReg1, {}});
        if (mark.connmark_mask != kAll) MaskAndXor(mark.connmark_mask, 0);
        emit_.Add(MetaWrite{NFT_META_MARK});
        return "";
    }
    return "unknown mode";
  }

  std::string operator()(const SnatTarget& snat) {
    return Translate(snat.to, NFT_NAT_SNAT);
  }
  std::string operator()(const DnatTarget& dnat) {
    return Translate(dnat.to, NFT_NAT_DNAT);
  }

  std::string operator()(const MasqueradeTarget& masquerade) {
    Masq native;
    if (auto reason = Ports(masquerade.to, &native.proto_min, &native.proto_max,
                            &native.flags);
        !reason.empty()) {
      return reason;
    }
    native.flags |= masquerade.to.flags & kNatToPorts;
    emit_.Add(native);
    return "";
  }

  std::string operator()(const RedirectTarget& redirect) {
    Redir native;
    if (auto reason = Ports(redirect.to, &native.proto_min, &native.proto_max,
                            &native.flags);
        !reason.empty()) {
      return reason;
    }
    native.flags |= redirect.to.flags & kNatToPorts;
    emit_.Add(native);
    return "";
  }

  std::string operator()(const NetmapTarget& netmap) {
    const bool source = (context_.hook_mask & kSourceHooks) != 0;
    const bool destination = (context_.hook_mask & ~kSourceHooks) != 0;
    if (source == destination) {
      return "which address it maps depends on the hook, and this chain is "
             "reached from both kinds or from none";
    }
    Nat native{.type = source ? uint32_t{NFT_NAT_SNAT} : uint32_t{NFT_NAT_DNAT},
               .family = FamilyNumber(context_.family),
               .flags = kNatToNetwork};
    Addresses(netmap.to, &native);
    // Even one address is a range here: that of a mask of all bits.
    if (native.address_max == 0) {
      emit_.Add(Immediate{kReg2, Bytes(netmap.to.last)});
      native.address_max = kReg2;
    }
    emit_.Add(native);
    return "";
  }

  std::string operator()(const CtTarget& ct) {
    CtTarget only_notrack;
    only_notrack.notrack = true;
    if (ct != only_notrack) {
      return "zones, helpers, timeouts and event masks";
    }
    emit_.Add(Notrack{});
    return "";
  }

  std::string operator()(const NotrackTarget&) {
    emit_.Add(Notrack{});
    return "";
  }

  std::string operator()(const TraceTarget&) {
    emit_.Add(Immediate{kReg1, Data::U8(1)});
    emit_.Add(MetaWrite{NFT_META_NFTRACE});
    return "";
  }

  std::string operator()(const TcpmssTarget&) {
    return "exthdr does not add the option where it is missing";
  }

  std::string operator()(const DscpTarget& dscp) {
    return WriteTrafficClass(0xfc, static_cast<uint8_t>(dscp.value << 2));
  }

  std::string operator()(const TosTarget& tos) {
    return WriteTrafficClass(tos.mask, tos.value);
  }

  std::string operator()(const TtlTarget& ttl) {
    if (ttl.change != TtlChange::kSet) {
      return "no expression adds or subtracts";
    }
    if (ttl.family == Family::kIpv4) return kChecksumOfZero;
    emit_.Add(Immediate{kReg1, Data::U8(ttl.value)});
    emit_.Add(PayloadWrite{NFT_PAYLOAD_NETWORK_HEADER, 7, 1});
    return "";
  }

  std::string operator()(const ClassifyTarget& classify) {
    emit_.Add(Immediate{kReg1, Data::Host32(classify.priority)});
    emit_.Add(MetaWrite{NFT_META_PRIORITY});
    return "";
  }

  template <typename Other>
  std::string operator()(const Other&) {
    return "nftables has no such expression";
  }

 private:
  Data Bytes(const Address& address) const {
    return Data(
        std::span(address).first(context_.family == Family::kIpv4 ? 4 : 16));
  }

  void MaskAndXor(uint32_t mask, uint32_t value) {
    emit_.Add(
        Bitwise{4, kReg1, kReg1, Data::Host32(mask), Data::Host32(value)});
  }

  void Addresses(const NatParameters& to, Nat* native) {
    if ((to.flags & kNatToAddresses) == 0) return;
    emit_.Add(Immediate{kReg1, Bytes(to.first)});
    native->address_min = kReg1;
    if (to.first == to.last) return;
    emit_.Add(Immediate{kReg2, Bytes(to.last)});
    native->address_max = kReg2;
  }

  std::string Ports(const NatParameters& to, uint32_t* min, uint32_t* max,
                    uint32_t* flags) {
    if ((to.flags & kNatToPortOffset) != 0) {
      return "ports shifted from a base have no expression";
    }
    *flags |= to.flags & kNatOptions;
    if ((to.flags & kNatToPorts) == 0) return "";
    if (to.first_port > to.last_port) return "an empty range of ports";
    emit_.Add(Immediate{kReg3, Data::Be16(to.first_port)});
    *min = kReg3;
    if (to.first_port == to.last_port) return "";
    emit_.Add(Immediate{kReg4, Data::Be16(to.last_port)});
    *max = kReg4;
    return "";
  }

  std::string Translate(const NatParameters& to, uint32_t type) {
    if ((to.flags & kNatToNetwork) != 0) return "a map of networks";
    if ((to.flags & (kNatToAddresses | kNatToPorts)) == 0) {
      return "neither addresses nor ports are given";
    }
    Nat native{.type = type, .family = FamilyNumber(context_.family)};
    Addresses(to, &native);
    if (auto reason =
            Ports(to, &native.proto_min, &native.proto_max, &native.flags);
        !reason.empty()) {
      return reason;
    }
    emit_.Add(native);
    return "";
  }

  /// class = (class & ~mask) ^ value; IPv6's lies within the first word.
  std::string WriteTrafficClass(uint8_t mask, uint8_t value) {
    if (context_.family == Family::kIpv4) return kChecksumOfZero;
    emit_.LoadPayload(NFT_PAYLOAD_NETWORK_HEADER, 0, 2);
    emit_.Add(Bitwise{2, kReg1, kReg1,
                      Data::Be16(static_cast<uint16_t>(~(mask << 4))),
                      Data::Be16(static_cast<uint16_t>(value << 4))});
    emit_.Add(PayloadWrite{NFT_PAYLOAD_NETWORK_HEADER, 0, 2});
    return "";
  }

  const RuleContext& context_;
  const NftOptions& options_;
  Emitter emit_;
};

}  // namespace

std::string LowerAction(const Action& action, const RuleContext& context,
                        const NftOptions& options, LoweredRule* out) {
  const size_t exprs = out->exprs.size();
  std::string reason =
      std::visit(ActionLowering(context, options, out), action);
  if (!reason.empty()) {
    out->exprs.erase(out->exprs.begin() + static_cast<ptrdiff_t>(exprs),
                     out->exprs.end());
  }
  return reason;
}

void LowerVerdict(const Target& target, LoweredRule* out) {
  switch (target.kind) {
    case TargetKind::kNone:
    case TargetKind::kExtension:
      return;
    case TargetKind::kAccept:
      out->exprs.push_back(Verdict{NF_ACCEPT, ""});
      return;
    case TargetKind::kDrop:
      out->exprs.push_back(Verdict{NF_DROP, ""});
      return;
    case TargetKind::kReturn:
      out->exprs.push_back(Verdict{NFT_RETURN, ""});
      return;
    case TargetKind::kJump:
      out->exprs.push_back(Verdict{NFT_JUMP, target.chain});
      return;
    case TargetKind::kGoto:
      out->exprs.push_back(Verdict{NFT_GOTO, target.chain});
      return;
    case TargetKind::kQueue: {
      // nf_tables refuses the verdict itself; revision 0 of NFQUEUE is the
      // same: a number, here 0, and no options.
      Extension queue;
      queue.name = "NFQUEUE";
      queue.payload.resize(8);
      CarryTarget(queue, out);
      return;
    }
  }
}

}  // namespace nfarena::nft
