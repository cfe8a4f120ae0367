#include "engines/vm/vm_engine.h"

#include <errno.h>
#include <fmt/format.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "compat/lower/nft_batch.h"
#include "engines/core/ipset_text.h"
#include "engines/core/stopwatch.h"
#include "engines/core/twin_instance.h"
#include "engines/vm/control_plane.h"
#include "engines/vm/disassemble.h"
#include "engines/vm/machine.h"
#include "engines/vm/wire.h"
#include "engines/xt/extension.h"

namespace nfarena {
namespace {

using vm::BatchResult;
using vm::ControlPlane;

size_t IndexOf(TableKind kind) { return static_cast<size_t>(kind); }

uint8_t NfprotoOf(Family family) {
  constexpr uint8_t kIpv4 = 2;
  constexpr uint8_t kIpv6 = 10;
  return family == Family::kIpv4 ? kIpv4 : kIpv6;
}

// The rule whose message has that sequence number; nullptr: another message.
const Rule* RefusedRule(const Ruleset& ruleset, const NftBatch& batch,
                        uint32_t seq, RuleRef* ref) {
  const vm::Batch decoded = vm::DecodeBatch(batch.bytes);
  size_t number = 0;
  for (const vm::Message& message : decoded.messages) {
    if (message.seq == seq) {
      if (message.type != NFT_MSG_NEWRULE || number >= batch.rules.size()) {
        return nullptr;
      }
      *ref = batch.rules[number];
      const Table* table = ruleset.table(ref->table);
      if (table == nullptr || ref->chain >= table->chains.size()) {
        return nullptr;
      }
      const Chain& chain = table->chains[ref->chain];
      if (ref->rule == 0 || ref->rule > chain.rules.size()) return nullptr;
      return &chain.rules[ref->rule - 1];
    }
    if (message.type == NFT_MSG_NEWRULE) ++number;
  }
  return nullptr;
}

BatchResult Try(const NftBatch& batch) {
  NetState net{.sets = IpSets::Unknown(), .named = {}};
  ControlPlane scratch;
  scratch.set_net(&net);
  return scratch.Submit(batch.bytes);
}

// A refusal names a rule, not an expression: the first extension that is
// refused without the others is the one.
const Extension* RefusedExtension(const Ruleset& ruleset, const RuleRef& ref,
                                  const Rule& rule,
                                  const NftOptions& lowering) {
  Ruleset alone = ruleset;
  Rule& one = alone.table(ref.table)->chains[ref.chain].rules[ref.rule - 1];
  const auto refused = [&] {
    const auto batch = LowerNftRuleset(alone, lowering, 0);
    return !batch || !Try(*batch).committed;
  };
  one.target = {};
  for (const Extension& match : rule.matches) {
    one.matches = {match};
    if (refused()) return &match;
  }
  if (rule.target.kind != TargetKind::kExtension) return nullptr;
  one.matches.clear();
  one.target = rule.target;
  return refused() ? &rule.target.extension : nullptr;
}

// Says what was refused, and where it was written.
Error Explain(const Ruleset& ruleset, const NftBatch& batch,
              const BatchResult& result, const NftOptions& lowering) {
  const auto first =
      std::find_if(result.answers.begin(), result.answers.end(),
                   [](const vm::MessageError& a) { return a.error != 0; });
  Error error{
      ErrorCode::kConflict, "the batch was refused", {}, result.error()};
  if (first == result.answers.end()) return error;
  RuleRef ref;
  const Rule* rule = RefusedRule(ruleset, batch, first->seq, &ref);
  if (rule == nullptr) return error;
  error.place.line = rule->line;
  const std::string name = RuleRefName(ruleset, ref);
  if (const Extension* unknown = FindUnknownExtension(ruleset.family, *rule);
      unknown != nullptr && first->error == ENOENT) {
    error.code = ErrorCode::kUnsupported;
    error.place.column = unknown->column;
    error.place.text = unknown->name;
    error.message =
        fmt::format("{}: '{}' revision {} is not known to this engine", name,
                    unknown->name, unknown->revision);
    return error;
  }
  if (first->error == ENOENT || first->error == EOPNOTSUPP) {
    error.code = ErrorCode::kUnsupported;
  }
  if (const Extension* refused =
          RefusedExtension(ruleset, ref, *rule, lowering)) {
    error.place.column = refused->column;
    error.place.text = refused->name;
    error.message = fmt::format("{}: '{}' was refused", name, refused->name);
    return error;
  }
  error.message = name + ": the rule was refused";
  return error;
}

class VmInstance final : public TwinInstance {
 public:
  VmInstance(const OpenOptions& options, IpSets ipsets,
             const NftOptions& lowering)
      : TwinInstance(options, std::move(ipsets)),
        lowering_(lowering),
        machine_(&control_) {
    control_.set_net(net());
    in_force_.family = family();
  }

