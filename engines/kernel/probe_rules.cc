#include "engines/kernel/probe_rules.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <netinet/in.h>

#include <cstring>
#include <string_view>

namespace nfarena::kernel {
namespace {

constexpr uint32_t kLoopback = 1;  // ifindex of lo in every namespace
constexpr int32_t kFirst = INT32_MIN;
constexpr int32_t kLast = INT32_MAX;
constexpr uint8_t kFirstQueryType = 128;  // ICMPv6: below are the errors
constexpr std::string_view kMarkChain = "mark";

struct ProbeChain {
  std::string_view name;
  Hook hook;
  int32_t priority;
  bool while_timing;  // stays in ProbeMode::kTime
};

constexpr ProbeChain kChains[] = {
    {kMarkChain, Hook::kPrerouting, kFirst, true},
    {"pre_begin", Hook::kPrerouting, kFirst, false},
    {"pre_end", Hook::kPrerouting, kLast, false},
    {"in_begin", Hook::kInput, kFirst, false},
    {"in_end", Hook::kInput, kLast, true},
    {"fwd_begin", Hook::kForward, kFirst, false},
    {"fwd_end", Hook::kForward, kLast, false},
    {"out_begin", Hook::kOutput, kFirst, false},
    {"out_end", Hook::kOutput, kLast, false},
    {"post_begin", Hook::kPostrouting, kFirst, false},
    {"post_end", Hook::kPostrouting, kLast, true},
};

/// Writes the messages of one batch; the nesting of nf_tables' attributes is
/// that of Documentation/netlink/specs/nftables.yaml.
class BatchWriter {
 public:
  BatchWriter(Family family, MessageBuilder* batch)
      : family_(family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6),
        batch_(batch) {
    Control(NFNL_MSG_BATCH_BEGIN);
  }
  ~BatchWriter() { Control(NFNL_MSG_BATCH_END); }
  BatchWriter(const BatchWriter&) = delete;
  BatchWriter& operator=(const BatchWriter&) = delete;

  void Table() {
    Begin(NFT_MSG_NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
    batch_->PutString(NFTA_TABLE_NAME, kProbeTable);
    batch_->End();
  }

  void NewChain(const ProbeChain& chain) {
    Begin(NFT_MSG_NEWCHAIN, NLM_F_CREATE | NLM_F_EXCL);
    batch_->PutString(NFTA_CHAIN_TABLE, kProbeTable);
    batch_->PutString(NFTA_CHAIN_NAME, chain.name);
    const size_t hook = batch_->BeginNest(NFTA_CHAIN_HOOK | NLA_F_NESTED);
    batch_->PutBe32(NFTA_HOOK_HOOKNUM, static_cast<uint32_t>(chain.hook));
    batch_->PutBe32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(chain.priority));
    batch_->EndNest(hook);
    batch_->PutString(NFTA_CHAIN_TYPE, "filter");
    batch_->PutBe32(NFTA_CHAIN_POLICY, NF_ACCEPT);
    batch_->End();
  }

  void DeleteChain(std::string_view chain) {
    Begin(NFT_MSG_DELCHAIN, 0);
    batch_->PutString(NFTA_CHAIN_TABLE, kProbeTable);
    batch_->PutString(NFTA_CHAIN_NAME, chain);
    batch_->End();
  }

  void FlushChain(std::string_view chain) {
    Begin(NFT_MSG_DELRULE, 0);
    batch_->PutString(NFTA_RULE_TABLE, kProbeTable);
    batch_->PutString(NFTA_RULE_CHAIN, chain);
    batch_->End();
  }

