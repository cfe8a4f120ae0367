// bench: the main job.  Correctness first; only then are the engines timed.
#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>

#include "bench/correctness/corpus_run.h"
#include "bench/timing/timed_run.h"
#include "ci/nfarena/cli.h"
#include "corpus/corpus.h"
#include "engines/registry.h"

namespace nfarena::cli {
namespace {

using Clock = std::chrono::steady_clock;

struct Options {
  std::vector<std::string> what = {"correctness", "update", "classify"};
  std::string budget = "5m";
  std::string out = "results";
  uint64_t packets_count = 2000;
  uint64_t seed = 1;
  bool quiet = false;
};

/// "90s", "5m", "1h" -> seconds; nullopt when it is none of these.
std::optional<double> Seconds(const std::string& text) {
  char unit = 0;
  double value = 0;
  char rest = 0;
  if (std::sscanf(text.c_str(), "%lf%c%c", &value, &unit, &rest) != 2 ||
      value <= 0) {
    return std::nullopt;
  }
  switch (unit) {
    case 's':
      return value;
    case 'm':
      return value * 60;
    case 'h':
      return value * 3600;
    default:
      return std::nullopt;
  }
}

/// One line that is rewritten on a terminal; plain lines elsewhere.
class Progress {
 public:
  explicit Progress(bool quiet)
      : quiet_(quiet), terminal_(isatty(STDERR_FILENO) == 1) {}
  ~Progress() {
    if (terminal_ && shown_) cli::Say("\n");
  }
  void Say(const std::string& text) {
    if (quiet_) return;
    shown_ = true;
    if (terminal_) {
      cli::Say("\r\033[K" + text);
    } else {
      cli::Say(text + "\n");
    }
  }

 private:
  bool quiet_, terminal_;
  bool shown_ = false;
};

/// The programs lie beside this one.
std::filesystem::path Sibling(const char* name) {
  std::error_code error;
  return std::filesystem::read_symlink("/proc/self/exe", error).parent_path() /
         name;
}

class Job {
 public:
  Job(const Options& options, double budget_s)
      : options_(options), budget_s_(budget_s), progress_(options.quiet) {}

  Result<ExitCode> Run() {
    std::error_code error;
    std::filesystem::create_directories(options_.out, error);
    if (error) {
      return Fail(ErrorCode::kSystem, "cannot be made", {.file = options_.out},
                  error.value());
    }
    ExitCode code = kExitOk;
    if (Wants("correctness")) {
      ASSIGN_OR_RETURN(code, Correctness());
    }
    // Half of what is left for each of the timed parts.
    const bool both = Wants("update") && Wants("classify");
    if (Wants("update")) {
      RETURN_IF_ERROR(
          Timed("update", both ? LeftSeconds() / 2 : LeftSeconds()));
    }
    if (Wants("classify")) RETURN_IF_ERROR(Timed("classify", LeftSeconds()));
    return code;
  }

 private:
  bool Wants(std::string_view part) const {
    return std::find(options_.what.begin(), options_.what.end(), part) !=
           options_.what.end();
  }
  double LeftSeconds() const {
    return std::max(
        0.0, budget_s_ -
                 std::chrono::duration<double>(Clock::now() - start_).count());
  }
  static Clock::time_point In(double seconds) {
    return Clock::now() + std::chrono::duration_cast<Clock::duration>(
                              std::chrono::duration<double>(seconds));
  }
  std::vector<std::string> Command(std::string_view part) const {
    return {"nfarena",         "bench",
            "--what",          std::string(part),
            "--budget",        options_.budget,
            "--packets-count", std::to_string(options_.packets_count),
            "--seed",          std::to_string(options_.seed)};
  }
  std::filesystem::path FileOf(std::string_view part) const {
    return std::filesystem::path(options_.out) / fmt::format("{}.json", part);
  }

  Result<ExitCode> Correctness() {
    const auto corpus = LoadCorpus(CorpusRoot());
    if (!corpus) return Fail(ErrorCode::kSyntax, corpus.error());
    ResultFile result(FileOf("correctness"), "correctness",
                      Command("correctness"));
    CorpusRunOptions run{.packets_count = options_.packets_count,
                         .seed = options_.seed,
                         .deadline = In(LeftSeconds())};
    ASSIGN_OR_RETURN(
        const CorpusTotals totals,
        RunCorpus(*corpus, Engines(), run, &result,
                  [&](size_t done, size_t all, const std::string& id) {
                    progress_.Say(
                        fmt::format("correctness {}/{} {} ({:.0f} s left)",
                                    done + 1, all, id, LeftSeconds()));
                  }));
    RETURN_IF_ERROR(Print(fmt::format(
        "correctness: {} rulesets, {} outcomes compared, {} of them judged by "
        "the kernel, {} left to chance or the clock, {} differences, {} "
        "expectations not met, {} failures\n",
        totals.entries, totals.compared, totals.judged_by_kernel,
        totals.indeterminate, totals.differences, totals.failed_expectations,
        totals.failed_entries)));
    return totals.differences + totals.failed_expectations +
                       totals.failed_entries !=
                   0
               ? kExitDifference
               : kExitOk;
  }

  Status Timed(const std::string& part, double seconds) {
    ResultFile result(FileOf(part), part, Command(part));
    const TimedRunOptions run{
        .program = Sibling(("nfarena-bench-" + part).c_str()),
        .sizes = {10, 100, 1000, 10000, 100000},
        .seed = options_.seed,
        .deadline = In(seconds)};
    RETURN_IF_ERROR(RunTimed(
        run, &result, [&](uint32_t pass, uint64_t size, double left_s) {
          progress_.Say(fmt::format("{} pass {}, {} rules ({:.0f} s left)",
                                    part, pass, size, left_s));
        }));
    return Print(
        fmt::format("{}: {} benchmarks\n", part, result.cases().size()));
  }

  const Options& options_;
  double budget_s_;
  Clock::time_point start_ = Clock::now();
  Progress progress_;
};

}  // namespace

void AddBenchCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "bench", "verify every engine on the corpus, then time what is right");
  auto options = std::make_shared<Options>();
  command
      ->add_option("--what", options->what, "parts to run, separated by commas")
      ->delimiter(',')
      ->check(CLI::IsMember({"correctness", "update", "classify"}))
      ->capture_default_str();
  command
      ->add_option("--budget", options->budget,
                   "time for all parts, like 90s, 5m, 1h; what does not fit is "
                   "listed as left out")
      ->type_name("TIME")
      ->capture_default_str();
  command->add_option("--out", options->out, "folder of the result files")
      ->type_name("DIR")
      ->capture_default_str();
  command
      ->add_option("--packets-count", options->packets_count,
                   "packets aimed at the rules of each ruleset")
      ->capture_default_str();
  command->add_option("--seed", options->seed, "seed of packets and order")
      ->capture_default_str();
  command->add_flag("-q,--quiet", options->quiet, "no progress");
  command->footer(
      "Writes correctness.json, update.json and classify.json; nfarena report\n"
      "turns them into a page. Interrupted, it leaves what it has measured.\n"
      "Exit status 1 when engines differ.\n\n"
      "Examples:\n"
      "  nfarena bench --budget 10m --out results\n"
      "  nfarena bench --what correctness --packets-count 20000");
  command->callback([=] {
    const auto seconds = Seconds(options->budget);
    if (!seconds) {
      throw CLI::ValidationError("--budget", "is like 90s, 5m or 1h");
    }
    const auto code = Job(*options, *seconds).Run();
    *exit_code = code ? *code : Complain(code.error());
  });
}

}  // namespace nfarena::cli
