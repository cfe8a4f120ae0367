// One function object out of several lambdas, for std::visit.
#pragma once

namespace nfarena {

template <typename... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
// g++ 12 needs no guide, clang 14 does.
template <typename... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

}  // namespace nfarena
