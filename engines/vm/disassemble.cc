#include "engines/vm/disassemble.h"

#include <libmnl/libmnl.h>
#include <libnftnl/chain.h>
#include <libnftnl/rule.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace nfarena::vm {
namespace {

template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    kFree(object);
  }
};
using ChainPtr = std::unique_ptr<nftnl_chain, Freer<nftnl_chain_free>>;
using RulePtr = std::unique_ptr<nftnl_rule, Freer<nftnl_rule_free>>;

// Calls a libnftnl printer with a buffer that is large enough.
template <typename Print>
void Append(Print print, std::string* out) {
  std::string text(4096, '\0');
  int size = print(text.data(), text.size());
  if (size < 0) return;
  if (static_cast<size_t>(size) >= text.size()) {
    text.resize(static_cast<size_t>(size) + 1);
    size = print(text.data(), text.size());
  }
  text.resize(static_cast<size_t>(size));
  *out += text;
  if (out->empty() || out->back() != '\n') *out += '\n';
}

// Visits the messages of a dump, which the control plane has just written.
template <typename Visit>
void ForEachMessage(const std::vector<uint8_t>& bytes, Visit visit) {
  int rest = static_cast<int>(bytes.size());
  const auto* message = reinterpret_cast<const nlmsghdr*>(bytes.data());
  for (; mnl_nlmsg_ok(message, rest);
       message = mnl_nlmsg_next(message, &rest)) {
    visit(message);
  }
}

}  // namespace

std::string Disassemble(const ControlPlane& control) {
  std::string out;
  const DumpRequest all;
  ForEachMessage(
      control.Dump(DumpKind::kChains, all), [&out](const nlmsghdr* message) {
        const ChainPtr chain(nftnl_chain_alloc());
        if (nftnl_chain_nlmsg_parse(message, chain.get()) < 0) return;
        out += "chain ";
        Append(
            [&chain](char* text, size_t size) {
              return nftnl_chain_snprintf(text, size, chain.get(), 0, 0);
            },
            &out);
      });
  ForEachMessage(
      control.Dump(DumpKind::kRules, all), [&out](const nlmsghdr* message) {
        const RulePtr rule(nftnl_rule_alloc());
        if (nftnl_rule_nlmsg_parse(message, rule.get()) < 0) return;
        Append(
            [&rule](char* text, size_t size) {
              return nftnl_rule_snprintf(text, size, rule.get(), 0, 0);
            },
            &out);
      });
  return out;
}

}  // namespace nfarena::vm
