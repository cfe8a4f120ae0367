// Any choices as blobs, damaged or not, then packets through their chains: a
// refused one changes nothing, one in force is given back as it came, and every
// walk ends.
#include <cstdlib>

#include "compat/lower/blob_lower.h"
#include "compat/model/testing/random_table.h"
#include "engines/blob/blob_table.h"
#include "engines/core/net_state.h"
#include "engines/core/path.h"
#include "engines/core/testing/random_packet.h"
#include "engines/core/testing/some_sets.h"
#include "engines/core/tracker.h"
#include "engines/xt/testing/random_extension.h"

namespace nfarena {
namespace {

using testing::Choices;
using testing::SomeSets;
using Bytes = std::vector<uint8_t>;

class Stages final : public StageEvaluator {
 public:
  explicit Stages(BlobTable* table) : reader_(table) {}
  bool HasStage(Stage stage) const override { return reader_.HasStage(stage); }
  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    return reader_.Evaluate(stage, true, packet);
  }
  BlobTable::Reader reader_;
};

void LoadAndCheck(const Bytes& bytes, BlobTable* table) {
  const Bytes before = table->Bytes();
  const auto done = table->Load(bytes, {});
  if (table->Bytes() != (done ? bytes : before)) std::abort();
}

Ruleset RandomRuleset(Family family, Choices* choices) {
  const testing::ExtensionMaker make = [family](bool target, Choices* c) {
    return testing::RandomExtension(family, target, c);
  };
  Ruleset ruleset{.family = family, .tables = {}};
  const uint8_t kinds = choices->Byte();
  for (size_t i = 0; i < kTableKindCount; ++i) {
    if ((kinds >> i & 1) == 0) continue;
    ruleset.tables.push_back(
        testing::RandomTable(family, static_cast<TableKind>(i), make, choices));
  }
  return ruleset;
}

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const uint8_t mode = choices.Byte();
  const Family family = (mode & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  NetState net = SomeSets();
  BlobTable table(family, &net);
  if ((mode & 0xc0) == 0xc0) {
    LoadAndCheck(choices.Take(data.size() - 1), &table);
    return;
  }
  const Topology host = testing::RandomPacketHost(family);
  Tracker tracker;
  Stages stages(&table);
  Path path(&host, &tracker, &stages);
  path.SetTracking(true);
  path.SetNat(true);
  ClassifyOptions options;
  options.trace = true;
  Outcome outcome;
  while (!choices.empty()) {
    const auto image = LowerBlob(RandomRuleset(family, &choices),
                                 {.counters = choices.OneIn(2)});
    if (!image) continue;
    Bytes bytes = image->bytes;
    choices.Damage(&bytes);
    LoadAndCheck(bytes, &table);
    stages.reader_.Pin();
    for (size_t n = choices.Below(4); n != 0; --n) {
      const Packet packet =
          testing::RandomPacket(family, outcome.bytes, &choices);
      path.Run(packet, options, &outcome);
      if (outcome.verdict == VerdictKind::kAccept && outcome.bytes.empty()) {
        std::abort();
      }
    }
    stages.reader_.Unpin();
  }
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size != 0) nfarena::Fuzz({data, size});
  return 0;
}
