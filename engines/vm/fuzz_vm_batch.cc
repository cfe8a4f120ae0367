// Any bytes as batches, and any choices as well-formed batches: a refused one
// changes nothing, and what is in force can always be dumped.
#include <linux/netfilter/nf_tables.h>
#include <linux/netlink.h>

#include <cstdlib>
#include <cstring>
#include <vector>

#include "engines/vm/control_plane.h"
#include "engines/vm/testing/random_batch.h"

namespace nfarena::vm {
namespace {

Bytes DumpAll(const ControlPlane& control) {
  Bytes all;
  const auto add = [&all](const Bytes& part) {
    all.insert(all.end(), part.begin(), part.end());
  };
  for (const DumpKind kind :
       {DumpKind::kTables, DumpKind::kChains, DumpKind::kRules, DumpKind::kSets,
        DumpKind::kObjects}) {
    add(control.Dump(kind, {}));
  }
  for (const auto& table : control.tables()) {
    for (const auto& set : table->sets) {
      add(control.DumpElements(table->name, set->name, {}));
    }
  }
  return all;
}

// Whole messages, one after the other, to the last byte.
bool IsWellFormed(const Bytes& dump) {
  size_t at = 0;
  while (at < dump.size()) {
    nlmsghdr head;
    if (dump.size() - at < sizeof(head)) return false;
    std::memcpy(&head, dump.data() + at, sizeof(head));
    if (head.nlmsg_len < sizeof(head) || dump.size() - at < head.nlmsg_len) {
      return false;
    }
    at += NLMSG_ALIGN(head.nlmsg_len);
  }
  return true;
}

void SubmitAndCheck(const Bytes& batch, ControlPlane* control) {
  const Bytes before = DumpAll(*control);
  const uint32_t generation = control->generation_id();
  const uint64_t program = control->program_bytes();
  const uint64_t state = control->state_bytes();
  const BatchResult result = control->Submit(batch);
  const Bytes after = DumpAll(*control);
  if (!IsWellFormed(after)) std::abort();
  if (result.committed) return;
  if (after != before) std::abort();
  if (control->generation_id() != generation) std::abort();
  if (control->program_bytes() != program) std::abort();
  if (control->state_bytes() != state) std::abort();
}

void Fuzz(std::span<const uint8_t> data) {
  Choices choices(data);
  const uint8_t mode = choices.Byte();
  const uint8_t family = (mode & 1) != 0 ? 10 : 2;
  ControlPlane control;
  if (!control.Submit(StandingBatch(family)).committed) std::abort();
  if ((mode & 2) != 0) {
    SubmitAndCheck(choices.Take(data.size() - 1), &control);
    return;
  }
  while (!choices.empty()) {
    const size_t most = 1 + choices.Below(8);
    SubmitAndCheck(RandomBatch(family, most, &choices), &control);
  }
}

}  // namespace
}  // namespace nfarena::vm

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size != 0) nfarena::vm::Fuzz({data, size});
  return 0;
}
