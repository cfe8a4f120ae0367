#include "engines/place/xtables_lock.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>

namespace nfarena {
namespace {

// How often a lock that is held is tried: a program changes its rules in some
// milliseconds.
constexpr std::chrono::milliseconds kRetry{10};

}  // namespace

XtablesLock::~XtablesLock() {
  if (fd_ >= 0) close(fd_);
}

Status XtablesLock::Take(int seconds) {
  if (fd_ >= 0) return {};
  const char* named = std::getenv("XTABLES_LOCKFILE");
  const std::string path =
      named != nullptr && named[0] != '\0' ? named : "/run/xtables.lock";
  const int fd = open(path.c_str(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) {
    return Fail(ErrorCode::kSystem,
                fmt::format("Fatal: can't open lock file {}: {}", path,
                            std::strerror(errno)));
  }
  const auto until =
      std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  while (flock(fd, seconds > 0 ? LOCK_EX | LOCK_NB : LOCK_EX) != 0) {
    const int reason = errno;
    const bool busy = reason == EWOULDBLOCK || reason == EINTR;
    if (busy && (seconds <= 0 || std::chrono::steady_clock::now() < until)) {
      std::this_thread::sleep_for(kRetry);
      continue;
    }
    close(fd);
    return Fail(busy ? ErrorCode::kConflict : ErrorCode::kSystem,
                fmt::format("Can't lock {}: {}", path, std::strerror(reason)));
  }
  fd_ = fd;
  return {};
}

}  // namespace nfarena
