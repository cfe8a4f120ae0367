// The expressions of nf_tables as plain structs.
//
// Lowering makes them, raising reads them, the printer prints them; libnftnl
// turns them into netlink attributes and back, so the byte layout is its own
// business.  The obvious other way, to use libnftnl's objects throughout, would
// spread attribute numbers and presence checks over every pattern of the
// decoder; here both live in one file.
//
// Fields are numbered and ordered as the kernel's interface has them
// (include/uapi/linux/netfilter/nf_tables.h); data that is compared with packet
// bytes stays in network order, host-order values (marks, states) stay in host
// order.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "compat/model/result.h"

struct nftnl_expr;
struct nftnl_rule;

namespace nfarena::nft {

/// A register's worth of constant data: at most 16 bytes.
struct Data {
  std::array<uint8_t, 16> bytes{};
  uint8_t size = 0;

  Data() = default;
  explicit Data(std::span<const uint8_t> from)
      : size(static_cast<uint8_t>(std::min(from.size(), bytes.size()))) {
    std::memcpy(bytes.data(), from.data(), size);
  }
  static Data U8(uint8_t value) { return Data(std::span(&value, 1)); }
  /// Big-endian, as ports and lengths stand in a packet.
  static Data Be16(uint16_t value);
  static Data Be32(uint32_t value);
  /// The machine's own order, as marks and states stand in registers.
  static Data Host16(uint16_t value);
  static Data Host32(uint32_t value);
  static Data Be64(uint64_t value);
  static Data Zero(uint8_t size);

