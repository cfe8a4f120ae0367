// What is left behind (nothing), and what an ordinary user can do.
//
// Each case runs in a child process: it enters namespaces, changes ids, is
// killed.  The child answers by exit status and by text on a pipe.
#include "engines/kernel/rights.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "engines/kernel/fd.h"
#include "engines/kernel/kernel_engines.h"
#include "engines/kernel/namespace.h"

namespace nfarena::kernel {
namespace {

constexpr uid_t kNobody = 65534;

/// Runs `work` in a child; what it returns comes back.
std::string InChild(const std::function<std::string()>& work) {
  int ends[2];
  if (pipe(ends) != 0) return "no pipe";
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const std::string answer = work();
    size_t done = 0;
    while (done < answer.size()) {
      const ssize_t put =
          write(ends[1], answer.data() + done, answer.size() - done);
      if (put <= 0) break;
      done += static_cast<size_t>(put);
    }
    _exit(0);
  }
  close(ends[1]);
  std::string answer;
  char part[512];
  ssize_t got = 0;
  while ((got = read(ends[0], part, sizeof part)) > 0) {
    answer.append(part, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  if (!WIFEXITED(status)) answer += " (killed)";
  return answer;
}

OpenOptions OneDevice(const char* name) {
  OpenOptions options;
  options.topology.devices.push_back({.name = name, .addresses = {}});
  return options;
}

std::set<std::string> Names(const char* directory) {
  std::set<std::string> names;
  std::error_code error;
  for (const auto& entry :
       std::filesystem::directory_iterator(directory, error)) {
    names.insert(entry.path().filename());
  }
  return names;
}

bool WriteFile(const char* path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.flush();
  return file.good();
}

/// A child that opens an instance, says so, and waits for its end.
pid_t StartHolder(const Engine& engine, std::string* error) {
  int ends[2];
  if (pipe(ends) != 0) return -1;
  const pid_t child = fork();
  if (child == 0) {
    close(ends[0]);
    const auto instance = engine.Open(OneDevice("nfarena_leak"));
    const std::string answer = instance ? "" : instance.error().ToString();
    (void)!write(ends[1], answer.data(), answer.size());
    close(ends[1]);
    if (!instance) _exit(1);
    pause();
    _exit(0);
  }
  close(ends[1]);
  char part[512];
  const ssize_t got = read(ends[0], part, sizeof part);
  close(ends[0]);
  if (got > 0) error->assign(part, static_cast<size_t>(got));
  return child;
}

class RightsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0) GTEST_SKIP() << "needs root to play other users";
    const Status host = CheckHost(Family::kIpv4, true);
    if (!host) GTEST_SKIP() << host.error().ToString();
  }
};

// The kernel counts network namespaces per user namespace; with room for three,
// killing many holders one after the other works only if theirs are given back.
TEST_F(RightsTest, AKilledProcessLeavesNothingBehind) {
  const auto devices = Names("/sys/class/net");
  const auto named = Names("/run/netns");
  const std::string answer = InChild([]() -> std::string {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return "no user namespace";
    if (!WriteFile("/proc/self/setgroups", "deny") ||
        !WriteFile("/proc/self/uid_map", "0 0 1") ||
        !WriteFile("/proc/self/gid_map", "0 0 1")) {
      return "no map";
    }
    // One is this process's own, made above in the same user namespace.
    if (!WriteFile("/proc/sys/user/max_net_namespaces", "3")) return "no limit";
    for (int round = 0; round < 8; ++round) {
      std::string error;
      pid_t child = -1;
      // The kernel takes a namespace down on a thread of its own.
      for (int tries = 0; tries < 100; ++tries) {
        error.clear();
        child = StartHolder(KernelLegacyEngine(), &error);
        if (error.empty()) break;
        waitpid(child, nullptr, 0);
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
      }
      if (!error.empty()) {
        return "round " + std::to_string(round) + ": " + error;
      }
      kill(child, round % 2 == 0 ? SIGKILL : SIGINT);
      int status = 0;
      waitpid(child, &status, 0);
      if (!WIFSIGNALED(status)) return "not killed";
    }
    return "ok";
  });
  EXPECT_EQ(answer, "ok");
  EXPECT_EQ(Names("/sys/class/net"), devices);
  EXPECT_EQ(Names("/run/netns"), named);
}

TEST_F(RightsTest, TheLimitOfNamespacesIsToldAsSuch) {
  const std::string answer = InChild([]() -> std::string {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return "no user namespace";
    if (!WriteFile("/proc/self/setgroups", "deny") ||
        !WriteFile("/proc/self/uid_map", "0 0 1") ||
        !WriteFile("/proc/self/gid_map", "0 0 1") ||
        !WriteFile("/proc/sys/user/max_net_namespaces", "1")) {
      return "no limit";
    }
    const auto instance = KernelNftEngine().Open(OneDevice("eth0"));
    return instance ? "opened" : std::to_string(instance.error().errno_value);
  });
  EXPECT_EQ(answer, std::to_string(ENOSPC));
}

