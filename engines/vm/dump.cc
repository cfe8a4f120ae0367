// Dumps: the same attributes in the same order as the kernel's.
// Source: net/netfilter/nf_tables_api.c, nf_tables_fill_*_info().
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include "engines/vm/control_plane.h"

namespace nfarena::vm {
namespace {

constexpr uint16_t MessageType(uint16_t message) {
  return static_cast<uint16_t>(NFNL_SUBSYS_NFTABLES << 8 | message);
}

}  // namespace

std::vector<uint8_t> ControlPlane::Dump(DumpKind kind,
                                        const DumpRequest& request) const {
  std::vector<uint8_t> out;
  MessageWriter writer(&out);
  for (const auto& table : tables_) {
    if (request.family != NFPROTO_UNSPEC && request.family != table->family) {
      continue;
    }
    switch (kind) {
      case DumpKind::kTables:
        DumpTable(*table, request, &writer);
        break;
      case DumpKind::kChains:
        for (const auto& chain : table->chains) {
          DumpChain(*table, *chain, request, &writer);
        }
        break;
      case DumpKind::kRules:
        for (const auto& chain : table->chains) {
          DumpRules(*table, *chain, request, &writer);
        }
        break;
      case DumpKind::kSets:
        for (const auto& set : table->sets) {
          DumpSet(*table, *set, request, &writer);
        }
        break;
      case DumpKind::kObjects:
        for (const auto& object : table->objects) {
          DumpObject(*table, *object, request, &writer);
        }
        break;
    }
  }
  return out;
}

void ControlPlane::DumpTable(const Table& table, const DumpRequest& request,
                             MessageWriter* writer) const {
  writer->BeginMessage(MessageType(NFT_MSG_NEWTABLE), NLM_F_MULTI, request.seq,
                       request.port_id, table.family,
                       static_cast<uint16_t>(base_seq_));
  writer->PutString(NFTA_TABLE_NAME, table.name);
  writer->PutBe32(NFTA_TABLE_USE, table.use);
  writer->PutBe64(NFTA_TABLE_HANDLE, table.handle);
  writer->PutBe32(NFTA_TABLE_FLAGS, table.flags);
  if (!table.user_data.empty()) {
    writer->Put(NFTA_TABLE_USERDATA, table.user_data);
  }
  writer->EndMessage();
}

void ControlPlane::DumpChain(const Table& table, const Chain& chain,
                             const DumpRequest& request,
                             MessageWriter* writer) const {
  writer->BeginMessage(MessageType(NFT_MSG_NEWCHAIN), NLM_F_MULTI, request.seq,
                       request.port_id, table.family,
                       static_cast<uint16_t>(base_seq_));
  writer->PutString(NFTA_CHAIN_TABLE, table.name);
  writer->PutString(NFTA_CHAIN_NAME, chain.name);
  writer->PutBe64(NFTA_CHAIN_HANDLE, chain.handle);
  if (chain.base) {
    const BaseChain& base = *chain.base;
    const size_t hook = writer->BeginNest(NFTA_CHAIN_HOOK);
    writer->PutBe32(NFTA_HOOK_HOOKNUM, base.hook);
    writer->PutBe32(NFTA_HOOK_PRIORITY, static_cast<uint32_t>(base.priority));
    writer->EndNest(hook);
    writer->PutBe32(NFTA_CHAIN_POLICY, base.policy);
    writer->PutString(NFTA_CHAIN_TYPE, ChainTypeName(base.type));
    if (base.counted) {
      const size_t counters = writer->BeginNest(NFTA_CHAIN_COUNTERS);
      writer->PutBe64(NFTA_COUNTER_PACKETS, base.counters.packets);
      writer->PutBe64(NFTA_COUNTER_BYTES, base.counters.bytes);
      writer->EndNest(counters);
    }
  }
  if (chain.flags != 0) writer->PutBe32(NFTA_CHAIN_FLAGS, chain.flags);
  writer->PutBe32(NFTA_CHAIN_USE, chain.use);
  if (!chain.user_data.empty()) {
    writer->Put(NFTA_CHAIN_USERDATA, chain.user_data);
  }
  writer->EndMessage();
}

void ControlPlane::DumpRules(const Table& table, const Chain& chain,
                             const DumpRequest& request,
                             MessageWriter* writer) const {
  const DumpContext context{.control = this, .now_ms = now_ms_};
  const Rule* previous = nullptr;
  for (const Rule* rule = chain.first; rule != nullptr;
       rule = rule->following) {
    writer->BeginMessage(
        MessageType(NFT_MSG_NEWRULE), NLM_F_MULTI | NLM_F_APPEND, request.seq,
        request.port_id, table.family, static_cast<uint16_t>(base_seq_));
    writer->PutString(NFTA_RULE_TABLE, table.name);
    writer->PutString(NFTA_RULE_CHAIN, chain.name);
    writer->PutBe64(NFTA_RULE_HANDLE, rule->handle);
    if (previous != nullptr) {
      writer->PutBe64(NFTA_RULE_POSITION, previous->handle);
    }
    const size_t list = writer->BeginNest(NFTA_RULE_EXPRESSIONS);
    ForEachInstruction(const_cast<uint8_t*>(rule->code()), rule->code_size,
                       [&context, writer](uint8_t* code) {
                         const size_t nest = writer->BeginNest(NFTA_LIST_ELEM);
                         DumpExpression(context, code, writer);
                         writer->EndNest(nest);
                       });
    writer->EndNest(list);
    if (rule->user_size != 0) {
      writer->Put(NFTA_RULE_USERDATA, {rule->user_data(), rule->user_size});
    }
    writer->EndMessage();
    previous = rule;
  }
}

void ControlPlane::DumpSet(const Table& table, const Set& set,
                           const DumpRequest& request,
                           MessageWriter* writer) const {
  const SetDescription& d = set.d;
  writer->BeginMessage(MessageType(NFT_MSG_NEWSET), NLM_F_MULTI, request.seq,
                       request.port_id, table.family,
                       static_cast<uint16_t>(base_seq_));
  writer->PutString(NFTA_SET_TABLE, table.name);
  writer->PutString(NFTA_SET_NAME, set.name);
  writer->PutBe64(NFTA_SET_HANDLE, set.handle);
  if (d.flags != 0) writer->PutBe32(NFTA_SET_FLAGS, d.flags);
  writer->PutBe32(NFTA_SET_KEY_TYPE, d.key_type);
  writer->PutBe32(NFTA_SET_KEY_LEN, d.key_size);
  if ((d.flags & NFT_SET_MAP) != 0) {
    writer->PutBe32(NFTA_SET_DATA_TYPE, d.data_type);
    writer->PutBe32(NFTA_SET_DATA_LEN, d.data_size);
  }
  if ((d.flags & NFT_SET_OBJECT) != 0) {
    writer->PutBe32(NFTA_SET_OBJ_TYPE, d.object_type);
  }
  if (d.timeout_ms != 0) writer->PutBe64(NFTA_SET_TIMEOUT, d.timeout_ms);
  if (d.gc_interval != 0) {
    writer->PutBe32(NFTA_SET_GC_INTERVAL, d.gc_interval);
  }
  if (d.policy != NFT_SET_POL_PERFORMANCE) {
    writer->PutBe32(NFTA_SET_POLICY, d.policy);
  }
  if (!set.user_data.empty()) writer->Put(NFTA_SET_USERDATA, set.user_data);
  const size_t desc = writer->BeginNest(NFTA_SET_DESC);
  if (d.size != 0) writer->PutBe32(NFTA_SET_DESC_SIZE, d.size);
  if (d.field_sizes.size() > 1) {
    const size_t concat = writer->BeginNest(NFTA_SET_DESC_CONCAT);
    for (const uint8_t size : d.field_sizes) {
      const size_t field = writer->BeginNest(NFTA_LIST_ELEM);
      writer->PutBe32(NFTA_SET_FIELD_LEN, size);
      writer->EndNest(field);
    }
    writer->EndNest(concat);
  }
  writer->EndNest(desc);
  const DumpContext context{.control = this, .now_ms = now_ms_};
  const auto dump_block = [&](const std::vector<uint64_t>& block) {
    DumpExpression(context, reinterpret_cast<const uint8_t*>(block.data()),
                   writer);
  };
  if (set.expressions.size() == 1) {
    const size_t nest = writer->BeginNest(NFTA_SET_EXPR);
    dump_block(set.expressions[0]);
    writer->EndNest(nest);
  } else if (set.expressions.size() > 1) {
    const size_t list = writer->BeginNest(NFTA_SET_EXPRESSIONS);
    for (const auto& block : set.expressions) {
      const size_t nest = writer->BeginNest(NFTA_LIST_ELEM);
      dump_block(block);
      writer->EndNest(nest);
    }
    writer->EndNest(list);
  }
  writer->EndMessage();
}

std::vector<uint8_t> ControlPlane::DumpElements(
    std::string_view table_name, std::string_view set_name,
    const DumpRequest& request) const {
  std::vector<uint8_t> out;
  for (const auto& table : tables_) {
    if (table->family != request.family || table->name != table_name) continue;
    const Set* set = FindSetByName(table.get(), set_name);
    if (set == nullptr) continue;
    MessageWriter writer(&out);
    writer.BeginMessage(MessageType(NFT_MSG_NEWSETELEM), NLM_F_MULTI,
                        request.seq, request.port_id, table->family,
                        static_cast<uint16_t>(base_seq_));
    writer.PutString(NFTA_SET_ELEM_LIST_TABLE, table->name);
    writer.PutString(NFTA_SET_ELEM_LIST_SET, set->name);
    size_t list = writer.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
    for (const Element* element : set->Walk()) {
      if (!element->active.now || element->Expired(now_ms_)) continue;
      // A nest holds 64 KiB; the kernel too goes on in another message.
      constexpr size_t kNestLimit = 32 * 1024;
      if (out.size() - list > kNestLimit) {
        writer.EndNest(list);
        writer.EndMessage();
        writer.BeginMessage(MessageType(NFT_MSG_NEWSETELEM), NLM_F_MULTI,
                            request.seq, request.port_id, table->family,
                            static_cast<uint16_t>(base_seq_));
        writer.PutString(NFTA_SET_ELEM_LIST_TABLE, table->name);
        writer.PutString(NFTA_SET_ELEM_LIST_SET, set->name);
        list = writer.BeginNest(NFTA_SET_ELEM_LIST_ELEMENTS);
      }
      DumpElement(*set, *element, &writer);
    }
    writer.EndNest(list);
    writer.EndMessage();
    break;
  }
  return out;
}

void ControlPlane::DumpElement(const Set& set, const Element& element,
                               MessageWriter* writer) const {
  const DumpContext context{.control = this, .now_ms = now_ms_};
  const size_t nest = writer->BeginNest(NFTA_LIST_ELEM);
  if (!element.catchall) {
    PutValue(writer, NFTA_SET_ELEM_KEY, element.key.data(), set.d.key_size);
  }
  if (element.has_key_end) {
    PutValue(writer, NFTA_SET_ELEM_KEY_END, element.key_end.data(),
             set.d.key_size);
  }
  if (element.has_data) {
    if (set.is_verdict_map()) {
      PutVerdict(writer, NFTA_SET_ELEM_DATA, element.verdict);
    } else {
      PutValue(writer, NFTA_SET_ELEM_DATA, element.data.data(),
               set.d.data_size);
    }
  }
  auto* code = const_cast<uint8_t*>(element.instructions());
  const size_t code_size = element.code.size() * sizeof(uint64_t);
  if (element.expressions_count == 1) {
    const size_t expression = writer->BeginNest(NFTA_SET_ELEM_EXPR);
    DumpExpression(context, code, writer);
    writer->EndNest(expression);
  } else if (element.expressions_count > 1) {
    const size_t list = writer->BeginNest(NFTA_SET_ELEM_EXPRESSIONS);
    ForEachInstruction(code, code_size, [&](uint8_t* at) {
      const size_t expression = writer->BeginNest(NFTA_LIST_ELEM);
      DumpExpression(context, at, writer);
      writer->EndNest(expression);
    });
    writer->EndNest(list);
  }
  if (element.object != nullptr) {
    writer->PutString(NFTA_SET_ELEM_OBJREF, element.object->name);
  }
  if (element.flags != 0) {
    writer->PutBe32(NFTA_SET_ELEM_FLAGS, element.flags);
  }
  if (element.has_timeout) {
    if (element.timeout_ms != set.d.timeout_ms) {
      writer->PutBe64(NFTA_SET_ELEM_TIMEOUT, element.timeout_ms);
    }
    if (element.timeout_ms > 0) {
      writer->PutBe64(
          NFTA_SET_ELEM_EXPIRATION,
          element.expires_ms > now_ms_ ? element.expires_ms - now_ms_ : 0);
    }
  }
  if (!element.user_data.empty()) {
    writer->Put(NFTA_SET_ELEM_USERDATA, element.user_data);
  }
  writer->EndNest(nest);
}

void ControlPlane::DumpObject(const Table& table, const Object& object,
                              const DumpRequest& request,
                              MessageWriter* writer) const {
  const DumpContext context{.control = this, .now_ms = now_ms_};
  writer->BeginMessage(MessageType(NFT_MSG_NEWOBJ), NLM_F_MULTI | NLM_F_APPEND,
                       request.seq, request.port_id, table.family,
                       static_cast<uint16_t>(base_seq_));
  writer->PutString(NFTA_OBJ_TABLE, table.name);
  writer->PutString(NFTA_OBJ_NAME, object.name);
  writer->PutBe32(NFTA_OBJ_TYPE, static_cast<uint32_t>(object.type));
  writer->PutBe64(NFTA_OBJ_HANDLE, object.handle);
  writer->PutBe32(NFTA_OBJ_USE, object.use);
  const size_t data = writer->BeginNest(NFTA_OBJ_DATA);
  DumpExpressionData(context, object.instruction(), writer);
  writer->EndNest(data);
  if (!object.user_data.empty()) {
    writer->Put(NFTA_OBJ_USERDATA, object.user_data);
  }
  writer->EndMessage();
}

}  // namespace nfarena::vm
