#include "engines/blob/blob_program.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <string>

#include "compat/model/huge_pages.h"

namespace nfarena {
namespace {

constexpr uint32_t kRuleHead = sizeof(BlobRuleHead);
constexpr uint32_t kActionHead = sizeof(BlobActionHead);
/// A state is preceded by its lock, and aligned as the largest scalar.
constexpr uint32_t kLockBytes = 8;

auto Refuse(uint32_t offset, int errno_value, const std::string& message,
            ErrorCode code = ErrorCode::kUnsupported) {
  return Fail(code, fmt::format("blob offset {}: {}", offset, message), {},
              errno_value);
}

}  // namespace

class BlobLoader {
 public:
  BlobLoader(BlobProgram* program, BlobFault* fault)
      : program_(*program), fault_(*fault) {}

  Status Run(std::span<const uint8_t> bytes, NetState* net) {
    ReserveOnHugePages(&program_.bytes_, bytes.size());
    program_.bytes_.assign(bytes.begin(), bytes.end());
    program_.net_ = net;
    ASSIGN_OR_RETURN(program_.view_, BlobView::Parse(program_.bytes_));
    PlaceEntries();
    const std::vector<uint8_t> hooks = program_.view_.HookMasks();
    size_t rule = 0;
    for (uint32_t c = 0; c < program_.chains().size(); ++c) {
      const BlobChain& chain = program_.chains()[c];
      program_.end_rules_.push_back(chain.first);
      for (uint32_t at = chain.first; at < chain.end;) {
        const BlobRuleHead head = program_.view_.RuleAt(at);
        program_.end_rules_.back() = at;
        fault_.chain = c;
        fault_.rule = head.number;
        RETURN_IF_ERROR(BindRule(at, head.size, chain.table, hooks[rule++]));
        at += head.size;
      }
    }
    return {};
  }

 private:
  void PlaceEntries() {
    for (const BlobSection& section : program_.view_.sections()) {
      const auto t = static_cast<size_t>(section.table);
      const auto h = static_cast<size_t>(section.hook);
      program_.entries_[t][h] = program_.chains()[section.chain].first;
      program_.entry_chains_[t][h] = section.chain;
    }
    std::array<uint32_t, kTableKindCount> next{};
    for (const BlobChain& chain : program_.chains()) {
      program_.chain_index_.push_back(next[static_cast<size_t>(chain.table)]++);
    }
  }

  /// What the extensions of a rule may want to know about it.
  XtUse UseOf(uint32_t rule, uint32_t size, TableKind table, uint8_t hooks) {
    XtUse use;
    use.family = program_.family();
    use.table = table;
    use.hook_mask = hooks;
    use.net = program_.net_;
    use.holds = &program_.holds_;
    use.holds = &program_.holds_;
    use.wants_syn = false;
    for (uint32_t at = rule + kRuleHead; at < rule + size;) {
      const BlobAction action = program_.view_.ActionAt(at, &at);
      if (action.op == BlobOp::kProtocol) {
        use.protocol = static_cast<uint16_t>(action.argument);
        use.protocol_inverted = (action.flags & kBlobInvert) != 0;
      } else if (action.op == BlobOp::kMatch &&
                 XtWantsSyn(program_.view_.extensions()[action.argument].name,
                            action.parameters)) {
        use.wants_syn = true;
      }
    }
    return use;
  }

  Status BindRule(uint32_t rule, uint32_t size, TableKind table,
                  uint8_t hooks) {
    std::optional<XtUse> use;
    fault_.extension = 0;
    for (uint32_t at = rule + kRuleHead; at < rule + size;) {
      const uint32_t here = at;
      const BlobAction action = program_.view_.ActionAt(at, &at);
      if (action.op != BlobOp::kMatch && action.op != BlobOp::kTarget) {
        continue;
      }
      if (!use) use = UseOf(rule, size, table, hooks);
      fault_.known = true;
      RETURN_IF_ERROR(BindAction(here, action, *use));
      fault_.known = false;
      ++fault_.extension;
    }
    return {};
  }

