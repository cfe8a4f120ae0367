// Any bytes as the entries of a table: an error or a table that lowers again.
#include <cstdlib>
#include <cstring>

#include "compat/lower/xt_table.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace nfarena;
  // One byte of choice, then the offsets of ipt_replace, then entries.
  constexpr size_t kHead = 1 + 4 + 20 + 20;
  if (size < kHead) return 0;
  const Family family = (data[0] & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  const auto kind = static_cast<TableKind>((data[0] >> 1) % kTableKindCount);
  uint32_t valid_hooks;
  uint32_t hook_entry[5];
  uint32_t underflow[5];
  std::memcpy(&valid_hooks, data + 1, 4);
  std::memcpy(hook_entry, data + 5, 20);
  std::memcpy(underflow, data + 25, 20);
  const auto table = RaiseXtTable(family, kind, {data + kHead, size - kHead},
                                  hook_entry, underflow, valid_hooks, {});
  if (!table) return 0;
  // What was read is a table, so it has a blob; an unsorted one changes order.
  if (!LowerXtTable(family, *table)) std::abort();
  return 0;
}
