#include "compat/lower/nft_batch.h"

#include "compat/lower/nft_chains.h"
#include "compat/lower/nft_lowering.h"
#include "compat/lower/nft_message.h"
#include "compat/lower/nft_rule_writer.h"

namespace nfarena {
namespace {

using nft::MessageWriter;

constexpr uint32_t kFirstSeq = 1;
/// What a rule and a chain take, about; only to reserve.
constexpr size_t kRuleBytes = 448;
constexpr size_t kChainBytes = 160;
/// NFT_MSG_NEWRULE messages cannot be counted higher than a sequence number.
constexpr size_t kMaxRules = size_t{1} << 31;

class RulesetLowering {
 public:
  RulesetLowering(const Ruleset& ruleset, const NftOptions& options)
      : ruleset_(ruleset),
        keep_other_tables_(options.keep_other_tables),
        writer_(ruleset.family, kFirstSeq),
        rules_(options, &writer_, &batch_) {}

  Result<NftBatch> Run(uint32_t genid) {
    size_t chains = 0;
    for (const Table& table : ruleset_.tables) chains += table.chains.size();
    const size_t rules = ruleset_.rules_count();
    if (rules > kMaxRules) return Fail(ErrorCode::kRange, "too many rules");
    writer_.Reserve(rules * kRuleBytes + chains * kChainBytes);
    batch_.rules.reserve(rules);

    writer_.BeginBatch(genid);
    for (size_t i = 0; i < kTableKindCount; ++i) {
      const auto kind = static_cast<TableKind>(i);
      if (keep_other_tables_ && ruleset_.table(kind) == nullptr) continue;
      // Deleting what is not there is an error, adding what is there is none.
      writer_.AddTable(TableName(kind));
      writer_.DeleteTable(TableName(kind));
    }
    for (const Table& table : ruleset_.tables) RETURN_IF_ERROR(AddTable(table));
    writer_.EndBatch();

    batch_.first_seq = kFirstSeq;
    batch_.messages = writer_.messages();
    batch_.bytes = writer_.Take();
    return std::move(batch_);
  }

 private:
  Status AddTable(const Table& table) {
    ASSIGN_OR_RETURN(const std::vector<uint8_t> hooks, nft::CheckChains(table));
    const char* name = TableName(table.kind);
    writer_.AddTable(name);
    for (const Chain& chain : table.chains) {
      nft::ChainMessage message{
          .table = name, .name = chain.name, .kind = table.kind};
      if (chain.hook) {
        message.hook = chain.hook;
        message.policy = chain.policy;
        // Named even when zero: without them the policy counts nothing.
        message.counters = chain.counters;
      }
      RETURN_IF_ERROR(writer_.AddChain(message));
    }
    for (size_t i = 0; i < table.chains.size(); ++i) {
      const nft::RuleContext context{.family = ruleset_.family,
                                     .table = table.kind,
                                     .hook_mask = hooks[i]};
      RETURN_IF_ERROR(
          AddRules(table.chains[i], static_cast<uint32_t>(i), context));
    }
    return {};
  }

  Status AddRules(const Chain& chain, uint32_t chain_index,
                  const nft::RuleContext& context) {
    RuleRef ref{context.table, chain_index, 0};
    for (const Rule& rule : chain.rules) {
      ++ref.rule;
      RETURN_IF_ERROR(rules_.Add(rule, chain.name, context, {}, ref));
    }
    return {};
  }

  const Ruleset& ruleset_;
  bool keep_other_tables_;
  MessageWriter writer_;
  NftBatch batch_;
  nft::RuleWriter rules_;
};

}  // namespace

Result<NftBatch> LowerNftRuleset(const Ruleset& ruleset,
                                 const NftOptions& options, uint32_t genid) {
  return RulesetLowering(ruleset, options).Run(genid);
}

}  // namespace nfarena
