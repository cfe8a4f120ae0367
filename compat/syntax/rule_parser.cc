#include "compat/syntax/rule_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <climits>
#include <cstdio>
#include <cstring>

#include "compat/syntax/base_options.h"
#include "compat/syntax/protocol_name.h"

namespace nfarena {

namespace {

// Thrown inside this file only; Parse() makes an Error of it.
struct Refusal {
  ErrorCode code;
  std::string message;
  int word;
};

enum OptionBit : uint32_t {
  kOptNumeric = 1 << 0,
  kOptSource = 1 << 1,
  kOptDestination = 1 << 2,
  kOptProtocol = 1 << 3,
  kOptJump = 1 << 4,
  kOptVerbose = 1 << 5,
  kOptExpanded = 1 << 6,
  kOptIn = 1 << 7,
  kOptOut = 1 << 8,
  kOptLineNumbers = 1 << 9,
  kOptCounters = 1 << 10,
  kOptFragment = 1 << 11,
};

bool TakesRule(CommandKind kind) {
  return kind == CommandKind::kAppend || kind == CommandKind::kCheck ||
         kind == CommandKind::kDelete || kind == CommandKind::kReplace ||
         kind == CommandKind::kInsert;
}

bool IsBlank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

TargetKind StandardTarget(std::string_view name) {
  switch (name.size()) {
    case 4:
      return name == "DROP" ? TargetKind::kDrop : TargetKind::kNone;
    case 5:
      return name == "QUEUE" ? TargetKind::kQueue : TargetKind::kNone;
    case 6:
      return name == "ACCEPT"   ? TargetKind::kAccept
             : name == "RETURN" ? TargetKind::kReturn
                                : TargetKind::kNone;
    default:
      return TargetKind::kNone;
  }
}

// The sscanf("%llu") of iptables: digits first, the rest is not looked at.
bool ParseCounter(std::string_view text, uint64_t* out) {
  while (!text.empty() && IsBlank(text[0])) text.remove_prefix(1);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end != text.data();
}

}  // namespace

RuleParser::RuleParser(LibrarySession* session, std::optional<TableKind> table,
                       const ChainNames* chains, const Options& options)
    : session_(session),
      table_(table),
      chains_(chains),
      options_given_(options),
      ipv4_(session->family() == Family::kIpv4) {}

void RuleParser::Refuse(ErrorCode code, std::string message, int index) const {
  throw Refusal{code, std::move(message), index};
}

Status RuleParser::Parse(std::string_view line, size_t start, bool need_command,
                         ParsedCommand* command, Rule* rule) {
  RETURN_IF_ERROR(words_.Split(line, start));
  return ParseWords(need_command, command, rule);
}

Status RuleParser::ParseArguments(std::span<const char* const> arguments,
                                  ParsedCommand* command, Rule* rule) {
  words_.Take(arguments);
  return ParseWords(true, command, rule);
}

Status RuleParser::ParseWords(bool need_command, ParsedCommand* command,
                              Rule* rule) {
  const auto fail = [&](ErrorCode code, std::string message, int word) {
    SourcePlace place;
    if (word > 0 && word < words_.count()) {
      place.column = words_.column(word);
      place.text = std::string(words_.word(word));
    }
    return Fail(code, std::move(message), std::move(place));
  };
  try {
    Run(command, rule);
    if (command->version || command->help) return {};
    if (need_command && !has_command_) {
      return fail(ErrorCode::kSyntax, "no command in this line", 1);
    }
    CheckCommand();
    FinishRule();
  } catch (const Refusal& refusal) {
    return fail(refusal.code, refusal.message, refusal.word);
  } catch (const XtablesExit& exit) {
    return fail(
        exit.parameter_problem ? ErrorCode::kSyntax : ErrorCode::kSystem,
        exit.message, current_);
  }
  return {};
}

void RuleParser::Run(ParsedCommand* command, Rule* rule) {
  command_ = command;
  rule_ = rule;
  command->kind = CommandKind::kNone;
  command->chain = command->new_name = command->policy = command->table = {};
  command->rulenum = command->verbose = 0;
  command->has_counters = command->also_zero = command->zero_one = false;
  command->numeric = command->exact = command->line_numbers = false;
  command->version = command->help = false;
  command->wait.reset();
  command->sources.clear();
  command->destinations.clear();
  command->resolved_names.clear();
  next_ = 1;
  invert_ = ended_ = has_command_ = false;
  options_ = 0;
  command_word_ = current_ = source_word_ = destination_word_ = 0;
  protocol_ = nullptr;
  protocol_match_loaded_ = has_target_ = false;
  matches_used_ = 0;
  option_sets_.clear();
  entry_.fill(0);

  while (next_ < words_.count() && !ended_) {
    current_ = next_++;
    HandleWord(current_);
  }
}

void RuleParser::HandleWord(int index) {
  char* const word = words_.argv()[index];
  if (word[0] != '-' || word[1] == '\0') {
    if (words_.word(index) == "!") {
      if (invert_) Refuse(ErrorCode::kSyntax, "two '!' in a row", index);
      invert_ = true;
      return;
    }
    Refuse(ErrorCode::kSyntax, fmt::format("bad argument '{}'", word), index);
  }
  if (word[1] != '-') {
    HandleShortOptions(index);
  } else if (word[2] == '\0') {
    // "--" ends the options, and nothing but options is allowed.
    ended_ = true;
    if (next_ < words_.count()) {
      Refuse(ErrorCode::kSyntax, "unknown arguments after '--'", next_);
    }
    return;
  } else {
    HandleLongOption(index);
  }
  invert_ = false;
}

void RuleParser::HandleShortOptions(int index) {
  char* at = words_.argv()[index] + 1;
  while (*at != '\0' && !ended_) {
    const char letter = *at++;
    const int has_arg = static_cast<unsigned char>(letter) < 128
                            ? kShortOptions[static_cast<size_t>(letter)]
                            : -1;
    if (has_arg < 0) {
      // iptables loads the protocol's match before it gives up; no extension
      // has one-letter options, so that would not help.
      Refuse(ErrorCode::kSyntax, fmt::format("unknown option '-{}'", letter),
             index);
    }
    char* argument = nullptr;
    int value_word = index;
    if (has_arg != 0 && *at != '\0') {
      argument = at;
    } else if (has_arg == 1) {
      value_word = next_;
      argument = NextArgument(index);
    }
    HandleBase(letter, argument, index, value_word);
    if (argument != nullptr && argument == at) return;
    if (has_arg != 0) return;
    invert_ = false;
  }
}

void RuleParser::HandleLongOption(int index) {
  char* const name_start = words_.argv()[index] + 2;
  char* const equals = std::strchr(name_start, '=');
  const std::string_view name =
      equals != nullptr
          ? std::string_view(name_start,
                             static_cast<size_t>(equals - name_start))
          : words_.word(index).substr(2);
  FoundOption found;
  while (!FindLongOption(name, &found)) {
    if (!LoadProtocolMatch(index)) {
      std::string hint;
      if (protocol_ == nullptr && matches_used_ == 0) {
        hint = " (no -p or -m before it)";
      }
      Refuse(ErrorCode::kSyntax,
             fmt::format("unknown option '--{}'{}", name, hint), index);
    }
  }
  char* argument = nullptr;
  int value_word = index;
  if (equals != nullptr) {
    if (found.has_arg == 0) {
      Refuse(ErrorCode::kSyntax,
             fmt::format("option '--{}' takes no argument", name), index);
    }
    argument = equals + 1;
  } else if (found.has_arg == 1) {
    value_word = next_;
    argument = NextArgument(index);
  }
  if (found.extension == nullptr) {
    HandleBase(found.base, argument, index, value_word);
  } else {
    HandleExtensionOption(found, argument, index);
  }
}

bool RuleParser::FindLongOption(std::string_view name,
                                FoundOption* found) const {
  // An exact name; the base options come first, then the newest extension.
  for (const BaseOption& option : kBaseOptions) {
    if (option.name == name) {
      *found = {option.letter, nullptr, nullptr, option.has_arg};
      return true;
    }
  }
  for (size_t i = option_sets_.size(); i-- > 0;) {
    for (const ExtensionOption& option : option_sets_[i]->options) {
      if (option.name == name) {
        *found = {0, option_sets_[i], &option, option.has_arg};
        return true;
      }
    }
  }
  // An abbreviation; two that mean the same are not ambiguous.
  bool any = false;
  bool ambiguous = false;
  const auto consider = [&](const FoundOption& candidate) {
    if (!any) {
      *found = candidate;
      any = true;
    } else if (candidate.base != found->base ||
               candidate.extension != found->extension ||
               candidate.has_arg != found->has_arg ||
               (candidate.option != nullptr &&
                candidate.option->value != found->option->value)) {
      ambiguous = true;
    }
  };
  for (const BaseOption& option : kBaseOptions) {
    if (option.name.starts_with(name)) {
      consider({option.letter, nullptr, nullptr, option.has_arg});
    }
  }
  for (size_t i = option_sets_.size(); i-- > 0;) {
    for (const ExtensionOption& option : option_sets_[i]->options) {
      if (option.name.starts_with(name)) {
        consider({0, option_sets_[i], &option, option.has_arg});
      }
    }
  }
  return any && !ambiguous;
}

bool RuleParser::LoadProtocolMatch(int index) {
  if (protocol_ == nullptr || protocol_match_loaded_) return false;
  std::string name = protocol_;
  unsigned number = 0;
  if (xtables_strtoui(protocol_, nullptr, &number, 0, UINT8_MAX)) {
    name = ProtocolName(static_cast<uint16_t>(number),
                        (options_ & kOptNumeric) == 0);
  }
  const LoadedExtension* extension = session_->FindMatch(name);
  if (extension == nullptr) return false;
  protocol_match_loaded_ = true;
  AddMatch(extension, index);
  return true;
}

char* RuleParser::NextArgument(int index) {
  if (next_ >= words_.count()) {
    Refuse(ErrorCode::kSyntax,
           fmt::format("option '{}' needs an argument", words_.argv()[index]),
           index);
  }
  return words_.argv()[next_++];
}

bool RuleParser::HasArgument() const {
  return next_ < words_.count() && words_.text(next_)[0] != '-' &&
         words_.text(next_)[0] != '!';
}

uint32_t RuleParser::RuleNumber(int word) {
  unsigned number = 0;
  if (!xtables_strtoui(words_.argv()[word], nullptr, &number, 1, INT_MAX)) {
    Refuse(ErrorCode::kSyntax,
           fmt::format("invalid rule number '{}'", words_.argv()[word]), word);
  }
  return number;
}

void RuleParser::SetOption(uint32_t bit, char letter, uint8_t invert_bit,
                           int index) {
  if (options_ & bit) {
    Refuse(ErrorCode::kSyntax,
           fmt::format("option '-{}' given more than once", letter), index);
  }
  options_ |= bit;
  if (invert_) {
    if (invert_bit == 0) {
      Refuse(ErrorCode::kSyntax,
             fmt::format("'!' is not allowed before '-{}'", letter), index);
    }
    rule_->selector.inverted |= invert_bit;
  }
}

void RuleParser::SetCommand(CommandKind kind, int index) {
  if (invert_) {
    Refuse(ErrorCode::kSyntax, "'!' is not allowed before a command", index);
  }
  const auto lists = [](CommandKind k) {
    return k == CommandKind::kList || k == CommandKind::kListRules;
  };
  const auto zeroes = [](CommandKind k) {
    return k == CommandKind::kZero || k == CommandKind::kZeroIndex;
  };
  // -L and -Z in one call list first.
  command_->zero_one = command_->kind == CommandKind::kZeroIndex;
  command_->also_zero = (lists(command_->kind) && zeroes(kind)) ||
                        (lists(kind) && zeroes(command_->kind));
  if (has_command_ && !command_->also_zero) {
    Refuse(ErrorCode::kSyntax, "two commands in one line", index);
  }
  if (!(command_->also_zero && zeroes(kind))) command_->kind = kind;
  has_command_ = true;
  command_word_ = index;
}

void RuleParser::HandleCommand(char option, char* argument, int index,
                               int value_word) {
  const auto optional_chain = [&] {
    if (argument != nullptr) {
      command_->chain = argument;
    } else if (HasArgument()) {
      command_->chain_column = words_.column(next_);
      command_->chain = words_.word(next_++);
    }
  };
  command_->chain_column = words_.column(value_word);
  switch (option) {
    case 'A':
      SetCommand(CommandKind::kAppend, index);
      command_->chain = argument;
      break;
    case 'C':
      SetCommand(CommandKind::kCheck, index);
      command_->chain = argument;
      break;
    case 'D':
      SetCommand(CommandKind::kDelete, index);
      command_->chain = argument;
      if (HasArgument()) {
        command_->rulenum = RuleNumber(next_++);
        command_->kind = CommandKind::kDeleteIndex;
      }
      break;
    case 'R':
      SetCommand(CommandKind::kReplace, index);
      command_->chain = argument;
      if (!HasArgument()) {
        Refuse(ErrorCode::kSyntax, "-R needs a rule number", index);
      }
      command_->rulenum = RuleNumber(next_++);
      break;
    case 'I':
      SetCommand(CommandKind::kInsert, index);
      command_->chain = argument;
      command_->rulenum = HasArgument() ? RuleNumber(next_++) : 1;
      break;
    case 'L':
    case 'S':
      SetCommand(option == 'L' ? CommandKind::kList : CommandKind::kListRules,
                 index);
      optional_chain();
      if (HasArgument()) command_->rulenum = RuleNumber(next_++);
      break;
    case 'F':
      SetCommand(CommandKind::kFlush, index);
      optional_chain();
      break;
    case 'Z':
      SetCommand(CommandKind::kZero, index);
      optional_chain();
      if (HasArgument()) {
        command_->rulenum = RuleNumber(next_++);
        // As iptables: "-L -Z chain number" forgets -L, "-Z chain number -L"
        // does both.
        command_->kind = CommandKind::kZeroIndex;
        command_->also_zero = false;
      }
      break;
    case 'N':
      SetCommand(CommandKind::kNewChain, index);
      command_->chain = argument;
      break;
    case 'X':
      SetCommand(CommandKind::kDeleteChain, index);
      optional_chain();
      break;
    case 'E':
      SetCommand(CommandKind::kRename, index);
      command_->chain = argument;
      if (!HasArgument()) {
        Refuse(ErrorCode::kSyntax, "-E needs an old and a new name", index);
      }
      command_->new_name = words_.word(next_++);
      break;
    default:  // 'P'
      SetCommand(CommandKind::kPolicy, index);
      command_->chain = argument;
      if (!HasArgument()) {
        Refuse(ErrorCode::kSyntax, "-P needs a chain and a policy", index);
      }
      command_->policy = words_.word(next_++);
      break;
  }
}

void RuleParser::HandleProtocol(char* name, int index, int value_word) {
  Selector& selector = rule_->selector;
  selector.protocol = ParseProtocol(name, value_word);
  protocol_ = name;
  if (selector.protocol == 0 && (selector.inverted & kInvertProtocol)) {
    Refuse(ErrorCode::kSyntax, "'! -p all' would never match", index);
  }
  // Extensions look at these.
  if (ipv4_) {
    entry4().proto = selector.protocol;
    entry4().invflags = selector.inverted;
  } else {
    entry6().proto = selector.protocol;
    entry6().invflags = selector.inverted;
    entry6().flags |= IP6T_F_PROTO;
  }
}

void RuleParser::HandleAddresses(const char* list, int value_word,
                                 std::vector<AddressAndMask>* addresses) {
  current_ = value_word;
  if (auto parsed =
          ParseAddressList(list, session_->family(), options_given_.resolve,
                           addresses, &command_->resolved_names);
      !parsed) {
    Refuse(parsed.error().code, std::move(parsed.error().message), value_word);
  }
}

void RuleParser::HandleMatch(const char* name, int index, int value_word) {
  if (invert_) {
    Refuse(ErrorCode::kSyntax, "'!' is not allowed before '-m'", index);
  }
  const LoadedExtension* extension = session_->FindMatch(name);
  if (extension == nullptr) {
    Refuse(ErrorCode::kUnsupported, fmt::format("unknown match '{}'", name),
           value_word);
  }
  AddMatch(extension, index);
}

// "-c 1,2" or "-c 1 2".
void RuleParser::HandleCounters(std::string_view packets, int index) {
  std::string_view bytes;
  const size_t comma = packets.find(',', 1);
  if (comma != std::string_view::npos) {
    bytes = packets.substr(comma + 1);
  } else if (HasArgument()) {
    bytes = words_.word(next_++);
  } else {
    Refuse(ErrorCode::kSyntax, "-c needs a packet and a byte counter", index);
  }
  command_->has_counters = true;
  if (!ParseCounter(packets, &rule_->counters.packets) ||
      !ParseCounter(bytes, &rule_->counters.bytes)) {
    Refuse(ErrorCode::kSyntax, "counter is not a number", index);
  }
}

void RuleParser::HandleBase(char option, char* argument, int index,
                            int value_word) {
  Selector& selector = rule_->selector;
  const bool wants_own_word = std::strchr("psdjio", option) != nullptr;
  if (wants_own_word && value_word == index) {
    // iptables 1.8.9 takes the whole word for the value, "-s10.0.0.1".
    Refuse(ErrorCode::kSyntax,
           fmt::format("the value of '-{}' must be a word of its own", option),
           index);
  }
  if (wants_own_word && std::strcmp(argument, "!") == 0) {
    // Up to iptables 1.4 "-s ! x" was allowed; now "!" would be the value.
    Refuse(ErrorCode::kSyntax,
           fmt::format("'!' must stand before '-{}', not after it", option),
           value_word);
  }
  switch (option) {
    case 'p':
      SetOption(kOptProtocol, 'p', kInvertProtocol, index);
      HandleProtocol(argument, index, value_word);
      break;
    case 's':
      SetOption(kOptSource, 's', kInvertSrc, index);
      source_word_ = value_word;
      HandleAddresses(argument, value_word, &command_->sources);
      break;
    case 'd':
      SetOption(kOptDestination, 'd', kInvertDst, index);
      destination_word_ = value_word;
      HandleAddresses(argument, value_word, &command_->destinations);
      break;
    case 'i':
      SetOption(kOptIn, 'i', kInvertIn, index);
      in_word_ = index;
      ParseInterface(
          argument, &selector.in, ipv4_ ? entry4().iniface : entry6().iniface,
          ipv4_ ? entry4().iniface_mask : entry6().iniface_mask, value_word);
      break;
    case 'o':
      SetOption(kOptOut, 'o', kInvertOut, index);
      out_word_ = index;
      ParseInterface(argument, &selector.out,
                     ipv4_ ? entry4().outiface : entry6().outiface,
                     ipv4_ ? entry4().outiface_mask : entry6().outiface_mask,
                     value_word);
      break;
    case 'f':
      if (!ipv4_) {
        Refuse(ErrorCode::kSyntax, "-f is not for IPv6, use -m frag", index);
      }
      SetOption(kOptFragment, 'f', kInvertFragment, index);
      selector.fragment = true;
      break;
    case 'j':
    case 'g':
      SetOption(kOptJump, option, 0, index);
      HandleTarget(option, argument, index);
      break;
    case 'm':
      HandleMatch(argument, index, value_word);
      break;
    case 'c':
      SetOption(kOptCounters, 'c', 0, index);
      HandleCounters(argument, index);
      break;
    case '4':
    case '6':
      if ((option == '4') != ipv4_) {
        if (!table_) {
          Refuse(ErrorCode::kSyntax,
                 fmt::format("-{} is for the other family", option), index);
        }
        // The rest of the line is not looked at.
        ended_ = true;
        command_->kind = CommandKind::kNone;
        has_command_ = true;
      }
      break;
    case 't':
    case 'w':
    case 'W':
    case 'V':
    case 'h':
      HandleProgramOption(option, argument, index);
      break;
    case 'n':
      SetOption(kOptNumeric, 'n', 0, index);
      command_->numeric = true;
      break;
    case 'v':
      if (!(options_ & kOptVerbose)) SetOption(kOptVerbose, 'v', 0, index);
      ++command_->verbose;
      break;
    case 'x':
      SetOption(kOptExpanded, 'x', 0, index);
      command_->exact = true;
      break;
    case '0':
      SetOption(kOptLineNumbers, '0', 0, index);
      command_->line_numbers = true;
      break;
    case 'M':
      break;  // how to load kernel modules: nothing of a ruleset
    default:
      HandleCommand(option, argument, index, value_word);
      break;
  }
}

void RuleParser::HandleProgramOption(char option, char* argument, int index) {
  if (table_) {
    Refuse(ErrorCode::kSyntax,
           option == 't' ? std::string("-t is not allowed inside a table")
           : option == 'V' || option == 'h'
               ? std::string("not a command for a save file")
               : fmt::format("-{} is not allowed in a save file", option),
           index);
  }
  if (option != 'V' && invert_) {
    Refuse(ErrorCode::kSyntax,
           fmt::format("'!' is not allowed before '-{}'", option), index);
  }
  switch (option) {
    case 't':
      command_->table = argument;
      break;
    case 'w':
    case 'W': {
      if (argument == nullptr && HasArgument())
        argument = words_.argv()[next_++];
      int number = -1;
      if (argument != nullptr && std::sscanf(argument, "%i", &number) != 1) {
        Refuse(ErrorCode::kSyntax,
               option == 'w' ? "wait seconds not numeric"
                             : "wait interval not numeric",
               index);
      }
      if (option == 'w') {
        command_->wait = number;
      } else {
        session_->AddDiagnostic("Ignoring deprecated --wait-interval option.");
      }
      break;
    }
    default:
      (option == 'V' ? command_->version : command_->help) = true;
      ended_ = true;
      break;
  }
}

uint16_t RuleParser::ParseProtocol(char* name, int index) {
  current_ = index;
  for (char* c = name; *c != '\0'; ++c) {
    if (*c >= 'A' && *c <= 'Z') *c = static_cast<char>(*c - 'A' + 'a');
  }
  const std::string_view text = name;
  if (text == "tcp") return IPPROTO_TCP;
  if (text == "udp") return IPPROTO_UDP;
  if (const auto known = protocols_.find(name); known != protocols_.end()) {
    return known->second;
  }
  const uint16_t number = xtables_parse_protocol(name);
  protocols_.emplace(name, number);
  return number;
}

void RuleParser::ParseInterface(const char* name, InterfaceTest* test,
                                char* entry_name, unsigned char* entry_mask,
                                int index) {
  const std::string_view text = name;
  if (text.empty()) {
    Refuse(ErrorCode::kSyntax, "empty interface name", index);
  }
  if (text.size() + 1 > test->name.size()) {
    Refuse(ErrorCode::kSyntax,
           fmt::format("interface name '{}' is longer than {} bytes", name,
                       test->name.size() - 1),
           index);
  }
  if (text.find_first_of("/ ") != std::string_view::npos) {
    current_ = index;
    session_->AddDiagnostic(fmt::format(
        "interface name '{}' has a character the kernel does not allow", name));
  }
  // "eth+" tests 3 bytes, "eth0" five: its NUL is part of it.
  const bool prefix = text.back() == '+';
  const size_t tested = prefix ? text.size() - 1 : text.size() + 1;
  // "+" alone tests nothing; save prints nothing for it either.
  if (tested != 0) std::memcpy(test->name.data(), name, text.size());
  std::memset(test->mask.data(), 0xff, tested);
  std::memcpy(entry_name, test->name.data(), test->name.size());
  std::memcpy(entry_mask, test->mask.data(), test->mask.size());
}

void RuleParser::HandleTarget(char option, const char* name, int index) {
  const std::string_view text = name;
  const int value_word = next_ - 1;
  if (text.empty() || text.size() >= XT_EXTENSION_MAXNAMELEN ||
      std::any_of(text.begin(), text.end(), IsBlank)) {
    Refuse(ErrorCode::kSyntax, fmt::format("invalid target name '{}'", text),
           value_word);
  }
  Target& target = rule_->target;
  target.column = words_.column(index);
  const TargetKind standard = StandardTarget(text);
  if (option == 'j' && standard != TargetKind::kNone) {
    if (table_ == TableKind::kNat && standard == TargetKind::kDrop) {
      Refuse(ErrorCode::kSyntax, kNoDropInNat, value_word);
    }
    target.kind = standard;
    return;
  }
  const bool is_chain =
      chains_ != nullptr ? chains_->IsChain(text) : option == 'g';
  if (is_chain) {
    if (chains_ != nullptr && chains_->IsBuiltin(text)) {
      Refuse(ErrorCode::kSyntax,
             fmt::format("cannot jump to the built-in chain '{}'", text),
             value_word);
    }
    target.kind = option == 'g' ? TargetKind::kGoto : TargetKind::kJump;
    target.chain = text;
    return;
  }
  if (option == 'g') {
    Refuse(ErrorCode::kSyntax,
           fmt::format("goto '{}': there is no such chain", text), value_word);
  }
  const LoadedExtension* extension = session_->FindTarget(text);
  if (extension == nullptr) {
    if (chains_ == nullptr) {
      target.kind = TargetKind::kJump;
      target.chain = text;
      return;
    }
    Refuse(
        ErrorCode::kSyntax,
        fmt::format("'{}' is neither a chain of this table nor a target", text),
        value_word);
  }
  if (table_ && extension->only_table && *extension->only_table != *table_) {
    Refuse(ErrorCode::kConflict,
           fmt::format("wrong table: target {} is only for the {} table, not "
                       "for {}",
                       text, TableName(*extension->only_table),
                       TableName(*table_)),
           value_word);
  }
  target.kind = TargetKind::kExtension;
  has_target_ = true;
  target_.Start(extension, index);
  if (extension->converted) {
    session_->AddDiagnostic(
        fmt::format("target {} is listed as {}", text, extension->kernel_name));
  }
  option_sets_.push_back(extension);
}

void RuleParser::AddMatch(const LoadedExtension* extension, int word) {
  bool repeated = false;
  for (size_t i = 0; i < matches_used_; ++i) {
    if (matches_[i].extension().name == extension->name) {
      matches_[i].set_completed();
      repeated = true;
    }
  }
  if (matches_used_ == matches_.size()) matches_.emplace_back();
  current_ = word;
  matches_[matches_used_].Start(extension, word);
  ++matches_used_;
  if (extension->converted) {
    session_->AddDiagnostic(fmt::format(
        "match {} is listed as {}", extension->name, extension->kernel_name));
  }
  // The options of a repeated match keep their place in the order.
  if (!repeated) option_sets_.push_back(extension);
}

void RuleParser::HandleExtensionOption(const FoundOption& found, char* argument,
                                       int index) {
  current_ = index;
  const OptionContext context{.argv = words_.argv(),
                              .argc = words_.count(),
                              .next = &next_,
                              .invert = invert_,
                              .entry = &entry_,
                              .family = session_->family(),
                              .resolve = options_given_.resolve,
                              .literals = options_given_.literals,
                              .sets = options_given_.sets,
                              .resolved_names = &command_->resolved_names};
  if (has_target_ && found.extension == &target_.extension()) {
    target_.ParseOption(*found.option, argument, context);
    return;
  }
  for (size_t i = matches_used_; i-- > 0;) {
    if (&matches_[i].extension() == found.extension &&
        !matches_[i].completed()) {
      matches_[i].ParseOption(*found.option, argument, context);
      return;
    }
  }
  Refuse(ErrorCode::kSyntax, "option of an extension that is not in use",
         index);
}

void RuleParser::CheckCommand() {
  if (command_->kind == CommandKind::kNone && has_command_) return;
  if (invert_) {
    Refuse(ErrorCode::kSyntax, "nothing after '!'", words_.count() - 1);
  }
  // Options that the command does not take.  Source: commands_v_options[] of
  // iptables/xshared.c.
  constexpr uint32_t kRuleOptions = kOptSource | kOptDestination |
                                    kOptProtocol | kOptJump | kOptIn | kOptOut |
                                    kOptFragment;
  uint32_t legal = kOptVerbose;
  switch (command_->kind) {
    case CommandKind::kAppend:
    case CommandKind::kInsert:
    case CommandKind::kReplace:
      legal |= kRuleOptions | kOptCounters;
      break;
    case CommandKind::kDelete:
    case CommandKind::kCheck:
      legal |= kRuleOptions;
      break;
    case CommandKind::kNone:  // a bare rule
      legal |= kRuleOptions | kOptCounters;
      break;
    case CommandKind::kPolicy:
      legal |= kOptCounters;
      break;
    case CommandKind::kList:
      legal |= kOptNumeric | kOptExpanded | kOptLineNumbers;
      break;
    case CommandKind::kListRules:
    default:
      break;
  }
  if (const uint32_t illegal = options_ & ~legal; illegal != 0) {
    constexpr char kLetters[] = "nsdpjvxio0cf";
    const char letter = kLetters[__builtin_ctz(illegal)];
    Refuse(ErrorCode::kSyntax,
           fmt::format("option '{}' is not allowed with this command",
                       letter == '0' ? std::string("--line-numbers")
                                     : fmt::format("-{}", letter)),
           command_word_);
  }
  if (command_->chain.size() >= XT_EXTENSION_MAXNAMELEN) {
    Refuse(ErrorCode::kSyntax,
           fmt::format("chain name '{}' is longer than {} bytes",
                       command_->chain, XT_EXTENSION_MAXNAMELEN - 1),
           command_word_);
  }
  const std::string_view chain = command_->chain;
  if ((options_ & kOptOut) && (chain == "PREROUTING" || chain == "INPUT")) {
    Refuse(ErrorCode::kSyntax,
           fmt::format("-o is not allowed in chain {}", chain), out_word_);
  }
  if ((options_ & kOptIn) && (chain == "POSTROUTING" || chain == "OUTPUT")) {
    Refuse(ErrorCode::kSyntax,
           fmt::format("-i is not allowed in chain {}", chain), in_word_);
  }
}

void RuleParser::FinishRule() {
  if (has_command_ && command_->kind == CommandKind::kNone) return;
  for (size_t i = 0; i < matches_used_; ++i) {
    current_ = matches_[i].word();
    matches_[i].FinalCheck();
  }
  if (has_target_) {
    current_ = target_.word();
    target_.FinalCheck();
  }
  if (has_command_ && !TakesRule(command_->kind)) return;

  if (command_->sources.empty()) command_->sources.emplace_back();
  if (command_->destinations.empty()) command_->destinations.emplace_back();
  const int address_word = source_word_ != 0 ? source_word_ : destination_word_;
  if ((command_->sources.size() > 1 || command_->destinations.size() > 1)) {
    if (rule_->selector.inverted & (kInvertSrc | kInvertDst)) {
      Refuse(ErrorCode::kSyntax, "'!' is not allowed with several addresses",
             address_word);
    }
    if (command_->kind == CommandKind::kReplace) {
      Refuse(ErrorCode::kSyntax, "-R takes one source and one destination",
             address_word);
    }
  }
  rule_->matches.resize(matches_used_);
  for (size_t i = 0; i < matches_used_; ++i) {
    matches_[i].Store(session_->family(), &rule_->matches[i]);
    rule_->matches[i].column = words_.column(matches_[i].word());
  }
  if (has_target_) {
    target_.Store(session_->family(), &rule_->target.extension);
    rule_->target.extension.column = rule_->target.column;
  }
}

}  // namespace nfarena
