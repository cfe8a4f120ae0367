#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "bench/correctness/differential.h"
#include "bench/correctness/run_json.h"
#include "ci/nfarena/cli.h"
#include "engines/registry.h"

namespace nfarena::cli {
namespace {

struct Options {
  std::vector<std::string> engines;
  RulesetOptions ruleset;
  PacketOptions packets;
  uint64_t differences_kept = 5;
  bool json = false;
};

nlohmann::json ReportJson(const DifferentialReport& report) {
  nlohmann::json json{{"compared", report.compared},
                      {"indeterminate", report.indeterminate},
                      {"differences_count", report.differences_count},
                      {"rules", report.rules_count},
                      {"rules_hit", report.rules_hit}};
  auto& differences = json["differences"] = nlohmann::json::array();
  for (const Difference& d : report.differences) {
    differences.push_back({{"base", d.base},
                           {"engine", d.engine},
                           {"packet", d.packet},
                           {"what", d.what},
                           {"packets", d.packets}});
  }
  auto& unsupported = json["unsupported"] = nlohmann::json::array();
  auto& engines = json["engines"] = nlohmann::json::array();
  for (const EngineRun& run : report.runs) {
    engines.push_back(RunJson(run));
    if (run.state == RunState::kUnsupported) {
      unsupported.push_back({{"engine", run.engine}, {"reason", run.reason}});
    }
  }
  return json;
}

std::string ReportText(const DifferentialCase& c,
                       const DifferentialReport& report) {
  std::string text;
  for (const Difference& d : report.differences) text += d.ToString(c) + "\n";
  for (const EngineRun& run : report.runs) {
    if (run.state != RunState::kRan) {
      text += fmt::format("{}: {}: {}\n", run.engine, RunStateName(run.state),
                          run.reason);
    }
  }
  text += fmt::format(
      "{} outcomes compared, {} differences, {} left to chance or the clock; "
      "{} of {} rules hit\n",
      report.compared, report.differences_count, report.indeterminate,
      report.rules_hit, report.rules_count);
  return text;
}

/// A text that does not parse is refused on every engine: the form is kept.
DifferentialReport RefusedByParser(const Error& error,
                                   std::span<const Engine* const> engines) {
  DifferentialReport report;
  for (const Engine* engine : engines) {
    report.runs.push_back({.engine = std::string(engine->name()),
                           .state = RunState::kUnsupported,
                           .reason = error.ToString(),
                           .error = error});
  }
  return report;
}

/// A refusal or difference is 1; an engine the host cannot run is 3.
ExitCode CodeOf(const DifferentialReport& report) {
  ExitCode code = kExitOk;
  for (const EngineRun& run : report.runs) {
    if (run.state == RunState::kUnavailable) return kExitEnvironment;
    if (run.state != RunState::kRan) code = kExitDifference;
  }
  return report.differences_count != 0 ? kExitDifference : code;
}

Result<ExitCode> Run(const Options& options) {
  std::vector<const Engine*> engines;
  for (const std::string& name : options.engines) {
    ASSIGN_OR_RETURN(const Engine* engine, FindEngine(name));
    engines.push_back(engine);
  }
  auto parsed = LoadRuleset(options.ruleset);
  if (!parsed) {
    // Without a line it was not the text that is at fault.
    if (options.json && parsed.error().place.line != 0) {
      RETURN_IF_ERROR(
          PrintJson(ReportJson(RefusedByParser(parsed.error(), engines))));
    }
    return tl::unexpected(std::move(parsed).error());
  }
  const LoadedRuleset& loaded = *parsed;
  ASSIGN_OR_RETURN(const Engine* chance, FindEngine("reference"));
  ASSIGN_OR_RETURN(const std::vector<Packet> packets,
                   LoadPackets(options.packets, loaded.ruleset));
  const DifferentialCase c{.id = options.ruleset.path,
                           .ruleset = &loaded.ruleset,
                           .ruleset_path = options.ruleset.path,
                           .packets = packets,
                           .ipset_save = loaded.ipset_save};
  ASSIGN_OR_RETURN(
      const DifferentialReport report,
      RunDifferential(
          c, engines,
          {.differences_kept = options.differences_kept, .chance = chance}));
  RETURN_IF_ERROR(options.json ? PrintJson(ReportJson(report))
                               : Print(ReportText(c, report)));
  return CodeOf(report);
}

}  // namespace

void AddDiffCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "diff", "one ruleset, the same packets, several engines: compare");
  auto options = std::make_shared<Options>();
  command
      ->add_option("--engines", options->engines,
                   "the first is the one the others are compared with")
      ->delimiter(',')
      ->required()
      ->check(EngineName())
      ->type_name("A,B[,...]");
  AddRulesetOptions(command, &options->ruleset, false);
  AddPacketOptions(command, &options->packets);
  command
      ->add_option("--max-differences", options->differences_kept,
                   "how many differences are shown")
      ->capture_default_str();
  command->add_flag("--json", options->json, "the result as an object");
  command->footer(
      "Exit status 0: all outcomes are equal; 1: the first differences are\n"
      "printed with what repeats them alone, or an engine refused the "
      "ruleset.\n\nExamples:\n"
      "  nfarena diff --engines legacy,kernel-legacy --ruleset rules.v4\n"
      "  nfarena diff --engines reference,vm,kernel-nft --ruleset rules.v4 "
      "--packets auto:20000 --seed 7\n"
      "  nfarena diff --engines kernel-legacy,kernel-nft --ruleset rules.v4 "
      "--packets firewall.log");
  command->callback([=] {
    if (options->engines.size() < 2) {
      throw CLI::ValidationError("--engines", "takes at least two");
    }
    const auto code = Run(*options);
    *exit_code = code ? *code : Complain(code.error());
  });
}

}  // namespace nfarena::cli
