#include "engines/kernel/host.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <set>
#include <vector>

#include "compat/meaning/target.h"
#include "engines/core/packet_state.h"

namespace nfarena::kernel {
namespace {

// The way over lo is finished before send() returns, unless the kernel put the
// rest of the work on a thread of its own because the machine is busy.
constexpr int kLoopbackWaitMs = 200;

void Collect(Family family, const Rule& rule, std::set<uint16_t>* groups,
             std::set<uint16_t>* queues) {
  if (rule.target.kind == TargetKind::kQueue) queues->insert(0);
  if (rule.target.kind != TargetKind::kExtension) return;
  const Extension& extension = rule.target.extension;
  if (extension.name != "NFLOG" && extension.name != "NFQUEUE") return;
  // A revision nobody can read is one that the kernel will refuse.
  const auto meaning = DecodeTarget(family, extension);
  if (!meaning) return;
  if (const auto* log = std::get_if<NflogTarget>(&*meaning)) {
    groups->insert(log->group);
  } else if (const auto* queue = std::get_if<NfqueueTarget>(&*meaning)) {
    for (uint32_t i = 0; i < queue->count; ++i) {
      queues->insert(static_cast<uint16_t>(queue->first + i));
    }
  }
}

}  // namespace

Host::Host(Namespace ns, Network network, Probe probe, Family family)
    : family_(family),
      ns_(std::move(ns)),
      network_(std::move(network)),
      probe_(std::move(probe)),
      injector_(&ns_, &network_, family) {}

Result<std::unique_ptr<Host>> Host::Create(const OpenOptions& options) {
  if (options.topology.family != options.family) {
    return Fail(ErrorCode::kInternal, "the topology is of the other family");
  }
  ASSIGN_OR_RETURN(Namespace ns, Namespace::Create());
  ASSIGN_OR_RETURN(Network network, Network::Build(ns, options.topology));
  ASSIGN_OR_RETURN(Probe probe, Probe::Create(ns, options.family));
  if (!options.ipset_save.empty()) {
    RETURN_IF_ERROR(RestoreSets(ns, options.ipset_save));
  }
  return std::unique_ptr<Host>(new Host(std::move(ns), std::move(network),
                                        std::move(probe), options.family));
}

Status Host::Expect(const Ruleset& ruleset) {
  std::set<uint16_t> groups;
  std::set<uint16_t> queues;
  for (const Table& table : ruleset.tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        Collect(ruleset.family, rule, &groups, &queues);
      }
    }
  }
  return probe_.Listen(groups, queues);
}

Status Host::Expect(const Delta& delta) {
  std::set<uint16_t> groups;
  std::set<uint16_t> queues;
  for (const Change& change : delta) {
    Collect(family_, change.rule, &groups, &queues);
  }
  return probe_.Listen(groups, queues);
}

Status Host::Classify(const RuleIndex& rules, std::span<const Packet> packets,
                      std::span<Outcome> outcomes,
                      const ClassifyOptions& options) {
  if (packets.size() != outcomes.size()) {
    return Fail(ErrorCode::kInternal, "as many outcomes as packets");
  }
  if (!options.full_path) {
    return Fail(ErrorCode::kUnsupported,
                "a kernel judges the whole path, not one hook of one table");
  }
  RETURN_IF_ERROR(probe_.SetMode(ProbeMode::kObserve));
  probe_.Discard();
  for (size_t i = 0; i < packets.size(); ++i) {
    RETURN_IF_ERROR(ClassifyOne(rules, packets[i], options, &outcomes[i]));
  }
  return {};
}

Status Host::ClassifyOne(const RuleIndex& rules, const Packet& packet,
                         const ClassifyOptions& options, Outcome* outcome) {
  RETURN_IF_ERROR(injector_.Prepare(packet));
  const bool arrives = Arrives(packet);
  RETURN_IF_ERROR(probe_.SetMark(arrives ? packet.mark : 0));
  Observer observer(
      &rules, &network_,
      {.arrives = arrives,
       .fragment = HeadersOf(packet.family, packet.bytes).fragment,
       .trace = options.trace,
       .bytes = packet.bytes},
      outcome);
  ASSIGN_OR_RETURN(const bool sent, injector_.Send(packet));
  while (true) {
    ASSIGN_OR_RETURN(const auto events, probe_.Drain());
    for (const Event& event : events) {
      observer.Take(event);
      if (event.kind == EventKind::kQueue) {
        RETURN_IF_ERROR(probe_.DropQueued(event));
      }
    }
    observer.EndBatch();
    if (!sent || !observer.ExpectsMore() || !probe_.Wait(kLoopbackWaitMs)) {
      break;
    }
  }
  observer.Finish();
  return {};
}

Result<PacketTiming> Host::Time(std::span<const Packet> packets,
                                uint32_t rounds,
                                const ClassifyOptions& options) {
  if (!options.full_path) {
    return Fail(ErrorCode::kUnsupported,
                "a kernel is timed on the whole path; take the difference to "
                "an empty ruleset");
  }
  if (packets.empty() || rounds == 0) {
    return Fail(ErrorCode::kRange, "nothing to time");
  }
  for (const Packet& packet : packets) {
    RETURN_IF_ERROR(injector_.Prepare(packet));
    if (Arrives(packet) && packet.mark != packets.front().mark) {
      return Fail(ErrorCode::kUnsupported,
                  "packets with different marks cannot be timed together: each "
                  "change of the mark is an update");
    }
  }
  RETURN_IF_ERROR(probe_.SetMode(ProbeMode::kTime));
  RETURN_IF_ERROR(
      probe_.SetMark(Arrives(packets.front()) ? packets.front().mark : 0));
  std::vector<double> nanoseconds;
  nanoseconds.reserve(rounds);
  for (uint32_t round = 0; round < rounds; ++round) {
    const auto begin = std::chrono::steady_clock::now();
    for (const Packet& packet : packets) {
      ASSIGN_OR_RETURN([[maybe_unused]] const bool sent,
                       injector_.Send(packet));
    }
    const std::chrono::duration<double, std::nano> spent =
        std::chrono::steady_clock::now() - begin;
    nanoseconds.push_back(spent.count() / static_cast<double>(packets.size()));
    // Logged and queued packets of the ruleset itself.
    probe_.Discard();
  }
  const auto middle =
      nanoseconds.begin() + static_cast<std::ptrdiff_t>(nanoseconds.size() / 2);
  std::nth_element(nanoseconds.begin(), middle, nanoseconds.end());
  PacketTiming timing;
  timing.ns_per_packet = *middle;
  timing.packets = packets.size() * rounds;
  return timing;
}

}  // namespace nfarena::kernel
