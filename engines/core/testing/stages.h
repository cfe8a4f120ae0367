// A host for tests: stages are functions, every visit is written down.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "compat/model/testing/addresses.h"
#include "engines/core/packet_text.h"
#include "engines/core/path.h"
#include "engines/core/topology.h"
#include "engines/core/tracker.h"

namespace nfarena::testing {

inline Packet P(const std::string& line) {
  const auto packets = ParsePackets(line, "test");
  EXPECT_TRUE(packets) << line << '\n'
                       << (packets ? "" : packets.error().ToString());
  return packets && packets->size() == 1 ? packets->front() : Packet();
}

/// "NEW", "ESTABLISHED", ... with "/reply" for the reply direction.
inline std::string StateName(const PacketState& packet) {
  switch (packet.ct_info) {
    case CtInfo::kEstablished:
      return "ESTABLISHED";
    case CtInfo::kRelated:
      return "RELATED";
    case CtInfo::kNew:
      return "NEW";
    case CtInfo::kEstablishedReply:
      return "ESTABLISHED/reply";
    case CtInfo::kRelatedReply:
      return "RELATED/reply";
    case CtInfo::kUntracked:
      return "UNTRACKED";
    case CtInfo::kInvalid:
      return "INVALID";
  }
  return "?";
}

/// Stages as functions; a stage without one exists and lets pass.
class Stages : public StageEvaluator {
 public:
  using Function = std::function<StageVerdict(PacketState*)>;

  bool HasStage(Stage stage) const override {
    return !only_set_ || functions_.contains(Key(stage));
  }
  StageVerdict Evaluate(Stage stage, PacketState* packet) override {
    EXPECT_EQ(packet->hook, stage.hook);
    std::string visit =
        std::string(HookChainName(stage.hook)) + ' ' + TableName(stage.table);
    visits_.push_back(std::move(visit));
    states_.push_back(StateName(*packet));
    const auto it = functions_.find(Key(stage));
    StageVerdict verdict;
    if (it != functions_.end()) verdict = it->second(packet);
    verdict.rule.table = stage.table;
    verdict.rule.rule = static_cast<uint32_t>(stage.hook) + 1;
    return verdict;
  }

  void Set(TableKind table, Hook hook, Function function) {
    functions_[Key({table, hook})] = std::move(function);
  }
  void Clear() { functions_.clear(); }
  /// From now on a stage without a function does not exist.
  void OnlySet() { only_set_ = true; }

  std::vector<std::string> visits_;
  std::vector<std::string> states_;

 private:
  static std::pair<int, int> Key(Stage stage) {
    return {static_cast<int>(stage.table), static_cast<int>(stage.hook)};
  }
  std::map<std::pair<int, int>, Function> functions_;
  bool only_set_ = false;
};

inline StageVerdict Drop(PacketState*) { return {.kind = VerdictKind::kDrop}; }

/// eth0 is the inside (192.168.1.0/24), eth1 the outside.
class Host {
 public:
  explicit Host(Family family = Family::kIpv4) {
    topology_.family = family;
    if (family == Family::kIpv4) {
      topology_.devices = {{"eth0", {{ParseAddress("192.168.1.1"), 24}}},
                           {"eth1", {{ParseAddress("198.51.100.1"), 24}}}};
      topology_.routes = {{.in = "*",
                           .destination = {ParseAddress("192.168.1.0"), 24},
                           .out = "eth0"},
                          {.in = "*", .destination = {}, .out = "eth1"}};
    } else {
      topology_.devices = {{"eth0", {{ParseAddress("2001:db8:1::1"), 64}}},
                           {"eth1", {{ParseAddress("2001:db8:2::1"), 64}}}};
      topology_.routes = {{.in = "*",
                           .destination = {ParseAddress("2001:db8:1::"), 64},
                           .out = "eth0"},
                          {.in = "*", .destination = {}, .out = "eth1"}};
    }
    topology_.BuildIndex();
    path_.SetTracking(true);
    path_.SetNat(true);
  }

  /// Runs one packet; `visits` and `states` are those of this one.
  const Outcome& Run(const std::string& line) { return Run(P(line)); }
  const Outcome& Run(const Packet& packet) {
    stages_.visits_.clear();
    stages_.states_.clear();
    path_.Run(packet, {}, &outcome_);
    return outcome_;
  }
  /// The state the packet had in the last stage it met.
  std::string State() const {
    return stages_.states_.empty() ? "" : stages_.states_.back();
  }
  std::string StateOf(const std::string& line) {
    Run(line);
    return State();
  }
  /// The packet that came out, as a line without its id.
  std::string Sent() const { return Line(outcome_.bytes, outcome_.out); }
  static std::string Line(const std::vector<uint8_t>& bytes,
                          const std::string& out) {
    Packet packet;
    packet.family =
        !bytes.empty() && bytes[0] >> 4 == 6 ? Family::kIpv6 : Family::kIpv4;
    packet.bytes = bytes;
    packet.out = out.empty() ? "here" : out;
    return PacketLine(packet);
  }

  Topology topology_;
  Tracker tracker_;
  Stages stages_;
  Path path_{&topology_, &tracker_, &stages_};
  Outcome outcome_;
};

}  // namespace nfarena::testing
