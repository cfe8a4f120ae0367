// The ruleset of one network namespace as nf_tables keeps it: takes batches,
// gives dumps.
//
// A batch is applied message by message to the next generation while packets
// go on seeing the current one.  At its end either everything becomes current
// at once (commit: the programs of changed chains are built, then the
// generation bit flips) or every change is undone in reverse order (abort).
// So the cost of a commit is that of the chains it touched, as in the kernel,
// and an aborted batch leaves no trace but used-up handles.
// Not thread-safe; a packet must not be under way during Submit.
// Source: net/netfilter/nf_tables_api.c, nfnetlink.c.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engines/vm/attribute.h"
#include "engines/vm/counter_pool.h"
#include "engines/vm/expression.h"
#include "engines/vm/objects.h"
#include "engines/vm/set.h"
#include "engines/vm/wire.h"

namespace nfarena::vm {

struct Registers;

/// One NLMSG_ERROR the kernel would send; error 0 is an acknowledgement.
struct MessageError {
  uint32_t seq = 0;
  Errno error = 0;
  bool operator==(const MessageError&) const = default;
};

struct BatchResult {
  /// Whether the batch is in force now.
  bool committed = false;
  /// Every error, in order, and what NLM_F_ACK asked for.
  std::vector<MessageError> answers;
  /// The first error, 0 when there is none.
  Errno error() const;
};

enum class DumpKind : uint8_t { kTables, kChains, kRules, kSets, kObjects };

/// Whose dump it is: what of the headers depends on the asker.
struct DumpRequest {
  uint8_t family = 0;  // 0: all
  uint32_t seq = 0;
  uint32_t port_id = 0;
};

class ControlPlane {
 public:
  ControlPlane();
  ~ControlPlane();
  ControlPlane(const ControlPlane&) = delete;
  ControlPlane& operator=(const ControlPlane&) = delete;

  /// Takes the bytes of one sendmsg.
  BatchResult Submit(std::span<const uint8_t> batch);

  /// The messages of a GETTABLE, GETCHAIN, GETRULE, GETSET or GETOBJ dump, one
  /// after the other, without the NLMSG_DONE at the end.
  std::vector<uint8_t> Dump(DumpKind kind, const DumpRequest& request) const;
  /// GETSETELEM of one set; empty when there is no such set.
  std::vector<uint8_t> DumpElements(std::string_view table,
                                    std::string_view set,
                                    const DumpRequest& request) const;

  /// NFTA_GEN_ID: 1 at first, one more with each commit.
  uint32_t generation_id() const { return base_seq_; }

  // ---- for the packet path ----

  /// Which of a chain's two programs counts.
  unsigned cursor() const { return cursor_; }
  /// Tables in force, in order of creation.
  const std::vector<std::unique_ptr<Table>>& tables() const { return tables_; }
  const CompatUse& compat_use(uint32_t index) const {
    return compat_uses_[index];
  }
  /// Changes with every commit that adds, deletes or changes a chain.
  uint64_t topology_version() const { return topology_version_; }
  /// What compat matches may ask; nullptr: rules that would are refused.
  void set_net(NetState* net) { net_ = net; }
  NetState* net() const { return net_; }
  /// Rules in force that make the kernel track connections.
  bool needs_tracking() const { return tracking_users_ > 0; }

  /// What dynset does: a new element, nullptr when the set is full; and the
  /// removal of one.
  Element* AddDynamicElement(const DynsetCode& code, const Registers& registers,
                             uint64_t now_ms);
  void DropElement(Set* set, Element* element);
  /// 32 bits of chance, from a fixed seed so that a run can be repeated.
  uint32_t NextRandom();

  uint64_t now_ms() const { return now_ms_; }
  uint64_t now_ns() const { return now_ms_ * 1'000'000; }
  /// The clock stands still during a batch; whoever sends packets moves it.
  void set_now_ms(uint64_t now_ms) { now_ms_ = now_ms; }

  /// Bytes of the programs packets read, as large as the kernel's.
  uint64_t program_bytes() const;
  /// Bytes of the control plane's own copy of the rules.
  uint64_t control_bytes() const;
  /// Bytes of counters and other state of expressions.
  uint64_t state_bytes() const;

