#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "ci/nfarena/cli.h"
#include "engines/registry.h"

namespace nfarena::cli {
namespace {

ExitCode RunEngines(bool json) {
  nlohmann::json list = nlohmann::json::array();
  std::string text;
  for (const Engine* engine : Engines()) {
    const Status available = engine->Available();
    const std::string reason = available ? "" : available.error().message;
    list.push_back(
        {{"name", engine->name()},
         {"available", available.has_value()},
         {"reason", reason},
         {"kind", engine->kind() == EngineKind::kTwin ? "twin" : "kernel"},
         {"checked_against", engine->checked_against()},
         {"description", engine->description()}});
    text += fmt::format("{:<18} {}\n", engine->name(),
                        available ? std::string(engine->description())
                                  : "not available: " + reason);
  }
  const Status printed = json ? PrintJson(list) : Print(text);
  return printed ? kExitOk : Complain(printed.error());
}

}  // namespace

void AddEnginesCommand(CLI::App* app, int* exit_code) {
  CLI::App* command =
      app->add_subcommand("engines", "list the engines and what they need");
  auto json = std::make_shared<bool>(false);
  command->add_flag("--json", *json, "a list of objects");
  command->footer("Example:\n  nfarena engines --json");
  command->callback([=] { *exit_code = RunEngines(*json); });
}

}  // namespace nfarena::cli
