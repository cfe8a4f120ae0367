#include "engines/vm/testing/batch_builder.h"

#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <utility>

namespace nfarena::vm {
namespace {

constexpr uint16_t TypeOf(uint16_t message) {
  return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
}

void PutData(MessageWriter* writer, uint16_t type, const Bytes& data) {
  const size_t nest = writer->BeginNest(type);
  writer->Put(NFTA_DATA_VALUE, data);
  writer->EndNest(nest);
}

void PutVerdictData(MessageWriter* writer, uint16_t type, int32_t code,
                    std::string_view chain) {
  const size_t nest = writer->BeginNest(type);
  const size_t verdict = writer->BeginNest(NFTA_DATA_VERDICT);
  writer->PutBe32(NFTA_VERDICT_CODE, static_cast<uint32_t>(code));
  if (!chain.empty()) writer->PutString(NFTA_VERDICT_CHAIN, chain);
  writer->EndNest(verdict);
  writer->EndNest(nest);
}

void PutExpressions(MessageWriter* writer,
                    const std::vector<TestExpression>& expressions) {
  const size_t list = writer->BeginNest(NFTA_RULE_EXPRESSIONS);
  for (const TestExpression& expression : expressions) {
    const size_t element = writer->BeginNest(NFTA_LIST_ELEM);
    writer->PutString(NFTA_EXPR_NAME, expression.name);
    if (expression.data) {
      const size_t data = writer->BeginNest(NFTA_EXPR_DATA);
      expression.data(writer);
      writer->EndNest(data);
    }
    writer->EndNest(element);
  }
  writer->EndNest(list);
}

TestExpression Compat(std::string_view kind, std::string_view name,
                      uint32_t revision, const Bytes& info) {
  return {std::string(kind),
          [name = std::string(name), revision, info](MessageWriter* writer) {
            writer->PutString(NFTA_MATCH_NAME, name);
            writer->PutBe32(NFTA_MATCH_REV, revision);
            writer->Put(NFTA_MATCH_INFO, info);
          }};
}

}  // namespace

TestExpression Words(std::string_view name,
                     std::vector<std::pair<uint16_t, uint32_t>> attributes) {
  return {std::string(name),
          [attributes = std::move(attributes)](MessageWriter* writer) {
            for (const auto& [type, value] : attributes) {
              writer->PutBe32(type, value);
            }
          }};
}

TestExpression Raw(std::string_view name,
                   std::function<void(MessageWriter*)> data) {
  return {std::string(name), std::move(data)};
}

TestExpression Payload(uint32_t base, uint32_t offset, uint32_t length,
                       uint32_t dreg) {
  return Words("payload", {{NFTA_PAYLOAD_DREG, dreg},
                           {NFTA_PAYLOAD_BASE, base},
                           {NFTA_PAYLOAD_OFFSET, offset},
                           {NFTA_PAYLOAD_LEN, length}});
}

TestExpression PayloadSet(uint32_t base, uint32_t offset, uint32_t length,
                          uint32_t sreg, uint32_t csum_type,
                          uint32_t csum_offset, uint32_t csum_flags) {
  return Words("payload", {{NFTA_PAYLOAD_SREG, sreg},
                           {NFTA_PAYLOAD_BASE, base},
                           {NFTA_PAYLOAD_OFFSET, offset},
                           {NFTA_PAYLOAD_LEN, length},
                           {NFTA_PAYLOAD_CSUM_TYPE, csum_type},
                           {NFTA_PAYLOAD_CSUM_OFFSET, csum_offset},
                           {NFTA_PAYLOAD_CSUM_FLAGS, csum_flags}});
}

TestExpression Meta(uint32_t key, uint32_t dreg) {
  return Words("meta", {{NFTA_META_DREG, dreg}, {NFTA_META_KEY, key}});
}

TestExpression MetaSet(uint32_t key, uint32_t sreg) {
  return Words("meta", {{NFTA_META_SREG, sreg}, {NFTA_META_KEY, key}});
}

TestExpression Ct(uint32_t key, uint32_t dreg, int direction) {
  return Raw("ct", [=](MessageWriter* writer) {
    writer->PutBe32(NFTA_CT_DREG, dreg);
    writer->PutBe32(NFTA_CT_KEY, key);
    if (direction >= 0) {
      writer->PutU8(NFTA_CT_DIRECTION, static_cast<uint8_t>(direction));
    }
  });
}

TestExpression Cmp(uint32_t op, const Bytes& data, uint32_t sreg) {
  return Raw("cmp", [=](MessageWriter* writer) {
    writer->PutBe32(NFTA_CMP_SREG, sreg);
    writer->PutBe32(NFTA_CMP_OP, op);
    PutData(writer, NFTA_CMP_DATA, data);
  });
}

TestExpression Range(uint32_t op, const Bytes& from, const Bytes& to,
                     uint32_t sreg) {
  return Raw("range", [=](MessageWriter* writer) {
    writer->PutBe32(NFTA_RANGE_SREG, sreg);
    writer->PutBe32(NFTA_RANGE_OP, op);
    PutData(writer, NFTA_RANGE_FROM_DATA, from);
    PutData(writer, NFTA_RANGE_TO_DATA, to);
  });
}

TestExpression Bitwise(const Bytes& mask, const Bytes& exclusive_or,
                       uint32_t sreg, uint32_t dreg) {
  return Raw("bitwise", [=](MessageWriter* writer) {
    writer->PutBe32(NFTA_BITWISE_SREG, sreg);
    writer->PutBe32(NFTA_BITWISE_DREG, dreg);
    writer->PutBe32(NFTA_BITWISE_LEN, static_cast<uint32_t>(mask.size()));
    PutData(writer, NFTA_BITWISE_MASK, mask);
    PutData(writer, NFTA_BITWISE_XOR, exclusive_or);
  });
}

TestExpression Immediate(uint32_t dreg, const Bytes& data) {
  return Raw("immediate", [=](MessageWriter* writer) {
    writer->PutBe32(NFTA_IMMEDIATE_DREG, dreg);
    PutData(writer, NFTA_IMMEDIATE_DATA, data);
  });
}

TestExpression Verdict(int32_t code, std::string_view chain) {
  return Raw("immediate",
             [code, chain = std::string(chain)](MessageWriter* writer) {
               writer->PutBe32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
               PutVerdictData(writer, NFTA_IMMEDIATE_DATA, code, chain);
             });
}

TestExpression Counter(uint64_t packets, uint64_t bytes) {
  return Raw("counter", [=](MessageWriter* writer) {
    writer->PutBe64(NFTA_COUNTER_BYTES, bytes);
    writer->PutBe64(NFTA_COUNTER_PACKETS, packets);
  });
}

TestExpression Lookup(std::string_view set, uint32_t set_id, uint32_t sreg,
                      int dreg, bool inverted) {
  return Raw("lookup", [=, set = std::string(set)](MessageWriter* writer) {
    writer->PutString(NFTA_LOOKUP_SET, set);
    writer->PutBe32(NFTA_LOOKUP_SET_ID, set_id);
    writer->PutBe32(NFTA_LOOKUP_SREG, sreg);
    if (dreg >= 0) {
      writer->PutBe32(NFTA_LOOKUP_DREG, static_cast<uint32_t>(dreg));
    }
    if (inverted) writer->PutBe32(NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
  });
}

TestExpression XtMatchOf(std::string_view name, uint32_t revision,
                         const Bytes& info) {
  return Compat("match", name, revision, info);
}

TestExpression XtTargetOf(std::string_view name, uint32_t revision,
                          const Bytes& info) {
  return Compat("target", name, revision, info);
}

BatchBuilder::BatchBuilder(uint8_t family, uint32_t genid)
    : writer_(&bytes_), family_(family) {
  writer_.BeginMessage(NFNL_MSG_BATCH_BEGIN, NLM_F_REQUEST, seq_++, 0, 0,
                       NFNL_SUBSYS_NFTABLES);
  if (genid != 0) writer_.PutBe32(NFNL_BATCH_GENID, genid);
  writer_.EndMessage();
}

BatchBuilder& BatchBuilder::Message(
    uint16_t type, uint16_t flags,
    const std::function<void(MessageWriter*)>& attributes) {
  writer_.BeginMessage(TypeOf(type),
                       static_cast<uint16_t>(flags | NLM_F_REQUEST), seq_++, 0,
                       family_, 0);
  if (attributes) attributes(&writer_);
  writer_.EndMessage();
  return *this;
}

BatchBuilder& BatchBuilder::Table(std::string_view name, uint16_t flags) {
  return Message(NFT_MSG_NEWTABLE, static_cast<uint16_t>(flags | NLM_F_CREATE),
                 [&](MessageWriter* writer) {
                   writer->PutString(NFTA_TABLE_NAME, name);
                   writer->PutBe32(NFTA_TABLE_FLAGS, 0);
                 });
}

BatchBuilder& BatchBuilder::DeleteTable(std::string_view name) {
  return Message(NFT_MSG_DELTABLE, 0, [&](MessageWriter* writer) {
    writer->PutString(NFTA_TABLE_NAME, name);
  });
}

BatchBuilder& BatchBuilder::BaseChain(std::string_view table,
                                      std::string_view name,
                                      std::string_view type, uint32_t hook,
                                      int32_t priority, int policy,
                                      bool counters) {
  return Message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, [&](MessageWriter* writer) {
    writer->PutString(NFTA_CHAIN_TABLE, table);
    writer->PutString(NFTA_CHAIN_NAME, name);
    const size_t nest = writer->BeginNest(NFTA_CHAIN_HOOK);
    writer->PutBe32(NFTA_HOOK_HOOKNUM, hook);
    writer->PutBe32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(priority));
    writer->EndNest(nest);
    if (policy >= 0) {
      writer->PutBe32(NFTA_CHAIN_POLICY, static_cast<uint32_t>(policy));
    }
    writer->PutString(NFTA_CHAIN_TYPE, type);
    if (counters) {
      const size_t stats = writer->BeginNest(NFTA_CHAIN_COUNTERS);
      writer->PutBe64(NFTA_COUNTER_PACKETS, 3);
      writer->PutBe64(NFTA_COUNTER_BYTES, 180);
      writer->EndNest(stats);
    }
  });
}

