// The one table in force: a program, its counters and its match state, swapped
// as one while other threads classify.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "compat/model/result.h"
#include "engines/blob/blob_program.h"
#include "engines/core/packet_state.h"
#include "engines/core/published.h"

namespace nfarena {

/// A program and all that changes under it.  Counters are per reader, as the
/// kernel's are per CPU: each is written by one thread only, so plain loads and
/// stores of an atomic do, and a dump sums them.  State is shared by all
/// readers and guarded by one lock a use, as the kernel's matches have.
class BlobGeneration {
 public:
  /// `counters` by slot; empty = zeros.
  BlobGeneration(std::unique_ptr<const BlobProgram> program,
                 std::span<const Counters> counters);
  ~BlobGeneration();
  BlobGeneration(const BlobGeneration&) = delete;
  BlobGeneration& operator=(const BlobGeneration&) = delete;

  struct Slot {
    std::atomic<uint64_t> packets{0};
    std::atomic<uint64_t> bytes{0};
  };

  const BlobProgram& program() const { return *program_; }
  /// The counters of one reader, made when it asks for the first time.
  Slot* CountersOf(size_t reader);
  std::vector<Counters> Sum() const;
  uint64_t* state() { return state_.data(); }
  uint64_t state_bytes() const { return state_.size() * sizeof(uint64_t); }

 private:
  std::unique_ptr<const BlobProgram> program_;
  std::vector<Counters> start_;
  std::array<std::atomic<Slot*>, Published<int>::kMaxReaders> slots_{};
  std::vector<uint64_t> state_;
};

/// Where a walk is.
struct BlobPosition {
  uint32_t chain;
  const uint8_t* rule;
};

class BlobTable {
 public:
  /// The family of blobs it takes; an empty one is in force.
  explicit BlobTable(Family family, NetState* net = nullptr);

  /// Puts a blob in force: built aside, then one pointer swapped, then waited
  /// until no reader is in the old one.  Returns the old one's counters by
  /// slot; none is lost.  On error nothing has changed.
  [[nodiscard]] Result<std::vector<Counters>> Load(
      std::span<const uint8_t> blob, std::span<const Counters> counters,
      BlobFault* fault = nullptr);
  /// The blob in force, as loaded, and its counters by slot.
  std::vector<uint8_t> Bytes() const;
  std::vector<Counters> Sum() const;

  Family family() const { return family_; }
  /// For the thread that loads.
  BlobGeneration& generation() const { return published_.current(); }

  /// One thread's way through the table.
  class Reader {
   public:
    explicit Reader(BlobTable* table) : reader_(&table->published_) {}
    /// Until Unpin, every Evaluate is by the same blob.
    void Pin() {
      generation_ = reader_.Pin();
      counters_ = generation_->CountersOf(reader_.index());
    }
    void Unpin() {
      generation_ = nullptr;
      reader_.Unpin();
    }
    /// Pinned only.
    bool HasStage(Stage stage) const {
      return generation_->program().Entry(stage.table, stage.hook) != 0;
    }
    /// Pinned only; the stage must be there.
    StageVerdict Evaluate(Stage stage, bool trace, PacketState* packet);

   private:
    Published<BlobGeneration>::Reader reader_;
    BlobGeneration* generation_ = nullptr;
    BlobGeneration::Slot* counters_ = nullptr;
    std::vector<BlobPosition> jump_stack_;
  };

 private:
  Family family_;
  NetState* net_;
  std::mutex writer_;
  Published<BlobGeneration> published_;
};

}  // namespace nfarena
