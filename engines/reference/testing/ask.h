// One rule about one packet, for the tests of conditions: a table of rules,
// packets and the answers wanted.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "engines/reference/testing/stand.h"

namespace nfarena::reference::testing {

enum class Answer { kHit, kMiss, kHotdrop };

inline void PrintTo(Answer answer, std::ostream* os) {
  *os << (answer == Answer::kHit    ? "hit"
          : answer == Answer::kMiss ? "miss"
                                    : "hotdrop");
}

/// The answer of one FORWARD rule (of table mangle, which takes every match)
/// about one packet.
inline Answer Ask(std::string_view rule, const Fields& fields,
                  Hook hook = Hook::kForward) {
  Stand stand(fields, hook);
  Bench bench(stand.packet.family, TableKind::kMangle,
              std::string("-A ") + HookChainName(hook) + " " +
                  std::string(rule) + " -j DROP");
  EXPECT_EQ(bench.error(), "") << rule;
  const StageVerdict verdict = bench.Evaluate(&stand);
  if (stand.state.hotdrop) {
    EXPECT_EQ(verdict.kind, VerdictKind::kDrop) << rule;
    return Answer::kHotdrop;
  }
  return verdict.kind == VerdictKind::kDrop ? Answer::kHit : Answer::kMiss;
}

struct Case {
  const char* rule;
  Fields fields;
  Answer want;
};

inline void AskAll(const std::vector<Case>& cases, Hook hook = Hook::kForward) {
  int number = 0;
  for (const Case& c : cases) {
    ++number;
    EXPECT_EQ(Ask(c.rule, c.fields, hook), c.want)
        << "case " << number << ": " << c.rule;
  }
}

inline constexpr Answer kHit = Answer::kHit, kMiss = Answer::kMiss,
                        kHotdrop = Answer::kHotdrop;

}  // namespace nfarena::reference::testing
