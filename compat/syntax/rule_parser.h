// One command line in the language of iptables, "-A INPUT -s 192.0.2.1 -j
// DROP", -> what to do and the rule.
//
// Follows iptables' own order of work, because it shows: base options come
// before those of extensions, later extensions before earlier ones, names may
// be abbreviated, an unknown option loads the protocol's match.
// Source: iptables 1.8.9, iptables/xshared.c do_parse(), getopt_long(3).
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"
#include "compat/syntax/address.h"
#include "compat/syntax/extension_instance.h"
#include "compat/syntax/extension_library.h"
#include "compat/syntax/known_sets.h"
#include "compat/syntax/tokenizer.h"
#include "compat/syntax/xt_headers.h"

namespace nfarena {

enum class CommandKind : uint8_t {
  kNone,  // -4 or -6 said that the line is for the other family
  kAppend,
  kCheck,
  kDelete,
  kDeleteIndex,
  kReplace,
  kInsert,
  kList,       // -L: nothing to do for a ruleset
  kListRules,  // -S
  kFlush,
  kZero,
  kZeroIndex,
  kNewChain,
  kDeleteChain,
  kRename,
  kPolicy,
};

/// What the parser must know about the table that the line is for.
class ChainNames {
 public:
  virtual ~ChainNames() = default;
  virtual bool IsChain(std::string_view name) const = 0;
  virtual bool IsBuiltin(std::string_view name) const = 0;
};

/// A parsed line.  Views point into the parser and live until its next call.
struct ParsedCommand {
  CommandKind kind = CommandKind::kNone;
  std::string_view chain;
  std::string_view new_name;  // kRename
  std::string_view policy;    // kPolicy
  uint32_t rulenum = 0;
  uint32_t chain_column = 0;
  bool has_counters = false;  // -c
  bool also_zero = false;     // -Z together with -L or -S
  bool zero_one = false;      // of it, only the rule `rulenum`
  uint32_t verbose = 0;       // how often -v was given
  bool numeric = false, exact = false, line_numbers = false;
  // What only a program takes, not a line of a save file.
  std::string_view table;   // -t; "" = not given
  std::optional<int> wait;  // -w: seconds; negative = for ever
  bool version = false, help = false;
  /// Every source with every destination is a rule of its own.
  std::vector<AddressAndMask> sources, destinations;
  std::vector<std::string> resolved_names;
};

/// Said of a target and of a policy.
inline constexpr char kNoDropInNat[] =
    "wrong table: the nat table is not for filtering, DROP is not allowed in "
    "it";

class RuleParser {
 public:
  struct Options {
    bool resolve = false;  // names of hosts are looked up
    /// False: literal ports and addresses of extensions are read by libxtables
    /// too, slowly; for comparing the two ways.
    bool literals = true;
    const KnownSets* sets = nullptr;  // null: the kernel is asked for sets
  };
  /// `session` and what the options point to must outlive the parser.  `chains`
  /// null: any name that is not a target is taken for a chain.  `table` unset:
  /// a program's arguments are parsed, -t among them, and whether the target
  /// fits the table is the caller's to check.
  RuleParser(LibrarySession* session, std::optional<TableKind> table,
             const ChainNames* chains, const Options& options);

  /// Parses `line` from byte `start` on.  The rule's selector, matches and
  /// target go to `rule`, which is empty before; its addresses only to
  /// `command`.  `need_command` false: a rule specification without -A.
  /// Errors have the place's column and text; line and file are the caller's.
  [[nodiscard]] Status Parse(std::string_view line, size_t start,
                             bool need_command, ParsedCommand* command,
                             Rule* rule);
  /// The same for the words a program was called with, without its name.
  [[nodiscard]] Status ParseArguments(std::span<const char* const> arguments,
                                      ParsedCommand* command, Rule* rule);
  /// The extensions that the last line named.
  const std::vector<const LoadedExtension*>& extensions() const {
    return option_sets_;
  }

 private:
  // A long option found: a base option, or one of an extension.
  struct FoundOption {
    char base = 0;
    const LoadedExtension* extension = nullptr;
    const ExtensionOption* option = nullptr;
    int has_arg = 0;
  };

  Status ParseWords(bool need_command, ParsedCommand* command, Rule* rule);
  void Run(ParsedCommand* command, Rule* rule);
  void HandleWord(int index);
  void HandleLongOption(int index);
  void HandleShortOptions(int index);
  void HandleBase(char option, char* argument, int index, int value_word);
  void HandleProtocol(char* name, int index, int value_word);
  void HandleAddresses(const char* list, int value_word,
                       std::vector<AddressAndMask>* addresses);
  void HandleMatch(const char* name, int index, int value_word);
  void HandleCounters(std::string_view packets, int index);
  void HandleExtensionOption(const FoundOption& found, char* argument,
                             int index);
  void HandleCommand(char option, char* argument, int index, int value_word);
  void HandleProgramOption(char option, char* argument, int index);
  void HandleTarget(char option, const char* name, int index);
  bool FindLongOption(std::string_view name, FoundOption* found) const;
  bool LoadProtocolMatch(int index);
  void FinishRule();
  void CheckCommand();

  void AddMatch(const LoadedExtension* extension, int word);
  void SetOption(uint32_t bit, char letter, uint8_t invert_bit, int index);
  void SetCommand(CommandKind kind, int index);
  char* NextArgument(int index);
  bool HasArgument() const;
  uint32_t RuleNumber(int word);
  void ParseInterface(const char* name, InterfaceTest* test, char* entry_name,
                      unsigned char* entry_mask, int index);
  uint16_t ParseProtocol(char* name, int index);

  [[noreturn]] void Refuse(ErrorCode code, std::string message,
                           int index) const;

  LibrarySession* session_;
  const std::optional<TableKind> table_;
  const ChainNames* chains_;
  const Options options_given_;
  bool ipv4_;

  Words words_;
  int next_ = 1;  // index of the next word: getopt's optind
  ParsedCommand* command_ = nullptr;
  Rule* rule_ = nullptr;
  bool invert_ = false;
  bool ended_ = false;  // "--", or -4/-6 for the other family
  bool has_command_ = false;
  int command_word_ = 0;
  uint32_t options_ = 0;  // OptionBit
  int current_ = 0;       // word being handled, for errors
  const char* protocol_ = nullptr;
  bool protocol_match_loaded_ = false;
  int source_word_ = 0, destination_word_ = 0, in_word_ = 0, out_word_ = 0;

  std::deque<ExtensionInstance> matches_;  // reused from line to line
  size_t matches_used_ = 0;
  ExtensionInstance target_;
  bool has_target_ = false;
  /// Extensions whose options are known, newest first in the search.
  std::vector<const LoadedExtension*> option_sets_;

  // What extensions see of the rule: struct ipt_entry or ip6t_entry.
  alignas(8) std::array<char, sizeof(ip6t_entry)> entry_{};
  ipt_ip& entry4() { return reinterpret_cast<ipt_entry*>(&entry_)->ip; }
  ip6t_ip6& entry6() { return reinterpret_cast<ip6t_entry*>(&entry_)->ipv6; }
  std::unordered_map<std::string, uint16_t> protocols_;
};

}  // namespace nfarena
