#include "engines/vm/message_types.h"

#include <linux/netfilter/nf_tables.h>

namespace nfarena::vm {
namespace {

constexpr uint32_t kNameLimit = NFT_NAME_MAXLEN - 1;
constexpr uint32_t kUserDataLimit = NFT_USERDATA_MAXLEN;
constexpr uint32_t kInterfaceNameLimit = 15;
constexpr uint32_t kChainTypeLimit = 42;  // NFT_MODULE_AUTOLOAD_LIMIT

constexpr AttributePolicy kTablePolicy{
    NFTA_TABLE_MAX,
    {{NFTA_TABLE_NAME, AttributeKind::kString, kNameLimit},
     {NFTA_TABLE_FLAGS, AttributeKind::kU32, 0},
     {NFTA_TABLE_HANDLE, AttributeKind::kU64, 0},
     {NFTA_TABLE_USERDATA, AttributeKind::kBinary, kUserDataLimit}}};

constexpr AttributePolicy kChainPolicy{
    NFTA_CHAIN_MAX,
    {{NFTA_CHAIN_TABLE, AttributeKind::kString, kNameLimit},
     {NFTA_CHAIN_HANDLE, AttributeKind::kU64, 0},
     {NFTA_CHAIN_NAME, AttributeKind::kString, kNameLimit},
     {NFTA_CHAIN_HOOK, AttributeKind::kNested, 0},
     {NFTA_CHAIN_POLICY, AttributeKind::kU32, 0},
     {NFTA_CHAIN_TYPE, AttributeKind::kString, kChainTypeLimit},
     {NFTA_CHAIN_COUNTERS, AttributeKind::kNested, 0},
     {NFTA_CHAIN_FLAGS, AttributeKind::kU32, 0},
     {NFTA_CHAIN_ID, AttributeKind::kU32, 0},
     {NFTA_CHAIN_USERDATA, AttributeKind::kBinary, kUserDataLimit}}};

constexpr AttributePolicy kRulePolicy{
    NFTA_RULE_MAX,
    {{NFTA_RULE_TABLE, AttributeKind::kString, kNameLimit},
     {NFTA_RULE_CHAIN, AttributeKind::kString, kNameLimit},
     {NFTA_RULE_HANDLE, AttributeKind::kU64, 0},
     {NFTA_RULE_EXPRESSIONS, AttributeKind::kExprList, 0},
     {NFTA_RULE_COMPAT, AttributeKind::kNested, 0},
     {NFTA_RULE_POSITION, AttributeKind::kU64, 0},
     {NFTA_RULE_USERDATA, AttributeKind::kBinary, kUserDataLimit},
     {NFTA_RULE_ID, AttributeKind::kU32, 0},
     {NFTA_RULE_POSITION_ID, AttributeKind::kU32, 0},
     {NFTA_RULE_CHAIN_ID, AttributeKind::kU32, 0}}};

constexpr AttributePolicy kSetPolicy{
    NFTA_SET_MAX,
    {{NFTA_SET_TABLE, AttributeKind::kString, kNameLimit},
     {NFTA_SET_NAME, AttributeKind::kString, kNameLimit},
     {NFTA_SET_FLAGS, AttributeKind::kU32, 0},
     {NFTA_SET_KEY_TYPE, AttributeKind::kU32, 0},
     {NFTA_SET_KEY_LEN, AttributeKind::kU32, 0},
     {NFTA_SET_DATA_TYPE, AttributeKind::kU32, 0},
     {NFTA_SET_DATA_LEN, AttributeKind::kU32, 0},
     {NFTA_SET_POLICY, AttributeKind::kU32, 0},
     {NFTA_SET_DESC, AttributeKind::kNested, 0},
     {NFTA_SET_ID, AttributeKind::kU32, 0},
     {NFTA_SET_TIMEOUT, AttributeKind::kU64, 0},
     {NFTA_SET_GC_INTERVAL, AttributeKind::kU32, 0},
     {NFTA_SET_USERDATA, AttributeKind::kBinary, kUserDataLimit},
     {NFTA_SET_OBJ_TYPE, AttributeKind::kU32, 0},
     {NFTA_SET_HANDLE, AttributeKind::kU64, 0},
     {NFTA_SET_EXPR, AttributeKind::kNested, 0},
     {NFTA_SET_EXPRESSIONS, AttributeKind::kExprList, 0}}};

constexpr AttributePolicy kElementListPolicy{
    NFTA_SET_ELEM_LIST_MAX,
    {{NFTA_SET_ELEM_LIST_TABLE, AttributeKind::kString, kNameLimit},
     {NFTA_SET_ELEM_LIST_SET, AttributeKind::kString, kNameLimit},
     {NFTA_SET_ELEM_LIST_ELEMENTS, AttributeKind::kElementList, 0},
     {NFTA_SET_ELEM_LIST_SET_ID, AttributeKind::kU32, 0}}};

constexpr AttributePolicy kObjectPolicy{
    NFTA_OBJ_MAX,
    {{NFTA_OBJ_TABLE, AttributeKind::kString, kNameLimit},
     {NFTA_OBJ_NAME, AttributeKind::kString, kNameLimit},
     {NFTA_OBJ_TYPE, AttributeKind::kU32, 0},
     {NFTA_OBJ_DATA, AttributeKind::kNested, 0},
     {NFTA_OBJ_HANDLE, AttributeKind::kU64, 0},
     {NFTA_OBJ_USERDATA, AttributeKind::kBinary, kUserDataLimit}}};

// Read only to be refused.
constexpr AttributePolicy kFlowtablePolicy{0, {}};

}  // namespace

constexpr AttributePolicy kHookPolicy{
    NFTA_HOOK_MAX,
    {{NFTA_HOOK_HOOKNUM, AttributeKind::kU32, 0},
     {NFTA_HOOK_PRIORITY, AttributeKind::kU32, 0},
     {NFTA_HOOK_DEV, AttributeKind::kString, kInterfaceNameLimit}}};

constexpr AttributePolicy kSetDescPolicy{
    NFTA_SET_DESC_MAX,
    {{NFTA_SET_DESC_SIZE, AttributeKind::kU32, 0},
     {NFTA_SET_DESC_CONCAT, AttributeKind::kNested, 0}}};

constexpr AttributePolicy kSetFieldPolicy{
    NFTA_SET_FIELD_MAX, {{NFTA_SET_FIELD_LEN, AttributeKind::kU32, 0}}};

constexpr AttributePolicy kElementPolicy{
    NFTA_SET_ELEM_MAX,
    {{NFTA_SET_ELEM_KEY, AttributeKind::kNested, 0},
     {NFTA_SET_ELEM_DATA, AttributeKind::kNested, 0},
     {NFTA_SET_ELEM_FLAGS, AttributeKind::kU32, 0},
     {NFTA_SET_ELEM_TIMEOUT, AttributeKind::kU64, 0},
     {NFTA_SET_ELEM_EXPIRATION, AttributeKind::kU64, 0},
     {NFTA_SET_ELEM_USERDATA, AttributeKind::kBinary, kUserDataLimit},
     {NFTA_SET_ELEM_EXPR, AttributeKind::kNested, 0},
     {NFTA_SET_ELEM_OBJREF, AttributeKind::kString, kNameLimit},
     {NFTA_SET_ELEM_KEY_END, AttributeKind::kNested, 0},
     {NFTA_SET_ELEM_EXPRESSIONS, AttributeKind::kExprList, 0}}};

const AttributePolicy* PolicyOf(uint16_t message_type) {
  switch (message_type) {
    case NFT_MSG_NEWTABLE:
    case NFT_MSG_DELTABLE:
    case kDestroyTable:
      return &kTablePolicy;
    case NFT_MSG_NEWCHAIN:
    case NFT_MSG_DELCHAIN:
    case kDestroyChain:
      return &kChainPolicy;
    case NFT_MSG_NEWRULE:
    case NFT_MSG_DELRULE:
    case kDestroyRule:
      return &kRulePolicy;
    case NFT_MSG_NEWSET:
    case NFT_MSG_DELSET:
    case kDestroySet:
      return &kSetPolicy;
    case NFT_MSG_NEWSETELEM:
    case NFT_MSG_DELSETELEM:
    case kDestroySetElement:
      return &kElementListPolicy;
    case NFT_MSG_NEWOBJ:
    case NFT_MSG_DELOBJ:
    case kDestroyObject:
      return &kObjectPolicy;
    case NFT_MSG_NEWFLOWTABLE:
    case NFT_MSG_DELFLOWTABLE:
    case kDestroyFlowtable:
      return &kFlowtablePolicy;
    default:
      return nullptr;
  }
}

}  // namespace nfarena::vm
