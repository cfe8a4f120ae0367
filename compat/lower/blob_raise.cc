#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "compat/lower/blob_lower.h"
#include "compat/lower/chain_order.h"

namespace nfarena {
namespace {

/// Blob -> model, for rules in iptables' form: selector, matches, count, one
/// target or verdict.
class Reader {
 public:
  Reader(const BlobView& blob, std::span<const Counters> counters)
      : blob_(blob), counters_(counters) {}

  Result<Ruleset> Run() {
    if (!counters_.empty() &&
        counters_.size() != blob_.header().counters_count) {
      return Fail(ErrorCode::kRange,
                  fmt::format("{} counters for {} slots", counters_.size(),
                              blob_.header().counters_count));
    }
    ruleset_.family = blob_.family();
    for (const BlobChain& chain : blob_.chains()) {
      RETURN_IF_ERROR(ReadChain(chain));
    }
    for (const Table& table : ruleset_.tables) {
      if (!ChainsInOrder(table)) {
        return Fail(ErrorCode::kUnsupported,
                    fmt::format("the chains of table {} are not iptables'",
                                TableName(table.kind)));
      }
    }
    return std::move(ruleset_);
  }

 private:
  template <typename... Args>
  static tl::unexpected<Error> Bad(uint32_t offset,
                                   fmt::format_string<Args...> text,
                                   Args&&... args) {
    return Fail(ErrorCode::kUnsupported,
                fmt::format("blob offset {}: {}", offset,
                            fmt::format(text, std::forward<Args>(args)...)));
  }

  Status ReadChain(const BlobChain& from) {
    if (ruleset_.tables.empty() || ruleset_.tables.back().kind != from.table) {
      if (ruleset_.table(from.table) != nullptr) {
        return Bad(from.first, "table {} is in two pieces",
                   TableName(from.table));
      }
      ruleset_.tables.push_back(Table{.kind = from.table, .chains = {}});
    }
    Chain& chain = ruleset_.tables.back().chains.emplace_back();
    chain.name = std::string(from.name);
    if (from.base) chain.hook = from.hook;
    chain.rules.reserve(from.rules_count);
    for (uint32_t at = from.first; at < from.end;) {
      const BlobRuleHead head = blob_.RuleAt(at);
      if (head.number != 0) {
        RETURN_IF_ERROR(ReadRule(at, head.size, &chain.rules.emplace_back()));
      } else {
        ReadEnd(at, head.size, &chain);
      }
      at += head.size;
    }
    return {};
  }

  Counters CountersAt(uint32_t slot) const {
    return counters_.empty() ? Counters{} : counters_[slot];
  }

  void ReadEnd(uint32_t rule, uint32_t size, Chain* chain) const {
    uint32_t at = rule + static_cast<uint32_t>(sizeof(BlobRuleHead));
    while (at < rule + size) {
      const BlobAction action = blob_.ActionAt(at, &at);
      if (!chain->hook) continue;
      if (action.op == BlobOp::kCount) {
        chain->counters = CountersAt(action.argument);
      } else {
        chain->policy = action.flags == static_cast<uint8_t>(BlobVerdict::kDrop)
                            ? Policy::kDrop
                            : Policy::kAccept;
      }
    }
  }

  /// The parts of an iptables rule, in their order.
  enum class Part : uint8_t { kSelector, kMatches, kCount, kTarget, kVerdict };

  static Part PartOf(BlobOp op) {
    switch (op) {
      case BlobOp::kMatch:
        return Part::kMatches;
      case BlobOp::kTarget:
        return Part::kTarget;
      case BlobOp::kCount:
        return Part::kCount;
      case BlobOp::kVerdict:
        return Part::kVerdict;
      default:
        return Part::kSelector;
    }
  }

  Status ReadRule(uint32_t rule, uint32_t size, Rule* out) {
    Part part = Part::kSelector;
    uint32_t seen = 0;  // ops that may come once, as bits
    uint32_t at = rule + static_cast<uint32_t>(sizeof(BlobRuleHead));
    while (at < rule + size) {
      const uint32_t here = at;
      const BlobAction action = blob_.ActionAt(at, &at);
      if (PartOf(action.op) < part) {
        return Bad(here, "{} comes too late for an iptables rule",
                   kBlobOps[static_cast<size_t>(action.op)].name);
      }
      part = PartOf(action.op);
      // Two fields may come: one for each address.
      const uint32_t bit =
          part == Part::kMatches
              ? 0
              : 1u << (static_cast<uint32_t>(action.op) +
                       (IsDestination(action) ? kBlobOpCount : 0));
      if ((seen & bit) != 0) {
        return Bad(here, "a second {} in one rule",
                   kBlobOps[static_cast<size_t>(action.op)].name);
      }
      seen |= bit;
      RETURN_IF_ERROR(ReadAction(here, action, out));
    }
    return {};
  }

