// Load, mask, compare: the few shapes that most tests are made of.
#pragma once

#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <vector>

#include "compat/lower/nft_expr.h"

namespace nfarena::nft {

/// Appends tests to a rule, all through register 1.
class Emitter {
 public:
  explicit Emitter(std::vector<Expr>* out) : out_(out) {}

  void Add(Expr expr) { out_->push_back(std::move(expr)); }

  void LoadPayload(uint32_t base, uint32_t offset, uint32_t len) {
    Add(Payload{base, offset, len});
  }
  void LoadMeta(uint32_t key) { Add(Meta{key}); }

  /// Loaded value == (!=) `value`.
  void Equal(const Data& value, bool inverted) {
    Add(Cmp{inverted ? NFT_CMP_NEQ : NFT_CMP_EQ, kReg1, value});
  }

  /// (loaded & mask) == (!=) value.  A mask of all ones needs no expression.
  void EqualMasked(const Data& mask, const Data& value, bool inverted) {
    if (!AllOnes(mask)) {
      Add(Bitwise{mask.size, kReg1, kReg1, mask, Data::Zero(mask.size)});
    }
    Equal(value, inverted);
  }

  /// (loaded & bits) != 0, or == 0 when inverted; host order, 4 bytes.
  void AnyBit(uint32_t bits, bool inverted) {
    Add(Bitwise{4, kReg1, kReg1, Data::Host32(bits), Data::Zero(4)});
    Equal(Data::Zero(4), !inverted);
  }

  /// from <= loaded <= to as big-endian numbers.  One compare says it when the
  /// range is a point or touches an end; that is smaller on the wire and in the
  /// kernel than a range expression.
  void Between(const Data& from, const Data& to, bool inverted) {
    if (from == to) {
      Equal(from, inverted);
    } else if (AllZero(from)) {
      Add(Cmp{inverted ? NFT_CMP_GT : NFT_CMP_LTE, kReg1, to});
    } else if (AllOnes(to)) {
      Add(Cmp{inverted ? NFT_CMP_LT : NFT_CMP_GTE, kReg1, from});
    } else {
      InRange(from, to, inverted);
    }
  }

  /// The same, always by a range expression.
  void InRange(const Data& from, const Data& to, bool inverted) {
    Add(Range{inverted ? NFT_RANGE_NEQ : NFT_RANGE_EQ, kReg1, from, to});
  }

  /// Numbers in host order compare only after this.
  void HostToBigEndian(uint32_t len) {
    Add(Byteorder{NFT_BYTEORDER_HTON, len, len});
  }

  static bool AllOnes(const Data& data) {
    return std::ranges::all_of(data.view(),
                               [](uint8_t b) { return b == 0xff; });
  }
  static bool AllZero(const Data& data) {
    return std::ranges::all_of(data.view(), [](uint8_t b) { return b == 0; });
  }

 private:
  std::vector<Expr>* out_;
};

}  // namespace nfarena::nft
