#include "compat/lower/blob_lower.h"

#include <fmt/format.h>

#include <array>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>

#include "compat/model/huge_pages.h"

namespace nfarena {
namespace {

constexpr size_t kMaxChainName = 255;
constexpr size_t kMaxExtensionName = 28;
constexpr size_t kMaxPayload = 65520;
/// A rule with an address, a protocol, one small match, a count and a verdict.
constexpr size_t kTypicalRuleBytes = 72;

size_t Aligned(size_t bytes) {
  return (bytes + kBlobAlign - 1) / kBlobAlign * kBlobAlign;
}

SourcePlace PlaceOf(const Rule& rule, uint32_t column = 0,
                    std::string text = {}) {
  return SourcePlace{
      .file = {}, .line = rule.line, .column = column, .text = std::move(text)};
}

/// How many bytes of the name count; nullopt when the mask is no prefix.
std::optional<uint32_t> PrefixBytes(const InterfaceTest& test) {
  uint32_t count = 0;
  while (count < test.mask.size() && test.mask[count] == 0xff) ++count;
  for (size_t i = count; i < test.mask.size(); ++i) {
    if (test.mask[i] != 0) return std::nullopt;
  }
  return count;
}

/// The order in which a hook enters its tables: nat translates destinations
/// before filter and sources after security.
/// Source: enum nf_ip_hook_priorities.
std::array<TableKind, kTableKindCount> SectionOrder(Hook hook) {
  using enum TableKind;
  if (hook == Hook::kPrerouting || hook == Hook::kOutput) {
    return {kRaw, kMangle, kNat, kFilter, kSecurity};
  }
  return {kRaw, kMangle, kFilter, kSecurity, kNat};
}

BlobVerdict VerdictOf(TargetKind kind) {
  switch (kind) {
    case TargetKind::kNone:
    case TargetKind::kExtension:
      return BlobVerdict::kContinue;
    case TargetKind::kAccept:
      return BlobVerdict::kAccept;
    case TargetKind::kDrop:
      return BlobVerdict::kDrop;
    case TargetKind::kQueue:
      return BlobVerdict::kQueue;
    case TargetKind::kReturn:
      return BlobVerdict::kReturn;
    case TargetKind::kJump:
      return BlobVerdict::kJump;
    case TargetKind::kGoto:
      return BlobVerdict::kGoto;
  }
  return BlobVerdict::kContinue;
}

/// Writes the blob from front to back; chain records are filled in when their
/// rules are there, the header at the end.
class Writer {
 public:
  Writer(const Ruleset& ruleset, const BlobOptions& options)
      : ruleset_(ruleset), options_(options) {}

  Result<BlobImage> Run() {
    header_.magic = kBlobMagic;
    header_.version = kBlobVersion;
    header_.family = ruleset_.family == Family::kIpv4 ? 4 : 6;
    RETURN_IF_ERROR(PlaceChains());
    PlaceSections();
    header_.rules_offset = Offset();
    uint32_t index = 0;
    for (const Table& table : ruleset_.tables) {
      first_chain_ = index;
      NameUserChains(table);
      for (const Chain& chain : table.chains) {
        RETURN_IF_ERROR(WriteChain(chain, index++));
      }
    }
    WriteExtensions();
    WriteNames();
    return Finish();
  }

 private:
  uint32_t Offset() const { return static_cast<uint32_t>(out().size()); }
  std::vector<uint8_t>& out() { return image_.bytes; }
  const std::vector<uint8_t>& out() const { return image_.bytes; }

  template <typename T>
  void Append(const T& value) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    out().insert(out().end(), bytes, bytes + sizeof(value));
  }

  template <typename T>
  void Put(size_t offset, const T& value) {
    std::memcpy(out().data() + offset, &value, sizeof(value));
  }

