#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

#include "engines/kernel/fd.h"
#include "engines/kernel/host.h"

// environ(7) is declared by <unistd.h> with _GNU_SOURCE, which g++ defines.

namespace nfarena::kernel {
namespace {

Result<UniqueFd> MemoryFile(const char* name, const std::string& text) {
  UniqueFd fd(memfd_create(name, MFD_CLOEXEC));
  if (!fd.valid()) return FailErrno("memfd_create");
  size_t done = 0;
  while (done < text.size()) {
    const ssize_t put = write(fd.get(), text.data() + done, text.size() - done);
    if (put < 0) {
      if (errno == EINTR) continue;
      return FailErrno("cannot write to memory");
    }
    done += static_cast<size_t>(put);
  }
  if (lseek(fd.get(), 0, SEEK_SET) != 0) return FailErrno("lseek");
  return fd;
}

std::string ReadAll(int fd) {
  std::string text;
  char part[4096];
  lseek(fd, 0, SEEK_SET);
  ssize_t got = 0;
  while ((got = read(fd, part, sizeof part)) > 0) {
    text.append(part, static_cast<size_t>(got));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

}  // namespace

Status RestoreSets(const Namespace& ns, const std::string& text) {
  ASSIGN_OR_RETURN(const UniqueFd input, MemoryFile("ipset-save", text));
  ASSIGN_OR_RETURN(const UniqueFd output, MemoryFile("ipset-errors", ""));
  pid_t child = 0;
  {
    // A child starts in the namespace of the thread that made it.
    ASSIGN_OR_RETURN(const auto scope, NamespaceScope::Enter(ns));
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_adddup2(&files, input.get(), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&files, output.get(), STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&files, output.get(), STDERR_FILENO);
    char name[] = "ipset";
    char command[] = "restore";
    char* const arguments[] = {name, command, nullptr};
    // sbin is not in everybody's PATH.
    int failed =
        posix_spawnp(&child, "ipset", &files, nullptr, arguments, environ);
    if (failed == ENOENT) {
      failed = posix_spawn(&child, "/usr/sbin/ipset", &files, nullptr,
                           arguments, environ);
    }
    posix_spawn_file_actions_destroy(&files);
    if (failed != 0) {
      errno = failed;
      return FailErrno("cannot run ipset, which the ruleset's sets need");
    }
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return FailErrno("waitpid");
  }
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0) return {};
  return Fail(ErrorCode::kSyntax,
              fmt::format("ipset restore: {}", ReadAll(output.get())));
}

}  // namespace nfarena::kernel
