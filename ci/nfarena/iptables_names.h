// The names under which nfarena stands in for the programs of iptables.
#pragma once

#include <optional>
#include <string_view>

namespace nfarena::cli {

/// Runs the program of that name ("iptables", "ip6tables-restore",
/// "iptables-nft-save"...), with argv[0] its name; its exit status, or nullopt
/// when no such program is known.
///
/// NFARENA_ENGINE says on which engine the rules are.  Without it, those in the
/// kernel: nf_tables' for names with "-nft", ip_tables' for all others.
std::optional<int> RunByName(std::string_view name, int argc, char** argv);

}  // namespace nfarena::cli
