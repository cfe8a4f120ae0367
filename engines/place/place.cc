#include "engines/place/place.h"

#include <algorithm>

#include "engines/place/state_file.h"
#include "engines/place/xtables_lock.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

/// What comes back of a rule that is given to the engine's twin, which takes
/// and dumps the same bytes.
Result<Rule> AsTwinShows(const Engine& engine, Family family, TableKind kind,
                         const Chain& chain, const Rule& rule) {
  const auto engines = Engines();
  const auto twin =
      std::find_if(engines.begin(), engines.end(), [&](const Engine* each) {
        return each->checked_against() == engine.name();
      });
  if (twin == engines.end()) return rule;
  Ruleset ruleset{.family = family, .tables = {EmptyTable(kind)}};
  Table& table = ruleset.tables[0];
  for (const std::string& name : {chain.name, rule.target.chain}) {
    if (name.empty() || table.chain(name) != nullptr) continue;
    RETURN_IF_ERROR(table.AddChain(name));
  }
  table.chain(chain.name)->rules = {rule};
  OpenOptions open{.family = family, .topology = {}};
  open.topology.family = family;
  ASSIGN_OR_RETURN(const auto instance, (*twin)->Open(open));
  RETURN_IF_ERROR(instance->Replace(ruleset));
  ASSIGN_OR_RETURN(const DumpResult dump, instance->Dump());
  return dump.ruleset.table(kind)->chain(chain.name)->rules.at(0);
}

class KernelPlace : public RulesetStore {
 public:
  KernelPlace(const Engine& engine, Family family,
              std::unique_ptr<Instance> instance)
      : engine_(engine), family_(family), instance_(std::move(instance)) {}

  Status Lock(int seconds) override { return lock_.Take(seconds); }
  Result<Ruleset> Read() override {
    ASSIGN_OR_RETURN(DumpResult dump, instance_->Dump());
    return std::move(dump.ruleset);
  }
  Rule Shown(TableKind table, const Chain& chain, const Rule& rule) override {
    return AsTwinShows(engine_, family_, table, chain, rule).value_or(rule);
  }
  Status Apply(const Delta& delta) override {
    return instance_->Apply(delta).map([](const UpdateCost&) {});
  }
  Status Replace(const Ruleset& ruleset) override {
    return instance_->Replace(ruleset).map([](const UpdateCost&) {});
  }

 private:
  XtablesLock lock_;
  const Engine& engine_;
  const Family family_;
  std::unique_ptr<Instance> instance_;
};

}  // namespace

Result<std::unique_ptr<RulesetStore>> OpenPlace(const Engine& engine,
                                                const PlaceOptions& options) {
  if (engine.kind() == EngineKind::kTwin) {
    return OpenStateFile(engine, options);
  }
  OpenOptions open{.family = options.family, .topology = {}};
  open.topology.family = options.family;
  open.in_place = true;
  ASSIGN_OR_RETURN(std::unique_ptr<Instance> instance, engine.Open(open));
  return std::unique_ptr<RulesetStore>(std::make_unique<KernelPlace>(
      engine, options.family, std::move(instance)));
}

}  // namespace nfarena
