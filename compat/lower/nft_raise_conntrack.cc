#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tuple_common.h>
#include <linux/netfilter/nf_tables.h>

#include <utility>

#include "compat/lower/nft_raise_match.h"

namespace nfarena::nft {
namespace {

constexpr uint32_t kAllBits = 0xffffffff;

class ConntrackReader {
 public:
  ConntrackReader(const Ct& ct, TestTarget* to) : ct_(ct), to_(to) {}

  // Not inlined: where g++ 12 sees the object, it takes the call through a
  // pointer to member for a read behind it (-Wmaybe-uninitialized).
  [[gnu::noinline]] Status Read(const Test& test);

 private:
  struct Handler {
    uint32_t key;
    Status (ConntrackReader::*handle)(const Test&);
  };
  static const Handler kHandlers[];

  /// A match whose state test lets packets without connection through passes
  /// all its other tests too, so nothing may be added to such a one; and a
  /// state test begins a match.
  ConntrackMatch& Conntrack(ConntrackTest test) {
    auto& match =
        to_->matches.Join<ConntrackMatch>([test](const ConntrackMatch& last) {
          static constexpr uint16_t kWithout =
              kCtStateInvalid | kCtStateUntracked;
          const bool inverted = (last.inverted & kCtTestState) != 0;
          const bool without =
              (last.tests & kCtTestState) != 0 &&
              (inverted ? (last.state_mask & kWithout) != kWithout
                        : (last.state_mask & kWithout) != 0);
          return test != kCtTestState && (last.tests & test) == 0 && !without;
        });
    match.tests = static_cast<uint16_t>(match.tests | test);
    return match;
  }

  void InvertConntrack(ConntrackMatch* match, ConntrackTest test) {
    match->inverted = static_cast<uint16_t>(match->inverted | test);
  }

  /// (loaded & bits) != 0 or == 0; the bits and whether it is inverted.
  std::optional<std::pair<uint32_t, bool>> AnyBit(const Test& test) const {
    const auto masked = ToMasked(test, 4);
    if (!masked || !test.value.bitwise || masked->value.host32() != 0) {
      return std::nullopt;
    }
    return std::pair(masked->mask.host32(), test.relation == Relation::kEqual);
  }

  Status TestState(const Test& test) {
    const auto bits = AnyBit(test);
    constexpr uint32_t kUntracked = 1u << 6;
    constexpr uint32_t kPlain =
        kCtStateInvalid | kCtStateEstablished | kCtStateRelated | kCtStateNew;
    if (!bits || (bits->first & ~(kPlain | kUntracked)) != 0) return NoForm();
    auto& match = Conntrack(kCtTestState);
    match.state_mask = static_cast<uint16_t>(bits->first & kPlain);
    if ((bits->first & kUntracked) != 0) match.state_mask |= kCtStateUntracked;
    if (bits->second) InvertConntrack(&match, kCtTestState);
    return {};
  }

  Status TestStatus(const Test& test) {
    const auto bits = AnyBit(test);
    constexpr uint32_t kNat = IPS_SRC_NAT | IPS_DST_NAT;
    if (!bits) return NoForm();
    if ((bits->first & kNat) != 0) {  // virtual states of iptables
      if ((bits->first & ~kNat) != 0 || bits->second) return NoForm();
      auto& match = Conntrack(kCtTestState);
      if ((bits->first & IPS_SRC_NAT) != 0) match.state_mask |= kCtStateSnat;
      if ((bits->first & IPS_DST_NAT) != 0) match.state_mask |= kCtStateDnat;
      return {};
    }
    if (bits->first > 0xffff) return NoForm();
    auto& match = Conntrack(kCtTestStatus);
    match.status_mask = static_cast<uint16_t>(bits->first);
    if (bits->second) InvertConntrack(&match, kCtTestStatus);
    return {};
  }

  Status TestDirection(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1 ||
        test.from.bytes[0] > IP_CT_DIR_REPLY) {
      return NoForm();
    }
    auto& match = Conntrack(kCtTestDirection);
    const bool reply = test.from.bytes[0] == IP_CT_DIR_REPLY;
    if (reply != test.inverted()) InvertConntrack(&match, kCtTestDirection);
    return {};
  }

  Status TestMark(const Test& test) {
    const auto bits = ToMasked(test, 4);
    if (!bits) return NoForm();
    to_->matches.Push(ConnmarkMatch{bits->value.host32(), bits->mask.host32(),
                                    test.inverted()});
    return {};
  }

  Status TestProtocol(const Test& test) {
    if (!test.equality() || !test.value.plain() || test.from.size != 1) {
      return NoForm();
    }
    auto& match = Conntrack(kCtTestProtocol);
    match.protocol = test.from.bytes[0];
    if (test.inverted()) InvertConntrack(&match, kCtTestProtocol);
    return {};
  }