  // ---- for the expressions ----

  /// Objects of the next generation by name; nullptr: none.
  Chain* FindChain(Table* table, std::string_view name) const;
  Chain* FindChainById(const Table* table, uint32_t id) const;
  Set* FindSet(const Table* table, std::string_view name,
               const Attribute& id) const;
  Object* FindObject(const Table* table, std::string_view name,
                     uint32_t type) const;
  /// `owner` is the instruction that refers to the set.
  [[nodiscard]] Errno BindSet(DecodeContext* context, Set* set, bool map,
                              const void* owner);
  void ActivateSet(Set* set);
  void DeactivateSet(Set* set, const void* owner, Phase phase);
  [[nodiscard]] Errno ValidateChain(ValidateContext* context, Chain* chain);
  Counters* NewCounters() { return counters_.New(); }
  void FreeCounters(Counters* counters) { counters_.Free(counters); }
  uint32_t AddCompatUse(const CompatUse& use);
  void FreeCompatUse(uint32_t index);

 private:
  enum class ChangeKind : uint8_t {
    kNewTable,
    kUpdateTable,
    kDeleteTable,
    kNewChain,
    kUpdateChain,
    kDeleteChain,
    kNewRule,
    kDeleteRule,
    kNewSet,
    kUpdateSet,
    kDeleteSet,
    kNewElement,
    kUpdateElement,
    kDeleteElement,
    kNewObject,
    kUpdateObject,
    kDeleteObject,
  };
  /// What a chain update will set (nft_trans_chain).
  struct ChainUpdate {
    std::optional<uint32_t> policy;
    std::optional<Counters> counters;
    std::optional<std::string> name;
  };
  struct Change {
    ChangeKind kind;
    Table* table = nullptr;
    Chain* chain = nullptr;
    Rule* rule = nullptr;
    Rule* replaced = nullptr;  // kNewRule: the rule whose handle it took over
    Set* set = nullptr;
    Element* element = nullptr;
    Object* object = nullptr;
    uint32_t id = 0;                          // NFTA_*_ID of the batch
    uint64_t timeout_ms = 0, expires_ms = 0;  // updates of sets and elements
    uint32_t number = 0;  // kUpdateTable: old flags; kUpdateSet: size
    uint32_t gc_interval = 0;
    std::unique_ptr<ChainUpdate> chain_update;
    std::unique_ptr<Object> new_object;
  };

  struct MessageContext {
    const Message* message;
    AttributeTable attributes;
    uint16_t type() const { return message->type; }
    uint8_t family() const { return message->family; }
    bool has_flag(uint16_t flag) const { return (message->flags & flag) != 0; }
  };

  // One round over the messages of a batch.
  enum class Round : uint8_t { kDone, kReplay };
  Round RunBatch(const Batch& batch, BatchResult* result);
  Errno HandleMessage(const Message& message);

  // Handlers (control_plane_*.cc).
  Errno NewTable(MessageContext* context);
  Errno DeleteTables(MessageContext* context);
  Errno NewChain(MessageContext* context);
  Errno AddChain(MessageContext* context, Table* table, uint32_t policy,
                 uint32_t flags);
  Errno UpdateChain(MessageContext* context, Table* table, Chain* chain,
                    uint32_t policy, uint32_t flags);
  Errno DeleteChain(MessageContext* context);
  Errno NewRule(MessageContext* context);
  Errno BuildRule(MessageContext* context, Table* table, Chain* chain,
                  Rule** rule);
  void LinkRule(MessageContext* context, Table* table, Chain* chain, Rule* rule,
                Rule* old_rule);
  Errno DeleteRules(MessageContext* context);
  Errno NewSet(MessageContext* context);
  Errno UpdateSet(MessageContext* context, Table* table, Set* set,
                  const SetDescription& description);
  Errno DeleteSets(MessageContext* context);
  Errno NewElements(MessageContext* context);
  Errno AddElement(MessageContext* context, Table* table, Set* set,
                   std::span<const uint8_t> nested);
  Errno DeleteElements(MessageContext* context);
  Errno DeleteElement(MessageContext* context, Table* table, Set* set,
                      std::span<const uint8_t> nested);
  Errno NewObject(MessageContext* context);
  Errno DeleteObjects(MessageContext* context);

