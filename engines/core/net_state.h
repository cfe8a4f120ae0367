// What the rules of one network namespace share, beside connections: the
// ipsets they ask, and what matches remember under a name.
//
// A program (a ruleset in its engine's form) holds what its rules name for as
// long as it lives; what no program holds any more is gone, as in the kernel.
// So a ruleset that replaces another finds what both name, in the state it was.
// Whoever reads or changes it holds `mutex`: the extensions themselves when
// they judge a packet or check a rule, as the kernel's lock their own sets and
// tables.  So several readers of a blob may name the same set while another
// blob is loaded.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engines/core/ipset.h"

namespace nfarena {

/// Who remembers; the type behind a kind is known to its match alone.
enum class NamedKind : uint8_t { kHashlimit, kConnlimit };
inline constexpr size_t kNamedKindCount = 2;

/// What keeps named states alive: a program has one.
using NamedHolds = std::vector<std::shared_ptr<void>>;

class NamedStates {
 public:
  /// The state of that name, made by `make` (a unique_ptr<T>) if nobody holds
  /// one; held from now on.
  template <typename T, typename Make>
  T* Hold(NamedKind kind, std::string_view name, Make make, NamedHolds* holds) {
    std::weak_ptr<void>& slot =
        states_[static_cast<size_t>(kind)][std::string(name)];
    std::shared_ptr<void> state = slot.lock();
    if (state == nullptr) {
      state = std::shared_ptr<T>(make());
      slot = state;
    }
    holds->push_back(state);
    return static_cast<T*>(state.get());
  }

  /// nullptr when nobody holds one.
  template <typename T>
  T* Find(NamedKind kind, std::string_view name) const {
    const auto& states = states_[static_cast<size_t>(kind)];
    const auto it = states.find(name);
    return it == states.end() ? nullptr
                              : static_cast<T*>(it->second.lock().get());
  }

 private:
  std::array<std::map<std::string, std::weak_ptr<void>, std::less<>>,
             kNamedKindCount>
      states_;
};

struct NetState {
  IpSets sets;
  NamedStates named;
  std::mutex mutex = {};
};

}  // namespace nfarena
