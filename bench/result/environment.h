// The machine, kernel, build and tools a result was made with: without them a
// figure is not published.
#pragma once

#include <nlohmann/json_fwd.hpp>

namespace nfarena {

/// An object with: commit, dirty, compiler, compiler_flags, build_type, kernel,
/// machine (cpu, cores, memory_bytes, caches), mitigations, bpf_jit, governor,
/// smt, transparent_hugepages, aslr, load_average, and the versions of
/// iptables, nft, libnftnl.  What a host does not tell is null, never guessed.
nlohmann::json Environment();

}  // namespace nfarena