  Table* FindTable(const Attribute& name, uint8_t family, Errno* error) const;
  Chain* FindChainByHandle(const Table* table, uint64_t handle) const;
  Set* FindSetByName(const Table* table, std::string_view name) const;
  // "__set%d" takes the lowest free number.
  Errno ChooseSetName(Table* table, const std::string& pattern,
                      std::string* name) const;
  Errno DecodeExpressionBlocks(DecodeContext* context, const Attribute& one,
                               const Attribute& many, size_t limit,
                               std::vector<std::vector<uint64_t>>* blocks);
  Errno MakeObject(DecodeContext* context, ObjectType type,
                   const Attribute& data, std::vector<uint64_t>* code);

  Change& Log(ChangeKind kind, Table* table);
  Errno FlushTable(Table* table);
  Errno DeleteRule(Table* table, Chain* chain, Rule* rule);
  Errno DeleteRulesOf(Table* table, Chain* chain);
  void DeleteChainNow(Table* table, Chain* chain);
  void DeleteSetNow(Table* table, Set* set);
  void DeleteObjectNow(Table* table, Object* object);

  // Set elements.
  void HoldElement(const Set& set, Element* element);
  void ReleaseElement(const Set& set, Element* element);
  void DeactivateMap(Set* set);
  void ActivateMap(Set* set);
  void DestroyElement(std::unique_ptr<Element> element);

  // Rules and code.
  void DestroyRule(Rule* rule);
  void DestroyCode(uint8_t* code, size_t size);
  void CountTracking(uint8_t* code, size_t size, int step);
  bool CodeNeedsTracking(const Instruction& head, const uint8_t* code) const;

  // The end of a batch.
  Errno CheckUnbound() const;
  Errno ValidateTable(Table* table);
  bool ValidateChanged();
  bool Validates(const uint8_t* code, size_t size) const;
  Errno ValidateAfterChange(Table* table);
  void Commit();
  void CommitChange(Change* change);
  void Abort();
  void AbortChange(Change* change);
  void BuildProgram(Chain* chain);
  void PublishPrograms();
  void Sweep();
  void RenumberChains(Table* table);

  void DumpTable(const Table& table, const DumpRequest& request,
                 MessageWriter* writer) const;
  void DumpChain(const Table& table, const Chain& chain,
                 const DumpRequest& request, MessageWriter* writer) const;
  void DumpRules(const Table& table, const Chain& chain,
                 const DumpRequest& request, MessageWriter* writer) const;
  void DumpSet(const Table& table, const Set& set, const DumpRequest& request,
               MessageWriter* writer) const;
  void DumpElement(const Set& set, const Element& element,
                   MessageWriter* writer) const;
  void DumpObject(const Table& table, const Object& object,
                  const DumpRequest& request, MessageWriter* writer) const;

  std::vector<std::unique_ptr<Table>> tables_;
  uint64_t table_handle_ = 0;
  uint32_t base_seq_ = 1;
  unsigned cursor_ = 0;
  uint64_t now_ms_ = 0;
  uint64_t topology_version_ = 0;
  int64_t tracking_users_ = 0;

  std::vector<Change> changes_;
  Validation new_table_validation_ = Validation::kSkip;
  /// Chains whose older program is still kept, as in the kernel until the next
  /// commit.
  std::vector<Chain*> two_programs_;
  /// Removed at once when a change is settled, freed when all are.
  std::vector<Rule*> dead_rules_;
  std::vector<std::unique_ptr<Element>> dead_elements_;

  // One round of a replayed batch: has a table been found invalid?
  Errno known_invalid_ = 0;
  uint64_t validation_work_ = 0;

  uint32_t random_ = 0x9e3779b9;
  CounterPool counters_;
  std::vector<CompatUse> compat_uses_;
  NetState* net_ = nullptr;
  std::vector<uint32_t> free_compat_uses_;

  // Buffers kept from rule to rule.
  std::vector<ParsedExpression> parsed_;
};

}  // namespace nfarena::vm
