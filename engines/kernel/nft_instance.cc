#include "engines/kernel/nft_instance.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "compat/lower/nft_listing.h"
#include "engines/core/listing.h"
#include "engines/core/stopwatch.h"
#include "engines/kernel/host.h"
#include "engines/kernel/nft_transport.h"
#include "engines/kernel/refusal.h"

namespace nfarena::kernel {
namespace {

// How often an update is made again because somebody else was quicker.
constexpr int kTries = 64;

class NftInstance : public Instance, public Listable {
 public:
  /// `host` null: in place.
  NftInstance(std::unique_ptr<Host> host, NftTransport transport, Family family,
              const NftOptions& lowering)
      : host_(std::move(host)),
        transport_(std::move(transport)),
        family_(family),
        lowering_(lowering) {
    in_force_.family = family;
    // In place the other tables are somebody's.
    lowering_.keep_other_tables = host_ == nullptr;
  }

  Result<UpdateCost> Replace(const Ruleset& ruleset) override {
    ASSIGN_OR_RETURN(UpdateCost cost, Load(ruleset));
    if (host_ != nullptr) in_force_ = ruleset;
    return cost;
  }

  Result<UpdateCost> Adopt(Ruleset ruleset) override {
    ASSIGN_OR_RETURN(UpdateCost cost, Load(ruleset));
    if (host_ != nullptr) in_force_ = std::move(ruleset);
    return cost;
  }

  Result<UpdateCost> Apply(const Delta& delta) override {
    const Stopwatch all;
    UpdateCost cost;
    if (host_ != nullptr) RETURN_IF_ERROR(host_->Expect(delta));
    // A change is made to what was read, so it is read again when somebody
    // else was quicker.
    RETURN_IF_ERROR(Retried([&]() -> Result<Attempt> {
      ASSIGN_OR_RETURN(Base base, ReadBase(delta, &cost));
      const Ruleset& current = host_ == nullptr ? base.ruleset : in_force_;
      const Stopwatch lowering;
      ASSIGN_OR_RETURN(const NftBatch batch,
                       LowerNftDelta(current, delta, base.handles, lowering_,
                                     base.generation));
      cost.lower_ns += lowering.nanoseconds();
      return CommitChange(batch, current, delta, &cost);
    }));
    cost.wall_ns = all.nanoseconds();
    index_.reset();
    if (host_ != nullptr) RETURN_IF_ERROR(ApplyDelta(delta, &in_force_));
    return cost;
  }

  Result<DumpResult> Dump() override {
    const Stopwatch all;
    DumpResult result;
    ASSIGN_OR_RETURN(const auto answers, transport_.Read(true, &result.cost));
    const Stopwatch raising;
    ASSIGN_OR_RETURN(NftRaised raised, RaiseNft(family_, answers.dump()));
    result.ruleset = std::move(raised.ruleset);
    result.cost.lower_ns = raising.nanoseconds();
    result.cost.wall_ns = all.nanoseconds();
    return result;
  }

  Result<Listing> List() override {
    ASSIGN_OR_RETURN(const auto answers, transport_.ReadAll(nullptr));
    ASSIGN_OR_RETURN(NftListing listing, ListNft(family_, answers.dump()));
    return Listing{std::move(listing.ruleset), std::move(listing.remarks)};
  }

  Status Classify(std::span<const Packet> packets, std::span<Outcome> outcomes,
                  const ClassifyOptions& options) override {
    if (host_ == nullptr) return InPlace();
    RETURN_IF_ERROR(MakeIndex());
    return host_->Classify(*index_, packets, outcomes, options);
  }

  Result<PacketTiming> Time(std::span<const Packet> packets, uint32_t rounds,
                            const ClassifyOptions& options) override {
    if (host_ == nullptr) {
      Status refused = InPlace();
      return tl::unexpected(std::move(refused).error());
    }
    return host_->Time(packets, rounds, options);
  }

  /// nf_tables tells no sizes: all zero.
  Footprint BytesUsed() const override { return {}; }

  std::string Disassemble() const override {
    const auto answers = transport_.Read(true, nullptr);
    if (!answers) return answers.error().ToString();
    return DumpNftBatch(answers->chains) + DumpNftBatch(answers->rules) +
           DumpNftBatch(answers->elements);
  }

