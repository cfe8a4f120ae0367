#include "engines/core/ipset.h"
#include "engines/reference/question.h"

namespace nfarena::reference {
namespace {

IpSetCompare CompareOf(CounterTest test) {
  switch (test) {
    case CounterTest::kNone:
      return IpSetCompare::kNone;
    case CounterTest::kEqual:
      return IpSetCompare::kEqual;
    case CounterTest::kNotEqual:
      return IpSetCompare::kNotEqual;
    case CounterTest::kLess:
      return IpSetCompare::kLess;
    case CounterTest::kGreater:
      return IpSetCompare::kGreater;
  }
  return IpSetCompare::kNone;
}

}  // namespace

bool Holds(const SetMatch& set, const Question& question) {
  const IpSetQuery query{.set = set.index,
                         .dimensions = set.dimensions,
                         .source_parts = set.source_mask,
                         .return_nomatch = set.return_nomatch,
                         .update_counters = set.update_counters,
                         .update_subcounters = set.update_subcounters,
                         .packets_test = CompareOf(set.packets_test),
                         .bytes_test = CompareOf(set.bytes_test),
                         .packets = set.packets,
                         .bytes = set.bytes};
  return question.shared.sets->Test(query, &question.packet) != set.inverted;
}

}  // namespace nfarena::reference
