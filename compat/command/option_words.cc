#include "compat/command/option_words.h"

#include <fmt/format.h>

namespace nfarena {

OptionWords::OptionWords(const std::string& name,
                         std::span<const char* const> arguments,
                         const char* letters, const option* options)
    : name_(name), letters_(letters), options_(options) {
  words_.reserve(arguments.size() + 1);
  words_.push_back(name);
  for (const char* argument : arguments) words_.emplace_back(argument);
  for (std::string& word : words_) argv_.push_back(word.data());
  argv_.push_back(nullptr);
  optind = 0;  // glibc: start anew
  opterr = 0;
}

int OptionWords::Next() {
  const int letter = getopt_long(static_cast<int>(words_.size()), argv_.data(),
                                 letters_, options_, nullptr);
  has_argument_ = optarg != nullptr;
  argument_ = has_argument_ ? optarg : "";
  if (letter == '?') {
    complaint_ = optopt != 0
                     ? fmt::format("{}: invalid option -- '{}'\n", name_,
                                   static_cast<char>(optopt))
                     : fmt::format("{}: unrecognized option '{}'\n", name_,
                                   argv_[static_cast<size_t>(optind) - 1]);
  }
  return letter;
}

const char* OptionWords::TakeValueWord() {
  const auto index = static_cast<size_t>(optind);
  if (index >= words_.size() || argv_[index][0] == '-' ||
      argv_[index][0] == '!') {
    return nullptr;
  }
  ++optind;
  return argv_[index];
}

std::span<char* const> OptionWords::rest() const {
  return std::span(argv_.data(), words_.size())
      .subspan(static_cast<size_t>(optind));
}

}  // namespace nfarena
