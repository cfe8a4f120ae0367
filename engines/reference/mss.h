// -j TCPMSS: lowers the maximum segment size that a SYN announces.
#pragma once

#include "compat/meaning/target.h"
#include "engines/core/packet_state.h"

namespace nfarena::reference {

/// Lowers the option, or adds one to a SYN that has neither it nor data; never
/// raises it.  False: the TCP header is broken, drop.
/// Source: net/netfilter/xt_TCPMSS.c.
bool SetMss(const TcpmssTarget& tcpmss, PacketState* packet);

}  // namespace nfarena::reference
