// The answers of -j REJECT, built here and not with engines/core/answers.h,
// which the other twins use: so the two check each other.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "compat/meaning/target.h"
#include "engines/core/packet_state.h"

namespace nfarena::reference {

/// The packet that answers `rejected`, from its IP header; nullopt when the
/// kernel sends none.  The IPv4 id is 0.
/// Sources: nf_reject_ipv4.c, nf_reject_ipv6.c, icmp_send(), icmp6_send().
std::optional<std::vector<uint8_t>> AnswerOf(const RejectTarget& reject,
                                             const PacketState& rejected);

}  // namespace nfarena::reference
