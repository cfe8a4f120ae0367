#include "engines/vm/attribute.h"

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>

#include "engines/vm/message_types.h"

namespace nfarena::vm {
namespace {

template <typename T>
T Load(const uint8_t* data) {
  T value;
  std::memcpy(&value, data, sizeof(value));
  return value;
}

constexpr size_t Align4(size_t size) { return (size + 3) & ~size_t{3}; }

// nft_expr_policy.  Source: net/netfilter/nf_tables_api.c.
constexpr uint32_t kExpressionNameLimit = 42;  // NFT_MODULE_AUTOLOAD_LIMIT

Errno CheckExpressionList(std::span<const uint8_t> list);
Errno CheckElementList(std::span<const uint8_t> list);

size_t MinimumSize(AttributeKind kind) {
  switch (kind) {
    case AttributeKind::kU8:
      return 1;
    case AttributeKind::kU16:
      return 2;
    case AttributeKind::kU32:
    case AttributeKind::kMax32:
    case AttributeKind::kMask32:
      return 4;
    case AttributeKind::kU64:
      return 8;
    default:
      return 0;
  }
}

Errno CheckString(const AttributeRule& rule, std::span<const uint8_t> payload) {
  if (payload.empty()) return ERANGE;
  size_t size = payload.size();
  if (rule.limit != 0) {
    if (payload.back() == 0) --size;
    if (size > rule.limit) return ERANGE;
  }
  return 0;
}

Errno CheckAttribute(const AttributeRule& rule,
                     std::span<const uint8_t> payload) {
  if (payload.size() < MinimumSize(rule.kind)) return ERANGE;
  switch (rule.kind) {
    case AttributeKind::kMax32:
      return ntohl(Load<uint32_t>(payload.data())) > rule.limit ? ERANGE : 0;
    case AttributeKind::kMask32:
      return (ntohl(Load<uint32_t>(payload.data())) & ~rule.limit) != 0 ? EINVAL
                                                                        : 0;
    case AttributeKind::kNulString: {
      const size_t window =
          std::min<size_t>(payload.size(), size_t{rule.limit} + 1);
      const auto head = payload.first(window);
      if (std::find(head.begin(), head.end(), 0) == head.end()) return EINVAL;
      return CheckString(rule, payload);
    }
    case AttributeKind::kString:
      return CheckString(rule, payload);
    case AttributeKind::kBinary:
      return rule.limit != 0 && payload.size() > rule.limit ? ERANGE : 0;
    case AttributeKind::kNested:
      return !payload.empty() && payload.size() < NLA_HDRLEN ? ERANGE : 0;
    case AttributeKind::kExprList:
      if (payload.empty()) return 0;
      if (payload.size() < NLA_HDRLEN) return ERANGE;
      return CheckExpressionList(payload);
    case AttributeKind::kElementList:
      if (payload.empty()) return 0;
      if (payload.size() < NLA_HDRLEN) return ERANGE;
      return CheckElementList(payload);
    default:
      return 0;
  }
}

// nla_validate_array() over nft_set_elem_policy.
Errno CheckElementList(std::span<const uint8_t> list) {
  Attribute element;
  while (NextAttribute(&list, &element)) {
    if (element.size() == 0) continue;
    if (element.size() < NLA_HDRLEN) return ERANGE;
    AttributeTable table;
    const Errno error =
        ParseAttributes(element.payload(), kElementPolicy, &table);
    if (error != 0) return error;
  }
  return 0;
}

// nla_validate_array() over nft_expr_policy.
Errno CheckExpressionList(std::span<const uint8_t> list) {
  constexpr AttributeRule kName{NFTA_EXPR_NAME, AttributeKind::kString,
                                kExpressionNameLimit};
  constexpr AttributeRule kData{NFTA_EXPR_DATA, AttributeKind::kNested, 0};
  Attribute element;
  while (NextAttribute(&list, &element)) {
    if (element.size() == 0) continue;
    if (element.size() < NLA_HDRLEN) return ERANGE;
    std::span<const uint8_t> inner = element.payload();
    Attribute attribute;
    while (NextAttribute(&inner, &attribute)) {
      Errno error = 0;
      if (attribute.type() == NFTA_EXPR_NAME) {
        error = CheckAttribute(kName, attribute.payload());
      } else if (attribute.type() == NFTA_EXPR_DATA) {
        error = CheckAttribute(kData, attribute.payload());
      }
      if (error != 0) return error;
    }
  }
  return 0;
}

}  // namespace

uint16_t Attribute::Be16() const { return ntohs(Load<uint16_t>(data_)); }
uint32_t Attribute::Be32() const { return ntohl(Load<uint32_t>(data_)); }
uint64_t Attribute::Be64() const { return be64toh(Load<uint64_t>(data_)); }

std::string_view Attribute::Text() const {
  const auto* text = reinterpret_cast<const char*>(data_);
  return {text, strnlen(text, size_)};
}

bool NextAttribute(std::span<const uint8_t>* rest, Attribute* attribute) {
  if (rest->size() < sizeof(nlattr)) return false;
  const auto header = Load<nlattr>(rest->data());
  if (header.nla_len < sizeof(nlattr) || header.nla_len > rest->size()) {
    return false;
  }
  *attribute =
      Attribute(header.nla_type & NLA_TYPE_MASK,
                rest->subspan(NLA_HDRLEN, header.nla_len - NLA_HDRLEN));
  *rest = rest->subspan(std::min(rest->size(), Align4(header.nla_len)));
  return true;
}

Errno ParseAttributes(std::span<const uint8_t> bytes,
                      const AttributePolicy& policy, AttributeTable* table) {
  *table = AttributeTable();
  Attribute attribute;
  while (NextAttribute(&bytes, &attribute)) {
    const uint16_t type = attribute.type();
    if (type == 0 || type > policy.max_type()) continue;
    const Errno error = CheckAttribute(policy.rule(type), attribute.payload());
    if (error != 0) return error;
    (*table)[type] = attribute;
  }
  return 0;
}

void MessageWriter::BeginMessage(uint16_t type, uint16_t flags, uint32_t seq,
                                 uint32_t port_id, uint8_t family,
                                 uint16_t res_id) {
  message_ = out_->size();
  nlmsghdr header{};
  header.nlmsg_type = type;
  header.nlmsg_flags = flags;
  header.nlmsg_seq = seq;
  header.nlmsg_pid = port_id;
  nfgenmsg body{};
  body.nfgen_family = family;
  body.version = NFNETLINK_V0;
  body.res_id = htons(res_id);
  out_->resize(message_ + sizeof(header) + sizeof(body));
  std::memcpy(out_->data() + message_, &header, sizeof(header));
  std::memcpy(out_->data() + message_ + sizeof(header), &body, sizeof(body));
}

void MessageWriter::EndMessage() {
  const auto size = static_cast<uint32_t>(out_->size() - message_);
  std::memcpy(out_->data() + message_ + offsetof(nlmsghdr, nlmsg_len), &size,
              sizeof(size));
}

size_t MessageWriter::BeginNest(uint16_t type) {
  const size_t start = out_->size();
  Put(type, {});
  return start;
}

void MessageWriter::EndNest(size_t start) {
  const auto size = static_cast<uint16_t>(out_->size() - start);
  std::memcpy(out_->data() + start + offsetof(nlattr, nla_len), &size,
              sizeof(size));
}

void MessageWriter::Put(uint16_t type, std::span<const uint8_t> payload) {
  const size_t start = out_->size();
  nlattr header{};
  header.nla_len = static_cast<uint16_t>(NLA_HDRLEN + payload.size());
  header.nla_type = type;
  out_->resize(start + NLA_HDRLEN + Align4(payload.size()));
  std::memcpy(out_->data() + start, &header, sizeof(header));
  if (!payload.empty()) {
    std::memcpy(out_->data() + start + NLA_HDRLEN, payload.data(),
                payload.size());
  }
}

void MessageWriter::PutU8(uint16_t type, uint8_t value) {
  Put(type, {&value, sizeof(value)});
}

void MessageWriter::PutBe16(uint16_t type, uint16_t value) {
  const uint16_t wire = htons(value);
  Put(type, {reinterpret_cast<const uint8_t*>(&wire), sizeof(wire)});
}

void MessageWriter::PutBe32(uint16_t type, uint32_t value) {
  const uint32_t wire = htonl(value);
  Put(type, {reinterpret_cast<const uint8_t*>(&wire), sizeof(wire)});
}

void MessageWriter::PutBe64(uint16_t type, uint64_t value) {
  const uint64_t wire = htobe64(value);
  Put(type, {reinterpret_cast<const uint8_t*>(&wire), sizeof(wire)});
}

void MessageWriter::PutString(uint16_t type, std::string_view text) {
  const size_t start = out_->size();
  nlattr header{};
  header.nla_len = static_cast<uint16_t>(NLA_HDRLEN + text.size() + 1);
  header.nla_type = type;
  out_->resize(start + NLA_HDRLEN + Align4(text.size() + 1));
  std::memcpy(out_->data() + start, &header, sizeof(header));
  std::memcpy(out_->data() + start + NLA_HDRLEN, text.data(), text.size());
}

}  // namespace nfarena::vm
