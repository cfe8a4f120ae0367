#include "compat/syntax/list_printer.h"

#include <fmt/format.h>

#include <cstring>
#include <iterator>
#include <string_view>

#include "compat/model/target_name.h"
#include "compat/syntax/extension_library.h"
#include "compat/syntax/extension_printer.h"
#include "compat/syntax/protocol_name.h"

namespace nfarena {
namespace {

// Source of the layout: iptables 1.8.9, iptables/xshared.c print_header(),
// print_rule_details(), print_ifaces(); iptables/iptables.c print_firewall().
class Lister {
 public:
  /// `one_line`: as -v shows the rule of a command, without columns.
  Lister(Family family, const ListOptions& options, bool one_line)
      : session_(family),
        extensions_(&session_, options.sets),
        family_(family),
        options_(options),
        one_line_(one_line) {}

  void Heading(const Table& table, const Chain& chain);
  void Line(const Rule& rule, uint32_t number);
  void Newline() { out_.push_back('\n'); }
  std::string Take() { return std::move(out_); }

 private:
  template <typename... T>
  void Write(fmt::format_string<T...> format, T&&... values) {
    fmt::format_to(std::back_inserter(out_), format,
                   std::forward<T>(values)...);
  }
  void Number(uint64_t number, bool in_columns);
  void Protocol(const Selector& selector);
  void Interface(const InterfaceTest& test, bool inverted, bool out);
  std::string AddressText(const Address& address, const Address& mask) const;

