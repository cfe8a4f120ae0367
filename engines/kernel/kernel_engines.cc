#include "engines/kernel/kernel_engines.h"

#include <fmt/format.h>

#include <cerrno>
#include <optional>
#include <variant>

#include "compat/lower/nft_batch.h"
#include "compat/lower/xt_table.h"
#include "compat/meaning/match.h"
#include "engines/kernel/legacy_instance.h"
#include "engines/kernel/nft_instance.h"
#include "engines/kernel/rights.h"

namespace nfarena {
namespace {

/// In place means the caller's own network, which a process in a user
/// namespace of its own has left.
Status CheckPlace(const OpenOptions& options) {
  if (!options.in_place || !kernel::InUserNamespace()) return {};
  return Fail(ErrorCode::kSystem,
              "no right to change the network namespace this is called in", {},
              EPERM);
}

/// xt_owner looks its users up in the user namespace that owns the network;
/// one who is not there is an EINVAL.
Status CheckUsers(const Ruleset& ruleset) {
  const auto check = [](const Rule& rule, const Extension& match,
                        const std::optional<IdRange>& ids,
                        bool (*mapped)(uint32_t), const char* what) -> Status {
    if (!ids || (mapped(ids->first) && mapped(ids->last))) return {};
    return Fail(
        ErrorCode::kUnsupported,
        fmt::format("{} {} does not exist in this user namespace", what,
                    mapped(ids->first) ? ids->last : ids->first),
        {.line = rule.line, .column = match.column, .text = match.name});
  };
  // Outside of user namespaces all are.
  constexpr uint32_t kLastId = 0xfffffffe;
  if (kernel::UserIsMapped(kLastId) && kernel::GroupIsMapped(kLastId)) {
    return {};
  }
  for (const Table& table : ruleset.tables) {
    for (const Chain& chain : table.chains) {
      for (const Rule& rule : chain.rules) {
        for (const Extension& match : rule.matches) {
          if (match.name != "owner") continue;
          const auto decoded = DecodeMatch(ruleset.family, match);
          if (!decoded) continue;  // the kernel's to refuse
          const auto& owner = std::get<OwnerMatch>(*decoded);
          RETURN_IF_ERROR(
              check(rule, match, owner.uid, kernel::UserIsMapped, "user"));
          RETURN_IF_ERROR(
              check(rule, match, owner.gid, kernel::GroupIsMapped, "group"));
        }
      }
    }
  }
  return {};
}

class LegacyEngine : public Engine {
 public:
  std::string_view name() const override { return "kernel-legacy"; }
  EngineKind kind() const override { return EngineKind::kKernel; }
  std::string_view description() const override {
    return "ip_tables and ip6_tables of this kernel, in a namespace";
  }
  Status Available() const override {
    RETURN_IF_ERROR(kernel::CheckHost(Family::kIpv4, true));
    return kernel::CheckHost(Family::kIpv6, true);
  }
  Status Supports(const Ruleset& ruleset) const override {
    for (const Table& table : ruleset.tables) {
      const auto image = LowerXtTable(ruleset.family, table);
      if (!image) return tl::unexpected(image.error());
    }
    return CheckUsers(ruleset);
  }
  Result<std::unique_ptr<Instance>> Open(
      const OpenOptions& options) const override {
    RETURN_IF_ERROR(CheckPlace(options));
    return kernel::OpenLegacy(options);
  }
};

class NftEngine : public Engine {
 public:
  NftEngine(std::string_view name, std::string_view description, NftMode mode)
      : name_(name), description_(description) {
    options_.mode = mode;
  }
  std::string_view name() const override { return name_; }
  EngineKind kind() const override { return EngineKind::kKernel; }
  std::string_view description() const override { return description_; }
  Status Available() const override {
    return kernel::CheckHost(Family::kIpv4, false);
  }
  Status Supports(const Ruleset& ruleset) const override {
    const auto batch = LowerNftRuleset(ruleset, options_, 0);
    if (!batch) return tl::unexpected(batch.error());
    // nftables' own expression compares numbers; only xt_owner asks who it is.
    return options_.mode == NftMode::kCompat ? CheckUsers(ruleset) : Status();
  }
  std::vector<RuleNote> Notes(const Ruleset& ruleset) const override {
    std::vector<RuleNote> notes;
    const auto batch = LowerNftRuleset(ruleset, options_, 0);
    if (!batch) return notes;
    for (const NftRuleNote& note : batch->notes) {
      if (note.compat) notes.push_back({note.rule, note.reason});
    }
    return notes;
  }
  Result<std::unique_ptr<Instance>> Open(
      const OpenOptions& options) const override {
    RETURN_IF_ERROR(CheckPlace(options));
    return kernel::OpenNft(options, options_);
  }

 private:
  std::string_view name_, description_;
  NftOptions options_;
};

}  // namespace

const Engine& KernelLegacyEngine() {
  static const LegacyEngine engine;
  return engine;
}

const Engine& KernelNftEngine() {
  static const NftEngine engine("kernel-nft",
                                "nf_tables of this kernel, native expressions",
                                NftMode::kNative);
  return engine;
}

const Engine& KernelNftCompatEngine() {
  static const NftEngine engine(
      "kernel-nft-compat",
      "nf_tables of this kernel, loaded as iptables-nft does",
      NftMode::kCompat);
  return engine;
}

}  // namespace nfarena
