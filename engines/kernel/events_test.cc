#include "engines/kernel/events.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>

#include <cstring>
#include <string>
#include <vector>

#include "engines/kernel/netlink.h"

namespace nfarena::kernel {
namespace {

/// "table|CHAIN|step|number", or "none".
std::string Parsed(std::string_view prefix) {
  const auto trace = ParseLegacyTrace(prefix);
  if (!trace) return "none";
  const char* step = trace->step == TraceStep::kRule     ? "rule"
                     : trace->step == TraceStep::kReturn ? "return"
                                                         : "policy";
  return std::string(trace->table) + '|' + std::string(trace->chain) + '|' +
         step + '|' + std::to_string(trace->rulenum);
}

TEST(ParseLegacyTraceTest, ReadsWhatTheKernelPrints) {
  struct Case {
    std::string_view prefix, expected;
  };
  constexpr Case kCases[] = {
      {"TRACE: filter:INPUT:rule:3 ", "filter|INPUT|rule|3"},
      {"TRACE: nat:OUTPUT:policy:1 ", "nat|OUTPUT|policy|1"},
      {"TRACE: raw:a:b:return:12 ", "raw|a:b|return|12"},
      {"TRACE: raw:rule:1:rule:2 ", "raw|rule:1|rule|2"},
      {"TRACE: filter:INPUT:rule:3", "none"},
      {"TRACE: filter:INPUT:jump:3 ", "none"},
      {"TRACE: filter:INPUT:rule:x ", "none"},
      {"TRACE: filter:INPUT:rule: ", "none"},
      {"TRACE: filter:INPUT:rule:4294967296 ", "none"},
      {"TRACE: filter:rule:1 ", "none"},
      {"TRACE: filter ", "none"},
      {"TRACE: ", "none"},
      {"TRACE:", "none"},
      {"", "none"},
      {"two: ", "none"},
  };
  for (const Case& c : kCases) EXPECT_EQ(Parsed(c.prefix), c.expected);
}

nfgenmsg* Begin(MessageBuilder* m, uint16_t type, uint16_t resource) {
  auto* head = static_cast<nfgenmsg*>(m->Begin(type, 0, 0, sizeof(nfgenmsg)));
  head->res_id = htons(resource);
  return head;
}

std::optional<Event> Decode(const MessageBuilder& m) {
  return DecodeEvent(reinterpret_cast<const nlmsghdr*>(m.bytes().data()));
}

void PutLog(MessageBuilder* m, uint16_t group, std::string_view prefix) {
  Begin(m, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET, group);
  nfulnl_msg_packet_hdr head{};
  head.hook = NF_INET_FORWARD;
  m->Put(NFULA_PACKET_HDR, &head, sizeof head);
  m->PutString(NFULA_PREFIX, prefix);
  m->PutBe32(NFULA_IFINDEX_INDEV, 2);
  m->PutBe32(NFULA_IFINDEX_OUTDEV, 3);
  m->PutBe32(NFULA_MARK, 0x12345678);
  const uint8_t payload[] = {0x45, 1, 2};
  m->Put(NFULA_PAYLOAD, payload, sizeof payload);
  m->End();
}

TEST(DecodeEventTest, ReadsLogRecords) {
  MessageBuilder m;
  PutLog(&m, 9, "hello");
  const auto event = Decode(m);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, EventKind::kNflog);
  EXPECT_EQ(event->group, 9);
  EXPECT_EQ(event->prefix, "hello");
  EXPECT_EQ(event->hook, Hook::kForward);
  EXPECT_EQ(event->in_index, 2u);
  EXPECT_EQ(event->out_index, 3u);
  EXPECT_EQ(event->mark, 0x12345678u);
  ASSERT_EQ(event->bytes.size(), 3u);
  EXPECT_EQ(event->bytes[0], 0x45);
}

TEST(DecodeEventTest, TellsTheProbesRecordsByGroupAndPrefix) {
  struct Case {
    uint16_t group;
    std::string_view prefix;
    EventKind kind;
  };
  const Case kCases[] = {
      {kProbeGroup, kFinalPrefix, EventKind::kFinal},
      {kProbeGroup, kPriorityPrefix, EventKind::kPriority},
      {kProbeGroup, "mine", EventKind::kNflog},
      {7, kFinalPrefix, EventKind::kNflog},
      {0, "TRACE: raw:OUTPUT:policy:1 ", EventKind::kLegacyTrace},
      {1, "TRACE: raw:OUTPUT:policy:1 ", EventKind::kNflog},
      {0, "x", EventKind::kNflog},
  };
  for (const Case& c : kCases) {
    MessageBuilder m;
    PutLog(&m, c.group, c.prefix);
    const auto event = Decode(m);
    ASSERT_TRUE(event) << c.group << c.prefix;
    EXPECT_EQ(event->kind, c.kind) << c.group << c.prefix;
  }
}

TEST(DecodeEventTest, ReadsQueuedPackets) {
  MessageBuilder m;
  Begin(&m, NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET, 4);
  nfqnl_msg_packet_hdr head{};
  head.packet_id = htonl(77);
  head.hook = NF_INET_LOCAL_OUT;
  m.Put(NFQA_PACKET_HDR, &head, sizeof head);
  m.PutBe32(NFQA_MARK, 5);
  m.End();
  const auto event = Decode(m);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, EventKind::kQueue);
  EXPECT_EQ(event->queue, 4);
  EXPECT_EQ(event->packet_id, 77u);
  EXPECT_EQ(event->hook, Hook::kOutput);
  EXPECT_EQ(event->mark, 5u);
}

