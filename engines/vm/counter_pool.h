// Memory for the counters of rules, packed as the kernel packs per-CPU
// counters: 16 bytes each, neighbours in the order they were asked for.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "compat/model/ruleset.h"

namespace nfarena::vm {

class CounterPool {
 public:
  Counters* New() {
    ++used_;
    if (!free_.empty()) {
      Counters* counters = free_.back();
      free_.pop_back();
      *counters = Counters();
      return counters;
    }
    if (next_ == kBlock) {
      blocks_.push_back(std::make_unique<Counters[]>(kBlock));
      next_ = 0;
    }
    return &blocks_.back()[next_++];
  }
  void Free(Counters* counters) {
    --used_;
    free_.push_back(counters);
  }
  size_t bytes_used() const { return used_ * sizeof(Counters); }

 private:
  static constexpr size_t kBlock = 256;  // a page of counters
  std::vector<std::unique_ptr<Counters[]>> blocks_;
  std::vector<Counters*> free_;
  size_t next_ = kBlock;
  size_t used_ = 0;
};

}  // namespace nfarena::vm
