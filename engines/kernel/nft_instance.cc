#include "engines/kernel/nft_instance.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "engines/kernel/host.h"
#include "engines/kernel/nft_transport.h"
#include "engines/kernel/refusal.h"
#include "engines/kernel/stopwatch.h"

namespace nfarena::kernel {
namespace {

// How often an update is made again because somebody else was quicker.
constexpr int kTries = 64;

class NftInstance : public Instance {
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
    if (ruleset.family != family_) {
      return Fail(ErrorCode::kInternal, "the ruleset is of the other family");
    }
    if (host_ != nullptr) RETURN_IF_ERROR(host_->Expect(ruleset));
    const Stopwatch all;
    UpdateCost cost;
    const Status status =
        Update(ruleset, &cost, [&](uint32_t generation) -> Result<NftBatch> {
          return LowerNftRuleset(ruleset, lowering_, generation);
        });
    if (!status) {
      if (host_ != nullptr) RETURN_IF_ERROR(host_->Expect(in_force_));
      return tl::unexpected(status.error());
    }
    cost.wall_ns = all.nanoseconds();
    in_force_ = ruleset;
    index_.reset();
    return cost;
  }

  Result<UpdateCost> Apply(const Delta& delta) override {
    const Stopwatch all;
    UpdateCost cost;
    // The handles are not kept: they would have to be read back after each
    // update, which most callers do not follow by a second one.
    ASSIGN_OR_RETURN(const auto answers, transport_.Read(true, &cost));
    NftRaised current;
    if (host_ == nullptr) {
      ASSIGN_OR_RETURN(current, RaiseNft(family_, answers.dump()));
    } else {
      ASSIGN_OR_RETURN(current.handles, HandlesOf(answers));
      current.ruleset = in_force_;
    }
    Ruleset next = current.ruleset;
    RETURN_IF_ERROR(ApplyDelta(delta, &next));
    if (host_ != nullptr) RETURN_IF_ERROR(host_->Expect(next));
    RETURN_IF_ERROR(
        Update(next, &cost, [&](uint32_t generation) -> Result<NftBatch> {
          return LowerNftDelta(current.ruleset, delta, current.handles,
                               lowering_, generation);
        }));
    cost.wall_ns = all.nanoseconds();
    if (host_ != nullptr) {
      in_force_ = std::move(next);
      index_.reset();
    }
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
  static Status InPlace() {
    return Fail(ErrorCode::kUnsupported,
                "packets are judged in a private namespace only, not in place");
  }

  /// Lowers and commits, again when the generation moved on.
  template <typename Lower>
  Status Update(const Ruleset& next, UpdateCost* cost, Lower lower) {
    for (int tries = 0; tries < kTries; ++tries) {
      ASSIGN_OR_RETURN(const uint32_t generation, transport_.Generation());
      ++cost->messages;
      const Stopwatch lowering;
      ASSIGN_OR_RETURN(const NftBatch batch, lower(generation));
      cost->lower_ns += lowering.nanoseconds();
      ASSIGN_OR_RETURN(auto refusal, transport_.Commit(batch, cost));
      if (!refusal) return {};
      if (!refusal->stale) {
        return tl::unexpected(Explain(next, batch, std::move(*refusal)));
      }
      // What a delta is based on has changed, too; only a whole ruleset can
      // be put on top of whatever there is now.
      if (host_ == nullptr && !batch.rules.empty() && tries + 1 == kTries)
        break;
    }
    return Fail(ErrorCode::kConflict,
                "somebody else changes nf_tables all the time");
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
    return RefusalOf(family_, chain, chain.rules[ref.rule - 1],
                     std::move(refusal.error));
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
