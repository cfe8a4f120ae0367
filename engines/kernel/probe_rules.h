// The nfnetlink messages that make and change the probe's table.
#pragma once

#include <cstdint>

#include "compat/model/ruleset.h"
#include "engines/kernel/netlink.h"
#include "engines/kernel/probe.h"

namespace nfarena::kernel {

/// Table, chains and rules for kObserve.
void BuildProbe(Family family, MessageBuilder* batch);
/// From one mode to the other.  The chains at the end stay: made anew they
/// would stand before conntrack's confirmation.
void BuildModeChange(Family family, ProbeMode from, ProbeMode to,
                     MessageBuilder* batch);
/// The rule of the chain "mark"; 0 = none.
void BuildMark(Family family, uint32_t mark, MessageBuilder* batch);

}  // namespace nfarena::kernel
