#include "corpus/generator/parameters.h"

namespace nfarena {
namespace {

constexpr uint8_t kAny = 0, kIcmp = 1, kTcp = 6, kUdp = 17, kEsp = 50;
constexpr PortClass WC = PortClass::kWildcard, HI = PortClass::kHigh,
                    LO = PortClass::kLow, AR = PortClass::kArbitraryRange,
                    EM = PortClass::kExact;

// Access lists: most rules let a network or everybody reach hosts and
// networks behind the router by an exact TCP port.
constexpr ProtocolWeight kAclProtocols[] = {
    {kTcp, 760}, {kUdp, 120}, {kAny, 80}, {kIcmp, 35}, {kEsp, 5}};
constexpr PrefixPair kAclPrefixes[] = {
    {0, 32, 210},  {0, 24, 90},   {0, 27, 40},  {0, 16, 20},
    {32, 32, 190}, {24, 32, 110}, {24, 24, 80}, {32, 24, 60},
    {16, 32, 50},  {16, 24, 40},  {28, 32, 40}, {23, 24, 20},
    {8, 24, 15},   {27, 27, 20},  {32, 16, 10}, {0, 0, 5}};
constexpr PortPair kAclTcp[] = {{WC, EM, 680}, {WC, AR, 90}, {WC, WC, 120},
                                {WC, HI, 50},  {WC, LO, 10}, {EM, HI, 30},
                                {HI, EM, 20}};
constexpr PortPair kAclUdp[] = {{WC, EM, 560}, {WC, WC, 170}, {WC, AR, 100},
                                {EM, EM, 60},  {WC, HI, 60},  {EM, HI, 50}};

// Firewalls: one side is often anything, services are ranges, and the last
// word is often "no".
constexpr ProtocolWeight kFwProtocols[] = {
    {kTcp, 560}, {kUdp, 210}, {kAny, 140}, {kIcmp, 60}, {kEsp, 30}};
constexpr PrefixPair kFwPrefixes[] = {
    {0, 32, 190},  {32, 0, 170}, {0, 24, 70},  {24, 0, 80}, {0, 0, 30},
    {32, 32, 110}, {24, 32, 70}, {32, 24, 60}, {16, 0, 50}, {0, 16, 40},
    {24, 24, 40},  {28, 0, 30},  {0, 28, 30},  {8, 32, 20}, {8, 0, 10}};
constexpr PortPair kFwTcp[] = {{WC, EM, 380}, {HI, EM, 170}, {WC, AR, 120},
                               {WC, WC, 140}, {EM, HI, 80},  {WC, HI, 60},
                               {HI, HI, 30},  {WC, LO, 20}};
constexpr PortPair kFwUdp[] = {{WC, EM, 360}, {HI, EM, 160}, {EM, EM, 100},
                               {WC, WC, 150}, {WC, AR, 120}, {EM, HI, 70},
                               {HI, HI, 40}};

// Linux chains: hosts of both sides are named, ports are exact on one or on
// both.
constexpr ProtocolWeight kIpcProtocols[] = {
    {kTcp, 610}, {kUdp, 230}, {kAny, 90}, {kIcmp, 60}, {kEsp, 10}};
constexpr PrefixPair kIpcPrefixes[] = {
    {32, 32, 280}, {32, 24, 110}, {24, 32, 120}, {24, 24, 90}, {0, 32, 110},
    {32, 0, 80},   {16, 32, 40},  {32, 16, 40},  {16, 16, 30}, {24, 16, 30},
    {0, 24, 30},   {24, 0, 20},   {0, 0, 8},     {29, 32, 12}};
constexpr PortPair kIpcTcp[] = {{WC, EM, 420}, {HI, EM, 180}, {EM, HI, 130},
                                {WC, WC, 120}, {EM, EM, 60},  {WC, AR, 60},
                                {EM, WC, 30}};
constexpr PortPair kIpcUdp[] = {{WC, EM, 340}, {EM, EM, 200}, {HI, EM, 150},
                                {WC, WC, 130}, {EM, HI, 110}, {WC, AR, 70}};

// Ports that services really have.
constexpr PortWeight kPorts[] = {
    {80, 150},  {443, 160}, {22, 80},   {53, 90},   {25, 60},   {21, 25},
    {23, 20},   {110, 25},  {143, 25},  {993, 25},  {995, 15},  {123, 35},
    {161, 35},  {389, 20},  {636, 10},  {445, 30},  {139, 20},  {135, 15},
    {1433, 20}, {1521, 20}, {3306, 25}, {5432, 20}, {3389, 30}, {8080, 40},
    {8443, 20}, {514, 20},  {500, 10},  {1194, 10}, {5060, 20}, {6379, 10},
    {9090, 10}, {11211, 5}, {27017, 5}, {2049, 10}, {111, 10},  {179, 10}};
constexpr RangeWeight kRanges[] = {
    {{137, 139}, 120},     {{20, 21}, 110},      {{6000, 6063}, 60},
    {{33434, 33523}, 80},  {{5060, 5061}, 80},   {{10000, 20000}, 90},
    {{49152, 65535}, 120}, {{32768, 61000}, 90}, {{8000, 8100}, 90},
    {{1024, 5000}, 50},    {{2300, 2400}, 30},   {{5900, 5910}, 50},
    {{27000, 27050}, 30}};

constexpr Parameters kAcl = {.protocols = kAclProtocols,
                             .prefixes = kAclPrefixes,
                             .tcp_ports = kAclTcp,
                             .udp_ports = kAclUdp,
                             .exact_ports = kPorts,
                             .ranges = kRanges,
                             .src_tree = {.fork_high_permille = 520,
                                          .fork_low_permille = 720,
                                          .heavy_permille = 640},
                             .dst_tree = {.fork_high_permille = 260,
                                          .fork_low_permille = 820,
                                          .heavy_permille = 620},
                             .same_site_permille = 80,
                             .accept_permille = 720};

constexpr Parameters kFw = {.protocols = kFwProtocols,
                            .prefixes = kFwPrefixes,
                            .tcp_ports = kFwTcp,
                            .udp_ports = kFwUdp,
                            .exact_ports = kPorts,
                            .ranges = kRanges,
                            .src_tree = {.fork_high_permille = 420,
                                         .fork_low_permille = 700,
                                         .heavy_permille = 700},
                            .dst_tree = {.fork_high_permille = 380,
                                         .fork_low_permille = 700,
                                         .heavy_permille = 700},
                            .same_site_permille = 150,
                            .accept_permille = 560};

constexpr Parameters kIpc = {.protocols = kIpcProtocols,
                             .prefixes = kIpcPrefixes,
                             .tcp_ports = kIpcTcp,
                             .udp_ports = kIpcUdp,
                             .exact_ports = kPorts,
                             .ranges = kRanges,
                             .src_tree = {.fork_high_permille = 460,
                                          .fork_low_permille = 780,
                                          .heavy_permille = 660},
                             .dst_tree = {.fork_high_permille = 340,
                                          .fork_low_permille = 780,
                                          .heavy_permille = 660},
                             .same_site_permille = 250,
                             .accept_permille = 650};

}  // namespace

const Parameters& ParametersOf(RuleProfile profile) {
  switch (profile) {
    case RuleProfile::kFw:
      return kFw;
    case RuleProfile::kIpc:
      return kIpc;
    case RuleProfile::kAcl:
      break;
  }
  return kAcl;
}

}  // namespace nfarena
