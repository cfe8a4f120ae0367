// Big vectors on huge pages.
//
// A ruleset of 50,000 rules is 10 MB of wire form.  Touching it for the first
// time costs one page fault every 4 KiB, and on a virtual machine a fault can
// cost 10 us: ten times more than packing the rules.  Asking for huge pages
// before the first touch takes that away (12 MB: 37 ms -> 1 ms measured); where
// the system has none, nothing changes.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace nfarena {

inline constexpr size_t kHugePageBytes = size_t{2} << 20;

/// Advises huge pages for whole pages inside [data, data + bytes), before they
/// are touched.  Advice only: a refusal costs time, not correctness.
inline void AdviseHugePages(void* data, size_t bytes) {
  constexpr uintptr_t kPage = 4096;
  const auto from = reinterpret_cast<uintptr_t>(data);
  const uintptr_t begin = (from + kPage - 1) / kPage * kPage;
  const uintptr_t end = (from + bytes) / kPage * kPage;
  if (begin < end) {
    (void)madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
  }
}

/// Reserves `count` elements; a reservation of over a huge page's size is
/// rounded up, so that its end lies in one too.  Nothing is touched.
template <typename T>
void ReserveOnHugePages(std::vector<T>* items, size_t count) {
  const size_t bytes = count * sizeof(T);
  if (bytes < kHugePageBytes || count <= items->capacity()) {
    items->reserve(count);
    return;
  }
  items->reserve(count + kHugePageBytes / sizeof(T));
  AdviseHugePages(items->data(), items->capacity() * sizeof(T));
}

}  // namespace nfarena
