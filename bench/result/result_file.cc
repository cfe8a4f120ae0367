#include "bench/result/result_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "bench/result/environment.h"
#include "engines/registry.h"

namespace nfarena {
namespace {

class Fd {
 public:
  explicit Fd(int fd) : fd_(fd) {}
  ~Fd() {
    if (fd_ >= 0) ::close(fd_);
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

/// Removes the temporary name on the way out; after a rename there is none.
class Unlinker {
 public:
  explicit Unlinker(const std::string& path) : path_(path) {}
  ~Unlinker() {
    const int kept = errno;
    ::unlink(path_.c_str());
    errno = kept;
  }
  Unlinker(const Unlinker&) = delete;
  Unlinker& operator=(const Unlinker&) = delete;

 private:
  const std::string& path_;
};

/// A file without a name, which is gone with the process that made it.
int OpenNameless(const std::filesystem::path& folder) {
  return ::open(folder.empty() ? "." : folder.c_str(),
                O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
}

bool GiveName(int fd, const std::string& name) {
  const std::string self = fmt::format("/proc/self/fd/{}", fd);
  ::unlink(name.c_str());  // of a killed process with the same number
  return ::linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(),
                  AT_SYMLINK_FOLLOW) == 0;
}

bool WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t put = ::write(fd, text.data(), text.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return false;
    text.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

}  // namespace

ResultFile::ResultFile(std::filesystem::path path, const std::string& kind,
                       const std::vector<std::string>& command)
    : path_(std::move(path)),
      json_{{"schema", "nfarena-result"},
            {"version", kResultVersion},
            {"kind", kind},
            {"complete", false},
            {"command", command},
            {"environment", Environment()},
            {"engines", nlohmann::json::array()},
            {"cases", nlohmann::json::array()},
            {"skipped", nlohmann::json::array()}} {
  for (const Engine* engine : Engines()) {
    const Status available = engine->Available();
    json_["engines"].push_back(
        {{"name", engine->name()},
         {"kind", engine->kind() == EngineKind::kTwin ? "twin" : "kernel"},
         {"description", engine->description()},
         {"checked_against", engine->checked_against()},
         {"available", available.has_value()},
         {"reason", available ? "" : available.error().message}});
  }
}

void ResultFile::Skip(const std::string& what, const std::string& reason) {
  json_["skipped"].push_back({{"what", what}, {"reason", reason}});
}

Status ResultFile::Save() {
  return WriteWholeFile(
      path_,
      json_.dump(1, ' ', false, nlohmann::json::error_handler_t::replace) +
          "\n");
}

Status ResultFile::Finish() {
  json_["complete"] = true;
  return Save();
}

Status WriteWholeFile(const std::filesystem::path& path,
                      std::string_view text) {
  const std::string temporary =
      fmt::format("{}.{}.tmp", path.string(), getpid());
  const auto fail = [&](const char* what) {
    return Fail(ErrorCode::kSystem, what, {.file = path.string()}, errno);
  };
  Fd file(OpenNameless(path.parent_path()));
  const bool nameless = file.get() >= 0;
  if (!nameless) {
    // A file system without nameless files.
    file = Fd(::open(temporary.c_str(),
                     O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  }
  if (file.get() < 0) return fail("cannot be written");
  const Unlinker unlinker(temporary);
  if (!WriteAll(file.get(), text) || ::fsync(file.get()) != 0) {
    return fail("cannot be written");
  }
  if (nameless && !GiveName(file.get(), temporary)) {
    return fail("cannot be written");
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    return fail("cannot be renamed into place");
  }
  return {};
}

}  // namespace nfarena
