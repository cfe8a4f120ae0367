#include "compat/command/call.h"

#include <fmt/format.h>

#include <cstdio>

#include "compat/model/target_name.h"
#include "compat/syntax/extension_library.h"

namespace nfarena {
namespace {

void ExpandAddresses(const ParsedCommand& command, const Rule& rule,
                     std::vector<Rule>* out) {
  for (const AddressAndMask& source : command.sources) {
    for (const AddressAndMask& destination : command.destinations) {
      Rule& one = out->emplace_back(rule);
      one.selector.src = source.address;
      one.selector.src_mask = source.mask;
      one.selector.dst = destination.address;
      one.selector.dst_mask = destination.mask;
    }
  }
}

// Source: iptables 1.8.9, iptables/xshared.c assert_valid_chain_name().
Status CheckNewName(LibrarySession* session, std::string_view name) {
  if (name.starts_with('-') || name.starts_with('!')) {
    return Fail(
        ErrorCode::kSyntax,
        fmt::format("chain name not allowed to start with `{}'", name[0]));
  }
  if (name.empty() || IsStandardTarget(name) ||
      session->FindTarget(name) != nullptr) {
    return Fail(ErrorCode::kSyntax,
                "chain name may not clash with target name");
  }
  if (name.find_first_of(" \t\n\v\f\r") != std::string_view::npos) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("Invalid chain name `{}'", name));
  }
  return {};
}

}  // namespace

Status ParseCall(Family family, std::span<const char* const> arguments,
                 Call* call) {
  LibrarySession session(family);
  RETURN_IF_ERROR(session.status());
  RuleParser parser(&session, std::nullopt, nullptr, {.resolve = true});
  ParsedCommand command;
  Rule rule;
  Status parsed = parser.ParseArguments(arguments, &command, &rule);
  call->warnings = session.TakeDiagnostics();
  RETURN_IF_ERROR(std::move(parsed));
  call->kind = command.kind;
  if (!command.table.empty()) call->table = command.table;
  call->chain = command.chain;
  call->new_name = command.new_name;
  call->policy = command.policy;
  call->rulenum = command.rulenum;
  call->has_counters = command.has_counters;
  call->also_zero = command.also_zero;
  call->zero_rulenum = command.zero_one ? command.rulenum : 0;
  call->verbose = command.verbose;
  call->numeric = command.numeric;
  call->exact = command.exact;
  call->line_numbers = command.line_numbers;
  call->wait_seconds = command.wait.value_or(0);
  call->version = command.version;
  call->help = command.help;
  if (call->help) {
    StdoutCapture capture(&call->extensions_help);
    for (const LoadedExtension* extension : parser.extensions()) {
      const auto help = extension->match != nullptr ? extension->match->help
                                                    : extension->target->help;
      std::fputc('\n', stdout);
      if (help != nullptr) help();
    }
  }
  if (call->version || call->help) return {};
  ExpandAddresses(command, rule, &call->rules);
  if (call->rules.empty()) call->rules.push_back(std::move(rule));
  if (call->kind == CommandKind::kNewChain) {
    RETURN_IF_ERROR(CheckNewName(&session, call->chain));
  }
  const bool drops =
      call->policy == "DROP" || call->rules[0].target.kind == TargetKind::kDrop;
  if (call->table == "nat" && drops) {
    return Fail(ErrorCode::kSyntax,
                "\nThe \"nat\" table is not intended for filtering, the use of "
                "DROP is therefore inhibited.\n\n");
  }
  return {};
}

Status ResolveTargets(const Table& table, Call* call) {
  Target target = call->rules[0].target;
  const bool is_goto = target.kind == TargetKind::kGoto;
  if (target.kind == TargetKind::kExtension) {
    if (table.chain(target.extension.name) == nullptr) return {};
    call->warnings.push_back(fmt::format(
        "Warning: using chain {}, not extension", target.extension.name));
    target.kind = TargetKind::kJump;
    target.chain = target.extension.name;
    target.extension = {};
    for (Rule& rule : call->rules) rule.target = target;
    return {};
  }
  if (target.kind != TargetKind::kJump && !is_goto) return {};
  if (table.chain(target.chain) != nullptr) return {};
  if (is_goto) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("goto '{}' is not a chain\n", target.chain));
  }
  return Fail(ErrorCode::kSyntax,
              fmt::format("Couldn't load target `{}':No such file or "
                          "directory\n",
                          target.chain));
}

}  // namespace nfarena