  Result<UpdateCost> Replace(const Ruleset& ruleset) override {
    RETURN_IF_ERROR(CheckFamily(ruleset));
    const Stopwatch watch;
    UpdateCost cost;
    ASSIGN_OR_RETURN(
        const NftBatch batch,
        LowerNftRuleset(ruleset, lowering_, control_.generation_id()));
    cost.lower_ns = watch.nanoseconds();
    RETURN_IF_ERROR(Commit(ruleset, batch, &cost));
    in_force_ = ruleset;
    Settle();
    cost.wall_ns = watch.nanoseconds();
    return cost;
  }

  Result<UpdateCost> Apply(const Delta& delta) override {
    const Stopwatch watch;
    UpdateCost cost;
    Ruleset next = in_force_;
    RETURN_IF_ERROR(ApplyDelta(delta, &next));
    ASSIGN_OR_RETURN(const NftBatch batch,
                     LowerNftDelta(in_force_, delta, Handles(), lowering_,
                                   control_.generation_id()));
    cost.lower_ns = watch.nanoseconds();
    RETURN_IF_ERROR(Commit(next, batch, &cost));
    in_force_ = std::move(next);
    Settle();
    cost.wall_ns = watch.nanoseconds();
    return cost;
  }

  Result<DumpResult> Dump() override {
    const Stopwatch watch;
    const vm::DumpRequest request{.family = NfprotoOf(family())};
    const std::vector<uint8_t> chains =
        control_.Dump(vm::DumpKind::kChains, request);
    const std::vector<uint8_t> rules =
        control_.Dump(vm::DumpKind::kRules, request);
    std::vector<uint8_t> elements;
    for (const auto& table : control_.tables()) {
      for (const auto& set : table->sets) {
        const std::vector<uint8_t> one =
            control_.DumpElements(table->name, set->name, request);
        elements.insert(elements.end(), one.begin(), one.end());
      }
    }
    DumpResult result;
    result.cost.commit_ns = watch.nanoseconds();
    result.cost.bytes_received = chains.size() + rules.size() + elements.size();
    result.cost.messages = 2;
    const Stopwatch raising;
    ASSIGN_OR_RETURN(
        NftRaised raised,
        RaiseNft(family(),
                 {.chains = chains, .rules = rules, .elements = elements}));
    result.ruleset = std::move(raised.ruleset);
    result.cost.lower_ns = raising.nanoseconds();
    result.cost.wall_ns = watch.nanoseconds();
    return result;
  }

  Footprint BytesUsed() const override {
    return {.program_bytes = control_.program_bytes(),
            .control_bytes = control_.control_bytes(),
            .state_bytes = control_.state_bytes()};
  }

  std::string Disassemble() const override { return vm::Disassemble(control_); }

 private:
  std::vector<vm::Chain*>& ChainsOf(Stage stage) {
    return stages_[IndexOf(stage.table)][static_cast<size_t>(stage.hook)];
  }
  const std::vector<vm::Chain*>& ChainsOf(Stage stage) const {
    return stages_[IndexOf(stage.table)][static_cast<size_t>(stage.hook)];
  }

  void Arrive(const Packet& packet) override {
    control_.set_now_ms(packet.time_ms);
  }

  bool HasStage(Stage stage) const override { return !ChainsOf(stage).empty(); }

  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    StageVerdict verdict;
    for (vm::Chain* chain : ChainsOf(stage)) {
      verdict = machine_.Run(chain, stage.table, trace(), packet);
      if (verdict.kind != VerdictKind::kAccept) break;
    }
    return verdict;
  }

  Status Commit(const Ruleset& ruleset, const NftBatch& batch,
                UpdateCost* cost) {
    const Stopwatch watch;
    const BatchResult result = control_.Submit(batch.bytes);
    cost->commit_ns = watch.nanoseconds();
    cost->bytes_sent = batch.bytes.size();
    cost->messages = batch.messages;
    if (!result.committed) {
      return tl::unexpected<Error>(Explain(ruleset, batch, result, lowering_));
    }
    return {};
  }