  Status PlaceChains() {
    size_t chains = 0;
    for (const Table& table : ruleset_.tables) chains += table.chains.size();
    header_.chains_count = static_cast<uint32_t>(chains);
    header_.chains_offset = sizeof(BlobHeader);
    const size_t bytes = sizeof(BlobHeader) + chains * sizeof(BlobChainRecord);
    ReserveOnHugePages(&out(), bytes +
                                   ruleset_.rules_count() * kTypicalRuleBytes +
                                   chains * kTypicalRuleBytes + 4096);
    out().resize(bytes);
    uint32_t index = 0;
    for (const Table& table : ruleset_.tables) {
      for (const Chain& chain : table.chains) {
        if (chain.name.empty() || chain.name.size() > kMaxChainName) {
          return Fail(ErrorCode::kRange,
                      fmt::format("chain name '{}' does not fit 1 to {} bytes",
                                  chain.name, kMaxChainName));
        }
        BlobChainRecord record{};
        record.name_offset = AddName(chain.name);
        record.name_bytes = static_cast<uint8_t>(chain.name.size());
        record.table = static_cast<uint8_t>(table.kind);
        record.hook =
            chain.hook ? static_cast<uint8_t>(*chain.hook) : kBlobUserChain;
        record.rules_count = static_cast<uint32_t>(chain.rules.size());
        Put(ChainOffset(index++), record);
        header_.rules_count += record.rules_count;
      }
    }
    return {};
  }

  size_t ChainOffset(uint32_t index) const {
    return header_.chains_offset + size_t{index} * sizeof(BlobChainRecord);
  }

  void PlaceSections() {
    header_.sections_offset = Offset();
    for (size_t h = 0; h < kHookCount; ++h) {
      const auto hook = static_cast<Hook>(h);
      for (TableKind kind : SectionOrder(hook)) AppendSection(hook, kind);
    }
  }

  void AppendSection(Hook hook, TableKind kind) {
    uint32_t index = 0;
    for (const Table& table : ruleset_.tables) {
      for (const Chain& chain : table.chains) {
        if (table.kind == kind && chain.hook == hook) {
          Append(BlobSectionRecord{static_cast<uint8_t>(hook),
                                   static_cast<uint8_t>(kind), 0, index});
          ++header_.sections_count;
        }
        ++index;
      }
    }
  }

  uint32_t AddName(std::string_view name) {
    const auto offset = static_cast<uint32_t>(names_.size());
    names_ += name;
    return offset;
  }

  void NameUserChains(const Table& table) {
    user_chains_.clear();
    for (size_t i = 0; i < table.chains.size(); ++i) {
      if (table.chains[i].hook) continue;
      user_chains_.emplace(table.chains[i].name,
                           first_chain_ + static_cast<uint32_t>(i));
    }
  }

  Status WriteChain(const Chain& chain, uint32_t index) {
    BlobChainRecord record;
    std::memcpy(&record, out().data() + ChainOffset(index), sizeof(record));
    record.first = Offset();
    uint32_t number = 0;
    for (const Rule& rule : chain.rules) {
      RETURN_IF_ERROR(WriteRule(rule, ++number));
    }
    WriteEnd(chain);
    record.end = Offset();
    Put(ChainOffset(index), record);
    // Offsets are 32 bits; one rule cannot pass them unseen.
    if (out().size() > std::numeric_limits<uint32_t>::max() / 2) {
      return Fail(ErrorCode::kRange, "a blob of over 2 GiB");
    }
    return {};
  }

  void WriteAction(BlobOp op, uint8_t flags, uint32_t argument,
                   size_t parameters = 0) {
    Append(BlobActionHead{
        static_cast<uint8_t>(op), flags,
        static_cast<uint16_t>(sizeof(BlobActionHead) + Aligned(parameters)),
        argument});
  }

  void WriteCount(const Counters& counters) {
    if (!options_.counters) return;
    WriteAction(BlobOp::kCount, 0, header_.counters_count++);
    image_.counters.push_back(counters);
  }

