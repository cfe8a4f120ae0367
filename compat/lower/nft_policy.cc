#include "compat/lower/nft_policy.h"

#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>

#include <span>
#include <string>
#include <string_view>

#include "compat/lower/nft_attributes.h"

namespace nfarena::nft {
namespace {

struct Field;
using Policy = std::span<const Field>;

enum class Kind : uint8_t {
  kU8,
  kU16,
  kU32,
  kU64,
  kText,         // at least one byte
  kEndedText,    // the last byte is a NUL
  kNest,         // attributes of `nest`
  kList,         // attributes of any type, each a nest of `nest`
  kExpression,   // a nest with a name and the data that the name asks for
  kExpressions,  // a list of those
};

struct Field {
  uint16_t type;
  Kind kind;
  Policy nest = {};
};

// Data (NFTA_DATA_*): a value of any size, or a verdict.
constexpr Field kVerdict[] = {{NFTA_VERDICT_CODE, Kind::kU32},
                              {NFTA_VERDICT_CHAIN, Kind::kText},
                              {NFTA_VERDICT_CHAIN_ID, Kind::kU32}};
constexpr Field kData[] = {{NFTA_DATA_VERDICT, Kind::kNest, kVerdict}};

// Expressions, by the order of enum nft_*_attributes in
// include/uapi/linux/netfilter/nf_tables.h.
constexpr Field kBitwise[] = {{NFTA_BITWISE_SREG, Kind::kU32},
                              {NFTA_BITWISE_DREG, Kind::kU32},
                              {NFTA_BITWISE_LEN, Kind::kU32},
                              {NFTA_BITWISE_MASK, Kind::kNest, kData},
                              {NFTA_BITWISE_XOR, Kind::kNest, kData},
                              {NFTA_BITWISE_OP, Kind::kU32},
                              {NFTA_BITWISE_DATA, Kind::kNest, kData}};
constexpr Field kByteorder[] = {{NFTA_BYTEORDER_SREG, Kind::kU32},
                                {NFTA_BYTEORDER_DREG, Kind::kU32},
                                {NFTA_BYTEORDER_OP, Kind::kU32},
                                {NFTA_BYTEORDER_LEN, Kind::kU32},
                                {NFTA_BYTEORDER_SIZE, Kind::kU32}};
constexpr Field kCmp[] = {{NFTA_CMP_SREG, Kind::kU32},
                          {NFTA_CMP_OP, Kind::kU32},
                          {NFTA_CMP_DATA, Kind::kNest, kData}};
constexpr Field kConnlimit[] = {{NFTA_CONNLIMIT_COUNT, Kind::kU32},
                                {NFTA_CONNLIMIT_FLAGS, Kind::kU32}};
constexpr Field kCounter[] = {{NFTA_COUNTER_BYTES, Kind::kU64},
                              {NFTA_COUNTER_PACKETS, Kind::kU64}};
constexpr Field kCt[] = {{NFTA_CT_DREG, Kind::kU32},
                         {NFTA_CT_KEY, Kind::kU32},
                         {NFTA_CT_DIRECTION, Kind::kU8},
                         {NFTA_CT_SREG, Kind::kU32}};
constexpr Field kDup[] = {{NFTA_DUP_SREG_ADDR, Kind::kU32},
                          {NFTA_DUP_SREG_DEV, Kind::kU32}};
constexpr Field kDynset[] = {{NFTA_DYNSET_SET_NAME, Kind::kText},
                             {NFTA_DYNSET_SET_ID, Kind::kU32},
                             {NFTA_DYNSET_OP, Kind::kU32},
                             {NFTA_DYNSET_SREG_KEY, Kind::kU32},
                             {NFTA_DYNSET_SREG_DATA, Kind::kU32},
                             {NFTA_DYNSET_TIMEOUT, Kind::kU64},
                             {NFTA_DYNSET_EXPR, Kind::kExpression},
                             {NFTA_DYNSET_FLAGS, Kind::kU32},
                             {NFTA_DYNSET_EXPRESSIONS, Kind::kExpressions}};
constexpr Field kExthdr[] = {
    {NFTA_EXTHDR_DREG, Kind::kU32},   {NFTA_EXTHDR_TYPE, Kind::kU8},
    {NFTA_EXTHDR_OFFSET, Kind::kU32}, {NFTA_EXTHDR_LEN, Kind::kU32},
    {NFTA_EXTHDR_FLAGS, Kind::kU32},  {NFTA_EXTHDR_OP, Kind::kU32},
    {NFTA_EXTHDR_SREG, Kind::kU32}};
constexpr Field kFib[] = {{NFTA_FIB_DREG, Kind::kU32},
                          {NFTA_FIB_RESULT, Kind::kU32},
                          {NFTA_FIB_FLAGS, Kind::kU32}};
constexpr Field kFlowOffload[] = {{NFTA_FLOW_TABLE_NAME, Kind::kText}};
constexpr Field kFwd[] = {{NFTA_FWD_SREG_DEV, Kind::kU32},
                          {NFTA_FWD_SREG_ADDR, Kind::kU32},
                          {NFTA_FWD_NFPROTO, Kind::kU32}};
constexpr Field kHash[] = {
    {NFTA_HASH_SREG, Kind::kU32}, {NFTA_HASH_DREG, Kind::kU32},
    {NFTA_HASH_LEN, Kind::kU32},  {NFTA_HASH_MODULUS, Kind::kU32},
    {NFTA_HASH_SEED, Kind::kU32}, {NFTA_HASH_OFFSET, Kind::kU32},
    {NFTA_HASH_TYPE, Kind::kU32}};
constexpr Field kImmediate[] = {{NFTA_IMMEDIATE_DREG, Kind::kU32},
                                {NFTA_IMMEDIATE_DATA, Kind::kNest, kData}};
constexpr Field kLast[] = {{NFTA_LAST_SET, Kind::kU32},
                           {NFTA_LAST_MSECS, Kind::kU64}};
constexpr Field kLimit[] = {{NFTA_LIMIT_RATE, Kind::kU64},
                            {NFTA_LIMIT_UNIT, Kind::kU64},
                            {NFTA_LIMIT_BURST, Kind::kU32},
                            {NFTA_LIMIT_TYPE, Kind::kU32},
                            {NFTA_LIMIT_FLAGS, Kind::kU32}};
constexpr Field kLog[] = {
    {NFTA_LOG_GROUP, Kind::kU16},   {NFTA_LOG_PREFIX, Kind::kText},
    {NFTA_LOG_SNAPLEN, Kind::kU32}, {NFTA_LOG_QTHRESHOLD, Kind::kU16},
    {NFTA_LOG_LEVEL, Kind::kU32},   {NFTA_LOG_FLAGS, Kind::kU32}};
constexpr Field kLookup[] = {{NFTA_LOOKUP_SET, Kind::kText},
                             {NFTA_LOOKUP_SREG, Kind::kU32},
                             {NFTA_LOOKUP_DREG, Kind::kU32},
                             {NFTA_LOOKUP_SET_ID, Kind::kU32},
                             {NFTA_LOOKUP_FLAGS, Kind::kU32}};
constexpr Field kMasq[] = {{NFTA_MASQ_FLAGS, Kind::kU32},
                           {NFTA_MASQ_REG_PROTO_MIN, Kind::kU32},
                           {NFTA_MASQ_REG_PROTO_MAX, Kind::kU32}};
constexpr Field kMatch[] = {{NFTA_MATCH_NAME, Kind::kEndedText},
                            {NFTA_MATCH_REV, Kind::kU32}};
constexpr Field kMeta[] = {{NFTA_META_DREG, Kind::kU32},
                           {NFTA_META_KEY, Kind::kU32},
                           {NFTA_META_SREG, Kind::kU32}};
constexpr Field kNat[] = {
    {NFTA_NAT_TYPE, Kind::kU32},          {NFTA_NAT_FAMILY, Kind::kU32},
    {NFTA_NAT_REG_ADDR_MIN, Kind::kU32},  {NFTA_NAT_REG_ADDR_MAX, Kind::kU32},
    {NFTA_NAT_REG_PROTO_MIN, Kind::kU32}, {NFTA_NAT_REG_PROTO_MAX, Kind::kU32},
    {NFTA_NAT_FLAGS, Kind::kU32}};
constexpr Field kNumgen[] = {{NFTA_NG_DREG, Kind::kU32},
                             {NFTA_NG_MODULUS, Kind::kU32},
                             {NFTA_NG_TYPE, Kind::kU32},
                             {NFTA_NG_OFFSET, Kind::kU32}};
constexpr Field kObjref[] = {{NFTA_OBJREF_IMM_TYPE, Kind::kU32},
                             {NFTA_OBJREF_IMM_NAME, Kind::kText},
                             {NFTA_OBJREF_SET_SREG, Kind::kU32},
                             {NFTA_OBJREF_SET_NAME, Kind::kText},
                             {NFTA_OBJREF_SET_ID, Kind::kU32}};
constexpr Field kOsf[] = {{NFTA_OSF_DREG, Kind::kU32},
                          {NFTA_OSF_TTL, Kind::kU8},
                          {NFTA_OSF_FLAGS, Kind::kU32}};
constexpr Field kPayload[] = {{NFTA_PAYLOAD_DREG, Kind::kU32},
                              {NFTA_PAYLOAD_BASE, Kind::kU32},
                              {NFTA_PAYLOAD_OFFSET, Kind::kU32},
                              {NFTA_PAYLOAD_LEN, Kind::kU32},
                              {NFTA_PAYLOAD_SREG, Kind::kU32},
                              {NFTA_PAYLOAD_CSUM_TYPE, Kind::kU32},
                              {NFTA_PAYLOAD_CSUM_OFFSET, Kind::kU32},
                              {NFTA_PAYLOAD_CSUM_FLAGS, Kind::kU32}};
constexpr Field kQueue[] = {{NFTA_QUEUE_NUM, Kind::kU16},
                            {NFTA_QUEUE_TOTAL, Kind::kU16},
                            {NFTA_QUEUE_FLAGS, Kind::kU16},
                            {NFTA_QUEUE_SREG_QNUM, Kind::kU32}};
constexpr Field kQuota[] = {{NFTA_QUOTA_BYTES, Kind::kU64},
                            {NFTA_QUOTA_FLAGS, Kind::kU32},
                            {NFTA_QUOTA_CONSUMED, Kind::kU64}};
constexpr Field kRange[] = {{NFTA_RANGE_SREG, Kind::kU32},
                            {NFTA_RANGE_OP, Kind::kU32},
                            {NFTA_RANGE_FROM_DATA, Kind::kNest, kData},
                            {NFTA_RANGE_TO_DATA, Kind::kNest, kData}};
constexpr Field kRedir[] = {{NFTA_REDIR_REG_PROTO_MIN, Kind::kU32},
                            {NFTA_REDIR_REG_PROTO_MAX, Kind::kU32},
                            {NFTA_REDIR_FLAGS, Kind::kU32}};
constexpr Field kReject[] = {{NFTA_REJECT_TYPE, Kind::kU32},
                             {NFTA_REJECT_ICMP_CODE, Kind::kU8}};
constexpr Field kRt[] = {{NFTA_RT_DREG, Kind::kU32}, {NFTA_RT_KEY, Kind::kU32}};
constexpr Field kSocket[] = {{NFTA_SOCKET_KEY, Kind::kU32},
                             {NFTA_SOCKET_DREG, Kind::kU32},
                             {NFTA_SOCKET_LEVEL, Kind::kU32}};
constexpr Field kSynproxy[] = {{NFTA_SYNPROXY_MSS, Kind::kU16},
                               {NFTA_SYNPROXY_WSCALE, Kind::kU8},
                               {NFTA_SYNPROXY_FLAGS, Kind::kU32}};
constexpr Field kTarget[] = {{NFTA_TARGET_NAME, Kind::kEndedText},
                             {NFTA_TARGET_REV, Kind::kU32}};
constexpr Field kTproxy[] = {{NFTA_TPROXY_FAMILY, Kind::kU32},
                             {NFTA_TPROXY_REG_ADDR, Kind::kU32},
                             {NFTA_TPROXY_REG_PORT, Kind::kU32}};
constexpr Field kTunnel[] = {{NFTA_TUNNEL_KEY, Kind::kU32},
                             {NFTA_TUNNEL_DREG, Kind::kU32}};
constexpr Field kXfrm[] = {{NFTA_XFRM_DREG, Kind::kU32},
                           {NFTA_XFRM_KEY, Kind::kU32},
                           {NFTA_XFRM_DIR, Kind::kU8},
                           {NFTA_XFRM_SPNUM, Kind::kU32}};

struct Named {
  std::string_view name;
  Policy data;
};
constexpr Named kExpressionData[] = {{"bitwise", kBitwise},
                                     {"byteorder", kByteorder},
                                     {"cmp", kCmp},
                                     {"connlimit", kConnlimit},
                                     {"counter", kCounter},
                                     {"ct", kCt},
                                     {"dup", kDup},
                                     {"dynset", kDynset},
                                     {"exthdr", kExthdr},
                                     {"fib", kFib},
                                     {"flow_offload", kFlowOffload},
                                     {"fwd", kFwd},
                                     {"hash", kHash},
                                     {"immediate", kImmediate},
                                     {"last", kLast},
                                     {"limit", kLimit},
                                     {"log", kLog},
                                     {"lookup", kLookup},
                                     {"masq", kMasq},
                                     {"match", kMatch},
                                     {"meta", kMeta},
                                     {"nat", kNat},
                                     {"numgen", kNumgen},
                                     {"objref", kObjref},
                                     {"osf", kOsf},
                                     {"payload", kPayload},
                                     {"queue", kQueue},
                                     {"quota", kQuota},
                                     {"range", kRange},
                                     {"redir", kRedir},
                                     {"reject", kReject},
                                     {"rt", kRt},
                                     {"socket", kSocket},
                                     {"synproxy", kSynproxy},
                                     {"target", kTarget},
                                     {"tproxy", kTproxy},
                                     {"tunnel", kTunnel},
                                     {"xfrm", kXfrm}};

// What expressions are part of.
constexpr Field kTable[] = {{NFTA_TABLE_NAME, Kind::kText},
                            {NFTA_TABLE_FLAGS, Kind::kU32},
                            {NFTA_TABLE_USE, Kind::kU32},
                            {NFTA_TABLE_HANDLE, Kind::kU64},
                            {NFTA_TABLE_OWNER, Kind::kU32}};
constexpr Field kDevice[] = {{NFTA_DEVICE_NAME, Kind::kText}};
constexpr Field kHook[] = {{NFTA_HOOK_HOOKNUM, Kind::kU32},
                           {NFTA_HOOK_PRIORITY, Kind::kU32},
                           {NFTA_HOOK_DEV, Kind::kText},
                           {NFTA_HOOK_DEVS, Kind::kNest, kDevice}};
constexpr Field kChain[] = {{NFTA_CHAIN_TABLE, Kind::kText},
                            {NFTA_CHAIN_HANDLE, Kind::kU64},
                            {NFTA_CHAIN_NAME, Kind::kText},
                            {NFTA_CHAIN_HOOK, Kind::kNest, kHook},
                            {NFTA_CHAIN_POLICY, Kind::kU32},
                            {NFTA_CHAIN_USE, Kind::kU32},
                            {NFTA_CHAIN_TYPE, Kind::kText},
                            {NFTA_CHAIN_COUNTERS, Kind::kNest, kCounter},
                            {NFTA_CHAIN_FLAGS, Kind::kU32},
                            {NFTA_CHAIN_ID, Kind::kU32}};
constexpr Field kCompat[] = {{NFTA_RULE_COMPAT_PROTO, Kind::kU32},
                             {NFTA_RULE_COMPAT_FLAGS, Kind::kU32}};
constexpr Field kRule[] = {{NFTA_RULE_TABLE, Kind::kText},
                           {NFTA_RULE_CHAIN, Kind::kText},
                           {NFTA_RULE_HANDLE, Kind::kU64},
                           {NFTA_RULE_EXPRESSIONS, Kind::kExpressions},
                           {NFTA_RULE_COMPAT, Kind::kNest, kCompat},
                           {NFTA_RULE_POSITION, Kind::kU64},
                           {NFTA_RULE_ID, Kind::kU32},
                           {NFTA_RULE_POSITION_ID, Kind::kU32}};
constexpr Field kConcatField[] = {{NFTA_SET_FIELD_LEN, Kind::kU32}};
constexpr Field kDescription[] = {
    {NFTA_SET_DESC_SIZE, Kind::kU32},
    {NFTA_SET_DESC_CONCAT, Kind::kList, kConcatField}};
constexpr Field kSet[] = {{NFTA_SET_TABLE, Kind::kText},
                          {NFTA_SET_NAME, Kind::kText},
                          {NFTA_SET_FLAGS, Kind::kU32},
                          {NFTA_SET_KEY_TYPE, Kind::kU32},
                          {NFTA_SET_KEY_LEN, Kind::kU32},
                          {NFTA_SET_DATA_TYPE, Kind::kU32},
                          {NFTA_SET_DATA_LEN, Kind::kU32},
                          {NFTA_SET_POLICY, Kind::kU32},
                          {NFTA_SET_DESC, Kind::kNest, kDescription},
                          {NFTA_SET_ID, Kind::kU32},
                          {NFTA_SET_TIMEOUT, Kind::kU64},
                          {NFTA_SET_GC_INTERVAL, Kind::kU32},
                          {NFTA_SET_OBJ_TYPE, Kind::kU32},
                          {NFTA_SET_HANDLE, Kind::kU64},
                          {NFTA_SET_EXPR, Kind::kExpression},
                          {NFTA_SET_EXPRESSIONS, Kind::kExpressions}};

/// Checks the attributes of one message; `owner` is what an error names.
Status CheckAll(AttributeRange range, Policy policy, std::string_view owner);

tl::unexpected<Error> Malformed(std::string_view owner, const nlattr& attribute,
                                std::string_view wanted) {
  return Fail(ErrorCode::kSyntax,
              fmt::format("malformed nf_tables message: attribute {} of {} "
                          "has {} bytes: {}",
                          mnl_attr_get_type(&attribute), owner,
                          mnl_attr_get_payload_len(&attribute), wanted));
}

Status CheckType(const nlattr& attribute, mnl_attr_data_type type,
                 std::string_view owner, std::string_view wanted) {
  if (mnl_attr_validate(&attribute, type) < 0) {
    return Malformed(owner, attribute, wanted);
  }
  return {};
}

Status CheckExpression(const nlattr& expression) {
  // libnftnl reads the name of an expression whether it is there or not.
  std::string_view name;
  Policy policy;
  for (const nlattr& field : AttributesOf(expression)) {
    if (mnl_attr_get_type(&field) != NFTA_EXPR_NAME) continue;
    RETURN_IF_ERROR(CheckType(field, MNL_TYPE_NUL_STRING, "an expression",
                              "a name and a NUL were expected"));
    name = mnl_attr_get_str(&field);
  }
  if (name.empty()) {
    return Fail(ErrorCode::kSyntax,
                "malformed nf_tables message: an expression without a name");
  }
  for (const Named& known : kExpressionData) {
    if (known.name == name) policy = known.data;
  }
  for (const nlattr& field : AttributesOf(expression)) {
    if (mnl_attr_get_type(&field) != NFTA_EXPR_DATA) continue;
    RETURN_IF_ERROR(CheckType(field, MNL_TYPE_NESTED, name, "it is a nest"));
    RETURN_IF_ERROR(CheckAll(AttributesOf(field), policy, name));
  }
  return {};
}

Status CheckAttribute(const nlattr& attribute, const Field& field,
                      std::string_view owner) {
  switch (field.kind) {
    case Kind::kU8:
      return CheckType(attribute, MNL_TYPE_U8, owner, "it takes 1");
    case Kind::kU16:
      return CheckType(attribute, MNL_TYPE_U16, owner, "it takes 2");
    case Kind::kU32:
      return CheckType(attribute, MNL_TYPE_U32, owner, "it takes 4");
    case Kind::kU64:
      return CheckType(attribute, MNL_TYPE_U64, owner, "it takes 8");
    case Kind::kText:
      return CheckType(attribute, MNL_TYPE_STRING, owner, "it is a text");
    case Kind::kEndedText:
      return CheckType(attribute, MNL_TYPE_NUL_STRING, owner,
                       "it is a text that ends with a NUL");
    case Kind::kNest:
      RETURN_IF_ERROR(
          CheckType(attribute, MNL_TYPE_NESTED, owner, "it is a nest"));
      return CheckAll(AttributesOf(attribute), field.nest, owner);
    case Kind::kExpression:
      RETURN_IF_ERROR(
          CheckType(attribute, MNL_TYPE_NESTED, owner, "it is a nest"));
      return CheckExpression(attribute);
    case Kind::kList:
    case Kind::kExpressions:
      RETURN_IF_ERROR(
          CheckType(attribute, MNL_TYPE_NESTED, owner, "it is a nest"));
      for (const nlattr& element : AttributesOf(attribute)) {
        RETURN_IF_ERROR(
            CheckType(element, MNL_TYPE_NESTED, owner, "it is a nest"));
        RETURN_IF_ERROR(
            field.kind == Kind::kExpressions
                ? CheckExpression(element)
                : CheckAll(AttributesOf(element), field.nest, owner));
      }
      return {};
  }
  return {};
}

Status CheckAll(AttributeRange range, Policy policy, std::string_view owner) {
  for (const nlattr& attribute : range) {
    const uint16_t type = mnl_attr_get_type(&attribute);
    for (const Field& field : policy) {
      if (field.type != type) continue;
      RETURN_IF_ERROR(CheckAttribute(attribute, field, owner));
    }
  }
  return {};
}

}  // namespace

Status CheckAttributes(const nlmsghdr& message) {
  const AttributeRange attributes = AttributesOf(message);
  switch (NFNL_MSG_TYPE(message.nlmsg_type)) {
    case NFT_MSG_NEWTABLE:
    case NFT_MSG_DELTABLE:
      return CheckAll(attributes, kTable, "a table");
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_DELCHAIN:
      return CheckAll(attributes, kChain, "a chain");
    case NFT_MSG_NEWRULE:
    case NFT_MSG_DELRULE:
      return CheckAll(attributes, kRule, "a rule");
    case NFT_MSG_NEWSET:
    case NFT_MSG_DELSET:
      return CheckAll(attributes, kSet, "a set");
    default:
      return {};
  }
}

}  // namespace nfarena::nft
