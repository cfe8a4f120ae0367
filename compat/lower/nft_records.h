// The messages of a dump or a batch, read into plain records.
//
// The bytes are not trusted: every message's length is checked against what is
// left, and every attribute's against what it holds (nft_policy).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compat/lower/nft_expr.h"
#include "compat/model/result.h"
#include "compat/model/ruleset.h"

struct nlmsghdr;

namespace nfarena::nft {

struct TableRecord {
  std::string name;
};

struct ChainRecord {
  std::string table, name, type;
  uint64_t handle = 0;
  std::optional<uint32_t> hook;
  int32_t priority = 0;
  std::optional<uint32_t> policy;
  std::optional<Counters> counters;
};

struct RuleRecord {
  std::string table, chain;
  uint64_t handle = 0;
  std::vector<Expr> exprs;
  std::string comment;
  // A batch's own attributes.
  uint64_t position = 0;
  uint32_t id = 0, position_id = 0;
};

struct SetRecord {
  std::string table, name;
  uint32_t id = 0, flags = 0, key_len = 0;
};

struct ElementsRecord {
  struct Element {
    Data key;
    std::optional<Data> key_end;
    bool interval_end = false;
    /// Keys of over 16 bytes, those of concatenations, are here instead.
    std::vector<uint8_t> wide_key, wide_end;
    std::optional<Verdict> verdict;  // of a verdict map
    std::optional<Data> data;        // of another map
    bool catch_all = false;          // what no other element holds
    bool dynamic = false;  // it times out, or has expressions or an object
  };
  std::string table, set;
  uint32_t set_id = 0;
  std::vector<Element> elements;
};

/// One message as its header says.
struct Message {
  uint16_t type = 0;  // of nlmsghdr: subsystem << 8 | NFT_MSG_*
  uint16_t flags = 0;
  uint8_t family = 0;  // of nfgenmsg; 0 when the message has none
  const nlmsghdr* header = nullptr;

  /// NFT_MSG_* when it is one of nf_tables, else nullopt.
  std::optional<uint8_t> nft_type() const;
};

/// Calls `visit` for each message until it fails.
/// Errors: kSyntax (bytes that are no whole messages), and those of `visit`.
[[nodiscard]] Status ForEachMessage(
    std::span<const uint8_t> bytes,
    const std::function<Status(const Message&)>& visit);

// Each reads a message of its own type.  Errors: kSyntax.
[[nodiscard]] Result<TableRecord> ReadTable(const Message& message);
[[nodiscard]] Result<ChainRecord> ReadChain(const Message& message);
[[nodiscard]] Result<RuleRecord> ReadRule(const Message& message);
[[nodiscard]] Result<SetRecord> ReadSet(const Message& message);
[[nodiscard]] Result<ElementsRecord> ReadElements(const Message& message);

}  // namespace nfarena::nft
