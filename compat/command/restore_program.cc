// iptables-restore and ip6tables-restore.
#include <fmt/format.h>
#include <getopt.h>

#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <vector>

#include "compat/command/messages.h"
#include "compat/command/option_words.h"
#include "compat/command/program.h"
#include "compat/syntax/list_printer.h"
#include "compat/syntax/save_parser.h"

namespace nfarena {
namespace {

constexpr option kOptions[] = {
    {"counters", no_argument, nullptr, 'c'},
    {"verbose", no_argument, nullptr, 'v'},
    {"version", no_argument, nullptr, 'V'},
    {"test", no_argument, nullptr, 't'},
    {"help", no_argument, nullptr, 'h'},
    {"noflush", no_argument, nullptr, 'n'},
    {"modprobe", required_argument, nullptr, 'M'},
    {"table", required_argument, nullptr, 'T'},
    {"wait", optional_argument, nullptr, 'w'},
    {"wait-interval", optional_argument, nullptr, 'W'},
    {}};

struct Options {
  bool counters = false, test = false, noflush = false;
  int verbose = 0;
  int wait_seconds = 0;
  std::string table;
  std::string path;
};

std::string Usage(const Program& program) {
  return fmt::format(
      R"(Usage: {} [-c] [-v] [-V] [-t] [-h] [-n] [-w secs] [-W usecs] [-T table] [-M command] [file]
	   [ --counters ]
	   [ --verbose ]
	   [ --version]
	   [ --test ]
	   [ --help ]
	   [ --noflush ]
	   [ --wait=<seconds>
	   [ --table=<TABLE> ]
	   [ --modprobe=<command> ]
)",
      program.name);
}

/// An exit status, when that is all there is to do.
std::optional<int> ReadOptions(const Program& program,
                               std::span<const char* const> arguments,
                               Options* options, ProgramOutput* output) {
  OptionWords words(program.name, arguments, "bcvVthnwWM:T:", kOptions);
  const auto number = [&words](int* out) {
    const char* text =
        words.has_argument() ? words.argument() : words.TakeValueWord();
    *out = -1;
    return text == nullptr || std::sscanf(text, "%i", out) == 1;
  };
  for (int letter = words.Next(); letter != -1; letter = words.Next()) {
    switch (letter) {
      case 'b':
        output->err += "-b/--binary option is not implemented\n";
        break;
      case 'c':
        options->counters = true;
        break;
      case 'v':
        ++options->verbose;
        break;
      case 'V':
        output->out += VersionText(program) + '\n';
        return kProgramOk;
      case 't':
        options->test = true;
        break;
      case 'h':
        output->err += Usage(program);
        return kProgramOk;
      case 'n':
        options->noflush = true;
        break;
      case 'w':
      case 'W': {
        int value = 0;
        if (!number(&value)) {
          return ReportProblem(
              program,
              {.code = ErrorCode::kSyntax,
               .message = letter == 'w' ? "wait seconds not numeric"
                                        : "wait interval not numeric"},
              output);
        }
        if (letter == 'w') {
          options->wait_seconds = value;
        } else {
          output->err += "Ignoring deprecated --wait-interval option.\n";
        }
        break;
      }
      case 'M':
        break;
      case 'T':
        options->table = words.argument();
        break;
      default:
        output->err += fmt::format("{}Try `{} -h' for more information.\n",
                                   words.complaint(), program.name);
        return kProgramFailed;
    }
  }
  if (words.rest().size() > 1) {
    output->err += "Unknown arguments found on commandline\n";
    return kProgramFailed;
  }
  if (!words.rest().empty()) options->path = words.rest()[0];
  return std::nullopt;
}

template <typename Visit>
void ForEachLine(std::string_view text, const Visit& visit) {
  for (uint32_t number = 1; !text.empty(); ++number) {
    const size_t end = text.find('\n');
    visit(number, text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
}

/// The name behind the first character: of a table or a chain.
std::string_view NameInLine(std::string_view line) {
  line.remove_prefix(1);
  return line.substr(0, line.find_first_of(" \t"));
}

/// The text with the lines of other tables emptied, so that numbers stay.
std::string OnlyTable(std::string_view text, std::string_view table) {
  std::string kept;
  bool skip = false;
  ForEachLine(text, [&](uint32_t, std::string_view line) {
    if (line.starts_with('*')) skip = NameInLine(line) != table;
    if (!skip) kept += line;
    kept += '\n';
    if (line == "COMMIT") skip = false;
  });
  if (!text.ends_with('\n') && !kept.empty()) kept.pop_back();
  return kept;
}

/// What a text says outside of its rules.
struct Outline {
  std::map<TableKind, std::set<std::string, std::less<>>> declared;  // chains
  uint32_t outside_line = 0;  // the first line that is in no table; 0 = none
  uint32_t lines = 0;
  bool open = false;  // it ends inside a table
};

Outline OutlineOf(std::string_view text) {
  Outline outline;
  std::set<std::string, std::less<>>* chains = nullptr;
  ForEachLine(text, [&](uint32_t number, std::string_view line) {
    outline.lines = number;
    if (line.empty() || line[0] == '#') return;
    if (line == "COMMIT" && outline.open) {
      outline.open = false;
    } else if (line[0] == '*' && !outline.open) {
      outline.open = true;
      const auto kind = TableKindFromName(NameInLine(line));
      chains = kind ? &outline.declared[*kind] : nullptr;
    } else if (!outline.open) {
      if (outline.outside_line == 0) outline.outside_line = number;
    } else if (line[0] == ':' && chains != nullptr) {
      chains->emplace(NameInLine(line));
    }
  });
  return outline;
}

/// Chains that the text does not declare are flushed; their policies stay.
Status KeepPolicies(const Outline& outline, RulesetStore* store,
                    Ruleset* ruleset) {
  std::optional<Ruleset> before;
  for (Table& table : ruleset->tables) {
    const auto& declared = outline.declared.at(table.kind);
    for (Chain& chain : table.chains) {
      if (!chain.hook || declared.contains(chain.name)) continue;
      if (!before) {
        ASSIGN_OR_RETURN(before, store->Read());
      }
      const Table* old = before->table(table.kind);
      if (old == nullptr) continue;
      chain.policy = old->chain(chain.name)->policy;
      chain.counters = old->chain(chain.name)->counters;
    }
  }
  return {};
}

/// What -v prints: the text's comments, the chains that go, the rules that
/// come.
std::string Progress(const Options& options, std::string_view text,
                     const Ruleset& before, const Ruleset& after) {
  std::multimap<uint32_t, const Rule*> by_line;
  for (const Table& table : after.tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) by_line.emplace(rule.line, &rule);
    }
  }
  std::string out;
  ForEachLine(text, [&](uint32_t number, std::string_view line) {
    if (line.starts_with('#')) {
      out.append(line).push_back('\n');
    } else if (line.starts_with('*') && !options.noflush) {
      const auto kind = TableKindFromName(NameInLine(line));
      if (!kind) return;
      const Table* table = before.table(*kind);
      const Table empty = EmptyTable(*kind);
      if (table == nullptr) table = &empty;
      for (const Chain& chain : table->chains) {
        out += fmt::format("Flushing chain `{}'\n", chain.name);
      }
      for (const Chain& chain : table->chains) {
        if (chain.hook) continue;
        out += fmt::format("Deleting chain `{}'\n", chain.name);
      }
    } else if (!options.noflush) {
      const auto [begin, end] = by_line.equal_range(number);
      for (auto it = begin; it != end; ++it) {
        out += PrintRuleLine(after.family, *it->second, nullptr);
      }
    }
  });
  return out;
}

}  // namespace

int RunIptablesRestore(
    const Program& program, std::span<const char* const> arguments,
    const std::function<Result<std::string>(const std::string& path)>& read,
    RulesetStore* store, ProgramOutput* output) {
  Options options;
  if (const auto status = ReadOptions(program, arguments, &options, output)) {
    return *status;
  }
  auto text = read(options.path);
  if (!text) {
    output->err += fmt::format("Can't open {}: {}\n", options.path,
                               text.error().ToString());
    return kProgramFailed;
  }
  if (!options.table.empty()) *text = OnlyTable(*text, options.table);
  if (Status locked = store->Lock(options.wait_seconds); !locked) {
    return ReportLock(options.wait_seconds, locked.error(), output);
  }
  Ruleset before{.family = program.family, .tables = {}};
  if (options.noflush || options.verbose != 0) {
    auto current = store->Read();
    if (!current) {
      return ReportFailure(program, "", current.error(), output);
    }
    before = *std::move(current);
  }
  ParseOptions parse{.family = program.family,
                     .base = options.noflush ? &before : nullptr,
                     .counters = options.counters};
  std::vector<Warning> warnings;
  auto ruleset = ParseSave(*text, parse, &warnings);
  for (const Warning& warning : warnings) {
    output->err += warning.message + '\n';
  }
  const Outline outline = OutlineOf(*text);
  const auto failed = [&](uint32_t line, std::string_view why) {
    output->err += fmt::format("{}: line {} failed{}{}\n", program.name, line,
                               why.empty() ? "" : ": ", why);
    return kProgramFailed;
  };
  if (!ruleset) {
    const Error& error = ruleset.error();
    if (error.place.line == outline.outside_line) {
      return failed(error.place.line, "");
    }
    if (outline.open && error.place.line == outline.lines + 1) {
      output->err += fmt::format("{}: COMMIT expected at line {}\n",
                                 program.name, error.place.line);
      return kProgramFailed;
    }
    if (error.code == ErrorCode::kSyntax ||
        error.code == ErrorCode::kUnsupported) {
      return ReportProblem(program, error, output);
    }
    return failed(error.place.line, error.message);
  }
  if (options.verbose != 0) {
    output->out += Progress(options, *text, before, *ruleset);
  }
  if (options.test) return kProgramOk;
  // With --noflush the tables that the text does not name are here too.
  std::erase_if(ruleset->tables, [&](const Table& table) {
    return !outline.declared.contains(table.kind);
  });
  Status done =
      options.noflush ? Status() : KeepPolicies(outline, store, &*ruleset);
  if (done) done = store->Replace(*ruleset);
  if (!done) return failed(done.error().place.line, done.error().message);
  return kProgramOk;
}

}  // namespace nfarena
