#include "compat/syntax/known_sets.h"

#include "compat/syntax/xt_headers.h"
// After glibc's netinet/in.h, which xt_headers.h brings.
#include <fmt/format.h>
#include <linux/netfilter/xt_set.h>

#include <algorithm>
#include <cstring>
#include <iterator>

namespace nfarena {

namespace {

// Flags of libxtables' own, by which its final check knows what was given.
constexpr unsigned kMatchGiven = 1;
constexpr unsigned kAddGiven = 0x01, kDelGiven = 0x02, kMapGiven = 0x10;

struct SetField {
  std::string_view option;
  size_t offset;
  unsigned given;
};
constexpr SetField kMatchFields[] = {
    {"match-set", offsetof(xt_set_info_match_v4, match_set), kMatchGiven},
    {"set", offsetof(xt_set_info_match_v4, match_set), kMatchGiven},
};
constexpr SetField kTargetFields[] = {
    {"add-set", offsetof(xt_set_info_target_v3, add_set), kAddGiven},
    {"del-set", offsetof(xt_set_info_target_v3, del_set), kDelGiven},
    {"map-set", offsetof(xt_set_info_target_v3, map_set), kMapGiven},
};

const SetField* FindField(const LoadedExtension& extension,
                          std::string_view option) {
  const auto find = [&](const auto& fields) -> const SetField* {
    for (const SetField& field : fields) {
      if (field.option == option) return &field;
    }
    return nullptr;
  };
  // The fields lie alike in all revisions but the first, which has another
  // form and which no kernel since 2.6.39 asks for.
  if (extension.revision == 0) return nullptr;
  if (extension.match != nullptr && extension.kernel_name == "set") {
    return find(kMatchFields);
  }
  if (extension.target != nullptr && extension.kernel_name == "SET") {
    return find(kTargetFields);
  }
  return nullptr;
}

std::string_view NextWord(std::string_view* rest) {
  const size_t begin = std::min(rest->find_first_not_of(" \t\r"), rest->size());
  rest->remove_prefix(begin);
  const size_t end = std::min(rest->find_first_of(" \t\r"), rest->size());
  const std::string_view word = rest->substr(0, end);
  rest->remove_prefix(end);
  return word;
}

// Source: ipset(8); net/netfilter/ipset/ip_set_*.c, member family.
std::optional<Family> SetFamily(std::string_view type, std::string_view rest) {
  while (!rest.empty()) {
    if (NextWord(&rest) != "family") continue;
    return NextWord(&rest) == "inet6" ? Family::kIpv6 : Family::kIpv4;
  }
  const bool any =
      type == "hash:mac" || type == "bitmap:port" || type.starts_with("list:");
  return any ? std::nullopt : std::optional(Family::kIpv4);
}

uint16_t FindSet(std::string_view name, Family family, const KnownSets& sets) {
  const auto it =
      std::find_if(sets.begin(), sets.end(),
                   [&](const KnownSet& set) { return set.name == name; });
  if (it == sets.end()) {
    throw XtablesExit{fmt::format("Set {} doesn't exist.", name)};
  }
  if (it->family && *it->family != family) {
    throw XtablesExit{
        fmt::format("The protocol family of set {} is {}, which is not "
                    "applicable.",
                    name, FamilyName(*it->family))};
  }
  return static_cast<uint16_t>(it - sets.begin());
}

// "src,dst": one bit a dimension, set for src.
void ParseDirections(std::string_view text, xt_set_info* info) {
  while (true) {
    if (info->dim == IPSET_DIM_MAX) {
      throw XtablesExit{fmt::format("Can't be more src/dst options than {}.",
                                    static_cast<int>(IPSET_DIM_MAX))};
    }
    ++info->dim;
    const size_t comma = text.find(',');
    if (text.starts_with("src")) {
      info->flags |= static_cast<uint8_t>(1u << info->dim);
    } else if (!text.starts_with("dst")) {
      throw XtablesExit{
          "expected a comma separated list of 'src' and 'dst' after the set's "
          "name"};
    }
    if (comma == std::string_view::npos) return;
    text.remove_prefix(comma + 1);
  }
}

template <typename Info>
Info ReadInfo(const Extension& extension) {
  Info info{};
  std::memcpy(&info, extension.payload.data(),
              std::min(sizeof(info), extension.payload.size()));
  return info;
}

void PrintSet(std::string_view option, const xt_set_info& info,
              const KnownSets& sets, std::string* out) {
  if (info.index == IPSET_INVALID_ID) return;
  fmt::format_to(std::back_inserter(*out), "{} --{} {}",
                 info.flags & IPSET_INV_MATCH ? " !" : "", option,
                 info.index < sets.size() ? sets[info.index].name
                                          : fmt::format("#{}", info.index));
  for (unsigned i = 1; i <= info.dim && i <= IPSET_DIM_MAX; ++i) {
    out->push_back(i == 1 ? ' ' : ',');
    *out += info.flags & (1u << i) ? "src" : "dst";
  }
}

void PrintCounter(std::string_view name, const ip_set_counter_match& counter,
                  std::string* out) {
  const char* forms[] = {nullptr, " --{}-eq {}", " ! --{}-eq {}", " --{}-lt {}",
                         " --{}-gt {}"};
  static_assert(IPSET_COUNTER_EQ == 1 && IPSET_COUNTER_NE == 2 &&
                IPSET_COUNTER_LT == 3 && IPSET_COUNTER_GT == 4);
  if (counter.op == 0 || counter.op >= std::size(forms)) return;
  fmt::format_to(std::back_inserter(*out), fmt::runtime(forms[counter.op]),
                 name, static_cast<uint64_t>(counter.value));
}

}  // namespace

Result<KnownSets> ReadKnownSets(std::string_view ipset_save) {
  KnownSets sets;
  for (uint32_t line = 1; !ipset_save.empty(); ++line) {
    const size_t end = std::min(ipset_save.find('\n'), ipset_save.size());
    std::string_view rest = ipset_save.substr(0, end);
    ipset_save.remove_prefix(std::min(end + 1, ipset_save.size()));
    const std::string_view command = NextWord(&rest);
    if (command != "create" && command != "-N" && command != "n") continue;
    const std::string_view name = NextWord(&rest);
    const std::string_view type = NextWord(&rest);
    if (name.empty() || type.empty()) {
      return Fail(ErrorCode::kSyntax, "create needs a name and a type",
                  {.line = line});
    }
    if (std::any_of(sets.begin(), sets.end(),
                    [&](const KnownSet& set) { return set.name == name; })) {
      return Fail(ErrorCode::kConflict,
                  fmt::format("set '{}' is created twice", name),
                  {.line = line});
    }
    sets.push_back({std::string(name), SetFamily(type, rest)});
  }
  return sets;
}

bool IsSetOption(const LoadedExtension& extension,
                 const ExtensionOption& option) {
  return FindField(extension, option.name) != nullptr;
}

void ParseSetOption(const LoadedExtension& extension,
                    const ExtensionOption& option, const char* name,
                    const char* directions, bool inverted, Family family,
                    const KnownSets& sets, uint8_t* payload, unsigned* flags) {
  const SetField& field = *FindField(extension, option.name);
  xt_set_info info;
  std::memcpy(&info, payload + field.offset, sizeof(info));
  if (info.dim != 0) {
    throw XtablesExit{
        fmt::format("--{} can be specified only once", option.name)};
  }
  if (directions == nullptr || directions[0] == '-' || directions[0] == '!') {
    throw XtablesExit{fmt::format("--{} requires two args.", option.name)};
  }
  if (std::strlen(name) > IPSET_MAXNAMELEN - 1) {
    throw XtablesExit{fmt::format("setname `{}' too long, max {} characters.",
                                  name, IPSET_MAXNAMELEN - 1)};
  }
  if (inverted && extension.match != nullptr) info.flags |= IPSET_INV_MATCH;
  info.index = FindSet(name, family, sets);
  ParseDirections(directions, &info);
  std::memcpy(payload + field.offset, &info, sizeof(info));
  *flags |= field.given;
}

bool PrintSetExtension(const Extension& extension, bool target,
                       const KnownSets& sets, std::string* out) {
  if (!target && extension.name == "set" && extension.revision == 4) {
    const auto info = ReadInfo<xt_set_info_match_v4>(extension);
    PrintSet("match-set", info.match_set, sets, out);
    if (info.flags & IPSET_FLAG_RETURN_NOMATCH) *out += " --return-nomatch";
    if (info.flags & IPSET_FLAG_SKIP_COUNTER_UPDATE) {
      *out += " ! --update-counters";
    }
    if (info.flags & IPSET_FLAG_SKIP_SUBCOUNTER_UPDATE) {
      *out += " ! --update-subcounters";
    }
    PrintCounter("packets", info.packets, out);
    PrintCounter("bytes", info.bytes, out);
    return true;
  }
  if (target && extension.name == "SET" && extension.revision == 3) {
    const auto info = ReadInfo<xt_set_info_target_v3>(extension);
    PrintSet("add-set", info.add_set, sets, out);
    if (info.flags & IPSET_FLAG_EXIST) *out += " --exist";
    if (info.timeout != UINT32_MAX) {
      fmt::format_to(std::back_inserter(*out), " --timeout {}", info.timeout);
    }
    PrintSet("del-set", info.del_set, sets, out);
    PrintSet("map-set", info.map_set, sets, out);
    if (info.flags & IPSET_FLAG_MAP_SKBMARK) *out += " --map-mark";
    if (info.flags & IPSET_FLAG_MAP_SKBPRIO) *out += " --map-prio";
    if (info.flags & IPSET_FLAG_MAP_SKBQUEUE) *out += " --map-queue";
    return true;
  }
  return false;
}

}  // namespace nfarena
