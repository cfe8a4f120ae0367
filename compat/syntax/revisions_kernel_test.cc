// The table of revisions against the running kernel.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "compat/syntax/revisions.h"

namespace nfarena {
namespace {

// The kernel is asked first, so its answers show where it has the extension.
TEST(Revisions, TableIsWhatTheKernelSays) {
  const int fd = socket(AF_INET, SOCK_RAW, IPPROTO_RAW);
  if (fd < 0) GTEST_SKIP() << "no right to ask the kernel (CAP_NET_RAW)";
  close(fd);
  const struct {
    bool target;
    const char* names[24];
  } kGroups[] = {
      {false,
       {"tcp", "udp", "multiport", "iprange", "conntrack", "mark", "connmark",
        "limit", "mac", "addrtype", "length", "dscp", "tos", "pkttype", "owner",
        "comment", "statistic"}},
      {true,
       {"NFQUEUE", "REJECT", "LOG", "NFLOG", "MARK", "CONNMARK", "SNAT", "DNAT",
        "MASQUERADE", "REDIRECT", "NETMAP", "CT", "TRACE", "TCPMSS", "DSCP",
        "TOS", "CLASSIFY"}},
  };
  for (Family family : {Family::kIpv4, Family::kIpv6}) {
    for (const auto& group : kGroups) {
      for (const char* name : group.names) {
        if (name == nullptr) break;
        const int highest = BuiltinRevision(group.target, name);
        ASSERT_GE(highest, 0) << name;
        const auto supported = [&](int revision) {
          return RevisionSupported(family, group.target, name,
                                   static_cast<uint8_t>(revision));
        };
        EXPECT_TRUE(supported(highest)) << name;
        EXPECT_FALSE(supported(highest + 1)) << name;
      }
    }
  }
}

}  // namespace
}  // namespace nfarena
