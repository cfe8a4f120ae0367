// The messages of nf_tables: numbers that the headers of Debian 12 lack, and
// the attribute rules of each.
// Source: include/uapi/linux/netfilter/nf_tables.h (6.18),
// net/netfilter/nf_tables_api.c.
#pragma once

#include <cstdint>

#include "engines/vm/attribute.h"

namespace nfarena::vm {

/// NFT_MSG_DESTROY*, since 6.3: like DEL*, but what is not there is no error.
enum DestroyMessage : uint16_t {
  kDestroyTable = 26,
  kDestroyChain = 27,
  kDestroyRule = 28,
  kDestroySet = 29,
  kDestroySetElement = 30,
  kDestroyObject = 31,
  kDestroyFlowtable = 32,
};

/// The attribute rules of a message that a batch may hold; nullptr for others
/// (a GET in a batch is EINVAL).
const AttributePolicy* PolicyOf(uint16_t message_type);

extern const AttributePolicy kHookPolicy;
extern const AttributePolicy kSetDescPolicy;
extern const AttributePolicy kSetFieldPolicy;
extern const AttributePolicy kElementPolicy;

}  // namespace nfarena::vm
