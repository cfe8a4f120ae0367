#include "engines/kernel/nft_transport.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cerrno>

#include "engines/core/stopwatch.h"
#include "engines/kernel/probe.h"

namespace nfarena::kernel {
namespace {

uint16_t MessageType(uint8_t type) {
  return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type);
}

uint8_t FamilyNumber(Family family) {
  return family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
}

void BeginRequest(uint8_t type, uint16_t flags, uint8_t family,
                  MessageBuilder* message) {
  auto* head = static_cast<nfgenmsg*>(message->Begin(
      MessageType(type), static_cast<uint16_t>(NLM_F_REQUEST | flags), 1,
      sizeof(nfgenmsg)));
  head->nfgen_family = family;
  head->version = NFNETLINK_V0;
}

/// The attribute that names a message's table; 1 for chains, rules and sets.
constexpr uint16_t kTableAttribute = NFTA_CHAIN_TABLE;
static_assert(kTableAttribute == NFTA_RULE_TABLE);
static_assert(kTableAttribute == NFTA_SET_TABLE);

std::string_view TextOf(const nlmsghdr* message, uint16_t wanted) {
  std::string_view text;
  ForEachAttribute(AttributesOf(message, sizeof(nfgenmsg)),
                   [&](uint16_t type, auto payload) {
                     if (type == wanted) text = ReadText(payload);
                   });
  return text;
}

std::vector<uint8_t> WithoutProbe(std::span<const uint8_t> messages) {
  std::vector<uint8_t> kept;
  kept.reserve(messages.size());
  ForEachMessage(messages, [&kept](const nlmsghdr* message) {
    if (TextOf(message, kTableAttribute) == kProbeTable) return;
    const auto* bytes = reinterpret_cast<const uint8_t*>(message);
    kept.insert(kept.end(), bytes, bytes + message->nlmsg_len);
    kept.resize(NLMSG_ALIGN(kept.size()));
  });
  return kept;
}

}  // namespace

std::optional<size_t> RuleOfSequence(std::span<const uint8_t> batch,
                                     uint32_t seq) {
  size_t rules = 0;
  std::optional<size_t> found;
  ForEachMessage(batch, [&](const nlmsghdr* message) {
    if (message->nlmsg_type != MessageType(NFT_MSG_NEWRULE)) return;
    if (message->nlmsg_seq == seq && !found) found = rules;
    ++rules;
  });
  return found;
}

std::vector<NftChainHandle> ReadChainHandles(std::span<const uint8_t> chains) {
  std::vector<NftChainHandle> handles;
  ForEachMessage(chains, [&handles](const nlmsghdr* message) {
    if (message->nlmsg_type != MessageType(NFT_MSG_NEWCHAIN)) return;
    NftChainHandle line;
    ForEachAttribute(AttributesOf(message, sizeof(nfgenmsg)),
                     [&line](uint16_t type, auto payload) {
                       if (type == NFTA_CHAIN_TABLE) {
                         line.table = ReadText(payload);
                       } else if (type == NFTA_CHAIN_NAME) {
                         line.chain = ReadText(payload);
                       } else if (type == NFTA_CHAIN_HANDLE) {
                         line.handle = ReadBe64(payload);
                       }
                     });
    handles.push_back(std::move(line));
  });
  return handles;
}

Result<NftTransport> NftTransport::Open(Family family) {
  ASSIGN_OR_RETURN(auto socket, NetlinkSocket::Open(NETLINK_NETFILTER));
  // The errors of a batch that is wrong throughout.
  socket.GrowReceiveBuffer(16 * 1024 * 1024);
  return NftTransport(family, std::move(socket));
}

Result<uint32_t> NftTransport::Generation() {
  MessageBuilder message;
  BeginRequest(NFT_MSG_GETGEN, 0, FamilyNumber(family_), &message);
  message.End();
  ASSIGN_OR_RETURN(const auto answer,
                   socket_.Ask(message.bytes(), "nf_tables' generation"));
  uint32_t generation = 0;
  ForEachMessage(answer, [&generation](const nlmsghdr* m) {
    if (m->nlmsg_type != MessageType(NFT_MSG_NEWGEN)) return;
    ForEachAttribute(AttributesOf(m, sizeof(nfgenmsg)),
                     [&](uint16_t type, auto payload) {
                       if (type == NFTA_GEN_ID) generation = ReadBe32(payload);
                     });
  });
  if (generation == 0) {
    return Fail(ErrorCode::kSystem, "nf_tables tells no generation");
  }
  return generation;
}

