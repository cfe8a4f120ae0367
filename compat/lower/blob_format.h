// The byte format of the xtables2-style blob.
//
// RECONSTRUCTION.  xtables2 (Jan Engelhardt, 2010-2013) was never merged and no
// byte-exact description of it can be had.  This is a reconstruction of what
// its author's papers and the 2013 workshop notes say: one table instead of
// five; one packed blob; a rule is an ordered list of actions (matches, any
// number of targets, a verdict), each with its parameters in line and its state
// outside; independent of the family; counters only in rules that ask for them.
// Where they are silent the choices are ours: the numbers, the splitting of the
// selector into actions, and user chains with jump, goto and return, which
// xtables2 did not have in 2013.
//
// One blob is one family's whole ruleset.  The iptables tables live on as
// sections: for each hook the blob lists the chains to enter, in the order of
// iptables' priorities; ACCEPT ends a section, DROP the packet.
//
// All numbers are little-endian, all records 8-byte aligned, all reserved bytes
// zero; offsets count from the start of the blob.  The parts follow each other
// without gaps, so that every byte has one meaning:
//
//   header, 56 bytes
//     0   u32  magic "xt2r"
//     4   u16  version, 1
//     6   u8   family, 4 or 6
//     7   u8   reserved
//     8   u32  total_bytes
//     12  u32  chains_count
//     16  u32  sections_count
//     20  u32  extensions_count
//     24  u32  counters_count: slots that count actions name
//     28  u32  rules_count, without the chains' ends
//     32  u32  chains_offset       (= 56)
//     36  u32  sections_offset
//     40  u32  rules_offset
//     44  u32  extensions_offset
//     48  u32  names_offset
//     52  u32  names_bytes
//   chains, 24 bytes each: base chains and user chains, a table at a time
//     0   u32  name_offset, from names_offset
//     4   u8   name_bytes
//     5   u8   table (TableKind)
//     6   u8   hook, 0xff in a user chain
//     7   u8   reserved
//     8   u32  first: offset of its first rule
//     12  u32  end: offset behind its last byte, = the next chain's first
//     16  u32  rules_count, without the end
//     20  u32  reserved
//   sections, 8 bytes each: by hook, then by iptables' priority
//     0   u8   hook
//     1   u8   table
//     2   u16  reserved
//     4   u32  chain, index
//   rules: for each chain its rules, then one rule with number 0, its end
//   extensions, 8 bytes each: what match and target actions refer to
//     0   u32  name_offset, from names_offset
//     4   u8   name_bytes
//     5   u8   revision
//     6   u8   kind: 0 match, 1 target
//     7   u8   reserved
//   names: names_bytes of text without terminators, zeros up to total_bytes
//
//   rule
//     0   u32  size, header and actions
//     4   u32  number in its chain from 1; 0 = the end: a lone verdict (and
//              count), the policy of a base chain or the return of a user chain
//     8   ...  actions; the last one, and only the last, is a verdict
//
//   action
//     0   u8   op (BlobOp)
//     1   u8   flags: kBlobInvert in selectors; the verdict in a verdict
//     2   u16  size, all of it
//     4   u32  argument
//     8   ...  parameters
//
//   op        size  argument            parameters
//   field4    16    network offset      u8 value[4], u8 mask[4]
//   field16   40    network offset      u8 value[16], u8 mask[16]
//   in, out   24    bytes that count    char name[16]
//   protocol  8     protocol, 0 = any
//   fragment  8     1 = -f
//   match     8+n   extension, index    n bytes of its payload
//   target    8+n   extension, index    n bytes of its payload
//   count     8     counter slot
//   verdict   8     chain of a jump or goto, else 0
//
// A field compares (packet & mask) with value.  The offsets in use are those of
// the two addresses: 12 and 16 in IPv4, 8 and 24 in IPv6.
#pragma once

#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string_view>

#include "compat/model/ruleset.h"

