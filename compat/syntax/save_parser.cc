#include "compat/syntax/save_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "compat/model/huge_pages.h"
#include "compat/model/target_name.h"
#include "compat/syntax/chain_graph.h"
#include "compat/syntax/chain_index.h"
#include "compat/syntax/command_change.h"
#include "compat/syntax/extension_library.h"
#include "compat/syntax/heap_growth.h"
#include "compat/syntax/rule_parser.h"
#include "compat/syntax/tokenizer.h"

namespace nfarena {

namespace {

// From this size on a text is worth preparing the heap for.  Rules, matches and
// payloads take up to eight times the bytes that they were written with.
constexpr size_t kBigText = size_t{1} << 20;
constexpr size_t kHeapPerTextByte = 8;
// Chains shorter than this grow as std::vector does.
constexpr size_t kReserveAheadFrom = 64;
// "[packets:bytes]" is not longer: two numbers of 64 bits.
constexpr size_t kCountersSize = 48;
constexpr size_t kMaxChainNameSize = XT_EXTENSION_MAXNAMELEN - 1;

// Cuts the next word at blanks, as strtok() does for ':' and '*' lines.
std::string_view NextWord(std::string_view* rest) {
  const size_t begin = rest->find_first_not_of(" \t");
  if (begin == std::string_view::npos) {
    *rest = {};
    return {};
  }
  const size_t end = std::min(rest->find_first_of(" \t", begin), rest->size());
  const std::string_view word = rest->substr(begin, end - begin);
  rest->remove_prefix(end);
  return word;
}

uint32_t ColumnOf(std::string_view line, std::string_view part) {
  return part.data() == nullptr
             ? 1
             : static_cast<uint32_t>(part.data() - line.data() + 1);
}

void SetAddresses(const AddressAndMask& source,
                  const AddressAndMask& destination, Selector* selector) {
  selector->src = source.address;
  selector->src_mask = source.mask;
  selector->dst = destination.address;
  selector->dst_mask = destination.mask;
}

// "[packets:bytes]"
bool ParseCounters(std::string_view text, Counters* out) {
  if (text.size() < 2 || text.front() != '[' || text.back() != ']') {
    return false;
  }
  const char* at = text.data() + 1;
  const char* const end = text.data() + text.size() - 1;
  auto [colon, error] = std::from_chars(at, end, out->packets);
  if (error != std::errc() || colon == end || *colon != ':') return false;
  const auto [last, error2] = std::from_chars(colon + 1, end, out->bytes);
  return error2 == std::errc() && last == end;
}

class SaveReader {
 public:
  SaveReader(Family family, const ParseOptions& options,
             std::vector<Warning>* warnings)
      : session_(family), options_(options), warnings_(warnings) {
    if (options.base != nullptr) ruleset_ = *options.base;
    ruleset_.family = family;
  }

  Result<Ruleset> Read(std::string_view text);

 private:
  Status ReadLine(std::string_view line, bool has_newline);
  Status OpenTable(std::string_view line);
  Status CloseTable();
  Status ReadChain(std::string_view line);
  Result<Policy> ReadPolicy(std::string_view word, uint32_t column) const;
  Status DeclareChain(std::string_view name, uint32_t column);
  Status NewChain(const ParsedCommand& command);
  Status ReadCommand(std::string_view line);
  Status Run(ParsedCommand& command, Rule& rule);
  void ReserveAhead(Chain* chain);
  Status AppendRules(const ParsedCommand& command, Rule& rule);
  Status Apply(Change change, const ParsedCommand& command);
  Status ChangeRules(const ParsedCommand& command, Rule& rule);
  void Warn(std::string message, uint32_t column = 0, std::string text = {});
  void CollectWarnings(const ParsedCommand& command);

  SourcePlace Place(uint32_t column, std::string_view text = {}) const {
    return {options_.file, line_number_, column, std::string(text)};
  }
  // Fills in what the parts below do not know.
  Error At(Error error) const {
    error.place.file = options_.file;
    if (error.place.line == 0) error.place.line = line_number_;
    return error;
  }

