// restore and save: the counterparts of iptables-restore and iptables-save.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "ci/nfarena/cli.h"
#include "compat/syntax/listing_printer.h"
#include "engines/core/listing.h"
#include "engines/registry.h"

namespace nfarena::cli {
namespace {

struct Options {
  std::string engine;
  RulesetOptions ruleset;
  bool in_place = false;
  bool noflush = false;
  bool counters = false;
  bool test = false;
  bool json = false;
  std::string table;  // save: only this one
};

Result<std::unique_ptr<Instance>> Open(const Engine& engine, Family family,
                                       const std::string& ipset_save,
                                       bool in_place) {
  // What an instance of its own needs, devices for packets among it, is not
  // needed to load rules where others live.
  if (!in_place) RETURN_IF_ERROR(engine.Available());
  if (in_place && engine.kind() != EngineKind::kKernel) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("--in-place is for kernel engines; {} is a twin",
                            engine.name()));
  }
  OpenOptions open{.family = family, .topology = {}};
  open.topology.family = family;
  open.ipset_save = ipset_save;
  open.in_place = in_place;
  return engine.Open(open);
}

/// In place there is whatever others made; else only what was loaded.
Result<Listing> List(Instance* instance, bool in_place) {
  auto* listable = in_place ? dynamic_cast<Listable*>(instance) : nullptr;
  if (listable != nullptr) return listable->List();
  ASSIGN_OR_RETURN(DumpResult dump, instance->Dump());
  return Listing{std::move(dump.ruleset), {}};
}

Result<ExitCode> Restore(const Options& options) {
  ASSIGN_OR_RETURN(const Engine* engine, FindEngine(options.engine));
  std::unique_ptr<Instance> instance;
  Ruleset base;
  if (options.noflush) {
    // What is there already is what the text is added to.
    const Family family = options.ruleset.ipv6 ? Family::kIpv6 : Family::kIpv4;
    ASSIGN_OR_RETURN(instance, Open(*engine, family, "", options.in_place));
    ASSIGN_OR_RETURN(Listing listing, List(instance.get(), options.in_place));
    // What is added to is written anew, and must not lose anything.
    for (const Remark& remark : listing.remarks) {
      // A table of somebody else's stays as it is.
      if (!remark.table || !remark.left_out) continue;
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("table {} holds what iptables cannot write: {}",
                              TableName(*remark.table), remark.text));
    }
    base = std::move(listing.ruleset);
  }
  ASSIGN_OR_RETURN(
      LoadedRuleset loaded,
      LoadRuleset(options.ruleset, options.noflush ? &base : nullptr,
                  options.counters));
  if (options.test) {
    // Else not asked: loading lowers the ruleset, which says the same.
    RETURN_IF_ERROR(engine->Supports(loaded.ruleset));
    return kExitOk;
  }
  if (instance == nullptr) {
    ASSIGN_OR_RETURN(instance, Open(*engine, loaded.ruleset.family,
                                    loaded.ipset_save, options.in_place));
  }
  const size_t rules_count = loaded.ruleset.rules_count();
  ASSIGN_OR_RETURN(const UpdateCost cost,
                   instance->Adopt(std::move(loaded.ruleset)));
  if (options.json) {
    RETURN_IF_ERROR(PrintJson({{"engine", options.engine},
                               {"rules", rules_count},
                               {"wall_ns", cost.wall_ns},
                               {"lower_ns", cost.lower_ns},
                               {"commit_ns", cost.commit_ns},
                               {"bytes_sent", cost.bytes_sent},
                               {"bytes_received", cost.bytes_received},
                               {"messages", cost.messages}}));
  } else if (!options.in_place) {
    RETURN_IF_ERROR(Print(fmt::format(
        "{}: {} rules loaded in {} (lowering {}, commit {}), {} bytes sent, "
        "{} received, {} messages\n",
        options.engine, rules_count, Duration(cost.wall_ns),
        Duration(cost.lower_ns), Duration(cost.commit_ns), cost.bytes_sent,
        cost.bytes_received, cost.messages)));
  }
  return kExitOk;
}

