// Any choices as replacements of a table, damaged or not, then packets through
// its chains: a refused one changes nothing, what is in force can be read and
// put back, and every walk ends.
#include <linux/netfilter_ipv4/ip_tables.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "compat/lower/xt_table.h"
#include "compat/model/testing/random_table.h"
#include "engines/core/net_state.h"
#include "engines/core/path.h"
#include "engines/core/testing/random_packet.h"
#include "engines/core/testing/some_sets.h"
#include "engines/core/tracker.h"
#include "engines/legacy/legacy_table.h"
#include "engines/xt/testing/random_extension.h"

namespace nfarena {
namespace {

using testing::Choices;
using testing::SomeSets;
using Bytes = std::vector<uint8_t>;

// struct ip6t_replace begins as ipt_replace does.
void SetCounters(const LegacyTable& in_force, Bytes* replace) {
  if (replace->size() < sizeof(ipt_replace)) return;
  const uint32_t count = in_force.Info().num_entries;
  std::memcpy(replace->data() + offsetof(ipt_replace, num_counters), &count,
              sizeof(count));
}

Bytes Entries(const LegacyTable& table) {
  const auto entries = table.GetEntries(table.Info().size);
  if (!entries) std::abort();
  return *entries;
}

/// What is in force, as a replacement.
Bytes AsReplacement(const LegacyTable& table) {
  const LegacyInfo info = table.Info();
  const Bytes entries = Entries(table);
  ipt_replace head;
  std::memset(&head, 0, sizeof(head));
  std::strcpy(head.name, TableName(table.kind()));
  head.valid_hooks = info.valid_hooks;
  head.num_entries = info.num_entries;
  head.num_counters = info.num_entries;
  head.size = info.size;
  std::memcpy(head.hook_entry, info.hook_entry.data(), sizeof(head.hook_entry));
  std::memcpy(head.underflow, info.underflow.data(), sizeof(head.underflow));
  Bytes bytes(sizeof(head) + entries.size());
  std::memcpy(bytes.data(), &head, sizeof(head));
  std::copy(entries.begin(), entries.end(), bytes.begin() + sizeof(head));
  return bytes;
}

void ReplaceAndCheck(const Bytes& bytes, LegacyTable* table) {
  const Bytes before = Entries(*table);
  if (!table->Replace(bytes)) {
    if (Entries(*table) != before) std::abort();
    return;
  }
  (void)table->program().Disassemble();
  const Bytes now = Entries(*table);
  const LegacyInfo info = table->Info();
  (void)RaiseXtTable(table->family(), table->kind(), now, info.hook_entry,
                     info.underflow, info.valid_hooks, {});
  if (!table->Replace(AsReplacement(*table)) || Entries(*table) != now) {
    std::abort();
  }
}

class OneTable final : public StageEvaluator {
 public:
  explicit OneTable(LegacyTable* table) : table_(table) {}
  bool HasStage(Stage stage) const override {
    return stage.table == table_->kind() &&
           (table_->Info().valid_hooks >> static_cast<unsigned>(stage.hook) &
            1) != 0;
  }
  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    return table_->Evaluate(stage.hook, true, packet);
  }

 private:
  LegacyTable* table_;
};

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const uint8_t mode = choices.Byte();
  const Family family = (mode & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  const auto kind = static_cast<TableKind>((mode >> 1) % kTableKindCount);
  NetState net = SomeSets();
  LegacyTable table(family, kind, &net);
  if ((mode & 0xc0) == 0xc0) {
    Bytes raw = choices.Take(data.size() - 1);
    SetCounters(table, &raw);
    ReplaceAndCheck(raw, &table);
    return;
  }
  const Topology host = testing::RandomPacketHost(family);
  Tracker tracker;
  OneTable stages(&table);
  Path path(&host, &tracker, &stages);
  path.SetTracking(true);
  path.SetNat(true);
  ClassifyOptions options;
  options.trace = true;
  Outcome outcome;
  const testing::ExtensionMaker make = [family](bool target, Choices* c) {
    return testing::RandomExtension(family, target, c);
  };
  while (!choices.empty()) {
    const auto image = LowerXtTable(
        family, testing::RandomTable(family, kind, make, &choices));
    if (!image) std::abort();
    Bytes bytes = image->replace;
    SetCounters(table, &bytes);
    choices.Damage(&bytes);
    ReplaceAndCheck(bytes, &table);
    for (size_t n = choices.Below(4); n != 0; --n) {
      const Packet packet =
          testing::RandomPacket(family, outcome.bytes, &choices);
      path.Run(packet, options, &outcome);
      if (outcome.verdict == VerdictKind::kAccept && outcome.bytes.empty()) {
        std::abort();
      }
    }
  }
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size != 0) nfarena::Fuzz({data, size});
  return 0;
}
