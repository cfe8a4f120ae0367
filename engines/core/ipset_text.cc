#include "engines/core/ipset_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <tuple>
#include <vector>

#include "engines/core/ipset_element_text.h"

namespace nfarena {
namespace {

struct Word {
  std::string_view text;
  uint32_t column = 0;
};

/// A line's words; one may stand in double quotes.
std::vector<Word> SplitWords(std::string_view line) {
  std::vector<Word> words;
  for (size_t at = 0;;) {
    at = line.find_first_not_of(" \t\r", at);
    if (at == line.npos) return words;
    const bool quoted = line[at] == '"';
    if (quoted) ++at;
    const size_t end =
        std::min(line.find_first_of(quoted ? "\"" : " \t\r", at), line.size());
    words.push_back({line.substr(at, end - at), static_cast<uint32_t>(at + 1)});
    at = end + (quoted && end < line.size());
  }
}

template <typename T>
std::optional<T> ParseNumber(std::string_view text, int base = 10) {
  if (base == 0) {
    const bool hex = text.starts_with("0x") || text.starts_with("0X");
    if (hex) text.remove_prefix(2);
    base = hex ? 16 : 10;
  }
  T value{};
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc() || end != text.data() + text.size()) {
    return std::nullopt;
  }
  return value;
}

enum class Command : uint8_t { kCreate, kAdd, kOther };

Command CommandOf(std::string_view word) {
  if (word == "create" || word == "-N" || word == "n") return Command::kCreate;
  if (word == "add" || word == "-A" || word == "a") return Command::kAdd;
  return Command::kOther;
}

class Reader {
 public:
  Result<IpSets> Run(std::string_view text) {
    for (line_ = 1; !text.empty(); ++line_) {
      const size_t end = std::min(text.find('\n'), text.size());
      RETURN_IF_ERROR(ReadLine(text.substr(0, end)));
      text.remove_prefix(std::min(end + 1, text.size()));
    }
    return std::move(sets_);
  }

 private:
  tl::unexpected<Error> At(const Word& word, ErrorCode code,
                           std::string message) const {
    return Fail(code, std::move(message),
                {.file = {},
                 .line = line_,
                 .column = word.column,
                 .text = std::string(word.text)});
  }
  tl::unexpected<Error> At(const Word& word, Error error) const {
    return At(word, error.code, std::move(error.message));
  }

  Status ReadLine(std::string_view text) {
    words_ = SplitWords(text);
    next_ = 0;
    renew_ = false;
    // The tool's own options may stand in front of a command.
    while (next_ < words_.size() &&
           (words_[next_].text == "-exist" || words_[next_].text == "-!")) {
      renew_ = true;
      ++next_;
    }
    if (next_ == words_.size()) return {};
    const Word command = words_[next_++];
    if (command.text.starts_with('#') || command.text == "COMMIT") return {};
    switch (CommandOf(command.text)) {
      case Command::kCreate:
        return ReadCreate(command);
      case Command::kAdd:
        return ReadAdd(command);
      case Command::kOther:
        break;
    }
    return At(
        command, ErrorCode::kUnsupported,
        fmt::format("'{}' is not a command that builds a set", command.text));
  }

  /// The word after `word`, which wants one.
  Result<Word> Value(const Word& word) {
    if (next_ == words_.size()) {
      return At(word, ErrorCode::kSyntax,
                fmt::format("something is missing after '{}'", word.text));
    }
    return words_[next_++];
  }

  template <typename T>
  Result<T> Number(const Word& word, int base = 10) {
    ASSIGN_OR_RETURN(const Word value, Value(word));
    const auto number = ParseNumber<T>(value.text, base);
    if (!number) {
      return At(value, ErrorCode::kRange,
                fmt::format("'{}' wants a number", word.text));
    }
    return *number;
  }

  Status ReadCreate(const Word& command) {
    ASSIGN_OR_RETURN(const Word name, Value(command));
    ASSIGN_OR_RETURN(const Word type, Value(name));
    IpSet set;
    set.name = name.text;
    set.type = FindIpSetType(type.text);
    if (set.type == nullptr) {
      set.unsupported =
          fmt::format("type '{}' is not modelled (line {}, column {})",
                      type.text, line_, type.column);
      next_ = words_.size();
    } else {
      // The family first: it says how the rest is read.
      set.family = FamilyOf(*set.type);
      RETURN_IF_ERROR(ReadFamily(&set));
    }
    bool has_range = false;
    while (next_ < words_.size()) {
      RETURN_IF_ERROR(ReadCreateOption(&set, &has_range));
    }
    if (set.type != nullptr && set.type->bitmap && !has_range) {
      return At(type, ErrorCode::kSyntax, "a bitmap needs a range");
    }
    if (sets_.Find(set.name) && renew_) return {};
    auto created = sets_.Create(std::move(set));
    if (!created) return At(name, std::move(created).error());
    return {};
  }

