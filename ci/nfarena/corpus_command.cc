#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "ci/nfarena/cli.h"
#include "corpus/corpus.h"

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

}  // namespace

void AddCorpusCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand("corpus", "the rulesets at hand");
  command->require_subcommand(1);
  command->footer(
      "Examples:\n"
      "  nfarena corpus list\n"
      "  nfarena corpus show captured/ufw | nfarena check -");

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
}

}  // namespace nfarena::cli
