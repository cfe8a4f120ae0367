// lookup, dynset, objref: what refers to sets and objects.
// Source: net/netfilter/nft_lookup.c, nft_dynset.c, nft_objref.c.
#include <errno.h>
#include <linux/netfilter/nf_tables.h>

#include <cstring>

#include "engines/vm/control_plane.h"
#include "engines/vm/expression.h"
#include "engines/vm/set.h"

namespace nfarena::vm {
namespace {

constexpr size_t kMaxElementExpressions = 2;  // NFT_SET_EXPR_MAX
constexpr uint32_t kNameLimit = NFT_NAME_MAXLEN - 1;

DataType TypeOfData(const Set& set) {
  return set.is_verdict_map() ? DataType::kVerdict : DataType::kValue;
}

}  // namespace

// ---- lookup ----

constexpr AttributePolicy kLookupPolicy{
    NFTA_LOOKUP_MAX,
    {{NFTA_LOOKUP_SET, AttributeKind::kString, kNameLimit},
     {NFTA_LOOKUP_SET_ID, AttributeKind::kU32, 0},
     {NFTA_LOOKUP_SREG, AttributeKind::kU32, 0},
     {NFTA_LOOKUP_DREG, AttributeKind::kU32, 0},
     {NFTA_LOOKUP_FLAGS, AttributeKind::kMask32, NFT_LOOKUP_F_INV}}};

Errno SelectLookup(const DecodeContext&, const AttributeTable&,
                   Selected* selected) {
  selected->opcode = Opcode::kLookupAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           LookupCode* code) {
  if (!attributes[NFTA_LOOKUP_SET] || !attributes[NFTA_LOOKUP_SREG]) {
    return EINVAL;
  }
  Set* set = context->control->FindSet(context->table,
                                       attributes[NFTA_LOOKUP_SET].Text(),
                                       attributes[NFTA_LOOKUP_SET_ID]);
  if (set == nullptr) return ENOENT;
  Errno error = ParseLoad(*context, attributes[NFTA_LOOKUP_SREG],
                          set->d.key_size, &code->sreg);
  if (error != 0) return error;
  code->inverted =
      attributes[NFTA_LOOKUP_FLAGS] &&
      (attributes[NFTA_LOOKUP_FLAGS].Be32() & NFT_LOOKUP_F_INV) != 0;
  if (attributes[NFTA_LOOKUP_DREG]) {
    if (code->inverted || !set->is_map()) return EINVAL;
    error = ParseStore(context, attributes[NFTA_LOOKUP_DREG], TypeOfData(*set),
                       set->d.data_size, &code->dreg);
    if (error != 0) return error;
    code->has_dreg = 1;
  } else if (set->is_map() && set->anonymous()) {
    return EINVAL;
  }
  error = context->control->BindSet(context, set, set->is_map(), code);
  if (error != 0) return error;
  code->set = set;
  return 0;
}

void Dump(const DumpContext&, const LookupCode& code, MessageWriter* writer) {
  writer->PutString(NFTA_LOOKUP_SET, code.set->name);
  PutRegister(writer, NFTA_LOOKUP_SREG, code.sreg);
  if (code.has_dreg) PutRegister(writer, NFTA_LOOKUP_DREG, code.dreg);
  writer->PutBe32(NFTA_LOOKUP_FLAGS, code.inverted ? NFT_LOOKUP_F_INV : 0);
}

void Activate(ControlPlane* control, LookupCode* code) {
  control->ActivateSet(code->set);
}

void Deactivate(ControlPlane* control, LookupCode* code, Phase phase) {
  if (code->set != nullptr) control->DeactivateSet(code->set, code, phase);
}

Errno Validate(ValidateContext* context, const LookupCode& code) {
  if (!code.set->is_verdict_map()) return 0;
  for (Element* element : code.set->Walk()) {
    if (!element->active.next || element->interval_end) continue;
    Chain* chain = VerdictChain(element->verdict);
    if (chain == nullptr) continue;
    ++context->level;
    const Errno error = context->control->ValidateChain(context, chain);
    --context->level;
    if (error != 0) return error;
  }
  return 0;
}

// ---- dynset ----

constexpr AttributePolicy kDynsetPolicy{
    NFTA_DYNSET_MAX,
    {{NFTA_DYNSET_SET_NAME, AttributeKind::kString, kNameLimit},
     {NFTA_DYNSET_SET_ID, AttributeKind::kU32, 0},
     {NFTA_DYNSET_OP, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_DYNSET_SREG_KEY, AttributeKind::kU32, 0},
     {NFTA_DYNSET_SREG_DATA, AttributeKind::kU32, 0},
     {NFTA_DYNSET_TIMEOUT, AttributeKind::kU64, 0},
     {NFTA_DYNSET_EXPR, AttributeKind::kNested, 0},
     {NFTA_DYNSET_FLAGS, AttributeKind::kU32, 0},
     {NFTA_DYNSET_EXPRESSIONS, AttributeKind::kNested, 0}}};

Errno SelectDynset(const DecodeContext&, const AttributeTable&,
                   Selected* selected) {
  selected->opcode = Opcode::kDynsetAny;
  return 0;
}

namespace {

// One expression that a dynset gives the elements it makes.
Errno AddDynsetExpression(DecodeContext* context, const Set& set,
                          std::span<const uint8_t> nested, DynsetCode* code) {
  std::vector<uint64_t> block;
  const Errno error = DecodeStateful(context, nested, &block);
  if (error != 0) return error;
  auto* bytes = new uint64_t[block.size()];
  std::memcpy(bytes, block.data(), block.size() * sizeof(uint64_t));
  const uint8_t index = code->expressions_count++;
  code->expressions[index] = reinterpret_cast<uint8_t*>(bytes);
  code->override_expressions = 1;
  if (index < set.expressions.size()) {
    const auto* theirs =
        reinterpret_cast<const Instruction*>(set.expressions[index].data());
    const auto* ours = reinterpret_cast<const Instruction*>(bytes);
    if (theirs->opcode != ours->opcode) return EOPNOTSUPP;
  }
  return 0;
}

Errno InitDynsetExpressions(DecodeContext* context,
                            const AttributeTable& attributes, const Set& set,
                            DynsetCode* code) {
  const bool one{attributes[NFTA_DYNSET_EXPR]};
  const bool many{attributes[NFTA_DYNSET_EXPRESSIONS]};
  if ((one || many) && (set.d.flags & NFT_SET_EVAL) == 0) return EINVAL;
  if (one) {
    const Errno error = AddDynsetExpression(
        context, set, attributes[NFTA_DYNSET_EXPR].payload(), code);
    if (error != 0) return error;
    return set.expressions.size() > 1 ? EOPNOTSUPP : 0;
  }
  if (many) {
    if (!code->has_expressions) return EINVAL;
    std::span<const uint8_t> rest =
        attributes[NFTA_DYNSET_EXPRESSIONS].payload();
    Attribute nested;
    while (NextAttribute(&rest, &nested)) {
      if (code->expressions_count == kMaxElementExpressions) return E2BIG;
      if (nested.type() != NFTA_LIST_ELEM) return EINVAL;
      if (!set.expressions.empty() &&
          code->expressions_count >= set.expressions.size()) {
        return EINVAL;
      }
      const Errno error =
          AddDynsetExpression(context, set, nested.payload(), code);
      if (error != 0) return error;
    }
    if (!set.expressions.empty() &&
        set.expressions.size() != code->expressions_count) {
      return EOPNOTSUPP;
    }
    return 0;
  }
  for (const std::vector<uint64_t>& block : set.expressions) {
    code->expressions[code->expressions_count++] =
        reinterpret_cast<uint8_t*>(const_cast<uint64_t*>(block.data()));
  }
  return 0;
}

}  // namespace

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           DynsetCode* code) {
  if (!attributes[NFTA_DYNSET_SET_NAME] || !attributes[NFTA_DYNSET_OP] ||
      !attributes[NFTA_DYNSET_SREG_KEY]) {
    return EINVAL;
  }
  if (attributes[NFTA_DYNSET_FLAGS]) {
    const uint32_t flags = attributes[NFTA_DYNSET_FLAGS].Be32();
    if ((flags & ~uint32_t{NFT_DYNSET_F_INV | NFT_DYNSET_F_EXPR}) != 0) {
      return EOPNOTSUPP;
    }
    code->inverted = (flags & NFT_DYNSET_F_INV) != 0;
    code->has_expressions = (flags & NFT_DYNSET_F_EXPR) != 0;
  }
  Set* set = context->control->FindSet(context->table,
                                       attributes[NFTA_DYNSET_SET_NAME].Text(),
                                       attributes[NFTA_DYNSET_SET_ID]);
  if (set == nullptr) return ENOENT;
  if ((set->d.flags & NFT_SET_OBJECT) != 0 || !set->dynamic()) {
    return EOPNOTSUPP;
  }
  if ((set->d.flags & NFT_SET_CONSTANT) != 0) return EBUSY;
  const uint32_t op = attributes[NFTA_DYNSET_OP].Be32();
  if (op > NFT_DYNSET_OP_DELETE) return EOPNOTSUPP;
  code->op = static_cast<uint8_t>(op);
  if (attributes[NFTA_DYNSET_TIMEOUT]) {
    if ((set->d.flags & NFT_SET_TIMEOUT) == 0) return EOPNOTSUPP;
    code->timeout_ms = attributes[NFTA_DYNSET_TIMEOUT].Be64();
    if (code->timeout_ms >= UINT64_MAX / 1'000'000) return ERANGE;
  }
  Errno error = ParseLoad(*context, attributes[NFTA_DYNSET_SREG_KEY],
                          set->d.key_size, &code->sreg_key);
  if (error != 0) return error;
  if (attributes[NFTA_DYNSET_SREG_DATA]) {
    if (!set->is_map() || set->is_verdict_map()) return EOPNOTSUPP;
    error = ParseLoad(*context, attributes[NFTA_DYNSET_SREG_DATA],
                      set->d.data_size, &code->sreg_data);
    if (error != 0) return error;
  } else if (set->is_map()) {
    return EINVAL;
  }
  error = InitDynsetExpressions(context, attributes, *set, code);
  if (error == 0) error = context->control->BindSet(context, set, false, code);
  if (error != 0) {
    Destroy(context->control, code);
    return error;
  }
  constexpr uint32_t kDefaultSize = 0xffff;
  if (set->d.size == 0) set->d.size = kDefaultSize;
  code->set = set;
  return 0;
}

