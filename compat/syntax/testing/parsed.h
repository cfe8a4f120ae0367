// Rulesets of tests, written as text that is expected to be right.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "compat/syntax/save_parser.h"

namespace nfarena::testing {

inline Ruleset Parse(std::string_view text,
                     std::optional<Family> family = std::nullopt) {
  ParseOptions options;
  options.file = "test";
  options.family = family;
  auto ruleset = ParseSave(text, options, nullptr);
  EXPECT_TRUE(ruleset) << ruleset.error().ToString();
  return ruleset ? *std::move(ruleset) : Ruleset{};
}

/// A rule of the filter table: "-s 192.0.2.0/24 -j DROP".
inline Rule ParseFilterRule(std::string_view text) {
  auto rule = ParseRule(text, Family::kIpv4, TableKind::kFilter);
  EXPECT_TRUE(rule) << rule.error().ToString();
  return rule ? *std::move(rule) : Rule{};
}

/// A filter table of these lines, behind its built-in chains.
inline std::string FilterTable(std::string_view lines) {
  return "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
         ":OUTPUT ACCEPT [0:0]\n" +
         std::string(lines) + "COMMIT\n";
}

inline Ruleset ParseFilter(std::string_view lines,
                           std::optional<Family> family = std::nullopt) {
  return Parse(FilterTable(lines), family);
}

}  // namespace nfarena::testing
