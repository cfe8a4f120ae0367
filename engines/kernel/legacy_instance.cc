#include "engines/kernel/legacy_instance.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "compat/lower/xt_table.h"
#include "compat/syntax/save_printer.h"
#include "engines/core/stopwatch.h"
#include "engines/kernel/host.h"
#include "engines/kernel/refusal.h"
#include "engines/kernel/xt_apply.h"
#include "engines/kernel/xt_transport.h"

namespace nfarena::kernel {
namespace {

class LegacyInstance : public Instance {
 public:
  /// `host` null: in place.
  LegacyInstance(std::unique_ptr<Host> host, Namespace ns, XtSocket socket)
      : host_(std::move(host)),
        ns_(std::move(ns)),
        socket_(std::move(socket)) {}

  Result<UpdateCost> Replace(const Ruleset& ruleset) override {
    if (ruleset.family != socket_.family()) {
      return Fail(ErrorCode::kInternal, "the ruleset is of the other family");
    }
    if (host_ != nullptr) RETURN_IF_ERROR(host_->Expect(ruleset));
    const Stopwatch all;
    UpdateCost cost;
    std::vector<XtTableImage> images;
    {
      const Stopwatch watch;
      for (const Table& table : ruleset.tables) {
        ASSIGN_OR_RETURN(XtTableImage image,
                         LowerXtTable(ruleset.family, table));
        images.push_back(std::move(image));
      }
      RETURN_IF_ERROR(AddEmptied(ruleset, &images));
      cost.lower_ns = watch.nanoseconds();
    }
    size_t failed = 0;
    Status status = ReplaceTables(socket_, std::move(images), &cost, &failed);
    if (!status) {
      if (failed < ruleset.tables.size()) {
        return tl::unexpected(ExplainXtRefusal(
            ruleset.family, ruleset.tables[failed], std::move(status).error()));
      }
      return tl::unexpected(std::move(status).error());
    }
    cost.wall_ns = all.nanoseconds();
    for (const Table& table : ruleset.tables) made_.insert(table.kind);
    index_.reset();
    return cost;
  }

  Result<UpdateCost> Apply(const Delta& delta) override {
    if (host_ != nullptr) RETURN_IF_ERROR(host_->Expect(delta));
    UpdateCost cost;
    {
      ASSIGN_OR_RETURN(const auto scope, NamespaceScope::Enter(ns_));
      const Stopwatch all;
      RETURN_IF_ERROR(ApplyXtDelta(socket_, delta, &cost));
      cost.wall_ns = all.nanoseconds();
      cost.lower_ns = cost.wall_ns - cost.commit_ns;
    }
    for (const Change& change : delta) made_.insert(change.table);
    index_.reset();
    return cost;
  }

  Result<DumpResult> Dump() override {
    ASSIGN_OR_RETURN(const auto tables, Tables());
    DumpResult result;
    const Stopwatch all;
    ASSIGN_OR_RETURN(result.ruleset, ReadTables(socket_, tables, &result.cost));
    result.cost.wall_ns = all.nanoseconds();
    result.cost.lower_ns = result.cost.wall_ns - result.cost.commit_ns;
    return result;
  }

