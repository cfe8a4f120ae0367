#include "corpus/generator/generator.h"

#include <algorithm>
#include <cassert>
#include <unordered_set>

#include "corpus/generator/parameters.h"
#include "corpus/generator/random.h"

namespace nfarena {
namespace {

constexpr uint8_t kTcp = 6, kUdp = 17;

/// Draws so many times before the tree of addresses is left: small prefixes
/// run out of room in large rulesets.
constexpr int kTriesInTree = 8;

/// One tree of prefixes, given by its shape and a number that names it; its
/// nodes are computed, never stored.
class Tree {
 public:
  Tree(const AddressTree& shape, uint64_t name, bool ipv6)
      : shape_(shape), name_(name), bits_(ipv6 ? 128 : 32), ipv6_(ipv6) {}

  /// An address of the tree, cut after `length` bits.  `free`: every fork is
  /// open, as in an address space without structure.
  GeneratedAddress Walk(uint8_t length, bool free, Random* random) const {
    GeneratedAddress address{};
    unsigned start = 0;
    if (ipv6_) {
      address[0] = 0x20;  // 2000::/3, global unicast
      start = 3;
    } else if (length > 0) {
      start = 8;
      address[0] = FirstByte(free, random);
    }
    uint64_t node = Mix(name_ ^ address[0]);
    for (unsigned bit = start; bit < length; ++bit) {
      const bool one = free ? random->Below(2) == 1 : Turn(node, bit, random);
      if (one) address[bit / 8] |= static_cast<uint8_t>(0x80 >> bit % 8);
      node = Mix(node + (one ? 2 : 1));
    }
    if (length < start) address[0] = 0;
    return address;
  }

 private:
  /// Networks that routers carry: not 0, 10's like, loopback or multicast.
  static bool Usable(uint32_t byte) {
    return byte != 0 && byte != 127 && byte < 224;
  }

  uint8_t FirstByte(bool free, Random* random) const {
    // A site has its addresses in few networks; ten of them here.
    uint64_t choice =
        free ? random->Next() : Mix(name_ + random->Below(10) * uint64_t{977});
    while (!Usable(choice & 0xff)) choice = Mix(choice);
    return static_cast<uint8_t>(choice);
  }

  /// Which side the walk takes at a node.
  bool Turn(uint64_t node, unsigned bit, Random* random) const {
    const bool heavy_side = node & 1;
    const unsigned fork =
        bit < bits_ / 2 ? shape_.fork_high_permille : shape_.fork_low_permille;
    if ((node >> 32) % 1000 >= fork) return heavy_side;
    return random->Permille(shape_.heavy_permille) ? heavy_side : !heavy_side;
  }

  AddressTree shape_;
  uint64_t name_;
  unsigned bits_;
  bool ipv6_;
};

/// IPv6 has the same shapes: nothing, networks, subnets of 64 bits, hosts.
uint8_t PrefixBits(uint8_t ipv4_bits, bool ipv6) {
  if (!ipv6 || ipv4_bits == 0) return ipv4_bits;
  if (ipv4_bits == 32) return 128;
  return static_cast<uint8_t>(16 + 2 * ipv4_bits);
}

PortRange DrawPorts(PortClass port_class, const Parameters& parameters,
                    Random* random) {
  switch (port_class) {
    case PortClass::kWildcard:
      return {};
    case PortClass::kHigh:
      return {1024, 65535};
    case PortClass::kLow:
      return {0, 1023};
    case PortClass::kArbitraryRange:
      return Draw(parameters.ranges, random).range;
    case PortClass::kExact:
      break;
  }
  // Three services in four are known ones.
  const uint16_t port = random->Permille(750)
                            ? Draw(parameters.exact_ports, random).port
                            : static_cast<uint16_t>(random->Between(1, 65535));
  return {port, port};
}

uint64_t Hash(const GeneratedRule& rule) {
  uint64_t hash = rule.protocol;
  const auto add = [&hash](uint64_t value) { hash = Mix(hash ^ value); };
  for (const GeneratedAddress* address : {&rule.src, &rule.dst}) {
    for (size_t i = 0; i < address->size(); i += 8) {
      uint64_t word = 0;
      for (size_t j = 0; j < 8; ++j) word = word << 8 | (*address)[i + j];
      add(word);
    }
  }
  add(uint64_t{rule.src_bits} << 8 | rule.dst_bits);
  add(uint64_t{rule.sport.low} << 48 | uint64_t{rule.sport.high} << 32 |
      uint64_t{rule.dport.low} << 16 | rule.dport.high);
  return hash;
}

/// Bits of the header that a rule pins down.
unsigned Specificity(const GeneratedRule& rule) {
  const auto port_bits = [](const PortRange& range) {
    unsigned bits = 16;
    for (unsigned size = range.high - range.low; size > 0; size /= 2) --bits;
    return bits;
  };
  return rule.src_bits + rule.dst_bits + (rule.protocol != 0 ? 8u : 0u) +
         port_bits(rule.sport) + port_bits(rule.dport);
}

uint32_t PortCount(const GeneratedRule& rule) {
  return uint32_t{rule.sport.high} - rule.sport.low + rule.dport.high -
         rule.dport.low;
}

/// True for every rule that covers less than another: of two rules that pin
/// down as many bits, one can cover the other by the size of its ranges only.
bool MoreSpecific(const GeneratedRule& a, const GeneratedRule& b) {
  const unsigned bits_a = Specificity(a), bits_b = Specificity(b);
  return bits_a != bits_b ? bits_a > bits_b : PortCount(a) < PortCount(b);
}

class RuleMaker {
 public:
  explicit RuleMaker(const GeneratorOptions& options)
      : parameters_(ParametersOf(options.profile)),
        ipv6_(options.ipv6),
        random_(options.seed * 3 + static_cast<uint64_t>(options.profile)),
        src_tree_(parameters_.src_tree, Mix(options.seed) ^ 1, ipv6_),
        dst_tree_(parameters_.dst_tree, Mix(options.seed) ^ 2, ipv6_) {}

