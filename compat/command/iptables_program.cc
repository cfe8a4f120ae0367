// iptables and ip6tables: one call, one change or listing.
#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "compat/command/call.h"
#include "compat/command/iptc_message.h"
#include "compat/command/messages.h"
#include "compat/command/program.h"
#include "compat/syntax/command_change.h"
#include "compat/syntax/list_printer.h"
#include "compat/syntax/save_printer.h"

namespace nfarena {
namespace {

bool TakesRule(CommandKind kind) {
  return kind == CommandKind::kAppend || kind == CommandKind::kInsert ||
         kind == CommandKind::kReplace || kind == CommandKind::kDelete ||
         kind == CommandKind::kCheck;
}

class Runner {
 public:
  Runner(const Program& program, RulesetStore* store, ProgramOutput* output)
      : program_(program), store_(store), output_(output) {}

  int Run(std::span<const char* const> arguments);

 private:
  int RunInTable();
  int List();
  int Check();
  int Commit(Delta delta);
  void ShowRules();
  void ShowChains(std::string_view what, bool builtin_too);
  Rule InForce(const Chain& chain, const Rule& given) const;
  Delta MakeDelta() const;
  int NoChain() {
    return ReportFailure(program_, "No chain/target/match by that name",
                         Error{}, output_);
  }

