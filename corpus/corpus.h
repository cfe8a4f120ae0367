// The corpus: rulesets with their packets and what is known of the outcome.
//
// One text file an entry, readable by whoever reads iptables-save:
//
//   # id: captured/ufw-default
//   # description: ufw enabled, defaults of the distribution, one allow rule
//   # origin: ufw 0.36.2-1 (Debian 12), captured by corpus/capture/ufw
//   # licence: CC0-1.0
//   # family: ipv4                      (or ipv6)
//   # requires: ipset                   (optional: what the kernel must have)
//   --- ruleset
//   *filter
//   ...
//   --- ipset                           (optional: text of "ipset save")
//   --- packets                         (optional: packet_text.h)
//   IN=eth0 OUT= SRC=192.0.2.1 DST=192.0.2.2 PROTO=TCP SPT=1024 DPT=22 SYN
//   --- expect                          (optional)
//   1: accept ufw-user-input            (packet number: verdict [chain])
//
// Expectations are only those known independently of every engine: from the
// frontend's documentation or from the purpose of the rule.  Ids never change.
// This library knows nobody: sections are kept as text, with the line they
// start at, and parsed by their own parsers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <tl/expected.hpp>
#include <vector>

namespace nfarena {

struct CorpusSection {
  std::string text;
  uint32_t first_line = 0;  // line of the file its first line stands on
};

struct CorpusExpectation {
  uint32_t packet = 0;  // 1-based
  std::string verdict;  // "accept", "drop", "queue", ...
  std::string chain;    // chain that decided; empty = not said
};

struct CorpusEntry {
  std::string id;
  std::string description;
  std::string origin;
  std::string licence;
  bool ipv6 = false;
  std::vector<std::string> requires_features;
  CorpusSection ruleset, packets, ipset;
  std::vector<CorpusExpectation> expectations;
  std::filesystem::path path;
};

/// Parses one entry.  The error is "file:line: what", for a person; unknown
/// keys and sections are refused.
[[nodiscard]] tl::expected<CorpusEntry, std::string> ParseCorpusEntry(
    std::string_view text, const std::filesystem::path& path);

[[nodiscard]] tl::expected<CorpusEntry, std::string> LoadCorpusEntry(
    const std::filesystem::path& path);

/// All *.case files below `root`, sorted by id.  No entry at all, or two with
/// one id, is an error.
[[nodiscard]] tl::expected<std::vector<CorpusEntry>, std::string> LoadCorpus(
    const std::filesystem::path& root);

/// Where the corpus is: $NFARENA_CORPUS, else the source tree it was built
/// from, else the installed place.
std::filesystem::path CorpusRoot();

}  // namespace nfarena
