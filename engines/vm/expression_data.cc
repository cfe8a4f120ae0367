// immediate, cmp, range, bitwise, byteorder: what works on registers alone.
// Source: net/netfilter/nft_immediate.c, nft_cmp.c, nft_range.c,
// nft_bitwise.c, nft_byteorder.c.
#include <errno.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstring>

#include "engines/vm/control_plane.h"
#include "engines/vm/expression.h"

namespace nfarena::vm {
namespace {

// nft_parse_u32_check() with U8_MAX.
Errno ParseByte(const Attribute& attribute, uint32_t* value) {
  *value = attribute.Be32();
  return *value > UINT8_MAX ? ERANGE : 0;
}

// The bytes that count of a value of `length` <= 4 bytes, as a word's mask.
uint32_t WordMask(uint32_t length) {
  const uint8_t ones[4] = {0xff, 0xff, 0xff, 0xff};
  uint32_t mask = 0;
  std::memcpy(&mask, ones, std::min<uint32_t>(length, 4));
  return mask;
}

}  // namespace

// ---- immediate ----

constexpr AttributePolicy kImmediatePolicy{
    NFTA_IMMEDIATE_MAX,
    {{NFTA_IMMEDIATE_DREG, AttributeKind::kU32, 0},
     {NFTA_IMMEDIATE_DATA, AttributeKind::kNested, 0}}};

Errno SelectImmediate(const DecodeContext&, const AttributeTable& attributes,
                      Selected* selected) {
  // Missing attributes are told by Init, after every expression was chosen.
  selected->opcode = Opcode::kImmediateData;
  if (attributes[NFTA_IMMEDIATE_DREG] &&
      static_cast<uint8_t>(attributes[NFTA_IMMEDIATE_DREG].Be32()) ==
          NFT_REG_VERDICT) {
    selected->opcode = Opcode::kImmediateVerdict;
  }
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           ImmediateCode* code) {
  if (!attributes[NFTA_IMMEDIATE_DREG] || !attributes[NFTA_IMMEDIATE_DATA]) {
    return EINVAL;
  }
  if (code->head.opcode == Opcode::kImmediateVerdict) {
    Errno error =
        ParseVerdict(context, attributes[NFTA_IMMEDIATE_DATA], &code->data);
    if (error != 0) return error;
    code->length = sizeof(Data);
    error = ParseStore(context, attributes[NFTA_IMMEDIATE_DREG],
                       DataType::kVerdict, sizeof(Data), &code->dreg);
    if (error != 0) {
      ReleaseVerdict(code->data);
      code->data = Data{};
    }
    return error;
  }
  uint32_t length = 0;
  const Errno error = ParseValue(
      attributes[NFTA_IMMEDIATE_DATA],
      {reinterpret_cast<uint8_t*>(code->data.words), sizeof(Data)}, &length);
  if (error != 0) return error;
  code->length = static_cast<uint8_t>(length);
  return ParseStore(context, attributes[NFTA_IMMEDIATE_DREG], DataType::kValue,
                    length, &code->dreg);
}

void Dump(const DumpContext&, const ImmediateCode& code,
          MessageWriter* writer) {
  PutRegister(writer, NFTA_IMMEDIATE_DREG, code.dreg);
  if (code.head.opcode == Opcode::kImmediateVerdict) {
    PutVerdict(writer, NFTA_IMMEDIATE_DATA, code.data);
  } else {
    PutValue(writer, NFTA_IMMEDIATE_DATA, code.data.words, code.length);
  }
}

void Activate(ControlPlane*, ImmediateCode* code) {
  if (code->head.opcode == Opcode::kImmediateVerdict) HoldVerdict(code->data);
}

void Deactivate(ControlPlane*, ImmediateCode* code, Phase phase) {
  if (phase == Phase::kCommit) return;
  if (code->head.opcode == Opcode::kImmediateVerdict) {
    ReleaseVerdict(code->data);
  }
}

Errno Validate(ValidateContext* context, const ImmediateCode& code) {
  if (code.head.opcode != Opcode::kImmediateVerdict) return 0;
  Chain* chain = VerdictChain(code.data);
  if (chain == nullptr) return 0;
  ++context->level;
  const Errno error = context->control->ValidateChain(context, chain);
  --context->level;
  return error;
}

// ---- cmp ----

constexpr AttributePolicy kCmpPolicy{
    NFTA_CMP_MAX,
    {{NFTA_CMP_SREG, AttributeKind::kU32, 0},
     {NFTA_CMP_OP, AttributeKind::kU32, 0},
     {NFTA_CMP_DATA, AttributeKind::kNested, 0}}};

Errno SelectCmp(const DecodeContext&, const AttributeTable& attributes,
                Selected* selected) {
  if (!attributes[NFTA_CMP_SREG] || !attributes[NFTA_CMP_OP] ||
      !attributes[NFTA_CMP_DATA]) {
    return EINVAL;
  }
  const uint32_t op = attributes[NFTA_CMP_OP].Be32();
  if (op > NFT_CMP_GTE) return EINVAL;
  uint8_t data[16];
  uint32_t length = 0;
  const Errno error = ParseValue(attributes[NFTA_CMP_DATA], data, &length);
  if (error != 0) return error;
  selected->opcode = Opcode::kCmpAny;
  if (op != NFT_CMP_EQ && op != NFT_CMP_NEQ) return 0;
  const auto sreg = static_cast<uint8_t>(attributes[NFTA_CMP_SREG].Be32());
  if (length <= 4) {
    selected->opcode =
        op == NFT_CMP_EQ ? Opcode::kCmpFastEqual : Opcode::kCmpFastNotEqual;
  } else if ((sreg >= NFT_REG_1 && sreg <= NFT_REG_4) ||
             (sreg >= NFT_REG32_00 && sreg <= NFT_REG32_12 && sreg % 2 == 0)) {
    selected->opcode = Opcode::kCmp16;
  }
  return 0;
}

namespace {

// Data and register of every form of cmp.
Errno ParseCmp(DecodeContext* context, const AttributeTable& attributes,
               uint8_t (&data)[16], uint8_t* sreg, uint8_t* length) {
  uint32_t size = 0;
  const Errno error = ParseValue(attributes[NFTA_CMP_DATA], data, &size);
  if (error != 0) return error;
  *length = static_cast<uint8_t>(size);
  return ParseLoad(*context, attributes[NFTA_CMP_SREG], size, sreg);
}

void DumpCmp(MessageWriter* writer, uint8_t sreg, uint32_t op, const void* data,
             uint8_t length) {
  PutRegister(writer, NFTA_CMP_SREG, sreg);
  writer->PutBe32(NFTA_CMP_OP, op);
  PutValue(writer, NFTA_CMP_DATA, data, length);
}

}  // namespace

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           CmpFastCode* code) {
  uint8_t data[16] = {};
  const Errno error =
      ParseCmp(context, attributes, data, &code->sreg, &code->length);
  code->mask = WordMask(code->length);
  std::memcpy(&code->data, data, sizeof(code->data));
  code->data &= code->mask;
  return error;
}

