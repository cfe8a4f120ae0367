// The options of iptables itself, as getopt_long() gets them.
// Source: iptables 1.8.9, iptables/iptables.c original_opts[] and
// iptables/xshared.h IPT_OPTSTRING.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace nfarena {

struct BaseOption {
  std::string_view name;
  uint8_t has_arg;
  char letter;
};

// In iptables' order, which decides between abbreviations.
inline constexpr BaseOption kBaseOptions[] = {
    {"append", 1, 'A'},        {"delete", 1, 'D'},
    {"check", 1, 'C'},         {"insert", 1, 'I'},
    {"replace", 1, 'R'},       {"list", 2, 'L'},
    {"list-rules", 2, 'S'},    {"flush", 2, 'F'},
    {"zero", 2, 'Z'},          {"new-chain", 1, 'N'},
    {"delete-chain", 2, 'X'},  {"rename-chain", 1, 'E'},
    {"policy", 1, 'P'},        {"source", 1, 's'},
    {"destination", 1, 'd'},   {"src", 1, 's'},
    {"dst", 1, 'd'},           {"protocol", 1, 'p'},
    {"in-interface", 1, 'i'},  {"jump", 1, 'j'},
    {"table", 1, 't'},         {"match", 1, 'm'},
    {"numeric", 0, 'n'},       {"out-interface", 1, 'o'},
    {"verbose", 0, 'v'},       {"wait", 2, 'w'},
    {"wait-interval", 2, 'W'}, {"exact", 0, 'x'},
    {"fragments", 0, 'f'},     {"version", 0, 'V'},
    {"help", 2, 'h'},          {"line-numbers", 0, '0'},
    {"modprobe", 1, 'M'},      {"set-counters", 1, 'c'},
    {"goto", 1, 'g'},          {"ipv4", 0, '4'},
    {"ipv6", 0, '6'},
};

// Letters of the option string; -1 = no such option, else has_arg.
constexpr std::array<int8_t, 128> MakeShortOptions() {
  std::array<int8_t, 128> table{};
  for (auto& entry : table) entry = -1;
  for (char c : {'A', 'C', 'D', 'E', 'I', 'M', 'N', 'P', 'R', 'c', 'd', 'g',
                 'i', 'j', 'm', 'o', 'p', 's', 't'}) {
    table[static_cast<size_t>(c)] = 1;
  }
  for (char c : {'F', 'L', 'S', 'W', 'X', 'Z', 'h', 'w'}) {
    table[static_cast<size_t>(c)] = 2;
  }
  for (char c : {'4', '6', 'V', 'f', 'n', 'v', 'x'}) {
    table[static_cast<size_t>(c)] = 0;
  }
  return table;
}
inline constexpr std::array<int8_t, 128> kShortOptions = MakeShortOptions();

}  // namespace nfarena
