#include "engines/blob/blob_table.h"

#include <fmt/format.h>

#include <cassert>

#include "compat/lower/blob_lower.h"

namespace nfarena {
namespace {

std::unique_ptr<BlobGeneration> EmptyGeneration(Family family) {
  const auto image = LowerBlob(Ruleset{.family = family, .tables = {}}, {});
  assert(image && "an empty ruleset has a blob");
  BlobFault fault;
  auto program = BlobProgram::Load(image->bytes, nullptr, &fault);
  assert(program && "an empty blob is valid");
  return std::make_unique<BlobGeneration>(std::move(*program),
                                          std::span<const Counters>());
}

}  // namespace

BlobGeneration::BlobGeneration(std::unique_ptr<const BlobProgram> program,
                               std::span<const Counters> counters)
    : program_(std::move(program)),
      start_(counters.begin(), counters.end()),
      state_(program_->state_bytes() / sizeof(uint64_t)) {
  start_.resize(program_->counters_count());
  for (const BlobStateInit& init : program_->states()) {
    if (init.layout->init == nullptr) continue;
    // Behind the lock, which is zero when nobody holds it.
    init.layout->init(program_->base() + init.payload_offset,
                      state_.data() + init.state_offset / 8 + 1);
  }
}

BlobGeneration::~BlobGeneration() {
  for (auto& slots : slots_) delete[] slots.load();
}

BlobGeneration::Slot* BlobGeneration::CountersOf(size_t reader) {
  std::atomic<Slot*>& mine = slots_[reader];
  Slot* slots = mine.load(std::memory_order_acquire);
  if (slots == nullptr) {
    slots = new Slot[program_->counters_count() + 1];
    mine.store(slots, std::memory_order_release);
  }
  return slots;
}

std::vector<Counters> BlobGeneration::Sum() const {
  std::vector<Counters> sum = start_;
  for (const auto& of_reader : slots_) {
    const Slot* slots = of_reader.load(std::memory_order_acquire);
    if (slots == nullptr) continue;
    for (size_t i = 0; i < sum.size(); ++i) {
      sum[i].packets += slots[i].packets.load(std::memory_order_relaxed);
      sum[i].bytes += slots[i].bytes.load(std::memory_order_relaxed);
    }
  }
  return sum;
}

BlobTable::BlobTable(Family family, NetState* net)
    : family_(family), net_(net), published_(EmptyGeneration(family)) {}

Result<std::vector<Counters>> BlobTable::Load(
    std::span<const uint8_t> blob, std::span<const Counters> counters,
    BlobFault* fault) {
  BlobFault unused;
  ASSIGN_OR_RETURN(
      auto program,
      BlobProgram::Load(blob, net_, fault != nullptr ? fault : &unused));
  if (program->family() != family_) {
    return Fail(
        ErrorCode::kConflict,
        fmt::format("blob offset 6: an {} blob for an {} table",
                    FamilyName(program->family()), FamilyName(family_)));
  }
  if (!counters.empty() && counters.size() != program->counters_count()) {
    return Fail(ErrorCode::kRange,
                fmt::format("{} counters for {} slots", counters.size(),
                            program->counters_count()));
  }
  auto next = std::make_unique<BlobGeneration>(std::move(program), counters);
  const std::lock_guard<std::mutex> one_writer(writer_);
  return published_.Swap(std::move(next))->Sum();
}

std::vector<uint8_t> BlobTable::Bytes() const {
  return generation().program().ToBlob();
}

std::vector<Counters> BlobTable::Sum() const { return generation().Sum(); }

}  // namespace nfarena
