// Programs made of any choices, run on packets made of any bytes: no
// instruction reads or writes outside of the packet, and a verdict names a
// chain that was there.
#include <cstdlib>

#include "engines/core/path.h"
#include "engines/core/testing/random_packet.h"
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

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const Family family =
      (choices.Byte() & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  const uint8_t nfproto = family == Family::kIpv4 ? 2 : 10;
  ControlPlane control;
  if (!control.Submit(StandingBatch(nfproto)).committed) std::abort();
  const Topology topology = testing::RandomPacketHost(family);
  Tracker tracker;
  Evaluator evaluator(&control);
  Path path(&topology, &tracker, &evaluator);
  ClassifyOptions options;
  options.trace = true;
  Outcome outcome;
  uint64_t now_ms = 0;
  while (!choices.empty()) {
    for (size_t n = 1 + choices.Below(8); n != 0; --n) {
      control.Submit(RandomBatch(nfproto, 2, &choices));
    }
    path.SetTracking(control.needs_tracking());
    for (size_t n = choices.Below(4); n != 0; --n) {
      Packet packet = testing::RandomPacket(family, outcome.bytes, &choices);
      now_ms += choices.Number();
      packet.time_ms = now_ms;
      control.set_now_ms(now_ms);
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
