// Programs made of any choices, run on packets made of any bytes: no
// instruction reads or writes outside of the packet, and a verdict names a
// chain that was there.
#include <algorithm>
#include <cstdlib>
#include <vector>

#include "engines/core/path.h"
#include "engines/core/tracker.h"
#include "engines/vm/control_plane.h"
#include "engines/vm/machine.h"
#include "engines/vm/testing/random_batch.h"

namespace nfarena::vm {
namespace {

class Evaluator final : public StageEvaluator {
 public:
  explicit Evaluator(ControlPlane* control)
      : control_(control), machine_(control) {}

  bool HasStage(Stage stage) const override { return Find(stage) != nullptr; }
  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    Chain* chain = Find(stage);
    if (chain == nullptr) return {};
    return machine_.Run(chain, stage.table, true, packet);
  }

 private:
  Chain* Find(Stage stage) const {
    for (const auto& table : control_->tables()) {
      if (table->name != TableName(stage.table)) continue;
      for (const auto& chain : table->chains) {
        if (chain->base &&
            chain->base->hook == static_cast<uint32_t>(stage.hook)) {
          return chain.get();
        }
      }
    }
    return nullptr;
  }

  ControlPlane* control_;
  Machine machine_;
};

// A packet with a header that makes sense, then anything; sometimes anything
// from the first byte on.
Packet AnyPacket(Family family, Choices* choices) {
  Packet packet;
  packet.family = family;
  const uint8_t shape = choices->Byte();
  if ((shape & 1) != 0) packet.in = "eth0";
  if ((shape & 2) != 0) packet.out = "eth1";
  packet.bytes = choices->Take(1 + choices->Below(120));
  if ((shape & 4) == 0) {
    const bool v4 = family == Family::kIpv4;
    packet.bytes.resize(std::max<size_t>(packet.bytes.size(), v4 ? 20 : 40));
    packet.bytes[0] = v4 ? 0x45 : 0x60;
    const size_t length = packet.bytes.size() - (v4 ? 0 : 40);
    const size_t at = v4 ? 2 : 4;
    packet.bytes[at] = static_cast<uint8_t>(length >> 8);
    packet.bytes[at + 1] = static_cast<uint8_t>(length);
    if ((shape & 8) == 0) {
      constexpr uint8_t kProtocols[] = {6, 17, 1, 58};
      packet.bytes[v4 ? 9 : 6] = kProtocols[choices->Below(4)];
      if (v4) packet.bytes[6] = packet.bytes[7] = 0;
    }
  }
  packet.mark = choices->Byte();
  packet.time_ms = choices->Number();
  return packet;
}

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const Family family =
      (choices.Byte() & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  const uint8_t nfproto = family == Family::kIpv4 ? 2 : 10;
  ControlPlane control;
  if (!control.Submit(StandingBatch(nfproto)).committed) std::abort();
  const Topology topology;
  Tracker tracker;
  Evaluator evaluator(&control);
  Path path(&topology, &tracker, &evaluator);
  ClassifyOptions options;
  options.trace = true;
  uint64_t now_ms = 0;
  while (!choices.empty()) {
    for (size_t n = 1 + choices.Below(8); n != 0; --n) {
      control.Submit(RandomBatch(nfproto, 2, &choices));
    }
    path.SetTracking(control.needs_tracking());
    for (size_t n = choices.Below(4); n != 0; --n) {
      Packet packet = AnyPacket(family, &choices);
      now_ms += packet.time_ms;
      packet.time_ms = now_ms;
      control.set_now_ms(now_ms);
      Outcome outcome;
      path.Run(packet, options, &outcome);
      if (outcome.verdict == VerdictKind::kAccept && outcome.bytes.empty()) {
        std::abort();
      }
    }
  }
}

}  // namespace
}  // namespace nfarena::vm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size != 0) nfarena::vm::Fuzz({data, size});
  return 0;
}
