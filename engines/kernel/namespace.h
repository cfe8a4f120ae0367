// A network namespace of one's own, held by a descriptor only.
//
// It has no name in /run/netns and no process lives in it: when the last
// descriptor goes (the namespace's, its sockets', its devices'), the kernel
// takes it down, also after SIGKILL.  A thread enters it for as long as it
// needs to open something there and comes back; what it opened stays bound to
// the namespace and is used from outside.  One thread enters, not the process,
// so other threads never notice.
//
// The obvious other ways, "ip netns add" or a worker process per instance,
// leave names or processes behind, or put a pipe between caller and kernel.
#pragma once

#include <cstdint>

#include "compat/model/result.h"
#include "engines/kernel/fd.h"

namespace nfarena::kernel {

class Namespace {
 public:
  /// Makes a new, empty network namespace.
  /// Errors: kSystem (no CAP_SYS_ADMIN: see rights.h; no room for more).
  [[nodiscard]] static Result<Namespace> Create();
  /// The namespace the calling thread is in.
  [[nodiscard]] static Result<Namespace> Current();

  int fd() const { return fd_.get(); }
  /// Its inode number in nsfs: the same number, the same namespace.
  [[nodiscard]] Result<uint64_t> Inode() const;

 private:
  explicit Namespace(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

/// The calling thread is inside `ns` while this lives.  Not to be kept over a
/// return to a caller who does not expect it.
class NamespaceScope {
 public:
  /// Errors: kSystem.
  [[nodiscard]] static Result<NamespaceScope> Enter(const Namespace& ns);
  NamespaceScope(NamespaceScope&&) noexcept = default;
  NamespaceScope& operator=(NamespaceScope&&) = delete;
  ~NamespaceScope();

 private:
  explicit NamespaceScope(UniqueFd home) : home_(std::move(home)) {}
  UniqueFd home_;
};

}  // namespace nfarena::kernel