  LibrarySession session_;
  const ParseOptions& options_;
  std::vector<Warning>* warnings_;
  Ruleset ruleset_;
  uint32_t line_number_ = 0;
  std::string_view rest_;               // the lines after this one
  std::unique_ptr<ChainIndex> chains_;  // of the open table; null: none is
  std::unique_ptr<RuleParser> parser_;
  ParsedCommand command_;
};

Result<Ruleset> SaveReader::Read(std::string_view text) {
  RETURN_IF_ERROR(session_.status());
  if (text.size() >= kBigText) {
    GrowHeapOnHugePages(text.size() * kHeapPerTextByte);
  }
  while (!text.empty()) {
    ++line_number_;
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    rest_ = text;
    if (auto status = ReadLine(line, end != std::string_view::npos); !status) {
      return tl::unexpected<Error>(At(std::move(status).error()));
    }
  }
  if (chains_ != nullptr) {
    ++line_number_;
    return Fail(ErrorCode::kSyntax,
                fmt::format("text ends inside table {}: COMMIT is missing",
                            TableName(chains_->table().kind)),
                Place(0));
  }
  return std::move(ruleset_);
}

Status SaveReader::ReadLine(std::string_view line, bool has_newline) {
  if (line.size() > kMaxLineSize) {
    return Fail(ErrorCode::kRange,
                fmt::format("line of {} bytes; iptables-restore reads {}",
                            line.size(), kMaxLineSize),
                Place(static_cast<uint32_t>(kMaxLineSize + 1)));
  }
  if (const size_t nul = line.find('\0'); nul != std::string_view::npos) {
    return Fail(ErrorCode::kSyntax, "NUL byte in the text",
                Place(static_cast<uint32_t>(nul + 1)));
  }
  if (!line.empty() && line.back() == '\r' && line.front() != '#') {
    return Fail(ErrorCode::kSyntax,
                "line ends with CR LF; iptables-restore takes LF only",
                Place(static_cast<uint32_t>(line.size())));
  }
  if (line.empty() || line[0] == '#') return {};
  if (chains_ == nullptr) {
    if (line[0] == '*') return OpenTable(line);
    return Fail(ErrorCode::kSyntax, "expected '*table' here", Place(1, line));
  }
  if (line == "COMMIT") {
    if (!has_newline) {
      return Fail(ErrorCode::kSyntax,
                  "text is cut off: no newline after COMMIT", Place(1, line));
    }
    return CloseTable();
  }
  if (line[0] == '*') {
    return Fail(ErrorCode::kSyntax,
                fmt::format("new table before the COMMIT of table {}",
                            TableName(chains_->table().kind)),
                Place(1, line));
  }
  if (line[0] == ':') return ReadChain(line);
  return ReadCommand(line);
}

Status SaveReader::OpenTable(std::string_view line) {
  std::string_view rest = line.substr(1);
  const std::string_view name = NextWord(&rest);
  const auto kind = TableKindFromName(name);
  if (!kind) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("unknown table '{}'", name),
                Place(name.empty() ? 1 : ColumnOf(line, name), name));
  }
  Table& table = ruleset_.EnsureTable(*kind);
  // Without --noflush a table starts empty, also when it comes a second time.
  if (options_.base == nullptr) table = EmptyTable(*kind);
  chains_ = std::make_unique<ChainIndex>(&table);
  parser_ = std::make_unique<RuleParser>(
      &session_, *kind, chains_.get(),
      RuleParser::Options{.resolve = options_.resolve, .sets = options_.sets});
  return {};
}

Status SaveReader::CloseTable() {
  chains_->Merge();
  RETURN_IF_ERROR(CheckLoops(chains_->table()));
  chains_.reset();
  parser_.reset();
  return {};
}

