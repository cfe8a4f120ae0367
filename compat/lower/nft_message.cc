#include "compat/lower/nft_message.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <libnftnl/common.h>
#include <libnftnl/udata.h>
// After the C library's own network headers, which it would clash with.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>

#include "compat/lower/nft_objects.h"
#include "compat/model/huge_pages.h"

namespace nfarena::nft {
namespace {

/// Everything but a rule fits in this; names have at most 255 bytes.
constexpr size_t kSmallMessage = 4096;
/// The zeroing of new buffer space goes in steps of this size.
constexpr size_t kStep = size_t{256} << 10;
/// NFT_RULE_MAXEXPRS and the 12 bits of a rule's length.
constexpr size_t kMaxExprs = 128;
constexpr size_t kMaxKernelBytes = 4095;
/// An attribute's length has 16 bits; the list of expressions is one.
constexpr size_t kMaxMessageBytes = 60'000;

Status OutOfMemory() { return FailErrno("netlink message"); }

}  // namespace

uint8_t FamilyNumber(Family family) {
  return family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

BaseChain BaseChainOf(TableKind kind, Hook hook) {
  // NF_IP_PRI_* of include/uapi/linux/netfilter_ipv4.h; IPv6's are the same.
  switch (kind) {
    case TableKind::kRaw:
      return {"filter", -300};
    case TableKind::kMangle:
      // Only this type routes anew when a local packet's mark or address
      // changed, as iptable_mangle does.
      return {hook == Hook::kOutput ? "route" : "filter", -150};
    case TableKind::kNat:
      return {"nat",
              hook == Hook::kPrerouting || hook == Hook::kOutput ? -100 : 100};
    case TableKind::kFilter:
      return {"filter", 0};
    case TableKind::kSecurity:
      return {"filter", 50};
  }
  return {"filter", 0};
}

void MessageWriter::Reserve(size_t bytes) {
  ReserveOnHugePages(&buffer_, bytes + kStep);
}

char* MessageWriter::Room(size_t bytes) {
  if (used_ + bytes > buffer_.size()) {
    buffer_.resize(used_ + std::max(bytes, kStep));
  }
  return reinterpret_cast<char*>(buffer_.data() + used_);
}

void MessageWriter::Done(const void* message) {
  used_ += MNL_ALIGN(static_cast<const nlmsghdr*>(message)->nlmsg_len);
  ++messages_;
  ++seq_;
}

std::vector<uint8_t> MessageWriter::Take() {
  buffer_.resize(used_);
  used_ = 0;
  return std::move(buffer_);
}

void MessageWriter::BeginBatch(uint32_t genid) {
  nlmsghdr* message = nftnl_batch_begin(Room(kSmallMessage), seq_);
  if (genid != 0) {
    mnl_attr_put_u32(message, NFNL_BATCH_GENID, htonl(genid));
  }
  Done(message);
}

void MessageWriter::EndBatch() {
  Done(nftnl_batch_end(Room(kSmallMessage), seq_));
}

void MessageWriter::AddTable(std::string_view table) {
  nlmsghdr* message =
      nftnl_nlmsg_build_hdr(Room(kSmallMessage), NFT_MSG_NEWTABLE,
                            FamilyNumber(family_), NLM_F_CREATE, seq_);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, std::string(table).c_str());
  Done(message);
}

void MessageWriter::DeleteTable(std::string_view table) {
  nlmsghdr* message = nftnl_nlmsg_build_hdr(
      Room(kSmallMessage), NFT_MSG_DELTABLE, FamilyNumber(family_), 0, seq_);
  mnl_attr_put_strz(message, NFTA_TABLE_NAME, std::string(table).c_str());
  Done(message);
}

Status MessageWriter::AddChain(const ChainMessage& chain) {
  OwnedChain object(nftnl_chain_alloc());
  if (!object) return OutOfMemory();
  nftnl_chain* to = object.get();
  nftnl_chain_set_str(to, NFTNL_CHAIN_TABLE, std::string(chain.table).c_str());
  nftnl_chain_set_str(to, NFTNL_CHAIN_NAME, std::string(chain.name).c_str());
  if (chain.handle != 0) {
    nftnl_chain_set_u64(to, NFTNL_CHAIN_HANDLE, chain.handle);
  }
  if (chain.hook) {
    const BaseChain base = BaseChainOf(chain.kind, *chain.hook);
    nftnl_chain_set_u32(to, NFTNL_CHAIN_HOOKNUM,
                        static_cast<uint32_t>(*chain.hook));
    nftnl_chain_set_s32(to, NFTNL_CHAIN_PRIO, base.priority);
    nftnl_chain_set_str(to, NFTNL_CHAIN_TYPE, base.type);
  }
  if (chain.policy) {
    nftnl_chain_set_u32(to, NFTNL_CHAIN_POLICY,
                        *chain.policy == Policy::kDrop ? NF_DROP : NF_ACCEPT);
  }
  if (chain.counters) {
    nftnl_chain_set_u64(to, NFTNL_CHAIN_PACKETS, chain.counters->packets);
    nftnl_chain_set_u64(to, NFTNL_CHAIN_BYTES, chain.counters->bytes);
  }
  nlmsghdr* message =
      nftnl_nlmsg_build_hdr(Room(kSmallMessage), NFT_MSG_NEWCHAIN,
                            FamilyNumber(family_), NLM_F_CREATE, seq_);
  nftnl_chain_nlmsg_build_payload(message, to);
  Done(message);
  return {};
}

void MessageWriter::DeleteChain(std::string_view table,
                                std::string_view chain) {
  nlmsghdr* message = nftnl_nlmsg_build_hdr(
      Room(kSmallMessage), NFT_MSG_DELCHAIN, FamilyNumber(family_), 0, seq_);
  mnl_attr_put_strz(message, NFTA_CHAIN_TABLE, std::string(table).c_str());
  mnl_attr_put_strz(message, NFTA_CHAIN_NAME, std::string(chain).c_str());
  Done(message);
}

Status MessageWriter::AddSet(std::string_view table, const AnonymousSet& set) {
  OwnedSet object(nftnl_set_alloc());
  if (!object) return OutOfMemory();
  nftnl_set* to = object.get();
  nftnl_set_set_str(to, NFTNL_SET_TABLE, std::string(table).c_str());
  // The kernel puts a number in the place of %d; within the batch the id says
  // which set is meant.
  nftnl_set_set_str(to, NFTNL_SET_NAME, "__set%d");
  nftnl_set_set_u32(to, NFTNL_SET_ID, set.id);
  nftnl_set_set_u32(to, NFTNL_SET_FLAGS,
                    NFT_SET_ANONYMOUS | NFT_SET_CONSTANT |
                        (set.interval ? uint32_t{NFT_SET_INTERVAL} : 0u));
  nftnl_set_set_u32(to, NFTNL_SET_KEY_TYPE, set.key_type);
  nftnl_set_set_u32(to, NFTNL_SET_KEY_LEN, set.key_len);
  // With a known size the kernel takes a small hash; without, 2-byte keys get
  // a bitmap of 16 KiB.
  nftnl_set_set_u32(to, NFTNL_SET_DESC_SIZE,
                    static_cast<uint32_t>(set.elements.size()));
  nlmsghdr* message =
      nftnl_nlmsg_build_hdr(Room(kSmallMessage), NFT_MSG_NEWSET,
                            FamilyNumber(family_), NLM_F_CREATE, seq_);
  nftnl_set_nlmsg_build_payload(message, to);
  Done(message);

  for (const AnonymousSet::Element& element : set.elements) {
    nftnl_set_elem* made = nftnl_set_elem_alloc();
    if (made == nullptr) return OutOfMemory();
    nftnl_set_elem_set(made, NFTNL_SET_ELEM_KEY, element.key.bytes.data(),
                       element.key.size);
    if (element.interval_end) {
      nftnl_set_elem_set_u32(made, NFTNL_SET_ELEM_FLAGS,
                             NFT_SET_ELEM_INTERVAL_END);
    }
    nftnl_set_elem_add(to, made);
  }
  message = nftnl_nlmsg_build_hdr(
      Room(kSmallMessage + 64 * set.elements.size()), NFT_MSG_NEWSETELEM,
      FamilyNumber(family_), NLM_F_CREATE, seq_);
  nftnl_set_elems_nlmsg_build_payload(message, to);
  Done(message);
  return {};
}

Status MessageWriter::AddRule(const RuleMessage& rule) {
  size_t kernel_bytes = 0;
  size_t message_bytes = kSmallMessage;
  for (const Expr& expr : rule.exprs) {
    kernel_bytes += KernelBytes(expr);
    message_bytes += MessageBytes(expr);
  }
  if (rule.exprs.size() > kMaxExprs) {
    return Fail(ErrorCode::kRange,
                fmt::format("rule has {} expressions, nf_tables takes {}",
                            rule.exprs.size(), kMaxExprs));
  }
  if (kernel_bytes > kMaxKernelBytes || message_bytes > kMaxMessageBytes) {
    return Fail(
        ErrorCode::kRange,
        fmt::format("rule has {} bytes, nf_tables takes {}",
                    std::max(kernel_bytes, message_bytes), kMaxKernelBytes));
  }

  OwnedRule object(nftnl_rule_alloc());
  if (!object) return OutOfMemory();
  nftnl_rule* to = object.get();
  nftnl_rule_set_str(to, NFTNL_RULE_TABLE, rule.table);
  nftnl_rule_set_str(to, NFTNL_RULE_CHAIN, rule.chain);
  for (const Expr& expr : rule.exprs) RETURN_IF_ERROR(AddToRule(expr, to));
  if (rule.compat) {
    nftnl_rule_set_u32(to, NFTNL_RULE_COMPAT_PROTO, rule.protocol);
    nftnl_rule_set_u32(
        to, NFTNL_RULE_COMPAT_FLAGS,
        rule.protocol_inverted ? uint32_t{NFT_RULE_COMPAT_F_INV} : 0u);
  }
  if (!rule.comment.empty()) {
    std::vector<uint8_t> udata;
    udata.reserve(rule.comment.size() + 3);
    udata.push_back(NFTNL_UDATA_RULE_COMMENT);
    udata.push_back(static_cast<uint8_t>(rule.comment.size() + 1));
    udata.insert(udata.end(), rule.comment.begin(), rule.comment.end());
    udata.push_back(0);
    nftnl_rule_set_data(to, NFTNL_RULE_USERDATA, udata.data(),
                        static_cast<uint32_t>(udata.size()));
  }

  const RulePlace& place = rule.place;
  uint16_t flags = NLM_F_CREATE;
  if (place.replaces_handle != 0) {
    nftnl_rule_set_u64(to, NFTNL_RULE_HANDLE, place.replaces_handle);
    flags = NLM_F_REPLACE;
  } else if (place.before_handle != 0) {
    nftnl_rule_set_u64(to, NFTNL_RULE_POSITION, place.before_handle);
  } else if (place.before_id != 0) {
    nftnl_rule_set_u32(to, NFTNL_RULE_POSITION_ID, place.before_id);
  } else if (!place.first) {
    flags |= NLM_F_APPEND;
  }
  if (place.id != 0) nftnl_rule_set_u32(to, NFTNL_RULE_ID, place.id);

  nlmsghdr* message = nftnl_nlmsg_build_hdr(
      Room(message_bytes), NFT_MSG_NEWRULE, FamilyNumber(family_), flags, seq_);
  nftnl_rule_nlmsg_build_payload(message, to);
  Done(message);
  return {};
}

void MessageWriter::DeleteRules(std::string_view table, std::string_view chain,
                                uint64_t handle, uint32_t id) {
  nlmsghdr* message = nftnl_nlmsg_build_hdr(
      Room(kSmallMessage), NFT_MSG_DELRULE, FamilyNumber(family_), 0, seq_);
  mnl_attr_put_strz(message, NFTA_RULE_TABLE, std::string(table).c_str());
  if (!chain.empty()) {
    mnl_attr_put_strz(message, NFTA_RULE_CHAIN, std::string(chain).c_str());
  }
  if (handle != 0) {
    mnl_attr_put_u64(message, NFTA_RULE_HANDLE, htobe64(handle));
  } else if (id != 0) {
    mnl_attr_put_u32(message, NFTA_RULE_ID, htonl(id));
  }
  Done(message);
}

}  // namespace nfarena::nft
