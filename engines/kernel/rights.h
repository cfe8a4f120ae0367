// What a kernel engine needs of its host, and the way to it without root.
//
// root may make network namespaces; anyone else may after making a user
// namespace, in which he is root over networks he made himself.  A process can
// do that only while it has one thread, so main() calls EnsureNetAdmin() first
// of all.
#pragma once

#include <cstdint>

#include "compat/model/result.h"
#include "compat/model/ruleset.h"

namespace nfarena::kernel {

/// Makes the calling process able to make network namespaces: nothing to do
/// for root; else it enters a user namespace, with a network namespace to come
/// home to, in which it is root.  The process then has no network of its own
/// any more, so a program that acts on the caller's namespace (in place) must
/// not call it.
/// Errors: kSystem, with the limit that forbids it.
[[nodiscard]] Status EnsureNetAdmin();

/// Whether EnsureNetAdmin() took this process into a user namespace: what it
/// sees of the network since then is not its caller's.
bool InUserNamespace();

/// Whether the user (or group) exists in the user namespace of this process;
/// -m owner of xtables takes only such ones.
bool UserIsMapped(uint32_t uid);
bool GroupIsMapped(uint32_t gid);

/// Ok, or the first thing that is missing to open an instance of this family:
/// right to make namespaces, /dev/net/tun, nf_tables, nfnetlink_log,
/// and, when `legacy`, ip_tables or ip6_tables.  Tried, not guessed: a
/// namespace is made and thrown away.
[[nodiscard]] Status CheckHost(Family family, bool legacy);

}  // namespace nfarena::kernel
