#include "engines/vm/objects.h"

#include <cstring>
#include <new>

#include "engines/vm/set.h"

namespace nfarena::vm {

Rule* Rule::Create(size_t code_size, size_t user_size) {
  const size_t bytes = sizeof(Rule) + code_size + user_size;
  void* memory = ::operator new(bytes);
  Rule* rule = new (memory) Rule;
  rule->code_size = static_cast<uint16_t>(code_size);
  rule->user_size = static_cast<uint16_t>(user_size);
  std::memset(rule->code(), 0, code_size + user_size);
  return rule;
}

void Rule::Destroy(Rule* rule) {
  rule->~Rule();
  ::operator delete(rule);
}

const char* ChainTypeName(ChainType type) {
  switch (type) {
    case ChainType::kFilter:
      return "filter";
    case ChainType::kRoute:
      return "route";
    case ChainType::kNat:
      return "nat";
  }
  return "";
}

void Chain::InsertAfter(Rule* rule, Rule* where) {
  rule->previous = where;
  rule->following = where != nullptr ? where->following : first;
  (rule->previous != nullptr ? rule->previous->following : first) = rule;
  (rule->following != nullptr ? rule->following->previous : last) = rule;
}

void Chain::InsertBefore(Rule* rule, Rule* where) {
  InsertAfter(rule, where != nullptr ? where->previous : last);
}

void Chain::Unlink(Rule* rule) {
  (rule->previous != nullptr ? rule->previous->following : first) =
      rule->following;
  (rule->following != nullptr ? rule->following->previous : last) =
      rule->previous;
  rule->previous = rule->following = nullptr;
}

Table::Table() = default;
Table::~Table() = default;

}  // namespace nfarena::vm
