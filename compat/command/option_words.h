// getopt_long(3) over words that are not main()'s.
//
// iptables-save and iptables-restore take their options by getopt_long(), with
// its abbreviations, its joined letters and its way of moving words about; so
// do their stand-ins.
#pragma once

#include <getopt.h>

#include <span>
#include <string>
#include <vector>

namespace nfarena {

class OptionWords {
 public:
  /// `name` is what messages begin with; the options must outlive the object.
  /// getopt_long() keeps global state: one object at a time.
  OptionWords(const std::string& name, std::span<const char* const> arguments,
              const char* letters, const option* options);

  /// The next option's letter; '?' for one that does not exist or lacks its
  /// value; -1 at the end.
  int Next();
  /// The value of the last option; "" when it has none.
  const char* argument() const { return argument_; }
  bool has_argument() const { return has_argument_; }
  /// The word behind an option whose value may be left out, if that is no
  /// option; it is taken.  Source: iptables xs_has_arg().
  const char* TakeValueWord();
  /// What getopt_long() would have said of a '?'.
  const std::string& complaint() const { return complaint_; }
  /// After the end: the words that are no options.
  std::span<char* const> rest() const;

 private:
  std::string name_;
  std::vector<std::string> words_;
  std::vector<char*> argv_;
  const char* letters_;
  const option* options_;
  const char* argument_ = "";
  bool has_argument_ = false;
  std::string complaint_;
};

}  // namespace nfarena
