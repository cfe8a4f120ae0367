#include "engines/core/twin_instance.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "engines/core/stopwatch.h"

namespace nfarena {

TwinInstance::TwinInstance(const OpenOptions& options, IpSets sets)
    : family_(options.family),
      topology_(options.topology),
      net_{.sets = std::move(sets), .named = {}},
      path_(&topology_, &tracker_, this) {
  topology_.BuildIndex();
}

Status TwinInstance::CheckFamily(const Ruleset& ruleset) const {
  if (ruleset.family == family_) return {};
  return Fail(ErrorCode::kConflict,
              fmt::format("an {} ruleset for an {} instance",
                          FamilyName(ruleset.family), FamilyName(family_)));
}

Status TwinInstance::CheckFamily(std::span<const Packet> packets) const {
  for (const Packet& packet : packets) {
    if (packet.family == family_) continue;
    return Fail(
        ErrorCode::kConflict,
        fmt::format("an {} packet for an {} instance",
                    FamilyName(packet.family), FamilyName(family_)),
        SourcePlace{.file = {}, .line = packet.line, .column = 0, .text = {}});
  }
  return {};
}

Status TwinInstance::Classify(std::span<const Packet> packets,
                              std::span<Outcome> outcomes,
                              const ClassifyOptions& options) {
  if (packets.size() != outcomes.size()) {
    return Fail(ErrorCode::kRange,
                fmt::format("{} packets, but room for {} outcomes",
                            packets.size(), outcomes.size()));
  }
  RETURN_IF_ERROR(CheckFamily(packets));
  trace_ = options.trace;
  for (size_t i = 0; i < packets.size(); ++i) {
    Arrive(packets[i]);
    path_.Run(packets[i], options, &outcomes[i]);
    Leave();
  }
  return {};
}

Result<PacketTiming> TwinInstance::Time(std::span<const Packet> packets,
                                        uint32_t rounds,
                                        const ClassifyOptions& options) {
  RETURN_IF_ERROR(CheckFamily(packets));
  PacketTiming timing;
  timing.packets = uint64_t{rounds} * packets.size();
  if (timing.packets == 0) return timing;
  trace_ = false;
  Arrive(packets.front());
  const auto ns =
      options.full_path
          ? TimePath(packets, rounds, options)
          : TimeStage(packets, rounds, Stage{options.table, options.hook});
  Leave();
  if (!ns) return tl::unexpected<Error>(ns.error());
  timing.ns_per_packet = *ns / static_cast<double>(timing.packets);
  return timing;
}

Result<double> TwinInstance::TimePath(std::span<const Packet> packets,
                                      uint32_t rounds,
                                      const ClassifyOptions& options) {
  Outcome outcome;
  const Stopwatch watch;
  for (uint32_t round = 0; round < rounds; ++round) {
    for (const Packet& packet : packets) path_.Run(packet, options, &outcome);
  }
  return static_cast<double>(watch.nanoseconds());
}

Result<double> TwinInstance::TimeStage(std::span<const Packet> packets,
                                       uint32_t rounds, Stage stage) {
  if (!HasStage(stage)) {
    return Fail(ErrorCode::kRange,
                fmt::format("nothing is in force in table {} at {}",
                            TableName(stage.table), HookChainName(stage.hook)));
  }
  std::vector<PacketState> states(packets.size());
  for (size_t i = 0; i < packets.size(); ++i) {
    path_.Place(packets[i], stage, &states[i]);
  }
  const Stopwatch watch;
  for (uint32_t round = 0; round < rounds; ++round) {
    for (PacketState& state : states) Evaluate(stage, &state);
  }
  return static_cast<double>(watch.nanoseconds());
}

}  // namespace nfarena