 private:
  Result<UpdateCost> Load(const Ruleset& ruleset) {
    if (ruleset.family != family_) {
      return Fail(ErrorCode::kInternal, "the ruleset is of the other family");
    }
    if (host_ != nullptr) RETURN_IF_ERROR(host_->Expect(ruleset));
    const Stopwatch all;
    UpdateCost cost;
    // A whole ruleset goes on top of whatever there is by then.
    RETURN_IF_ERROR(Retried([&]() -> Result<Attempt> {
      ASSIGN_OR_RETURN(const uint32_t generation, transport_.Generation());
      ++cost.messages;
      const Stopwatch lowering;
      ASSIGN_OR_RETURN(const NftBatch batch,
                       LowerNftRuleset(ruleset, lowering_, generation));
      cost.lower_ns += lowering.nanoseconds();
      return Commit(batch, ruleset, &cost);
    }));
    cost.wall_ns = all.nanoseconds();
    index_.reset();
    return cost;
  }

  static Status InPlace() {
    return Fail(ErrorCode::kUnsupported,
                "packets are judged in a private namespace only, not in place");
  }

  enum class Attempt : uint8_t { kDone, kStale };

  /// Until an attempt is not stale.
  template <typename Try>
  static Status Retried(Try attempt) {
    for (int tries = 0; tries < kTries; ++tries) {
      ASSIGN_OR_RETURN(const Attempt result, attempt());
      if (result == Attempt::kDone) return {};
    }
    return Fail(ErrorCode::kConflict,
                "somebody else changes nf_tables all the time");
  }

  /// `next` is what the batch leads to; a refusal speaks of its rules.
  Result<Attempt> Commit(const NftBatch& batch, const Ruleset& next,
                         UpdateCost* cost) {
    ASSIGN_OR_RETURN(auto refusal, transport_.Commit(batch, cost));
    if (!refusal) return Attempt::kDone;
    if (refusal->stale) return Attempt::kStale;
    return tl::unexpected(Explain(next, batch, std::move(*refusal)));
  }

  Result<Attempt> CommitChange(const NftBatch& batch, const Ruleset& current,
                               const Delta& delta, UpdateCost* cost) {
    ASSIGN_OR_RETURN(auto refusal, transport_.Commit(batch, cost));
    if (!refusal) return Attempt::kDone;
    if (refusal->stale) return Attempt::kStale;
    // Made only if it has to be spoken of: a copy costs more than the change.
    Ruleset next = current;
    RETURN_IF_ERROR(ApplyDelta(delta, &next));
    return tl::unexpected(Explain(next, batch, std::move(*refusal)));
  }

  Error Explain(const Ruleset& next, const NftBatch& batch,
                NftRefusal refusal) const {
    if (!refusal.rule) return std::move(refusal.error);
    const RuleRef& ref = batch.rules[*refusal.rule];
    const Table* table = next.table(ref.table);
    if (table == nullptr || ref.chain >= table->chains.size()) {
      return std::move(refusal.error);
    }
    const Chain& chain = table->chains[ref.chain];
    if (ref.rule == 0 || ref.rule > chain.rules.size()) {
      return std::move(refusal.error);
    }
    return RefusalOf(family_, chain.name, chain.rules[ref.rule - 1],
                     std::move(refusal.error));
  }

  /// What a change is based on.
  struct Base {
    uint32_t generation = 0;
    Ruleset ruleset;  // in place only: else it is in_force_
    NftHandles handles;
  };

  Result<Base> ReadBase(const Delta& delta, UpdateCost* cost) {
    Base base;
    if (host_ == nullptr) {
      ASSIGN_OR_RETURN(const auto answers, transport_.Read(true, cost));
      ASSIGN_OR_RETURN(NftRaised raised, RaiseNft(family_, answers.dump()));
      base.generation = answers.generation;
      base.ruleset = std::move(raised.ruleset);
      base.handles = std::move(raised.handles);
      return base;
    }
    // Handles are not kept: they would have to be read back after each update,
    // and most updates are not followed by one that needs them.
    if (!NeedsHandles(delta)) {
      ASSIGN_OR_RETURN(base.generation, transport_.Generation());
      ++cost->messages;
      return base;
    }
    ASSIGN_OR_RETURN(const auto answers, transport_.Read(false, cost));
    base.generation = answers.generation;
    ASSIGN_OR_RETURN(base.handles, HandlesOf(answers));
    return base;
  }