  /// Unset: the type takes both.
  static std::optional<Family> FamilyOf(const IpSetType& type) {
    const bool both =
        (type.dimensions() == 1 &&
         (type.has(IpSetPart::kMac) || type.has(IpSetPart::kPort))) ||
        type.has(IpSetPart::kSet);
    return both ? std::nullopt : std::optional(Family::kIpv4);
  }

  Status ReadFamily(IpSet* set) const {
    for (size_t i = next_; i + 1 < words_.size(); ++i) {
      if (words_[i].text != "family") continue;
      const Word& family = words_[i + 1];
      if (family.text != "inet" && family.text != "inet6" &&
          family.text != "ipv4" && family.text != "ipv6") {
        return At(family, ErrorCode::kSyntax, "the family is inet or inet6");
      }
      if (set->family && !set->type->bitmap) {
        const bool six = family.text == "inet6" || family.text == "ipv6";
        set->family = six ? Family::kIpv6 : Family::kIpv4;
      }
    }
    return {};
  }

  Status ReadCreateOption(IpSet* set, bool* has_range) {
    const Word option = words_[next_++];
    if (option.text == "counters") {
      set->counters = true;
    } else if (option.text == "skbinfo") {
      set->mappings = true;
    } else if (option.text == "forceadd") {
      set->force_add = true;
    } else if (option.text == "comment") {
      // Of no meaning for packets.
    } else if (option.text == "hashsize" || option.text == "bucketsize" ||
               option.text == "initval" || option.text == "size" ||
               option.text == "family") {
      RETURN_IF_ERROR(Value(option));
    } else if (option.text == "timeout") {
      ASSIGN_OR_RETURN(set->timeout_s, Number<uint32_t>(option));
    } else if (option.text == "maxelem") {
      ASSIGN_OR_RETURN(set->elements_max, Number<uint32_t>(option));
    } else if (option.text == "markmask") {
      ASSIGN_OR_RETURN(set->mark_mask, Number<uint32_t>(option, 0));
    } else if (option.text == "netmask" || option.text == "bitmask") {
      ASSIGN_OR_RETURN(const Word value, Value(option));
      auto mask = ParseIpSetMask(value.text, set->family);
      if (!mask) return At(value, std::move(mask).error());
      set->mask = *mask;
      if (set->type->has(IpSetPart::kNet)) {
        set->unsupported = fmt::format(
            "option '{}' of type '{}' is not modelled (line {}, column {})",
            option.text, set->type->name, line_, option.column);
      }
    } else if (option.text == "range" && set->type->bitmap) {
      ASSIGN_OR_RETURN(const Word value, Value(option));
      auto range = ParseIpSetRange(*set->type, value.text);
      if (!range) return At(value, std::move(range).error());
      std::tie(set->first, set->last) = *range;
      *has_range = true;
    } else {
      return At(option, ErrorCode::kSyntax,
                fmt::format("'{}' is no option of a set", option.text));
    }
    return {};
  }

  Status ReadAdd(const Word& command) {
    ASSIGN_OR_RETURN(const Word name, Value(command));
    const auto index = sets_.Find(name.text);
    if (!index) {
      return At(name, ErrorCode::kConflict,
                fmt::format("there is no set '{}'", name.text));
    }
    const IpSet& set = sets_.at(*index);
    if (!set.unsupported.empty()) return {};
    ASSIGN_OR_RETURN(const Word text, Value(name));
    IpSetElement element;
    if (set.timeout_s) element.timeout_s = *set.timeout_s;
    while (next_ < words_.size()) {
      RETURN_IF_ERROR(ReadElementOption(set, &element));
    }
    if (set.type->has(IpSetPart::kSet)) {
      return InsertSet(*index, text, std::move(element));
    }
    auto points = ParseIpSetElement(set, text.text);
    if (!points) return At(text, std::move(points).error());
    const bool keeps_mac = set.type->bitmap && set.type->has(IpSetPart::kMac);
    for (const IpSetPoint& point : *points) {
      IpSetElement one = element;
      one.device = point.device;
      const bool has_mac = point.mac != std::array<uint8_t, 6>{};
      if (keeps_mac && has_mac) one.mac = point.mac;
      // Time starts with the set; for an incomplete element when it is met.
      if (!keeps_mac || has_mac) {
        one.expires_ms = uint64_t{one.timeout_s} * 1000;
      }
      auto added = sets_.Insert(*index, point.key, std::move(one), renew_);
      if (!added) return At(text, std::move(added).error());
    }
    return {};
  }