BatchBuilder& BatchBuilder::Chain(std::string_view table, std::string_view name,
                                  uint16_t flags) {
  return Message(NFT_MSG_NEWCHAIN, static_cast<uint16_t>(flags | NLM_F_CREATE),
                 [&](MessageWriter* writer) {
                   writer->PutString(NFTA_CHAIN_TABLE, table);
                   writer->PutString(NFTA_CHAIN_NAME, name);
                 });
}

BatchBuilder& BatchBuilder::DeleteChain(std::string_view table,
                                        std::string_view name) {
  return Message(NFT_MSG_DELCHAIN, 0, [&](MessageWriter* writer) {
    writer->PutString(NFTA_CHAIN_TABLE, table);
    writer->PutString(NFTA_CHAIN_NAME, name);
  });
}

BatchBuilder& BatchBuilder::Rule(
    std::string_view table, std::string_view chain,
    const std::vector<TestExpression>& expressions) {
  return RuleAt(table, chain, NLM_F_CREATE | NLM_F_APPEND, 0, 0, expressions);
}

BatchBuilder& BatchBuilder::RuleAt(
    std::string_view table, std::string_view chain, uint16_t flags,
    uint64_t handle, uint64_t position,
    const std::vector<TestExpression>& expressions,
    std::span<const uint8_t> user_data) {
  return Message(NFT_MSG_NEWRULE, flags, [&](MessageWriter* writer) {
    writer->PutString(NFTA_RULE_TABLE, table);
    writer->PutString(NFTA_RULE_CHAIN, chain);
    if (handle != 0) writer->PutBe64(NFTA_RULE_HANDLE, handle);
    if (position != 0) writer->PutBe64(NFTA_RULE_POSITION, position);
    PutExpressions(writer, expressions);
    if (!user_data.empty()) writer->Put(NFTA_RULE_USERDATA, user_data);
  });
}

