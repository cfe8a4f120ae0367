// nf_tables over nfnetlink: a batch that compat/lower made, on its way to the
// kernel in one sendmsg(), and what the kernel has, on its way back.
//
// Only errors come back from a batch, no acks: 50,000 of them would cost more
// than the rules.  An error names the message it is about by its sequence
// number; that leads to the rule and its line.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "compat/lower/nft_batch.h"
#include "compat/model/result.h"
#include "engines/core/engine.h"
#include "engines/kernel/netlink.h"

namespace nfarena::kernel {

/// A refused batch.
struct NftRefusal {
  Error error;
  /// Index in NftBatch::rules, when it is a rule that is refused.
  std::optional<size_t> rule;
  /// Somebody else committed first; lower again with the new generation.
  bool stale = false;
};

class NftTransport {
 public:
  /// In the calling thread's namespace.
  [[nodiscard]] static Result<NftTransport> Open(Family family);

  /// The current generation; changes with each commit in the namespace.
  [[nodiscard]] Result<uint32_t> Generation();

  /// Commits a batch.  Adds what it cost to `cost`.  nullopt = it is in force.
  [[nodiscard]] Result<std::optional<NftRefusal>> Commit(const NftBatch& batch,
                                                         UpdateCost* cost);

  /// All chains, rules and set elements of the family, without the probe's.
  struct Answers {
    uint32_t generation = 0;
    std::vector<uint8_t> chains, rules, elements;
    NftDump dump() const { return {chains, rules, elements}; }
  };
  /// `with_elements` false leaves the elements of sets out.
  [[nodiscard]] Result<Answers> Read(bool with_elements, UpdateCost* cost);
  /// With what family inet has, whose tables see this family's packets too.
  [[nodiscard]] Result<Answers> ReadAll(UpdateCost* cost);

 private:
  NftTransport(Family family, NetlinkSocket socket)
      : family_(family), socket_(std::move(socket)) {}
  /// Adds to the answers, until no generation passes meanwhile.
  Result<Answers> ReadFamilies(std::span<const uint8_t> families,
                               bool with_elements, UpdateCost* cost);
  Result<std::vector<uint8_t>> ReadKind(uint8_t type, uint8_t family,
                                        std::string_view what,
                                        UpdateCost* cost);
  Result<std::vector<uint8_t>> ReadElements(uint8_t family, UpdateCost* cost);

  Family family_;
  NetlinkSocket socket_;
};

/// Index, in NftBatch::rules, of the NEWRULE message with this sequence number;
/// nullopt when it is another message.
std::optional<size_t> RuleOfSequence(std::span<const uint8_t> batch,
                                     uint32_t seq);

/// Names and handles of the chains in an answer to GETCHAIN.
struct NftChainHandle {
  std::string table, chain;
  uint64_t handle = 0;
};
std::vector<NftChainHandle> ReadChainHandles(std::span<const uint8_t> chains);

}  // namespace nfarena::kernel