  void BeginRule(std::string_view chain) {
    Begin(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    batch_->PutString(NFTA_RULE_TABLE, kProbeTable);
    batch_->PutString(NFTA_RULE_CHAIN, chain);
    rule_ = batch_->BeginNest(NFTA_RULE_EXPRESSIONS | NLA_F_NESTED);
  }
  void EndRule() {
    batch_->EndNest(rule_);
    batch_->End();
  }

  void MetaLoad(uint32_t key) {
    Expression("meta", [&] {
      batch_->PutBe32(NFTA_META_KEY, key);
      batch_->PutBe32(NFTA_META_DREG, NFT_REG_1);
    });
  }
  void MetaSet(uint32_t key) {
    Expression("meta", [&] {
      batch_->PutBe32(NFTA_META_KEY, key);
      batch_->PutBe32(NFTA_META_SREG, NFT_REG_1);
    });
  }
  void Load(const void* data, size_t size) {
    Expression("immediate", [&] {
      batch_->PutBe32(NFTA_IMMEDIATE_DREG, NFT_REG_1);
      Data(NFTA_IMMEDIATE_DATA, data, size);
    });
  }
  void Compare(uint32_t operation, const void* data, size_t size) {
    Expression("cmp", [&] {
      batch_->PutBe32(NFTA_CMP_SREG, NFT_REG_1);
      batch_->PutBe32(NFTA_CMP_OP, operation);
      Data(NFTA_CMP_DATA, data, size);
    });
  }
  void TransportByte() {
    Expression("payload", [&] {
      batch_->PutBe32(NFTA_PAYLOAD_DREG, NFT_REG_1);
      batch_->PutBe32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
      batch_->PutBe32(NFTA_PAYLOAD_OFFSET, 0);
      batch_->PutBe32(NFTA_PAYLOAD_LEN, 1);
    });
  }
  void Log(std::string_view prefix, uint32_t bytes) {
    Expression("log", [&] {
      batch_->PutU16(NFTA_LOG_GROUP, htons(kProbeGroup));
      batch_->PutString(NFTA_LOG_PREFIX, prefix);
      batch_->PutBe32(NFTA_LOG_SNAPLEN, bytes);
      batch_->PutU16(NFTA_LOG_QTHRESHOLD, htons(1));
    });
  }
  void Verdict(uint32_t code) {
    Expression("immediate", [&] {
      batch_->PutBe32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
      const size_t data = batch_->BeginNest(NFTA_IMMEDIATE_DATA | NLA_F_NESTED);
      const size_t verdict =
          batch_->BeginNest(NFTA_DATA_VERDICT | NLA_F_NESTED);
      batch_->PutBe32(NFTA_VERDICT_CODE, code);
      batch_->EndNest(verdict);
      batch_->EndNest(data);
    });
  }

 private:
  void Control(uint16_t type) {
    auto* head = static_cast<nfgenmsg*>(
        batch_->Begin(type, NLM_F_REQUEST, seq_++, sizeof(nfgenmsg)));
    head->version = NFNETLINK_V0;
    head->res_id = htons(NFNL_SUBSYS_NFTABLES);
    batch_->End();
  }
  void Begin(uint16_t type, int flags) {
    auto* head = static_cast<nfgenmsg*>(
        batch_->Begin(static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | type),
                      static_cast<uint16_t>(NLM_F_REQUEST | flags), seq_++,
                      sizeof(nfgenmsg)));
    head->nfgen_family = family_;
    head->version = NFNETLINK_V0;
  }
  template <typename Fill>
  void Expression(std::string_view name, Fill fill) {
    const size_t element = batch_->BeginNest(NFTA_LIST_ELEM | NLA_F_NESTED);
    batch_->PutString(NFTA_EXPR_NAME, name);
    const size_t data = batch_->BeginNest(NFTA_EXPR_DATA | NLA_F_NESTED);
    fill();
    batch_->EndNest(data);
    batch_->EndNest(element);
  }
  void Data(uint16_t type, const void* data, size_t size) {
    const size_t nest =
        batch_->BeginNest(static_cast<uint16_t>(type | NLA_F_NESTED));
    batch_->Put(NFTA_DATA_VALUE, data, size);
    batch_->EndNest(nest);
  }

