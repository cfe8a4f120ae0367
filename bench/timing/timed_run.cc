#include "bench/timing/timed_run.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <map>
#include <random>
#include <tuple>

namespace nfarena {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

double SecondsUntil(Clock::time_point t) {
  return std::chrono::duration<double>(t - Clock::now()).count();
}

class UniqueFd {
 public:
  explicit UniqueFd(int fd) : fd_(fd) {}
  ~UniqueFd() {
    if (fd_ >= 0) ::close(fd_);
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Starts the program with `out` left open; it dies when this process does,
/// however that ends.  Not posix_spawn(), which cannot ask for that.
Result<pid_t> Start(std::vector<std::string> arguments, int out) {
  std::vector<char*> argv;
  for (std::string& a : arguments) argv.push_back(a.data());
  argv.push_back(nullptr);
  const UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  const UniqueFd program(::open(argv[0], O_PATH | O_CLOEXEC));
  if (program.get() < 0) {
    return Fail(ErrorCode::kSystem, "cannot be started", {.file = arguments[0]},
                errno);
  }
  const pid_t parent = ::getpid();
  const pid_t child = ::fork();
  if (child < 0) return FailErrno("fork");
  if (child > 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // It may have ended before the line above.
  if (::getppid() == parent && ::dup2(null.get(), STDOUT_FILENO) >= 0 &&
      ::fcntl(out, F_SETFD, 0) == 0) {
    ::execv(argv[0], argv.data());
  }
  ::_exit(127);
}

std::string Contents(int fd) {
  std::string text;
  char part[1 << 14];
  ssize_t got = 0;
  while ((got = ::pread(fd, part, sizeof part,
                        static_cast<off_t>(text.size()))) > 0) {
    text.append(part, static_cast<size_t>(got));
  }
  return text;
}

/// One process of the program over the benchmarks of one size; its JSON.
Result<json> RunProcess(const TimedRunOptions& options, uint64_t size) {
  // In memory: nothing is left of a run that is killed.
  const UniqueFd out(::memfd_create("nfarena-timed", MFD_CLOEXEC));
  if (out.get() < 0) return FailErrno("memfd_create");
  ASSIGN_OR_RETURN(
      const pid_t child,
      Start({options.program.string(),
             fmt::format("--benchmark_filter=/rules:{}(/|$)", size),
             fmt::format("--benchmark_min_time={}", options.min_time_s),
             "--benchmark_format=json", "--benchmark_out_format=json",
             fmt::format("--benchmark_out=/proc/self/fd/{}", out.get())},
            out.get()));
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return FailErrno("waitpid");
  }
  json parsed = json::parse(Contents(out.get()), nullptr, false);
  if (!WIFEXITED(status) || WEXITSTATUS(status) > 1 || parsed.is_discarded()) {
    return Fail(ErrorCode::kSystem,
                fmt::format("ended with status {:#x} and no result", status),
                {.file = options.program.string()});
  }
  return parsed;
}

/// workload, engine, rules
using Key = std::tuple<std::string, std::string, uint64_t>;

/// Splits "append/legacy/rules:1000/manual_time".
Key ParseName(const std::string& name) {
  const size_t first = name.find('/');
  const size_t second = name.find('/', first + 1);
  const size_t number = name.find("rules:", second) + 6;
  return {name.substr(0, first), name.substr(first + 1, second - first - 1),
          std::stoull(name.substr(number))};
}

double NanosecondsPerUnit(const std::string& unit) {
  if (unit == "us") return 1e3;
  if (unit == "ms") return 1e6;
  if (unit == "s") return 1e9;
  return 1;
}

class Gatherer {
 public:
  explicit Gatherer(ResultFile* result) : result_(*result) {}

  void Add(const json& output) {
    for (const json& run : output.at("benchmarks")) AddOne(run);
  }

 private:
  void AddOne(const json& run) {
    const Key key = ParseName(run.at("name"));
    const auto [at, added] = index_.try_emplace(key, result_.cases().size());
    if (added) {
      result_.cases().push_back({{"workload", std::get<0>(key)},
                                 {"engine", std::get<1>(key)},
                                 {"rules", std::get<2>(key)},
                                 {"samples_ns", json::array()},
                                 {"counters", json::object()},
                                 {"error", ""}});
    }
    json& out = result_.cases()[at->second];
    if (run.value("error_occurred", false)) {
      out["error"] = run.value("error_message", "error");
      return;
    }
    out["samples_ns"].push_back(run.at("real_time").get<double>() *
                                NanosecondsPerUnit(run.at("time_unit")));
    for (const char* name : {"bytes_sent", "bytes_received", "messages",
                             "commit_ns", "floor_ns", "program_bytes"}) {
      if (run.contains(name)) out["counters"][name] = run[name];
    }
  }

  ResultFile& result_;
  std::map<Key, size_t> index_;
};

}  // namespace

Status RunTimed(const TimedRunOptions& options, ResultFile* result,
                const TimedProgress& progress) {
  Gatherer gatherer(result);
  std::mt19937_64 random(options.seed);
  std::map<uint64_t, double> took_s;  // the last process of a size
  std::map<uint64_t, uint32_t> passes;
  // A size not run yet is guessed from the ones below it: at most in
  // proportion, and at most twice the growth seen there, since what does not
  // grow (namespaces, checks) outweighs the rules as long as they are few.
  const auto expected_s = [&](size_t i) {
    const auto known = took_s.find(options.sizes[i]);
    if (known != took_s.end()) return known->second;
    if (i == 0) return 0.0;
    const auto below = took_s.find(options.sizes[i - 1]);
    if (below == took_s.end()) return 1e9;
    double growth = static_cast<double>(options.sizes[i]) /
                    static_cast<double>(options.sizes[i - 1]);
    if (i >= 2 && took_s.contains(options.sizes[i - 2])) {
      growth =
          std::min(growth, 2 * below->second / took_s.at(options.sizes[i - 2]));
    }
    return below->second * growth;
  };
  for (uint32_t pass = 1; pass <= options.passes_wanted; ++pass) {
    std::vector<size_t> order(options.sizes.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (pass > 1) std::shuffle(order.begin(), order.end(), random);
    for (size_t i : order) {
      const double left_s = SecondsUntil(options.deadline);
      if (expected_s(i) > left_s || left_s < 0) continue;
      progress(pass, options.sizes[i], left_s);
      const auto start = Clock::now();
      ASSIGN_OR_RETURN(const json output,
                       RunProcess(options, options.sizes[i]));
      took_s[options.sizes[i]] = -SecondsUntil(start);
      ++passes[options.sizes[i]];
      gatherer.Add(output);
      RETURN_IF_ERROR(result->Save());
    }
  }
  for (uint64_t size : options.sizes) {
    if (passes[size] == 0) {
      result->Skip(fmt::format("{} with {} rules",
                               options.program.filename().string(), size),
                   "one pass does not fit in the budget");
    }
  }
  return result->Finish();
}

}  // namespace nfarena
