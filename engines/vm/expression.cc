#include "engines/vm/expression.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "engines/vm/control_plane.h"

namespace nfarena::vm {
namespace {

template <typename Layout>
concept Destroyable = requires(ControlPlane* control, Layout* code) {
  Destroy(control, code);
};
template <typename Layout>
concept Cloneable = requires(ControlPlane* control, Layout* code) {
  Clone(control, code);
};
template <typename Layout>
concept Activatable = requires(ControlPlane* control, Layout* code) {
  Activate(control, code);
};
template <typename Layout>
concept Validatable = requires(ValidateContext* context, const Layout& code) {
  Validate(context, code);
};

struct OpcodeInfo {
  ExpressionId expression;
  uint16_t size;
  Errno (*init)(DecodeContext*, const AttributeTable&, uint8_t*);
  void (*dump)(const DumpContext&, const uint8_t*, MessageWriter*);
  void (*destroy)(ControlPlane*, uint8_t*);
  void (*clone)(ControlPlane*, uint8_t*);
  void (*activate)(ControlPlane*, uint8_t*);
  void (*deactivate)(ControlPlane*, uint8_t*, Phase);
  Errno (*validate)(ValidateContext*, const uint8_t*);
};

template <typename Layout>
constexpr OpcodeInfo MakeInfo(ExpressionId expression, uint16_t size) {
  OpcodeInfo info{};
  info.expression = expression;
  info.size = size;
  info.init = [](DecodeContext* context, const AttributeTable& attributes,
                 uint8_t* code) {
    return Init(context, attributes, reinterpret_cast<Layout*>(code));
  };
  info.dump = [](const DumpContext& context, const uint8_t* code,
                 MessageWriter* writer) {
    Dump(context, *reinterpret_cast<const Layout*>(code), writer);
  };
  if constexpr (Destroyable<Layout>) {
    info.destroy = [](ControlPlane* control, uint8_t* code) {
      Destroy(control, reinterpret_cast<Layout*>(code));
    };
  }
  if constexpr (Cloneable<Layout>) {
    info.clone = [](ControlPlane* control, uint8_t* code) {
      Clone(control, reinterpret_cast<Layout*>(code));
    };
  }
  if constexpr (Activatable<Layout>) {
    info.activate = [](ControlPlane* control, uint8_t* code) {
      Activate(control, reinterpret_cast<Layout*>(code));
    };
    info.deactivate = [](ControlPlane* control, uint8_t* code, Phase phase) {
      Deactivate(control, reinterpret_cast<Layout*>(code), phase);
    };
  }
  if constexpr (Validatable<Layout>) {
    info.validate = [](ValidateContext* context, const uint8_t* code) {
      return Validate(context, *reinterpret_cast<const Layout*>(code));
    };
  }
  return info;
}

constexpr OpcodeInfo kOpcodes[] = {
#define VM_OPCODE(id, expression, layout, size) \
  MakeInfo<layout>(ExpressionId::k##expression, size),
#include "engines/vm/opcodes.def"
#undef VM_OPCODE
};
static_assert(std::size(kOpcodes) == kOpcodeCount);

struct ExpressionInfo {
  std::string_view name;
  bool stateful;
  const AttributePolicy* policy;
  Errno (*select)(const DecodeContext&, const AttributeTable&, Selected*);
};

constexpr ExpressionInfo kExpressions[] = {
#define VM_EXPRESSION(id, name, stateful) \
  {name, stateful, &k##id##Policy, Select##id},
#include "engines/vm/expressions.def"
#undef VM_EXPRESSION
};
static_assert(std::size(kExpressions) == kExpressionCount);
static_assert(std::is_sorted(std::begin(kExpressions), std::end(kExpressions),
                             [](const auto& a, const auto& b) {
                               return a.name < b.name;
                             }),
              "FindExpression searches by bisection");

const OpcodeInfo& Info(Opcode opcode) {
  return kOpcodes[static_cast<size_t>(opcode)];
}

const OpcodeInfo& Info(const uint8_t* code) {
  return Info(reinterpret_cast<const Instruction*>(code)->opcode);
}

const ExpressionInfo* FindExpression(std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(kExpressions), std::end(kExpressions), name,
                       [](const ExpressionInfo& info, std::string_view wanted) {
                         return info.name < wanted;
                       });
  if (found == std::end(kExpressions) || found->name != name) return nullptr;
  return found;
}

constexpr AttributePolicy kDataPolicy{
    NFTA_DATA_MAX,
    {{NFTA_DATA_VALUE, AttributeKind::kBinary, 0},
     {NFTA_DATA_VERDICT, AttributeKind::kNested, 0}}};

constexpr AttributePolicy kVerdictPolicy{
    NFTA_VERDICT_MAX,
    {{NFTA_VERDICT_CODE, AttributeKind::kU32, 0},
     {NFTA_VERDICT_CHAIN, AttributeKind::kString, NFT_NAME_MAXLEN - 1},
     {NFTA_VERDICT_CHAIN_ID, AttributeKind::kU32, 0}}};

constexpr uint32_t kRegisterBytes = 16;
constexpr uint32_t kWordBytes = 4;

// nft_parse_register(): both names of a register -> words.
Errno ParseRegister(const Attribute& attribute, uint32_t* reg) {
  const uint32_t number = attribute.Be32();
  if (number <= NFT_REG_4) {
    *reg = number * kRegisterBytes / kWordBytes;
  } else if (number >= NFT_REG32_00 && number <= NFT_REG32_15) {
    *reg = number + kRegisterBytes / kWordBytes - NFT_REG32_00;
  } else {
    return ERANGE;
  }
  return 0;
}

}  // namespace

constexpr AttributePolicy kExpressionPolicy{
    NFTA_EXPR_MAX,
    {{NFTA_EXPR_NAME, AttributeKind::kString, 42},
     {NFTA_EXPR_DATA, AttributeKind::kNested, 0}}};

std::string_view ExpressionName(ExpressionId id) {
  return kExpressions[static_cast<size_t>(id)].name;
}

ExpressionId ExpressionOf(Opcode opcode) { return Info(opcode).expression; }

uint16_t SizeOf(Opcode opcode) { return Info(opcode).size; }

bool IsStateful(Opcode opcode) {
  return kExpressions[static_cast<size_t>(Info(opcode).expression)].stateful;
}

bool HasValidate(Opcode opcode) { return Info(opcode).validate != nullptr; }

Errno ParseExpression(DecodeContext* context, std::span<const uint8_t> nested,
                      ParsedExpression* parsed) {
  AttributeTable outer;
  Errno error = ParseAttributes(nested, kExpressionPolicy, &outer);
  if (error != 0) return error;
  if (!outer[NFTA_EXPR_NAME]) return EINVAL;
  const ExpressionInfo* info = FindExpression(outer[NFTA_EXPR_NAME].Text());
  if (info == nullptr) return ENOENT;
  error =
      ParseAttributes(outer[NFTA_EXPR_DATA] ? outer[NFTA_EXPR_DATA].payload()
                                            : std::span<const uint8_t>(),
                      *info->policy, &parsed->attributes);
  if (error != 0) return error;
  parsed->selected = Selected();
  error = info->select(*context, parsed->attributes, &parsed->selected);
  if (error != 0) return error;
  if (parsed->selected.size == 0) {
    parsed->selected.size = Info(parsed->selected.opcode).size;
  }
  return 0;
}

Errno InitExpression(DecodeContext* context, const ParsedExpression& parsed,
                     uint8_t* code) {
  auto* head = reinterpret_cast<Instruction*>(code);
  head->opcode = parsed.selected.opcode;
  head->size = parsed.selected.size;
  context->selected = &parsed.selected;
  const Errno error = Info(head->opcode).init(context, parsed.attributes, code);
  context->selected = nullptr;
  return error;
}

Errno DecodeStateful(DecodeContext* context, std::span<const uint8_t> nested,
                     std::vector<uint64_t>* code) {
  ParsedExpression parsed;
  const Errno error = ParseExpression(context, nested, &parsed);
  if (error != 0) return error;
  if (!IsStateful(parsed.selected.opcode)) return EOPNOTSUPP;
  code->assign(parsed.selected.size / sizeof(uint64_t), 0);
  return InitExpression(context, parsed,
                        reinterpret_cast<uint8_t*>(code->data()));
}

void DumpExpression(const DumpContext& context, const uint8_t* code,
                    MessageWriter* writer) {
  const OpcodeInfo& info = Info(code);
  writer->PutString(NFTA_EXPR_NAME, ExpressionName(info.expression));
  // notrack is the one expression without data, and the kernel then leaves out
  // the nest as well.
  if (info.expression == ExpressionId::kNotrack) return;
  const size_t nest = writer->BeginNest(NFTA_EXPR_DATA);
  info.dump(context, code, writer);
  writer->EndNest(nest);
}

void DumpExpressionData(const DumpContext& context, const uint8_t* code,
                        MessageWriter* writer) {
  Info(code).dump(context, code, writer);
}

void DestroyExpression(ControlPlane* control, uint8_t* code) {
  if (Info(code).destroy != nullptr) Info(code).destroy(control, code);
}

void ActivateExpression(ControlPlane* control, uint8_t* code) {
  if (Info(code).activate != nullptr) Info(code).activate(control, code);
}

void DeactivateExpression(ControlPlane* control, uint8_t* code, Phase phase) {
  if (Info(code).deactivate != nullptr) {
    Info(code).deactivate(control, code, phase);
  }
}

Errno ValidateExpression(ValidateContext* context, const uint8_t* code) {
  const auto validate = Info(code).validate;
  return validate != nullptr ? validate(context, code) : 0;
}

void CloneExpression(ControlPlane* control, uint8_t* code) {
  if (Info(code).clone != nullptr) Info(code).clone(control, code);
}

Errno ParseLoad(const DecodeContext& context, const Attribute& attribute,
                uint32_t length, uint8_t* reg) {
  if (!attribute) return EINVAL;
  uint32_t word = 0;
  const Errno error = ParseRegister(attribute, &word);
  if (error != 0) return error;
  if (word < kFirstDataRegister || length == 0) return EINVAL;
  if (word * kWordBytes + length > kRegisterWords * kWordBytes) return ERANGE;
  const uint32_t words = (length + kWordBytes - 1) / kWordBytes;
  for (uint32_t i = word; i < word + words; ++i) {
    if ((context.initialized >> i & 1) == 0) return ENODATA;
  }
  *reg = static_cast<uint8_t>(word);
  return 0;
}

Errno CheckStore(DecodeContext* context, uint32_t reg, DataType type,
                 uint32_t length) {
  if (reg == NFT_REG_VERDICT) {
    if (type != DataType::kVerdict) return EINVAL;
  } else {
    if (type != DataType::kValue) return EINVAL;
    if (reg < kFirstDataRegister || length == 0) return EINVAL;
    if (reg * kWordBytes + length > kRegisterWords * kWordBytes) return ERANGE;
  }
  const uint32_t words = (length + kWordBytes - 1) / kWordBytes;
  for (uint32_t i = reg; i < reg + words; ++i) {
    context->initialized |= 1u << i;
  }
  return 0;
}

Errno ParseStore(DecodeContext* context, const Attribute& attribute,
                 DataType type, uint32_t length, uint8_t* reg) {
  if (!attribute) return EINVAL;
  uint32_t word = 0;
  Errno error = ParseRegister(attribute, &word);
  if (error != 0) return error;
  error = CheckStore(context, word, type, length);
  if (error != 0) return error;
  *reg = static_cast<uint8_t>(word);
  return 0;
}

void PutRegister(MessageWriter* writer, uint16_t type, uint32_t reg) {
  constexpr uint32_t kWords = kRegisterBytes / kWordBytes;
  writer->PutBe32(
      type, reg % kWords == 0 ? reg / kWords : reg - kWords + NFT_REG32_00);
}

bool RegistersOverlap(uint8_t sreg, uint8_t dreg, uint32_t length) {
  if (sreg == dreg) return false;
  const uint32_t words = (length + kWordBytes - 1) / kWordBytes;
  return sreg < dreg ? sreg + words > dreg : dreg + words > sreg;
}

Errno ParseValue(const Attribute& nested, std::span<uint8_t> out,
                 uint32_t* length) {
  AttributeTable table;
  const Errno error = ParseAttributes(nested.payload(), kDataPolicy, &table);
  if (error != 0) return error;
  const Attribute& value = table[NFTA_DATA_VALUE];
  if (!value) return EINVAL;
  if (value.size() == 0) return EINVAL;
  if (value.size() > out.size()) return EOVERFLOW;
  if (*length != 0 && value.size() != *length) return EINVAL;
  *length = static_cast<uint32_t>(value.size());
  std::copy(value.payload().begin(), value.payload().end(), out.begin());
  return 0;
}

Errno ParseVerdict(DecodeContext* context, const Attribute& nested,
                   Data* data) {
  AttributeTable outer;
  Errno error = ParseAttributes(nested.payload(), kDataPolicy, &outer);
  if (error != 0) return error;
  if (outer[NFTA_DATA_VALUE] || !outer[NFTA_DATA_VERDICT]) return EINVAL;
  AttributeTable table;
  error = ParseAttributes(outer[NFTA_DATA_VERDICT].payload(), kVerdictPolicy,
                          &table);
  if (error != 0) return error;
  if (!table[NFTA_VERDICT_CODE]) return EINVAL;
  *data = Data{};
  data->verdict.code = static_cast<int32_t>(table[NFTA_VERDICT_CODE].Be32());
  switch (data->verdict.code) {
    case kVerdictAccept:
    case kVerdictDrop:
    case kVerdictContinue:
    case kVerdictBreak:
    case kVerdictReturn:
      return 0;
    case kVerdictJump:
    case kVerdictGoto:
      break;
    default:
      return EINVAL;
  }
  Chain* chain = nullptr;
  if (table[NFTA_VERDICT_CHAIN]) {
    chain = context->control->FindChain(context->table,
                                        table[NFTA_VERDICT_CHAIN].Text());
  } else if (table[NFTA_VERDICT_CHAIN_ID]) {
    chain = context->control->FindChainById(
        context->table, table[NFTA_VERDICT_CHAIN_ID].Be32());
  } else {
    return EINVAL;
  }
  if (chain == nullptr) return ENOENT;
  if (chain->base) return EOPNOTSUPP;
  ++chain->use;
  data->verdict.chain = chain;
  return 0;
}

Chain* VerdictChain(const Data& data) {
  if (data.verdict.code != kVerdictJump && data.verdict.code != kVerdictGoto) {
    return nullptr;
  }
  return static_cast<Chain*>(data.verdict.chain);
}

void ReleaseVerdict(const Data& data) {
  if (Chain* chain = VerdictChain(data)) --chain->use;
}

void HoldVerdict(const Data& data) {
  if (Chain* chain = VerdictChain(data)) ++chain->use;
}

void PutValue(MessageWriter* writer, uint16_t type, const void* data,
              size_t length) {
  const size_t nest = writer->BeginNest(type);
  writer->Put(NFTA_DATA_VALUE, {static_cast<const uint8_t*>(data), length});
  writer->EndNest(nest);
}

void PutVerdict(MessageWriter* writer, uint16_t type, const Data& data) {
  const size_t nest = writer->BeginNest(type);
  const size_t verdict = writer->BeginNest(NFTA_DATA_VERDICT);
  writer->PutBe32(NFTA_VERDICT_CODE, static_cast<uint32_t>(data.verdict.code));
  if (const Chain* chain = VerdictChain(data)) {
    writer->PutString(NFTA_VERDICT_CHAIN, chain->name);
  }
  writer->EndNest(verdict);
  writer->EndNest(nest);
}

Errno CheckHooks(const ValidateContext& context, uint32_t hooks) {
  return (1u << context.base->base->hook & hooks) != 0 ? 0 : EOPNOTSUPP;
}

Errno CheckChainType(const ValidateContext& context, ChainType type) {
  return context.base->base->type == type ? 0 : EOPNOTSUPP;
}

}  // namespace nfarena::vm
