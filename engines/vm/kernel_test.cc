// The same batches to the kernel and to the twin: the same answers with the
// same sequence numbers and errno, and afterwards the same dumps byte for byte.
//
// What is masked: the port id of the asker (zeroed), the order of the elements
// of hash sets (the kernel's hash has a random seed), and attributes that
// kernels after 6.12 added to set dumps for debugging (NFTA_SET_TYPE, _COUNT).
#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter/xt_tcpudp.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "engines/vm/control_plane.h"
#include "engines/vm/testing/batch_builder.h"
#include "engines/vm/testing/kernel_tables.h"

namespace nfarena::vm {
namespace {

constexpr uint8_t kIpv4 = NFPROTO_IPV4;
constexpr int32_t kAccept = NF_ACCEPT;
constexpr int32_t kDrop = NF_DROP;
constexpr int32_t kJump = -3;
constexpr int32_t kGoto = -4;
constexpr int32_t kReturn = -5;

using Batches = std::vector<Bytes>;

struct Case {
  const char* name;
  std::function<Batches()> batches;
  /// Sets whose elements are compared as well.
  std::vector<std::string> sets = {};
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.name; }

std::string Hex(std::span<const uint8_t> bytes) {
  std::string text;
  char word[4];
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::snprintf(word, sizeof(word), "%02x%s", bytes[i],
                  i % 4 == 3 ? " " : "");
    text += word;
  }
  return text;
}

// A dump as one line of hexadecimal a message.
std::vector<std::string> Messages(const std::vector<uint8_t>& dump) {
  std::vector<std::string> lines;
  size_t at = 0;
  while (at + sizeof(nlmsghdr) <= dump.size()) {
    nlmsghdr header;
    std::memcpy(&header, dump.data() + at, sizeof(header));
    if (header.nlmsg_len < sizeof(header) ||
        at + header.nlmsg_len > dump.size()) {
      break;
    }
    lines.push_back(Hex(std::span(dump).subspan(at, header.nlmsg_len)));
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  return lines;
}

// Drops the debugging attributes of later kernels from a set dump.
std::vector<uint8_t> WithoutSetExtras(const std::vector<uint8_t>& dump) {
  constexpr uint16_t kFirstExtra = 19;
  std::vector<uint8_t> out;
  size_t at = 0;
  constexpr size_t kHead = NLMSG_HDRLEN + 4;
  while (at + kHead <= dump.size()) {
    nlmsghdr header;
    std::memcpy(&header, dump.data() + at, sizeof(header));
    const size_t start = out.size();
    out.insert(out.end(), dump.begin() + static_cast<long>(at),
               dump.begin() + static_cast<long>(at + kHead));
    std::span<const uint8_t> rest =
        std::span(dump).subspan(at + kHead, header.nlmsg_len - kHead);
    MessageWriter writer(&out);
    Attribute attribute;
    while (NextAttribute(&rest, &attribute)) {
      if (attribute.type() >= kFirstExtra) continue;
      writer.Put(attribute.type(), attribute.payload());
    }
    const auto length = static_cast<uint32_t>(out.size() - start);
    std::memcpy(out.data() + start, &length, sizeof(length));
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  return out;
}

// The elements of a dump as sorted lines.
std::vector<std::string> ElementLines(const std::vector<uint8_t>& dump) {
  std::vector<std::string> lines;
  size_t at = 0;
  constexpr size_t kHead = NLMSG_HDRLEN + 4;
  while (at + kHead <= dump.size()) {
    nlmsghdr header;
    std::memcpy(&header, dump.data() + at, sizeof(header));
    std::span<const uint8_t> rest =
        std::span(dump).subspan(at + kHead, header.nlmsg_len - kHead);
    Attribute attribute;
    while (NextAttribute(&rest, &attribute)) {
      if (attribute.type() != NFTA_SET_ELEM_LIST_ELEMENTS) continue;
      std::span<const uint8_t> list = attribute.payload();
      Attribute element;
      while (NextAttribute(&list, &element)) {
        lines.push_back(Hex(element.payload()));
      }
    }
    at += NLMSG_ALIGN(header.nlmsg_len);
  }
  std::sort(lines.begin(), lines.end());
  return lines;
}

std::string AnswersText(const BatchResult& result) {
  std::string text = result.committed ? "committed:" : "refused:";
  for (const MessageError& answer : result.answers) {
    text += " " + std::to_string(answer.seq) + "=" +
            (answer.error == 0 ? "ok" : strerrorname_np(answer.error));
  }
  return text;
}

Bytes Be32(uint32_t value) {
  return {static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
          static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}

Bytes Be16(uint16_t value) {
  return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}

// ip filter with INPUT, FORWARD and a user chain, ready for rules.
BatchBuilder Filter(uint8_t family = kIpv4) {
  BatchBuilder batch(family);
  batch.Table("filter")
      .BaseChain("filter", "INPUT", "filter", NF_INET_LOCAL_IN, 0, kAccept,
                 true)
      .BaseChain("filter", "FORWARD", "filter", NF_INET_FORWARD, 0, kDrop)
      .Chain("filter", "user");
  return batch;
}

Batches OneRule(const std::vector<TestExpression>& expressions) {
  return {Filter().Rule("filter", "INPUT", expressions).Build()};
}

// The chain c0 -> c1 -> ... with `depth` jumps below INPUT.
Batches Nested(int depth, int32_t verdict) {
  BatchBuilder batch = Filter();
  for (int i = 0; i < depth; ++i) {
    batch.Chain("filter", "c" + std::to_string(i));
  }
  for (int i = depth - 1; i > 0; --i) {
    batch.Rule("filter", "c" + std::to_string(i - 1),
               {Verdict(verdict, "c" + std::to_string(i))});
  }
  batch.Rule("filter", "INPUT", {Verdict(verdict, "c0")});
  return {batch.Build()};
}

Bytes TcpMatch() {
  xt_tcp info{};
  info.spts[1] = 0xffff;
  info.dpts[0] = info.dpts[1] = 22;
  Bytes bytes(XT_ALIGN(sizeof(info)));
  std::memcpy(bytes.data(), &info, sizeof(info));
  return bytes;
}

const std::vector<Case>& Cases() {
  static const std::vector<Case> kCases = {
      // ---- what is accepted ----
      {"empty_batch", [] { return Batches{BatchBuilder().Build()}; }},
      {"tables_and_chains", [] { return Batches{Filter().Build()}; }},
      {"nat_table",
       [] {
         return Batches{BatchBuilder()
                            .Table("nat")
                            .BaseChain("nat", "PREROUTING", "nat",
                                       NF_INET_PRE_ROUTING, -100)
                            .BaseChain("nat", "POSTROUTING", "nat",
                                       NF_INET_POST_ROUTING, 100)
                            .Build()};
       }},
      {"route_chain",
       [] {
         return Batches{BatchBuilder()
                            .Table("mangle")
                            .BaseChain("mangle", "OUTPUT", "route",
                                       NF_INET_LOCAL_OUT, -150)
                            .Build()};
       }},
      {"source_address",
       [] {
         return OneRule({Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                         Cmp(NFT_CMP_EQ, Be32(0xc0000201)), Counter(5, 600),
                         Verdict(kAccept)});
       }},
      {"prefixes_and_ports",
       [] {
         return OneRule({Payload(NFT_PAYLOAD_NETWORK_HEADER, 16, 3),
                         Cmp(NFT_CMP_NEQ, {10, 1, 2}),
                         Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                         Bitwise(Be32(0xfff00000), Be32(0)),
                         Cmp(NFT_CMP_EQ, Be32(0x0a100000)),
                         Meta(NFT_META_L4PROTO), Cmp(NFT_CMP_EQ, {6}),
                         Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
                         Range(NFT_RANGE_EQ, Be16(1024), Be16(2048)),
                         Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 13, 1),
                         Bitwise({0x17}, {0}), Cmp(NFT_CMP_EQ, {2}), Counter(),
                         Verdict(kDrop)});
       }},
      {"names_and_wide_compares",
       [] {
         return OneRule(
             {Meta(NFT_META_IIFNAME), Cmp(NFT_CMP_EQ, {'e', 't', 'h', '0', 0}),
              Meta(NFT_META_OIFNAME, 2), Cmp(NFT_CMP_NEQ, {'l', 'o', 0}, 2),
              Meta(NFT_META_IIFNAME, NFT_REG32_01),
              Cmp(NFT_CMP_EQ, {'e', 't', 'h', '1', 0}, NFT_REG32_01),
              Meta(NFT_META_MARK, NFT_REG32_15),
              Cmp(NFT_CMP_GT, Be32(7), NFT_REG32_15)});
       }},
      {"ipv6_addresses",
       [] {
         const Bytes address(16, 0x20);
         BatchBuilder batch = Filter(NFPROTO_IPV6);
         batch.Rule("filter", "FORWARD",
                    {Payload(NFT_PAYLOAD_NETWORK_HEADER, 8, 16),
                     Cmp(NFT_CMP_EQ, address),
                     Payload(NFT_PAYLOAD_NETWORK_HEADER, 24, 16),
                     Bitwise(Bytes(16, 0xf0), Bytes(16, 0)),
                     Cmp(NFT_CMP_NEQ, address), Counter(), Verdict(kReturn)});
         return Batches{batch.Build()};
       }},
      {"register_stores",
       [] {
         return OneRule(
             {Immediate(1, Be32(0x11223344)), MetaSet(NFT_META_MARK),
              Immediate(NFT_REG32_01, {1}),
              MetaSet(NFT_META_NFTRACE, NFT_REG32_01),
              Words("byteorder", {{NFTA_BYTEORDER_SREG, 1},
                                  {NFTA_BYTEORDER_DREG, 1},
                                  {NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON},
                                  {NFTA_BYTEORDER_LEN, 4},
                                  {NFTA_BYTEORDER_SIZE, 4}}),
              Immediate(2, {0, 64}),
              PayloadSet(NFT_PAYLOAD_NETWORK_HEADER, 8, 1, 2,
                         NFT_PAYLOAD_CSUM_INET, 10, 0)});
       }},
      {"byteorder_of_several",
       [] {
         return OneRule(
             {Meta(NFT_META_IIFNAME),
              Words("byteorder", {{NFTA_BYTEORDER_SREG, 1},
                                  {NFTA_BYTEORDER_DREG, 1},
                                  {NFTA_BYTEORDER_OP, NFT_BYTEORDER_HTON},
                                  {NFTA_BYTEORDER_LEN, 8},
                                  {NFTA_BYTEORDER_SIZE, 4}})});
       }},
      {"conntrack",
       [] {
         return OneRule({Ct(NFT_CT_STATE), Bitwise({6, 0, 0, 0}, {0, 0, 0, 0}),
                         Cmp(NFT_CMP_NEQ, {0, 0, 0, 0}), Ct(NFT_CT_SRC, 1, 0),
                         Cmp(NFT_CMP_EQ, Be32(1)), Ct(NFT_CT_PROTO_DST, 2, 1),
                         Cmp(NFT_CMP_EQ, Be16(80), 2), Ct(NFT_CT_ZONE, 3),
                         Ct(NFT_CT_BYTES, 1), Ct(NFT_CT_PKTS, 1, 1),
                         Ct(NFT_CT_DIRECTION, 3), Verdict(kAccept)});
       }},
      {"limits",
       [] {
         return OneRule({Raw("limit",
                             [](MessageWriter* w) {
                               w->PutBe64(NFTA_LIMIT_RATE, 5);
                               w->PutBe64(NFTA_LIMIT_UNIT, 3600);
                               w->PutBe32(NFTA_LIMIT_BURST, 7);
                               w->PutBe32(NFTA_LIMIT_TYPE, NFT_LIMIT_PKTS);
                               w->PutBe32(NFTA_LIMIT_FLAGS, NFT_LIMIT_F_INV);
                             }),
                         Raw("limit",
                             [](MessageWriter* w) {
                               w->PutBe64(NFTA_LIMIT_RATE, 1000);
                               w->PutBe64(NFTA_LIMIT_UNIT, 1);
                               w->PutBe32(NFTA_LIMIT_TYPE, NFT_LIMIT_PKT_BYTES);
                             }),
                         Counter()});
       }},
      {"log_and_reject",
       [] {
         return OneRule({Raw("log",
                             [](MessageWriter* w) {
                               w->PutString(NFTA_LOG_PREFIX, "drop: ");
                               w->PutBe32(NFTA_LOG_LEVEL, 5);
                               w->PutBe32(NFTA_LOG_FLAGS, 3);
                             }),
                         Raw("log",
                             [](MessageWriter* w) {
                               w->PutBe16(NFTA_LOG_GROUP, 3);
                               w->PutString(NFTA_LOG_PREFIX, "x");
                               w->PutBe32(NFTA_LOG_SNAPLEN, 40);
                               w->PutBe16(NFTA_LOG_QTHRESHOLD, 4);
                             }),
                         Raw("reject", [](MessageWriter* w) {
                           w->PutBe32(NFTA_REJECT_TYPE,
                                      NFT_REJECT_ICMP_UNREACH);
                           w->PutU8(NFTA_REJECT_ICMP_CODE, 3);
                         })});
       }},
      {"nat",
       [] {
         BatchBuilder batch;
         batch.Table("nat")
             .BaseChain("nat", "PREROUTING", "nat", NF_INET_PRE_ROUTING, -100)
             .BaseChain("nat", "POSTROUTING", "nat", NF_INET_POST_ROUTING, 100)
             .Rule("nat", "PREROUTING",
                   {Immediate(1, Be32(0xc0000202)), Immediate(2, Be16(8080)),
                    Words("nat", {{NFTA_NAT_TYPE, NFT_NAT_DNAT},
                                  {NFTA_NAT_FAMILY, NFPROTO_IPV4},
                                  {NFTA_NAT_REG_ADDR_MIN, 1},
                                  {NFTA_NAT_REG_PROTO_MIN, 2}})})
             .Rule("nat", "PREROUTING",
                   {Immediate(1, Be16(8080)),
                    Words("redir", {{NFTA_REDIR_REG_PROTO_MIN, 1}})})
             .Rule("nat", "POSTROUTING",
                   {Immediate(1, Be16(1024)), Immediate(2, Be16(2048)),
                    Words("masq", {{NFTA_MASQ_FLAGS, 4},
                                   {NFTA_MASQ_REG_PROTO_MIN, 1},
                                   {NFTA_MASQ_REG_PROTO_MAX, 2}})})
             .Rule("nat", "POSTROUTING", {Words("masq", {})});
         return Batches{batch.Build()};
       }},
      {"state_expressions",
       [] {
         return OneRule({Raw("quota",
                             [](MessageWriter* w) {
                               w->PutBe64(NFTA_QUOTA_BYTES, 1000);
                               w->PutBe64(NFTA_QUOTA_CONSUMED, 10);
                               w->PutBe32(NFTA_QUOTA_FLAGS, NFT_QUOTA_F_INV);
                             }),
                         Words("connlimit", {{NFTA_CONNLIMIT_COUNT, 4},
                                             {NFTA_CONNLIMIT_FLAGS, 1}}),
                         Words("numgen", {{NFTA_NG_DREG, 1},
                                          {NFTA_NG_MODULUS, 5},
                                          {NFTA_NG_TYPE, NFT_NG_INCREMENTAL},
                                          {NFTA_NG_OFFSET, 2}}),
                         Words("numgen", {{NFTA_NG_DREG, 1},
                                          {NFTA_NG_MODULUS, 5},
                                          {NFTA_NG_TYPE, NFT_NG_RANDOM}}),
                         Words("hash", {{NFTA_HASH_SREG, 1},
                                        {NFTA_HASH_DREG, 2},
                                        {NFTA_HASH_LEN, 4},
                                        {NFTA_HASH_MODULUS, 7},
                                        {NFTA_HASH_SEED, 99}}),
                         Words("last", {})});
       }},
      {"routes",
       [] {
         return OneRule(
             {Words("fib", {{NFTA_FIB_DREG, 1},
                            {NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE},
                            {NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR}}),
              Words("fib",
                    {{NFTA_FIB_DREG, 1},
                     {NFTA_FIB_RESULT, NFT_FIB_RESULT_OIF},
                     {NFTA_FIB_FLAGS, NFTA_FIB_F_SADDR | NFTA_FIB_F_IIF}}),
              Words("rt", {{NFTA_RT_DREG, 1}, {NFTA_RT_KEY, NFT_RT_NEXTHOP4}}),
              Words("exthdr", {{NFTA_EXTHDR_DREG, 1},
                               {NFTA_EXTHDR_OFFSET, 2},
                               {NFTA_EXTHDR_LEN, 2},
                               {NFTA_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT}}),
              Raw("exthdr",
                  [](MessageWriter* w) {
                    w->PutBe32(NFTA_EXTHDR_DREG, 1);
                    w->PutU8(NFTA_EXTHDR_TYPE, 2);
                    w->PutBe32(NFTA_EXTHDR_OFFSET, 0);
                    w->PutBe32(NFTA_EXTHDR_LEN, 1);
                    w->PutBe32(NFTA_EXTHDR_FLAGS, NFT_EXTHDR_F_PRESENT);
                    w->PutBe32(NFTA_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
                  }),
              Raw("notrack", nullptr)});
       }},
      {"compat_match",
       [] {
         return Batches{
             Filter()
                 .CompatRule("filter", "INPUT", 6,
                             {Meta(NFT_META_L4PROTO), Cmp(NFT_CMP_EQ, {6}),
                              XtMatchOf("tcp", 0, TcpMatch()), Counter(),
                              Verdict(kAccept)})
                 .Build()};
       }},
      {"jump_and_goto",
       [] {
         return Batches{
             Filter()
                 .Rule("filter", "user", {Verdict(kReturn)})
                 .Rule("filter", "INPUT", {Verdict(kJump, "user")})
                 .Rule("filter", "FORWARD", {Counter(), Verdict(kGoto, "user")})
                 .Build()};
       }},
      {"positions_and_user_data",
       [] {
         const Bytes note = {1, 3, 'a', 'b', 0};
         BatchBuilder batch = Filter();
         batch
             .Rule("filter", "user", {Counter(1, 1)})  // handle 4
             .Rule("filter", "user", {Counter(2, 2)})  // handle 5
             .RuleAt("filter", "user", NLM_F_CREATE, 0, 0, {Counter(3, 3)})
             .RuleAt("filter", "user", NLM_F_CREATE, 0, 5, {Counter(4, 4)})
             .RuleAt("filter", "user", NLM_F_CREATE | NLM_F_APPEND, 0, 4,
                     {Counter(5, 5)}, note);
         BatchBuilder second;
         second.RuleAt("filter", "user", NLM_F_REPLACE, 5, 0, {Counter(6, 6)})
             .DeleteRule("filter", "user", 4);
         return Batches{batch.Build(), second.Build()};
       }},
      {"added_and_deleted_at_once",
       [] {
         BatchBuilder batch = Filter();
         batch.Rule("filter", "user", {Counter()})
             .DeleteRule("filter", "user", 4)
             .Chain("filter", "gone")
             .DeleteChain("filter", "gone")
             .Table("other")
             .DeleteTable("other");
         return Batches{batch.Build()};
       }},
      {"flush_table",
       [] {
         return Batches{
             Filter().Rule("filter", "INPUT", {Verdict(kJump, "user")}).Build(),
             BatchBuilder().DeleteTable("filter").Build()};
       }},
      {"flush_chain",
       [] {
         return Batches{Filter()
                            .Rule("filter", "INPUT", {Verdict(kJump, "user")})
                            .Rule("filter", "INPUT", {Counter()})
                            .Build(),
                        BatchBuilder().DeleteRule("filter", "INPUT", 0).Build(),
                        BatchBuilder().DeleteChain("filter", "user").Build()};
       }},
      {"policy_update",
       [] {
         return Batches{Filter().Build(),
                        BatchBuilder()
                            .BaseChain("filter", "INPUT", "filter",
                                       NF_INET_LOCAL_IN, 0, kDrop)
                            .Build()};
       }},
      {"rename_chain",
       [] {
         BatchBuilder rename;
         rename.Message(NFT_MSG_NEWCHAIN, 0, [](MessageWriter* w) {
           w->PutString(NFTA_CHAIN_TABLE, "filter");
           w->PutBe64(NFTA_CHAIN_HANDLE, 3);
           w->PutString(NFTA_CHAIN_NAME, "renamed");
         });
         return Batches{Filter().Build(), rename.Build()};
       }},
      {"120_expressions",
       [] {
         return OneRule(
             std::vector<TestExpression>(120, Meta(NFT_META_L4PROTO)));
       }},
      {"depth_15", [] { return Nested(15, kJump); }},
      {"loop_that_nobody_reaches",
       [] {
         return Batches{Filter()
                            .Chain("filter", "loop")
                            .Rule("filter", "user", {Verdict(kJump, "loop")})
                            .Rule("filter", "loop", {Verdict(kJump, "user")})
                            .Build()};
       }},
      // ---- sets ----
      {"hash_set",
       [] {
         BatchBuilder batch = Filter();
         batch
             .Set("filter", "__set%d", 1, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT,
                  4, 0, 0, 3)
             .Elements("filter", "__set%d", 1,
                       {{.key = Be32(1)}, {.key = Be32(2)}, {.key = Be32(9)}})
             .Rule("filter", "INPUT",
                   {Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                    Lookup("__set%d", 1), Verdict(kAccept)});
         return Batches{batch.Build()};
       },
       {"__set0"}},
      {"two_anonymous_sets_then_one_deleted",
       [] {
         BatchBuilder batch = Filter();
         for (uint32_t id = 1; id <= 2; ++id) {
           batch
               .Set("filter", "__set%d", id,
                    NFT_SET_ANONYMOUS | NFT_SET_CONSTANT, 2, 0, 0, 2)
               .Elements("filter", "__set%d", id,
                         {{.key = Be16(22)}, {.key = Be16(80)}})
               .Rule("filter", "INPUT",
                     {Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
                      Lookup("__set%d", id, 1, -1, id == 2)});
         }
         BatchBuilder second;
         second.DeleteRule("filter", "INPUT", 5);
         BatchBuilder third;
         third
             .Set("filter", "__set%d", 7, NFT_SET_ANONYMOUS | NFT_SET_CONSTANT,
                  4, 0, 0, 1)
             .Elements("filter", "__set%d", 7, {{.key = Be32(1)}})
             .Rule("filter", "user",
                   {Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                    Lookup("__set%d", 7)});
         return Batches{batch.Build(), second.Build(), third.Build()};
       },
       {"__set0", "__set1"}},
      {"interval_set",
       [] {
         BatchBuilder batch = Filter();
         batch.Set("filter", "ports", 1, NFT_SET_INTERVAL, 2)
             .Elements(
                 "filter", "ports", 1,
                 {{.key = Be16(0), .flags = NFT_SET_ELEM_INTERVAL_END},
                  {.key = Be16(22)},
                  {.key = Be16(23), .flags = NFT_SET_ELEM_INTERVAL_END},
                  {.key = Be16(1000)},
                  {.key = Be16(2001), .flags = NFT_SET_ELEM_INTERVAL_END}});
         return Batches{batch.Build()};
       },
       {"ports"}},
      {"interval_overlap",
       [] {
         BatchBuilder batch = Filter();
         batch.Set("filter", "ports", 1, NFT_SET_INTERVAL, 2)
             .Elements("filter", "ports", 1,
                       {{.key = Be16(10)},
                        {.key = Be16(20), .flags = NFT_SET_ELEM_INTERVAL_END}});
         BatchBuilder second;
         second.Elements(
             "filter", "ports", 0,
             {{.key = Be16(15)},
              {.key = Be16(25), .flags = NFT_SET_ELEM_INTERVAL_END}});
         return Batches{batch.Build(), second.Build()};
       },
       {"ports"}},
      {"named_set_add_and_delete",
       [] {
         BatchBuilder batch = Filter();
         batch.Set("filter", "hosts", 1, 0, 4)
             .Elements("filter", "hosts", 1,
                       {{.key = Be32(1)}, {.key = Be32(2)}})
             .Rule("filter", "INPUT",
                   {Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                    Lookup("hosts", 1)});
         BatchBuilder second;
         second.Elements("filter", "hosts", 0, {{.key = Be32(1)}}, true)
             .Elements("filter", "hosts", 0, {{.key = Be32(3)}});
         BatchBuilder again;
         again.Elements("filter", "hosts", 0, {{.key = Be32(3)}});
         return Batches{batch.Build(), second.Build(), again.Build()};
       },
       {"hosts"}},
      {"map_of_marks",
       [] {
         BatchBuilder batch = Filter();
         batch.Set("filter", "marks", 1, NFT_SET_MAP, 4, 19, 4)
             .Elements("filter", "marks", 1,
                       {{.key = Be32(1), .data = Be32(10)},
                        {.key = Be32(2), .data = Be32(20)}})
             .Rule("filter", "INPUT",
                   {Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                    Lookup("marks", 1, 1, 1), MetaSet(NFT_META_MARK)});
         return Batches{batch.Build()};
       },
       {"marks"}},
      {"verdict_map",
       [] {
         BatchBuilder batch = Filter();
         batch
             .Set("filter", "__map%d", 1,
                  NFT_SET_ANONYMOUS | NFT_SET_CONSTANT | NFT_SET_MAP, 2,
                  NFT_DATA_VERDICT)
             .Elements(
                 "filter", "__map%d", 1,
                 {{.key = Be16(22),
                   .verdict = kJump,
                   .has_verdict = true,
                   .chain = "user"},
                  {.key = Be16(80), .verdict = kAccept, .has_verdict = true}})
             .Rule("filter", "INPUT",
                   {Payload(NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2),
                    Lookup("__map%d", 1, 1, 0)});
         return Batches{batch.Build()};
       },
       {"__map0"}},
      {"concatenated_ranges",
       [] {
         Bytes from = Be32(0x0a000001);
         Bytes to = Be32(0x0a0000ff);
         for (const uint8_t byte : Bytes{0, 22, 0, 0}) from.push_back(byte);
         for (const uint8_t byte : Bytes{0, 25, 0, 0}) to.push_back(byte);
         BatchBuilder batch = Filter();
         batch
             .Set("filter", "pairs", 1, NFT_SET_INTERVAL | NFT_SET_CONCAT, 8, 0,
                  0, 0, {4, 2})
             .Elements("filter", "pairs", 1, {{.key = from, .key_end = to}});
         return Batches{batch.Build()};
       },
       {"pairs"}},
      {"objects",
       [] {
         BatchBuilder batch = Filter();
         batch
             .Object("filter", "hits", NFT_OBJECT_COUNTER,
                     [](MessageWriter* w) {
                       w->PutBe64(NFTA_COUNTER_BYTES, 7);
                       w->PutBe64(NFTA_COUNTER_PACKETS, 1);
                     })
             .Object(
                 "filter", "cap", NFT_OBJECT_QUOTA,
                 [](MessageWriter* w) { w->PutBe64(NFTA_QUOTA_BYTES, 500); })
             .Rule("filter", "INPUT", {Raw("objref", [](MessageWriter* w) {
                     w->PutString(NFTA_OBJREF_IMM_NAME, "hits");
                     w->PutBe32(NFTA_OBJREF_IMM_TYPE, NFT_OBJECT_COUNTER);
                   })});
         BatchBuilder busy;
         busy.DeleteObject("filter", "hits", NFT_OBJECT_COUNTER);
         return Batches{batch.Build(), busy.Build()};
       }},
      // ---- what is refused ----
      {"no_such_table",
       [] { return Batches{BatchBuilder().Chain("nope", "x").Build()}; }},
      {"no_such_chain",
       [] { return Batches{Filter().Rule("filter", "nope", {}).Build()}; }},
      {"table_exists",
       [] {
         return Batches{BatchBuilder().Table("filter").Build(),
                        BatchBuilder().Table("filter", NLM_F_EXCL).Build()};
       }},
      {"chain_exists",
       [] {
         return Batches{Filter().Chain("filter", "user", NLM_F_EXCL).Build()};
       }},
      {"all_errors_are_told",
       [] {
         return Batches{
             Filter()
                 .Rule("filter", "nope", {})
                 .Chain("nope", "x")
                 .Rule("filter", "INPUT", {Verdict(kJump, "missing")})
                 .Rule("filter", "INPUT", {Counter()})
                 .DeleteRule("filter", "INPUT", 99)
                 .Build()};
       }},
      {"stale_generation",
       [] { return Batches{BatchBuilder(kIpv4, 77).Table("x").Build()}; }},
      {"current_generation",
       [] {
         return Batches{BatchBuilder().Table("x").Build(),
                        BatchBuilder(kIpv4, 2).Table("y").Build(),
                        BatchBuilder(kIpv4, 2).Table("z").Build()};
       }},
      {"without_an_end",
       [] {
         return Batches{Filter().BuildOpen(),
                        Filter().Rule("filter", "nope", {}).BuildOpen(),
                        BatchBuilder().Table("later").Build()};
       }},
      {"jump_to_a_base_chain",
       [] { return OneRule({Verdict(kJump, "FORWARD")}); }},
      {"jump_to_nowhere", [] { return OneRule({Verdict(kGoto, "none")}); }},
      {"queue_verdict", [] { return OneRule({Verdict(NF_QUEUE)}); }},
      {"unknown_verdict", [] { return OneRule({Verdict(77)}); }},
      {"chain_in_use",
       [] {
         return Batches{
             Filter().Rule("filter", "INPUT", {Verdict(kJump, "user")}).Build(),
             BatchBuilder().DeleteChain("filter", "user").Build()};
       }},
      {"depth_16", [] { return Nested(16, kJump); }},
      {"depth_16_goto", [] { return Nested(16, kGoto); }},
      {"loop",
       [] {
         return Batches{Filter()
                            .Rule("filter", "user", {Verdict(kJump, "user")})
                            .Rule("filter", "INPUT", {Verdict(kJump, "user")})
                            .Rule("filter", "INPUT", {Counter()})
                            .Build()};
       }},
      {"loop_closed_later",
       [] {
         return Batches{Filter()
                            .Chain("filter", "b")
                            .Rule("filter", "INPUT", {Verdict(kJump, "user")})
                            .Rule("filter", "user", {Verdict(kJump, "b")})
                            .Build(),
                        BatchBuilder()
                            .Rule("filter", "b", {Verdict(kGoto, "user")})
                            .Build()};
       }},
      {"129_expressions",
       [] {
         return OneRule(
             std::vector<TestExpression>(129, Meta(NFT_META_L4PROTO)));
       }},
      {"rule_too_large",
       [] {
         return OneRule(std::vector<TestExpression>(
             128, Range(NFT_RANGE_EQ, Be16(1), Be16(2))));
       }},
      {"unknown_expression",
       [] { return OneRule({Raw("nonsense", nullptr)}); }},
      {"unknown_match",
       [] { return OneRule({XtMatchOf("nonsense", 0, Bytes(8))}); }},
      {"match_too_short",
       [] { return OneRule({XtMatchOf("tcp", 0, Bytes(4))}); }},
      {"match_too_long",
       [] {
         return Batches{Filter()
                            .CompatRule("filter", "INPUT", 6,
                                        {XtMatchOf("tcp", 0, Bytes(64))})
                            .Build()};
       }},
      {"tcp_match_without_protocol",
       [] { return OneRule({XtMatchOf("tcp", 0, TcpMatch())}); }},
      {"standard_target",
       [] { return OneRule({XtTargetOf("standard", 0, Bytes(8))}); }},
      {"register_never_stored",
       [] { return OneRule({Cmp(NFT_CMP_EQ, Be32(1))}); }},
      {"register_out_of_range",
       [] { return OneRule({Meta(NFT_META_MARK, 40)}); }},
      {"register_too_short",
       [] { return OneRule({Meta(NFT_META_IIFNAME, NFT_REG32_13)}); }},
      {"store_to_the_verdict",
       [] { return OneRule({Meta(NFT_META_MARK, 0)}); }},
      {"payload_base_unknown", [] { return OneRule({Payload(9, 0, 4)}); }},
      {"payload_offset_too_large",
       [] { return OneRule({Payload(NFT_PAYLOAD_NETWORK_HEADER, 256, 4)}); }},
      {"payload_offset_16_bits",
       [] { return OneRule({Payload(NFT_PAYLOAD_NETWORK_HEADER, 65535, 4)}); }},
      {"payload_offset_17_bits",
       [] { return OneRule({Payload(NFT_PAYLOAD_NETWORK_HEADER, 65536, 4)}); }},
      {"payload_length_256",
       [] { return OneRule({Payload(NFT_PAYLOAD_NETWORK_HEADER, 0, 256)}); }},
      {"payload_store_offset_16_bits",
       [] {
         return OneRule(
             {Immediate(1, Be32(1)),
              PayloadSet(NFT_PAYLOAD_NETWORK_HEADER, 65534, 2, 1, 0, 0, 0)});
       }},
      {"payload_store_offset_17_bits",
       [] {
         return OneRule(
             {Immediate(1, Be32(1)),
              PayloadSet(NFT_PAYLOAD_NETWORK_HEADER, 65536, 2, 1, 0, 0, 0)});
       }},
      {"payload_store_checksum_offset_256",
       [] {
         return OneRule({Immediate(1, Be32(1)),
                         PayloadSet(NFT_PAYLOAD_NETWORK_HEADER, 8, 1, 1,
                                    NFT_PAYLOAD_CSUM_INET, 256, 0)});
       }},
      {"payload_without_length",
       [] {
         return OneRule({Words("payload", {{NFTA_PAYLOAD_DREG, 1},
                                           {NFTA_PAYLOAD_BASE, 1},
                                           {NFTA_PAYLOAD_OFFSET, 0}})});
       }},
      {"payload_length_zero",
       [] { return OneRule({Payload(NFT_PAYLOAD_NETWORK_HEADER, 0, 0)}); }},
      {"cmp_operator_unknown",
       [] {
         return OneRule({Meta(NFT_META_MARK), Cmp(9, Be32(1))});
       }},
      {"cmp_without_data",
       [] {
         return OneRule({Meta(NFT_META_MARK), Cmp(NFT_CMP_EQ, {})});
       }},
      {"cmp_data_too_long",
       [] {
         return OneRule({Meta(NFT_META_MARK), Cmp(NFT_CMP_EQ, Bytes(17))});
       }},
      {"meta_key_unknown", [] { return OneRule({Meta(200)}); }},
      {"meta_key_read_only",
       [] {
         return OneRule({Meta(NFT_META_MARK), MetaSet(NFT_META_IIF)});
       }},
      {"ct_direction_missing", [] { return OneRule({Ct(NFT_CT_SRC)}); }},
      {"ct_direction_unwanted",
       [] { return OneRule({Ct(NFT_CT_STATE, 1, 0)}); }},
      {"ct_key_unknown", [] { return OneRule({Ct(99)}); }},
      {"limit_without_rate",
       [] {
         return OneRule({Raw("limit", [](MessageWriter* w) {
           w->PutBe64(NFTA_LIMIT_RATE, 0);
           w->PutBe64(NFTA_LIMIT_UNIT, 1);
         })});
       }},
      {"log_level_and_group",
       [] {
         return OneRule({Raw("log", [](MessageWriter* w) {
           w->PutBe16(NFTA_LOG_GROUP, 1);
           w->PutBe32(NFTA_LOG_LEVEL, 1);
         })});
       }},
      {"reject_in_postrouting",
       [] {
         return Batches{
             BatchBuilder()
                 .Table("x")
                 .BaseChain("x", "POST", "filter", NF_INET_POST_ROUTING, 0)
                 .Rule("x", "POST",
                       {Words("reject",
                              {{NFTA_REJECT_TYPE, NFT_REJECT_TCP_RST}})})
                 .Build()};
       }},
      {"masquerade_outside_nat", [] { return OneRule({Words("masq", {})}); }},
      {"snat_in_prerouting",
       [] {
         return Batches{
             BatchBuilder()
                 .Table("nat")
                 .BaseChain("nat", "PRE", "nat", NF_INET_PRE_ROUTING, -100)
                 .Rule("nat", "PRE",
                       {Immediate(1, Be32(1)),
                        Words("nat", {{NFTA_NAT_TYPE, NFT_NAT_SNAT},
                                      {NFTA_NAT_FAMILY, NFPROTO_IPV4},
                                      {NFTA_NAT_REG_ADDR_MIN, 1}})})
                 .Build()};
       }},
      {"nat_before_conntrack",
       [] {
         return Batches{
             BatchBuilder()
                 .Table("nat")
                 .BaseChain("nat", "PRE", "nat", NF_INET_PRE_ROUTING, -300)
                 .Build()};
       }},
      {"nat_in_forward",
       [] {
         return Batches{BatchBuilder()
                            .Table("nat")
                            .BaseChain("nat", "FWD", "nat", NF_INET_FORWARD, 0)
                            .Build()};
       }},
      {"chain_type_unknown",
       [] {
         return Batches{BatchBuilder()
                            .Table("x")
                            .BaseChain("x", "C", "wrong", NF_INET_LOCAL_IN, 0)
                            .Build()};
       }},
      {"policy_on_a_user_chain",
       [] {
         BatchBuilder batch = Filter();
         batch.Message(NFT_MSG_NEWCHAIN, 0, [](MessageWriter* w) {
           w->PutString(NFTA_CHAIN_TABLE, "filter");
           w->PutString(NFTA_CHAIN_NAME, "user");
           w->PutBe32(NFTA_CHAIN_POLICY, NF_DROP);
         });
         return Batches{batch.Build()};
       }},
      {"policy_unknown",
       [] {
         return Batches{
             BatchBuilder()
                 .Table("x")
                 .BaseChain("x", "C", "filter", NF_INET_LOCAL_IN, 0, 5)
                 .Build()};
       }},
      {"rule_handle_unknown",
       [] {
         return Batches{
             Filter()
                 .RuleAt("filter", "user", NLM_F_REPLACE, 55, 0, {Counter()})
                 .DeleteRule("filter", "user", 56)
                 .RuleAt("filter", "user", NLM_F_CREATE, 0, 57, {Counter()})
                 .Build()};
       }},
      {"rule_deleted_twice",
       [] {
         return Batches{Filter().Rule("filter", "user", {Counter()}).Build(),
                        BatchBuilder()
                            .DeleteRule("filter", "user", 4)
                            .DeleteRule("filter", "user", 4)
                            .Build()};
       }},
      {"rule_without_create",
       [] {
         return Batches{
             Filter().RuleAt("filter", "user", 0, 0, 0, {Counter()}).Build()};
       }},
      {"unbound_anonymous_set",
       [] {
         return Batches{Filter()
                            .Set("filter", "__set%d", 1,
                                 NFT_SET_ANONYMOUS | NFT_SET_CONSTANT, 4)
                            .Build()};
       }},
      {"set_in_use",
       [] {
         return Batches{Filter()
                            .Set("filter", "hosts", 1, 0, 4)
                            .Rule("filter", "INPUT",
                                  {Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4),
                                   Lookup("hosts", 1)})
                            .Build(),
                        BatchBuilder().DeleteSet("filter", "hosts").Build()};
       }},
      {"set_of_other_kind_exists",
       [] {
         return Batches{Filter()
                            .Set("filter", "hosts", 1, 0, 4)
                            .Set("filter", "hosts", 2, 0, 2)
                            .Build()};
       }},
      {"set_key_too_long",
       [] { return Batches{Filter().Set("filter", "s", 1, 0, 65).Build()}; }},
      {"set_without_features",
       [] {
         return Batches{
             Filter()
                 .Set("filter", "s", 1, NFT_SET_INTERVAL | NFT_SET_EVAL, 4)
                 .Build()};
       }},
      {"lookup_of_no_set",
       [] {
         return OneRule(
             {Payload(NFT_PAYLOAD_NETWORK_HEADER, 12, 4), Lookup("nope", 9)});
       }},
      {"element_missing",
       [] {
         return Batches{
             Filter().Set("filter", "hosts", 1, 0, 4).Build(),
             BatchBuilder()
                 .Elements("filter", "hosts", 0, {{.key = Be32(9)}}, true)
                 .Build()};
       }},
      {"element_exists",
       [] {
         return Batches{Filter()
                            .Set("filter", "hosts", 1, 0, 4)
                            .Elements("filter", "hosts", 1, {{.key = Be32(9)}})
                            .Elements("filter", "hosts", 1, {{.key = Be32(9)}},
                                      false, NLM_F_EXCL)
                            .Build()};
       }},
      {"element_with_wrong_length",
       [] {
         return Batches{Filter()
                            .Set("filter", "hosts", 1, 0, 4)
                            .Elements("filter", "hosts", 1, {{.key = Be16(9)}})
                            .Build()};
       }},
      {"set_full",
       [] {
         return Batches{Filter()
                            .Set("filter", "hosts", 1, 0, 4, 0, 0, 1)
                            .Elements("filter", "hosts", 1,
                                      {{.key = Be32(1)}, {.key = Be32(2)}})
                            .Build()};
       }},
      {"get_in_a_batch",
       [] {
         return Batches{
             BatchBuilder().Message(NFT_MSG_GETTABLE, 0, nullptr).Build()};
       }},
      {"unknown_message",
       [] { return Batches{BatchBuilder().Message(99, 0, nullptr).Build()}; }},
      {"name_too_long",
       [] {
         return Batches{BatchBuilder().Table(std::string(256, 'x')).Build()};
       }},
      {"failed_batch_leaves_nothing",
       [] {
         return Batches{
             Filter().Rule("filter", "INPUT", {Counter()}).Build(),
             BatchBuilder()
                 .DeleteTable("filter")
                 .Table("filter")
                 .Chain("filter", "new")
                 .Chain("nope", "x")
                 .Build(),
             BatchBuilder().Rule("filter", "user", {Verdict(kDrop)}).Build()};
       }},
  };
  return kCases;
}

class KernelTest : public ::testing::TestWithParam<Case> {};

TEST_P(KernelTest, AnswersAndDumpsAlike) {
  Result<KernelTables> opened = KernelTables::Open();
  if (!opened) GTEST_SKIP() << opened.error().ToString();
  KernelTables& kernel = *opened;
  ControlPlane twin;
  const Batches batches = GetParam().batches();
  ASSERT_FALSE(batches.empty());
  for (size_t i = 0; i < batches.size(); ++i) {
    SCOPED_TRACE("batch " + std::to_string(i));
    const BatchResult theirs = kernel.Submit(batches[i]);
    const BatchResult ours = twin.Submit(batches[i]);
    EXPECT_EQ(AnswersText(ours), AnswersText(theirs));
    const DumpRequest request{.family = 0, .seq = 7};
    for (const DumpKind kind : {DumpKind::kTables, DumpKind::kChains,
                                DumpKind::kRules, DumpKind::kObjects}) {
      SCOPED_TRACE("dump " + std::to_string(static_cast<int>(kind)));
      EXPECT_EQ(Messages(twin.Dump(kind, request)),
                Messages(kernel.Dump(kind, request)));
    }
    EXPECT_EQ(
        Messages(twin.Dump(DumpKind::kSets, request)),
        Messages(WithoutSetExtras(kernel.Dump(DumpKind::kSets, request))));
    for (const std::string& set : GetParam().sets) {
      SCOPED_TRACE("elements of " + set);
      const DumpRequest of_family{.family = kIpv4, .seq = 7};
      EXPECT_EQ(ElementLines(twin.DumpElements("filter", set, of_family)),
                ElementLines(kernel.DumpElements("filter", set, of_family)));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Batches, KernelTest, ::testing::ValuesIn(Cases()),
                         [](const auto& test) {
                           return std::string(test.param.name);
                         });

}  // namespace
}  // namespace nfarena::vm
