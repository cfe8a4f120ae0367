#include <fmt/color.h>
#include <fmt/format.h>
#include <unistd.h>

#include <map>
#include <nlohmann/json.hpp>

#include "bench/correctness/check.h"
#include "ci/nfarena/cli.h"
#include "engines/registry.h"

namespace nfarena::cli {
namespace {

struct Options {
  std::vector<std::string> engines;
  std::string base = "reference";
  RulesetOptions ruleset;
  CheckOptions check;
  bool all = false;
  bool json = false;
};

/// Of a line that is too long to be one, the head is enough.
std::string Shortened(std::string_view line) {
  constexpr size_t kShown = 300;
  if (line.size() <= kShown) return std::string(line);
  return std::string(line.substr(0, kShown)) + "...";
}

/// A text that does not parse is refused on every engine, at its line.
CheckReport RefusedByParser(const Error& error, std::string_view line,
                            std::span<const Engine* const> engines) {
  CheckReport report;
  for (const Engine* engine : engines) {
    report.rules.push_back({.rule = {},
                            .line = error.place.line,
                            .column = error.place.column,
                            .text = Shortened(line),
                            .engine = std::string(engine->name()),
                            .verdict = RuleVerdict::kRefused,
                            .reason = error.message});
    report.engines.push_back(
        {.engine = std::string(engine->name()), .not_run = error.ToString()});
  }
  return report;
}

std::map<std::string, uint64_t> Count(const CheckReport& report) {
  std::map<std::string, uint64_t> counts{
      {"same", 0}, {"compat", 0}, {"differs", 0}, {"refused", 0}};
  for (const CheckedRule& rule : report.rules) {
    ++counts[RuleVerdictName(rule.verdict)];
  }
  return counts;
}

nlohmann::json ReportJson(const CheckReport& report) {
  nlohmann::json json;
  auto& rules = json["rules"] = nlohmann::json::array();
  for (const CheckedRule& rule : report.rules) {
    rules.push_back({{"line", rule.line},
                     {"column", rule.column},
                     {"text", rule.text},
                     {"engine", rule.engine},
                     {"verdict", RuleVerdictName(rule.verdict)},
                     {"reason", rule.reason}});
  }
  json["summary"] = Count(report);
  auto& engines = json["engines"] = nlohmann::json::array();
  for (const CheckedEngine& engine : report.engines) {
    engines.push_back({{"engine", engine.engine},
                       {"not_run", engine.not_run},
                       {"base", engine.base},
                       {"compared", engine.compared},
                       {"indeterminate", engine.indeterminate}});
  }
  return json;
}

fmt::text_style Style(RuleVerdict verdict) {
  switch (verdict) {
    case RuleVerdict::kSame:
      return fmt::fg(fmt::terminal_color::green);
    case RuleVerdict::kCompat:
      return fmt::fg(fmt::terminal_color::cyan);
    case RuleVerdict::kDiffers:
      return fmt::fg(fmt::terminal_color::red);
    case RuleVerdict::kRefused:
      return fmt::fg(fmt::terminal_color::yellow);
  }
  return {};
}

std::string ReportText(const Options& options, const CheckReport& report) {
  const bool colour = isatty(STDOUT_FILENO) == 1;
  std::string text;
  for (const CheckedRule& rule : report.rules) {
    if (rule.verdict == RuleVerdict::kSame && !options.all) continue;
    const char* name = RuleVerdictName(rule.verdict);
    text += fmt::format("{}:{}:{} {}: {}", options.ruleset.path, rule.line,
                        rule.column != 0 ? fmt::format("{}:", rule.column) : "",
                        rule.engine,
                        colour ? fmt::format(Style(rule.verdict), "{}", name)
                               : std::string(name));
    if (!rule.reason.empty()) text += ": " + rule.reason;
    text += fmt::format("\n    {}\n", rule.text);
  }
  for (const CheckedEngine& engine : report.engines) {
    if (!engine.not_run.empty()) {
      text +=
          fmt::format("{}: not compared: {}\n", engine.engine, engine.not_run);
    } else if (engine.compared != 0) {
      text += fmt::format("{}: {} outcomes compared, {} left to chance\n",
                          engine.engine, engine.compared, engine.indeterminate);
    }
  }
  const auto counts = Count(report);
  return text + fmt::format("{} same, {} compat, {} differ, {} refused\n",
                            counts.at("same"), counts.at("compat"),
                            counts.at("differs"), counts.at("refused"));
}

Result<ExitCode> Run(const Options& options) {
  std::vector<const Engine*> engines;
  for (const std::string& name : options.engines) {
    ASSIGN_OR_RETURN(const Engine* engine, FindEngine(name));
    engines.push_back(engine);
  }
  if (engines.empty()) {
    for (const Engine* engine : Engines()) {
      if (engine->Available()) engines.push_back(engine);
    }
  }
  ASSIGN_OR_RETURN(const Engine* base, FindEngine(options.base));
  // What only a kernel knows the meaning of is compared with the older one.
  ASSIGN_OR_RETURN(const Engine* kernel, FindEngine("kernel-legacy"));
  std::vector<const Engine*> bases{base};
  if (kernel != base) bases.push_back(kernel);

  CheckReport report;
  LoadedRuleset loaded, unparsed;
  if (auto parsed = LoadRuleset(options.ruleset, nullptr, true, &unparsed)) {
    loaded = std::move(*parsed);
    ASSIGN_OR_RETURN(report, CheckRuleset(loaded.ruleset, loaded.ipset_save,
                                          loaded.KnownSetsOrNull(), bases,
                                          engines, options.check));
  } else {
    const Error& error = parsed.error();
    // Without a line it was not the text that is at fault.
    if (error.place.line == 0) return tl::unexpected(error);
    if (!options.json) (void)Complain(error);
    report = RefusedByParser(error, unparsed.Line(error.place.line), engines);
  }
  RETURN_IF_ERROR(options.json ? PrintJson(ReportJson(report))
                               : Print(ReportText(options, report)));
  const auto counts = Count(report);
  const bool compared =
      std::all_of(report.engines.begin(), report.engines.end(),
                  [](const CheckedEngine& e) { return e.not_run.empty(); });
  return counts.at("differs") + counts.at("refused") != 0 || !compared
             ? kExitDifference
             : kExitOk;
}

}  // namespace

void AddCheckCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "check",
      "does a ruleset keep its meaning? one verdict a rule and engine");
  auto options = std::make_shared<Options>();
  command
      ->add_option("--engine", options->engines,
                   "may be repeated; default: every engine that is "
                   "available")
      ->type_name("NAME")
      ->check(EngineName());
  command
      ->add_option("--base", options->base, "the engine whose meaning counts")
      ->type_name("NAME")
      ->capture_default_str()
      ->check(EngineName());
  AddRulesetOptions(command, &options->ruleset, true);
  command
      ->add_option("--packets-count", options->check.packets_count,
                   "packets aimed at the rules; 0 = only what engines state")
      ->capture_default_str();
  command->add_option("--seed", options->check.seed, "seed of the packets")
      ->capture_default_str();
  command->add_flag("--all", options->all, "print the rules that are the same");
  command->add_flag("--json", options->json, "rules and summary as an object");
  command->footer(
      "Verdicts: same; compat (kept through nft_compat, with the reason);\n"
      "differs (with a packet that shows it); refused (construct, line,\n"
      "column). Exit status 1 when something differs or is refused.\n\n"
      "Examples:\n"
      "  nfarena check --engine kernel-nft rules.v4\n"
      "  iptables-save | nfarena check --json -");
  command->callback([=] {
    const auto code = Run(*options);
    *exit_code = code ? *code : Complain(code.error());
  });
}

}  // namespace nfarena::cli