  const Program& program_;
  RulesetStore* store_;
  ProgramOutput* output_;
  Call call_;
  TableKind kind_ = TableKind::kFilter;
  Ruleset ruleset_;
  const Table* table_ = nullptr;
};

std::string Help(const Program& program) {
  return fmt::format(R"({0}

Usage: {1} -[ACD] chain rule-specification [options]
       {1} -I chain [rulenum] rule-specification [options]
       {1} -R chain rulenum rule-specification [options]
       {1} -D chain rulenum [options]
       {1} -[LS] [chain [rulenum]] [options]
       {1} -[FZ] [chain] [options]
       {1} -[NX] chain
       {1} -E old-chain-name new-chain-name
       {1} -P chain target [options]
       {1} -h (print this help information)

Commands:
  --append  -A chain            add a rule at the end of the chain
  --check   -C chain            exit status 0 if the rule is there, else 1
  --delete  -D chain            remove the first rule that is equal
  --delete  -D chain rulenum    remove that rule, counted from 1
  --insert  -I chain [rulenum]  put a rule before that one (default: the first)
  --replace -R chain rulenum    put a rule in the place of that one
  --list    -L [chain [rulenum]]  show the rules as a table
  --list-rules -S [chain [rulenum]]  show the rules as commands
  --flush   -F [chain]          remove all rules
  --zero    -Z [chain [rulenum]]  set the counters to zero
  --new     -N chain            make a chain
  --delete-chain -X [chain]     remove a chain, or all that users made
  --policy  -P chain target     what a built-in chain does at its end
  --rename-chain -E old new     rename a chain and the jumps to it

Options ([!] may stand before those marked so):
  --ipv4 -4, --ipv6 -6          the family; the other one is an error
[!] --protocol -p proto         by number or name
[!] --source -s address[/mask][,...]
[!] --destination -d address[/mask][,...]
[!] --in-interface -i name[+]
[!] --out-interface -o name[+]
  --jump  -j target             a target or a chain
  --goto  -g chain              a chain, without return
  --match -m match              an extension
  --numeric -n                  numbers instead of names
  --table -t table              filter (default), nat, mangle, raw, security
  --verbose -v                  counters and interfaces; what is done
  --wait  -w [seconds]          wait for others who change rules
  --line-numbers                in lists
  --exact -x                    counters without K, M and G
[!] --fragment -f               second and further fragments only
  --modprobe=command            taken, and not used: nothing is loaded
  --set-counters -c PKTS BYTES  counters of the rule or policy
  --version -V
)",
                     VersionText(program), program.name);
}

int Runner::Run(std::span<const char* const> arguments) {
  Status parsed = ParseCall(program_.family, arguments, &call_);
  AddLines(call_.warnings, &output_->err);
  call_.warnings.clear();
  if (!parsed) return ReportProblem(program_, parsed.error(), output_);
  if (call_.version) {
    output_->out += VersionText(program_) + '\n';
    return kProgramOk;
  }
  if (call_.help) {
    output_->out += Help(program_) + call_.extensions_help;
    return kProgramOk;
  }
  if (Status locked = store_->Lock(call_.wait_seconds); !locked) {
    return ReportLock(call_.wait_seconds, locked.error(), output_);
  }
  const auto kind = TableKindFromName(call_.table);
  if (!kind) {
    output_->err += fmt::format(
        "{}: can't initialize iptables table `{}': Table does not exist (do "
        "you need to insmod?)\nPerhaps {} or your kernel needs to be "
        "upgraded.\n",
        VersionText(program_), call_.table, program_.name);
    return kProgramNoTable;
  }
  kind_ = *kind;
  auto ruleset = store_->Read();
  if (!ruleset) {
    output_->err += fmt::format(
        "{}: can't initialize iptables table `{}': {}\n", VersionText(program_),
        call_.table, ruleset.error().ToString());
    return kProgramNoTable;
  }
  ruleset_ = *std::move(ruleset);
  table_ = &ruleset_.EnsureTable(kind_);
  return RunInTable();
}

int Runner::RunInTable() {
  if (TakesRule(call_.kind)) {
    Status resolved = ResolveTargets(*table_, &call_);
    AddLines(call_.warnings, &output_->err);
    if (!resolved) return ReportProblem(program_, resolved.error(), output_);
    if (call_.verbose != 0) ShowRules();
  }
  switch (call_.kind) {
    case CommandKind::kList:
    case CommandKind::kListRules:
      return List();
    case CommandKind::kCheck:
      return Check();
    case CommandKind::kFlush:
      ShowChains("Flushing", true);
      break;
    case CommandKind::kZero:
      ShowChains("Zeroing", true);
      break;
    case CommandKind::kDeleteChain:
      ShowChains("Deleting", false);
      break;
    case CommandKind::kPolicy:
      if (call_.policy != "ACCEPT" && call_.policy != "DROP") {
        const Chain* chain = table_->chain(call_.chain);
        return ReportFailure(program_,
                             chain != nullptr && chain->hook
                                 ? "Bad policy name"
                                 : "Bad built-in chain name",
                             Error{}, output_);
      }
      break;
    default:
      break;
  }
  return Commit(MakeDelta());
}

void Runner::ShowRules() {
  for (const Rule& rule : call_.rules) {
    output_->out += PrintRuleLine(program_.family, rule, nullptr);
  }
}

void Runner::ShowChains(std::string_view what, bool builtin_too) {
  if (call_.verbose == 0) return;
  const auto say = [&](std::string_view name) {
    output_->out += fmt::format("{} chain `{}'\n", what, name);
  };
  // Said before it is tried, so also of a chain that there is not.
  if (!call_.chain.empty()) return say(call_.chain);
  for (const Chain& chain : table_->chains) {
    if (builtin_too || !chain.hook) say(chain.name);
  }
}

int Runner::List() {
  if (!call_.chain.empty() && table_->chain(call_.chain) == nullptr) {
    return NoChain();
  }
  if (call_.kind == CommandKind::kList) {
    output_->out += PrintList(program_.family, *table_,
                              {.verbose = call_.verbose != 0,
                               .numeric = call_.numeric,
                               .exact = call_.exact,
                               .line_numbers = call_.line_numbers},
                              call_.chain, call_.rulenum);
  } else {
    output_->out += PrintListRules(program_.family, *table_, call_.verbose != 0,
                                   call_.chain, call_.rulenum);
  }
  if (!call_.also_zero) return kProgramOk;
  if (call_.zero_rulenum == 0) ShowChains("Zeroing", true);
  return Commit({Change{.kind = ChangeKind::kZero,
                        .table = kind_,
                        .chain = call_.chain,
                        .rulenum = call_.zero_rulenum}});
}

int Runner::Check() {
  const Chain* chain = table_->chain(call_.chain);
  if (chain == nullptr) return NoChain();
  const bool all = std::all_of(
      call_.rules.begin(), call_.rules.end(), [&](const Rule& given) {
        const Rule wanted = InForce(*chain, given);
        return std::any_of(
            chain->rules.begin(), chain->rules.end(),
            [&](const Rule& rule) { return rule.SameAs(wanted); });
      });
  if (all) return kProgramOk;
  return ReportFailure(program_,
                       "Bad rule (does a matching rule exist in that chain?)",
                       Error{}, output_);
}

/// The rule that the given one is called in the chain.  Most are listed as they
/// are given; only for others the place is asked.
Rule Runner::InForce(const Chain& chain, const Rule& given) const {
  const bool as_given =
      std::any_of(chain.rules.begin(), chain.rules.end(),
                  [&](const Rule& rule) { return rule.SameAs(given); });
  return as_given ? given : store_->Shown(kind_, chain, given);
}

Delta Runner::MakeDelta() const {
  const auto kind = ChangeKindOf(call_.kind);
  if (!kind) return {};
  Change change{.kind = *kind, .table = kind_, .chain = call_.chain};
  change.rulenum = call_.rulenum;
  change.rename_to = call_.new_name;
  change.policy = call_.policy == "DROP" ? Policy::kDrop : Policy::kAccept;
  change.counters = call_.rules[0].counters;
  if (!TakesRule(call_.kind)) return {change};
  const Chain* chain = table_->chain(call_.chain);
  Delta delta;
  for (const Rule& rule : call_.rules) {
    delta.push_back(change);
    delta.back().rule =
        change.kind == ChangeKind::kDeleteRule && chain != nullptr
            ? InForce(*chain, rule)
            : rule;
  }
  return delta;
}

int Runner::Commit(Delta delta) {
  // Said in libiptc's words where it would say so; what only the engine knows
  // is said in the engine's.
  for (const Change& change : delta) {
    const std::string_view words = IptcMessage(change, ruleset_);
    Status status = ApplyChange(change, &ruleset_);
    if (!words.empty() || !status) {
      return ReportFailure(program_, words, status ? Error{} : status.error(),
                           output_);
    }
  }
  if (Status status = store_->Apply(delta); !status) {
    return ReportFailure(program_, "", status.error(), output_);
  }
  return kProgramOk;
}

}  // namespace

int RunIptables(const Program& program, std::span<const char* const> arguments,
                RulesetStore* store, ProgramOutput* output) {
  return Runner(program, store, output).Run(arguments);
}

}  // namespace nfarena
