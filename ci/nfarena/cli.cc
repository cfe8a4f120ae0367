#include "ci/nfarena/cli.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>

#include "bench/correctness/aim.h"
#include "compat/syntax/save_parser.h"
#include "engines/core/packet_text.h"
#include "engines/registry.h"

namespace nfarena::cli {

ExitCode ExitFor(const Error& error) {
  return error.code == ErrorCode::kSystem ? kExitEnvironment : kExitDifference;
}

void Say(std::string_view text) {
  (void)std::fwrite(text.data(), 1, text.size(), stderr);
}

ExitCode Complain(const Error& error) {
  Say(fmt::format("nfarena: {}\n", error.ToString()));
  return ExitFor(error);
}

namespace {

constexpr std::string_view kAuto = "auto:";

struct FileCloser {
  void operator()(FILE* file) const { std::fclose(file); }
};
using File = std::unique_ptr<FILE, FileCloser>;

/// An input file that cannot be read is the caller's mistake, not the
/// environment's: exit status 1, as for a bad one.
tl::unexpected<Error> CannotRead(const std::string& path) {
  return Fail(ErrorCode::kSyntax, "cannot be read", {.file = path}, errno);
}

Result<std::string> ReadAll(FILE* file, const std::string& path) {
  // In one piece when its size is known: a ruleset may be many megabytes.  The
  // byte more lets the end be seen without growing.
  struct stat about {};
  constexpr size_t kStep = size_t{1} << 16;
  size_t room = kStep;
  if (fstat(fileno(file), &about) == 0 && S_ISREG(about.st_mode)) {
    room = static_cast<size_t>(about.st_size) + 1;
  }
  std::string text;
  size_t size = 0;
  while (std::feof(file) == 0) {
    if (size == text.size()) text.resize(size + std::max(room, size));
    size += std::fread(text.data() + size, 1, text.size() - size, file);
    if (std::ferror(file) != 0) return CannotRead(path);
  }
  text.resize(size);
  return text;
}

}  // namespace

Result<std::string> ReadInput(const std::string& path) {
  if (path == "-") return ReadAll(stdin, "standard input");
  const File file(std::fopen(path.c_str(), "rbe"));
  if (file == nullptr) return CannotRead(path);
  return ReadAll(file.get(), path);
}

Status Print(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) != text.size() ||
      std::fflush(stdout) != 0) {
    return FailErrno("standard output cannot be written");
  }
  return {};
}

Status PrintJson(const nlohmann::json& json) {
  // Comments of a ruleset may hold any byte; JSON holds UTF-8.
  return Print(
      json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) +
      "\n");
}

CLI::Validator EngineName() {
  return CLI::Validator(
      [](std::string& name) {
        const auto engine = FindEngine(name);
        return engine ? std::string() : engine.error().message;
      },
      "", "engine");
}

void AddRulesetOptions(CLI::App* app, RulesetOptions* options,
                       bool positional) {
  app->add_option(positional ? "FILE" : "--ruleset", options->path,
                  "iptables-save text; - is standard input")
      ->required()
      ->type_name(positional ? "" : "FILE");
  app->add_flag("-6,--ipv6", options->ipv6,
                "IPv6 (else the text's own ip6tables-save header decides)");
  app->add_option("--ipset", options->ipset_path,
                  "\"ipset save\" text of the sets the rules refer to")
      ->type_name("FILE");
  // Not as a negated flag, which --help would show as "--no-resolve{false}".
  app->add_flag_callback(
      "--no-resolve", [options] { options->resolve = false; },
      "refuse host names instead of looking them up");
}

