#include "compat/lower/nft_rule_writer.h"

namespace nfarena::nft {

Status RuleWriter::Add(const Rule& rule, const std::string& chain,
                       const RuleContext& context, const RulePlace& place,
                       const RuleRef& ref) {
  RETURN_IF_ERROR(LowerRule(rule, context, options_, &next_set_id_, &lowered_));
  const char* table = TableName(context.table);
  for (const AnonymousSet& set : lowered_.sets) {
    RETURN_IF_ERROR(writer_->AddSet(table, set));
  }
  const RuleMessage message{
      .table = table,
      .chain = chain.c_str(),
      .place = place,
      .exprs = lowered_.exprs,
      .comment = lowered_.comment,
      .compat = lowered_.compat,
      .protocol = static_cast<uint8_t>(rule.selector.protocol),
      .protocol_inverted = (rule.selector.inverted & kInvertProtocol) != 0};
  if (auto added = writer_->AddRule(message); !added) {
    added.error().place = PlaceOf(rule);
    return added;
  }
  batch_->rules.push_back(ref);
  if (!lowered_.reason.empty()) {
    batch_->notes.push_back({ref, lowered_.carried, lowered_.reason});
  }
  return {};
}

}  // namespace nfarena::nft
