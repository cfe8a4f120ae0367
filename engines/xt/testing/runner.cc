#include "engines/xt/testing/runner.h"

#include <gtest/gtest.h>

#include <cstring>

#include "compat/syntax/save_parser.h"
#include "engines/xt/testing/packets.h"

namespace nfarena::xt::testing {
namespace {

template <typename Extension>
std::vector<uint64_t> MakeState(const Extension& extension,
                                const uint8_t* payload) {
  std::vector<uint64_t> state((extension.state.bytes + 7u) / 8u);
  if (extension.state.init != nullptr) {
    extension.state.init(payload, state.data());
  }
  return state;
}

std::vector<uint64_t> Aligned(std::span<const uint8_t> bytes) {
  std::vector<uint64_t> words((bytes.size() + 7) / 8);
  if (!bytes.empty()) std::memcpy(words.data(), bytes.data(), bytes.size());
  return words;
}

}  // namespace

Topology TestTopology(Family family) {
  Topology topology;
  topology.family = family;
  const bool v4 = family == Family::kIpv4;
  const uint8_t bits = v4 ? 24 : 64;
  const Address eth0 = ParseAddress(v4 ? "192.0.2.254" : "2001:db8::fe");
  const Address eth1 = ParseAddress(v4 ? "198.51.100.254" : "2001:db8:1::fe");
  topology.devices = {{.name = "eth0", .addresses = {{eth0, bits}}},
                      {.name = "eth1", .addresses = {{eth1, bits}}}};
  const Address net0 = ParseAddress(v4 ? "192.0.2.0" : "2001:db8::");
  topology.routes = {
      {.in = "*", .destination = {net0, bits}, .local = false, .out = "eth0"},
      {.in = "*", .destination = {Address{}, 0}, .local = false, .out = "eth1"},
  };
  topology.BuildIndex();
  return topology;
}

Standing::Standing(const Packet& p, Hook hook)
    : packet(p), topology(TestTopology(p.family)) {
  const bool forwarded = packet.in.empty() && packet.out.empty();
  state.family = packet.family;
  state.bytes = packet.bytes;
  state.hook = hook;
  state.origin = &packet;
  state.mark = packet.mark;
  state.now_ms = packet.time_ms;
  state.topology = &topology;
  state.outcome = &outcome;
  const bool has_in = hook == Hook::kPrerouting || hook == Hook::kInput ||
                      hook == Hook::kForward;
  const bool has_out = hook == Hook::kForward || hook == Hook::kOutput ||
                       hook == Hook::kPostrouting;
  if (has_in) SetDeviceName(forwarded ? "eth0" : packet.in, &state.in);
  if (has_out) SetDeviceName(forwarded ? "eth1" : packet.out, &state.out);
  state.local_out = hook == Hook::kOutput;
  ParseHeaders(&state);
}

void Standing::Track(CtInfo info) {
  state.connection = &connection;
  state.ct_info = info;
}

RuleRunner::RuleRunner(Family family, TableKind table, std::string_view text,
                       uint8_t hooks, std::optional<TableKind> checked_in,
                       NetState* net)
    : family_(family),
      table_(checked_in.value_or(table)),
      net_(net != nullptr ? net : &own_net_) {
  Result<Rule> rule = ParseRule(text, family, table);
  if (!rule) {
    error_ = "parser: " + rule.error().ToString();
    return;
  }
  Prepare(*rule, hooks);
}

bool RuleRunner::Prepare(const Rule& rule, uint8_t hooks) {
  selector_ = rule.selector;
  XtUse use;
  use.family = family_;
  use.table = table_;
  use.hook_mask = hooks;
  use.protocol = rule.selector.protocol;
  use.protocol_inverted = rule.selector.inverted & kInvertProtocol;
  use.net = net_;
  use.holds = &holds_;
  bool wants_syn = false;
  const auto refused = [this](const Status& status) {
    if (status) return false;
    error_ = status.error().message;
    error_number_ = status.error().errno_value;
    return true;
  };
  for (const Extension& extension : rule.matches) {
    Part part;
    part.match = FindXtMatch(family_, extension.name, extension.revision);
    if (part.match == nullptr) {
      error_ = "unknown match " + extension.name;
      return false;
    }
    if (refused(part.match->check(extension.payload, use))) return false;
    wants_syn |= XtWantsSyn(extension.name, extension.payload);
    part.payload = Aligned(extension.payload);
    part.state = MakeState(*part.match, part.data());
    matches_.push_back(std::move(part));
  }
  if (rule.target.kind != TargetKind::kExtension) return true;
  const Extension& extension = rule.target.extension;
  use.wants_syn = wants_syn;
  Part part;
  part.target = FindXtTarget(family_, extension.name, extension.revision);
  if (part.target == nullptr) {
    error_ = "unknown target " + extension.name;
    return false;
  }
  if (refused(part.target->check(extension.payload, use))) return false;
  part.payload = Aligned(extension.payload);
  part.state = MakeState(*part.target, part.data());
  target_ = std::move(part);
  return true;
}

XtContext RuleRunner::ContextOf(Part& part, Standing* standing) {
  return {.packet = &standing->state,
          .table = table_,
          .state = part.state.empty() ? nullptr : part.state.data(),
          .net = net_};
}

bool RuleRunner::Matches(Standing* standing) {
  if (!MatchSelector(selector_, standing->state)) return false;
  for (Part& part : matches_) {
    if (!part.match->match(part.data(), ContextOf(part, standing))) {
      return false;
    }
  }
  return true;
}

XtTargetResult RuleRunner::RunTarget(Standing* standing) {
  EXPECT_TRUE(target_.has_value()) << "the rule has no target extension";
  if (!target_.has_value()) return {};
  return target_->target->target(target_->data(),
                                 ContextOf(*target_, standing));
}

void ExpectMatches(Family family, const std::vector<MatchCase>& cases,
                   Hook hook) {
  ASSERT_FALSE(cases.empty());
  for (const MatchCase& c : cases) {
    SCOPED_TRACE(c.rule);
    RuleRunner runner(family, TableKind::kFilter, c.rule,
                      static_cast<uint8_t>(1 << static_cast<int>(hook)));
    ASSERT_EQ(runner.error(), "");
    Standing standing(c.packet, hook);
    EXPECT_EQ(runner.Matches(&standing), c.want)
        << "packet of case " << (&c - cases.data());
    EXPECT_FALSE(standing.state.hotdrop);
  }
}

}  // namespace nfarena::xt::testing
