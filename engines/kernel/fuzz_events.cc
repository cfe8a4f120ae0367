// Bytes as if received from netlink, through every decoder of this directory
// and the reader of the story they tell.
#include <linux/netlink.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "engines/kernel/events.h"
#include "engines/kernel/netlink.h"
#include "engines/kernel/nft_transport.h"
#include "engines/kernel/observe.h"

namespace {

nfarena::Ruleset SomeRuleset() {
  nfarena::Ruleset ruleset;
  nfarena::Table& table = ruleset.EnsureTable(nfarena::TableKind::kFilter);
  nfarena::Rule rule;
  rule.target.kind = nfarena::TargetKind::kExtension;
  rule.target.extension.name = "REJECT";
  rule.target.extension.payload.resize(8);
  table.chains[0].rules = {rule, nfarena::Rule{}};
  return ruleset;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nfarena::kernel;
  static const nfarena::Ruleset ruleset = SomeRuleset();
  static const RuleIndex index(&ruleset);
  static const Network network;
  const std::span<const uint8_t> bytes(data, size);
  (void)ReadErrors(bytes);
  (void)RuleOfSequence(bytes, 1);
  (void)ReadChainHandles(bytes);
  (void)ParseLegacyTrace({reinterpret_cast<const char*>(data), size});
  nfarena::Outcome outcome;
  Observer observer(
      &index, &network,
      {.arrives = size % 2 == 0, .fragment = size % 3 == 0, .trace = true},
      &outcome);
  ForEachMessage(bytes, [&](const nlmsghdr* message) {
    if (const auto event = DecodeEvent(message)) observer.Take(*event);
  });
  observer.Finish();
  return 0;
}
