// One pointer to an immutable program, swapped while readers use it.
//
// A reader pins the program for as long as it looks at it, by writing its
// address into a slot of its own (a hazard pointer); the writer swaps the
// pointer and then waits until no slot holds the old address, as
// xt_replace_table() waits for every CPU to leave the old table.  Afterwards
// the old program is the writer's alone: its counters can be read at rest and
// it can be freed.
//
// std::atomic<std::shared_ptr> would do the same with a lock and two counter
// updates a packet; a pin is one store and two loads.
#pragma once

#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <exception>
#include <memory>
#include <thread>

namespace nfarena {

template <typename T>
class Published {
 public:
  /// Readers at one time; a slot is one cache line.
  static constexpr size_t kMaxReaders = 64;

  explicit Published(std::unique_ptr<T> first) : current_(first.release()) {}
  /// No reader may be left.
  ~Published() { delete current_.load(); }
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;

  /// A thread's access.  Not to be shared between threads.
  class Reader {
   public:
    /// Takes a free slot; there must be one.
    explicit Reader(Published* published) : published_(*published) {
      for (index_ = 0; index_ < kMaxReaders; ++index_) {
        bool taken = false;
        if (published_.slots_[index_].taken.compare_exchange_strong(taken,
                                                                    true)) {
          return;
        }
      }
      assert(false && "more readers than slots");
      std::terminate();
    }
    ~Reader() {
      Unpin();
      published_.slots_[index_].taken.store(false);
    }
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

    /// The program in force.  It stays as it is, whatever writers do, until
    /// Unpin or the next Pin.
    T* Pin() {
      std::atomic<T*>& slot = published_.slots_[index_].pinned;
      T* seen = published_.current_.load();
      for (;;) {
        slot.store(seen);
        // Still in force after the store could be seen: the writer cannot
        // have missed it.
        T* again = published_.current_.load();
        if (again == seen) return seen;
        seen = again;
      }
    }
    void Unpin() { published_.slots_[index_].pinned.store(nullptr); }
    /// Below kMaxReaders; no two live readers have the same.
    size_t index() const { return index_; }

   private:
    Published& published_;
    size_t index_ = 0;
  };

  /// Puts `next` in force and waits until nobody looks at the old program,
  /// which is returned.  Writers are serialised by the caller; a thread that
  /// has pinned must not call it.
  std::unique_ptr<T> Swap(std::unique_ptr<T> next) {
    T* old = current_.exchange(next.release());
    for (Slot& slot : slots_) {
      while (slot.pinned.load() == old) std::this_thread::yield();
    }
    return std::unique_ptr<T>(old);
  }

  /// For the writer, who alone changes it.
  T& current() const { return *current_.load(); }

 private:
  struct alignas(64) Slot {
    std::atomic<T*> pinned{nullptr};
    std::atomic<bool> taken{false};
  };

  std::atomic<T*> current_;
  std::array<Slot, kMaxReaders> slots_;
};

}  // namespace nfarena
