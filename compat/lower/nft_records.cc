#include "compat/lower/nft_records.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <libnftnl/udata.h>
// After the C library's own network headers, which it would clash with.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <cstring>
#include <memory>

namespace nfarena::nft {
namespace {

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using OwnedTable = std::unique_ptr<nftnl_table, Deleter<nftnl_table_free>>;
using OwnedChain = std::unique_ptr<nftnl_chain, Deleter<nftnl_chain_free>>;
using OwnedRule = std::unique_ptr<nftnl_rule, Deleter<nftnl_rule_free>>;
using OwnedSet = std::unique_ptr<nftnl_set, Deleter<nftnl_set_free>>;

tl::unexpected<Error> Malformed(const char* what) {
  return Fail(ErrorCode::kSyntax,
              fmt::format("malformed nf_tables message: {}", what));
}

std::string Text(const char* text) { return text == nullptr ? "" : text; }

/// The comment among a rule's user data; others' types are passed over.
std::string Comment(std::span<const uint8_t> udata) {
  size_t at = 0;
  while (udata.size() - at >= 2) {
    const uint8_t type = udata[at];
    const size_t size = udata[at + 1];
    if (size > udata.size() - at - 2) break;
    if (type == NFTNL_UDATA_RULE_COMMENT) {
      const auto* text = reinterpret_cast<const char*>(udata.data() + at + 2);
      return std::string(text, strnlen(text, size));
    }
    at += 2 + size;
  }
  return "";
}

}  // namespace

std::optional<uint8_t> Message::nft_type() const {
  if (NFNL_SUBSYS_ID(type) != NFNL_SUBSYS_NFTABLES || header == nullptr) {
    return std::nullopt;
  }
  return static_cast<uint8_t>(NFNL_MSG_TYPE(type));
}

Status ForEachMessage(std::span<const uint8_t> bytes,
                      const std::function<Status(const Message&)>& visit) {
  // libmnl reads headers and attributes in place, at multiples of 4.
  std::vector<uint8_t> aligned;
  if (reinterpret_cast<uintptr_t>(bytes.data()) % alignof(nlmsghdr) != 0) {
    aligned.assign(bytes.begin(), bytes.end());
    bytes = aligned;
  }
  size_t at = 0;
  while (at < bytes.size()) {
    const size_t left = bytes.size() - at;
    if (left < sizeof(nlmsghdr)) return Malformed("header cut off");
    const auto* header = reinterpret_cast<const nlmsghdr*>(bytes.data() + at);
    if (header->nlmsg_len < sizeof(nlmsghdr) || header->nlmsg_len > left) {
      return Malformed("length outside the data");
    }
    Message message{.type = header->nlmsg_type, .flags = header->nlmsg_flags};
    if (header->nlmsg_type >= NLMSG_MIN_TYPE &&
        header->nlmsg_len >= sizeof(nlmsghdr) + sizeof(nfgenmsg)) {
      message.header = header;
      message.family =
          static_cast<const nfgenmsg*>(mnl_nlmsg_get_payload(header))
              ->nfgen_family;
    }
    RETURN_IF_ERROR(visit(message));
    at += std::min<size_t>(left, MNL_ALIGN(header->nlmsg_len));
  }
  return {};
}

Result<TableRecord> ReadTable(const Message& message) {
  const OwnedTable table(nftnl_table_alloc());
  if (!table) return FailErrno("table");
  if (nftnl_table_nlmsg_parse(message.header, table.get()) < 0) {
    return Malformed("table");
  }
  return TableRecord{Text(nftnl_table_get_str(table.get(), NFTNL_TABLE_NAME))};
}

Result<ChainRecord> ReadChain(const Message& message) {
  const OwnedChain owned(nftnl_chain_alloc());
  if (!owned) return FailErrno("chain");
  const nftnl_chain* chain = owned.get();
  if (nftnl_chain_nlmsg_parse(message.header, owned.get()) < 0) {
    return Malformed("chain");
  }
  ChainRecord record;
  record.table = Text(nftnl_chain_get_str(chain, NFTNL_CHAIN_TABLE));
  record.name = Text(nftnl_chain_get_str(chain, NFTNL_CHAIN_NAME));
  record.type = Text(nftnl_chain_get_str(chain, NFTNL_CHAIN_TYPE));
  if (nftnl_chain_is_set(chain, NFTNL_CHAIN_HANDLE)) {
    record.handle = nftnl_chain_get_u64(chain, NFTNL_CHAIN_HANDLE);
  }
  if (nftnl_chain_is_set(chain, NFTNL_CHAIN_HOOKNUM)) {
    record.hook = nftnl_chain_get_u32(chain, NFTNL_CHAIN_HOOKNUM);
  }
  if (nftnl_chain_is_set(chain, NFTNL_CHAIN_PRIO)) {
    record.priority = nftnl_chain_get_s32(chain, NFTNL_CHAIN_PRIO);
  }
  if (nftnl_chain_is_set(chain, NFTNL_CHAIN_POLICY)) {
    record.policy = nftnl_chain_get_u32(chain, NFTNL_CHAIN_POLICY);
  }
  if (nftnl_chain_is_set(chain, NFTNL_CHAIN_PACKETS) &&
      nftnl_chain_is_set(chain, NFTNL_CHAIN_BYTES)) {
    record.counters = Counters{nftnl_chain_get_u64(chain, NFTNL_CHAIN_PACKETS),
                               nftnl_chain_get_u64(chain, NFTNL_CHAIN_BYTES)};
  }
  return record;
}

Result<RuleRecord> ReadRule(const Message& message) {
  const OwnedRule owned(nftnl_rule_alloc());
  if (!owned) return FailErrno("rule");
  const nftnl_rule* rule = owned.get();
  if (nftnl_rule_nlmsg_parse(message.header, owned.get()) < 0) {
    return Malformed("rule");
  }
  RuleRecord record;
  record.table = Text(nftnl_rule_get_str(rule, NFTNL_RULE_TABLE));
  record.chain = Text(nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN));
  const auto u64 = [rule](uint16_t attribute) {
    return nftnl_rule_is_set(rule, attribute)
               ? nftnl_rule_get_u64(rule, attribute)
               : uint64_t{0};
  };
  const auto u32 = [rule](uint16_t attribute) {
    return nftnl_rule_is_set(rule, attribute)
               ? nftnl_rule_get_u32(rule, attribute)
               : uint32_t{0};
  };
  record.handle = u64(NFTNL_RULE_HANDLE);
  record.position = u64(NFTNL_RULE_POSITION);
  record.id = u32(NFTNL_RULE_ID);
  record.position_id = u32(NFTNL_RULE_POSITION_ID);
  uint32_t size = 0;
  const void* udata =
      nftnl_rule_is_set(rule, NFTNL_RULE_USERDATA)
          ? nftnl_rule_get_data(rule, NFTNL_RULE_USERDATA, &size)
          : nullptr;
  if (udata != nullptr) {
    record.comment = Comment({static_cast<const uint8_t*>(udata), size});
  }
  record.exprs = ReadExprs(rule);
  return record;
}