  std::span<const uint8_t> view() const { return {bytes.data(), size}; }
  uint16_t be16() const;  // of the first bytes; missing ones read as zero
  uint32_t be32() const;
  uint16_t host16() const;
  uint32_t host32() const;
  uint64_t be64() const;
  bool operator==(const Data&) const = default;
};

/// NFT_REG_1: the data register of tests.
inline constexpr uint32_t kReg1 = 1;
/// Tests of bytes of the packet that another match may test as well are told
/// from it, when they are read back, by their registers: words of u32 and bits
/// of ecn, and the texts of string.
inline constexpr uint32_t kWordReg = 2;
inline constexpr uint32_t kTextReg = 3;

struct Payload {
  uint32_t base = 0, offset = 0, len = 0, dreg = kReg1;
  bool operator==(const Payload&) const = default;
};
struct PayloadWrite {
  uint32_t base = 0, offset = 0, len = 0, sreg = kReg1;
  uint32_t csum_type = 0, csum_offset = 0, csum_flags = 0;
  bool operator==(const PayloadWrite&) const = default;
};
struct Meta {
  uint32_t key = 0, dreg = kReg1;
  bool operator==(const Meta&) const = default;
};
struct MetaWrite {
  uint32_t key = 0, sreg = kReg1;
  bool operator==(const MetaWrite&) const = default;
};
struct Ct {
  uint32_t key = 0, dreg = kReg1;
  std::optional<uint8_t> direction;
  bool operator==(const Ct&) const = default;
};
struct CtWrite {
  uint32_t key = 0, sreg = kReg1;
  std::optional<uint8_t> direction;
  bool operator==(const CtWrite&) const = default;
};
struct Cmp {
  uint32_t op = 0, sreg = kReg1;
  Data data;
  bool operator==(const Cmp&) const = default;
};
struct Range {
  uint32_t op = 0, sreg = kReg1;
  Data from, to;
  bool operator==(const Range&) const = default;
};
/// dreg = (sreg & mask) ^ xor_bits, or sreg shifted by `shift` bits (`op`:
/// NFT_BITWISE_*); a shift sees a number in host order.
struct Bitwise {
  uint32_t len = 0, sreg = kReg1, dreg = kReg1;
  Data mask, xor_bits;
  uint32_t op = 0, shift = 0;
  bool operator==(const Bitwise&) const = default;
};
struct Byteorder {
  uint32_t op = 0, len = 0, size = 0, sreg = kReg1, dreg = kReg1;
  bool operator==(const Byteorder&) const = default;
};
struct Immediate {
  uint32_t dreg = kReg1;
  Data data;
  bool operator==(const Immediate&) const = default;
};
/// An immediate to the verdict register.
struct Verdict {
  int32_t code = 0;   // NF_ACCEPT..., NFT_JUMP...
  std::string chain;  // jump, goto
  bool operator==(const Verdict&) const = default;
};
struct Lookup {
  uint32_t sreg = kReg1;
  std::string set;
  uint32_t set_id = 0;  // in a batch only; not compared
  uint32_t flags = 0;
  std::optional<uint32_t> dreg;  // of a map
  bool operator==(const Lookup& other) const {
    return sreg == other.sreg && set == other.set && flags == other.flags &&
           dreg == other.dreg;
  }
};
struct Counter {
  uint64_t packets = 0, bytes = 0;
  bool operator==(const Counter&) const = default;
};
struct Limit {
  uint64_t rate = 0, unit_s = 0;
  uint32_t burst = 0, type = 0, flags = 0;
  bool operator==(const Limit&) const = default;
};
struct Quota {
  uint64_t bytes = 0, consumed = 0;
  uint32_t flags = 0;
  bool operator==(const Quota&) const = default;
};
struct Log {
  std::string prefix;
  std::optional<uint16_t> group;  // set: NFLOG
  std::optional<uint32_t> snaplen;
  uint16_t threshold = 0;
  std::optional<uint32_t> level;  // unset means 4, "warning"
  uint32_t flags = 0;
  bool operator==(const Log&) const = default;
};
struct Reject {
  uint32_t type = 0;
  uint8_t code = 0;
  bool operator==(const Reject&) const = default;
};
/// Registers are 0 when not used.
struct Nat {
  uint32_t type = 0, family = 0;
  uint32_t address_min = 0, address_max = 0, proto_min = 0, proto_max = 0;
  uint32_t flags = 0;
  bool operator==(const Nat&) const = default;
};
struct Masq {
  uint32_t flags = 0, proto_min = 0, proto_max = 0;
  bool operator==(const Masq&) const = default;
};
struct Redir {
  uint32_t flags = 0, proto_min = 0, proto_max = 0;
  bool operator==(const Redir&) const = default;
};
struct Notrack {
  bool operator==(const Notrack&) const = default;
};
struct Numgen {
  uint32_t type = 0, modulus = 0, offset = 0, dreg = kReg1;
  bool operator==(const Numgen&) const = default;
};
struct Fib {
  uint32_t result = 0, flags = 0, dreg = kReg1;
  bool operator==(const Fib&) const = default;
};
struct Rt {
  uint32_t key = 0, dreg = kReg1;
  bool operator==(const Rt&) const = default;
};
/// Registers are 0 when not used.
struct Dup {
  uint32_t address = 0, device = 0;
  bool operator==(const Dup&) const = default;
};
struct Synproxy {
  uint16_t mss = 0;
  uint8_t wscale = 0;
  uint32_t flags = 0;
  bool operator==(const Synproxy&) const = default;
};
struct Queue {
  uint16_t first = 0, total = 1, flags = 0;
  bool operator==(const Queue&) const = default;
};
/// nft_compat's two: an xtables extension with its payload.
struct CarriedMatch {
  std::string name;
  uint32_t revision = 0;
  std::vector<uint8_t> info;
  bool operator==(const CarriedMatch&) const = default;
};
struct CarriedTarget {
  std::string name;
  uint32_t revision = 0;
  std::vector<uint8_t> info;
  bool operator==(const CarriedTarget&) const = default;
};
/// Any other expression, or one whose attributes make no sense.
struct Other {
  std::string name;
  std::string words = {};  // libnftnl's, on one line; "" when it has none
  bool operator==(const Other&) const = default;
};

using Expr = std::variant<Payload, PayloadWrite, Meta, MetaWrite, Ct, CtWrite,
                          Cmp, Range, Bitwise, Byteorder, Immediate, Verdict,
                          Lookup, Counter, Limit, Quota, Log, Reject, Nat, Masq,
                          Redir, Notrack, Numgen, Fib, Queue, Rt, Dup, Synproxy,
                          CarriedMatch, CarriedTarget, Other>;

/// nf_tables' own name of the expression: "payload", "match"...
std::string_view ExprName(const Expr& expr);

/// One expression in the words of `nft --debug=netlink`, without brackets:
/// "payload load 4b @ network header + 12 => reg 1".
std::string PrintExpr(const Expr& expr);

/// Bytes the expression takes in a rule of a 64-bit kernel
/// (nft_expr_ops::size). Source: net/netfilter/nft_*.c (6.1 to 6.18), private
/// structs.
size_t KernelBytes(const Expr& expr);

/// An upper bound of the netlink bytes it takes.
size_t MessageBytes(const Expr& expr);

/// Adds it to a libnftnl rule.  Errors: kSystem (no memory), kInternal (Other).
[[nodiscard]] Status AddToRule(const Expr& expr, nftnl_rule* rule);

/// Reads one expression; never fails: what it cannot read is Other.
Expr ReadExpr(const nftnl_expr* expr);

/// All expressions of a rule, in order.
std::vector<Expr> ReadExprs(const nftnl_rule* rule);

}  // namespace nfarena::nft
