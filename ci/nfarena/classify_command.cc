#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "ci/nfarena/cli.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena::cli {
namespace {

struct Options {
  std::string engine;
  RulesetOptions ruleset;
  PacketOptions packets;
  bool trace = false;
  bool json = false;
};

std::vector<std::string_view> Words(std::string_view line) {
  std::vector<std::string_view> words;
  while (!line.empty()) {
    const size_t end = std::min(line.find(' '), line.size());
    if (end != 0) words.push_back(line.substr(0, end));
    line.remove_prefix(std::min(end + 1, line.size()));
  }
  return words;
}

/// The words of the packet's line that are new in what came out, "DPT=8080";
/// TTL is among them when it was forwarded.
std::vector<std::string> Rewriting(const Packet& packet,
                                   const Outcome& outcome) {
  if (outcome.bytes.empty() || outcome.bytes == packet.bytes) return {};
  Packet after = packet;
  after.bytes = outcome.bytes;
  const std::string was_line = PacketLine(packet);
  const std::string is_line = PacketLine(after);
  const auto was = Words(was_line);
  std::vector<std::string> rewriting;
  for (const std::string_view word : Words(is_line)) {
    if (std::find(was.begin(), was.end(), word) == was.end()) {
      rewriting.emplace_back(word);
    }
  }
  // A flag that went, an option, the payload: the line's words say no more.
  if (rewriting.empty()) rewriting.emplace_back("bytes");
  return rewriting;
}

nlohmann::json OutcomeJson(const Ruleset& ruleset, const Packet& packet,
                           const Outcome& outcome) {
  const Table* table = ruleset.table(outcome.decided_by.table);
  const bool known =
      table != nullptr && outcome.decided_by.chain < table->chains.size();
  nlohmann::json json{
      {"packet", PacketLine(packet)},
      {"verdict", VerdictKindName(outcome.verdict)},
      {"table", table != nullptr ? TableName(outcome.decided_by.table) : ""},
      {"chain", known ? table->chains[outcome.decided_by.chain].name : ""},
      {"rule", outcome.decided_by.rule},
      {"out", outcome.out},
      {"mark", outcome.mark},
      {"rewritten", outcome.bytes != packet.bytes && !outcome.bytes.empty()},
      {"rewriting", Rewriting(packet, outcome)},
      {"indeterminate", outcome.indeterminate}};
  if (outcome.verdict == VerdictKind::kQueue) json["queue"] = outcome.queue;
  json["emissions"] = outcome.emissions.size();
  if (!outcome.trace.empty()) {
    auto& trace = json["trace"] = nlohmann::json::array();
    for (const RuleRef& ref : outcome.trace) {
      trace.push_back(RuleRefName(ruleset, ref));
    }
  }
  return json;
}

Result<ExitCode> Run(const Options& options) {
  ASSIGN_OR_RETURN(const Engine* engine, FindEngine(options.engine));
  RETURN_IF_ERROR(engine->Available());
  ASSIGN_OR_RETURN(const LoadedRuleset loaded, LoadRuleset(options.ruleset));
  RETURN_IF_ERROR(engine->Supports(loaded.ruleset));
  ASSIGN_OR_RETURN(const std::vector<Packet> packets,
                   LoadPackets(options.packets, loaded.ruleset));
  OpenOptions open{.family = loaded.ruleset.family, .topology = {}};
  open.ipset_save = loaded.ipset_save;
  ASSIGN_OR_RETURN(open.topology, Topology::For(loaded.ruleset, packets));
  ASSIGN_OR_RETURN(const std::unique_ptr<Instance> instance,
                   engine->Open(open));
  RETURN_IF_ERROR(instance->Replace(loaded.ruleset));
  std::vector<Outcome> outcomes(packets.size());
  RETURN_IF_ERROR(
      instance->Classify(packets, outcomes, {.trace = options.trace}));
  nlohmann::json list = nlohmann::json::array();
  std::string text;
  for (size_t i = 0; i < packets.size(); ++i) {
    if (options.json) {
      list.push_back(OutcomeJson(loaded.ruleset, packets[i], outcomes[i]));
      continue;
    }
    text += OutcomeLine(loaded.ruleset, outcomes[i]);
    const auto rewriting = Rewriting(packets[i], outcomes[i]);
    if (!rewriting.empty()) {
      text += fmt::format(" rewritten {}", fmt::join(rewriting, " "));
    }
    text += "\n";
    for (const RuleRef& ref : outcomes[i].trace) {
      text += fmt::format("  {}\n", RuleRefName(loaded.ruleset, ref));
    }
  }
  RETURN_IF_ERROR(options.json ? PrintJson(list) : Print(text));
  return kExitOk;
}

}  // namespace

void AddClassifyCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "classify", "send packets through a ruleset; one line a packet");
  auto options = std::make_shared<Options>();
  command->add_option("--engine", options->engine, "the engine")
      ->required()
      ->type_name("NAME")
      ->check(EngineName());
  AddRulesetOptions(command, &options->ruleset, false);
  AddPacketOptions(command, &options->packets);
  command->add_flag("--trace", options->trace, "every rule that matched");
  command->add_flag("--json", options->json, "a list of objects");
  command->footer(
      "A line says: verdict, table, chain, rule number (policy, end), where\n"
      "the packet went and what was rewritten; none: no table has judged "
      "it.\n\nExamples:\n"
      "  echo 'IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=TCP SPT=1024 "
      "DPT=22 SYN' |\n"
      "    nfarena classify --engine reference --ruleset rules.v4 --packets "
      "-\n"
      "  nfarena classify --engine kernel-nft --ruleset rules.v4 --packets "
      "dump.pcap --trace");
  command->callback([=] {
    const auto code = Run(*options);
    *exit_code =
        code ? *code : Complain(InFile(code.error(), options->ruleset.path));
  });
}

}  // namespace nfarena::cli
