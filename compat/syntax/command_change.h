// Commands of iptables that are one kind of change.
#pragma once

#include <optional>

#include "compat/model/delta.h"
#include "compat/syntax/rule_parser.h"

namespace nfarena {

/// nullopt: a command that changes nothing.
inline std::optional<ChangeKind> ChangeKindOf(CommandKind command) {
  switch (command) {
    case CommandKind::kAppend:
      return ChangeKind::kAppend;
    case CommandKind::kInsert:
      return ChangeKind::kInsert;
    case CommandKind::kReplace:
      return ChangeKind::kReplace;
    case CommandKind::kDelete:
      return ChangeKind::kDeleteRule;
    case CommandKind::kDeleteIndex:
      return ChangeKind::kDeleteIndex;
    case CommandKind::kFlush:
      return ChangeKind::kFlush;
    case CommandKind::kZero:
    case CommandKind::kZeroIndex:
      return ChangeKind::kZero;
    case CommandKind::kNewChain:
      return ChangeKind::kNewChain;
    case CommandKind::kDeleteChain:
      return ChangeKind::kDeleteChain;
    case CommandKind::kRename:
      return ChangeKind::kRenameChain;
    case CommandKind::kPolicy:
      return ChangeKind::kPolicy;
    case CommandKind::kNone:
    case CommandKind::kCheck:
    case CommandKind::kList:
    case CommandKind::kListRules:
      return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace nfarena
