#include "ci/nfarena/iptables_names.h"

#include <fmt/format.h>

#include <cstdlib>
#include <fstream>
#include <span>

#include "ci/nfarena/cli.h"
#include "compat/command/program.h"
#include "engines/place/place.h"
#include "engines/registry.h"

namespace nfarena::cli {
namespace {

enum class Role : uint8_t { kCommand, kRestore, kSave };

struct Played {
  Program program;
  Role role = Role::kCommand;
  std::string_view engine = "kernel-legacy";
};

bool TakePrefix(std::string_view prefix, std::string_view* name) {
  if (!name->starts_with(prefix)) return false;
  name->remove_prefix(prefix.size());
  return true;
}

std::optional<Played> Recognise(std::string_view name) {
  Played played;
  played.program.name = name;
  if (TakePrefix("ip6tables", &name)) {
    played.program.family = Family::kIpv6;
  } else if (!TakePrefix("iptables", &name)) {
    return std::nullopt;
  }
  if (TakePrefix("-nft", &name)) {
    played.engine = "kernel-nft";
  } else {
    (void)TakePrefix("-legacy", &name);
  }
  if (name == "-restore") {
    played.role = Role::kRestore;
  } else if (name == "-save") {
    played.role = Role::kSave;
  } else if (!name.empty()) {
    return std::nullopt;
  }
  return played;
}

int Run(const Played& played, std::span<const char* const> arguments,
        RulesetStore* store, ProgramOutput* output) {
  switch (played.role) {
    case Role::kCommand:
      return RunIptables(played.program, arguments, store, output);
    case Role::kRestore:
      return RunIptablesRestore(
          played.program, arguments,
          [](const std::string& path) {
            return ReadInput(path.empty() ? "-" : path);
          },
          store, output);
    case Role::kSave:
      return RunIptablesSave(
          played.program, arguments,
          [](const std::string& path, const std::string& text) -> Status {
            std::ofstream file(path, std::ios::binary);
            file << text;
            file.close();
            if (!file) return FailErrno(path);
            return {};
          },
          store, output);
  }
  return kExitUsage;
}

}  // namespace

std::optional<int> RunByName(std::string_view name, int argc, char** argv) {
  auto played = Recognise(name);
  if (!played) return std::nullopt;
  if (const char* named = std::getenv("NFARENA_ENGINE");
      named != nullptr && named[0] != '\0') {
    played->engine = named;
  }
  if (played->engine.find("nft") != std::string_view::npos) {
    played->program.backend = "nf_tables";
  }
  const auto engine = FindEngine(played->engine);
  if (!engine) {
    Say(fmt::format("{}: NFARENA_ENGINE: {}\n", played->program.name,
                    engine.error().message));
    return kProgramFailed;
  }
  const auto store = OpenPlace(
      **engine, {.family = played->program.family, .state_directory = ""});
  if (!store) {
    Say(fmt::format("{}: {}\n", played->program.name,
                    store.error().ToString()));
    return kProgramNoResource;
  }
  ProgramOutput output;
  int status =
      Run(*played,
          std::span<const char* const>(argv + 1, static_cast<size_t>(argc - 1)),
          store->get(), &output);
  if (!output.out.empty()) {
    if (const Status printed = Print(output.out); !printed) {
      output.err += fmt::format("{}: {}\n", played->program.name,
                                printed.error().ToString());
      if (status == kProgramOk) status = kProgramFailed;
    }
  }
  Say(output.err);
  return status;
}

}  // namespace nfarena::cli
