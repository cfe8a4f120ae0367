#include "engines/legacy/legacy_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include "compat/lower/xt_layout.h"
#include "compat/lower/xt_table.h"
#include "engines/core/ipset_text.h"
#include "engines/core/stopwatch.h"
#include "engines/core/twin_instance.h"
#include "engines/legacy/legacy_table.h"

namespace nfarena {
namespace {

size_t IndexOf(TableKind kind) { return static_cast<size_t>(kind); }

/// Adds the place of the rule that was refused to the error.
Error Locate(Error error, const Table& table, const XtTableImage& image,
             const LegacyFault& fault) {
  if (fault.entry >= image.entries.size()) return error;
  const RuleRef ref = image.entries[fault.entry].rule;
  if (ref.rule == 0 || ref.chain >= table.chains.size()) return error;
  const Rule& rule = table.chains[ref.chain].rules[ref.rule - 1];
  error.place.line = rule.line;
  if (fault.extension < 0) return error;
  const auto number = static_cast<size_t>(fault.extension);
  const Extension& extension = number < rule.matches.size()
                                   ? rule.matches[number]
                                   : rule.target.extension;
  error.place.column = extension.column;
  error.place.text = extension.name;
  error.message =
      fmt::format("{}/{}/{}: {}", TableName(table.kind),
                  table.chains[ref.chain].name, ref.rule, error.message);
  return error;
}

/// struct xt_counters_info with the image's counters; empty when all are zero,
/// because adding nothing is not worth a system call.
std::vector<uint8_t> CountersInfo(TableKind kind,
                                  std::span<const Counters> counters) {
  const bool any =
      std::any_of(counters.begin(), counters.end(),
                  [](const Counters& c) { return c != Counters{}; });
  if (!any) return {};
  xt_counters_info head{};
  std::strncpy(head.name, TableName(kind), sizeof(head.name) - 1);
  head.num_counters = static_cast<uint32_t>(counters.size());
  std::vector<uint8_t> bytes(sizeof(head) +
                             counters.size() * sizeof(xt_counters));
  std::memcpy(bytes.data(), &head, sizeof(head));
  uint8_t* at = bytes.data() + sizeof(head);
  for (const Counters& c : counters) {
    const xt_counters one{c.packets, c.bytes};
    std::memcpy(at, &one, sizeof(one));
    at += sizeof(one);
  }
  return bytes;
}

class LegacyInstance final : public TwinInstance {
 public:
  LegacyInstance(const OpenOptions& options, IpSets ipsets)
      : TwinInstance(options, std::move(ipsets)) {
    for (size_t i = 0; i < kTableKindCount; ++i) {
      tables_[i] = std::make_unique<LegacyTable>(
          family(), static_cast<TableKind>(i), net());
    }
  }

  Result<UpdateCost> Replace(const Ruleset& ruleset) override {
    RETURN_IF_ERROR(CheckFamily(ruleset));
    std::vector<Table> emptied;
    for (size_t i = 0; i < kTableKindCount; ++i) {
      const auto kind = static_cast<TableKind>(i);
      if (in_force_[i] && ruleset.table(kind) == nullptr) {
        emptied.push_back(EmptyTable(kind));
      }
    }
    std::vector<const Table*> wanted;
    for (const Table& table : ruleset.tables) wanted.push_back(&table);
    for (const Table& table : emptied) wanted.push_back(&table);
    UpdateCost cost;
    RETURN_IF_ERROR(PutInForce(wanted, &cost));
    for (const Table& table : emptied) in_force_[IndexOf(table.kind)] = false;
    UpdatePath();
    return cost;
  }

  Result<UpdateCost> Apply(const Delta& delta) override {
    const Stopwatch watch;
    UpdateCost cost;
    Ruleset current{.family = family()};
    for (const Change& change : delta) {
      if (current.table(change.table) != nullptr) continue;
      ASSIGN_OR_RETURN(Table table, ReadTable(change.table, &cost));
      current.tables.push_back(std::move(table));
    }
    RETURN_IF_ERROR(ApplyDelta(delta, &current));
    std::vector<const Table*> wanted;
    for (const Table& table : current.tables) wanted.push_back(&table);
    RETURN_IF_ERROR(PutInForce(wanted, &cost));
    UpdatePath();
    cost.wall_ns = watch.nanoseconds();
    return cost;
  }

  Result<DumpResult> Dump() override {
    const Stopwatch watch;
    DumpResult dump;
    dump.ruleset.family = family();
    for (size_t i = 0; i < kTableKindCount; ++i) {
      if (!in_force_[i]) continue;
      ASSIGN_OR_RETURN(Table table,
                       ReadTable(static_cast<TableKind>(i), &dump.cost));
      dump.ruleset.tables.push_back(std::move(table));
    }
    dump.cost.wall_ns = watch.nanoseconds();
    return dump;
  }

  Footprint BytesUsed() const override {
    Footprint used;
    for (const auto& table : tables_) {
      used.program_bytes += table->program().size();
      used.control_bytes +=
          table->program().uses().size() * sizeof(LegacyExtensionUse);
      const LegacyContext& context = table->context();
      used.state_bytes += context.counters.size() * sizeof(Counters) +
                          context.state.size() * sizeof(uint64_t);
    }
    return used;
  }

