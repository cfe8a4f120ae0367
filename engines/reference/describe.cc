#include "engines/reference/describe.h"

#include <arpa/inet.h>
#include <fmt/format.h>

namespace nfarena::reference {
namespace {

std::string AddressText(Family family, const Address& address) {
  char text[INET6_ADDRSTRLEN];
  inet_ntop(family == Family::kIpv4 ? AF_INET : AF_INET6, address.data(), text,
            sizeof(text));
  return text;
}

/// " ! option value", the sign only when inverted.
std::string Part(const Selector& selector, uint8_t bit, std::string_view option,
                 const std::string& value) {
  return fmt::format(" {}{} {}", selector.inverted & bit ? "! " : "", option,
                     value);
}

std::string SelectorText(Family family, const Selector& selector) {
  std::string text;
  if (selector.src_mask != Address{}) {
    text += Part(selector, kInvertSrc, "-s",
                 AddressText(family, selector.src) + "/" +
                     AddressText(family, selector.src_mask));
  }
  if (selector.dst_mask != Address{}) {
    text += Part(selector, kInvertDst, "-d",
                 AddressText(family, selector.dst) + "/" +
                     AddressText(family, selector.dst_mask));
  }
  if (!selector.in.any() || (selector.inverted & kInvertIn)) {
    text += Part(selector, kInvertIn, "-i", selector.in.ToString());
  }
  if (!selector.out.any() || (selector.inverted & kInvertOut)) {
    text += Part(selector, kInvertOut, "-o", selector.out.ToString());
  }
  if (selector.protocol != 0) {
    text += Part(selector, kInvertProtocol, "-p",
                 std::to_string(selector.protocol));
  }
  if (selector.fragment) text += Part(selector, kInvertFragment, "-f", "");
  return text;
}

std::string TargetText(const Target& target) {
  switch (target.kind) {
    case TargetKind::kNone:
      return "count";
    case TargetKind::kAccept:
      return "ACCEPT";
    case TargetKind::kDrop:
      return "DROP";
    case TargetKind::kQueue:
      return "QUEUE";
    case TargetKind::kReturn:
      return "RETURN";
    case TargetKind::kJump:
      return "jump " + target.chain;
    case TargetKind::kGoto:
      return "goto " + target.chain;
    case TargetKind::kExtension:
      return fmt::format("{} (revision {}, {} bytes)", target.extension.name,
                         target.extension.revision,
                         target.extension.payload.size());
  }
  return "";
}

std::string CountersText(const Counters& counters) {
  return fmt::format("[{}:{}]", counters.packets, counters.bytes);
}

}  // namespace

std::string Describe(const Ruleset& ruleset) {
  std::string text;
  for (const Table& table : ruleset.tables) {
    for (const Chain& chain : table.chains) {
      const std::string name =
          fmt::format("{}/{}", TableName(table.kind), chain.name);
      for (size_t i = 0; i < chain.rules.size(); ++i) {
        const Rule& rule = chain.rules[i];
        text +=
            fmt::format("{}/{} {}:", name, i + 1, CountersText(rule.counters));
        text += SelectorText(ruleset.family, rule.selector);
        for (const Extension& match : rule.matches) text += " " + match.name;
        text += " -> " + TargetText(rule.target) + "\n";
      }
      if (chain.hook) {
        text += fmt::format("{}/policy {}: {}\n", name,
                            CountersText(chain.counters),
                            chain.policy == Policy::kDrop ? "DROP" : "ACCEPT");
      } else {
        text += name + "/end: return\n";
      }
    }
  }
  return text;
}

}  // namespace nfarena::reference
