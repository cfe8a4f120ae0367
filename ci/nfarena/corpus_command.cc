#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "ci/nfarena/cli.h"
#include "corpus/corpus.h"
#include "corpus/generator/generator.h"

namespace nfarena::cli {
namespace {

uint64_t LinesStartingWith(std::string_view text, std::string_view start) {
  uint64_t count = text.starts_with(start) ? 1 : 0;
  const std::string after = "\n" + std::string(start);
  for (size_t at = text.find(after); at != std::string_view::npos;
       at = text.find(after, at + 1)) {
    ++count;
  }
  return count;
}

Result<ExitCode> List(bool json) {
  const auto corpus = LoadCorpus(CorpusRoot());
  if (!corpus) return Fail(ErrorCode::kSyntax, corpus.error());
  nlohmann::json list = nlohmann::json::array();
  std::string text;
  for (const CorpusEntry& entry : *corpus) {
    const uint64_t rules = LinesStartingWith(entry.ruleset.text, "-A ");
    list.push_back({{"id", entry.id},
                    {"description", entry.description},
                    {"origin", entry.origin},
                    {"licence", entry.licence},
                    {"family", entry.ipv6 ? "ipv6" : "ipv4"},
                    {"rules", rules},
                    {"packets", LinesStartingWith(entry.packets.text, "IN=")},
                    {"expectations", entry.expectations.size()},
                    {"path", entry.path.string()}});
    text += fmt::format("{:<34} {} {:>6} rules  {}\n", entry.id,
                        entry.ipv6 ? "IPv6" : "IPv4", rules, entry.description);
  }
  RETURN_IF_ERROR(json ? PrintJson(list) : Print(text));
  return kExitOk;
}

Result<ExitCode> Show(const std::string& id, const std::string& section) {
  const auto corpus = LoadCorpus(CorpusRoot());
  if (!corpus) return Fail(ErrorCode::kSyntax, corpus.error());
  for (const CorpusEntry& entry : *corpus) {
    if (entry.id != id) continue;
    const CorpusSection& chosen = section == "packets" ? entry.packets
                                  : section == "ipset" ? entry.ipset
                                                       : entry.ruleset;
    RETURN_IF_ERROR(Print(chosen.text));
    return kExitOk;
  }
  return Fail(ErrorCode::kSyntax,
              fmt::format("the corpus has no entry '{}'", id));
}

struct GenerateOptions {
  std::string profile;
  GeneratorOptions ruleset;
  TraceOptions trace;
  bool packets = false;  // print them instead of the rules
};

Result<ExitCode> Generate(GenerateOptions options) {
  if (!RuleProfileFromName(options.profile, &options.ruleset.profile)) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("no profile is called '{}'", options.profile));
  }
  options.trace.seed = options.ruleset.seed;
  const auto rules = GenerateRules(options.ruleset);
  Status written;
  const TextSink sink = [&written](std::string_view piece) {
    written = Print(piece);
    return written.has_value();
  };
  const bool done = options.packets ? WritePackets(options.ruleset, rules,
                                                   options.trace, sink)
                                    : WriteRules(options.ruleset, rules, sink);
  if (!done) return tl::unexpected(written.error());
  return kExitOk;
}

void AddGenerate(CLI::App* corpus, int* exit_code) {
  CLI::App* command = corpus->add_subcommand(
      "generate", "make a ruleset of any size, or packets that fit it");
  auto options = std::make_shared<GenerateOptions>();
  command
      ->add_option("--profile", options->profile,
                   "acl (a router's access list), fw (a firewall) or ipc "
                   "(Linux chains)")
      ->required()
      ->check(CLI::IsMember({"acl", "fw", "ipc"}));
  command->add_option("--rules", options->ruleset.rules, "how many rules")
      ->required()
      ->check(CLI::Range(uint32_t{1}, kGeneratedRulesMax));
  command
      ->add_option("--seed", options->ruleset.seed,
                   "the same seed and options give the same text anywhere")
      ->capture_default_str();
  command->add_flag("-6,--ipv6", options->ruleset.ipv6, "IPv6");
  command->add_flag("--input", options->ruleset.input,
                    "packets for this host (chain INPUT) instead of forwarded "
                    "ones");
  CLI::Option* packets = command->add_option(
      "--packets", options->trace.packets,
      "print so many packets that hit the rules instead of the rules");
  command
      ->add_option("--locality", options->trace.locality_percent,
                   "how often a packet comes again: of 100 packets, so many "
                   "come twice or more (0: none)")
      ->check(CLI::Range(uint32_t{0}, uint32_t{100}))
      ->capture_default_str();
  command->footer(
      "Rules are iptables-save text, packets LOG lines, both on standard\n"
      "output. In the style of ClassBench, with parameters of our own: "
      "figures\n"
      "are not comparable with those of ClassBench's rulesets.\n\n"
      "Examples:\n"
      "  nfarena corpus generate --profile fw --rules 5000 >rules.v4\n"
      "  nfarena corpus generate --profile fw --rules 5000 --packets 20000 "
      ">packets\n"
      "  nfarena diff --engines reference,legacy,vm --ruleset rules.v4 "
      "--packets packets");
  command->callback([=] {
    options->packets = packets->count() != 0;
    const auto code = Generate(*options);
    *exit_code = code ? *code : Complain(code.error());
  });
}

}  // namespace

void AddCorpusCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand("corpus", "the rulesets at hand");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  nfarena corpus list\n"
      "  nfarena corpus show captured/ufw | nfarena check -\n"
      "  nfarena corpus generate --profile acl --rules 1000");

  CLI::App* list = command->add_subcommand("list", "one line an entry");
  auto json = std::make_shared<bool>(false);
  list->add_flag("--json", *json, "a list of objects");
  list->callback([=] {
    const auto code = List(*json);
    *exit_code = code ? *code : Complain(code.error());
  });

  CLI::App* show = command->add_subcommand("show", "print one section");
  auto id = std::make_shared<std::string>();
  auto section = std::make_shared<std::string>("ruleset");
  show->add_option("ID", *id, "the entry")->required();
  show->add_option("--section", *section, "ruleset, packets or ipset")
      ->check(CLI::IsMember({"ruleset", "packets", "ipset"}))
      ->capture_default_str();
  show->callback([=] {
    const auto code = Show(*id, *section);
    *exit_code = code ? *code : Complain(code.error());
  });

  AddGenerate(command, exit_code);
}

}  // namespace nfarena::cli