  // Puts the base chains where the path asks for them.
  void Settle() {
    if (control_.topology_version() != settled_version_) {
      settled_version_ = control_.topology_version();
      for (auto& table : stages_) {
        for (auto& chains : table) chains.clear();
      }
      bool nat = false;
      for (const auto& table : control_.tables()) {
        const auto kind = TableKindFromName(table->name);
        constexpr uint8_t kInet = 1;
        if (!kind ||
            (table->family != NfprotoOf(family()) && table->family != kInet)) {
          continue;
        }
        nat = nat || *kind == TableKind::kNat;
        if ((table->flags & NFT_TABLE_F_DORMANT) != 0) continue;
        for (const auto& chain : table->chains) {
          if (!chain->base || chain->base->hook >= kHookCount) continue;
          stages_[IndexOf(*kind)][chain->base->hook].push_back(chain.get());
        }
      }
      for (auto& table : stages_) {
        for (auto& chains : table) {
          std::stable_sort(chains.begin(), chains.end(),
                           [](const vm::Chain* a, const vm::Chain* b) {
                             return a->base->priority < b->base->priority;
                           });
        }
      }
      path().SetNat(nat);
    }
    path().SetTracking(control_.needs_tracking());
  }

  // The handles of what is in force, by the model's indices.
  NftHandles Handles() const {
    NftHandles handles;
    for (const Table& table : in_force_.tables) {
      const size_t kind = IndexOf(table.kind);
      handles.rule[kind].resize(table.chains.size());
      handles.chain[kind].resize(table.chains.size(), 0);
    }
    for (const auto& table : control_.tables()) {
      const auto kind = TableKindFromName(table->name);
      if (!kind || table->family != NfprotoOf(family())) continue;
      for (const auto& chain : table->chains) {
        const size_t index = chain->model_index;
        if (index >= handles.rule[IndexOf(*kind)].size()) continue;
        handles.chain[IndexOf(*kind)][index] = chain->handle;
        auto& rules = handles.rule[IndexOf(*kind)][index];
        for (const vm::Rule* rule = chain->first; rule != nullptr;
             rule = rule->following) {
          rules.push_back(rule->handle);
        }
      }
    }
    return handles;
  }

  NftOptions lowering_;
  ControlPlane control_;
  vm::Machine machine_;
  Ruleset in_force_;
  std::array<std::array<std::vector<vm::Chain*>, kHookCount>, kTableKindCount>
      stages_;
  uint64_t settled_version_ = 0;
};

class VmEngineImpl final : public Engine {
 public:
  VmEngineImpl(std::string_view name, std::string_view description,
               std::string_view checked_against, NftMode mode)
      : name_(name),
        description_(description),
        checked_against_(checked_against) {
    lowering_.mode = mode;
  }

  std::string_view name() const override { return name_; }
  EngineKind kind() const override { return EngineKind::kTwin; }
  std::string_view description() const override { return description_; }
  std::string_view checked_against() const override { return checked_against_; }
  Status Available() const override { return {}; }

  Status Supports(const Ruleset& ruleset) const override {
    ASSIGN_OR_RETURN(const NftBatch batch,
                     LowerNftRuleset(ruleset, lowering_, 0));
    const BatchResult result = Try(batch);
    if (result.committed) return {};
    Error error = Explain(ruleset, batch, result, lowering_);
    error.code = ErrorCode::kUnsupported;
    return tl::unexpected<Error>(std::move(error));
  }

  std::vector<RuleNote> Notes(const Ruleset& ruleset) const override {
    std::vector<RuleNote> notes;
    if (!Supports(ruleset)) return notes;
    const auto batch = LowerNftRuleset(ruleset, lowering_, 0);
    if (!batch) return notes;
    for (const NftRuleNote& note : batch->notes) {
      if (note.compat) notes.push_back({note.rule, note.reason});
    }
    return notes;
  }

  Result<std::unique_ptr<Instance>> Open(
      const OpenOptions& options) const override {
    if (options.in_place) {
      return Fail(ErrorCode::kUnsupported,
                  "a twin has no place outside of this program");
    }
    ASSIGN_OR_RETURN(IpSets sets, ReadIpSets(options.ipset_save));
    return std::make_unique<VmInstance>(options, std::move(sets), lowering_);
  }

 private:
  std::string_view name_, description_, checked_against_;
  NftOptions lowering_;
};

}  // namespace

const Engine& VmEngine() {
  static const VmEngineImpl engine(
      "vm", "twin of nf_tables: netlink batches, native expressions",
      "kernel-nft", NftMode::kNative);
  return engine;
}

const Engine& VmCompatEngine() {
  static const VmEngineImpl engine(
      "vm-compat",
      "twin of nf_tables as iptables-nft uses it: match and target expressions",
      "kernel-nft-compat", NftMode::kCompat);
  return engine;
}

}  // namespace nfarena
