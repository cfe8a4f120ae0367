// Netlink messages of nf_tables, written one behind the other into one buffer.
//
// A batch is a single buffer because it is a single transaction: the kernel
// takes many megabytes in one sendmsg, and a twin reads it in one go. (libmnl's
// own batches are pages of a fixed size, made for sending one at a time.)
// Message numbers, flags and the place of each attribute are libnftnl's.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compat/lower/nft_expr.h"
#include "compat/model/ruleset.h"

namespace nfarena::nft {

/// How a built-in chain is bound: name of its type ("filter", "nat", "route"),
/// priority as iptables' tables have it.
struct BaseChain {
  const char* type;
  int32_t priority;
};
BaseChain BaseChainOf(TableKind kind, Hook hook);

struct ChainMessage {
  std::string_view table, name;
  TableKind kind = TableKind::kFilter;
  std::optional<Hook> hook;  // binds the chain
  std::optional<Policy> policy;
  std::optional<Counters> counters;  // of the policy; turns counting on
  uint64_t handle = 0;               // of a chain to rename to `name`
};

/// Where a new rule goes; by default to the end of its chain.
struct RulePlace {
  uint64_t before_handle = 0;
  uint32_t before_id = 0;  // a rule of the same batch
  bool first = false;      // to the chain's beginning
  uint64_t replaces_handle = 0;
  uint32_t id = 0;  // names this rule within the batch
};

struct RuleMessage {
  const char* table = "";
  const char* chain = "";
  RulePlace place;
  std::span<const Expr> exprs;
  std::string_view comment;  // becomes user data, as nft's own comments
  bool compat = false;       // tell nft_compat the rule's protocol
  uint8_t protocol = 0;
  bool protocol_inverted = false;
};

/// An anonymous constant set of one rule.
struct AnonymousSet {
  struct Element {
    Data key;
    bool interval_end = false;
  };
  uint32_t id = 0;
  uint32_t key_type = 0;  // nft's number of the type, for people's listings
  uint32_t key_len = 0;
  bool interval = false;
  std::vector<Element> elements;
};

/// A comment longer than this does not fit a rule's user data.
inline constexpr size_t kMaxComment = 253;

class MessageWriter {
 public:
  MessageWriter(Family family, uint32_t first_seq)
      : family_(family), seq_(first_seq) {}

  void Reserve(size_t bytes);
  void BeginBatch(uint32_t genid);
  void EndBatch();
  void AddTable(std::string_view table);
  void DeleteTable(std::string_view table);
  [[nodiscard]] Status AddChain(const ChainMessage& chain);
  void DeleteChain(std::string_view table, std::string_view chain);
  [[nodiscard]] Status AddSet(std::string_view table, const AnonymousSet& set);
  /// Errors: kRange (more than the kernel takes in one rule), kSystem.
  [[nodiscard]] Status AddRule(const RuleMessage& rule);
  /// All rules of the chain (of the table when `chain` is empty), or one.
  void DeleteRules(std::string_view table, std::string_view chain,
                   uint64_t handle, uint32_t id);

  uint32_t messages() const { return messages_; }
  std::vector<uint8_t> Take();

 private:
  /// Room for one message of at most `bytes`; a pointer to it.
  char* Room(size_t bytes);
  void Done(const void* message);

  Family family_;
  uint32_t seq_;
  uint32_t messages_ = 0;
  std::vector<uint8_t> buffer_;
  size_t used_ = 0;
};

/// "ip" or "ip6" as NFPROTO_*.
uint8_t FamilyNumber(Family family);

}  // namespace nfarena::nft
