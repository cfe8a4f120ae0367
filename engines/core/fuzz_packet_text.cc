// Any text as packets: a refusal names its place, and what was read is written
// as a line that says the same packet again.
#include <cstdio>
#include <cstdlib>

#include "engines/core/packet_text.h"

namespace nfarena {
namespace {

bool Same(const Packet& a, const Packet& b) {
  return a.family == b.family && a.bytes == b.bytes && a.in == b.in &&
         a.out == b.out && a.mac_src == b.mac_src && a.mac_dst == b.mac_dst &&
         a.mark == b.mark && a.uid == b.uid && a.gid == b.gid &&
         a.time_ms == b.time_ms;
}

void Fuzz(std::string_view text) {
  const auto packets = ParsePackets(text, "fuzz");
  if (!packets) {
    const Error& error = packets.error();
    if (error.place.line == 0 || error.place.column == 0 ||
        error.code == ErrorCode::kInternal) {
      std::fprintf(stderr, "%s\n", error.ToString().c_str());
      std::abort();
    }
    return;
  }
  for (const Packet& packet : *packets) {
    const std::string line = PacketLine(packet);
    const auto again = ParsePackets(line, "line");
    if (!again || again->size() != 1 || !Same(again->front(), packet)) {
      std::fprintf(stderr, "%s\n%s\n", line.c_str(),
                   again ? PacketLine(again->front()).c_str()
                         : again.error().ToString().c_str());
      std::abort();
    }
  }
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nfarena::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