  Status TestExpiration(const Test& test) {
    const auto interval = ToInterval(test, 4);
    if (!interval || !test.value.swapped) return NoForm();
    const uint32_t first = interval->from.be32();
    const uint32_t last = interval->to.be32();
    if (first % 1000 != 0 || (last != kAllBits && last % 1000 != 999)) {
      return NoForm("iptables counts whole seconds");
    }
    auto& match = Conntrack(kCtTestExpires);
    match.expires_first_s = first / 1000;
    match.expires_last_s = last == kAllBits ? kAllBits : last / 1000;
    if (interval->inverted) InvertConntrack(&match, kCtTestExpires);
    return {};
  }

  Status TestSource(const Test& test) {
    return TestAddress(test, kCtTestOriginalSource,
                       &ConntrackMatch::original_source, kCtTestReplySource,
                       &ConntrackMatch::reply_source);
  }
  Status TestDestination(const Test& test) {
    return TestAddress(
        test, kCtTestOriginalDestination, &ConntrackMatch::original_destination,
        kCtTestReplyDestination, &ConntrackMatch::reply_destination);
  }

  Status TestAddress(const Test& test, ConntrackTest original,
                     MaskedAddress ConntrackMatch::*original_field,
                     ConntrackTest reply,
                     MaskedAddress ConntrackMatch::*reply_field) {
    const auto bits = ToMasked(test, to_->family == Family::kIpv4 ? 4 : 16);
    const auto direction = ct_.direction;
    if (!bits || !direction) return NoForm();
    const bool is_reply = *direction == IP_CT_DIR_REPLY;
    const ConntrackTest which = is_reply ? reply : original;
    auto& match = Conntrack(which);
    match.*(is_reply ? reply_field : original_field) =
        MaskedAddress{ToAddress(bits->value), ToAddress(bits->mask)};
    if (test.inverted()) InvertConntrack(&match, which);
    return {};
  }

  Status TestSourcePort(const Test& test) {
    return TestPort(test, kCtTestOriginalSourcePort,
                    &ConntrackMatch::original_source_port,
                    kCtTestReplySourcePort, &ConntrackMatch::reply_source_port);
  }
  Status TestDestinationPort(const Test& test) {
    return TestPort(test, kCtTestOriginalDestinationPort,
                    &ConntrackMatch::original_destination_port,
                    kCtTestReplyDestinationPort,
                    &ConntrackMatch::reply_destination_port);
  }

  Status TestPort(const Test& test, ConntrackTest original,
                  PortRange ConntrackMatch::*original_field,
                  ConntrackTest reply, PortRange ConntrackMatch::*reply_field) {
    const auto interval = ToInterval(test, 2);
    const auto direction = ct_.direction;
    if (!interval || !test.value.plain() || !direction) return NoForm();
    const bool is_reply = *direction == IP_CT_DIR_REPLY;
    const ConntrackTest which = is_reply ? reply : original;
    auto& match = Conntrack(which);
    PortRange range = ToPorts(*interval);
    if (range.inverted) InvertConntrack(&match, which);
    range.inverted = false;  // the match's own bit says it
    match.*(is_reply ? reply_field : original_field) = range;
    return {};
  }

  const Ct& ct_;
  TestTarget* to_;
};

const ConntrackReader::Handler ConntrackReader::kHandlers[] = {
    {NFT_CT_STATE, &ConntrackReader::TestState},
    {NFT_CT_STATUS, &ConntrackReader::TestStatus},
    {NFT_CT_DIRECTION, &ConntrackReader::TestDirection},
    {NFT_CT_MARK, &ConntrackReader::TestMark},
    {NFT_CT_PROTOCOL, &ConntrackReader::TestProtocol},
    {NFT_CT_EXPIRATION, &ConntrackReader::TestExpiration},
    {NFT_CT_SRC, &ConntrackReader::TestSource},
    {NFT_CT_DST, &ConntrackReader::TestDestination},
    {NFT_CT_SRC_IP, &ConntrackReader::TestSource},
    {NFT_CT_DST_IP, &ConntrackReader::TestDestination},
    {NFT_CT_SRC_IP6, &ConntrackReader::TestSource},
    {NFT_CT_DST_IP6, &ConntrackReader::TestDestination},
    {NFT_CT_PROTO_SRC, &ConntrackReader::TestSourcePort},
    {NFT_CT_PROTO_DST, &ConntrackReader::TestDestinationPort},
};

Status ConntrackReader::Read(const Test& test) {
  for (const Handler& handler : kHandlers) {
    if (handler.key == ct_.key) return (this->*handler.handle)(test);
  }
  return RaiseCountTest(ct_, test, to_);
}

}  // namespace

Status RaiseConntrackTest(const Ct& ct, const Test& test, TestTarget* to) {
  return ConntrackReader(ct, to).Read(test);
}

}  // namespace nfarena::nft
