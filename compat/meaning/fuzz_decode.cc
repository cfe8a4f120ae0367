// Any name, revision and payload: the decoders answer, never crash.
//
// Input: byte 0 bit 0 = family; byte 1 = revision; byte 2 = index of a known
// name, or past their number: a name from the input itself (byte 3 = length).
#include <cstddef>
#include <cstdint>
#include <string>

#include "compat/meaning/match.h"
#include "compat/meaning/target.h"

namespace {

// So that the fuzzer need not find the names by itself; keep with the decoder
// tables of match.cc and target.cc.
constexpr const char* kNames[] = {
    "tcp",       "udp",       "udplite",    "icmp",        "icmp6",
    "multiport", "iprange",   "state",      "conntrack",   "mark",
    "connmark",  "limit",     "mac",        "length",      "addrtype",
    "dscp",      "tos",       "ttl",        "hl",          "pkttype",
    "owner",     "comment",   "set",        "statistic",   "REJECT",
    "LOG",       "NFLOG",     "NFQUEUE",    "MARK",        "CONNMARK",
    "SNAT",      "DNAT",      "MASQUERADE", "REDIRECT",    "NETMAP",
    "CT",        "NOTRACK",   "TRACE",      "TCPMSS",      "DSCP",
    "TOS",       "TTL",       "HL",         "CLASSIFY",    "recent",
    "hashlimit", "connlimit", "connbytes",  "quota",       "time",
    "ecn",       "esp",       "ah",         "sctp",        "dccp",
    "tcpmss",    "string",    "u32",        "frag",        "rt",
    "hbh",       "dst",       "ipv6header", "helper",      "rpfilter",
    "policy",    "physdev",   "cpu",        "realm",       "socket",
    "devgroup",  "CHECKSUM",  "ECN",        "TCPOPTSTRIP", "TEE",
    "AUDIT",     "SET"};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const nfarena::Family family =
      data[0] & 1 ? nfarena::Family::kIpv6 : nfarena::Family::kIpv4;
  nfarena::Extension extension;
  extension.revision = data[1];
  const uint8_t* rest = data + 3;
  size_t left = size - 3;
  if (data[2] < std::size(kNames)) {
    extension.name = kNames[data[2]];
  } else {
    const size_t length = std::min<size_t>(rest[0], left - 1);
    extension.name.assign(reinterpret_cast<const char*>(rest + 1), length);
    rest += 1 + length;
    left -= 1 + length;
  }
  extension.payload.assign(rest, rest + left);
  const auto match = nfarena::DecodeMatch(family, extension);
  const auto target = nfarena::DecodeTarget(family, extension);
  if (!match) (void)match.error().ToString();
  if (!target) (void)target.error().ToString();
  return 0;
}
