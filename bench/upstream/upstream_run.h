// Runs the test files of an iptables source tree on an engine.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bench/upstream/test_file.h"
#include "compat/command/store.h"
#include "compat/model/result.h"

namespace nfarena {

/// A line that did not do what the file says.
struct UpstreamShortfall {
  std::string file;  // its name, without the directory
  uint32_t line = 0;
  std::string text;
  std::string reason;
};

struct UpstreamReport {
  uint64_t lines = 0, passed = 0;
  // Of the rules that loaded, once for each line: how the engine has them.
  uint64_t native = 0, compat = 0;
  std::vector<UpstreamShortfall> shortfalls;
};

struct UpstreamOptions {
  Family family = Family::kIpv4;
  /// Results are those of iptables-nft rather than of iptables-legacy.
  bool nft = false;
  /// False: lines that must not load are left out, for it is the kernel that
  /// refuses some of them.
  bool judges_refusals = true;
  /// An empty place for rules; called once for each file.
  std::function<Result<std::unique_ptr<RulesetStore>>()> open;
  /// Whether the engine carries a rule through another subsystem; may be empty.
  std::function<bool(const Ruleset&)> through_compat;
  /// Called after each file, with how many of how many are done.
  std::function<void(size_t done, size_t all)> progress;
};

/// Runs the files of DIR/extensions, or of DIR: for IPv6 libip6t_*.t, for IPv4
/// the others but those of arptables and ebtables, as iptables-test.py does.
/// Lines with shell commands run in the network namespace of the process.
/// Errors: kSyntax (no such files, a file that cannot be read), and those of
/// `open`.
[[nodiscard]] Result<UpstreamReport> RunUpstreamTests(
    const std::filesystem::path& tree, const UpstreamOptions& options);

}  // namespace nfarena