void Dump(const DumpContext&, const CmpFastCode& code, MessageWriter* writer) {
  const bool equal = code.head.opcode == Opcode::kCmpFastEqual;
  DumpCmp(writer, code.sreg, equal ? NFT_CMP_EQ : NFT_CMP_NEQ, &code.data,
          code.length);
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           Cmp16Code* code) {
  uint8_t data[16] = {};
  const Errno error =
      ParseCmp(context, attributes, data, &code->sreg, &code->length);
  std::memcpy(code->data, data, sizeof(data));
  std::memset(data, 0, sizeof(data));
  std::memset(data, 0xff, code->length);
  std::memcpy(code->mask, data, sizeof(data));
  code->inverted = attributes[NFTA_CMP_OP].Be32() != NFT_CMP_EQ;
  return error;
}

void Dump(const DumpContext&, const Cmp16Code& code, MessageWriter* writer) {
  DumpCmp(writer, code.sreg, code.inverted ? NFT_CMP_NEQ : NFT_CMP_EQ,
          code.data, code.length);
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           CmpCode* code) {
  code->op = static_cast<uint8_t>(attributes[NFTA_CMP_OP].Be32());
  return ParseCmp(context, attributes, code->data, &code->sreg, &code->length);
}

void Dump(const DumpContext&, const CmpCode& code, MessageWriter* writer) {
  DumpCmp(writer, code.sreg, code.op, code.data, code.length);
}

