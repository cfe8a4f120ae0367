#include "compat/syntax/heap_growth.h"

#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace nfarena {

void GrowHeapOnHugePages(size_t bytes) {
#ifdef __GLIBC__
  constexpr size_t kHugePage = size_t{2} << 20;
  constexpr size_t kLimit = size_t{1} << 30;
  // Under the threshold from which malloc() maps a block of its own.
  constexpr size_t kBlock = 64 * 1024;
  constexpr int kDefaultTopPad = 128 * 1024;
  // The top of the heap is at most this much, so as many blocks pass it.
  constexpr size_t kBlocks = 2 * kDefaultTopPad / kBlock + 2;

  bytes = std::min(bytes, kLimit);
  if (bytes < kHugePage) return;
  const auto before = reinterpret_cast<uintptr_t>(sbrk(0));
  if (mallopt(M_TOP_PAD, static_cast<int>(bytes + kHugePage)) == 0) return;
  void* blocks[kBlocks] = {};
  uintptr_t after = before;
  for (void*& block : blocks) {
    block = malloc(kBlock);
    after = reinterpret_cast<uintptr_t>(sbrk(0));
    if (after != before) break;
  }
  if (after > before) {
    constexpr uintptr_t kPage = 4096;
    const uintptr_t begin = (before + kPage - 1) / kPage * kPage;
    const uintptr_t end = after / kPage * kPage;
    (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }
  // Freed with the pad still set, or the heap would shrink again at once.
  for (void* block : blocks) free(block);
  mallopt(M_TOP_PAD, kDefaultTopPad);
  // mallopt() has ended malloc()'s own adaption: a program that frees big
  // blocks would from now on get each of them fresh from the system.  These
  // are the values the adaption would have come to.
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 64 << 20);
#else
  (void)bytes;
#endif
}

}  // namespace nfarena