  /// Whether the delta names anything that nf_tables knows by its handle.
  static bool NeedsHandles(const Delta& delta) {
    return std::any_of(delta.begin(), delta.end(), [](const Change& change) {
      switch (change.kind) {
        case ChangeKind::kAppend:
        case ChangeKind::kNewChain:
        case ChangeKind::kPolicy:
          return false;
        case ChangeKind::kInsert:
          return change.rulenum > 1;
        case ChangeKind::kReplace:
        case ChangeKind::kDeleteIndex:
        case ChangeKind::kDeleteRule:
        case ChangeKind::kFlush:
        case ChangeKind::kDeleteChain:
        case ChangeKind::kRenameChain:
        case ChangeKind::kZero:
          return true;
      }
      return true;
    });
  }

  /// Rules are found by their place in their chain, which holds for any rule,
  /// also for one whose expressions cannot be read back.
  Result<NftHandles> HandlesOf(const NftTransport::Answers& answers) const {
    ASSIGN_OR_RETURN(const auto counters,
                     ReadNftCounters(family_, answers.dump()));
    NftHandles handles;
    for (const Table& table : in_force_.tables) {
      const auto kind = static_cast<size_t>(table.kind);
      handles.chain[kind].resize(table.chains.size());
      for (const Chain& chain : table.chains) {
        handles.rule[kind].emplace_back(chain.rules.size(), 0);
      }
    }
    for (const NftCounters& line : counters) {
      const auto kind = static_cast<size_t>(line.table);
      const Table* table = in_force_.table(line.table);
      const auto chain =
          table == nullptr ? std::nullopt : table->FindChain(line.chain);
      if (!chain) continue;
      if (line.rule != 0 && line.rule <= handles.rule[kind][*chain].size()) {
        handles.rule[kind][*chain][line.rule - 1] = line.handle;
      }
    }
    for (const NftChainHandle& line : ReadChainHandles(answers.chains)) {
      const auto kind = TableKindFromName(line.table);
      const Table* table = kind ? in_force_.table(*kind) : nullptr;
      const auto chain =
          table == nullptr ? std::nullopt : table->FindChain(line.chain);
      if (!chain) continue;
      handles.chain[static_cast<size_t>(*kind)][*chain] = line.handle;
    }
    return handles;
  }

  Status MakeIndex() {
    if (index_) return {};
    ASSIGN_OR_RETURN(const auto answers, transport_.Read(false, nullptr));
    ASSIGN_OR_RETURN(const NftHandles handles, HandlesOf(answers));
    RuleIndex index(&in_force_);
    for (const Table& table : in_force_.tables) {
      const auto& chains = handles.rule[static_cast<size_t>(table.kind)];
      for (uint32_t chain = 0; chain < chains.size(); ++chain) {
        for (uint32_t rule = 0; rule < chains[chain].size(); ++rule) {
          index.AddHandle({table.kind, chain, rule + 1}, chains[chain][rule]);
        }
      }
    }
    index_.emplace(std::move(index));
    return {};
  }

  std::unique_ptr<Host> host_;
  // Disassemble() only reads, but reading is talking.
  mutable NftTransport transport_;
  Family family_;
  NftOptions lowering_;
  Ruleset in_force_;  // not kept in place, where others change it
  std::optional<RuleIndex> index_;
};

}  // namespace

Result<std::unique_ptr<Instance>> OpenNft(const OpenOptions& options,
                                          const NftOptions& lowering) {
  std::unique_ptr<Host> host;
  if (!options.in_place) {
    ASSIGN_OR_RETURN(host, Host::Create(options));
  }
  ASSIGN_OR_RETURN(const Namespace here, Namespace::Current());
  ASSIGN_OR_RETURN(const auto scope,
                   NamespaceScope::Enter(host ? host->ns() : here));
  ASSIGN_OR_RETURN(NftTransport transport, NftTransport::Open(options.family));
  return std::unique_ptr<Instance>(new NftInstance(
      std::move(host), std::move(transport), options.family, lowering));
}

}  // namespace nfarena::kernel
