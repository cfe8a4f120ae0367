#include "bench/result/environment.h"

#include <fmt/format.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>

namespace nfarena {
namespace {

using nlohmann::json;

std::string FirstLine(const std::filesystem::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

json LineOrNull(const std::filesystem::path& path) {
  const std::string line = FirstLine(path);
  return line.empty() ? json(nullptr) : json(line);
}

/// The first line a command prints, or null when it cannot run.
json OutputOf(const char* command) {
  const std::unique_ptr<FILE, int (*)(FILE*)> pipe(
      popen((std::string(command) + " 2>/dev/null").c_str(), "re"), pclose);
  std::array<char, 256> buffer{};
  if (pipe == nullptr ||
      std::fgets(buffer.data(), buffer.size(), pipe.get()) == nullptr) {
    return nullptr;
  }
  std::string line(buffer.data());
  while (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

json CpuModel() {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with("model name")) {
      return line.substr(line.find(':') + 2);
    }
  }
  return nullptr;
}

json Caches() {
  json caches = json::array();
  for (int i = 0; i < 8; ++i) {
    const std::filesystem::path at =
        fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}", i);
    if (!std::filesystem::exists(at)) break;
    caches.push_back({{"level", LineOrNull(at / "level")},
                      {"type", LineOrNull(at / "type")},
                      {"size", LineOrNull(at / "size")}});
  }
  return caches;
}

/// What the kernel says of each vulnerability, "Not affected" included.
json Mitigations() {
  json out = json::object();
  std::error_code error;
  const std::filesystem::path root = "/sys/devices/system/cpu/vulnerabilities";
  for (const auto& entry : std::filesystem::directory_iterator(root, error)) {
    out[entry.path().filename().string()] = FirstLine(entry.path());
  }
  return out;
}

json Versions() {
  return {{"iptables", OutputOf("iptables-legacy --version")},
          {"nft", OutputOf("nft --version")},
          {"libnftnl", NFARENA_LIBNFTNL_VERSION},
          {"libxtables", NFARENA_LIBXTABLES_VERSION}};
}

}  // namespace

json Environment() {
  utsname name{};
  uname(&name);
  struct sysinfo memory {};
  sysinfo(&memory);
  std::array<double, 3> load{};
  const bool has_load = getloadavg(load.data(), 3) == 3;
  return {{"commit", OutputOf("git -C " NFARENA_SOURCE_DIR " rev-parse HEAD")},
          {"dirty", !OutputOf("git -C " NFARENA_SOURCE_DIR
                              " status --porcelain --untracked-files=no")
                         .is_null()},
          {"compiler", NFARENA_COMPILER},
          {"compiler_flags", NFARENA_COMPILER_FLAGS},
          {"build_type", NFARENA_BUILD_TYPE},
          {"kernel", fmt::format("{} {}", name.sysname, name.release)},
          {"machine",
           {{"architecture", name.machine},
            {"cpu", CpuModel()},
            {"cores", get_nprocs()},
            {"memory_bytes", memory.totalram * memory.mem_unit},
            {"caches", Caches()}}},
          {"mitigations", Mitigations()},
          {"bpf_jit", LineOrNull("/proc/sys/net/core/bpf_jit_enable")},
          {"governor", LineOrNull("/sys/devices/system/cpu/cpu0/cpufreq/"
                                  "scaling_governor")},
          {"smt", LineOrNull("/sys/devices/system/cpu/smt/control")},
          {"transparent_hugepages",
           LineOrNull("/sys/kernel/mm/transparent_hugepage/enabled")},
          {"aslr", LineOrNull("/proc/sys/kernel/randomize_va_space")},
          {"load_average", has_load ? json(load) : json(nullptr)},
          {"versions", Versions()}};
}

}  // namespace nfarena