// ---- range ----

constexpr AttributePolicy kRangePolicy{
    NFTA_RANGE_MAX,
    {{NFTA_RANGE_SREG, AttributeKind::kU32, 0},
     {NFTA_RANGE_OP, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_RANGE_FROM_DATA, AttributeKind::kNested, 0},
     {NFTA_RANGE_TO_DATA, AttributeKind::kNested, 0}}};

Errno SelectRange(const DecodeContext&, const AttributeTable&,
                  Selected* selected) {
  selected->opcode = Opcode::kRangeAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           RangeCode* code) {
  if (!attributes[NFTA_RANGE_SREG] || !attributes[NFTA_RANGE_OP] ||
      !attributes[NFTA_RANGE_FROM_DATA] || !attributes[NFTA_RANGE_TO_DATA]) {
    return EINVAL;
  }
  uint32_t from_length = 0;
  uint32_t to_length = 0;
  Errno error =
      ParseValue(attributes[NFTA_RANGE_FROM_DATA], code->from, &from_length);
  if (error != 0) return error;
  error = ParseValue(attributes[NFTA_RANGE_TO_DATA], code->to, &to_length);
  if (error != 0) return error;
  if (from_length != to_length) return EINVAL;
  error = ParseLoad(*context, attributes[NFTA_RANGE_SREG], from_length,
                    &code->sreg);
  if (error != 0) return error;
  const uint32_t op = attributes[NFTA_RANGE_OP].Be32();
  if (op != NFT_RANGE_EQ && op != NFT_RANGE_NEQ) return EINVAL;
  code->op = static_cast<uint8_t>(op);
  code->length = static_cast<uint8_t>(from_length);
  return 0;
}

void Dump(const DumpContext&, const RangeCode& code, MessageWriter* writer) {
  PutRegister(writer, NFTA_RANGE_SREG, code.sreg);
  writer->PutBe32(NFTA_RANGE_OP, code.op);
  PutValue(writer, NFTA_RANGE_FROM_DATA, code.from, code.length);
  PutValue(writer, NFTA_RANGE_TO_DATA, code.to, code.length);
}

// ---- bitwise ----

constexpr AttributePolicy kBitwisePolicy{
    NFTA_BITWISE_MAX,
    {{NFTA_BITWISE_SREG, AttributeKind::kU32, 0},
     {NFTA_BITWISE_DREG, AttributeKind::kU32, 0},
     {NFTA_BITWISE_LEN, AttributeKind::kU32, 0},
     {NFTA_BITWISE_MASK, AttributeKind::kNested, 0},
     {NFTA_BITWISE_XOR, AttributeKind::kNested, 0},
     {NFTA_BITWISE_OP, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_BITWISE_DATA, AttributeKind::kNested, 0}}};

