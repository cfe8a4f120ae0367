#include "compat/syntax/testing/fuzz_support.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>

namespace nfarena::fuzz {

namespace {

constexpr std::string_view kFaithful[] = {
    "tcp",  "udp",      "icmp",       "icmp6",    "multiport", "iprange",
    "mark", "connmark", "mac",        "addrtype", "length",    "dscp",
    "ttl",  "hl",       "pkttype",    "comment",  "REJECT",    "NFLOG",
    "MARK", "CLASSIFY", "MASQUERADE", "REDIRECT", "TRACE",     "TCPMSS",
    "DSCP", "TTL",      "HL",
};

bool IsFaithful(const Extension& extension) {
  return std::find(std::begin(kFaithful), std::end(kFaithful),
                   extension.name) != std::end(kFaithful);
}

// Names that save prints as they are, though they would need quotes.
bool IsPlain(std::string_view name) {
  return name.find_first_of(" \t\"") == std::string_view::npos && name != "!";
}

}  // namespace

bool PrintsFaithfully(const Rule& rule) {
  // "! -i +" never matches; save prints nothing for it.
  const Selector& selector = rule.selector;
  if ((selector.in.any() && (selector.inverted & kInvertIn)) ||
      (selector.out.any() && (selector.inverted & kInvertOut))) {
    return false;
  }
  if (!IsPlain(selector.in.ToString()) || !IsPlain(selector.out.ToString()) ||
      !IsPlain(rule.target.chain)) {
    return false;
  }
  return std::all_of(rule.matches.begin(), rule.matches.end(), IsFaithful) &&
         (rule.target.kind != TargetKind::kExtension ||
          IsFaithful(rule.target.extension));
}

bool PrintsFaithfully(const Ruleset& ruleset) {
  for (const Table& table : ruleset.tables) {
    for (const Chain& chain : table.chains) {
      // ':' lines take any name, and so may hold what -A does not.
      if (!IsPlain(chain.name)) return false;
      for (const Rule& rule : chain.rules) {
        if (!PrintsFaithfully(rule)) return false;
      }
    }
  }
  return true;
}

void Report(const std::string& expected, const std::string& actual) {
  std::fprintf(stderr, "printed:\n%s\nread back:\n%s\n", expected.c_str(),
               actual.c_str());
  std::abort();
}

}  // namespace nfarena::fuzz