Status SaveReader::ReadChain(std::string_view line) {
  std::string_view rest = line.substr(1);
  const std::string_view name = NextWord(&rest);
  const std::string_view policy = NextWord(&rest);
  const std::string_view counters = NextWord(&rest);
  if (name.empty()) {
    return Fail(ErrorCode::kSyntax, "chain name is missing", Place(1, line));
  }
  const uint32_t column = ColumnOf(line, name);
  if (name.size() > kMaxChainNameSize) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("chain name of {} bytes; at most {} are allowed",
                            name.size(), kMaxChainNameSize),
                Place(column, name));
  }
  if (policy.empty()) {
    return Fail(
        ErrorCode::kSyntax,
        fmt::format("chain '{}' has no policy ('-' for a user chain)", name),
        Place(column, name));
  }
  Chain* existing = nullptr;
  if (chains_->IsBuiltin(name)) {
    existing = chains_->Find(name);
  } else if (chains_->IsChain(name)) {
    if (options_.base == nullptr) {
      return Fail(ErrorCode::kConflict,
                  fmt::format("chain '{}' is declared twice", name),
                  Place(column, name));
    }
    chains_->Find(name)->rules.clear();
  } else {
    RETURN_IF_ERROR(DeclareChain(name, column));
  }
  if (policy == "-") return {};
  if (existing == nullptr) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("user chain '{}' cannot have a policy", name),
                Place(ColumnOf(line, policy), policy));
  }
  ASSIGN_OR_RETURN(existing->policy,
                   ReadPolicy(policy, ColumnOf(line, policy)));
  existing->counters = {};
  if (options_.counters && !counters.empty() &&
      !ParseCounters(counters, &existing->counters)) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("bad policy counters '{}'", counters),
                Place(ColumnOf(line, counters), counters));
  }
  return {};
}

Result<Policy> SaveReader::ReadPolicy(std::string_view word,
                                      uint32_t column) const {
  if (word == "ACCEPT") return Policy::kAccept;
  if (word == "DROP") return Policy::kDrop;
  return Fail(ErrorCode::kSyntax, fmt::format("bad policy '{}'", word),
              Place(column, word));
}

Status SaveReader::DeclareChain(std::string_view name, uint32_t column) {
  if (chains_->IsChain(name)) {
    return Fail(ErrorCode::kConflict,
                fmt::format("chain '{}' already exists", name),
                Place(column, name));
  }
  if (IsStandardTarget(name)) {
    return Fail(
        ErrorCode::kConflict,
        fmt::format("'{}' is a standard target, not a chain name", name),
        Place(column, name));
  }
  chains_->Declare(name);
  return {};
}

Status SaveReader::ReadCommand(std::string_view line) {
  size_t start = 0;
  Counters counters;
  bool has_counters = false;
  if (line[0] == '[') {
    const size_t end = line.find(']');
    const std::string_view text = line.substr(0, end + 1);
    if (end == std::string_view::npos ||
        (options_.counters && !ParseCounters(text, &counters))) {
      return Fail(ErrorCode::kSyntax, "bad counters", Place(1, text));
    }
    start = end + 1;
    has_counters = options_.counters;
  }
  Rule rule;
  auto parsed = parser_->Parse(line, start, true, &command_, &rule);
  CollectWarnings(command_);
  RETURN_IF_ERROR(std::move(parsed));
  rule.line = line_number_;
  if (has_counters) {
    if (command_.has_counters) {
      return Fail(ErrorCode::kSyntax, "counters given twice", Place(1));
    }
    rule.counters = counters;
  }
  return Run(command_, rule);
}

void SaveReader::Warn(std::string message, uint32_t column, std::string text) {
  if (warnings_ == nullptr) return;
  warnings_->push_back({Place(column, std::move(text)), std::move(message)});
}

void SaveReader::CollectWarnings(const ParsedCommand& command) {
  for (const std::string& name : command.resolved_names) {
    Warn(fmt::format("host name '{}' was looked up now and will not be again",
                     name));
  }
  if (session_.has_diagnostics()) {
    for (std::string& line : session_.TakeDiagnostics()) Warn(std::move(line));
  }
}

// -N.  A ':' line may name what -N may not.
Status SaveReader::NewChain(const ParsedCommand& command) {
  const std::string_view name = command.chain;
  if (name.starts_with('-') || name.starts_with('!') ||
      name.find_first_of(" \t\v\f\r\n") != std::string_view::npos) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("invalid chain name '{}'", name),
                Place(command.chain_column, name));
  }
  if (session_.FindTarget(name) != nullptr) {
    return Fail(ErrorCode::kConflict,
                fmt::format("chain name '{}' is the name of a target", name),
                Place(command.chain_column, name));
  }
  return DeclareChain(name, command.chain_column);
}