Errno SelectBitwise(const DecodeContext&, const AttributeTable& attributes,
                    Selected* selected) {
  if (!attributes[NFTA_BITWISE_LEN] || !attributes[NFTA_BITWISE_SREG] ||
      !attributes[NFTA_BITWISE_DREG]) {
    return EINVAL;
  }
  uint32_t length = 0;
  const Errno error = ParseByte(attributes[NFTA_BITWISE_LEN], &length);
  if (error != 0) return error;
  const bool mask_xor = !attributes[NFTA_BITWISE_OP] ||
                        attributes[NFTA_BITWISE_OP].Be32() == NFT_BITWISE_BOOL;
  selected->opcode =
      length == 4 && mask_xor ? Opcode::kBitwiseFast : Opcode::kBitwiseAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           BitwiseFastCode* code) {
  Errno error =
      ParseLoad(*context, attributes[NFTA_BITWISE_SREG], 4, &code->sreg);
  if (error != 0) return error;
  error = ParseStore(context, attributes[NFTA_BITWISE_DREG], DataType::kValue,
                     4, &code->dreg);
  if (error != 0) return error;
  if (attributes[NFTA_BITWISE_DATA] || !attributes[NFTA_BITWISE_MASK] ||
      !attributes[NFTA_BITWISE_XOR]) {
    return EINVAL;
  }
  uint8_t data[16] = {};
  uint32_t length = 4;
  error = ParseValue(attributes[NFTA_BITWISE_MASK], data, &length);
  if (error != 0) return error;
  std::memcpy(&code->mask, data, sizeof(code->mask));
  error = ParseValue(attributes[NFTA_BITWISE_XOR], data, &length);
  if (error != 0) return error;
  std::memcpy(&code->exclusive_or, data, sizeof(code->exclusive_or));
  return 0;
}

namespace {

void DumpBitwiseHead(MessageWriter* writer, uint8_t sreg, uint8_t dreg,
                     uint32_t length, uint32_t op) {
  PutRegister(writer, NFTA_BITWISE_SREG, sreg);
  PutRegister(writer, NFTA_BITWISE_DREG, dreg);
  writer->PutBe32(NFTA_BITWISE_LEN, length);
  writer->PutBe32(NFTA_BITWISE_OP, op);
}

}  // namespace

void Dump(const DumpContext&, const BitwiseFastCode& code,
          MessageWriter* writer) {
  DumpBitwiseHead(writer, code.sreg, code.dreg, 4, NFT_BITWISE_BOOL);
  PutValue(writer, NFTA_BITWISE_MASK, &code.mask, 4);
  PutValue(writer, NFTA_BITWISE_XOR, &code.exclusive_or, 4);
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           BitwiseCode* code) {
  uint32_t length = 0;
  Errno error = ParseByte(attributes[NFTA_BITWISE_LEN], &length);
  if (error != 0) return error;
  code->length = static_cast<uint8_t>(length);
  error =
      ParseLoad(*context, attributes[NFTA_BITWISE_SREG], length, &code->sreg);
  if (error != 0) return error;
  error = ParseStore(context, attributes[NFTA_BITWISE_DREG], DataType::kValue,
                     length, &code->dreg);
  if (error != 0) return error;
  if (RegistersOverlap(code->sreg, code->dreg, length)) return EINVAL;
  code->op = NFT_BITWISE_BOOL;
  if (attributes[NFTA_BITWISE_OP]) {
    code->op = static_cast<uint8_t>(attributes[NFTA_BITWISE_OP].Be32());
  }
  if (code->op == NFT_BITWISE_BOOL) {
    if (attributes[NFTA_BITWISE_DATA] || !attributes[NFTA_BITWISE_MASK] ||
        !attributes[NFTA_BITWISE_XOR]) {
      return EINVAL;
    }
    error = ParseValue(
        attributes[NFTA_BITWISE_MASK],
        {reinterpret_cast<uint8_t*>(code->mask), sizeof(code->mask)}, &length);
    if (error != 0) return error;
    return ParseValue(attributes[NFTA_BITWISE_XOR],
                      {reinterpret_cast<uint8_t*>(code->exclusive_or),
                       sizeof(code->exclusive_or)},
                      &length);
  }
  if (code->op != NFT_BITWISE_LSHIFT && code->op != NFT_BITWISE_RSHIFT) {
    return EOPNOTSUPP;
  }
  if (attributes[NFTA_BITWISE_MASK] || attributes[NFTA_BITWISE_XOR] ||
      !attributes[NFTA_BITWISE_DATA]) {
    return EINVAL;
  }
  uint8_t data[16] = {};
  uint32_t shift_length = 4;
  error = ParseValue(attributes[NFTA_BITWISE_DATA], data, &shift_length);
  if (error != 0) return error;
  std::memcpy(&code->shift, data, sizeof(code->shift));
  return code->shift == 0 || code->shift >= 32 ? EINVAL : 0;
}

