// Lowers rules and puts them, with their sets and notes, into a batch.
#pragma once

#include "compat/lower/nft_batch.h"
#include "compat/lower/nft_lowering.h"
#include "compat/lower/nft_message.h"

namespace nfarena::nft {

class RuleWriter {
 public:
  /// The three outlive the writer.
  RuleWriter(const NftOptions& options, MessageWriter* writer, NftBatch* batch)
      : options_(options), writer_(writer), batch_(batch) {}

  /// `chain` is the name the kernel knows it by; `ref` is what the batch calls
  /// the rule.
  [[nodiscard]] Status Add(const Rule& rule, const std::string& chain,
                           const RuleContext& context, const RulePlace& place,
                           const RuleRef& ref);

 private:
  const NftOptions& options_;
  MessageWriter* writer_;
  NftBatch* batch_;
  LoweredRule lowered_;  // kept for its memory
  uint32_t next_set_id_ = 1;
};

}  // namespace nfarena::nft