Status SaveReader::Run(ParsedCommand& command, Rule& rule) {
  const TableKind kind = chains_->table().kind;
  Change change{.table = kind, .chain = std::string(command.chain)};
  change.rulenum = command.rulenum;
  switch (command.kind) {
    case CommandKind::kNone:
      return {};
    case CommandKind::kList:
    case CommandKind::kListRules:
      Warn("a command that only lists has no effect here");
      return {};
    case CommandKind::kAppend:
      return AppendRules(command, rule);
    case CommandKind::kInsert:
    case CommandKind::kDelete:
    case CommandKind::kReplace:
    case CommandKind::kCheck:
      return ChangeRules(command, rule);
    case CommandKind::kNewChain:
      return NewChain(command);
    case CommandKind::kDeleteIndex:
    case CommandKind::kFlush:
    case CommandKind::kZero:
    case CommandKind::kZeroIndex:
    case CommandKind::kDeleteChain:
      break;
    case CommandKind::kRename:
      change.rename_to = std::string(command.new_name);
      break;
    case CommandKind::kPolicy:
      if (kind == TableKind::kNat && command.policy == "DROP") {
        return Fail(ErrorCode::kSyntax, kNoDropInNat,
                    Place(command.chain_column, command.policy));
      }
      ASSIGN_OR_RETURN(change.policy,
                       ReadPolicy(command.policy, command.chain_column));
      change.counters = rule.counters;
      break;
  }
  change.kind = *ChangeKindOf(command.kind);
  return Apply(std::move(change), command);
}

Status SaveReader::Apply(Change change, const ParsedCommand& command) {
  chains_->Merge();
  auto applied = ApplyChange(change, &ruleset_);
  if (change.kind == ChangeKind::kDeleteChain ||
      change.kind == ChangeKind::kRenameChain) {
    chains_->Reindex();
  }
  if (!applied) {
    Error error = std::move(applied).error();
    error.place.column = command.chain_column;
    if (error.place.text.empty()) error.place.text = command.chain;
    return tl::unexpected<Error>(std::move(error));
  }
  return {};
}