namespace nfarena {

inline constexpr uint32_t kBlobMagic = 0x72327478;  // "xt2r"
inline constexpr uint16_t kBlobVersion = 1;
inline constexpr size_t kBlobAlign = 8;
inline constexpr uint8_t kBlobUserChain = 0xff;
inline constexpr uint8_t kBlobInvert = 1;
inline constexpr size_t kBlobDeviceBytes = 16;

struct BlobHeader {
  uint32_t magic;
  uint16_t version;
  uint8_t family;
  uint8_t reserved;
  uint32_t total_bytes;
  uint32_t chains_count;
  uint32_t sections_count;
  uint32_t extensions_count;
  uint32_t counters_count;
  uint32_t rules_count;
  uint32_t chains_offset;
  uint32_t sections_offset;
  uint32_t rules_offset;
  uint32_t extensions_offset;
  uint32_t names_offset;
  uint32_t names_bytes;
};
static_assert(sizeof(BlobHeader) == 56);
static_assert(offsetof(BlobHeader, total_bytes) == 8);
static_assert(offsetof(BlobHeader, chains_offset) == 32);
static_assert(offsetof(BlobHeader, names_bytes) == 52);

struct BlobChainRecord {
  uint32_t name_offset;
  uint8_t name_bytes;
  uint8_t table;
  uint8_t hook;
  uint8_t reserved;
  uint32_t first;
  uint32_t end;
  uint32_t rules_count;
  uint32_t reserved_too;
};
static_assert(sizeof(BlobChainRecord) == 24);
static_assert(offsetof(BlobChainRecord, first) == 8);

struct BlobSectionRecord {
  uint8_t hook;
  uint8_t table;
  uint16_t reserved;
  uint32_t chain;
};
static_assert(sizeof(BlobSectionRecord) == 8);

struct BlobExtensionRecord {
  uint32_t name_offset;
  uint8_t name_bytes;
  uint8_t revision;
  uint8_t kind;
  uint8_t reserved;
};
static_assert(sizeof(BlobExtensionRecord) == 8);

enum class BlobExtensionKind : uint8_t { kMatch = 0, kTarget = 1 };

struct BlobRuleHead {
  uint32_t size;
  uint32_t number;
};
static_assert(sizeof(BlobRuleHead) == 8);

struct BlobActionHead {
  uint8_t op;
  uint8_t flags;
  uint16_t size;
  uint32_t argument;
};
static_assert(sizeof(BlobActionHead) == 8);

/// op, name, size (0 = 8 + payload)
#define NFARENA_BLOB_OPS(X)   \
  X(kField4, "field4", 16)    \
  X(kField16, "field16", 40)  \
  X(kIn, "in", 24)            \
  X(kOut, "out", 24)          \
  X(kProtocol, "protocol", 8) \
  X(kFragment, "fragment", 8) \
  X(kMatch, "match", 0)       \
  X(kTarget, "target", 0)     \
  X(kCount, "count", 8)       \
  X(kVerdict, "verdict", 8)

enum class BlobOp : uint8_t {
#define X(op, name, size) op,
  NFARENA_BLOB_OPS(X)
#undef X
};

struct BlobOpInfo {
  std::string_view name;
  uint16_t size;
};
inline constexpr BlobOpInfo kBlobOps[] = {
#define X(op, name, size) {name, size},
    NFARENA_BLOB_OPS(X)
#undef X
};
inline constexpr size_t kBlobOpCount = std::size(kBlobOps);
static_assert(kBlobOpCount == static_cast<size_t>(BlobOp::kVerdict) + 1);

enum class BlobVerdict : uint8_t {
  kContinue = 0,  // go on with the next rule
  kAccept = 1,
  kDrop = 2,
  kQueue = 3,  // queue 0, as -j QUEUE
  kReturn = 4,
  kJump = 5,  // ours, not xtables2's
  kGoto = 6,  // ours, not xtables2's
};
inline constexpr uint8_t kBlobVerdictCount = 7;

/// Where the address is in the network header.
constexpr uint32_t BlobSourceOffset(Family family) {
  return family == Family::kIpv4 ? 12 : 8;
}
constexpr uint32_t BlobDestinationOffset(Family family) {
  return family == Family::kIpv4 ? 16 : 24;
}

}  // namespace nfarena
