// A packet in the making: the fields a rule can ask about, each free, wanted
// or settled, and how a selector or match narrows them.
#pragma once

#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "compat/meaning/match.h"
#include "compat/model/ruleset.h"

namespace nfarena {

enum class WantedState : uint8_t {
  kAny,
  kNew,
  kEstablished,  // needs an opening packet the other way
  kRelated,      // an ICMP error about an earlier flow
  kInvalid,
};

struct Sketch {
  Family family = Family::kIpv4;
  std::string in, out;
  std::optional<Address> src, dst;
  uint8_t protocol = 0;  // 0 = still free
  std::optional<uint16_t> src_port, dst_port;
  std::optional<uint8_t> tcp_flags;
  std::optional<uint8_t> tcp_option;
  std::optional<uint8_t> icmp_type, icmp_code;
  std::optional<uint8_t> tos, ttl;
  std::optional<uint16_t> length;  // layer 3
  std::optional<uint32_t> mark, uid, gid;
  std::optional<std::array<uint8_t, 6>> mac;
  bool fragment = false;   // a later fragment
  bool forwarded = false;  // seen after the TTL was decremented
  WantedState state = WantedState::kAny;
};

/// IPPROTO_ICMP or IPPROTO_ICMPV6.
uint8_t IcmpProtocol(Family family);

/// Random choices over one ruleset's vocabulary.
class Chooser {
 public:
  Chooser(const Ruleset& ruleset, uint64_t seed);

  uint64_t Below(uint64_t bound);  // [0, bound)
  bool Chance(double probability);
  /// A device named in the ruleset, or eth0, eth1; never "lo".
  const std::string& Device();
  /// A device for which `test` does (or does not) hold; "" when none does.
  std::string DeviceFor(const InterfaceTest& test, bool holds);
  /// An address that any host may send from and to.
  Address PlainAddress(Family family);
  /// An address inside (or outside) address/mask.
  Address AddressIn(Family family, const Address& address, const Address& mask,
                    bool inside);
  uint16_t PortIn(const PortRange& range, bool inside);

 private:
  std::mt19937_64 random_;
  std::vector<std::string> devices_;
};

/// Narrows the sketch so that the condition holds (`hold`) or just fails.
/// False: it cannot be steered by packet fields alone (statistic, set...).
bool Steer(const Condition& condition, bool hold, Chooser* choose,
           Sketch* sketch);

/// The parts of a selector that say something, so that a near miss can break
/// one of them.
enum class SelectorPart : uint8_t {
  kIn,
  kOut,
  kSrc,
  kDst,
  kProtocol,
  kFragment
};
std::vector<SelectorPart> PartsOf(const Selector& selector);
void SteerSelector(const Selector& selector, SelectorPart part, bool hold,
                   Chooser* choose, Sketch* sketch);

/// Settles what is still free and writes the line (without newline).
std::string SketchLine(Sketch* sketch, Chooser* choose);

/// The answering direction of a settled sketch: ends, ports and devices
/// swapped.
Sketch Reversed(const Sketch& sketch);

}  // namespace nfarena