// Makes room for the rules of the run of "-A CHAIN" lines that begins here, as
// a save file has them: growing step by step would move every rule, and touch
// fresh memory, several times.
void SaveReader::ReserveAhead(Chain* chain) {
  if (chain->rules.size() < kReserveAheadFrom) return;
  const std::string prefix = fmt::format("-A {} ", chain->name);
  size_t lines = 1;
  std::string_view rest = rest_;
  while (!rest.empty()) {
    std::string_view line = rest;
    if (line[0] == '[') {
      const size_t end =
          std::min(line.substr(0, kCountersSize).find(']'), kCountersSize);
      line.remove_prefix(std::min(end + 2, line.size()));
    }
    if (!line.starts_with(prefix)) break;
    ++lines;
    const size_t end = rest.find('\n');
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  const size_t wanted = chain->rules.size() + lines;
  // At least as std::vector grows, or a mixed order of chains would be slow.
  ReserveOnHugePages(&chain->rules, std::max(wanted, chain->rules.size() * 2));
}

Status SaveReader::AppendRules(const ParsedCommand& command, Rule& rule) {
  Chain* chain = chains_->Find(command.chain);
  if (chain != nullptr && chain->rules.size() == chain->rules.capacity()) {
    ReserveAhead(chain);
  }
  if (chain == nullptr) {
    return Fail(ErrorCode::kConflict,
                fmt::format("no chain '{}' in table {}", command.chain,
                            TableName(chains_->table().kind)),
                Place(command.chain_column, command.chain));
  }
  const size_t count = command.sources.size() * command.destinations.size();
  size_t done = 0;
  for (const AddressAndMask& source : command.sources) {
    for (const AddressAndMask& destination : command.destinations) {
      SetAddresses(source, destination, &rule.selector);
      if (++done == count) {
        chain->rules.push_back(std::move(rule));
      } else {
        chain->rules.push_back(rule);
      }
    }
  }
  return {};
}

// -I, -D, -R and -C: every pair of addresses is a rule.
Status SaveReader::ChangeRules(const ParsedCommand& command, Rule& rule) {
  for (const AddressAndMask& source : command.sources) {
    for (const AddressAndMask& destination : command.destinations) {
      SetAddresses(source, destination, &rule.selector);
      if (command.kind == CommandKind::kCheck) {
        const Chain* chain = chains_->Find(command.chain);
        const bool found =
            chain != nullptr &&
            std::any_of(chain->rules.begin(), chain->rules.end(),
                        [&](const Rule& r) { return r.SameAs(rule); });
        if (!found) {
          return Fail(ErrorCode::kConflict,
                      fmt::format("no such rule in chain '{}'", command.chain),
                      Place(command.chain_column, command.chain));
        }
        continue;
      }
      Change change{.table = chains_->table().kind,
                    .chain = std::string(command.chain),
                    .rulenum = command.rulenum,
                    .rule = rule};
      change.kind = *ChangeKindOf(command.kind);
      RETURN_IF_ERROR(Apply(std::move(change), command));
    }
  }
  return {};
}

// The family a text says it is for: the first header before the first table.
Family DetectFamily(std::string_view text) {
  constexpr std::string_view kGenerated = "# Generated by ";
  while (!text.empty() && text[0] != '*') {
    if (text.starts_with(kGenerated)) {
      return text.substr(kGenerated.size()).starts_with("ip6tables")
                 ? Family::kIpv6
                 : Family::kIpv4;
    }
    const size_t end = text.find('\n');
    if (end == std::string_view::npos) break;
    text.remove_prefix(end + 1);
  }
  return Family::kIpv4;
}

}  // namespace

Result<Ruleset> ParseSave(std::string_view text, const ParseOptions& options,
                          std::vector<Warning>* warnings) {
  Family family = Family::kIpv4;
  if (options.family) {
    family = *options.family;
  } else if (options.base != nullptr) {
    family = options.base->family;
  } else {
    family = DetectFamily(text);
  }
  if (options.base != nullptr && options.base->family != family) {
    return Fail(
        ErrorCode::kConflict,
        fmt::format("cannot add an {} text to an {} ruleset",
                    FamilyName(family), FamilyName(options.base->family)),
        {.file = options.file});
  }
  return SaveReader(family, options, warnings).Read(text);
}

Result<Rule> ParseRule(std::string_view text, Family family, TableKind table) {
  if (text.size() > kMaxLineSize) {
    return Fail(ErrorCode::kRange,
                fmt::format("rule of {} bytes; at most {} are allowed",
                            text.size(), kMaxLineSize));
  }
  if (const size_t bad = text.find_first_of(std::string_view("\0\n", 2));
      bad != std::string_view::npos) {
    return Fail(ErrorCode::kSyntax, "NUL byte or newline in a rule",
                {.column = static_cast<uint32_t>(bad + 1)});
  }
  LibrarySession session(family);
  RETURN_IF_ERROR(session.status());
  RuleParser parser(&session, table, nullptr, {});
  ParsedCommand command;
  Rule rule;
  RETURN_IF_ERROR(parser.Parse(text, 0, false, &command, &rule));
  if (command.kind != CommandKind::kNone) {
    return Fail(ErrorCode::kSyntax, "a command where a rule is expected",
                {.column = 1, .text = std::string(text)});
  }
  if (command.sources.empty()) {
    return Fail(ErrorCode::kSyntax, "rule for the other family",
                {.column = 1, .text = std::string(text)});
  }
  if (command.sources.size() != 1 || command.destinations.size() != 1) {
    return Fail(ErrorCode::kSyntax, "several addresses make several rules",
                {.column = 1, .text = std::string(text)});
  }
  SetAddresses(command.sources[0], command.destinations[0], &rule.selector);
  return rule;
}

}  // namespace nfarena
