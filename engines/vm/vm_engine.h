// The twin of nf_tables: the same netlink bytes in and out, the same program
// layout, run in user space.
//
// Two engines are one machine: VmEngine() loads rulesets lowered to nftables'
// own expressions, VmCompatEngine() ("vm-compat") as iptables-nft would write
// them, with match and target expressions.
#pragma once

#include "engines/core/engine.h"

namespace nfarena {

const Engine& VmEngine();
const Engine& VmCompatEngine();

}  // namespace nfarena
