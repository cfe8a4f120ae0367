#include "engines/core/published.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace nfarena {
namespace {

constexpr uint64_t kDead = 0xdead;

/// Two halves that a reader must find equal, and neither dead.
struct Halves {
  explicit Halves(uint64_t n) : first(n), second(n) {}
  ~Halves() { first = second = kDead; }
  uint64_t first, second;
};

TEST(Published, PinGivesWhatIsInForce) {
  Published<Halves> published(std::make_unique<Halves>(1));
  Published<Halves>::Reader reader(&published);
  EXPECT_EQ(reader.Pin()->first, 1u);
  reader.Unpin();
  const auto old = published.Swap(std::make_unique<Halves>(2));
  EXPECT_EQ(old->first, 1u);
  EXPECT_EQ(reader.Pin()->first, 2u);
  EXPECT_EQ(published.current().first, 2u);
}

TEST(Published, LiveReadersHaveSlotsOfTheirOwn) {
  Published<Halves> published(std::make_unique<Halves>(1));
  std::set<size_t> indexes;
  std::vector<std::unique_ptr<Published<Halves>::Reader>> readers;
  for (size_t i = 0; i < Published<Halves>::kMaxReaders; ++i) {
    readers.push_back(std::make_unique<Published<Halves>::Reader>(&published));
    indexes.insert(readers.back()->index());
  }
  EXPECT_EQ(indexes.size(), readers.size());
  readers[3].reset();
  const Published<Halves>::Reader next(&published);
  EXPECT_EQ(next.index(), 3u);
}

TEST(Published, NobodyReadsWhatSwapGaveBack) {
  constexpr int kReaders = 3;
  constexpr uint64_t kSwaps = 2000;
  Published<Halves> published(std::make_unique<Halves>(1));
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kReaders; ++i) {
    threads.emplace_back([&] {
      uint64_t last = 0;
      while (!stop.load(std::memory_order_relaxed)) {
        Published<Halves>::Reader reader(&published);
        for (int n = 0; n < 100; ++n) {
          const Halves* seen = reader.Pin();
          const uint64_t first = seen->first;
          if (n % 16 == 0) std::this_thread::yield();
          // Later ones have higher numbers; a dead one has none.
          if (seen->second != first || first < last || first == kDead) {
            wrong.fetch_add(1);
          }
          last = first;
          reader.Unpin();
        }
      }
    });
  }
  for (uint64_t n = 2; n < kSwaps; ++n) {
    // What comes back is the writer's alone: it may be written and freed.
    auto old = published.Swap(std::make_unique<Halves>(n));
    old->first = 0;
  }
  stop = true;
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0u);
}

}  // namespace
}  // namespace nfarena