  bool IsDestination(const BlobAction& action) const {
    return action.op <= BlobOp::kField16 &&
           action.argument == BlobDestinationOffset(blob_.family());
  }

  static void ReadDevice(const BlobAction& action, InterfaceTest* test) {
    std::memcpy(test->name.data(), action.parameters.data(), kBlobDeviceBytes);
    std::fill_n(test->mask.begin(), action.argument, uint8_t{0xff});
  }

  void ReadField(const BlobAction& action, Selector* selector) const {
    const size_t width = action.parameters.size() / 2;
    const bool destination = IsDestination(action);
    Address& value = destination ? selector->dst : selector->src;
    Address& mask = destination ? selector->dst_mask : selector->src_mask;
    std::memcpy(value.data(), action.parameters.data(), width);
    std::memcpy(mask.data(), action.parameters.data() + width, width);
    if ((action.flags & kBlobInvert) != 0) {
      selector->inverted |= destination ? kInvertDst : kInvertSrc;
    }
  }

  Extension ReadExtension(const BlobAction& action) const {
    const BlobExtension& x = blob_.extensions()[action.argument];
    return Extension{
        .name = std::string(x.name),
        .revision = x.revision,
        .payload = {action.parameters.begin(), action.parameters.end()},
        .user_size = static_cast<uint16_t>(action.parameters.size())};
  }

  Status ReadAction(uint32_t at, const BlobAction& action, Rule* rule) {
    Selector& selector = rule->selector;
    const auto note_inverted = [&](InvertBit bit) {
      if ((action.flags & kBlobInvert) != 0) selector.inverted |= bit;
    };
    switch (action.op) {
      case BlobOp::kField4:
      case BlobOp::kField16:
        ReadField(action, &selector);
        return {};
      case BlobOp::kIn:
        ReadDevice(action, &selector.in);
        note_inverted(kInvertIn);
        return {};
      case BlobOp::kOut:
        ReadDevice(action, &selector.out);
        note_inverted(kInvertOut);
        return {};
      case BlobOp::kProtocol:
        selector.protocol = static_cast<uint16_t>(action.argument);
        note_inverted(kInvertProtocol);
        return {};
      case BlobOp::kFragment:
        selector.fragment = action.argument != 0;
        note_inverted(kInvertFragment);
        return {};
      case BlobOp::kMatch:
        rule->matches.push_back(ReadExtension(action));
        return {};
      case BlobOp::kTarget:
        rule->target.kind = TargetKind::kExtension;
        rule->target.extension = ReadExtension(action);
        return {};
      case BlobOp::kCount:
        rule->counters = CountersAt(action.argument);
        return {};
      case BlobOp::kVerdict:
        return ReadVerdict(at, action, &rule->target);
    }
    return Bad(at, "unknown action");
  }

  Status ReadVerdict(uint32_t at, const BlobAction& action, Target* target) {
    static constexpr TargetKind kKinds[kBlobVerdictCount] = {
        TargetKind::kNone,  TargetKind::kAccept, TargetKind::kDrop,
        TargetKind::kQueue, TargetKind::kReturn, TargetKind::kJump,
        TargetKind::kGoto};
    const TargetKind kind = kKinds[action.flags];
    if (target->kind == TargetKind::kExtension) {
      if (kind == TargetKind::kNone) return {};
      return Bad(at, "a target and a verdict in one rule");
    }
    target->kind = kind;
    if (kind == TargetKind::kJump || kind == TargetKind::kGoto) {
      target->chain = std::string(blob_.chains()[action.argument].name);
    }
    return {};
  }

  const BlobView& blob_;
  std::span<const Counters> counters_;
  Ruleset ruleset_;
};

}  // namespace

Result<Ruleset> RaiseBlob(const BlobView& blob,
                          std::span<const Counters> counters) {
  return Reader(blob, counters).Run();
}

}  // namespace nfarena
