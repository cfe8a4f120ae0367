#include "engines/kernel/namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>

namespace nfarena::kernel {
namespace {

// /proc/self is the whole process; the calling thread may be elsewhere.
constexpr char kOwnNamespace[] = "/proc/thread-self/ns/net";

Result<UniqueFd> OpenOwn() {
  UniqueFd fd(open(kOwnNamespace, O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return FailErrno(kOwnNamespace);
  return fd;
}

// A thread that cannot go back would act on the wrong network from then on.
void GoBack(int fd) {
  if (setns(fd, CLONE_NEWNET) != 0) {
    std::perror("nfarena: cannot return to the network namespace it came from");
    std::abort();
  }
}

}  // namespace

Result<Namespace> Namespace::Create() {
  ASSIGN_OR_RETURN(UniqueFd home, OpenOwn());
  // Root of a user namespace may leave a network that is not his and not come
  // back: so the way back is tried first.
  if (setns(home.get(), CLONE_NEWNET) != 0 || unshare(CLONE_NEWNET) != 0) {
    return FailErrno("cannot make a network namespace");
  }
  Result<UniqueFd> made = OpenOwn();
  GoBack(home.get());
  if (!made) return tl::unexpected(std::move(made).error());
  return Namespace(std::move(*made));
}

Result<Namespace> Namespace::Current() {
  ASSIGN_OR_RETURN(UniqueFd fd, OpenOwn());
  return Namespace(std::move(fd));
}

Result<uint64_t> Namespace::Inode() const {
  struct stat info {};
  if (fstat(fd_.get(), &info) != 0) return FailErrno("fstat of a namespace");
  return info.st_ino;
}

Result<NamespaceScope> NamespaceScope::Enter(const Namespace& ns) {
  ASSIGN_OR_RETURN(UniqueFd home, OpenOwn());
  if (setns(ns.fd(), CLONE_NEWNET) != 0) {
    return FailErrno("cannot enter a network namespace");
  }
  return NamespaceScope(std::move(home));
}

NamespaceScope::~NamespaceScope() {
  if (home_.valid()) GoBack(home_.get());
}

}  // namespace nfarena::kernel
