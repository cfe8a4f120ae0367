// Any bytes as a capture file: an error, or packets that can be written as
// lines and read again.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "engines/core/packet_text.h"

namespace nfarena {
namespace {

void Check(const std::vector<Packet>& packets) {
  uint32_t line = 0;
  for (const Packet& packet : packets) {
    if (packet.line <= line || packet.in != "eth0") std::abort();
    line = packet.line;
    const std::string text = PacketLine(packet);
    const auto again = ParsePackets(text, "line");
    if (!again || again->size() != 1 || again->front().bytes != packet.bytes ||
        again->front().family != packet.family ||
        again->front().time_ms != packet.time_ms) {
      std::fprintf(stderr, "%s\n%s\n", text.c_str(),
                   again ? "" : again.error().ToString().c_str());
      std::abort();
    }
  }
}

void Fuzz(std::string_view bytes) {
  const auto packets = ParsePcap(bytes, "file", "eth0");
  if (packets) {
    Check(*packets);
  } else if (packets.error().place.file != "file") {
    std::abort();
  }
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  nfarena::Fuzz({reinterpret_cast<const char*>(data), size});
  return 0;
}
