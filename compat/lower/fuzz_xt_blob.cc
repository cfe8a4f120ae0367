// Any bytes as the entries of a table, or a table lowered and damaged: an error
// or a table that lowers again, and what was not damaged is read back the same.
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>

#include <cstdlib>
#include <cstring>

#include "compat/lower/testing/random_extension.h"
#include "compat/lower/xt_table.h"
#include "compat/model/testing/random_table.h"

namespace nfarena {
namespace {

using testing::Choices;

void Raise(Family family, TableKind kind, std::span<const uint8_t> replace,
           const Table* original) {
  // struct ip6t_replace begins as ipt_replace does.
  ipt_replace head;
  if (replace.size() < sizeof(head)) return;
  std::memcpy(&head, replace.data(), sizeof(head));
  const auto table =
      RaiseXtTable(family, kind, replace.subspan(sizeof(head)), head.hook_entry,
                   head.underflow, head.valid_hooks, {});
  if (!table) {
    if (original != nullptr) std::abort();
    return;
  }
  // What was read is a table, so it has a blob; an unsorted one changes order.
  if (!LowerXtTable(family, *table)) std::abort();
  if (original != nullptr &&
      !SameRules({.family = family, .tables = {*original}},
                 {.family = family, .tables = {*table}})) {
    std::abort();
  }
}

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const uint8_t mode = choices.Byte();
  const Family family = (mode & 1) != 0 ? Family::kIpv6 : Family::kIpv4;
  const auto kind = static_cast<TableKind>((mode >> 1) % kTableKindCount);
  if ((mode & 0xc0) == 0xc0) {
    Raise(family, kind, data.subspan(1), nullptr);
    return;
  }
  const Table table =
      testing::RandomTable(family, kind, testing::RandomExtension, &choices);
  const auto image = LowerXtTable(family, table);
  if (!image) std::abort();
  std::vector<uint8_t> bytes = image->replace;
  choices.Damage(&bytes);
  Raise(family, kind, bytes, bytes == image->replace ? &table : nullptr);
}

}  // namespace
}  // namespace nfarena

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size != 0) nfarena::Fuzz({data, size});
  return 0;
}
