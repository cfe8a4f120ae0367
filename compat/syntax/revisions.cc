#include "compat/syntax/revisions.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <optional>

#include "compat/syntax/xt_headers.h"

namespace nfarena {

namespace {

struct Entry {
  std::string_view name;
  uint8_t revision;
};

bool operator<(const Entry& entry, std::string_view name) {
  return entry.name < name;
}

// Highest revisions of Linux 6.1 to 6.18, as IPT_SO_GET_REVISION_MATCH and
// IPT_SO_GET_REVISION_TARGET answer; equal for both families.  Sorted.
constexpr Entry kMatches[] = {
    {"addrtype", 1},   {"ah", 0},        {"bpf", 1},       {"cgroup", 2},
    {"cluster", 0},    {"comment", 0},   {"connbytes", 0}, {"connlabel", 0},
    {"connlimit", 1},  {"connmark", 1},  {"conntrack", 3}, {"cpu", 0},
    {"dccp", 0},       {"devgroup", 0},  {"dscp", 0},      {"dst", 0},
    {"ecn", 0},        {"esp", 0},       {"eui64", 0},     {"frag", 0},
    {"hashlimit", 3},  {"hbh", 0},       {"helper", 0},    {"hl", 0},
    {"icmp", 0},       {"icmp6", 0},     {"ipcomp", 0},    {"iprange", 1},
    {"ipv6header", 0}, {"ipvs", 0},      {"length", 0},    {"limit", 0},
    {"mac", 0},        {"mark", 1},      {"mh", 0},        {"multiport", 1},
    {"nfacct", 1},     {"osf", 0},       {"owner", 1},     {"physdev", 0},
    {"pkttype", 0},    {"policy", 0},    {"quota", 0},     {"rateest", 0},
    {"realm", 0},      {"recent", 1},    {"rpfilter", 0},  {"rt", 0},
    {"sctp", 0},       {"set", 4},       {"socket", 3},    {"srh", 1},
    {"state", 0},      {"statistic", 0}, {"string", 1},    {"tcp", 0},
    {"tcpmss", 0},     {"time", 0},      {"tos", 1},       {"ttl", 0},
    {"u32", 0},        {"udp", 0},
};

constexpr Entry kTargets[] = {
    {"AUDIT", 0},       {"CHECKSUM", 0}, {"CLASSIFY", 0},    {"CONNMARK", 2},
    {"CONNSECMARK", 0}, {"CT", 2},       {"DNAT", 2},        {"DNPT", 0},
    {"DSCP", 0},        {"ECN", 0},      {"HL", 0},          {"HMARK", 0},
    {"IDLETIMER", 1},   {"LED", 0},      {"LOG", 0},         {"MARK", 2},
    {"MASQUERADE", 0},  {"NETMAP", 0},   {"NFLOG", 0},       {"NFQUEUE", 3},
    {"NOTRACK", 0},     {"RATEEST", 0},  {"REDIRECT", 0},    {"REJECT", 0},
    {"SECMARK", 1},     {"SET", 3},      {"SNAT", 2},        {"SNPT", 0},
    {"SYNPROXY", 0},    {"TCPMSS", 0},   {"TCPOPTSTRIP", 0}, {"TEE", 1},
    {"TOS", 1},         {"TPROXY", 1},   {"TRACE", 0},       {"TTL", 0},
};

// The kernel's answer; nullopt when it cannot be asked or does not have the
// extension.  The socket is not kept: it would keep the namespace alive.
std::optional<bool> AskKernel(Family family, bool target, std::string_view name,
                              uint8_t revision) {
  const bool ipv4 = family == Family::kIpv4;
  const int fd =
      socket(ipv4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0) return std::nullopt;
  xt_get_revision question{};
  std::memcpy(question.name, name.data(),
              std::min(name.size(), sizeof(question.name) - 1));
  question.revision = revision;
  socklen_t size = sizeof(question);
  const int option =
      ipv4
          ? (target ? IPT_SO_GET_REVISION_TARGET : IPT_SO_GET_REVISION_MATCH)
          : (target ? IP6T_SO_GET_REVISION_TARGET : IP6T_SO_GET_REVISION_MATCH);
  const int answer = getsockopt(fd, ipv4 ? IPPROTO_IP : IPPROTO_IPV6, option,
                                &question, &size);
  const int error = errno;
  close(fd);
  if (answer >= 0) return true;
  // Known by name, but not this revision.
  if (error == EPROTONOSUPPORT) return false;
  return std::nullopt;
}

}  // namespace

int BuiltinRevision(bool target, std::string_view name) {
  const Entry* begin = target ? std::begin(kTargets) : std::begin(kMatches);
  const Entry* end = target ? std::end(kTargets) : std::end(kMatches);
  const Entry* found = std::lower_bound(begin, end, name);
  return found != end && found->name == name ? found->revision : -1;
}

bool RevisionSupported(Family family, bool target, std::string_view name,
                       uint8_t revision) {
  if (const auto answer = AskKernel(family, target, name, revision)) {
    return *answer;
  }
  const int highest = BuiltinRevision(target, name);
  return highest < 0 || revision <= highest;
}

}  // namespace nfarena