  Status InsertSet(uint16_t list, const Word& name, IpSetElement element) {
    const auto member = sets_.Find(name.text);
    if (!member) {
      return At(name, ErrorCode::kConflict,
                fmt::format("there is no set '{}'", name.text));
    }
    const IpSet& set = sets_.at(*member);
    if (!set.unsupported.empty()) {
      return At(
          name, ErrorCode::kUnsupported,
          fmt::format("set '{}' of the list: {}", set.name, set.unsupported));
    }
    if (set.type->has(IpSetPart::kSet)) {
      return At(name, ErrorCode::kConflict, "a list of lists");
    }
    element.set = *member;
    element.expires_ms = uint64_t{element.timeout_s} * 1000;
    auto added = sets_.Insert(list, {}, std::move(element), renew_);
    if (!added) return At(name, std::move(added).error());
    return {};
  }

  Status ReadElementOption(const IpSet& set, IpSetElement* element) {
    const Word option = words_[next_++];
    const std::string_view name = option.text;
    const auto unless = [&](bool allowed) -> Status {
      if (allowed) return {};
      return At(option, ErrorCode::kConflict,
                fmt::format("set '{}' was created without it", set.name));
    };
    if (name == "timeout") {
      RETURN_IF_ERROR(unless(set.timeout_s.has_value()));
      ASSIGN_OR_RETURN(element->timeout_s, Number<uint32_t>(option));
    } else if (name == "packets" || name == "bytes") {
      RETURN_IF_ERROR(unless(set.counters));
      ASSIGN_OR_RETURN(const auto count, Number<uint64_t>(option));
      (name == "packets" ? element->counters.packets
                         : element->counters.bytes) = count;
    } else if (name == "comment" || name == "skbqueue") {
      RETURN_IF_ERROR(Value(option));
    } else if (name == "nomatch") {
      RETURN_IF_ERROR(unless(set.type->has(IpSetPart::kNet)));
      element->nomatch = true;
    } else if (name == "wildcard") {
      RETURN_IF_ERROR(unless(set.type->has(IpSetPart::kDevice)));
      element->wildcard = true;
    } else if (name == "skbmark" || name == "skbprio") {
      RETURN_IF_ERROR(unless(set.mappings));
      return ReadMapping(option, &element->mapping);
    } else if (name == "-exist" || name == "-!") {
      renew_ = true;
    } else {
      return At(option, ErrorCode::kSyntax,
                fmt::format("'{}' is no option of an element", name));
    }
    return {};
  }

  /// "skbmark VALUE[/MASK]", "skbprio MAJOR:MINOR", all hexadecimal.
  Status ReadMapping(const Word& option, IpSetMapping* mapping) {
    ASSIGN_OR_RETURN(const Word value, Value(option));
    const bool mark = option.text == "skbmark";
    const size_t split =
        std::min(value.text.find(mark ? '/' : ':'), value.text.size());
    const std::string_view second =
        value.text.substr(std::min(split + 1, value.text.size()));
    const auto hex = [](std::string_view text) {
      if (text.starts_with("0x")) text.remove_prefix(2);
      return ParseNumber<uint32_t>(text, 16);
    };
    const auto a = hex(value.text.substr(0, split));
    const auto b = second.empty() && mark ? 0xffffffff : hex(second);
    if (!a || !b || (!mark && (*a > 0xffff || *b > 0xffff))) {
      return At(value, ErrorCode::kRange,
                fmt::format("not a value of '{}'", option.text));
    }
    if (mark) {
      mapping->mark = *a;
      mapping->mark_mask = *b;
    } else {
      mapping->priority = *a << 16 | *b;
    }
    return {};
  }

  IpSets sets_;
  std::vector<Word> words_;
  size_t next_ = 0;
  uint32_t line_ = 0;
  bool renew_ = false;
};

}  // namespace

Result<IpSets> ReadIpSets(std::string_view ipset_save) {
  return Reader().Run(ipset_save);
}

}  // namespace nfarena
