#include "engines/blob/blob_engine.h"

#include <fmt/format.h>

#include <cerrno>

#include "compat/lower/blob_lower.h"
#include "engines/blob/blob_table.h"
#include "engines/core/ipset_text.h"
#include "engines/core/stopwatch.h"
#include "engines/core/twin_instance.h"

namespace nfarena {
namespace {

/// Chain `index` of the blob, which holds the tables' chains one after the
/// other.
const Chain* ChainAt(const Ruleset& ruleset, uint32_t index,
                     TableKind* table_kind) {
  for (const Table& table : ruleset.tables) {
    *table_kind = table.kind;
    if (index < table.chains.size()) return &table.chains[index];
    index -= static_cast<uint32_t>(table.chains.size());
  }
  return nullptr;
}

/// Adds the place of the rule that was refused to the error.
Error Locate(Error error, const Ruleset& ruleset, const BlobFault& fault) {
  TableKind kind = TableKind::kFilter;
  const Chain* chain =
      fault.known ? ChainAt(ruleset, fault.chain, &kind) : nullptr;
  if (chain == nullptr || fault.rule == 0 || fault.rule > chain->rules.size()) {
    return error;
  }
  const Rule& rule = chain->rules[fault.rule - 1];
  const Extension& extension = fault.extension < rule.matches.size()
                                   ? rule.matches[fault.extension]
                                   : rule.target.extension;
  error.place.line = rule.line;
  error.place.column = extension.column;
  error.place.text = extension.name;
  error.message = fmt::format("{}/{}/{}: {}", TableName(kind), chain->name,
                              fault.rule, error.message);
  return error;
}

class BlobInstance final : public TwinInstance {
 public:
  BlobInstance(const OpenOptions& options, IpSets ipsets)
      : TwinInstance(options, std::move(ipsets)),
        table_(family(), net()),
        reader_(&table_) {}

  Result<UpdateCost> Replace(const Ruleset& ruleset) override {
    RETURN_IF_ERROR(CheckFamily(ruleset));
    const Stopwatch watch;
    UpdateCost cost;
    ASSIGN_OR_RETURN(const BlobImage image,
                     LowerBlob(ruleset, {.counters = true}));
    cost.lower_ns = watch.nanoseconds();
    const Stopwatch commit;
    BlobFault fault;
    if (auto loaded = table_.Load(image.bytes, image.counters, &fault);
        !loaded) {
      return tl::unexpected<Error>(
          Locate(std::move(loaded.error()), ruleset, fault));
    }
    cost.commit_ns = commit.nanoseconds();
    path().SetTracking(NeedsTracking(ruleset));
    path().SetNat(ruleset.table(TableKind::kNat) != nullptr);
    cost.wall_ns = watch.nanoseconds();
    cost.bytes_sent =
        image.bytes.size() + image.counters.size() * sizeof(Counters);
    cost.messages = 1;
    return cost;
  }

  Result<UpdateCost> Apply(const Delta& delta) override {
    const Stopwatch watch;
    ASSIGN_OR_RETURN(DumpResult current, Dump());
    for (const Change& change : delta) {
      current.ruleset.EnsureTable(change.table);
    }
    RETURN_IF_ERROR(ApplyDelta(delta, &current.ruleset));
    ASSIGN_OR_RETURN(UpdateCost cost, Replace(current.ruleset));
    cost.bytes_received = current.cost.bytes_received;
    cost.messages += current.cost.messages;
    cost.wall_ns = watch.nanoseconds();
    return cost;
  }

  Result<DumpResult> Dump() override {
    const Stopwatch watch;
    const std::vector<uint8_t> bytes = table_.Bytes();
    const std::vector<Counters> counters = table_.Sum();
    ASSIGN_OR_RETURN(const BlobView view, BlobView::Parse(bytes));
    DumpResult dump;
    ASSIGN_OR_RETURN(dump.ruleset, RaiseBlob(view, counters));
    dump.cost.bytes_received =
        bytes.size() + counters.size() * sizeof(Counters);
    dump.cost.messages = 1;
    dump.cost.wall_ns = watch.nanoseconds();
    return dump;
  }

  Footprint BytesUsed() const override {
    BlobGeneration& generation = table_.generation();
    const BlobProgram& program = generation.program();
    Footprint used;
    used.program_bytes =
        program.size() + program.uses().size() * sizeof(BlobUse);
    used.control_bytes = program.chains().size() * sizeof(BlobChain);
    used.state_bytes =
        generation.state_bytes() + program.counters_count() * sizeof(Counters);
    return used;
  }

  std::string Disassemble() const override {
    const std::vector<uint8_t> bytes = table_.Bytes();
    const auto view = BlobView::Parse(bytes);
    return view ? view->Disassemble() : view.error().ToString();
  }

 private:
  bool HasStage(Stage stage) const override { return reader_.HasStage(stage); }
  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    return reader_.Evaluate(stage, trace(), packet);
  }

  /// All hooks of a packet see one blob.
  void Arrive(const Packet&) override { reader_.Pin(); }
  void Leave() override { reader_.Unpin(); }

  BlobTable table_;
  BlobTable::Reader reader_;
};

class BlobEngineImpl final : public Engine {
 public:
  std::string_view name() const override { return "blob"; }
  EngineKind kind() const override { return EngineKind::kTwin; }
  std::string_view description() const override {
    return "xtables2-style reconstruction: one blob, one atomic swap";
  }
  Status Available() const override { return {}; }

  Status Supports(const Ruleset& ruleset) const override {
    return SupportsExtensions(ruleset);
  }

  Result<std::unique_ptr<Instance>> Open(
      const OpenOptions& options) const override {
    if (options.in_place) {
      return Fail(ErrorCode::kUnsupported,
                  "a twin has no place outside of this program");
    }
    ASSIGN_OR_RETURN(IpSets sets, ReadIpSets(options.ipset_save));
    return std::make_unique<BlobInstance>(options, std::move(sets));
  }
};

}  // namespace

const Engine& BlobEngine() {
  static const BlobEngineImpl engine;
  return engine;
}

}  // namespace nfarena