Result<ExitCode> Save(const Options& options) {
  ASSIGN_OR_RETURN(const Engine* engine, FindEngine(options.engine));
  std::optional<TableKind> only;
  if (!options.table.empty()) only = TableKindFromName(options.table);
  LoadedRuleset loaded;
  loaded.ruleset.family = options.ruleset.ipv6 ? Family::kIpv6 : Family::kIpv4;
  const bool load = !options.ruleset.path.empty();
  if (load) {
    ASSIGN_OR_RETURN(loaded, LoadRuleset(options.ruleset));
    RETURN_IF_ERROR(engine->Supports(loaded.ruleset));
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<Instance> instance,
                   Open(*engine, loaded.ruleset.family, loaded.ipset_save,
                        options.in_place));
  if (load) RETURN_IF_ERROR(instance->Replace(loaded.ruleset));
  ASSIGN_OR_RETURN(Listing listing, List(instance.get(), options.in_place));
  if (only) {
    std::erase_if(listing.ruleset.tables,
                  [&](const Table& t) { return t.kind != *only; });
    std::erase_if(listing.remarks,
                  [&](const Remark& r) { return r.table != only; });
  }
  RETURN_IF_ERROR(Print(PrintListing(
      listing.ruleset, listing.remarks,
      {.counters = options.counters, .sets = loaded.KnownSetsOrNull()})));
  return kExitOk;
}

void SetCallback(CLI::App* command, std::shared_ptr<Options> options,
                 Result<ExitCode> (*run)(const Options&), int* exit_code) {
  command->callback([=] {
    const auto code = run(*options);
    *exit_code =
        code ? *code : Complain(InFile(code.error(), options->ruleset.path));
  });
}

}  // namespace

void AddRestoreCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "restore", "load a ruleset into an engine, and say what that cost");
  auto options = std::make_shared<Options>();
  command->add_option("--engine", options->engine, "the engine")
      ->required()
      ->type_name("NAME")
      ->check(EngineName());
  AddRulesetOptions(command, &options->ruleset, true);
  command->add_flag("--in-place", options->in_place,
                    "kernel engines: act on the network namespace this is "
                    "called in, as iptables-restore does");
  command->add_flag("-n,--noflush", options->noflush,
                    "keep what is there and add to it");
  command->add_flag("-c,--counters", options->counters,
                    "restore the packet and byte counters");
  command->add_flag("--test", options->test, "parse and check, load nothing");
  command->add_flag("--json", options->json, "the cost as an object");
  command->footer(
      "Without --in-place the ruleset is loaded into a namespace of its own\n"
      "that is gone afterwards.\n\nExamples:\n"
      "  nfarena restore --engine kernel-nft rules.v4\n"
      "  iptables-save | nfarena restore --engine blob --json -");
  SetCallback(command, options, Restore, exit_code);
}

void AddSaveCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "save", "print what is in force in an engine as iptables-save text");
  auto options = std::make_shared<Options>();
  command->add_option("--engine", options->engine, "the engine")
      ->required()
      ->type_name("NAME")
      ->check(EngineName());
  AddRulesetOptions(command, &options->ruleset, true);
  command->get_option("FILE")->required(false);
  command->add_flag("--in-place", options->in_place,
                    "kernel engines: the network namespace this is called in");
  command->add_option("-t,--table", options->table, "only this table")
      ->type_name("NAME")
      ->check(CLI::IsMember({"filter", "nat", "mangle", "raw", "security"}));
  command->add_flag("-c,--counters", options->counters,
                    "with the packet and byte counters of each rule");
  command->footer(
      "With FILE it is loaded first: what comes out is what the engine made\n"
      "of it.\n\nExamples:\n"
      "  nfarena save --engine kernel-legacy --in-place\n"
      "  nfarena save --engine vm rules.v4 | diff rules.v4 -");
  SetCallback(command, options, Save, exit_code);
}

}  // namespace nfarena::cli
