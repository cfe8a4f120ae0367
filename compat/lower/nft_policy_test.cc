// Every attribute in every size: what ends a process inside libnftnl is refused
// here before, and each attribute is taken in some size.
#include "compat/lower/nft_policy.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <set>
#include <string>
#include <vector>

#include "compat/lower/nft_objects.h"

namespace nfarena::nft {
namespace {

/// Where the attribute stands that is tried in every size.
struct Place {
  uint16_t message = 0;         // NFT_MSG_NEW*
  std::vector<uint16_t> nests;  // from the message down
  std::string expression;       // "": the attribute is in the last nest
  std::vector<uint16_t> inner;  // nests in the expression's data

  std::string ToString() const {
    std::string text = fmt::format("message {}", message);
    for (const uint16_t nest : nests) text += fmt::format(" nest {}", nest);
    if (!expression.empty()) text += " expression " + expression;
    for (const uint16_t nest : inner) text += fmt::format(" nest {}", nest);
    return text;
  }
};

class Message {
 public:
  Message(const Place& place, uint16_t type, size_t size) {
    nlmsghdr* header = mnl_nlmsg_put_header(bytes_.data());
    header->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | place.message;
    mnl_nlmsg_put_extra_header(header, sizeof(nfgenmsg));
    std::vector<nlattr*> open;
    const auto nest = [&](uint16_t of) {
      open.push_back(mnl_attr_nest_start(header, of));
    };
    for (const uint16_t of : place.nests) nest(of);
    if (!place.expression.empty()) {
      nest(NFTA_LIST_ELEM);
      mnl_attr_put_strz(header, NFTA_EXPR_NAME, place.expression.c_str());
      nest(NFTA_EXPR_DATA);
    }
    for (const uint16_t of : place.inner) nest(of);
    const std::array<char, 16> zeros{};
    mnl_attr_put(header, type, size, zeros.data());
    for (; !open.empty(); open.pop_back()) {
      mnl_attr_nest_end(header, open.back());
    }
  }
  const nlmsghdr& header() const {
    return *reinterpret_cast<const nlmsghdr*>(bytes_.data());
  }

 private:
  alignas(nlmsghdr) std::array<char, 512> bytes_{};
};

void ReadByLibnftnl(const nlmsghdr& message) {
  switch (NFNL_MSG_TYPE(message.nlmsg_type)) {
    case NFT_MSG_NEWTABLE:
      nftnl_table_nlmsg_parse(&message, OwnedTable(nftnl_table_alloc()).get());
      break;
    case NFT_MSG_NEWCHAIN:
      nftnl_chain_nlmsg_parse(&message, OwnedChain(nftnl_chain_alloc()).get());
      break;
    case NFT_MSG_NEWRULE:
      nftnl_rule_nlmsg_parse(&message, OwnedRule(nftnl_rule_alloc()).get());
      break;
    case NFT_MSG_NEWSET:
      nftnl_set_nlmsg_parse(&message, OwnedSet(nftnl_set_alloc()).get());
      break;
    default:
      break;
  }
}

bool EndsTheProcess(const nlmsghdr& message) {
  const pid_t child = fork();
  if (child == 0) {
    close(STDERR_FILENO);
    ReadByLibnftnl(message);
    _exit(0);
  }
  int status = 0;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
}

struct Found {
  size_t fatal = 0;                // messages that libnftnl does not survive
  std::set<uint16_t> never_taken;  // types refused in every size
};

/// Tries all types in all sizes at one place.
Found TrySizes(const Place& place) {
  constexpr size_t kSizes[] = {0, 1, 2, 3, 4, 8};
  constexpr uint16_t kTypes = 19;  // a set has the most: 18
  Found found;
  for (uint16_t type = 1; type <= kTypes; ++type) {
    found.never_taken.insert(type);
    for (const size_t size : kSizes) {
      const Message message(place, type, size);
      const bool taken = CheckAttributes(message.header()).has_value();
      const bool ends = EndsTheProcess(message.header());
      EXPECT_FALSE(taken && ends) << place.ToString() << ": attribute " << type
                                  << " of " << size << " bytes";
      if (taken) found.never_taken.erase(type);
      found.fatal += ends;
    }
  }
  return found;
}

class ExpressionTest : public ::testing::TestWithParam<const char*> {};

TEST_P(ExpressionTest, EverySizeOfEveryAttribute) {
  const std::string name = GetParam();
  const Found found =
      TrySizes({NFT_MSG_NEWRULE, {NFTA_RULE_EXPRESSIONS}, name, {}});
  EXPECT_GT(found.fatal, 0U);
  // No size alone makes an expression inside an expression.
  EXPECT_EQ(found.never_taken, name == "dynset"
                                   ? std::set<uint16_t>{NFTA_DYNSET_EXPR}
                                   : std::set<uint16_t>{});
}

INSTANTIATE_TEST_SUITE_P(
    All, ExpressionTest,
    ::testing::Values("bitwise", "byteorder", "cmp", "connlimit", "counter",
                      "ct", "dup", "dynset", "exthdr", "fib", "flow_offload",
                      "fwd", "hash", "immediate", "last", "limit", "log",
                      "lookup", "masq", "match", "meta", "nat", "numgen",
                      "objref", "osf", "payload", "queue", "quota", "range",
                      "redir", "reject", "rt", "socket", "synproxy", "target",
                      "tproxy", "tunnel", "xfrm"),
    [](const auto& one) { return std::string(one.param); });

TEST(NftPolicyTest, EverySizeOutsideExpressions) {
  EXPECT_GT(TrySizes({NFT_MSG_NEWTABLE, {}, "", {}}).fatal, 0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWCHAIN, {}, "", {}}).fatal, 0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWCHAIN, {NFTA_CHAIN_HOOK}, "", {}}).fatal, 0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWCHAIN, {NFTA_CHAIN_COUNTERS}, "", {}}).fatal,
            0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWRULE, {}, "", {}}).fatal, 0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWRULE, {NFTA_RULE_COMPAT}, "", {}}).fatal, 0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWSET, {}, "", {}}).fatal, 0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWSET, {NFTA_SET_DESC}, "", {}}).fatal, 0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWSET,
                      {NFTA_SET_DESC, NFTA_SET_DESC_CONCAT, NFTA_LIST_ELEM},
                      "",
                      {}})
                .fatal,
            0U);
}

