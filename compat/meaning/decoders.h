// The decoder tables of the matches that stand in files of their own.
#pragma once

#include <span>

#include "compat/meaning/match.h"
#include "compat/meaning/payload.h"

namespace nfarena {

std::span<const payload::Decoder<Condition>> StatefulDecoders();
std::span<const payload::Decoder<Condition>> HeaderDecoders();
std::span<const payload::Decoder<Condition>> HostDecoders();

}  // namespace nfarena
