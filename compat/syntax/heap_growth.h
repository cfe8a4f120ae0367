// Room on the heap for many small objects, on huge pages.
//
// A big text becomes some hundred thousand small vectors.  Each fresh 4 KiB
// page of the heap costs a page fault, up to 10 us on a virtual machine: more
// than parsing the rules that fit in it.
#pragma once

#include <cstddef>

namespace nfarena {

/// Grows the heap of the main thread by about `bytes` and asks for huge pages
/// there before anything touches them.  Only advice: where it has no effect
/// (another thread's arena, another malloc), nothing changes but the time.
/// What is not used goes back to the system at a later free().
void GrowHeapOnHugePages(size_t bytes);

}  // namespace nfarena
