// Changes to ip_tables through libiptc, as the iptables command makes them:
// read the whole table, modify it, put the whole back.
#pragma once

#include "compat/model/delta.h"
#include "compat/model/result.h"
#include "engines/core/engine.h"
#include "engines/kernel/xt_transport.h"

namespace nfarena::kernel {

/// Applies `delta` to the tables in the calling thread's namespace, in order,
/// all or nothing: a table that was already committed gets its old content
/// back when a later one is refused.  Adds what it cost to `cost`.
/// `socket` must be of the same namespace.
/// Errors: kSystem with the errno and the words of libiptc.
[[nodiscard]] Status ApplyXtDelta(const XtSocket& socket, const Delta& delta,
                                  UpdateCost* cost);

}  // namespace nfarena::kernel