/// Opens each engine and puts a ruleset through as an ordinary user, with
/// /dev/net/tun open to all or closed.
std::string AsNobody(bool tun_for_all) {
  return InChild([tun_for_all]() -> std::string {
    if (unshare(CLONE_NEWNS) != 0 ||
        mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        mount("tmpfs", "/dev/net", "tmpfs", 0, nullptr) != 0 ||
        mknod("/dev/net/tun", S_IFCHR, makedev(10, 200)) != 0 ||
        chmod("/dev/net/tun", tun_for_all ? 0666 : 0600) != 0) {
      return "cannot set up";
    }
    if (setresgid(kNobody, kNobody, kNobody) != 0 ||
        setresuid(kNobody, kNobody, kNobody) != 0) {
      return "cannot become nobody";
    }
    // As after exec(): /proc/self belongs to the user again.
    prctl(PR_SET_DUMPABLE, 1);
    const Status rights = EnsureNetAdmin();
    if (!rights) return rights.error().ToString();
    for (const Engine* engine : {&KernelLegacyEngine(), &KernelNftEngine()}) {
      const Status available = engine->Available();
      if (!available) return available.error().ToString();
      const auto instance = engine->Open(OneDevice("eth0"));
      if (!instance) return instance.error().ToString();
      Ruleset ruleset;
      Rule accept;
      accept.target.kind = TargetKind::kAccept;
      ruleset.EnsureTable(TableKind::kFilter).chain("INPUT")->rules = {accept};
      const auto cost = (*instance)->Replace(ruleset);
      if (!cost) return cost.error().ToString();
      Packet packet;
      packet.in = "eth0";
      packet.bytes = {0x45, 0, 0,  20, 0, 0, 0,   0,   64,  17,
                      0,    0, 10, 0,  0, 1, 255, 255, 255, 255};
      // The header's checksum, so that the stack takes it.
      uint32_t sum = 0;
      for (size_t i = 0; i < 20; i += 2) {
        sum += packet.bytes[i] * 256u + packet.bytes[i + 1];
      }
      sum = ~(sum % 0xffff) & 0xffff;
      packet.bytes[10] = static_cast<uint8_t>(sum >> 8);
      packet.bytes[11] = static_cast<uint8_t>(sum);
      std::vector<Outcome> outcomes(1);
      const Status judged =
          (*instance)->Classify(std::span(&packet, 1), outcomes, {});
      if (!judged) return judged.error().ToString();
      if (outcomes[0].verdict != VerdictKind::kAccept ||
          outcomes[0].decided_by.rule != 1) {
        return "wrong outcome";
      }
      OpenOptions in_place;
      in_place.in_place = true;
      if (engine->Open(in_place)) return "acts on a network not his own";
    }
    return "ok";
  });
}

TEST_F(RightsTest, AnOrdinaryUserWorksInAUserNamespace) {
  EXPECT_EQ(AsNobody(true), "ok");
}

TEST_F(RightsTest, AnOrdinaryUserIsToldWhatIsMissing) {
  EXPECT_EQ(AsNobody(false),
            "error: cannot open /dev/net/tun: Permission denied");
}

TEST_F(RightsTest, AProcessWithThreadsCannotGetRights) {
  const std::string answer = InChild([]() -> std::string {
    if (setresuid(kNobody, kNobody, kNobody) != 0) return "cannot be nobody";
    prctl(PR_SET_DUMPABLE, 1);
    std::thread other([] { pause(); });
    const Status rights = EnsureNetAdmin();
    const std::string text = rights ? "got them" : rights.error().message;
    other.detach();
    return text;
  });
  EXPECT_NE(answer.find("more than one thread"), std::string::npos) << answer;
}

TEST_F(RightsTest, ScopesComeBack) {
  auto home = Namespace::Current();
  auto other = Namespace::Create();
  ASSERT_TRUE(home);
  ASSERT_TRUE(other);
  const auto here = [] { return *Namespace::Current()->Inode(); };
  const uint64_t inode = here();
  EXPECT_EQ(*home->Inode(), inode);
  EXPECT_NE(*other->Inode(), inode);
  {
    auto scope = NamespaceScope::Enter(*other);
    ASSERT_TRUE(scope);
    EXPECT_EQ(here(), *other->Inode());
    {
      // Moved, it still goes back only once.
      NamespaceScope moved = std::move(*scope);
      EXPECT_EQ(here(), *other->Inode());
    }
    EXPECT_EQ(here(), inode);
  }
  EXPECT_EQ(here(), inode);
}

}  // namespace
}  // namespace nfarena::kernel