  uint8_t family_;
  MessageBuilder* batch_;
  uint32_t seq_ = 0;
  size_t rule_ = 0;
};

void ExceptLoopbackIn(BatchWriter* writer) {
  writer->MetaLoad(NFT_META_IIF);
  writer->Compare(NFT_CMP_NEQ, &kLoopback, sizeof kLoopback);
}

void SwitchTraceOn(BatchWriter* writer) {
  const uint8_t on = 1;
  writer->Load(&on, sizeof on);
  writer->MetaSet(NFT_META_NFTRACE);
}

void BeginRules(Family family, BatchWriter* writer) {
  writer->BeginRule("pre_begin");
  ExceptLoopbackIn(writer);
  SwitchTraceOn(writer);
  writer->EndRule();

  // Loading the owner ends the rule for a packet that no socket sent.
  writer->BeginRule("out_begin");
  writer->MetaLoad(NFT_META_SKUID);
  SwitchTraceOn(writer);
  writer->Verdict(NF_ACCEPT);
  writer->EndRule();

  // What is left is the stack's own.  Of that, only errors answer a packet.
  writer->BeginRule("out_begin");
  const uint8_t protocol =
      family == Family::kIpv4 ? uint8_t{IPPROTO_IGMP} : uint8_t{IPPROTO_ICMPV6};
  writer->MetaLoad(NFT_META_L4PROTO);
  writer->Compare(NFT_CMP_EQ, &protocol, sizeof protocol);
  if (family == Family::kIpv6) {
    writer->TransportByte();
    writer->Compare(NFT_CMP_GTE, &kFirstQueryType, sizeof kFirstQueryType);
  }
  writer->Verdict(NF_DROP);
  writer->EndRule();
}

void FinalRule(ProbeMode mode, std::string_view chain, BatchWriter* writer) {
  writer->BeginRule(chain);
  if (mode == ProbeMode::kObserve) {
    writer->Log(kFinalPrefix, 0xffff);
    // No log record holds the priority, but each holds the mark.
    writer->MetaLoad(NFT_META_PRIORITY);
    writer->MetaSet(NFT_META_MARK);
    writer->Log(kPriorityPrefix, 0);
  }
  writer->Verdict(NF_DROP);
  writer->EndRule();
}

void EndRules(ProbeMode mode, BatchWriter* writer) {
  FinalRule(mode, "in_end", writer);
  // Out of lo it has the second half of its way before it.
  writer->BeginRule("post_end");
  writer->MetaLoad(NFT_META_OIF);
  writer->Compare(NFT_CMP_EQ, &kLoopback, sizeof kLoopback);
  writer->Verdict(NF_ACCEPT);
  writer->EndRule();
  FinalRule(mode, "post_end", writer);
}

}  // namespace

void BuildProbe(Family family, MessageBuilder* batch) {
  BatchWriter writer(family, batch);
  writer.Table();
  for (const ProbeChain& chain : kChains) writer.NewChain(chain);
  BeginRules(family, &writer);
  EndRules(ProbeMode::kObserve, &writer);
}

void BuildModeChange(Family family, ProbeMode from, ProbeMode to,
                     MessageBuilder* batch) {
  BatchWriter writer(family, batch);
  writer.FlushChain("in_end");
  writer.FlushChain("post_end");
  EndRules(to, &writer);
  if (from != ProbeMode::kTime && to == ProbeMode::kTime) {
    writer.FlushChain("pre_begin");
    writer.FlushChain("out_begin");
    for (const ProbeChain& chain : kChains) {
      if (!chain.while_timing) writer.DeleteChain(chain.name);
    }
  } else if (from == ProbeMode::kTime && to != ProbeMode::kTime) {
    for (const ProbeChain& chain : kChains) {
      if (!chain.while_timing) writer.NewChain(chain);
    }
    BeginRules(family, &writer);
  }
}

void BuildMark(Family family, uint32_t mark, MessageBuilder* batch) {
  BatchWriter writer(family, batch);
  writer.FlushChain(kMarkChain);
  if (mark == 0) return;
  writer.BeginRule(kMarkChain);
  ExceptLoopbackIn(&writer);
  writer.Load(&mark, sizeof mark);
  writer.MetaSet(NFT_META_MARK);
  writer.EndRule();
}

}  // namespace nfarena::kernel