void Dump(const DumpContext& context, const DynsetCode& code,
          MessageWriter* writer) {
  PutRegister(writer, NFTA_DYNSET_SREG_KEY, code.sreg_key);
  if (code.set->is_map()) {
    PutRegister(writer, NFTA_DYNSET_SREG_DATA, code.sreg_data);
  }
  writer->PutBe32(NFTA_DYNSET_OP, code.op);
  writer->PutString(NFTA_DYNSET_SET_NAME, code.set->name);
  writer->PutBe64(NFTA_DYNSET_TIMEOUT, code.timeout_ms);
  if (code.set->expressions.empty() || code.override_expressions) {
    if (code.expressions_count == 1) {
      const size_t nest = writer->BeginNest(NFTA_DYNSET_EXPR);
      DumpExpression(context, code.expressions[0], writer);
      writer->EndNest(nest);
    } else if (code.expressions_count > 1) {
      const size_t list = writer->BeginNest(NFTA_DYNSET_EXPRESSIONS);
      for (size_t i = 0; i < code.expressions_count; ++i) {
        const size_t nest = writer->BeginNest(NFTA_LIST_ELEM);
        DumpExpression(context, code.expressions[i], writer);
        writer->EndNest(nest);
      }
      writer->EndNest(list);
    }
  }
  writer->PutBe32(NFTA_DYNSET_FLAGS, code.inverted ? NFT_DYNSET_F_INV : 0);
}