BatchBuilder& BatchBuilder::CompatRule(
    std::string_view table, std::string_view chain, uint32_t protocol,
    const std::vector<TestExpression>& expressions) {
  return Message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND,
                 [&](MessageWriter* writer) {
                   writer->PutString(NFTA_RULE_TABLE, table);
                   writer->PutString(NFTA_RULE_CHAIN, chain);
                   PutExpressions(writer, expressions);
                   const size_t nest = writer->BeginNest(NFTA_RULE_COMPAT);
                   writer->PutBe32(NFTA_RULE_COMPAT_PROTO, protocol);
                   writer->PutBe32(NFTA_RULE_COMPAT_FLAGS, 0);
                   writer->EndNest(nest);
                 });
}

BatchBuilder& BatchBuilder::DeleteRule(std::string_view table,
                                       std::string_view chain,
                                       uint64_t handle) {
  return Message(NFT_MSG_DELRULE, 0, [&](MessageWriter* writer) {
    writer->PutString(NFTA_RULE_TABLE, table);
    if (!chain.empty()) writer->PutString(NFTA_RULE_CHAIN, chain);
    if (handle != 0) writer->PutBe64(NFTA_RULE_HANDLE, handle);
  });
}

BatchBuilder& BatchBuilder::Set(std::string_view table, std::string_view name,
                                uint32_t id, uint32_t flags, uint32_t key_size,
                                uint32_t data_type, uint32_t data_size,
                                uint32_t size,
                                const std::vector<uint32_t>& fields) {
  return Message(NFT_MSG_NEWSET, NLM_F_CREATE, [&](MessageWriter* writer) {
    writer->PutString(NFTA_SET_TABLE, table);
    writer->PutString(NFTA_SET_NAME, name);
    if (flags != 0) writer->PutBe32(NFTA_SET_FLAGS, flags);
    writer->PutBe32(NFTA_SET_KEY_TYPE, 7);
    writer->PutBe32(NFTA_SET_KEY_LEN, key_size);
    if ((flags & NFT_SET_MAP) != 0) {
      writer->PutBe32(NFTA_SET_DATA_TYPE, data_type);
      if (data_size != 0) writer->PutBe32(NFTA_SET_DATA_LEN, data_size);
    }
    if ((flags & NFT_SET_OBJECT) != 0) {
      writer->PutBe32(NFTA_SET_OBJ_TYPE, data_type);
    }
    writer->PutBe32(NFTA_SET_ID, id);
    if (size != 0 || !fields.empty()) {
      const size_t desc = writer->BeginNest(NFTA_SET_DESC);
      if (size != 0) writer->PutBe32(NFTA_SET_DESC_SIZE, size);
      if (!fields.empty()) {
        const size_t concat = writer->BeginNest(NFTA_SET_DESC_CONCAT);
        for (const uint32_t field : fields) {
          const size_t nest = writer->BeginNest(NFTA_LIST_ELEM);
          writer->PutBe32(NFTA_SET_FIELD_LEN, field);
          writer->EndNest(nest);
        }
        writer->EndNest(concat);
      }
      writer->EndNest(desc);
    }
  });
}

