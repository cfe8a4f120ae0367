// Any bytes as the text of sets: an error or sets that answer a packet.
#include <cstdint>
#include <string_view>

#include "engines/core/ipset.h"
#include "engines/core/ipset_text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nfarena;
  auto sets = ReadIpSets({reinterpret_cast<const char*>(data), size});
  if (!sets) return 0;
  PacketState packet;
  // TCP from 192.0.2.10:40000 to 198.51.100.1:80.
  packet.bytes = {0x45, 0,  0,   40, 0,    0, 0,    0,    64, 6,  0, 0, 192, 0,
                  2,    10, 198, 51, 100,  1, 0x9c, 0x40, 0,  80, 0, 0, 0,   0,
                  0,    0,  0,   0,  0x50, 2, 0,    0,    0,  0,  0, 0};
  SetDeviceName("eth0", &packet.in);
  ParseHeaders(&packet);
  for (uint16_t i = 0; i < sets->size(); ++i) {
    if (!sets->Check(i)) continue;
    const IpSetQuery query{.set = i, .dimensions = 3, .source_parts = 3};
    sets->Test(query, &packet);
    if (sets->Add(query, &packet) && !sets->at(i).type->has(IpSetPart::kSet) &&
        !sets->Test(query, &packet)) {
      __builtin_trap();  // what was added is there
    }
    sets->Delete(query, &packet);
  }
  return 0;
}