std::string_view LoadedRuleset::Line(uint32_t number) const {
  std::string_view rest = text;
  for (uint32_t i = 1; !rest.empty(); ++i) {
    const size_t end = std::min(rest.find('\n'), rest.size());
    if (i == number) return rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return {};
}

Result<LoadedRuleset> LoadRuleset(const RulesetOptions& options,
                                  const Ruleset* base, bool counters,
                                  LoadedRuleset* unparsed) {
  LoadedRuleset loaded;
  ASSIGN_OR_RETURN(loaded.text, ReadInput(options.path));
  ParseOptions parse;
  parse.file = options.path;
  if (options.ipv6) parse.family = Family::kIpv6;
  parse.base = base;
  parse.counters = counters;
  parse.resolve = options.resolve;
  // Without the text of the sets the kernel's own are meant.
  if (!options.ipset_path.empty()) {
    ASSIGN_OR_RETURN(loaded.ipset_save, ReadInput(options.ipset_path));
    ASSIGN_OR_RETURN(loaded.sets, ReadKnownSets(loaded.ipset_save));
    parse.sets = loaded.KnownSetsOrNull();
  }
  std::vector<Warning> warnings;
  auto ruleset = ParseSave(loaded.text, parse, &warnings);
  for (const Warning& warning : warnings) {
    const uint32_t column = warning.place.column;
    Say(fmt::format("nfarena: {}:{}:{} warning: {}\n", warning.place.file,
                    warning.place.line,
                    column != 0 ? fmt::format("{}:", column) : "",
                    warning.message));
  }
  if (!ruleset) {
    if (unparsed != nullptr) *unparsed = std::move(loaded);
    return tl::unexpected(std::move(ruleset).error());
  }
  loaded.ruleset = std::move(*ruleset);
  return loaded;
}

namespace {

/// The N of "auto:N"; nullopt when it is no whole number from 1.
std::optional<uint64_t> AimedCount(std::string_view spec) {
  spec.remove_prefix(kAuto.size());
  uint64_t count = 0;
  const auto [end, error] =
      std::from_chars(spec.data(), spec.data() + spec.size(), count);
  if (error != std::errc{} || end != spec.data() + spec.size() || count == 0) {
    return std::nullopt;
  }
  return count;
}

CLI::Validator PacketSource() {
  return CLI::Validator(
      [](std::string& spec) {
        return !spec.starts_with(kAuto) || AimedCount(spec)
                   ? std::string()
                   : "auto:N takes a whole number from 1, not '" + spec + "'";
      },
      "", "packets");
}

}  // namespace

void AddPacketOptions(CLI::App* app, PacketOptions* options) {
  app->add_option("--packets", options->packets,
                  "packets as iptables LOG lines or pcap; auto:N aims N "
                  "packets at the rules")
      ->type_name("FILE|auto:N")
      ->capture_default_str()
      ->check(PacketSource());
  app->add_option("--seed", options->seed, "seed of auto:N")
      ->capture_default_str();
  app->add_option("--device", options->device,
                  "device the packets of a pcap file come in by")
      ->type_name("NAME")
      ->capture_default_str();
}

namespace {

bool IsPcap(std::string_view bytes) {
  static constexpr std::string_view kMagics[] = {{"\xd4\xc3\xb2\xa1", 4},
                                                 {"\xa1\xb2\xc3\xd4", 4},
                                                 {"\x4d\x3c\xb2\xa1", 4},
                                                 {"\xa1\xb2\x3c\x4d", 4},
                                                 {"\x0a\x0d\x0d\x0a", 4}};
  for (std::string_view magic : kMagics) {
    if (bytes.starts_with(magic)) return true;
  }
  return false;
}

}  // namespace

Result<std::vector<Packet>> LoadPackets(const PacketOptions& options,
                                        const Ruleset& ruleset) {
  std::vector<Packet> packets;
  const std::string_view spec = options.packets;
  if (spec.starts_with(kAuto)) {
    // The validator has seen to it that there is a number.
    const AimOptions aim{.packets_count = AimedCount(spec).value_or(1),
                         .seed = options.seed};
    return ParsePackets(AimPackets(ruleset, aim), options.packets);
  }
  ASSIGN_OR_RETURN(const std::string text, ReadInput(options.packets));
  if (IsPcap(text)) {
    ASSIGN_OR_RETURN(packets, ParsePcap(text, options.packets, options.device));
  } else {
    ASSIGN_OR_RETURN(packets, ParsePackets(text, options.packets));
  }
  for (const Packet& packet : packets) {
    if (packet.family != ruleset.family) {
      return Fail(
          ErrorCode::kSyntax,
          fmt::format("an {} packet for an {} ruleset",
                      FamilyName(packet.family), FamilyName(ruleset.family)),
          {.file = options.packets, .line = packet.line});
    }
  }
  return packets;
}

std::string Duration(uint64_t ns) {
  const double value = static_cast<double>(ns);
  if (value < 1e3) return fmt::format("{} ns", ns);
  if (value < 1e6) return fmt::format("{:.3g} us", value / 1e3);
  if (value < 1e9) return fmt::format("{:.3g} ms", value / 1e6);
  return fmt::format("{:.3g} s", value / 1e9);
}

}  // namespace nfarena::cli