void Destroy(ControlPlane* control, DynsetCode* code) {
  if (code->override_expressions) {
    for (size_t i = 0; i < code->expressions_count; ++i) {
      DestroyExpression(control, code->expressions[i]);
      delete[] reinterpret_cast<uint64_t*>(code->expressions[i]);
    }
  }
  code->expressions_count = 0;
  code->override_expressions = 0;
}

void Activate(ControlPlane* control, DynsetCode* code) {
  control->ActivateSet(code->set);
}

void Deactivate(ControlPlane* control, DynsetCode* code, Phase phase) {
  if (code->set != nullptr) control->DeactivateSet(code->set, code, phase);
}

// ---- objref ----

constexpr AttributePolicy kObjrefPolicy{
    NFTA_OBJREF_MAX,
    {{NFTA_OBJREF_IMM_NAME, AttributeKind::kString, kNameLimit},
     {NFTA_OBJREF_IMM_TYPE, AttributeKind::kU32, 0},
     {NFTA_OBJREF_SET_SREG, AttributeKind::kU32, 0},
     {NFTA_OBJREF_SET_NAME, AttributeKind::kString, kNameLimit},
     {NFTA_OBJREF_SET_ID, AttributeKind::kU32, 0}}};

Errno SelectObjref(const DecodeContext&, const AttributeTable& attributes,
                   Selected* selected) {
  if (attributes[NFTA_OBJREF_SET_SREG] &&
      (attributes[NFTA_OBJREF_SET_NAME] || attributes[NFTA_OBJREF_SET_ID])) {
    selected->opcode = Opcode::kObjrefMap;
    return 0;
  }
  if (attributes[NFTA_OBJREF_IMM_NAME] && attributes[NFTA_OBJREF_IMM_TYPE]) {
    selected->opcode = Opcode::kObjrefOne;
    return 0;
  }
  return EOPNOTSUPP;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           ObjrefCode* code) {
  Object* object = context->control->FindObject(
      context->table, attributes[NFTA_OBJREF_IMM_NAME].Text(),
      attributes[NFTA_OBJREF_IMM_TYPE].Be32());
  if (object == nullptr) return ENOENT;
  ++object->use;
  code->object = object;
  return 0;
}