  Status BindAction(uint32_t at, const BlobAction& action, const XtUse& use) {
    const BlobExtension& x = program_.view_.extensions()[action.argument];
    BlobUse bound{};
    bound.extension = action.argument;
    if (x.kind == BlobExtensionKind::kMatch) {
      const XtMatch* match = FindXtMatch(use.family, x.name, x.revision);
      if (match == nullptr) return NotKnown(at, "match", x);
      RETURN_IF_ERROR(Check(at, "match", *match, action, use));
      bound.match = match->match;
      return Bind(at, bound, match->state);
    }
    const XtTarget* target = FindXtTarget(use.family, x.name, x.revision);
    if (target == nullptr) return NotKnown(at, "target", x);
    RETURN_IF_ERROR(Check(at, "target", *target, action, use));
    bound.target = target->target;
    return Bind(at, bound, target->state);
  }

  static Status NotKnown(uint32_t at, const char* what,
                         const BlobExtension& x) {
    return Refuse(at, ENOENT,
                  fmt::format("{} '{}' revision {} is not known to this engine",
                              what, x.name, x.revision));
  }

  template <typename X>
  static Status Check(uint32_t at, const char* what, const X& x,
                      const BlobAction& action, const XtUse& use) {
    const size_t wanted =
        (x.payload_size + kBlobAlign - 1) / kBlobAlign * kBlobAlign;
    if (action.parameters.size() != wanted) {
      return Refuse(at, EINVAL,
                    fmt::format("{} {} with {} bytes, not {}", what, x.name,
                                action.parameters.size(), wanted),
                    ErrorCode::kRange);
    }
    if (x.check == nullptr) return {};
    Status checked = x.check(action.parameters.first(x.payload_size), use);
    if (checked) return {};
    Error error = checked.error();
    error.message = fmt::format("blob offset {}: {} {}: {}", at, what, x.name,
                                error.message);
    if (error.errno_value == 0) error.errno_value = EINVAL;
    return tl::unexpected<Error>(std::move(error));
  }

  Status Bind(uint32_t at, BlobUse use, const XtStateLayout& state) {
    use.state_offset = kBlobNoState;
    uint32_t index = static_cast<uint32_t>(program_.uses_.size());
    if (state.bytes != 0) {
      const uint64_t end =
          uint64_t{program_.state_bytes_} + kLockBytes +
          (state.bytes + kBlobAlign - 1) / kBlobAlign * kBlobAlign;
      if (end >= kBlobNoState) {
        return Refuse(at, ENOMEM, "match state of over 4 GiB",
                      ErrorCode::kRange);
      }
      use.state_offset = program_.state_bytes_;
      program_.states_.push_back(
          {&state, at + kActionHead, program_.state_bytes_});
      program_.state_bytes_ = static_cast<uint32_t>(end);
    } else {
      shared_.resize(program_.view_.extensions().size());
      std::optional<uint32_t>& known = shared_[use.extension];
      if (known) {
        index = *known;
      } else {
        known = index;
      }
    }
    if (index == program_.uses_.size()) program_.uses_.push_back(use);
    std::memcpy(
        program_.bytes_.data() + at + offsetof(BlobActionHead, argument),
        &index, sizeof(index));
    return {};
  }

  BlobProgram& program_;
  BlobFault& fault_;
  std::vector<std::optional<uint32_t>> shared_;  // by extension
};

Result<std::unique_ptr<const BlobProgram>> BlobProgram::Load(
    std::span<const uint8_t> bytes, NetState* net, BlobFault* fault) {
  auto program = std::make_unique<BlobProgram>();
  RETURN_IF_ERROR(BlobLoader(program.get(), fault).Run(bytes, net));
  return std::unique_ptr<const BlobProgram>(std::move(program));
}

std::vector<uint8_t> BlobProgram::ToBlob() const {
  std::vector<uint8_t> blob = bytes_;
  for (const BlobChain& chain : view_.chains()) {
    for (uint32_t rule = chain.first; rule < chain.end;) {
      const uint32_t end = rule + view_.RuleAt(rule).size;
      for (uint32_t at = rule + kRuleHead; at < end;) {
        const uint32_t here = at;
        const BlobAction action = view_.ActionAt(at, &at);
        if (action.op != BlobOp::kMatch && action.op != BlobOp::kTarget) {
          continue;
        }
        const uint32_t extension = uses_[action.argument].extension;
        std::memcpy(blob.data() + here + offsetof(BlobActionHead, argument),
                    &extension, sizeof(extension));
      }
      rule = end;
    }
  }
  return blob;
}

}  // namespace nfarena
