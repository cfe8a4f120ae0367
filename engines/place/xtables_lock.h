// The lock by which programs that change iptables rules take turns.
#pragma once

#include "compat/model/result.h"

namespace nfarena {

/// Held from a successful Take() until the object is gone.
class XtablesLock {
 public:
  XtablesLock() = default;
  ~XtablesLock();
  XtablesLock(const XtablesLock&) = delete;
  XtablesLock& operator=(const XtablesLock&) = delete;

  /// Locks $XTABLES_LOCKFILE, else /run/xtables.lock, as iptables 1.8.9 does:
  /// 0 or a negative number of seconds waits for ever.
  /// Errors: kConflict (not free in time), kSystem.
  /// Source: iptables/xshared.c xtables_lock().
  [[nodiscard]] Status Take(int seconds);
  bool held() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

}  // namespace nfarena
