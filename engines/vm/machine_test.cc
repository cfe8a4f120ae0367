// One rule on one packet: each expression's hit and miss, what it writes, and
// how chains hand a packet on.
#include "engines/vm/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/netfilter/nf_tables.h>

#include <memory>
#include <string>
#include <vector>

#include "engines/core/checksum.h"
#include "engines/vm/testing/batch_builder.h"
#include "engines/xt/testing/packets.h"
#include "engines/xt/testing/runner.h"

namespace nfarena::vm {
namespace {

using ::nfarena::xt::testing::Ipv4;
using ::nfarena::xt::testing::Ipv6;
using ::nfarena::xt::testing::PacketBuilder;
using ::nfarena::xt::testing::Standing;
using ::testing::ElementsAre;

constexpr uint32_t kForward = 2;  // NF_INET_FORWARD
constexpr uint8_t kNfprotoIpv4 = 2;
constexpr uint8_t kNfprotoIpv6 = 10;
constexpr int32_t kAccept = 1;
constexpr int32_t kDrop = 0;
constexpr int32_t kJump = -3;
constexpr int32_t kGoto = -4;
constexpr int32_t kReturn = -5;

constexpr uint32_t kNetwork = NFT_PAYLOAD_NETWORK_HEADER;
constexpr uint32_t kTransport = NFT_PAYLOAD_TRANSPORT_HEADER;

Bytes Be16(uint16_t value) {
  return {static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}
Bytes Be32(uint32_t value) {
  return {static_cast<uint8_t>(value >> 24), static_cast<uint8_t>(value >> 16),
          static_cast<uint8_t>(value >> 8), static_cast<uint8_t>(value)};
}
// A 32-bit value as the machine's registers hold it.
Bytes Word(uint32_t value) {
  return {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8),
          static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 24)};
}
Bytes Name(std::string_view name) {
  Bytes bytes(name.begin(), name.end());
  bytes.push_back(0);
  return bytes;
}

// A table with one base chain at FORWARD, policy ACCEPT, and a machine.
class Bench {
 public:
  explicit Bench(Family family = Family::kIpv4)
      : family_(family == Family::kIpv4 ? kNfprotoIpv4 : kNfprotoIpv6) {
    BatchBuilder batch(family_);
    batch.Table("filter")
        .BaseChain("filter", "FORWARD", "filter", kForward, 0, kAccept, true)
        .Chain("filter", "A")
        .Chain("filter", "B");
    Submit(batch.Build());
  }

  void Submit(const Bytes& batch) {
    const BatchResult result = control_.Submit(batch);
    ASSERT_TRUE(result.committed) << "errno " << result.error();
  }
  void Rule(const std::vector<TestExpression>& expressions,
            std::string_view chain = "FORWARD") {
    Submit(BatchBuilder(family_).Rule("filter", chain, expressions).Build());
  }

  StageVerdict Run(Standing* standing) {
    return machine_.Run(control_.tables()[0]->chains[0].get(),
                        TableKind::kFilter, true, &standing->state);
  }
  StageVerdict Run(const PacketBuilder& packet) {
    Standing standing(packet.Build(), Hook::kForward);
    return Run(&standing);
  }
  /// Whether a rule with these expressions ends in its DROP.
  bool Matches(std::vector<TestExpression> expressions,
               const PacketBuilder& packet) {
    Submit(BatchBuilder(family_).DeleteRule("filter", "FORWARD", 0).Build());
    expressions.push_back(Verdict(kDrop));
    Rule(expressions);
    return Run(packet).kind == VerdictKind::kDrop;
  }

  ControlPlane& control() { return control_; }
  uint8_t family() const { return family_; }