Result<SetRecord> ReadSet(const Message& message) {
  const OwnedSet set(nftnl_set_alloc());
  if (!set) return FailErrno("set");
  if (nftnl_set_nlmsg_parse(message.header, set.get()) < 0) {
    return Malformed("set");
  }
  const auto u32 = [&set](uint16_t attribute) {
    return nftnl_set_is_set(set.get(), attribute)
               ? nftnl_set_get_u32(set.get(), attribute)
               : uint32_t{0};
  };
  return SetRecord{.table = Text(nftnl_set_get_str(set.get(), NFTNL_SET_TABLE)),
                   .name = Text(nftnl_set_get_str(set.get(), NFTNL_SET_NAME)),
                   .id = u32(NFTNL_SET_ID),
                   .flags = u32(NFTNL_SET_FLAGS),
                   .key_len = u32(NFTNL_SET_KEY_LEN)};
}

Result<ElementsRecord> ReadElements(const Message& message) {
  const OwnedSet set(nftnl_set_alloc());
  if (!set) return FailErrno("set elements");
  if (nftnl_set_elems_nlmsg_parse(message.header, set.get()) < 0) {
    return Malformed("set elements");
  }
  ElementsRecord record;
  record.table = Text(nftnl_set_get_str(set.get(), NFTNL_SET_TABLE));
  record.set = Text(nftnl_set_get_str(set.get(), NFTNL_SET_NAME));
  if (nftnl_set_is_set(set.get(), NFTNL_SET_ID)) {
    record.set_id = nftnl_set_get_u32(set.get(), NFTNL_SET_ID);
  }
  const auto read = [](nftnl_set_elem* element, void* to) {
    const auto constant = [element](uint16_t attribute) -> std::optional<Data> {
      uint32_t size = 0;
      if (!nftnl_set_elem_is_set(element, attribute)) return std::nullopt;
      const void* data = nftnl_set_elem_get(element, attribute, &size);
      if (data == nullptr || size > Data{}.bytes.size()) return std::nullopt;
      return Data(std::span(static_cast<const uint8_t*>(data), size));
    };
    ElementsRecord::Element out;
    out.key = constant(NFTNL_SET_ELEM_KEY).value_or(Data{});
    out.key_end = constant(NFTNL_SET_ELEM_KEY_END);
    if (nftnl_set_elem_is_set(element, NFTNL_SET_ELEM_FLAGS)) {
      out.interval_end =
          (nftnl_set_elem_get_u32(element, NFTNL_SET_ELEM_FLAGS) &
           NFT_SET_ELEM_INTERVAL_END) != 0;
    }
    static_cast<std::vector<ElementsRecord::Element>*>(to)->push_back(out);
    return 0;
  };
  nftnl_set_elem_foreach(set.get(), read, &record.elements);
  return record;
}

}  // namespace nfarena::nft