Result<std::optional<NftRefusal>> NftTransport::Commit(const NftBatch& batch,
                                                       UpdateCost* cost) {
  socket_.GrowSendBuffer(batch.bytes.size() + 64);
  const Stopwatch watch;
  ASSIGN_OR_RETURN(const auto errors, socket_.Send(batch.bytes));
  cost->commit_ns += watch.nanoseconds();
  cost->bytes_sent += batch.bytes.size();
  cost->messages += batch.messages;
  if (errors.empty()) return std::nullopt;
  NftRefusal refusal;
  const auto stale = std::find_if(
      errors.begin(), errors.end(),
      [](const NetlinkError& e) { return e.errno_value == ERESTART; });
  refusal.stale = stale != errors.end();
  const NetlinkError& first = refusal.stale ? *stale : errors.front();
  refusal.error = ErrorOf(first, "nf_tables refuses the ruleset");
  refusal.rule = RuleOfSequence(batch.bytes, first.seq);
  if (refusal.rule && *refusal.rule >= batch.rules.size()) {
    refusal.rule.reset();
  }
  return refusal;
}

Result<std::vector<uint8_t>> NftTransport::ReadKind(uint8_t type,
                                                    uint8_t family,
                                                    std::string_view what,
                                                    UpdateCost* cost) {
  MessageBuilder message;
  BeginRequest(type, NLM_F_DUMP, family, &message);
  message.End();
  const Stopwatch watch;
  ASSIGN_OR_RETURN(const auto answer, socket_.Dump(message.bytes(), what));
  if (cost != nullptr) {
    cost->commit_ns += watch.nanoseconds();
    cost->bytes_sent += message.bytes().size();
    cost->bytes_received += answer.size();
    ++cost->messages;
  }
  return WithoutProbe(answer);
}

Result<std::vector<uint8_t>> NftTransport::ReadElements(uint8_t family,
                                                        UpdateCost* cost) {
  ASSIGN_OR_RETURN(const auto sets,
                   ReadKind(NFT_MSG_GETSET, family, "sets", cost));
  std::vector<std::pair<std::string, std::string>> names;
  ForEachMessage(sets, [&names](const nlmsghdr* message) {
    const auto table = TextOf(message, NFTA_SET_TABLE);
    const auto name = TextOf(message, NFTA_SET_NAME);
    if (!table.empty() && !name.empty()) names.emplace_back(table, name);
  });
  std::vector<uint8_t> elements;
  for (const auto& [table, name] : names) {
    MessageBuilder message;
    BeginRequest(NFT_MSG_GETSETELEM, NLM_F_DUMP, family, &message);
    message.PutString(NFTA_SET_ELEM_LIST_TABLE, table);
    message.PutString(NFTA_SET_ELEM_LIST_SET, name);
    message.End();
    const Stopwatch watch;
    ASSIGN_OR_RETURN(const auto answer,
                     socket_.Dump(message.bytes(), "set elements"));
    if (cost != nullptr) {
      cost->commit_ns += watch.nanoseconds();
      cost->bytes_sent += message.bytes().size();
      cost->bytes_received += answer.size();
      ++cost->messages;
    }
    elements.insert(elements.end(), answer.begin(), answer.end());
  }
  return elements;
}

Result<NftTransport::Answers> NftTransport::Read(bool with_elements,
                                                 UpdateCost* cost) {
  const uint8_t families[] = {FamilyNumber(family_)};
  return ReadFamilies(families, with_elements, cost);
}

Result<NftTransport::Answers> NftTransport::ReadAll(UpdateCost* cost) {
  const uint8_t families[] = {FamilyNumber(family_), NFPROTO_INET};
  return ReadFamilies(families, true, cost);
}

Result<NftTransport::Answers> NftTransport::ReadFamilies(
    std::span<const uint8_t> families, bool with_elements, UpdateCost* cost) {
  const auto append = [](const std::vector<uint8_t>& from,
                         std::vector<uint8_t>* to) {
    to->insert(to->end(), from.begin(), from.end());
  };
  // Several dumps are one picture only if nobody committed in between.
  constexpr int kTries = 64;
  for (int tries = 0; tries < kTries; ++tries) {
    ASSIGN_OR_RETURN(const uint32_t before, Generation());
    Answers answers;
    answers.generation = before;
    for (const uint8_t family : families) {
      ASSIGN_OR_RETURN(const auto chains,
                       ReadKind(NFT_MSG_GETCHAIN, family, "chains", cost));
      append(chains, &answers.chains);
      ASSIGN_OR_RETURN(const auto rules,
                       ReadKind(NFT_MSG_GETRULE, family, "rules", cost));
      append(rules, &answers.rules);
      if (!with_elements) continue;
      ASSIGN_OR_RETURN(const auto elements, ReadElements(family, cost));
      append(elements, &answers.elements);
    }
    ASSIGN_OR_RETURN(const uint32_t after, Generation());
    if (before == after) return answers;
  }
  return Fail(ErrorCode::kConflict, "nf_tables changes all the time");
}

}  // namespace nfarena::kernel