void Dump(const DumpContext&, const BitwiseCode& code, MessageWriter* writer) {
  DumpBitwiseHead(writer, code.sreg, code.dreg, code.length, code.op);
  if (code.op == NFT_BITWISE_BOOL) {
    PutValue(writer, NFTA_BITWISE_MASK, code.mask, code.length);
    PutValue(writer, NFTA_BITWISE_XOR, code.exclusive_or, code.length);
  } else {
    PutValue(writer, NFTA_BITWISE_DATA, &code.shift, 4);
  }
}

// ---- byteorder ----

constexpr AttributePolicy kByteorderPolicy{
    NFTA_BYTEORDER_MAX,
    {{NFTA_BYTEORDER_SREG, AttributeKind::kU32, 0},
     {NFTA_BYTEORDER_DREG, AttributeKind::kU32, 0},
     {NFTA_BYTEORDER_OP, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_BYTEORDER_LEN, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_BYTEORDER_SIZE, AttributeKind::kMax32, UINT8_MAX}}};

Errno SelectByteorder(const DecodeContext&, const AttributeTable&,
                      Selected* selected) {
  selected->opcode = Opcode::kByteorderAny;
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           ByteorderCode* code) {
  if (!attributes[NFTA_BYTEORDER_SREG] || !attributes[NFTA_BYTEORDER_DREG] ||
      !attributes[NFTA_BYTEORDER_LEN] || !attributes[NFTA_BYTEORDER_SIZE] ||
      !attributes[NFTA_BYTEORDER_OP]) {
    return EINVAL;
  }
  const uint32_t op = attributes[NFTA_BYTEORDER_OP].Be32();
  if (op != NFT_BYTEORDER_NTOH && op != NFT_BYTEORDER_HTON) return EINVAL;
  const uint32_t size = attributes[NFTA_BYTEORDER_SIZE].Be32();
  if (size != 2 && size != 4 && size != 8) return EINVAL;
  const uint32_t length = attributes[NFTA_BYTEORDER_LEN].Be32();
  code->op = static_cast<uint8_t>(op);
  code->size = static_cast<uint8_t>(size);
  code->length = static_cast<uint8_t>(length);
  Errno error =
      ParseLoad(*context, attributes[NFTA_BYTEORDER_SREG], length, &code->sreg);
  if (error != 0) return error;
  error = ParseStore(context, attributes[NFTA_BYTEORDER_DREG], DataType::kValue,
                     length, &code->dreg);
  if (error != 0) return error;
  return RegistersOverlap(code->sreg, code->dreg, length) ? EINVAL : 0;
}

void Dump(const DumpContext&, const ByteorderCode& code,
          MessageWriter* writer) {
  PutRegister(writer, NFTA_BYTEORDER_SREG, code.sreg);
  PutRegister(writer, NFTA_BYTEORDER_DREG, code.dreg);
  writer->PutBe32(NFTA_BYTEORDER_OP, code.op);
  writer->PutBe32(NFTA_BYTEORDER_LEN, code.length);
  writer->PutBe32(NFTA_BYTEORDER_SIZE, code.size);
}

}  // namespace nfarena::vm
