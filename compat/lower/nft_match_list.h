// The matches of a rule being read back.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "compat/lower/nft_encode.h"
#include "compat/meaning/match.h"

namespace nfarena::nft {

class MatchList {
 public:
  void Push(Condition condition) {
    matches_.push_back({std::move(condition), {}});
  }
  /// A match that nft_compat carries.
  void PushCarried(Extension extension) {
    matches_.push_back({std::nullopt, std::move(extension)});
  }

  /// The last match when it is a T that `fits`, else a new one: several tests
  /// in a row may be one match of iptables.
  template <typename T, typename Fits>
  T& Join(const Fits& fits) {
    if (!matches_.empty() && matches_.back().condition) {
      T* last = std::get_if<T>(&*matches_.back().condition);
      if (last != nullptr && fits(*last)) return *last;
    }
    Push(T{});
    return std::get<T>(*matches_.back().condition);
  }

  /// Whether one of them is a T that `holds`.
  template <typename T, typename Holds>
  bool Any(const Holds& holds) const {
    for (const Match& match : matches_) {
      const T* one =
          match.condition ? std::get_if<T>(&*match.condition) : nullptr;
      if (one != nullptr && holds(*one)) return true;
    }
    return false;
  }

  /// In order, as extensions of a rule of that protocol.
  std::vector<Extension> Take(Family family, uint8_t protocol) {
    std::vector<Extension> extensions;
    extensions.reserve(matches_.size());
    for (Match& match : matches_) {
      extensions.push_back(match.condition
                               ? EncodeMatch(family, *match.condition, protocol)
                               : std::move(match.carried));
    }
    matches_.clear();
    return extensions;
  }

 private:
  struct Match {
    std::optional<Condition> condition;
    Extension carried;
  };
  std::vector<Match> matches_;
};

}  // namespace nfarena::nft
