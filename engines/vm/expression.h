// Expressions between the wire and the program: decoding, dumping, and what
// happens to one when its rule comes and goes.
//
// Decoding has two steps, as in the kernel, because the order of errors shows:
// Select() of every expression of a rule (which form? EINVAL, EOPNOTSUPP,
// ENOENT), then the sizes are added up (EFBIG), then Init() of each (registers
// ENODATA, ERANGE; references ENOENT, EBUSY).  A layout (code.h) joins by
// overloading Init and Dump, and Destroy, Activate, Deactivate, Validate and
// Clone where it has something to do; expression.cc makes one table of them
// from opcodes.def.
// Source: net/netfilter/nf_tables_api.c, nf_tables_expr_parse(),
// nf_tables_newexpr(), nft_expr_dump().
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "engines/vm/attribute.h"
#include "engines/vm/code.h"
#include "engines/vm/objects.h"

namespace nfarena::vm {

class ControlPlane;

/// The form of an expression, chosen from its attributes.
struct Selected {
  Opcode opcode{};
  uint16_t size = 0;
  const XtMatch* match = nullptr;
  const XtTarget* target = nullptr;
};

struct DecodeContext {
  ControlPlane* control = nullptr;
  uint8_t family = 0;
  Table* table = nullptr;
  Chain* chain = nullptr;    // nullptr: expression of a set or element
  Attribute compat;          // NFTA_RULE_COMPAT
  uint32_t initialized = 0;  // bit per register word that was stored to
  const Selected* selected = nullptr;
};

struct DumpContext {
  const ControlPlane* control = nullptr;
  uint64_t now_ms = 0;
};

/// When a rule's expressions let go of what they refer to.
enum class Phase : uint8_t {
  kPrepareError,  // the rule was never complete
  kPrepare,       // deletion asked for, may still be undone
  kAbort,         // a new rule is taken back
  kCommit,        // the deletion is final
};

/// One walk from a base chain (nft_chain_validate).
struct ValidateContext {
  ControlPlane* control = nullptr;
  uint8_t family = 0;
  Chain* base = nullptr;
  uint8_t level = 0;
  uint64_t* work = nullptr;  // rules looked at so far
};

/// The rules of a nested NFTA_EXPR list element.
extern const AttributePolicy kExpressionPolicy;

std::string_view ExpressionName(ExpressionId id);
bool IsStateful(Opcode opcode);
ExpressionId ExpressionOf(Opcode opcode);
/// Bytes of an instruction; 0 for those whose extension tells.
uint16_t SizeOf(Opcode opcode);
/// Whether validation has to look at it (it may refuse a hook or lead on).
bool HasValidate(Opcode opcode);

/// One element of an expression list, its attributes read and its form chosen.
struct ParsedExpression {
  Selected selected;
  AttributeTable attributes;
};
[[nodiscard]] Errno ParseExpression(DecodeContext* context,
                                    std::span<const uint8_t> nested,
                                    ParsedExpression* parsed);
/// Fills `code`, which is zeroed and selected.size bytes long.
[[nodiscard]] Errno InitExpression(DecodeContext* context,
                                   const ParsedExpression& parsed,
                                   uint8_t* code);
/// An expression of a set or an element: must be stateful (EOPNOTSUPP).
[[nodiscard]] Errno DecodeStateful(DecodeContext* context,
                                   std::span<const uint8_t> nested,
                                   std::vector<uint64_t>* code);

/// NFTA_EXPR_NAME and NFTA_EXPR_DATA of one instruction, without the nest.
void DumpExpression(const DumpContext& context, const uint8_t* code,
                    MessageWriter* writer);
/// What is inside NFTA_EXPR_DATA.
void DumpExpressionData(const DumpContext& context, const uint8_t* code,
                        MessageWriter* writer);
void DestroyExpression(ControlPlane* control, uint8_t* code);
void ActivateExpression(ControlPlane* control, uint8_t* code);
void DeactivateExpression(ControlPlane* control, uint8_t* code, Phase phase);
[[nodiscard]] Errno ValidateExpression(ValidateContext* context,
                                       const uint8_t* code);
/// Gives a copy (made with memcpy) of a stateful instruction its own state.
void CloneExpression(ControlPlane* control, uint8_t* code);

/// Calls `visit(uint8_t* instruction)` for each instruction of a block.
template <typename Visit>
void ForEachInstruction(uint8_t* code, size_t size, Visit visit) {
  for (size_t at = 0; at < size;) {
    auto* head = reinterpret_cast<Instruction*>(code + at);
    // The size is read first: a visitor may free what the head leads to.
    const uint16_t step = head->size;
    visit(code + at);
    at += step;
  }
}

// ---- what decoders share ----

enum class DataType : uint8_t { kValue, kVerdict };

/// nft_parse_register_load(): EINVAL, ERANGE, ENODATA (never stored to).
[[nodiscard]] Errno ParseLoad(const DecodeContext& context,
                              const Attribute& attribute, uint32_t length,
                              uint8_t* reg);
/// nft_parse_register_store().
[[nodiscard]] Errno ParseStore(DecodeContext* context,
                               const Attribute& attribute, DataType type,
                               uint32_t length, uint8_t* reg);
/// nft_validate_register_store() for a register given in words.
[[nodiscard]] Errno CheckStore(DecodeContext* context, uint32_t reg,
                               DataType type, uint32_t length);
/// The register as user space counts: 128-bit names where they fit.
void PutRegister(MessageWriter* writer, uint16_t type, uint32_t reg);
/// Whether source and destination overlap without being the same.
bool RegistersOverlap(uint8_t sreg, uint8_t dreg, uint32_t length);

/// NFTA_DATA_VALUE of at most `out.size()` bytes; *length 0 = any.
[[nodiscard]] Errno ParseValue(const Attribute& nested, std::span<uint8_t> out,
                               uint32_t* length);
/// NFTA_DATA_VERDICT; takes a reference to the chain of a jump.
[[nodiscard]] Errno ParseVerdict(DecodeContext* context,
                                 const Attribute& nested, Data* data);
void ReleaseVerdict(const Data& data);
void HoldVerdict(const Data& data);
void PutValue(MessageWriter* writer, uint16_t type, const void* data,
              size_t length);
void PutVerdict(MessageWriter* writer, uint16_t type, const Data& data);
/// The chain of a jump or goto; nullptr for other verdicts.
Chain* VerdictChain(const Data& data);

/// nft_chain_validate_hooks(): EOPNOTSUPP unless the base chain's hook is in
/// the mask.
[[nodiscard]] Errno CheckHooks(const ValidateContext& context, uint32_t hooks);
/// nft_chain_validate_dependency(): EOPNOTSUPP unless of that type.
[[nodiscard]] Errno CheckChainType(const ValidateContext& context,
                                   ChainType type);

// ---- what layouts provide ----

#define VM_OPCODE(id, expression, layout, size)               \
  Errno Init(DecodeContext*, const AttributeTable&, layout*); \
  void Dump(const DumpContext&, const layout&, MessageWriter*);
#include "engines/vm/opcodes.def"
#undef VM_OPCODE

#define VM_EXPRESSION(id, name, stateful)     \
  extern const AttributePolicy k##id##Policy; \
  Errno Select##id(const DecodeContext&, const AttributeTable&, Selected*);
#include "engines/vm/expressions.def"
#undef VM_EXPRESSION

void Destroy(ControlPlane*, CounterCode*);
void Destroy(ControlPlane*, LimitPacketsCode*);
void Destroy(ControlPlane*, LimitBytesCode*);
void Destroy(ControlPlane*, QuotaCode*);
void Destroy(ControlPlane*, ConnlimitCode*);
void Destroy(ControlPlane*, LastCode*);
void Destroy(ControlPlane*, NumgenIncrementalCode*);
void Destroy(ControlPlane*, LogCode*);
void Destroy(ControlPlane*, DynsetCode*);
void Destroy(ControlPlane*, CompatCode*);
void Destroy(ControlPlane*, CompatLargeCode*);

void Clone(ControlPlane*, CounterCode*);
void Clone(ControlPlane*, LimitPacketsCode*);
void Clone(ControlPlane*, LimitBytesCode*);
void Clone(ControlPlane*, QuotaCode*);
void Clone(ControlPlane*, ConnlimitCode*);
void Clone(ControlPlane*, LastCode*);

void Activate(ControlPlane*, ImmediateCode*);
void Activate(ControlPlane*, LookupCode*);
void Activate(ControlPlane*, DynsetCode*);
void Activate(ControlPlane*, ObjrefCode*);
void Activate(ControlPlane*, ObjrefMapCode*);
void Deactivate(ControlPlane*, ImmediateCode*, Phase);
void Deactivate(ControlPlane*, LookupCode*, Phase);
void Deactivate(ControlPlane*, DynsetCode*, Phase);
void Deactivate(ControlPlane*, ObjrefCode*, Phase);
void Deactivate(ControlPlane*, ObjrefMapCode*, Phase);

Errno Validate(ValidateContext*, const ImmediateCode&);
Errno Validate(ValidateContext*, const LookupCode&);
Errno Validate(ValidateContext*, const MetaCode&);
Errno Validate(ValidateContext*, const RejectCode&);
Errno Validate(ValidateContext*, const NatCode&);
Errno Validate(ValidateContext*, const MasqCode&);
Errno Validate(ValidateContext*, const RedirCode&);
Errno Validate(ValidateContext*, const QueueCode&);
Errno Validate(ValidateContext*, const FibCode&);
Errno Validate(ValidateContext*, const RtCode&);
Errno Validate(ValidateContext*, const ObjrefCode&);
Errno Validate(ValidateContext*, const ObjrefMapCode&);
Errno Validate(ValidateContext*, const CompatCode&);
Errno Validate(ValidateContext*, const CompatLargeCode&);

}  // namespace nfarena::vm