  Status Classify(std::span<const Packet> packets, std::span<Outcome> outcomes,
                  const ClassifyOptions& options) override {
    if (host_ == nullptr) return InPlace();
    if (!index_) {
      // Read back rather than copied at each update: most updates are not
      // followed by packets, and what the kernel has is what traces speak of.
      ASSIGN_OR_RETURN(
          in_force_,
          ReadTables(socket_, std::vector(made_.begin(), made_.end()),
                     nullptr));
      index_.emplace(&in_force_);
    }
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

  Footprint BytesUsed() const override {
    Footprint footprint;
    const auto tables = Tables();
    if (!tables) return footprint;
    const long cpus = std::max(1L, sysconf(_SC_NPROCESSORS_CONF));
    for (const TableKind kind : *tables) {
      const auto info = socket_.Info(kind);
      if (!info) continue;
      footprint.program_bytes += info->size;
      // Two 64-bit counters a rule and processor (xt_percpu_counter_alloc).
      footprint.state_bytes +=
          uint64_t{16} * info->num_entries * static_cast<uint64_t>(cpus);
    }
    return footprint;
  }

  std::string Disassemble() const override {
    const auto tables = Tables();
    if (!tables) return tables.error().ToString();
    std::string text;
    for (const TableKind kind : *tables) {
      auto snapshot = socket_.Read(kind);
      if (!snapshot) return text + snapshot.error().ToString();
      text += Listing(kind, *snapshot);
    }
    return text;
  }

 private:
  static Status InPlace() {
    return Fail(ErrorCode::kUnsupported,
                "packets are judged in a private namespace only, not in place");
  }

  /// The tables there are, looked for in the right namespace.
  Result<std::vector<TableKind>> Tables() const {
    ASSIGN_OR_RETURN(const auto scope, NamespaceScope::Enter(ns_));
    return socket_.ExistingTables();
  }

  /// Tables in force that the next ruleset does not name.  In place they are
  /// somebody's and stay, as with iptables-restore.
  Status AddEmptied(const Ruleset& ruleset,
                    std::vector<XtTableImage>* images) const {
    if (host_ == nullptr) return {};
    for (const TableKind kind : made_) {
      if (ruleset.table(kind) != nullptr) continue;
      ASSIGN_OR_RETURN(XtTableImage image,
                       LowerXtTable(ruleset.family, EmptyTable(kind)));
      images->push_back(std::move(image));
    }
    return {};
  }

  std::string Listing(TableKind kind, const XtSnapshot& snapshot) const {
    std::string text =
        fmt::format("table {}: {} entries, {} bytes\n", TableName(kind),
                    snapshot.info.num_entries, snapshot.info.size);
    for (size_t hook = 0; hook < kHookCount; ++hook) {
      if ((snapshot.info.valid_hooks & (1u << hook)) == 0) continue;
      text += fmt::format("  {} begins at {}, policy at {}\n",
                          HookChainName(static_cast<Hook>(hook)),
                          snapshot.info.hook_entry[hook],
                          snapshot.info.underflow[hook]);
    }
    const auto table = RaiseXtTable(
        socket_.family(), kind, snapshot.entries, snapshot.info.hook_entry,
        snapshot.info.underflow, snapshot.info.valid_hooks, {});
    if (!table) return text + "  " + table.error().ToString() + '\n';
    const auto image = LowerXtTable(socket_.family(), *table);
    if (!image) return text + "  " + image.error().ToString() + '\n';
    for (const XtEntryRef& entry : image->entries) {
      text += fmt::format("  {:>8}  ", entry.offset);
      if (entry.head) {
        text += "ERROR\n";
        continue;
      }
      const Chain& chain = table->chains[entry.rule.chain];
      if (entry.rule.rule == 0) {
        text += fmt::format("end of {}\n", chain.name);
      } else {
        text += PrintRule(socket_.family(), chain.name,
                          chain.rules[entry.rule.rule - 1]) +
                '\n';
      }
    }
    return text;
  }

  std::unique_ptr<Host> host_;
  Namespace ns_;
  XtSocket socket_;
  std::set<TableKind> made_;  // the tables that exist because of this instance
  Ruleset in_force_;          // what index_ speaks of
  std::optional<RuleIndex> index_;
};

}  // namespace

Result<std::unique_ptr<Instance>> OpenLegacy(const OpenOptions& options) {
  std::unique_ptr<Host> host;
  if (!options.in_place) {
    ASSIGN_OR_RETURN(host, Host::Create(options));
  }
  ASSIGN_OR_RETURN(Namespace here, Namespace::Current());
  // The instance keeps the namespace by a descriptor of its own.
  const auto scope = NamespaceScope::Enter(host ? host->ns() : here);
  if (!scope) return tl::unexpected(scope.error());
  ASSIGN_OR_RETURN(Namespace ns, Namespace::Current());
  ASSIGN_OR_RETURN(XtSocket socket, XtSocket::Open(options.family));
  return std::unique_ptr<Instance>(
      new LegacyInstance(std::move(host), std::move(ns), std::move(socket)));
}

}  // namespace nfarena::kernel