  std::string Disassemble() const override {
    std::string out;
    for (size_t i = 0; i < kTableKindCount; ++i) {
      if (!in_force_[i]) continue;
      out += fmt::format("table {}\n", TableName(tables_[i]->kind()));
      out += tables_[i]->program().Disassemble();
    }
    return out;
  }

 private:
  bool HasStage(Stage stage) const override {
    const size_t i = IndexOf(stage.table);
    return in_force_[i] && (tables_[i]->program().valid_hooks() >>
                                static_cast<unsigned>(stage.hook) &
                            1) != 0;
  }

  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    return tables_[IndexOf(stage.table)]->Evaluate(stage.hook, trace(), packet);
  }

  /// Reads one table as libiptc does: GET_INFO, GET_ENTRIES.
  Result<Table> ReadTable(TableKind kind, UpdateCost* cost) const {
    const LegacyTable& table = *tables_[IndexOf(kind)];
    const LegacyInfo info = table.Info();
    ASSIGN_OR_RETURN(const std::vector<uint8_t> entries,
                     table.GetEntries(info.size));
    cost->messages += 2;
    cost->bytes_received +=
        sizeof(ipt_getinfo) + sizeof(ipt_get_entries) + entries.size();
    return RaiseXtTable(family(), kind, entries, info.hook_entry,
                        info.underflow, info.valid_hooks, {});
  }

  struct Pending {
    LegacyTable* table;
    LegacyReplacement next;
    std::vector<uint8_t> counters;
    bool needs_tracking;
  };

  /// Lowers and translates one table; nothing is changed yet.
  Result<Pending> Prepare(const Table& table, UpdateCost* cost) {
    const Stopwatch watch;
    ASSIGN_OR_RETURN(XtTableImage image, LowerXtTable(family(), table));
    LegacyTable& current = *tables_[IndexOf(table.kind)];
    ipt_replace head;
    std::memcpy(&head, image.replace.data(), sizeof(head));
    head.num_counters = current.Info().num_entries;
    std::memcpy(image.replace.data(), &head, sizeof(head));
    Pending pending{.table = &current,
                    .counters = CountersInfo(table.kind, image.counters)};
    cost->lower_ns += watch.nanoseconds();

    const Stopwatch sent;
    LegacyFault fault;
    auto next = current.Translate(image.replace, &fault);
    cost->commit_ns += sent.nanoseconds();
    if (!next) {
      return tl::unexpected<Error>(
          Locate(std::move(next.error()), table, image, fault));
    }
    pending.next = std::move(*next);
    cost->bytes_sent += image.replace.size() + pending.counters.size();
    cost->messages += pending.counters.empty() ? 1 : 2;
    return pending;
  }

  /// Replaces all `wanted` tables or none.
  Status PutInForce(std::span<const Table* const> wanted, UpdateCost* cost) {
    const Stopwatch watch;
    std::vector<Pending> pending;
    for (const Table* table : wanted) {
      ASSIGN_OR_RETURN(Pending one, Prepare(*table, cost));
      RETURN_IF_ERROR(one.table->CheckCounters(one.next));
      one.needs_tracking =
          NeedsTracking(Ruleset{.family = family(), .tables = {*table}});
      pending.push_back(std::move(one));
    }
    const Stopwatch commit;
    for (Pending& one : pending) {
      one.table->Commit(std::move(one.next));
      if (!one.counters.empty()) {
        RETURN_IF_ERROR(one.table->AddCounters(one.counters));
      }
      const size_t i = IndexOf(one.table->kind());
      in_force_[i] = true;
      needs_tracking_[i] = one.needs_tracking;
    }
    cost->commit_ns += commit.nanoseconds();
    cost->wall_ns += watch.nanoseconds();
    return {};
  }

  void UpdatePath() {
    bool tracking = false;
    for (size_t i = 0; i < kTableKindCount; ++i) {
      tracking |= in_force_[i] && needs_tracking_[i];
    }
    path().SetTracking(tracking);
    path().SetNat(in_force_[IndexOf(TableKind::kNat)]);
  }

  std::array<std::unique_ptr<LegacyTable>, kTableKindCount> tables_;
  /// Tables that a ruleset named; the others are not even registered, so they
  /// judge and trace nothing.
  std::array<bool, kTableKindCount> in_force_{};
  std::array<bool, kTableKindCount> needs_tracking_{};
};

class LegacyEngineImpl final : public Engine {
 public:
  std::string_view name() const override { return "legacy"; }
  EngineKind kind() const override { return EngineKind::kTwin; }
  std::string_view description() const override {
    return "twin of ip_tables: the SET_REPLACE blob, walked in place";
  }
  std::string_view checked_against() const override { return "kernel-legacy"; }
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
    return std::make_unique<LegacyInstance>(options, std::move(sets));
  }
};

}  // namespace

const Engine& LegacyEngine() {
  static const LegacyEngineImpl engine;
  return engine;
}

}  // namespace nfarena