 private:
  uint8_t family_;
  ControlPlane control_;
  Machine machine_{&control_};
};

struct MatchCase {
  const char* what;
  std::vector<TestExpression> expressions;
  bool matches;
};

PacketBuilder Ssh() {
  return Ipv4().From("192.0.2.9").To("198.51.100.7").Tcp(40000, 22);
}

TEST(MachineTest, FieldsOfAnIpv4Packet) {
  const std::vector<MatchCase> cases = {
      {"source",
       {Payload(kNetwork, 12, 4), Cmp(NFT_CMP_EQ, Be32(0xc0000209))},
       true},
      {"another source",
       {Payload(kNetwork, 12, 4), Cmp(NFT_CMP_EQ, Be32(0xc000020a))},
       false},
      {"not that source",
       {Payload(kNetwork, 12, 4), Cmp(NFT_CMP_NEQ, Be32(0xc0000209))},
       false},
      {"not another source",
       {Payload(kNetwork, 12, 4), Cmp(NFT_CMP_NEQ, Be32(0xc000020a))},
       true},
      {"three bytes",
       {Payload(kNetwork, 12, 3), Cmp(NFT_CMP_EQ, {192, 0, 2})},
       true},
      {"three bytes, two registers later",
       {Payload(kNetwork, 12, 3, 3), Cmp(NFT_CMP_EQ, {192, 0, 3}, 3)},
       false},
      {"network by mask",
       {Payload(kNetwork, 16, 4), Bitwise(Be32(0xfffffe00), Be32(0)),
        Cmp(NFT_CMP_EQ, Be32(0xc6336400))},
       true},
      {"network by another mask",
       {Payload(kNetwork, 16, 4), Bitwise(Be32(0xfffffe00), Be32(0)),
        Cmp(NFT_CMP_EQ, Be32(0xc6336600))},
       false},
      {"both addresses at once",
       {Payload(kNetwork, 12, 8),
        Cmp(NFT_CMP_EQ, {192, 0, 2, 9, 198, 51, 100, 7})},
       true},
      {"both addresses, last byte wrong",
       {Payload(kNetwork, 12, 8),
        Cmp(NFT_CMP_EQ, {192, 0, 2, 9, 198, 51, 100, 8})},
       false},
      {"port", {Payload(kTransport, 2, 2), Cmp(NFT_CMP_EQ, Be16(22))}, true},
      {"port range, lower end",
       {Payload(kTransport, 2, 2), Range(NFT_RANGE_EQ, Be16(22), Be16(23))},
       true},
      {"port range, upper end",
       {Payload(kTransport, 2, 2), Range(NFT_RANGE_EQ, Be16(21), Be16(22))},
       true},
      {"port above the range",
       {Payload(kTransport, 2, 2), Range(NFT_RANGE_EQ, Be16(20), Be16(21))},
       false},
      {"not in the range",
       {Payload(kTransport, 2, 2), Range(NFT_RANGE_NEQ, Be16(20), Be16(21))},
       true},
      {"less than",
       {Payload(kTransport, 2, 2), Cmp(NFT_CMP_LT, Be16(23))},
       true},
      {"not less than itself",
       {Payload(kTransport, 2, 2), Cmp(NFT_CMP_LT, Be16(22))},
       false},
      {"at most",
       {Payload(kTransport, 2, 2), Cmp(NFT_CMP_LTE, Be16(22))},
       true},
      {"greater",
       {Payload(kTransport, 2, 2), Cmp(NFT_CMP_GT, Be16(22))},
       false},
      {"at least",
       {Payload(kTransport, 2, 2), Cmp(NFT_CMP_GTE, Be16(22))},
       true},
      {"syn",
       {Payload(kTransport, 13, 1), Bitwise({0x17}, {0}),
        Cmp(NFT_CMP_EQ, {0x02})},
       true},
      {"beyond the packet", {Payload(kTransport, 60, 4)}, false},
      {"beyond the packet, inverted",
       {Payload(kTransport, 60, 2), Cmp(NFT_CMP_NEQ, Be16(1))},
       false},
      {"last byte of the packet", {Payload(kNetwork, 39, 1)}, true},
      {"one byte more", {Payload(kNetwork, 40, 1)}, false},
      {"protocol", {Meta(NFT_META_L4PROTO), Cmp(NFT_CMP_EQ, {6})}, true},
      {"other protocol",
       {Meta(NFT_META_L4PROTO), Cmp(NFT_CMP_EQ, {17})},
       false},
      {"family",
       {Meta(NFT_META_NFPROTO), Cmp(NFT_CMP_EQ, {kNfprotoIpv4})},
       true},
      {"ethertype",
       {Meta(NFT_META_PROTOCOL), Cmp(NFT_CMP_EQ, Be16(0x0800))},
       true},
      {"length", {Meta(NFT_META_LEN), Cmp(NFT_CMP_EQ, Word(40))}, true},
      {"input device",
       {Meta(NFT_META_IIFNAME), Cmp(NFT_CMP_EQ, Name("eth0"))},
       true},
      {"input device by its start",
       {Meta(NFT_META_IIFNAME), Cmp(NFT_CMP_EQ, {'e', 't', 'h'})},
       true},
      {"longer name than the device's",
       {Meta(NFT_META_IIFNAME), Cmp(NFT_CMP_EQ, Name("eth01"))},
       false},
      {"output device, odd register",
       {Meta(NFT_META_OIFNAME, NFT_REG32_01),
        Cmp(NFT_CMP_EQ, Name("eth1"), NFT_REG32_01)},
       true},
      {"no socket, no owner", {Meta(NFT_META_SKUID)}, false},
      {"left shift",
       {Immediate(1, Word(0x01)),
        Raw("bitwise",
            [](MessageWriter* w) {
              w->PutBe32(NFTA_BITWISE_SREG, 1);
              w->PutBe32(NFTA_BITWISE_DREG, 1);
              w->PutBe32(NFTA_BITWISE_LEN, 4);
              w->PutBe32(NFTA_BITWISE_OP, NFT_BITWISE_LSHIFT);
              const size_t nest = w->BeginNest(NFTA_BITWISE_DATA);
              w->Put(NFTA_DATA_VALUE, Word(4));
              w->EndNest(nest);
            }),
        Cmp(NFT_CMP_EQ, Word(0x10))},
       true},
      {"byte order",
       {Payload(kTransport, 2, 2),
        Words("byteorder", {{NFTA_BYTEORDER_SREG, 1},
                            {NFTA_BYTEORDER_DREG, 1},
                            {NFTA_BYTEORDER_OP, NFT_BYTEORDER_NTOH},
                            {NFTA_BYTEORDER_LEN, 2},
                            {NFTA_BYTEORDER_SIZE, 2}}),
        Cmp(NFT_CMP_EQ, {22, 0})},
       true},
      {"untracked state", {Ct(NFT_CT_STATE), Cmp(NFT_CMP_EQ, Word(1))}, true},
      {"no connection, no mark", {Ct(NFT_CT_MARK)}, false},
      {"unicast source is no address here",
       {Words("fib", {{NFTA_FIB_DREG, 1},
                      {NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE},
                      {NFTA_FIB_FLAGS, NFTA_FIB_F_SADDR}}),
        Cmp(NFT_CMP_EQ, Word(1))},
       true},
  };
  Bench bench;
  for (const MatchCase& c : cases) {
    EXPECT_EQ(bench.Matches(c.expressions, Ssh()), c.matches) << c.what;
  }
}

TEST(MachineTest, LaterFragmentsOnlyFoolTheFastForms) {
  // 8 bytes of "22" where ports would be.
  const PacketBuilder later =
      Ipv4().Fragment(3, false).Protocol(6, {0, 22, 0, 22, 0, 22, 0, 22});
  Bench bench;
  EXPECT_TRUE(bench.Matches(
      {Payload(kTransport, 2, 2), Cmp(NFT_CMP_EQ, Be16(22))}, later));
  EXPECT_FALSE(bench.Matches({Payload(kTransport, 1, 3)}, later));
  EXPECT_TRUE(
      bench.Matches({Payload(kNetwork, 6, 2), Bitwise(Be16(0x1fff), Be16(0)),
                     Cmp(NFT_CMP_NEQ, Be16(0))},
                    later));
}

TEST(MachineTest, Ipv6UpperLayerStopsAtAuthentication) {
  Bench bench(Family::kIpv6);
  const PacketBuilder plain = Ipv6().Udp(1, 53);
  EXPECT_TRUE(
      bench.Matches({Meta(NFT_META_L4PROTO), Cmp(NFT_CMP_EQ, {17})}, plain));
  const PacketBuilder options =
      Ipv6().Extension(0, {1, 4, 0, 0, 0, 0}).Udp(1, 53);
  EXPECT_TRUE(bench.Matches(
      {Payload(kTransport, 2, 2), Cmp(NFT_CMP_EQ, Be16(53))}, options));
  EXPECT_TRUE(bench.Matches({Raw("exthdr",
                                 [](MessageWriter* w) {
                                   w->PutBe32(NFTA_EXTHDR_DREG, 1);
                                   w->PutU8(NFTA_EXTHDR_TYPE, 0);
                                   w->PutBe32(NFTA_EXTHDR_OFFSET, 0);
                                   w->PutBe32(NFTA_EXTHDR_LEN, 1);
                                   w->PutBe32(NFTA_EXTHDR_FLAGS,
                                              NFT_EXTHDR_F_PRESENT);
                                 }),
                             Cmp(NFT_CMP_EQ, {1})},
                            options));
}

TEST(MachineTest, WritesFieldsWithTheirChecksums) {
  Bench bench;
  // TTL 64 -> 9, then another destination with the pseudo header in mind.
  bench.Rule({Immediate(1, {9}),
              PayloadSet(kNetwork, 8, 1, 1, NFT_PAYLOAD_CSUM_INET, 10, 0),
              Immediate(1, Be32(0xcb007163)),
              PayloadSet(kNetwork, 16, 4, 1, NFT_PAYLOAD_CSUM_INET, 10,
                         NFT_PAYLOAD_L4CSUM_PSEUDOHDR)});
  Standing standing(Ssh().Build(), Hook::kForward);
  EXPECT_EQ(bench.Run(&standing).kind, VerdictKind::kAccept);
  const std::vector<uint8_t>& bytes = standing.state.bytes;
  EXPECT_EQ(bytes[8], 9);
  EXPECT_EQ(Bytes(bytes.begin() + 16, bytes.begin() + 20), Be32(0xcb007163));
  EXPECT_EQ(ChecksumFold(ChecksumPartial(std::span(bytes).first(20))), 0);
  EXPECT_TRUE(TransportChecksumOk(Family::kIpv4, bytes, 20, 6));
}

TEST(MachineTest, LowersButNeverRaisesTheSegmentSize) {
  const auto set_mss = [](uint16_t mss) {
    return std::vector<TestExpression>{
        Immediate(1, Be16(mss)), Raw("exthdr", [](MessageWriter* w) {
          w->PutBe32(NFTA_EXTHDR_SREG, 1);
          w->PutU8(NFTA_EXTHDR_TYPE, 2);
          w->PutBe32(NFTA_EXTHDR_OFFSET, 2);
          w->PutBe32(NFTA_EXTHDR_LEN, 2);
          w->PutBe32(NFTA_EXTHDR_OP, NFT_EXTHDR_OP_TCPOPT);
        })};
  };
  const Packet syn =
      Ipv4().Tcp(1, 80, xt::testing::kSyn, {2, 4, 0x05, 0xb4}).Build();
  for (const auto& [asked, expected] :
       std::vector<std::pair<uint16_t, uint16_t>>{
           {1000, 1000}, {1460, 1460}, {9000, 1460}}) {
    Bench bench;
    bench.Rule(set_mss(asked));
    Standing standing(syn, Hook::kForward);
    bench.Run(&standing);
    const std::vector<uint8_t>& bytes = standing.state.bytes;
    EXPECT_EQ(bytes[42] << 8 | bytes[43], expected);
    EXPECT_TRUE(TransportChecksumOk(Family::kIpv4, bytes, 20, 6)) << asked;
  }
}

TEST(MachineTest, SetsMarkPriorityAndTrace) {
  Bench bench;
  bench.Rule({Immediate(1, Word(0x2a)), MetaSet(NFT_META_MARK),
              Immediate(2, Word(7)), MetaSet(NFT_META_PRIORITY, 2),
              Immediate(3, {1}), MetaSet(NFT_META_NFTRACE, 3)});
  Standing standing(Ssh().Build(), Hook::kForward);
  bench.Run(&standing);
  EXPECT_EQ(standing.state.mark, 0x2au);
  EXPECT_EQ(standing.state.priority, 7u);
  EXPECT_TRUE(standing.state.traced);
}

TEST(MachineTest, ConnectionsAreRead) {
  Bench bench;
  bench.Rule({Ct(NFT_CT_STATE), Bitwise(Word(2), Word(0)),
              Cmp(NFT_CMP_NEQ, Word(0)), Ct(NFT_CT_MARK),
              Cmp(NFT_CMP_EQ, Word(5)), Verdict(kDrop)});
  Standing standing(Ssh().Build(), Hook::kForward);
  standing.Track(CtInfo::kEstablished);
  standing.connection.mark = 5;
  EXPECT_EQ(bench.Run(&standing).kind, VerdictKind::kDrop);
  standing.connection.mark = 6;
  EXPECT_EQ(bench.Run(&standing).kind, VerdictKind::kAccept);
  Standing fresh(Ssh().Build(), Hook::kForward);
  fresh.Track(CtInfo::kNew);
  fresh.connection.mark = 5;
  EXPECT_EQ(bench.Run(&fresh).kind, VerdictKind::kAccept);
}

TEST(MachineTest, CountsWhatMatchesOnly) {
  Bench bench;
  bench.Rule({Payload(kTransport, 2, 2), Cmp(NFT_CMP_EQ, Be16(22)), Counter()});
  bench.Rule({Payload(kTransport, 2, 2), Cmp(NFT_CMP_EQ, Be16(23)), Counter()});
  bench.Run(Ssh());
  bench.Run(Ssh());
  const Chain& chain = *bench.control().tables()[0]->chains[0];
  const auto counters = [](const Rule* rule) {
    return *reinterpret_cast<const CounterCode*>(rule->code() + 40)->counters;
  };
  EXPECT_EQ(counters(chain.first), (Counters{2, 80}));
  EXPECT_EQ(counters(chain.last), (Counters{0, 0}));
  // The policy's counters began at 3 packets of 180 bytes.
  EXPECT_EQ(chain.base->counters, (Counters{5, 260}));
}

TEST(MachineTest, JumpsReturnAndGotosDoNot) {
  struct Step {
    int32_t first, second;  // FORWARD to A, A to B
    int32_t third;          // what B says
    VerdictKind kind;
    std::vector<RuleRef> trace;
  };
  // Chains of the model: FORWARD's place in filter is 1, then A 3 and B 4;
  // rule 0 is the end of a user chain, or the policy.
  const TableKind t = TableKind::kFilter;
  const std::vector<Step> steps = {
      {kJump,
       kJump,
       kReturn,
       VerdictKind::kDrop,
       {{t, 1, 1}, {t, 3, 1}, {t, 4, 1}, {t, 3, 2}, {t, 3, 0}, {t, 1, 2}}},
      {kJump,
       kGoto,
       kReturn,
       VerdictKind::kDrop,
       {{t, 1, 1}, {t, 3, 1}, {t, 4, 1}, {t, 1, 2}}},
      {kGoto,
       kJump,
       kReturn,
       VerdictKind::kAccept,
       {{t, 1, 1}, {t, 3, 1}, {t, 4, 1}, {t, 3, 2}, {t, 3, 0}, {t, 1, 0}}},
      {kGoto,
       kGoto,
       kReturn,
       VerdictKind::kAccept,
       {{t, 1, 1}, {t, 3, 1}, {t, 4, 1}, {t, 1, 0}}},
      {kJump,
       kJump,
       kDrop,
       VerdictKind::kDrop,
       {{t, 1, 1}, {t, 3, 1}, {t, 4, 1}}},
      {kJump,
       kJump,
       kAccept,
       VerdictKind::kAccept,
       {{t, 1, 1}, {t, 3, 1}, {t, 4, 1}}},
  };
  for (size_t i = 0; i < steps.size(); ++i) {
    const Step& step = steps[i];
    Bench bench;
    bench.Rule({Verdict(step.third)}, "B");
    bench.Rule({Verdict(step.second, "B")}, "A");
    bench.Rule({Counter()}, "A");
    bench.Rule({Verdict(step.first, "A")});
    bench.Rule({Verdict(kDrop)});
    Standing standing(Ssh().Build(), Hook::kForward);
    const StageVerdict verdict = bench.Run(&standing);
    EXPECT_EQ(verdict.kind, step.kind) << "step " << i;
    EXPECT_EQ(standing.outcome.trace, step.trace) << "step " << i;
  }
}

TEST(MachineTest, TellsWhoDecided) {
  Bench bench;
  bench.Rule(
      {Payload(kTransport, 2, 2), Cmp(NFT_CMP_EQ, Be16(1)), Verdict(kDrop)},
      "A");
  bench.Rule({Verdict(kDrop)}, "A");
  bench.Rule({Counter()});
  bench.Rule({Verdict(kJump, "A")});
  EXPECT_EQ(bench.Run(Ssh()).rule, (RuleRef{TableKind::kFilter, 3, 2}));
  Bench empty;
  EXPECT_EQ(empty.Run(Ssh()).rule, (RuleRef{TableKind::kFilter, 1, 0}));
}

TEST(MachineTest, SetsOfEachShape) {
  struct SetCase {
    const char* what;
    uint32_t flags;
    uint32_t key_size;
    std::vector<TestElement> elements;
    std::vector<std::pair<uint16_t, bool>> ports;  // and whether they are in
  };
  constexpr uint32_t kEnd = NFT_SET_ELEM_INTERVAL_END;
  const std::vector<SetCase> cases = {
      {"bitmap",
       0,
       2,
       {{.key = Be16(22)}, {.key = Be16(65535)}},
       {{22, true}, {23, false}, {65535, true}, {0, false}}},
      {"intervals",
       NFT_SET_INTERVAL,
       2,
       {{.key = Be16(0), .flags = kEnd},
        {.key = Be16(10)},
        {.key = Be16(20), .flags = kEnd},
        {.key = Be16(20)},
        {.key = Be16(21), .flags = kEnd},
        {.key = Be16(60000)}},
       {{9, false},
        {10, true},
        {19, true},
        {20, true},
        {21, false},
        {59999, false},
        {60000, true},
        {65535, true}}},
      {"hash with timeouts",
       NFT_SET_TIMEOUT,
       2,
       {{.key = Be16(80)}},
       {{80, true}, {81, false}}},
  };
  for (const SetCase& c : cases) {
    Bench bench;
    bench.Submit(
        BatchBuilder()
            .Set("filter", "s", 1, c.flags, c.key_size)
            .Elements("filter", "s", 1, c.elements)
            .Rule("filter", "FORWARD",
                  {Payload(kTransport, 2, 2), Lookup("s", 1), Verdict(kDrop)})
            .Build());
    for (const auto& [port, in] : c.ports) {
      EXPECT_EQ(bench.Run(Ipv4().Udp(1, port)).kind,
                in ? VerdictKind::kDrop : VerdictKind::kAccept)
          << c.what << " port " << port;
    }
  }
}

TEST(MachineTest, VerdictMapsJumpAndMapsGiveValues) {
  Bench bench;
  bench.Rule({Verdict(kDrop)}, "A");
  bench.Submit(
      BatchBuilder()
          .Set("filter", "v", 1, NFT_SET_MAP, 2, NFT_DATA_VERDICT)
          .Elements(
              "filter", "v", 1,
              {{.key = Be16(22),
                .verdict = kJump,
                .has_verdict = true,
                .chain = "A"},
               {.key = Be16(80), .verdict = kAccept, .has_verdict = true}})
          .Set("filter", "m", 2, NFT_SET_MAP, 2, 19, 4)
          .Elements("filter", "m", 2, {{.key = Be16(443), .data = Word(9)}})
          .Rule("filter", "FORWARD",
                {Payload(kTransport, 2, 2), Lookup("v", 1, 1, 0)})
          .Rule("filter", "FORWARD",
                {Payload(kTransport, 2, 2), Lookup("m", 2, 1, 1),
                 MetaSet(NFT_META_MARK), Verdict(kAccept)})
          .Rule("filter", "FORWARD", {Verdict(kDrop)})
          .Build());
  EXPECT_EQ(bench.Run(Ipv4().Udp(1, 22)).rule,
            (RuleRef{TableKind::kFilter, 3, 1}));
  EXPECT_EQ(bench.Run(Ipv4().Udp(1, 80)).rule,
            (RuleRef{TableKind::kFilter, 1, 1}));
  Standing standing(Ipv4().Udp(1, 443).Build(), Hook::kForward);
  EXPECT_EQ(bench.Run(&standing).rule, (RuleRef{TableKind::kFilter, 1, 2}));
  EXPECT_EQ(standing.state.mark, 9u);
  EXPECT_EQ(bench.Run(Ipv4().Udp(1, 7)).rule,
            (RuleRef{TableKind::kFilter, 1, 3}));
}

TEST(MachineTest, DynamicSetsRememberUntilTheirTimeout) {
  Bench bench;
  bench.Submit(
      BatchBuilder()
          .Set("filter", "seen", 1, NFT_SET_TIMEOUT | NFT_SET_EVAL, 4, 0, 0,
               100)
          .Rule("filter", "FORWARD",
                {Payload(kNetwork, 12, 4), Lookup("seen", 1), Verdict(kDrop)})
          .Rule("filter", "FORWARD",
                {Payload(kNetwork, 12, 4),
                 Raw("dynset",
                     [](MessageWriter* w) {
                       w->PutString(NFTA_DYNSET_SET_NAME, "seen");
                       w->PutBe32(NFTA_DYNSET_OP, NFT_DYNSET_OP_ADD);
                       w->PutBe32(NFTA_DYNSET_SREG_KEY, 1);
                       w->PutBe64(NFTA_DYNSET_TIMEOUT, 1000);
                     })})
          .Build());
  EXPECT_EQ(bench.Run(Ssh()).kind, VerdictKind::kAccept);
  EXPECT_EQ(bench.Run(Ssh().At(999)).kind, VerdictKind::kDrop);
  EXPECT_EQ(bench.Run(Ipv4().From("192.0.2.10").Udp(1, 2)).kind,
            VerdictKind::kAccept);
  EXPECT_EQ(bench.Run(Ssh().At(1000)).kind, VerdictKind::kAccept);
}

TEST(MachineTest, LimitTakesItsBurstAndRefills) {
  const auto limit = [](uint32_t flags) {
    return Raw("limit", [flags](MessageWriter* w) {
      w->PutBe64(NFTA_LIMIT_RATE, 1);
      w->PutBe64(NFTA_LIMIT_UNIT, 60);
      w->PutBe32(NFTA_LIMIT_BURST, 2);
      w->PutBe32(NFTA_LIMIT_FLAGS, flags);
    });
  };
  for (const uint32_t flags : {0u, uint32_t{NFT_LIMIT_F_INV}}) {
    Bench bench;
    bench.Rule({limit(flags), Verdict(kDrop)});
    std::vector<bool> dropped;
    for (const uint64_t at : {0, 1, 2, 59'000, 60'000, 60'001}) {
      dropped.push_back(bench.Run(Ssh().At(at)).kind == VerdictKind::kDrop);
    }
    std::vector<bool> expected = {true, true, false, false, true, false};
    if (flags != 0) expected.flip();
    EXPECT_EQ(dropped, expected) << flags;
  }
}

TEST(MachineTest, ALimitNearItsEdgeIsLeftToChance) {
  Bench bench;
  bench.Rule({Raw("limit",
                  [](MessageWriter* w) {
                    w->PutBe64(NFTA_LIMIT_RATE, 1);
                    w->PutBe64(NFTA_LIMIT_UNIT, 1);
                    w->PutBe32(NFTA_LIMIT_BURST, 1);
                  }),
              Verdict(kDrop)});
  Standing first(Ssh().Build(), Hook::kForward);
  bench.Run(&first);
  EXPECT_EQ(first.outcome.indeterminate, "");
  Standing second(Ssh().Build(), Hook::kForward);
  bench.Run(&second);
  EXPECT_NE(second.outcome.indeterminate, "");
}

TEST(MachineTest, QuotaEnds) {
  Bench bench;
  bench.Rule(
      {Raw("quota", [](MessageWriter* w) { w->PutBe64(NFTA_QUOTA_BYTES, 80); }),
       Verdict(kDrop)});
  EXPECT_EQ(bench.Run(Ssh()).kind, VerdictKind::kDrop);
  EXPECT_EQ(bench.Run(Ssh()).kind, VerdictKind::kDrop);
  EXPECT_EQ(bench.Run(Ssh()).kind, VerdictKind::kAccept);
}

TEST(MachineTest, NumgenCountsRound) {
  Bench bench;
  bench.Rule({Words("numgen", {{NFTA_NG_DREG, 1},
                               {NFTA_NG_MODULUS, 3},
                               {NFTA_NG_TYPE, NFT_NG_INCREMENTAL}}),
              Cmp(NFT_CMP_EQ, Word(0)), Verdict(kDrop)});
  std::vector<bool> dropped;
  for (int i = 0; i < 6; ++i) {
    dropped.push_back(bench.Run(Ssh()).kind == VerdictKind::kDrop);
  }
  EXPECT_THAT(dropped, ElementsAre(true, false, false, true, false, false));
}

TEST(MachineTest, JenkinsHashIsTheKernels) {
  // jhash of the four bytes 192.0.2.9 with seed 0x1234, modulo 65536 by
  // reciprocal scale, as a kernel computes it.
  Bench bench;
  bench.Rule(
      {Payload(kNetwork, 12, 4),
       Words("hash", {{NFTA_HASH_SREG, 1},
                      {NFTA_HASH_DREG, 2},
                      {NFTA_HASH_LEN, 4},
                      {NFTA_HASH_MODULUS, 1000},
                      {NFTA_HASH_SEED, 0x1234},
                      {NFTA_HASH_OFFSET, 100}}),
       Words("meta", {{NFTA_META_SREG, 2}, {NFTA_META_KEY, NFT_META_MARK}})});
  Standing a(Ssh().Build(), Hook::kForward);
  Standing b(Ssh().Build(), Hook::kForward);
  bench.Run(&a);
  bench.Run(&b);
  EXPECT_EQ(a.state.mark, b.state.mark);
  EXPECT_GE(a.state.mark, 100u);
  EXPECT_LT(a.state.mark, 1100u);
  EXPECT_EQ(a.outcome.indeterminate, "");
}

TEST(MachineTest, LogsAndQueues) {
  Bench bench;
  bench.Rule(
      {Raw("log",
           [](MessageWriter* w) {
             w->PutString(NFTA_LOG_PREFIX, "seen ");
             w->PutBe32(NFTA_LOG_LEVEL, 6);
           }),
       Raw("log", [](MessageWriter* w) { w->PutBe16(NFTA_LOG_GROUP, 4); }),
       Raw("queue",
           [](MessageWriter* w) { w->PutBe16(NFTA_QUEUE_NUM, 700); })});
  Standing standing(Ssh().Build(), Hook::kForward);
  const StageVerdict verdict = bench.Run(&standing);
  EXPECT_EQ(verdict.kind, VerdictKind::kQueue);
  EXPECT_EQ(verdict.queue, 700);
  ASSERT_EQ(standing.outcome.logs.size(), 2u);
  EXPECT_EQ(standing.outcome.logs[0],
            (LogRecord{.prefix = "seen ", .level = 6}));
  EXPECT_EQ(standing.outcome.logs[1], (LogRecord{.group = 4, .nflog = true}));
}

TEST(MachineTest, TheTraceHasWhatReachedItsCounter) {
  Bench bench;
  bench.Rule({Payload(kTransport, 2, 2), Cmp(NFT_CMP_EQ, Be16(23)), Counter()});
  // Matched, counted, and then its action found nothing to act on.
  bench.Rule({Counter(), Payload(kTransport, 100, 2)});
  bench.Rule({Payload(kTransport, 100, 2), Counter()});
  Standing standing(Ssh().Build(), Hook::kForward);
  bench.Run(&standing);
  EXPECT_THAT(standing.outcome.trace,
              ElementsAre(RuleRef{TableKind::kFilter, 1, 2},
                          RuleRef{TableKind::kFilter, 1, 0}));
}

TEST(MachineTest, ExtensionsRunAsMatchAndTarget) {
  Bench bench;
  Bytes mark(16, 0);  // xt_mark_mtinfo1: mark, mask, invert
  mark[0] = 7;
  mark[4] = 0xff;
  bench.Rule({XtMatchOf("mark", 1, mark), Verdict(kDrop)});
  EXPECT_EQ(bench.Run(Ssh().Mark(7)).kind, VerdictKind::kDrop);
  EXPECT_EQ(bench.Run(Ssh().Mark(8)).kind, VerdictKind::kAccept);
  Bench other;
  Bytes set_mark(8, 0);  // xt_mark_tginfo2: mark, mask
  set_mark[0] = 9;
  set_mark[4] = 0xff;
  other.Rule({XtTargetOf("MARK", 2, set_mark)});
  Standing standing(Ssh().Build(), Hook::kForward);
  other.Run(&standing);
  EXPECT_EQ(standing.state.mark, 9u);
}

}  // namespace
}  // namespace nfarena::vm