  GeneratedRule Make(bool free) {
    GeneratedRule rule;
    rule.protocol = Draw(parameters_.protocols, &random_).protocol;
    const PrefixPair& prefixes = Draw(parameters_.prefixes, &random_);
    rule.src_bits = PrefixBits(prefixes.src_bits, ipv6_);
    rule.dst_bits = PrefixBits(prefixes.dst_bits, ipv6_);
    if (free) {
      // There are only so many rules of the short prefixes.
      rule.src_bits = std::max<uint8_t>(rule.src_bits, ipv6_ ? 64 : 24);
    }
    const bool same_site = random_.Permille(parameters_.same_site_permille);
    const Tree& src_tree = same_site ? dst_tree_ : src_tree_;
    rule.src = src_tree.Walk(rule.src_bits, free, &random_);
    rule.dst = dst_tree_.Walk(rule.dst_bits, free, &random_);
    if (rule.protocol == kTcp || rule.protocol == kUdp) {
      const PortPair& ports = Draw(
          rule.protocol == kTcp ? parameters_.tcp_ports : parameters_.udp_ports,
          &random_);
      rule.sport = DrawPorts(ports.src, parameters_, &random_);
      rule.dport = DrawPorts(ports.dst, parameters_, &random_);
    }
    rule.accept = random_.Permille(parameters_.accept_permille);
    return rule;
  }

 private:
  const Parameters& parameters_;
  bool ipv6_;
  Random random_;
  Tree src_tree_, dst_tree_;
};

}  // namespace

const char* RuleProfileName(RuleProfile profile) {
  switch (profile) {
    case RuleProfile::kFw:
      return "fw";
    case RuleProfile::kIpc:
      return "ipc";
    case RuleProfile::kAcl:
      break;
  }
  return "acl";
}

bool RuleProfileFromName(std::string_view name, RuleProfile* profile) {
  for (const RuleProfile candidate :
       {RuleProfile::kAcl, RuleProfile::kFw, RuleProfile::kIpc}) {
    if (name == RuleProfileName(candidate)) {
      *profile = candidate;
      return true;
    }
  }
  return false;
}

std::vector<GeneratedRule> GenerateRules(const GeneratorOptions& options) {
  assert(options.rules >= 1 && options.rules <= kGeneratedRulesMax);
  RuleMaker maker(options);
  std::vector<GeneratedRule> rules;
  rules.reserve(options.rules);
  // The set holds hashes only.  Two different rules with one hash are so rare
  // that dropping one of them harms nobody; equal rules have equal hashes.
  std::unordered_set<uint64_t> seen;
  seen.reserve(options.rules);
  int tries = 0;
  while (rules.size() < options.rules) {
    const GeneratedRule rule = maker.Make(tries >= kTriesInTree);
    if (seen.insert(Hash(rule)).second) {
      rules.push_back(rule);
      tries = 0;
    } else {
      ++tries;
    }
  }
  std::stable_sort(rules.begin(), rules.end(), MoreSpecific);
  return rules;
}

}  // namespace nfarena