  LibrarySession session_;
  ExtensionPrinter extensions_;
  Family family_;
  const ListOptions options_;
  const bool one_line_;
  std::string out_;
};

// Source: libxtables/xtables.c xtables_print_num().
void Lister::Number(uint64_t number, bool in_columns) {
  const auto write = [&](int width, std::string_view unit) {
    if (in_columns) {
      Write("{:>{}}{} ", number, width, unit);
    } else {
      Write("{}{} ", number, unit);
    }
  };
  constexpr uint64_t kPlainBelow = 100000;
  constexpr uint64_t kUnitBelow = 10000;
  if (options_.exact) return write(8, "");
  if (number < kPlainBelow) return write(5, "");
  for (const std::string_view unit : {"K", "M", "G"}) {
    number = (number + 500) / 1000;
    if (number < kUnitBelow) return write(4, unit);
  }
  number = (number + 500) / 1000;
  write(4, "T");
}

void Lister::Heading(const Table& table, const Chain& chain) {
  Write("Chain {}", chain.name);
  if (chain.hook) {
    Write(" (policy {}", chain.policy == Policy::kDrop ? "DROP" : "ACCEPT");
    if (options_.verbose) {
      out_.push_back(' ');
      Number(chain.counters.packets, false);
      Write("packets, ");
      Number(chain.counters.bytes, false);
      Write("bytes");
    }
    Write(")\n");
  } else {
    Write(" ({} references)\n", CountJumps(table, chain.name));
  }
  if (options_.line_numbers) Write("num  ");
  if (options_.verbose) {
    Write("{:>{}} ", "pkts", options_.exact ? 8 : 5);
    Write("{:>{}} ", "bytes", options_.exact ? 10 : 5);
  }
  Write("{:<9}  prot opt", "target");
  if (options_.verbose) Write(" {:<6} {:<6} ", "in", "out");
  Write(" {:<19}  {:<19} \n", "source", "destination");
}

void Lister::Protocol(const Selector& selector) {
  std::string name;
  if (one_line_ || !options_.numeric) {
    name = ProtocolName(selector.protocol, !options_.numeric);
  }
  if (name.empty()) name = std::to_string(selector.protocol);
  out_.push_back((selector.inverted & kInvertProtocol) != 0 ? '!' : ' ');
  Write("{:<{}} ", name, one_line_ ? 0 : 4);
}

void Lister::Interface(const InterfaceTest& test, bool inverted, bool out) {
  const std::string name =
      test.any() ? (options_.numeric ? "*" : "any") : test.ToString();
  const std::string text = inverted ? "!" + name : name;
  if (one_line_) {
    Write("{} {} ", out ? "out" : "in", text);
  } else {
    Write("{}{:<6} ", out ? "" : " ", text);
  }
}

std::string Lister::AddressText(const Address& address,
                                const Address& mask) const {
  if (family_ == Family::kIpv4) {
    in_addr ip;
    in_addr bits;
    std::memcpy(&ip, address.data(), sizeof(ip));
    std::memcpy(&bits, mask.data(), sizeof(bits));
    if (bits.s_addr == 0 && !options_.numeric) return "anywhere";
    const std::string text = options_.numeric ? xtables_ipaddr_to_numeric(&ip)
                                              : xtables_ipaddr_to_anyname(&ip);
    return text + xtables_ipmask_to_numeric(&bits);
  }
  in6_addr ip;
  in6_addr bits;
  std::memcpy(&ip, address.data(), sizeof(ip));
  std::memcpy(&bits, mask.data(), sizeof(bits));
  if (IN6_IS_ADDR_UNSPECIFIED(&ip) && !options_.numeric) return "anywhere";
  const std::string text = options_.numeric ? xtables_ip6addr_to_numeric(&ip)
                                            : xtables_ip6addr_to_anyname(&ip);
  return text + xtables_ip6mask_to_numeric(&bits);
}

void Lister::Line(const Rule& rule, uint32_t number) {
  extensions_.Start(&rule);
  const Selector& selector = rule.selector;
  const auto inverted = [&selector](InvertBit bit) {
    return (selector.inverted & bit) != 0;
  };
  if (options_.line_numbers) Write("{:<4} ", number);
  if (options_.verbose && !one_line_) {
    Number(rule.counters.packets, true);
    Number(rule.counters.bytes, true);
  }
  Write("{:<{}} ", TargetName(rule.target), one_line_ ? 0 : 9);
  Protocol(selector);
  if (one_line_) Write("opt ");
  if (family_ == Family::kIpv6) {
    Write("-- ");
  } else {
    Write("{}{} ", inverted(kInvertFragment) ? '!' : '-',
          selector.fragment ? 'f' : '-');
  }
  if (options_.verbose) {
    Interface(selector.in, inverted(kInvertIn), false);
    Interface(selector.out, inverted(kInvertOut), true);
  }
  const std::string source = AddressText(selector.src, selector.src_mask);
  const std::string destination = AddressText(selector.dst, selector.dst_mask);
  const char source_mark = inverted(kInvertSrc) ? '!' : ' ';
  const char destination_mark = inverted(kInvertDst) ? '!' : ' ';
  if (one_line_) {
    Write("{}{} {}-> {}  ", source_mark, source, destination_mark, destination);
  } else {
    Write("{}{:<19} {}{:<19} ", source_mark, source, destination_mark,
          destination);
  }
  if (rule.target.kind == TargetKind::kGoto) Write("[goto] ");
  for (const Extension& match : rule.matches) {
    extensions_.ListMatch(match, options_.numeric, &out_);
  }
  if (rule.target.kind == TargetKind::kExtension) {
    extensions_.ListTarget(rule.target.extension, options_.numeric, &out_);
  }
  Newline();
}

}  // namespace

std::string PrintList(Family family, const Table& table,
                      const ListOptions& options, std::string_view only,
                      uint32_t rulenum) {
  Lister lister(family, options, false);
  bool first = true;
  for (const Chain& chain : table.chains) {
    if (!only.empty() && chain.name != only) continue;
    if (!first) lister.Newline();
    first = false;
    if (rulenum == 0) lister.Heading(table, chain);
    for (uint32_t i = 1; i <= chain.rules.size(); ++i) {
      if (rulenum == 0 || rulenum == i) lister.Line(chain.rules[i - 1], i);
    }
  }
  return lister.Take();
}

std::string PrintRuleLine(Family family, const Rule& rule,
                          const KnownSets* sets) {
  ListOptions options;
  options.verbose = true;
  options.numeric = true;
  options.sets = sets;
  Lister lister(family, options, true);
  lister.Line(rule, 0);
  return lister.Take();
}

}  // namespace nfarena
