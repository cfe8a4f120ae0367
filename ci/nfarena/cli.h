// What the commands of nfarena share: exit codes, input, output, the pieces of
// a command line that several commands take.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "compat/syntax/known_sets.h"
#include "engines/core/engine.h"

namespace nfarena::cli {

enum ExitCode : int {
  kExitOk = 0,
  kExitDifference = 1,   // a difference, a refusal, a bad input file
  kExitUsage = 2,        // the command line is wrong
  kExitEnvironment = 3,  // a right or a feature of the host is missing
};

/// The exit code that fits an error: kSystem is the environment's.
ExitCode ExitFor(const Error& error);

/// Prints to standard error as it is; that this fails is nobody's to hear.
/// (fmt::print would throw.)
void Say(std::string_view text);

/// Prints "nfarena: ..." to standard error and returns the code for it.
ExitCode Complain(const Error& error);

/// Whole file, or standard input for "-".
[[nodiscard]] Result<std::string> ReadInput(const std::string& path);

/// Prints to standard output; a failure (full disk, closed pipe) is an error.
[[nodiscard]] Status Print(std::string_view text);
[[nodiscard]] Status PrintJson(const nlohmann::json& json);

/// Takes the names of the registry's engines; another is a usage error.
CLI::Validator EngineName();

/// Options of every command that reads a ruleset.
struct RulesetOptions {
  std::string path;
  bool ipv6 = false;
  std::string ipset_path;  // text of "ipset save"
  bool resolve = true;     // host names may be looked up
};
void AddRulesetOptions(CLI::App* app, RulesetOptions* options, bool positional);

struct LoadedRuleset {
  Ruleset ruleset;
  std::string text;  // as read, for quoting lines
  std::string ipset_save;
  std::optional<KnownSets> sets;  // of ipset_save, when it was given
  const KnownSets* KnownSetsOrNull() const { return sets ? &*sets : nullptr; }
  /// Line `number` of the text, counted from 1; empty when there is none.
  std::string_view Line(uint32_t number) const;
};
/// Reads and parses; warnings go to standard error.  `base` is for --noflush.
/// `*unparsed`, if given, becomes what was read when that does not parse.
[[nodiscard]] Result<LoadedRuleset> LoadRuleset(
    const RulesetOptions& options, const Ruleset* base = nullptr,
    bool counters = true, LoadedRuleset* unparsed = nullptr);

/// --packets FILE | auto:N, --seed.  FILE: LOG lines, or pcap by its magic.
struct PacketOptions {
  std::string packets = "auto:1000";
  uint64_t seed = 1;
  std::string device = "eth0";  // where packets of a pcap file come in
};
void AddPacketOptions(CLI::App* app, PacketOptions* options);
[[nodiscard]] Result<std::vector<Packet>> LoadPackets(
    const PacketOptions& options, const Ruleset& ruleset);

/// "1.5 ms", "250 us", for people.
std::string Duration(uint64_t ns);

// One a command: adds it to `app`; its callback sets *exit_code.
void AddEnginesCommand(CLI::App* app, int* exit_code);
void AddCheckCommand(CLI::App* app, int* exit_code);
void AddClassifyCommand(CLI::App* app, int* exit_code);
void AddRestoreCommand(CLI::App* app, int* exit_code);
void AddSaveCommand(CLI::App* app, int* exit_code);
void AddDiffCommand(CLI::App* app, int* exit_code);
void AddBenchCommand(CLI::App* app, int* exit_code);
void AddReportCommand(CLI::App* app, int* exit_code);
void AddCorpusCommand(CLI::App* app, int* exit_code);
void AddUpstreamCommand(CLI::App* app, int* exit_code);

}  // namespace nfarena::cli