  void WriteEnd(const Chain& chain) {
    const size_t start = out().size();
    Append(BlobRuleHead{});
    WriteCount(chain.hook ? chain.counters : Counters{});
    BlobVerdict verdict = BlobVerdict::kReturn;
    if (chain.hook) {
      verdict = chain.policy == Policy::kAccept ? BlobVerdict::kAccept
                                                : BlobVerdict::kDrop;
    }
    WriteAction(BlobOp::kVerdict, static_cast<uint8_t>(verdict), 0);
    Put(start, BlobRuleHead{static_cast<uint32_t>(out().size() - start), 0});
  }

  Status WriteRule(const Rule& rule, uint32_t number) {
    const size_t start = out().size();
    Append(BlobRuleHead{});
    RETURN_IF_ERROR(WriteSelector(rule));
    for (const Extension& match : rule.matches) {
      RETURN_IF_ERROR(WriteExtension(rule, match, BlobExtensionKind::kMatch));
    }
    WriteCount(rule.counters);
    uint32_t argument = 0;
    if (rule.target.kind == TargetKind::kExtension) {
      RETURN_IF_ERROR(WriteExtension(rule, rule.target.extension,
                                     BlobExtensionKind::kTarget));
    } else if (rule.target.kind == TargetKind::kJump ||
               rule.target.kind == TargetKind::kGoto) {
      const auto it = user_chains_.find(rule.target.chain);
      if (it == user_chains_.end()) {
        return Fail(ErrorCode::kInternal,
                    fmt::format("jump to '{}', which is no user chain",
                                rule.target.chain),
                    PlaceOf(rule, rule.target.column, rule.target.chain));
      }
      argument = it->second;
    }
    WriteAction(BlobOp::kVerdict,
                static_cast<uint8_t>(VerdictOf(rule.target.kind)), argument);
    Put(start,
        BlobRuleHead{static_cast<uint32_t>(out().size() - start), number});
    return {};
  }

  static uint8_t Inverted(const Selector& selector, InvertBit bit) {
    return (selector.inverted & bit) != 0 ? kBlobInvert : 0;
  }

  void WriteAddress(const Address& value, const Address& mask, uint8_t flags,
                    uint32_t offset) {
    if (value == Address{} && mask == Address{} && flags == 0) return;
    const bool v4 = ruleset_.family == Family::kIpv4;
    const ptrdiff_t width = v4 ? 4 : 16;
    WriteAction(v4 ? BlobOp::kField4 : BlobOp::kField16, flags, offset,
                static_cast<size_t>(2 * width));
    out().insert(out().end(), value.begin(), value.begin() + width);
    out().insert(out().end(), mask.begin(), mask.begin() + width);
  }

  Status WriteDevice(const Rule& rule, const InterfaceTest& test, uint8_t flags,
                     BlobOp op) {
    if (test == InterfaceTest{} && flags == 0) return {};
    const auto count = PrefixBytes(test);
    if (!count) {
      return Fail(ErrorCode::kUnsupported,
                  "an interface mask that is no prefix", PlaceOf(rule));
    }
    WriteAction(op, flags, *count, kBlobDeviceBytes);
    out().insert(out().end(), test.name.begin(), test.name.end());
    return {};
  }

