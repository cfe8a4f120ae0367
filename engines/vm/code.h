// The program of a chain as the packet path reads it: one read-only block of
// rules, each a head and its instructions one after the other.
//
//   Blob     { size u64 } rule ... rule, last rule head {last = 1}
//   rule     { size u16, last u16, number u32 } instruction ...
//   instr    { opcode u16, size u16, aux u32 } private data, 8-aligned
//
// The layout copies that of Linux 5.17 and later (struct nft_rule_blob,
// nft_rule_dp, nft_expr): same sizes, so the same cache lines are touched.
// Where the kernel keeps a pointer to its ops in the head, the opcode is here,
// and where nft_rule_dp keeps the rule's handle, its number in the chain is.
// An instruction holds pointers only to what outlives the program: state,
// sets, objects, other chains.
// Source: include/net/netfilter/nf_tables.h, nf_tables_core.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "compat/model/ruleset.h"
#include "engines/core/net_state.h"

namespace nfarena {
struct XtMatch;
struct XtTarget;
}  // namespace nfarena

namespace nfarena::vm {

/// Words of the register file: 4 for the verdict, 16 for data.
inline constexpr size_t kRegisterWords = 20;
inline constexpr size_t kFirstDataRegister = 4;
inline constexpr size_t kMaxDataWords = 16;
/// Jumps and gotos that may be nested, NFT_JUMP_STACK_SIZE.
inline constexpr size_t kJumpStackSize = 16;

/// Values of the verdict register beyond NF_DROP .. NF_QUEUE.
enum VerdictCode : int32_t {
  kVerdictContinue = -1,
  kVerdictBreak = -2,
  kVerdictJump = -3,
  kVerdictGoto = -4,
  kVerdictReturn = -5,
  kVerdictDrop = 0,
  kVerdictAccept = 1,
  kVerdictStolen = 2,
  kVerdictQueue = 3,  // queue number in the high 16 bits
};
inline constexpr uint32_t kVerdictMask = 0xff;

enum class Opcode : uint16_t {
#define VM_OPCODE(id, expression, layout, size) k##id,
#include "engines/vm/opcodes.def"
#undef VM_OPCODE
};

enum class ExpressionId : uint8_t {
#define VM_EXPRESSION(id, name, stateful) k##id,
#include "engines/vm/expressions.def"
#undef VM_EXPRESSION
};

struct Instruction {
  Opcode opcode;
  uint16_t size;  // of head and data
  uint32_t aux;   // compat instructions: index of their CompatUse
};
static_assert(sizeof(Instruction) == 8);

struct RuleHead {
  uint16_t size;    // bytes of instructions that follow
  uint16_t last;    // 1: the end of the chain, no rule
  uint32_t number;  // 1-based, as iptables counts
};
static_assert(sizeof(RuleHead) == 8);

struct Blob {
  uint64_t size;  // bytes of rules, without the last head
  const uint8_t* rules() const {
    return reinterpret_cast<const uint8_t*>(this + 1);
  }
};
static_assert(sizeof(Blob) == 8);

/// Where a jump leads: a chain's two generations.  Kept apart from the rest of
/// the chain so that the packet path knows nothing else of it.
struct ChainCode {
  const Blob* generation[2] = {nullptr, nullptr};
};

class Set;
struct Object;

union Data {
  uint32_t words[4];
  struct {
    int32_t code;
    ChainCode* chain;
  } verdict;
};
static_assert(sizeof(Data) == 16);

// ---- private data of the instructions, registers counted in words ----

struct PayloadCode {
  Instruction head;
  uint8_t base, length, dreg, unused;
  uint16_t offset, unused2;
};

struct PayloadStoreCode {
  Instruction head;
  uint8_t base, length, sreg, csum_type;
  uint16_t offset;
  uint8_t csum_offset, csum_flags;
};

struct CmpFastCode {
  Instruction head;
  uint32_t data, mask;
  uint8_t sreg, length;
  uint8_t unused[6];
};

struct Cmp16Code {
  Instruction head;
  uint64_t data[2], mask[2];
  uint8_t sreg, length, inverted;
  uint8_t unused[5];
};

struct CmpCode {
  Instruction head;
  uint8_t data[16];
  uint8_t sreg, length, op;
  uint8_t unused[5];
};

struct RangeCode {
  Instruction head;
  uint8_t from[16], to[16];
  uint8_t sreg, length, op;
  uint8_t unused[5];
};

struct BitwiseFastCode {
  Instruction head;
  uint32_t mask, exclusive_or;
  uint8_t sreg, dreg;
  uint8_t unused[6];
};

struct BitwiseCode {
  Instruction head;
  uint8_t sreg, dreg, op, length;
  uint32_t shift;
  uint32_t mask[4], exclusive_or[4];
  uint32_t unused[4];
};

struct ByteorderCode {
  Instruction head;
  uint8_t sreg, dreg, op, length, size;
  uint8_t unused[3];
};

struct ImmediateCode {
  Instruction head;
  Data data;
  uint8_t dreg, length;
  uint8_t unused[6];
};

struct MetaCode {
  Instruction head;
  uint8_t key, length, reg;
  uint8_t unused[5];
};

struct CtCode {
  Instruction head;
  uint8_t key, direction, length, reg;
  uint32_t unused;
};

struct NotrackCode {
  Instruction head;
};

struct LookupCode {
  Instruction head;
  Set* set;
  uint8_t sreg, dreg, has_dreg, inverted;
  uint32_t unused;
  uint64_t binding[4];  // the kernel's list node lies here
};

struct CompatUse;

struct DynsetCode {
  Instruction head;
  Set* set;
  uint8_t op, sreg_key, sreg_data, inverted;
  uint8_t has_expressions, override_expressions, expressions_count, unused;
  uint64_t timeout_ms;
  /// Instructions that are copied into a new element; owned when override.
  uint8_t* expressions[2];
  uint64_t binding[6];
};

struct ObjrefCode {
  Instruction head;
  Object* object;
};

struct ObjrefMapCode {
  Instruction head;
  Set* set;
  uint8_t sreg;
  uint8_t unused[7];
  uint64_t binding[4];
};

struct CounterCode {
  Instruction head;
  Counters* counters;
};

/// A token bucket in nanoseconds.
struct LimitState {
  uint64_t last_ns;
  uint64_t tokens;
  /// What a bucket that is never refilled would hold: the least a faster clock
  /// could have left.
  uint64_t least_tokens;
};

struct LimitBytesCode {
  Instruction head;
  LimitState* state;
  uint64_t tokens_max, rate, nsecs;
  uint32_t burst;
  uint8_t inverted;
  uint8_t unused[3];
};

struct LimitPacketsCode {
  LimitBytesCode base;
  uint64_t cost;
};

struct QuotaCode {
  Instruction head;
  uint64_t quota;
  uint64_t flags;
  uint64_t* consumed;
};

/// The connections a connlimit has seen; see connlimit.h.
class ConnectionCount;

struct ConnlimitCode {
  Instruction head;
  ConnectionCount* list;
  uint32_t limit;
  uint8_t inverted;
  uint8_t unused[3];
};

struct LastState {
  uint64_t last_ms;
  uint32_t set;
};

struct LastCode {
  Instruction head;
  LastState* state;
};

struct NumgenIncrementalCode {
  Instruction head;
  uint8_t dreg;
  uint8_t unused[3];
  uint32_t modulus;
  uint32_t* counter;
  uint32_t offset;
  uint32_t unused2;
};

struct NumgenRandomCode {
  Instruction head;
  uint8_t dreg;
  uint8_t unused[3];
  uint32_t modulus, offset;
  uint32_t unused2;
};

struct HashJenkinsCode {
  Instruction head;
  uint8_t sreg, dreg, length, autogen_seed;
  uint32_t modulus, seed, offset;
};

struct HashSymmetricCode {
  Instruction head;
  uint8_t dreg;
  uint8_t unused[3];
  uint32_t modulus, offset;
  uint32_t unused2;
};

struct ExthdrCode {
  Instruction head;
  uint8_t type, offset, length, op, reg, flags;
  uint8_t unused[2];
};

struct FibCode {
  Instruction head;
  uint8_t dreg, result;
  uint8_t unused[2];
  uint32_t flags;
};

struct RtCode {
  Instruction head;
  uint8_t key, dreg;
  uint8_t unused[6];
};

struct LogCode {
  Instruction head;
  uint8_t nflog;  // 0: LOG
  uint8_t level;
  uint8_t flags;  // LOG: log flags; NFLOG: 1 = snap length is given
  uint8_t unused;
  uint16_t group, threshold;
  uint32_t snap_length;
  uint32_t unused2;
  char* prefix;  // nullptr: none was given
};

struct RejectCode {
  Instruction head;
  uint8_t type, icmp_code;
  uint8_t unused[6];
};

struct NatCode {
  Instruction head;
  uint8_t sreg_addr_min, sreg_addr_max, sreg_proto_min, sreg_proto_max;
  uint8_t destination, family;
  uint16_t flags;
};

struct MasqCode {
  Instruction head;
  uint32_t flags;
  uint8_t sreg_proto_min, sreg_proto_max;
  uint8_t unused[2];
};

struct RedirCode {
  Instruction head;
  uint8_t sreg_proto_min, sreg_proto_max;
  uint16_t flags;
  uint32_t unused;
};

struct QueueCode {
  Instruction head;
  uint8_t sreg;
  uint8_t unused;
  uint16_t number, total, flags;
};

/// match and target: head.aux is the index of the extension's CompatUse, the
/// payload follows.
struct CompatCode {
  Instruction head;
  uint8_t* payload() { return reinterpret_cast<uint8_t*>(this + 1); }
  const uint8_t* payload() const {
    return reinterpret_cast<const uint8_t*>(this + 1);
  }
};

/// Matches over NFT_MATCH_LARGE_THRESH bytes keep their payload elsewhere.
struct CompatLargeCode {
  Instruction head;
  uint8_t* payload;
};

/// What a match or target expression needs besides its payload.
struct CompatUse {
  const XtMatch* match = nullptr;
  const XtTarget* target = nullptr;
  void* state = nullptr;
  NamedHolds holds;  // what the extension names and other rules share
};

#define VM_OPCODE(id, expression, layout, kernel_size) \
  static_assert(kernel_size == 0 || sizeof(layout) == (kernel_size));
#include "engines/vm/opcodes.def"
#undef VM_OPCODE

inline constexpr size_t kOpcodeCount = 0
#define VM_OPCODE(id, expression, layout, size) +1
#include "engines/vm/opcodes.def"
#undef VM_OPCODE
    ;

inline constexpr size_t kExpressionCount = 0
#define VM_EXPRESSION(id, name, stateful) +1
#include "engines/vm/expressions.def"
#undef VM_EXPRESSION
    ;

}  // namespace nfarena::vm
