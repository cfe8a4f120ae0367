// Any choices as packets on their way through a host whose stages do anything a
// ruleset can: every outcome is filled and holds what its verdict says.
#include <cstdlib>

#include "engines/core/answers.h"
#include "engines/core/path.h"
#include "engines/core/testing/random_packet.h"

namespace nfarena {
namespace {

using testing::Choices;

class AnyStages final : public StageEvaluator {
 public:
  AnyStages(Family family, Choices* choices)
      : family_(family), choices_(choices) {}

  bool HasStage(Stage) const override { return true; }
  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    if (packet->bytes.empty()) std::abort();
    StageVerdict said;
    said.rule = {stage.table, static_cast<uint32_t>(stage.hook), 1};
    const uint8_t choice = choices_->Byte();
    if (choice < 8) said.kind = VerdictKind::kDrop;
    if (choice == 8) said.kind = VerdictKind::kQueue;
    if (choice >= 16 && choice < 24) Reject(packet, &said);
    if (choice >= 24 && choice < 28 && stage.table == TableKind::kRaw) {
      packet->ct_template.set = true;
      packet->ct_template.zone = choice & 1;
      packet->ct_template.zone_directions = 1 + (choice & 1);
    }
    if (choice == 28 && stage.table == TableKind::kRaw) {
      packet->ct_info = CtInfo::kUntracked;
    }
    if (stage.table == TableKind::kNat && choice >= 64) Nat(stage.hook, packet);
    return said;
  }

 private:
  void Reject(PacketState* packet, StageVerdict* said) {
    const bool reset = choices_->OneIn(2);
    if (reset ? BuildTcpReset(*packet, &answer_)
              : BuildRejectUnreachable(*packet, 3, &answer_)) {
      packet->path->AddAnswer(answer_);
    }
    said->kind = VerdictKind::kDrop;
  }

  void Nat(Hook hook, PacketState* packet) {
    const bool source = hook == Hook::kInput || hook == Hook::kPostrouting;
    const NatManip manip = source ? NatManip::kSource : NatManip::kDestination;
    if (packet->connection == nullptr ||
        !packet->tracker->WantsNatRules(*packet, hook)) {
      return;
    }
    NatRange range;
    range.flags = choices_->Byte() & 0x7f;
    const size_t last = family_ == Family::kIpv4 ? 3 : 15;
    range.min = range.max =
        family_ == Family::kIpv4
            ? Address{10, 0, 1, 7}
            : Address{0x20, 1, 0x0d, 0xb8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7};
    range.max[last] = static_cast<uint8_t>(7 + choices_->Below(3));
    range.min_port = 1024;
    range.max_port = static_cast<uint16_t>(1024 + choices_->Below(4));
    switch (choices_->Below(4)) {
      case 0:
        if (hook == Hook::kPostrouting) {
          packet->tracker->SetupMasquerade(packet, range);
          break;
        }
        [[fallthrough]];
      case 1:
        if (!source) {
          packet->tracker->SetupRedirect(packet, range);
          break;
        }
        [[fallthrough]];
      case 2:
        packet->tracker->SetupNetmap(packet, range, manip);
        break;
      default:
        packet->tracker->SetupNat(packet, range, manip);
    }
  }

  Family family_;
  Choices* choices_;
  std::vector<uint8_t> answer_;
};

void Check(const Outcome& outcome) {
  const bool leaves = outcome.verdict == VerdictKind::kAccept ||
                      outcome.verdict == VerdictKind::kQueue;
  if (leaves == outcome.bytes.empty()) std::abort();
  if (outcome.verdict != VerdictKind::kAccept && !outcome.out.empty()) {
    std::abort();
  }
  for (const Emission& emission : outcome.emissions) {
    if (emission.bytes.size() < 20) std::abort();
  }
}

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const Family family =
      (choices.Byte() & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  const Topology host = testing::RandomPacketHost(family);
  Tracker tracker;
  AnyStages stages(family, &choices);
  Path path(&host, &tracker, &stages);
  path.SetTracking(true);
  path.SetNat(true);
  Outcome outcome;
  std::vector<uint8_t> before;
  uint64_t now_ms = 0;
  for (size_t count = 1; !choices.empty(); ++count) {
    Packet packet = testing::RandomPacket(family, before, &choices);
    now_ms += choices.Number();
    packet.time_ms = now_ms;
    path.Run(packet, {}, &outcome);
    Check(outcome);
    before = outcome.bytes.empty() ? packet.bytes : outcome.bytes;
    // A packet makes a connection, and so may each answer to it.
    if (tracker.connections_count() > 2 * count) std::abort();
  }
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size != 0) nfarena::Fuzz({data, size});
  return 0;
}
