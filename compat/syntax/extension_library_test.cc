#include "compat/syntax/extension_library.h"

#include <dirent.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "compat/syntax/revisions.h"

namespace nfarena {
namespace {

// The names of all extensions installed.
std::vector<std::string> ExtensionNames() {
  std::set<std::string> names = {"icmp6", "state", "NOTRACK", "nosuch"};
  if (DIR* directory = opendir(NFARENA_XTABLES_LIBDIR)) {
    while (const dirent* entry = readdir(directory)) {
      const std::string file = entry->d_name;
      for (std::string_view prefix : {"libxt_", "libipt_", "libip6t_"}) {
        if (file.starts_with(prefix) && file.ends_with(".so")) {
          names.insert(
              file.substr(prefix.size(), file.size() - prefix.size() - 3));
        }
      }
    }
    closedir(directory);
  }
  return {names.begin(), names.end()};
}

std::string Line(Family family, const char* kind, const std::string& name,
                 const LoadedExtension* loaded) {
  if (loaded == nullptr) return "";
  return fmt::format("{} {} {} -> {} revision {} size {}/{} options {}\n",
                     FamilyName(family), kind, name, loaded->kernel_name,
                     loaded->revision, loaded->size, loaded->user_size,
                     loaded->options.size());
}

void Describe(Family family, const std::string& name, std::string* out) {
  LibrarySession session(family);
  EXPECT_TRUE(session.status());
  *out += Line(family, "match", name, session.FindMatch(name));
  *out += Line(family, "target", name, session.FindTarget(name));
}

std::string DescribeAll(Family family) {
  std::string out;
  for (const std::string& name : ExtensionNames()) Describe(family, name, &out);
  return out;
}

// One family's text and the other's, asked in turn for each name.
std::string DescribeInTurn(Family first, Family second) {
  std::string out;
  std::string other;
  for (const std::string& name : ExtensionNames()) {
    Describe(first, name, &out);
    Describe(second, name, &other);
  }
  return out + other;
}

// What `describe` says in a process that has not used libxtables yet.
std::string InFreshProcess(const std::function<std::string()>& describe) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const std::string text = describe();
    const bool ok = write(ends[1], text.data(), text.size()) ==
                    static_cast<ssize_t>(text.size());
    _exit(ok ? 0 : 1);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  ssize_t got;
  while ((got = read(ends[0], buffer, sizeof(buffer))) > 0) {
    text.append(buffer, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  return text;
}

// Must run first: libxtables cannot be taken out of a process again.
TEST(LibrarySession, BothFamiliesInOneProcess) {
  using enum Family;
  const std::string v4 = InFreshProcess([] { return DescribeAll(kIpv4); });
  const std::string v6 = InFreshProcess([] { return DescribeAll(kIpv6); });
  EXPECT_GT(std::count(v4.begin(), v4.end(), '\n'), 80);
  EXPECT_GT(std::count(v6.begin(), v6.end(), '\n'), 80);
  EXPECT_THAT(v6, testing::HasSubstr("IPv6 target SNAT"));
  EXPECT_EQ(InFreshProcess([] { return DescribeInTurn(kIpv4, kIpv6); }),
            v4 + v6);
  EXPECT_EQ(InFreshProcess([] { return DescribeInTurn(kIpv6, kIpv4); }),
            v6 + v4);
  EXPECT_EQ(InFreshProcess([] {
              return DescribeAll(kIpv6) + DescribeAll(kIpv4) +
                     DescribeAll(kIpv6);
            }),
            v6 + v4 + v6);
  EXPECT_EQ(DescribeAll(kIpv4), v4);
  EXPECT_EQ(DescribeAll(kIpv6), v6);
  EXPECT_EQ(DescribeAll(kIpv4), v4);
}

TEST(LibrarySession, UnknownNames) {
  LibrarySession session(Family::kIpv4);
  for (const char* name : {"", "nosuch", "../tcp", "tcp/x", "standard",
                           "abcdefghijklmnopqrstuvwxyzabc", "a b"}) {
    EXPECT_EQ(session.FindMatch(name), nullptr) << name;
    EXPECT_EQ(session.FindTarget(name), nullptr) << name;
  }
  // Many unknown names do not push out a known one.
  const LoadedExtension* tcp = session.FindMatch("tcp");
  ASSERT_NE(tcp, nullptr);
  for (int i = 0; i < 10000; ++i) {
    EXPECT_EQ(session.FindMatch("nosuch" + std::to_string(i)), nullptr);
  }
  EXPECT_EQ(session.FindMatch("tcp"), tcp);
}

TEST(LibrarySession, CapturesWhatLibxtablesPrints) {
  LibrarySession session(Family::kIpv4);
  EXPECT_FALSE(session.has_diagnostics());
  fmt::print(stderr, "one\n\ntwo\n");
  EXPECT_TRUE(session.has_diagnostics());
  session.AddDiagnostic("three");
  EXPECT_THAT(session.TakeDiagnostics(),
              testing::ElementsAre("one", "two", "three"));
  EXPECT_FALSE(session.has_diagnostics());
}

TEST(LibrarySession, TargetsOfOneTable) {
  LibrarySession session(Family::kIpv6);
  EXPECT_EQ(session.FindTarget("MASQUERADE")->only_table, TableKind::kNat);
  EXPECT_EQ(session.FindTarget("NOTRACK")->only_table, TableKind::kRaw);
  EXPECT_EQ(session.FindTarget("LOG")->only_table, std::nullopt);
}

TEST(Revisions, Builtin) {
  EXPECT_EQ(BuiltinRevision(false, "conntrack"), 3);
  EXPECT_EQ(BuiltinRevision(false, "addrtype"), 1);
  EXPECT_EQ(BuiltinRevision(false, "udp"), 0);
  EXPECT_EQ(BuiltinRevision(true, "SNAT"), 2);
  EXPECT_EQ(BuiltinRevision(true, "AUDIT"), 0);
  EXPECT_EQ(BuiltinRevision(true, "TTL"), 0);
  EXPECT_EQ(BuiltinRevision(true, "nosuch"), -1);
  EXPECT_EQ(BuiltinRevision(false, "SNAT"), -1);
  EXPECT_TRUE(RevisionSupported(Family::kIpv4, false, "nosuchmatch", 9));
}

}  // namespace
}  // namespace nfarena