TEST(DecodeEventTest, ReadsNftTraces) {
  MessageBuilder m;
  Begin(&m, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE, 0);
  m.PutString(NFTA_TRACE_TABLE, "filter");
  m.PutString(NFTA_TRACE_CHAIN, "INPUT");
  m.PutBe32(NFTA_TRACE_TYPE, NFT_TRACETYPE_RETURN);
  const uint8_t handle[8] = {0, 0, 0, 0, 0, 0, 1, 2};
  m.Put(NFTA_TRACE_RULE_HANDLE, handle, sizeof handle);
  m.End();
  const auto event = Decode(m);
  ASSERT_TRUE(event);
  EXPECT_EQ(event->kind, EventKind::kNftTrace);
  EXPECT_EQ(event->table, "filter");
  EXPECT_EQ(event->chain, "INPUT");
  EXPECT_EQ(event->step, TraceStep::kReturn);
  EXPECT_EQ(event->handle, 258u);
}

TEST(DecodeEventTest, RefusesWhatIsIncompleteOrSomethingElse) {
  MessageBuilder no_head;
  Begin(&no_head, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET, 1);
  no_head.PutString(NFULA_PREFIX, "x");
  no_head.End();
  EXPECT_FALSE(Decode(no_head));

  MessageBuilder bad_hook;
  Begin(&bad_hook, NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET, 1);
  nfulnl_msg_packet_hdr head{};
  head.hook = 5;
  bad_hook.Put(NFULA_PACKET_HDR, &head, sizeof head);
  bad_hook.End();
  EXPECT_FALSE(Decode(bad_hook));

  MessageBuilder no_type;
  Begin(&no_type, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE, 0);
  no_type.PutString(NFTA_TRACE_TABLE, "filter");
  no_type.PutString(NFTA_TRACE_CHAIN, "INPUT");
  no_type.End();
  EXPECT_FALSE(Decode(no_type));

  MessageBuilder other;
  Begin(&other, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_NEWGEN, 0);
  other.End();
  EXPECT_FALSE(Decode(other));

  MessageBuilder headless;
  headless.Begin(NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET, 0, 0, 0);
  headless.End();
  EXPECT_FALSE(Decode(headless));
}

}  // namespace
}  // namespace nfarena::kernel
