#include "bench/upstream/upstream_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "compat/command/program.h"
#include "compat/syntax/save_printer.h"

namespace nfarena {
namespace {

namespace fs = std::filesystem;

Result<std::vector<fs::path>> FindFiles(const fs::path& tree, Family family) {
  const fs::path inside = tree / "extensions";
  std::error_code error;
  const fs::path directory = fs::is_directory(inside, error) ? inside : tree;
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(directory, error)) {
    const std::string name = entry.path().filename().string();
    if (!name.ends_with(".t")) continue;
    // Source: iptables-test.py run_test_file().
    const bool ipv6 = name.starts_with("libip6t_");
    const bool other =
        name.starts_with("libarpt_") || name.starts_with("libebt_");
    if (!other && ipv6 == (family == Family::kIpv6)) {
      files.push_back(entry.path());
    }
  }
  if (error || files.empty()) {
    return Fail(ErrorCode::kSyntax,
                "holds no test files of iptables (extensions/lib*.t)",
                {.file = tree.string()}, error.value());
  }
  std::sort(files.begin(), files.end());
  return files;
}

Result<std::string> ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) {
    return Fail(ErrorCode::kSyntax, "cannot be read", {.file = path.string()});
  }
  return text.str();
}

/// One call of iptables: exit status and what it said.
struct Called {
  int status = 0;
  std::string message;  // the first line of standard error
};

class FileRun {
 public:
  FileRun(const UpstreamOptions& options, RulesetStore* store,
          const std::string& file, UpstreamReport* report)
      : options_(options), store_(store), file_(file), report_(report) {
    program_.family = options.family;
    if (options.family == Family::kIpv6) program_.name = "ip6tables";
    if (options.nft) program_.backend = "nf_tables";
  }

  void Run(const std::vector<UpstreamLine>& lines) {
    for (const UpstreamLine& line : lines) {
      switch (line.kind) {
        case UpstreamLine::Kind::kShell:
          // Upstream does not look at the status either.
          (void)std::system((line.text + " >/dev/null 2>&1").c_str());
          break;
        case UpstreamLine::Kind::kIptables:
          (void)Call(line.text.substr(line.text.find(' ') + 1));
          break;
        case UpstreamLine::Kind::kRule:
          RunRule(line);
          break;
      }
    }
  }

 private:
  Called Call(const std::string& arguments) {
    const auto words = SplitShellWords(arguments);
    if (!words) return {kProgramUsage, words.error().message};
    std::vector<const char*> argv;
    for (const std::string& word : *words) argv.push_back(word.c_str());
    ProgramOutput output;
    Called called;
    called.status = RunIptables(program_, argv, store_, &output);
    called.message = output.err.substr(0, output.err.find('\n'));
    return called;
  }

  void RunRule(const UpstreamLine& line) {
    if (!options_.judges_refusals && Expected(line) == UpstreamResult::kFail) {
      return;
    }
    ++report_->lines;
    bool loaded = false;
    for (const std::string& chain : line.chains) {
      std::string reason = RunInChain(line, chain, &loaded);
      if (reason.empty()) continue;
      report_->shortfalls.push_back(
          {file_, line.line, line.text, chain + ": " + reason});
      return;
    }
    ++report_->passed;
    if (loaded) ++(through_compat_ ? report_->compat : report_->native);
  }

  UpstreamResult Expected(const UpstreamLine& line) const {
    return options_.nft ? line.nft : line.legacy;
  }

  /// Why the line fails in this chain; "" when it does not.
  std::string RunInChain(const UpstreamLine& line, const std::string& chain,
                         bool* loaded) {
    const UpstreamResult expected = Expected(line);
    const std::string rule =
        line.table.empty()
            ? fmt::format("{} {}", chain, line.text)
            : fmt::format("{} -t {} {}", chain, line.table, line.text);
    const Called added = Call("-A " + rule);
    if (added.status != kProgramOk) {
      return expected == UpstreamResult::kFail
                 ? ""
                 : "cannot be loaded: " + added.message;
    }
    const std::string seen = Look(chain + " " + line.saved, expected);
    *loaded = true;
    const Called deleted = Call("-D " + rule);
    if (expected == UpstreamResult::kFail) {
      (void)Call("-F");
      return "should not load";
    }
    if (!seen.empty()) return seen;
    if (deleted.status != kProgramOk) {
      return "cannot be deleted: " + deleted.message;
    }
    return "";
  }

  std::string Look(const std::string& wanted, UpstreamResult expected) {
    const auto ruleset = store_->Read();
    if (!ruleset) return ruleset.error().ToString();
    if (options_.through_compat) {
      through_compat_ = options_.through_compat(*ruleset);
    }
    const std::string text = PrintSave(*ruleset, {.header = false});
    const bool found = text.find(wanted) != std::string::npos;
    if (expected == UpstreamResult::kNoMatch) {
      return found ? "shows the rule, which iptables would not" : "";
    }
    if (found) return "";
    std::string shown = "nothing";
    for (size_t at = 0; at < text.size();) {
      const size_t end = std::min(text.find('\n', at), text.size());
      if (text.compare(at, 2, "-A") == 0) shown = text.substr(at, end - at);
      at = end + 1;
    }
    return "is shown as: " + shown;
  }

  const UpstreamOptions& options_;
  RulesetStore* store_;
  const std::string file_;
  UpstreamReport* report_;
  Program program_;
  bool through_compat_ = false;
};

}  // namespace

Result<UpstreamReport> RunUpstreamTests(const fs::path& tree,
                                        const UpstreamOptions& options) {
  ASSIGN_OR_RETURN(const auto files, FindFiles(tree, options.family));
  UpstreamReport report;
  size_t done = 0;
  for (const fs::path& path : files) {
    ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
    ASSIGN_OR_RETURN(const auto lines,
                     ParseUpstreamTests(text, path.filename().string()));
    ASSIGN_OR_RETURN(const auto store, options.open());
    FileRun(options, store.get(), path.filename().string(), &report).Run(lines);
    if (options.progress) options.progress(++done, files.size());
  }
  return report;
}

}  // namespace nfarena