  /// Only the tests that are there become actions, in the order in which
  /// ip_packet_match() makes them.
  Status WriteSelector(const Rule& rule) {
    const Selector& s = rule.selector;
    const bool v6 = ruleset_.family == Family::kIpv6;
    if ((s.inverted & kInvertTos) != 0 ||
        (v6 && (s.fragment || (s.inverted & kInvertFragment) != 0))) {
      return Fail(ErrorCode::kUnsupported,
                  fmt::format("selector flags {:#x} of {}", s.inverted,
                              FamilyName(ruleset_.family)),
                  PlaceOf(rule));
    }
    WriteAddress(s.src, s.src_mask, Inverted(s, kInvertSrc),
                 BlobSourceOffset(ruleset_.family));
    WriteAddress(s.dst, s.dst_mask, Inverted(s, kInvertDst),
                 BlobDestinationOffset(ruleset_.family));
    RETURN_IF_ERROR(
        WriteDevice(rule, s.in, Inverted(s, kInvertIn), BlobOp::kIn));
    RETURN_IF_ERROR(
        WriteDevice(rule, s.out, Inverted(s, kInvertOut), BlobOp::kOut));
    const uint8_t not_protocol = Inverted(s, kInvertProtocol);
    if (s.protocol != 0 || not_protocol != 0) {
      WriteAction(BlobOp::kProtocol, not_protocol, s.protocol);
    }
    const uint8_t not_fragment = Inverted(s, kInvertFragment);
    if (s.fragment || not_fragment != 0) {
      WriteAction(BlobOp::kFragment, not_fragment, s.fragment ? 1 : 0);
    }
    return {};
  }

  Status WriteExtension(const Rule& rule, const Extension& extension,
                        BlobExtensionKind kind) {
    if (extension.name.empty() || extension.name.size() > kMaxExtensionName ||
        extension.payload.size() > kMaxPayload) {
      return Fail(ErrorCode::kRange,
                  fmt::format("extension '{}' with {} bytes does not fit",
                              extension.name, extension.payload.size()),
                  PlaceOf(rule, extension.column, extension.name));
    }
    WriteAction(
        kind == BlobExtensionKind::kMatch ? BlobOp::kMatch : BlobOp::kTarget, 0,
        ExtensionIndex(extension, kind), extension.payload.size());
    out().insert(out().end(), extension.payload.begin(),
                 extension.payload.end());
    out().resize(Aligned(out().size()));
    return {};
  }

  uint32_t ExtensionIndex(const Extension& extension, BlobExtensionKind kind) {
    // A handful of extensions make nearly all rules, so a list is searched,
    // the one used last first.
    const auto is = [&](uint32_t i) {
      return extensions_[i].kind == kind &&
             extensions_[i].revision == extension.revision &&
             extensions_[i].name == extension.name;
    };
    if (last_extension_ < extensions_.size() && is(last_extension_)) {
      return last_extension_;
    }
    last_extension_ = 0;
    while (last_extension_ < extensions_.size() && !is(last_extension_)) {
      ++last_extension_;
    }
    if (last_extension_ == extensions_.size()) {
      extensions_.push_back({extension.name, extension.revision, kind});
    }
    return last_extension_;
  }

  void WriteExtensions() {
    header_.extensions_offset = Offset();
    header_.extensions_count = static_cast<uint32_t>(extensions_.size());
    for (const BlobExtension& x : extensions_) {
      Append(BlobExtensionRecord{AddName(x.name),
                                 static_cast<uint8_t>(x.name.size()),
                                 x.revision, static_cast<uint8_t>(x.kind), 0});
    }
  }

  void WriteNames() {
    header_.names_offset = Offset();
    header_.names_bytes = static_cast<uint32_t>(names_.size());
    out().insert(out().end(), names_.begin(), names_.end());
    out().resize(Aligned(out().size()));
  }

  Result<BlobImage> Finish() {
    header_.total_bytes = Offset();
    Put(0, header_);
    return std::move(image_);
  }

  const Ruleset& ruleset_;
  const BlobOptions options_;
  BlobHeader header_{};
  BlobImage image_;
  std::string names_;
  std::vector<BlobExtension> extensions_;  // names refer to the ruleset
  uint32_t last_extension_ = 0;
  uint32_t first_chain_ = 0;  // of the table being written
  std::unordered_map<std::string_view, uint32_t> user_chains_;
};

}  // namespace

Result<BlobImage> LowerBlob(const Ruleset& ruleset,
                            const BlobOptions& options) {
  return Writer(ruleset, options).Run();
}

}  // namespace nfarena
