#include "compat/model/testing/random_table.h"

#include <cstring>
#include <string_view>
#include <utility>

namespace nfarena::testing {
namespace {

void FillPrefix(Family family, Choices* choices, Address* address,
                Address* mask) {
  const size_t bytes = family == Family::kIpv4 ? 4 : 16;
  const size_t bits = choices->Below(8 * bytes + 1);
  for (size_t i = 0; i < bits; ++i) {
    (*mask)[i / 8] |= static_cast<uint8_t>(0x80 >> i % 8);
  }
  // What differs is at the beginning or at the end.
  (*address)[0] = family == Family::kIpv4 ? 10 : 0x20;
  (*address)[bytes - 1] = choices->Byte();
  for (size_t i = 0; i < bytes; ++i) (*address)[i] &= (*mask)[i];
}

InterfaceTest RandomInterface(Choices* choices) {
  constexpr std::string_view kNames[] = {"eth0", "eth1", "eth", "lo"};
  const std::string_view name = kNames[choices->Below(std::size(kNames))];
  InterfaceTest test;
  std::memcpy(test.name.data(), name.data(), name.size());
  std::memset(test.mask.data(), 0xff, name.size() + (name == "eth" ? 0 : 1));
  return test;
}

Selector RandomSelector(Family family, Choices* choices) {
  Selector selector;
  const uint8_t parts = choices->Byte();
  if ((parts & 1) != 0) {
    constexpr uint8_t kProtocols[] = {6, 17, 1, 58, 132, 51};
    selector.protocol = kProtocols[choices->Below(std::size(kProtocols))];
  }
  if ((parts & 14) == 2) {
    FillPrefix(family, choices, &selector.src, &selector.src_mask);
  }
  if ((parts & 14) == 4) {
    FillPrefix(family, choices, &selector.dst, &selector.dst_mask);
  }
  if ((parts & 48) == 16) selector.in = RandomInterface(choices);
  if ((parts & 48) == 32) selector.out = RandomInterface(choices);
  if ((parts & 0xc0) == 0x80) selector.inverted = choices->Byte() & 0x5b;
  if ((parts & 0xc0) == 0xc0) selector.fragment = family == Family::kIpv4;
  return selector;
}

Rule RandomRule(Family family, const ExtensionMaker& make, Choices* choices) {
  Rule rule;
  rule.selector = RandomSelector(family, choices);
  for (size_t n = choices->Below(3); n != 0; --n) {
    rule.matches.push_back(make(false, choices));
  }
  switch (choices->Below(12)) {
    case 0:
      rule.target.kind = TargetKind::kNone;
      break;
    case 1:
      rule.target.kind = TargetKind::kAccept;
      break;
    case 2:
      rule.target.kind = TargetKind::kDrop;
      break;
    case 3:
      rule.target.kind = TargetKind::kQueue;
      break;
    case 4:
      rule.target.kind = TargetKind::kReturn;
      break;
    case 5:
    case 6:
      rule.target.kind = TargetKind::kJump;
      break;
    case 7:
      rule.target.kind = TargetKind::kGoto;
      break;
    default:
      rule.target.kind = TargetKind::kExtension;
      rule.target.extension = make(true, choices);
  }
  if (rule.target.kind == TargetKind::kJump ||
      rule.target.kind == TargetKind::kGoto) {
    rule.target.chain = std::string(1, "abc"[choices->Below(3)]);
  }
  return rule;
}

}  // namespace

Table RandomTable(Family family, TableKind kind, const ExtensionMaker& make,
                  Choices* choices) {
  Table table = EmptyTable(kind);
  for (const char* name : {"a", "b", "c"}) (void)table.AddChain(name);
  for (Chain& chain : table.chains) {
    if (chain.hook && kind != TableKind::kNat && choices->OneIn(4)) {
      chain.policy = Policy::kDrop;
    }
    for (size_t n = choices->Below(4); n != 0; --n) {
      chain.rules.push_back(RandomRule(family, make, choices));
    }
  }
  return table;
}

}  // namespace nfarena::testing
