#include "compat/syntax/testing/legacy_tools.h"

#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace nfarena {
namespace {

std::string Tool(Family family, const char* action) {
  return std::string(family == Family::kIpv4 ? "iptables" : "ip6tables") +
         "-legacy-" + action;
}

std::string OwnNamespace() {
  if (unshare(CLONE_NEWNET) == 0) return "";
  const uid_t uid = geteuid();
  const gid_t gid = getegid();
  // In two steps: the files of a network namespace that is made before there
  // is a root to own them, /proc/net/ip_tables_names among them, are closed to
  // everybody.
  if (unshare(CLONE_NEWUSER) != 0) {
    return std::string("no user namespace: ") + std::strerror(errno);
  }
  std::ofstream("/proc/self/setgroups") << "deny";
  std::ofstream("/proc/self/uid_map") << "0 " << uid << " 1";
  std::ofstream("/proc/self/gid_map") << "0 " << gid << " 1";
  if (geteuid() != 0) return "cannot become root of a user namespace";
  if (unshare(CLONE_NEWNET) == 0) return "";
  return std::string("no network namespace: ") + std::strerror(errno);
}

}  // namespace

Ran RunShell(const std::string& command) {
  Ran ran;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ran;
  char buffer[4096];
  size_t got = 0;
  while ((got = fread(buffer, 1, sizeof(buffer), pipe)) > 0) {
    ran.output.append(buffer, got);
  }
  ran.status = pclose(pipe);
  return ran;
}

bool UsersAreMapped() {
  std::ifstream in("/proc/self/uid_map");
  uint64_t inside = 0, outside = 0, count = 0;
  return in >> inside >> outside >> count && count > 1;
}

std::string WithoutComments(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size() - 1);
    if (text[at] != '#') out.append(text, at, end + 1 - at);
    at = end + 1;
  }
  return out;
}

LegacyTools::LegacyTools() {
  char directory[] = "/tmp/nfarena-save-XXXXXX";
  if (mkdtemp(directory) == nullptr) return;
  directory_ = directory;
  setenv("XTABLES_LOCKFILE", (directory_ + "/lock").c_str(), 1);
}

LegacyTools::~LegacyTools() {
  std::error_code ignored;
  if (!directory_.empty()) std::filesystem::remove_all(directory_, ignored);
}

std::string LegacyTools::EnterNamespace() {
  if (directory_.empty()) return "no temporary directory";
  if (RunShell("command -v iptables-legacy-restore").status != 0) {
    return "iptables-legacy-restore is not installed";
  }
  return OwnNamespace();
}

Ran LegacyTools::Restore(Family family, const std::string& text,
                         const std::string& options) {
  return RunShell(Tool(family, "restore") + " " + options + " " +
                  Write("text", text));
}

Ran LegacyTools::Save(Family family, const std::string& options) {
  return RunShell(Tool(family, "save") + " " + options);
}

Ran LegacyTools::RestoreSets(const std::string& ipset_save) {
  return RunShell("ipset restore <" + Write("sets", ipset_save));
}

std::string LegacyTools::Write(const char* name, const std::string& text) {
  std::string path = directory_ + "/" + name;
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

}  // namespace nfarena
