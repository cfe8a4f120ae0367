// upstream: the test files of an iptables source tree, on our engines.
#include <fmt/format.h>
#include <sched.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "bench/upstream/upstream_run.h"
#include "ci/nfarena/cli.h"
#include "compat/command/memory_store.h"
#include "engines/place/place.h"
#include "engines/registry.h"

namespace nfarena::cli {
namespace {

/// No engine: our parser and printer alone.
constexpr std::string_view kParser = "parser";

struct Options {
  std::string tree;
  std::string engine;
  bool ipv6 = false;
  bool json = false;
};

/// The store of each file, in a namespace of its own: the rules of one must not
/// be in the way of another, and its shell commands must not leave it.
Result<std::unique_ptr<RulesetStore>> OpenStore(const Engine& engine,
                                                Family family) {
  if (unshare(CLONE_NEWNET) != 0) return FailErrno("network namespace");
  return OpenPlace(engine, {.family = family, .state_directory = ""});
}

Result<ExitCode> Run(const Options& options) {
  UpstreamOptions run{.family = options.ipv6 ? Family::kIpv6 : Family::kIpv4};
  if (options.engine == kParser) {
    run.judges_refusals = false;
    run.open = [&run]() -> Result<std::unique_ptr<RulesetStore>> {
      return std::make_unique<MemoryStore>(run.family);
    };
  } else {
    ASSIGN_OR_RETURN(const Engine* engine, FindEngine(options.engine));
    run.nft = options.engine.find("nft") != std::string::npos ||
              options.engine.starts_with("vm");
    run.open = [&run, engine] { return OpenStore(*engine, run.family); };
    run.through_compat = [engine](const Ruleset& ruleset) {
      return !engine->Notes(ruleset).empty();
    };
  }
  if (isatty(STDERR_FILENO) != 0) {
    run.progress = [](size_t done, size_t all) {
      Say(fmt::format("\r{} of {} files{}", done, all,
                      done == all ? "\n" : ""));
    };
  }
  ASSIGN_OR_RETURN(const UpstreamReport report,
                   RunUpstreamTests(options.tree, run));
  if (options.json) {
    nlohmann::json shortfalls = nlohmann::json::array();
    for (const UpstreamShortfall& each : report.shortfalls) {
      shortfalls.push_back({{"file", each.file},
                            {"line", each.line},
                            {"text", each.text},
                            {"reason", each.reason}});
    }
    RETURN_IF_ERROR(PrintJson({{"engine", options.engine},
                               {"family", options.ipv6 ? "ipv6" : "ipv4"},
                               {"lines", report.lines},
                               {"passed", report.passed},
                               {"native", report.native},
                               {"compat", report.compat},
                               {"shortfalls", shortfalls}}));
  } else {
    std::string text;
    for (const UpstreamShortfall& each : report.shortfalls) {
      text += fmt::format("{}:{}: {}\n    {}\n", each.file, each.line,
                          each.text, each.reason);
    }
    text += fmt::format(
        "{}: {} of {} lines passed; of those that load, {} as they are, {} "
        "through nft_compat\n",
        options.engine, report.passed, report.lines, report.native,
        report.compat);
    RETURN_IF_ERROR(Print(text));
  }
  return report.shortfalls.empty() ? kExitOk : kExitDifference;
}

}  // namespace

void AddUpstreamCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "upstream", "run the test files of an iptables source tree");
  auto options = std::make_shared<Options>();
  command->add_option("DIR", options->tree, "an extracted source tree")
      ->required()
      ->type_name("");
  command
      ->add_option("--engine", options->engine,
                   "the engine, or \"parser\" for none")
      ->required();
  command->add_flag("-6,--ipv6", options->ipv6,
                    "the files of ip6tables (libip6t_*.t)");
  command->add_flag("--json", options->json, "the result as an object");
  command->footer(
      "Each line of extensions/*.t is added, looked for in what save shows, "
      "and\n"
      "deleted, in a network namespace that is gone afterwards. Exit status 0\n"
      "when all lines do what the file says. With --engine parser only lines "
      "that\n"
      "must load are judged.\n\nExamples:\n"
      "  apt-get source iptables\n"
      "  nfarena upstream iptables-1.8.9 --engine kernel-legacy\n"
      "  nfarena upstream iptables-1.8.9 --engine kernel-nft -6 --json");
  command->callback([=] {
    const auto code = Run(*options);
    *exit_code = code ? *code : Complain(code.error());
  });
}

}  // namespace nfarena::cli
