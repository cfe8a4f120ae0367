#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

#include "compat/lower/nft_batch.h"
#include "compat/lower/nft_records.h"

namespace nfarena {
namespace {

using nft::Message;

std::string FamilyWord(uint8_t family) {
  switch (family) {
    case NFPROTO_IPV4:
      return "ip";
    case NFPROTO_IPV6:
      return "ip6";
    default:
      return fmt::format("family {}", family);
  }
}

std::string PrintChain(const nft::ChainRecord& chain) {
  std::string text = fmt::format("{} {}", chain.table, chain.name);
  if (chain.hook) {
    text += fmt::format(" type {} hook {} priority {}", chain.type, *chain.hook,
                        chain.priority);
  }
  if (chain.policy) {
    text += *chain.policy == NF_DROP ? " policy drop" : " policy accept";
  }
  if (chain.counters) {
    text += fmt::format(" packets {} bytes {}", chain.counters->packets,
                        chain.counters->bytes);
  }
  if (chain.handle != 0) text += fmt::format(" handle {}", chain.handle);
  return text;
}

std::string PrintRule(const nft::RuleRecord& rule) {
  std::string text = rule.table;
  if (!rule.chain.empty()) text += " " + rule.chain;
  if (rule.handle != 0) text += fmt::format(" handle {}", rule.handle);
  if (rule.position != 0) text += fmt::format(" position {}", rule.position);
  if (rule.id != 0) text += fmt::format(" id {}", rule.id);
  if (rule.position_id != 0) {
    text += fmt::format(" position id {}", rule.position_id);
  }
  if (!rule.comment.empty()) {
    text += fmt::format(" comment \"{}\"", rule.comment);
  }
  for (const nft::Expr& expr : rule.exprs) {
    text += fmt::format("\n  [ {} ]", nft::PrintExpr(expr));
  }
  return text;
}

std::string PrintElements(const nft::ElementsRecord& record) {
  std::string text = fmt::format("{} {}", record.table, record.set);
  if (record.set_id != 0) text += fmt::format(" id {}", record.set_id);
  for (const auto& element : record.elements) {
    text += element.interval_end ? " end " : " ";
    for (const uint8_t byte : element.key.view()) {
      text += fmt::format("{:02x}", byte);
    }
  }
  return text;
}

/// The word for what NEWRULE and its like do, by their flags.
std::string NewWord(const Message& message) {
  if ((message.flags & NLM_F_REPLACE) != 0) return "replace";
  if ((message.flags & NLM_F_APPEND) != 0) return "append";
  return (message.flags & NLM_F_REQUEST) != 0 ? "insert" : "show";
}

std::string PrintMessage(const Message& message) {
  if (message.type == NFNL_MSG_BATCH_BEGIN) return "begin";
  if (message.type == NFNL_MSG_BATCH_END) return "end";
  const auto type = message.nft_type();
  if (!type) return fmt::format("message {} ?", message.type);
  const std::string family = FamilyWord(message.family);
  const auto line = [&family](std::string_view verb, std::string_view noun,
                              const auto& record, auto print) {
    if (!record) {
      return fmt::format("{} {} {} ? {}", verb, noun, family,
                         record.error().message);
    }
    return fmt::format("{} {} {} {}", verb, noun, family, print(*record));
  };
  const auto table = [](const nft::TableRecord& record) { return record.name; };
  const auto set = [](const nft::SetRecord& record) {
    return fmt::format("{} {} id {} key {}b flags 0x{:x}", record.table,
                       record.name, record.id, record.key_len, record.flags);
  };
  switch (*type) {
    case NFT_MSG_NEWTABLE:
      return line("add", "table", ReadTable(message), table);
    case NFT_MSG_DELTABLE:
      return line("delete", "table", ReadTable(message), table);
    case NFT_MSG_NEWCHAIN:
      return line("add", "chain", ReadChain(message), PrintChain);
    case NFT_MSG_DELCHAIN:
      return line("delete", "chain", ReadChain(message), PrintChain);
    case NFT_MSG_NEWRULE:
      return line(NewWord(message), "rule", ReadRule(message), PrintRule);
    case NFT_MSG_DELRULE:
      return line("delete", "rule", ReadRule(message), PrintRule);
    case NFT_MSG_NEWSET:
      return line("add", "set", ReadSet(message), set);
    case NFT_MSG_NEWSETELEM:
      return line("add", "elements", ReadElements(message), PrintElements);
    default:
      return fmt::format("message {} {} ?", family, *type);
  }
}

}  // namespace

std::string DumpNftBatch(std::span<const uint8_t> bytes) {
  std::string text;
  const Status walked =
      nft::ForEachMessage(bytes, [&text](const Message& message) -> Status {
        text += PrintMessage(message) + "\n";
        return {};
      });
  if (!walked) text += walked.error().message + "\n";
  return text;
}

}  // namespace nfarena