void Dump(const DumpContext&, const ObjrefCode& code, MessageWriter* writer) {
  writer->PutString(NFTA_OBJREF_IMM_NAME, code.object->name);
  writer->PutBe32(NFTA_OBJREF_IMM_TYPE,
                  static_cast<uint32_t>(code.object->type));
}

void Activate(ControlPlane*, ObjrefCode* code) { ++code->object->use; }

void Deactivate(ControlPlane*, ObjrefCode* code, Phase phase) {
  if (phase == Phase::kCommit || code->object == nullptr) return;
  --code->object->use;
}

Errno Validate(ValidateContext*, const ObjrefCode&) { return 0; }

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           ObjrefMapCode* code) {
  if (!attributes[NFTA_OBJREF_SET_NAME]) return EINVAL;
  Set* set = context->control->FindSet(context->table,
                                       attributes[NFTA_OBJREF_SET_NAME].Text(),
                                       attributes[NFTA_OBJREF_SET_ID]);
  if (set == nullptr) return ENOENT;
  if ((set->d.flags & NFT_SET_OBJECT) == 0) return EINVAL;
  Errno error = ParseLoad(*context, attributes[NFTA_OBJREF_SET_SREG],
                          set->d.key_size, &code->sreg);
  if (error != 0) return error;
  error = context->control->BindSet(context, set, false, code);
  if (error != 0) return error;
  code->set = set;
  return 0;
}

void Dump(const DumpContext&, const ObjrefMapCode& code,
          MessageWriter* writer) {
  PutRegister(writer, NFTA_OBJREF_SET_SREG, code.sreg);
  writer->PutString(NFTA_OBJREF_SET_NAME, code.set->name);
}

void Activate(ControlPlane* control, ObjrefMapCode* code) {
  control->ActivateSet(code->set);
}

void Deactivate(ControlPlane* control, ObjrefMapCode* code, Phase phase) {
  if (code->set != nullptr) control->DeactivateSet(code->set, code, phase);
}

Errno Validate(ValidateContext*, const ObjrefMapCode&) { return 0; }

}  // namespace nfarena::vm
