// A program for people: the rules as "nft --debug=netlink" prints them.
//
// Printed by libnftnl from the dump, so that it says what user space would see
// and cannot drift from it.
#pragma once

#include <string>

#include "engines/vm/control_plane.h"

namespace nfarena::vm {

std::string Disassemble(const ControlPlane& control);

}  // namespace nfarena::vm
