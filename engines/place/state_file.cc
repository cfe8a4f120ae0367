#include "engines/place/state_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <utility>

#include "compat/syntax/save_parser.h"
#include "compat/syntax/save_printer.h"
#include "engines/place/xtables_lock.h"

namespace nfarena {
namespace {

bool NamesSets(const Rule& rule) {
  return rule.target.extension.name == "SET" ||
         std::any_of(
             rule.matches.begin(), rule.matches.end(),
             [](const Extension& match) { return match.name == "set"; });
}

bool NamesSets(const Ruleset& ruleset) {
  for (const Table& table : ruleset.tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        if (NamesSets(rule)) return true;
      }
    }
  }
  return false;
}

/// The sets of this namespace, as "ipset save" prints them.
Result<std::string> SetsHere() {
  FILE* pipe = popen("ipset save", "re");
  if (pipe == nullptr) return FailErrno("ipset save");
  std::string text;
  char buffer[4096];
  for (size_t got = 0; (got = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    text.append(buffer, got);
  }
  if (pclose(pipe) != 0) {
    return Fail(ErrorCode::kSystem,
                "the rules name an ipset, and \"ipset save\" failed");
  }
  return text;
}

class StateFile : public RulesetStore {
 public:
  StateFile(const Engine& engine, Family family, std::string path)
      : engine_(engine), family_(family), path_(std::move(path)) {}

  Status Lock(int seconds) override { return lock_.Take(seconds); }

  Result<Ruleset> Read() override {
    if (current_) return *current_;
    ASSIGN_OR_RETURN(Ruleset ruleset, ReadFile());
    // Nobody else writes while the lock is held.
    if (lock_.held()) current_ = ruleset;
    return ruleset;
  }

  Status Apply(const Delta& delta) override {
    ASSIGN_OR_RETURN(const Ruleset before, Read());
    Ruleset after = before;
    RETURN_IF_ERROR(ApplyDelta(delta, &after));
    ASSIGN_OR_RETURN(const auto instance, Open(after));
    RETURN_IF_ERROR(instance->Replace(before));
    RETURN_IF_ERROR(instance->Apply(delta));
    return Keep(*instance, after);
  }

  Status Replace(const Ruleset& ruleset) override {
    ASSIGN_OR_RETURN(Ruleset after, Read());
    for (const Table& table : ruleset.tables) {
      after.EnsureTable(table.kind) = table;
    }
    ASSIGN_OR_RETURN(const auto instance, Open(after));
    RETURN_IF_ERROR(instance->Replace(after));
    return Keep(*instance, after);
  }

 private:
  Result<std::unique_ptr<Instance>> Open(const Ruleset& ruleset) const {
    RETURN_IF_ERROR(engine_.Supports(ruleset));
    OpenOptions open{.family = family_, .topology = {}};
    open.topology.family = family_;
    if (NamesSets(ruleset)) {
      ASSIGN_OR_RETURN(open.ipset_save, SetsHere());
    }
    return engine_.Open(open);
  }

  Result<Ruleset> ReadFile() const {
    Ruleset empty{.family = family_, .tables = {}};
    std::ifstream file(path_, std::ios::binary);
    if (!file) {
      if (errno == ENOENT) return empty;
      return Fail(ErrorCode::kSystem, "cannot be read", {.file = path_}, errno);
    }
    std::ostringstream text;
    text << file.rdbuf();
    std::vector<Warning> warnings;
    return ParseSave(text.str(), {.file = path_, .family = family_}, &warnings);
  }

  /// Writes down what was asked for, when that is what the engine has: it may
  /// list rules in other words, but then the same however it came to them.
  Status Keep(Instance& instance, const Ruleset& wanted) {
    ASSIGN_OR_RETURN(const DumpResult dump, instance.Dump());
    if (!SameRules(dump.ruleset, wanted)) {
      ASSIGN_OR_RETURN(const auto fresh, Open(wanted));
      RETURN_IF_ERROR(fresh->Replace(wanted));
      ASSIGN_OR_RETURN(const DumpResult expected, fresh->Dump());
      if (!SameRules(dump.ruleset, expected.ruleset)) {
        return Fail(ErrorCode::kInternal,
                    fmt::format("{} has other rules in force than it was given",
                                engine_.name()));
      }
    }
    current_.reset();
    return Write(PrintSave(wanted, {.counters = true}));
  }

  Status Write(const std::string& text) const {
    const std::string draft = fmt::format("{}.{}", path_, getpid());
    const auto fail = [&draft] {
      const int reason = errno;
      unlink(draft.c_str());
      return Fail(ErrorCode::kSystem, "cannot be written", {.file = draft},
                  reason);
    };
    const int fd =
        open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return fail();
    const ssize_t written = write(fd, text.data(), text.size());
    const bool synced = std::cmp_equal(written, text.size()) && fsync(fd) == 0;
    if (close(fd) != 0 || !synced) return fail();
    if (rename(draft.c_str(), path_.c_str()) != 0) return fail();
    return {};
  }

  XtablesLock lock_;
  std::optional<Ruleset> current_;  // what the file holds, once it was read
  const Engine& engine_;
  const Family family_;
  const std::string path_;
};

}  // namespace

Result<std::unique_ptr<RulesetStore>> OpenStateFile(
    const Engine& engine, const PlaceOptions& options) {
  std::filesystem::path directory = options.state_directory;
  if (directory.empty()) {
    const char* named = std::getenv("NFARENA_STATE_DIR");
    directory = named != nullptr && named[0] != '\0' ? named : "/run/nfarena";
  }
  struct stat ns {};
  if (stat("/proc/self/ns/net", &ns) != 0) {
    return FailErrno("/proc/self/ns/net");
  }
  directory /= fmt::format("net-{}", ns.st_ino);
  std::error_code error;
  std::filesystem::create_directories(directory, error);
  if (error) {
    return Fail(ErrorCode::kSystem, "cannot be made",
                {.file = directory.string()}, error.value());
  }
  const auto path =
      directory / fmt::format("{}.{}", engine.name(),
                              options.family == Family::kIpv4 ? "v4" : "v6");
  return std::unique_ptr<RulesetStore>(
      std::make_unique<StateFile>(engine, options.family, path.string()));
}

}  // namespace nfarena
