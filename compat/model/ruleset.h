// The ruleset model: what an iptables-save text says, free of any wire form.
//
// One Ruleset is one family.  Match and target options stay in the binary form
// that libxtables makes (the uapi structs), because that is the one form that
// every engine of the xtables line takes; compat/meaning/ decodes it for the
// engines that need to know what it says.
//
// Invariants, kept by the parser and relied on by every lowering:
// - a table holds all built-in chains of its kind, in hook order, first;
// - user chains follow, sorted by name (strcmp order, as libiptc keeps them);
// - a jump or goto names a user chain of the same table.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/result.h"

namespace nfarena {

enum class Family : uint8_t { kIpv4, kIpv6 };

/// "IPv4" or "IPv6".
const char* FamilyName(Family family);

/// The five hooks of the inet path, numbered as NF_INET_* in
/// include/uapi/linux/netfilter.h.
enum class Hook : uint8_t {
  kPrerouting = 0,
  kInput = 1,
  kForward = 2,
  kOutput = 3,
  kPostrouting = 4,
};
inline constexpr size_t kHookCount = 5;

/// The name of the built-in chain of a hook, e.g. "PREROUTING".
const char* HookChainName(Hook hook);

/// The tables of xtables in the order of their priority at a hook (nat's
/// place is that of its destination half, -100).
enum class TableKind : uint8_t { kRaw, kMangle, kNat, kFilter, kSecurity };
inline constexpr size_t kTableKindCount = 5;

/// "raw", "mangle", "nat", "filter", "security".
const char* TableName(TableKind kind);
std::optional<TableKind> TableKindFromName(std::string_view name);
/// The hooks a table has chains for, in hook order.
/// Source: net/ipv4/netfilter/iptable_*.c, valid_hooks.
const std::vector<Hook>& TableHooks(TableKind kind);

/// Network byte order; IPv4 uses the first 4 bytes, the rest is zero.
using Address = std::array<uint8_t, 16>;

struct Counters {
  uint64_t packets = 0;
  uint64_t bytes = 0;
  bool operator==(const Counters&) const = default;
};

/// An interface name test as xtables stores it: `mask` has 0xff for each byte
/// that counts ("eth+" counts 3 bytes, "eth0" 5 with its NUL); all zero = any.
struct InterfaceTest {
  std::array<char, 16> name{};
  std::array<uint8_t, 16> mask{};
  bool operator==(const InterfaceTest&) const = default;
  bool any() const { return mask[0] == 0; }
  /// The name as typed: "eth0", "eth+", or "" for any.
  std::string ToString() const;
};

/// Bits of Selector::inverted; values of IPT_INV_* / IP6T_INV_*.
enum InvertBit : uint8_t {
  kInvertIn = 0x01,
  kInvertOut = 0x02,
  kInvertTos = 0x04,
  kInvertSrc = 0x08,
  kInvertDst = 0x10,
  kInvertFragment = 0x20,
  kInvertProtocol = 0x40,
};

/// The part of a rule that lives in the entry itself (struct ipt_ip, ip6t_ip6).
struct Selector {
  Address src{}, src_mask{}, dst{}, dst_mask{};
  InterfaceTest in, out;
  uint16_t protocol = 0;  // 0 = any
  bool fragment = false;  // -f: non-first fragments (IPv4 only)
  uint8_t inverted = 0;   // InvertBit
  bool operator==(const Selector&) const = default;
};

/// A match or target extension in its binary form.  `payload` is what follows
/// struct xt_entry_match / xt_entry_target, padded to XT_ALIGN (8 bytes).
struct Extension {
  std::string name;  // the kernel's name, at most 28 bytes ("tcp", "NFLOG")
  uint8_t revision = 0;
  std::vector<uint8_t> payload;
  /// Bytes of payload that user space set; the rest is the kernel's own and
  /// not compared (struct xtables_match::userspacesize).  Bytes read back from
  /// an engine do not say it; there it is payload.size().
  uint16_t user_size = 0;
  /// Where it was written, 1-based byte column in the rule's line; 0 unknown.
  uint32_t column = 0;
  /// Equal name, revision and user-space part of the payload (the smaller
  /// user_size of both: the one that is known).
  bool operator==(const Extension& other) const;
};

enum class TargetKind : uint8_t {
  kNone,    // no -j: the rule only counts
  kAccept,  // standard verdicts
  kDrop,
  kQueue,
  kReturn,
  kJump,       // -j CHAIN
  kGoto,       // -g CHAIN
  kExtension,  // -j MODULE
};

struct Target {
  TargetKind kind = TargetKind::kNone;
  std::string chain;    // kJump, kGoto
  Extension extension;  // kExtension
  uint32_t column = 0;
  /// `column` is not compared.
  bool operator==(const Target& other) const;
};

struct Rule {
  Selector selector;
  std::vector<Extension> matches;  // in command-line order
  Target target;
  Counters counters;
  uint32_t line = 0;  // 1-based line of the text it came from; 0 unknown
  /// Equal meaning as written: place and counters are not compared.
  bool SameAs(const Rule& other) const;
};

enum class Policy : uint8_t { kAccept, kDrop };

struct Chain {
  std::string name;
  std::optional<Hook> hook;         // set for built-in chains
  Policy policy = Policy::kAccept;  // built-in chains only
  Counters counters;                // the policy's
  std::vector<Rule> rules;
};

struct Table {
  TableKind kind = TableKind::kFilter;
  std::vector<Chain> chains;

  /// Index in `chains`, or nullopt.  O(log n) over user chains.
  std::optional<size_t> FindChain(std::string_view name) const;
  const Chain* chain(std::string_view name) const;
  Chain* chain(std::string_view name);
  /// Adds an empty user chain at its sorted place.
  /// Errors: kConflict (exists, or names a standard target).
  Result<Chain*> AddChain(std::string_view name);
};

/// Whether the rule jumps or goes to the chain of that name.
bool JumpsTo(const Rule& rule, std::string_view chain);
/// How many rules of the table do.
size_t CountJumps(const Table& table, std::string_view chain);

/// A table with its built-in chains, policy ACCEPT, no rules.
Table EmptyTable(TableKind kind);

struct Ruleset {
  Family family = Family::kIpv4;
  std::vector<Table> tables;  // in file order, each kind at most once

  const Table* table(TableKind kind) const;
  Table* table(TableKind kind);
  /// The table, added empty when missing.
  Table& EnsureTable(TableKind kind);
  size_t rules_count() const;
};

/// Same tables (in any order), chains, policies and rules; counters and places
/// are not compared.
bool SameRules(const Ruleset& a, const Ruleset& b);

/// Names one rule of a ruleset; rule 0 is the chain's end: policy or return.
struct RuleRef {
  TableKind table = TableKind::kFilter;
  uint32_t chain = 0;  // index in Table::chains
  uint32_t rule = 0;   // 1-based, as iptables counts
  bool operator==(const RuleRef&) const = default;
};

/// "filter/INPUT/3", "filter/INPUT/policy"; for the end of a user chain
/// "filter/CHAIN/end", of a chain in a table that is not there "none".
std::string RuleRefName(const Ruleset& ruleset, const RuleRef& ref);

}  // namespace nfarena
