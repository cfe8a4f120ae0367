// One test of nf_tables -> a part of iptables' selector, or of a match.
#pragma once

#include "compat/lower/nft_comparison.h"
#include "compat/lower/nft_match_list.h"
#include "compat/model/ruleset.h"

namespace nfarena::nft {

/// The rule being read back, as far as tests change it.
struct TestTarget {
  Family family = Family::kIpv4;
  Selector selector;
  MatchList matches;
  bool has_source = false, has_destination = false;
  bool half_mac = false;        // the first of the two tests of -m mac has been
  bool half_connbytes = false;  // and of those of -m connbytes
  bool half_ecn = false;        // and of those of -m ecn
  bool whole_tcp = false;       // the TCP header is known to be whole

  /// "" or what a test is missing the other half of.
  const char* half() const {
    if (half_mac) return "a test of the device's type alone";
    if (half_connbytes) return "a test for counts alone";
    return half_ecn ? "a test for a whole TCP header alone" : "";
  }
};

/// Errors: kUnsupported, the message says why (or is empty).
[[nodiscard]] Status RaiseTest(const Test& test, TestTarget* to);

/// Those of the connection's state; called by RaiseTest.
[[nodiscard]] Status RaiseConntrackTest(const Ct& ct, const Test& test,
                                        TestTarget* to);

/// Those of nft_raise_host.cc; nullopt: not one of them.  Asked first by
/// RaiseTest.
[[nodiscard]] std::optional<Status> RaiseHostTest(const Test& test,
                                                  TestTarget* to);
/// Those of nft_lower_state's meta and ct keys; called by the others.
[[nodiscard]] Status RaiseMetaTest(const Meta& meta, const Test& test,
                                   TestTarget* to);
[[nodiscard]] Status RaiseCountTest(const Ct& ct, const Test& test,
                                    TestTarget* to);

/// Those of bytes in kWordReg and kTextReg; called by RaiseTest.
[[nodiscard]] Status RaiseBytesTest(const Payload& e, const Test& test,
                                    TestTarget* to);
/// Whether bytes that nothing compares are a part of nft_lower_bytes' tests.
bool TakesLoneBytes(const Payload& e, TestTarget* to);

/// (value & mask) == or != constant.
struct MaskedTest {
  Data mask, value;
};
/// The test as one of `size` bytes; a missing mask is one of all ones.
std::optional<MaskedTest> ToMasked(const Test& test, uint32_t size);

Address ToAddress(const Data& data);
PortRange ToPorts(const Interval& interval);

inline tl::unexpected<Error> NoForm(std::string why = "") {
  return Fail(ErrorCode::kUnsupported, std::move(why));
}

}  // namespace nfarena::nft
