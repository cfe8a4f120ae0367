#include "compat/lower/nft_records.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <libnftnl/udata.h>
// After the C library's own network headers, which it would clash with.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "compat/lower/nft_attributes.h"
#include "compat/lower/nft_objects.h"
#include "compat/lower/nft_policy.h"

namespace nfarena::nft {
namespace {

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

/// The attributes of a message or of a nest, by type; of equal ones the last.
/// Types beyond the table are passed over, and so is everything behind an
/// attribute whose length is wrong.
class Attributes {
 public:
  explicit Attributes(AttributeRange range) {
    for (const nlattr& attribute : range) {
      const uint16_t type = mnl_attr_get_type(&attribute);
      if (type < by_type_.size()) by_type_[type] = &attribute;
    }
  }

  const nlattr* Nested(uint16_t type) const {
    const nlattr* attribute = Get(type);
    return attribute != nullptr &&
                   mnl_attr_validate(attribute, MNL_TYPE_NESTED) == 0
               ? attribute
               : nullptr;
  }
  std::string Text(uint16_t type) const {
    const nlattr* attribute = Get(type);
    if (attribute == nullptr) return "";
    const char* text = mnl_attr_get_str(attribute);
    return std::string(text,
                       strnlen(text, mnl_attr_get_payload_len(attribute)));
  }
  uint32_t Be32(uint16_t type) const {
    const nlattr* attribute = Get(type);
    if (attribute == nullptr ||
        mnl_attr_validate(attribute, MNL_TYPE_U32) != 0) {
      return 0;
    }
    return ntohl(mnl_attr_get_u32(attribute));
  }
  /// A constant is a nest of its own (NFTA_DATA_VALUE).
  std::span<const uint8_t> Value(uint16_t type) const {
    const nlattr* nest = Nested(type);
    if (nest == nullptr) return {};
    const nlattr* value = Attributes(AttributesOf(*nest)).Get(NFTA_DATA_VALUE);
    if (value == nullptr) return {};
    return {static_cast<const uint8_t*>(mnl_attr_get_payload(value)),
            mnl_attr_get_payload_len(value)};
  }
  std::optional<Data> Constant(uint16_t type) const {
    const auto value = Value(type);
    if (value.empty() || value.size() > Data{}.bytes.size()) {
      return std::nullopt;
    }
    return Data(value);
  }
  /// A constant of more bytes than Data has room for.
  std::vector<uint8_t> Wide(uint16_t type) const {
    const auto value = Value(type);
    if (value.size() <= Data{}.bytes.size()) return {};
    return {value.begin(), value.end()};
  }
  /// The verdict in such a nest.
  std::optional<Verdict> VerdictOf(uint16_t type) const {
    const nlattr* nest = Nested(type);
    if (nest == nullptr) return std::nullopt;
    const Attributes data(AttributesOf(*nest));
    const nlattr* verdict = data.Nested(NFTA_DATA_VERDICT);
    if (verdict == nullptr) return std::nullopt;
    const Attributes fields(AttributesOf(*verdict));
    return Verdict{static_cast<int32_t>(fields.Be32(NFTA_VERDICT_CODE)),
                   fields.Text(NFTA_VERDICT_CHAIN)};
  }
  bool Has(uint16_t type) const { return Get(type) != nullptr; }

 private:
  const nlattr* Get(uint16_t type) const { return by_type_[type]; }

  std::array<const nlattr*, 32> by_type_{};
};

}  // namespace

std::optional<uint8_t> Message::nft_type() const {
  if (NFNL_SUBSYS_ID(type) != NFNL_SUBSYS_NFTABLES || header == nullptr) {
    return std::nullopt;
  }
  return static_cast<uint8_t>(NFNL_MSG_TYPE(type));
}

Status ForEachMessage(std::span<const uint8_t> bytes,
                      const std::function<Status(const Message&)>& visit) {
  // libmnl reads headers and attributes in place, at multiples of 4, and
  // libnftnl reads strings up to their NUL: one more behind the last message
  // ends the string that has none.
  std::vector<uint8_t> copy;
  copy.reserve(bytes.size() + 1);
  copy.assign(bytes.begin(), bytes.end());
  copy.push_back(0);
  bytes = std::span(copy).first(bytes.size());
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
  RETURN_IF_ERROR(CheckAttributes(*message.header));
  if (nftnl_table_nlmsg_parse(message.header, table.get()) < 0) {
    return Malformed("table");
  }
  return TableRecord{Text(nftnl_table_get_str(table.get(), NFTNL_TABLE_NAME))};
}

Result<ChainRecord> ReadChain(const Message& message) {
  const OwnedChain owned(nftnl_chain_alloc());
  if (!owned) return FailErrno("chain");
  const nftnl_chain* chain = owned.get();
  RETURN_IF_ERROR(CheckAttributes(*message.header));
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
  RETURN_IF_ERROR(CheckAttributes(*message.header));
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
  RETURN_IF_ERROR(CheckAttributes(*message.header));
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
  // Not by libnftnl: it numbers the elements of a list it writes, and then
  // refuses them when it reads, while the kernel takes any number.
  const Attributes list(AttributesOf(*message.header));
  const nlattr* elements = list.Nested(NFTA_SET_ELEM_LIST_ELEMENTS);
  ElementsRecord record;
  record.table = list.Text(NFTA_SET_ELEM_LIST_TABLE);
  record.set = list.Text(NFTA_SET_ELEM_LIST_SET);
  record.set_id = list.Be32(NFTA_SET_ELEM_LIST_SET_ID);
  if (elements == nullptr) return record;
  for (const nlattr& attribute : AttributesOf(*elements)) {
    const Attributes fields(AttributesOf(attribute));
    ElementsRecord::Element element;
    element.key = fields.Constant(NFTA_SET_ELEM_KEY).value_or(Data{});
    element.key_end = fields.Constant(NFTA_SET_ELEM_KEY_END);
    element.wide_key = fields.Wide(NFTA_SET_ELEM_KEY);
    element.wide_end = fields.Wide(NFTA_SET_ELEM_KEY_END);
    element.verdict = fields.VerdictOf(NFTA_SET_ELEM_DATA);
    element.data = fields.Constant(NFTA_SET_ELEM_DATA);
    const uint32_t flags = fields.Be32(NFTA_SET_ELEM_FLAGS);
    element.interval_end = (flags & NFT_SET_ELEM_INTERVAL_END) != 0;
    element.catch_all = (flags & NFT_SET_ELEM_CATCHALL) != 0;
    element.dynamic = fields.Has(NFTA_SET_ELEM_TIMEOUT) ||
                      fields.Has(NFTA_SET_ELEM_EXPIRATION) ||
                      fields.Has(NFTA_SET_ELEM_EXPR) ||
                      fields.Has(NFTA_SET_ELEM_EXPRESSIONS) ||
                      fields.Has(NFTA_SET_ELEM_OBJREF);
    record.elements.push_back(element);
  }
  return record;
}

}  // namespace nfarena::nft