BatchBuilder& BatchBuilder::Elements(std::string_view table,
                                     std::string_view set, uint32_t set_id,
                                     const std::vector<TestElement>& elements,
                                     bool remove, uint16_t flags) {
  return Message(
      remove ? NFT_MSG_DELSETELEM : NFT_MSG_NEWSETELEM,
      static_cast<uint16_t>(flags | (remove ? 0 : NLM_F_CREATE)),
      [&](MessageWriter* writer) {
        writer->PutString(NFTA_SET_ELEM_LIST_TABLE, table);
        writer->PutString(NFTA_SET_ELEM_LIST_SET, set);
        if (set_id != 0) writer->PutBe32(NFTA_SET_ELEM_LIST_SET_ID, set_id);
        const size_t list = writer->BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
        for (const TestElement& element : elements) {
          const size_t nest = writer->BeginNest(NFTA_LIST_ELEM);
          if (!element.key.empty()) {
            PutData(writer, NFTA_SET_ELEM_KEY, element.key);
          }
          if (!element.key_end.empty()) {
            PutData(writer, NFTA_SET_ELEM_KEY_END, element.key_end);
          }
          if (element.has_verdict) {
            PutVerdictData(writer, NFTA_SET_ELEM_DATA, element.verdict,
                           element.chain);
          } else if (!element.data.empty()) {
            PutData(writer, NFTA_SET_ELEM_DATA, element.data);
          }
          if (element.flags != 0) {
            writer->PutBe32(NFTA_SET_ELEM_FLAGS, element.flags);
          }
          if (element.timeout_ms != 0) {
            writer->PutBe64(NFTA_SET_ELEM_TIMEOUT, element.timeout_ms);
          }
          writer->EndNest(nest);
        }
        writer->EndNest(list);
      });
}

BatchBuilder& BatchBuilder::DeleteSet(std::string_view table,
                                      std::string_view name) {
  return Message(NFT_MSG_DELSET, 0, [&](MessageWriter* writer) {
    writer->PutString(NFTA_SET_TABLE, table);
    writer->PutString(NFTA_SET_NAME, name);
  });
}

BatchBuilder& BatchBuilder::Object(
    std::string_view table, std::string_view name, uint32_t type,
    const std::function<void(MessageWriter*)>& data) {
  return Message(NFT_MSG_NEWOBJ, NLM_F_CREATE, [&](MessageWriter* writer) {
    writer->PutString(NFTA_OBJ_TABLE, table);
    writer->PutString(NFTA_OBJ_NAME, name);
    writer->PutBe32(NFTA_OBJ_TYPE, type);
    const size_t nest = writer->BeginNest(NFTA_OBJ_DATA);
    if (data) data(writer);
    writer->EndNest(nest);
  });
}

BatchBuilder& BatchBuilder::DeleteObject(std::string_view table,
                                         std::string_view name, uint32_t type) {
  return Message(NFT_MSG_DELOBJ, 0, [&](MessageWriter* writer) {
    writer->PutString(NFTA_OBJ_TABLE, table);
    writer->PutString(NFTA_OBJ_NAME, name);
    writer->PutBe32(NFTA_OBJ_TYPE, type);
  });
}

Bytes BatchBuilder::Build() {
  writer_.BeginMessage(NFNL_MSG_BATCH_END, NLM_F_REQUEST | NLM_F_ACK, seq_++, 0,
                       0, NFNL_SUBSYS_NFTABLES);
  writer_.EndMessage();
  return bytes_;
}

Bytes BatchBuilder::BuildOpen() { return bytes_; }

}  // namespace nfarena::vm
