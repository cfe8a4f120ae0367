// Protocol numbers as iptables names them.
#pragma once

#include <cstdint>
#include <string>

namespace nfarena {

/// libxtables' name of the protocol, else, with `look_up`, the one of
/// /etc/protocols; "" when there is none.  0 is "all".
/// Source: iptables 1.8.9, iptables/xshared.c proto_to_name().
std::string ProtocolName(uint16_t protocol, bool look_up);

}  // namespace nfarena
