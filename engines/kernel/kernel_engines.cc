#include "engines/kernel/kernel_engines.h"

#include <cerrno>

#include "compat/lower/nft_batch.h"
#include "compat/lower/xt_table.h"
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
    return {};
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
    return {};
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