TEST(NftPolicyTest, EverySizeInsideConstants) {
  const std::vector<uint16_t> rule = {NFTA_RULE_EXPRESSIONS};
  EXPECT_GT(TrySizes({NFT_MSG_NEWRULE, rule, "cmp", {NFTA_CMP_DATA}}).fatal,
            0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWRULE,
                      rule,
                      "immediate",
                      {NFTA_IMMEDIATE_DATA, NFTA_DATA_VERDICT}})
                .fatal,
            0U);
  for (const uint16_t nest :
       {NFTA_BITWISE_MASK, NFTA_BITWISE_XOR, NFTA_BITWISE_DATA}) {
    EXPECT_GT(TrySizes({NFT_MSG_NEWRULE, rule, "bitwise", {nest}}).fatal, 0U);
  }
  for (const uint16_t nest : {NFTA_RANGE_FROM_DATA, NFTA_RANGE_TO_DATA}) {
    EXPECT_GT(TrySizes({NFT_MSG_NEWRULE, rule, "range", {nest}}).fatal, 0U);
  }
}

TEST(NftPolicyTest, EverySizeInsideExpressionsOfSets) {
  EXPECT_GT(
      TrySizes({NFT_MSG_NEWSET, {NFTA_SET_EXPRESSIONS}, "limit", {}}).fatal,
      0U);
  EXPECT_GT(TrySizes({NFT_MSG_NEWRULE,
                      {NFTA_RULE_EXPRESSIONS},
                      "dynset",
                      {NFTA_DYNSET_EXPRESSIONS, NFTA_LIST_ELEM}})
                .fatal,
            0U);
}

TEST(NftPolicyTest, NamesTheAttribute) {
  const Message message({NFT_MSG_NEWRULE, {NFTA_RULE_EXPRESSIONS}, "limit", {}},
                        NFTA_LIMIT_BURST, 3);
  const Status checked = CheckAttributes(message.header());
  ASSERT_FALSE(checked);
  EXPECT_EQ(checked.error().message,
            "malformed nf_tables message: attribute 3 of limit has 3 bytes: it "
            "takes 4");
}

}  // namespace
}  // namespace nfarena::nft
