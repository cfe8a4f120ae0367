// Batches for tests, written attribute by attribute, so that a test can also
// write what no library would.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engines/vm/attribute.h"

namespace nfarena::vm {

using Bytes = std::vector<uint8_t>;

/// One expression: its name and what writes the inside of NFTA_EXPR_DATA
/// (empty: no such attribute).
struct TestExpression {
  std::string name;
  std::function<void(MessageWriter*)> data;
};

TestExpression Payload(uint32_t base, uint32_t offset, uint32_t length,
                       uint32_t dreg = 1);
TestExpression PayloadSet(uint32_t base, uint32_t offset, uint32_t length,
                          uint32_t sreg, uint32_t csum_type,
                          uint32_t csum_offset, uint32_t csum_flags);
TestExpression Meta(uint32_t key, uint32_t dreg = 1);
TestExpression MetaSet(uint32_t key, uint32_t sreg = 1);
TestExpression Ct(uint32_t key, uint32_t dreg = 1, int direction = -1);
TestExpression Cmp(uint32_t op, const Bytes& data, uint32_t sreg = 1);
TestExpression Range(uint32_t op, const Bytes& from, const Bytes& to,
                     uint32_t sreg = 1);
TestExpression Bitwise(const Bytes& mask, const Bytes& exclusive_or,
                       uint32_t sreg = 1, uint32_t dreg = 1);
TestExpression Immediate(uint32_t dreg, const Bytes& data);
TestExpression Verdict(int32_t code, std::string_view chain = "");
TestExpression Counter(uint64_t packets = 0, uint64_t bytes = 0);
TestExpression Lookup(std::string_view set, uint32_t set_id, uint32_t sreg = 1,
                      int dreg = -1, bool inverted = false);
TestExpression XtMatchOf(std::string_view name, uint32_t revision,
                         const Bytes& info);
TestExpression XtTargetOf(std::string_view name, uint32_t revision,
                          const Bytes& info);
/// An expression whose attributes are all 32 bits: pairs of type and value.
TestExpression Words(std::string_view name,
                     std::vector<std::pair<uint16_t, uint32_t>> attributes);
TestExpression Raw(std::string_view name,
                   std::function<void(MessageWriter*)> data);

struct TestElement {
  Bytes key;
  Bytes data;           // a map's value; empty: none
  int32_t verdict = 0;  // of a verdict map, with has_verdict
  bool has_verdict = false;
  std::string chain;
  uint32_t flags = 0;
  Bytes key_end;
  uint64_t timeout_ms = 0;
};

class BatchBuilder {
 public:
  /// NFPROTO_IPV4 unless said otherwise.
  explicit BatchBuilder(uint8_t family = 2, uint32_t genid = 0);

  BatchBuilder& Table(std::string_view name, uint16_t flags = 0);
  BatchBuilder& DeleteTable(std::string_view name);
  BatchBuilder& BaseChain(std::string_view table, std::string_view name,
                          std::string_view type, uint32_t hook,
                          int32_t priority, int policy = -1,
                          bool counters = false);
  BatchBuilder& Chain(std::string_view table, std::string_view name,
                      uint16_t flags = 0);
  BatchBuilder& DeleteChain(std::string_view table, std::string_view name);
  /// `flags` beside NLM_F_CREATE; NLM_F_APPEND by default.
  BatchBuilder& Rule(std::string_view table, std::string_view chain,
                     const std::vector<TestExpression>& expressions);
  BatchBuilder& RuleAt(std::string_view table, std::string_view chain,
                       uint16_t flags, uint64_t handle, uint64_t position,
                       const std::vector<TestExpression>& expressions,
                       std::span<const uint8_t> user_data = {});
  BatchBuilder& CompatRule(std::string_view table, std::string_view chain,
                           uint32_t protocol,
                           const std::vector<TestExpression>& expressions);
  BatchBuilder& DeleteRule(std::string_view table, std::string_view chain,
                           uint64_t handle);
  BatchBuilder& Set(std::string_view table, std::string_view name, uint32_t id,
                    uint32_t flags, uint32_t key_size, uint32_t data_type = 0,
                    uint32_t data_size = 0, uint32_t size = 0,
                    const std::vector<uint32_t>& fields = {});
  BatchBuilder& Elements(std::string_view table, std::string_view set,
                         uint32_t set_id,
                         const std::vector<TestElement>& elements,
                         bool remove = false, uint16_t flags = 0);
  BatchBuilder& DeleteSet(std::string_view table, std::string_view name);
  BatchBuilder& Object(std::string_view table, std::string_view name,
                       uint32_t type,
                       const std::function<void(MessageWriter*)>& data);
  BatchBuilder& DeleteObject(std::string_view table, std::string_view name,
                             uint32_t type);
  /// Any message: `attributes` writes what follows the nfgenmsg.
  BatchBuilder& Message(uint16_t type, uint16_t flags,
                        const std::function<void(MessageWriter*)>& attributes);

  /// With BATCH_END (acknowledged, so that success has an answer, too).
  Bytes Build();
  /// Without it: validation only.
  Bytes BuildOpen();
  uint32_t last_seq() const { return seq_; }

 private:
  Bytes bytes_;
  MessageWriter writer_;
  uint8_t family_;
  uint32_t seq_ = 0;
};

}  // namespace nfarena::vm
