#include "compat/syntax/extension_instance.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

#include <algorithm>
#include <charconv>
#include <cstring>

#include "compat/syntax/address.h"

// After glibc's netinet/in.h, which xt_headers.h brings.
#include <linux/netfilter/xt_connlimit.h>
#include <linux/netfilter/xt_hashlimit.h>
#include <linux/netfilter/xt_recent.h>

namespace nfarena {

namespace {

// Decimal digits only, at most 65535.
bool PlainPort(std::string_view text, unsigned* out) {
  if (text.empty() || text.size() > 5) return false;
  unsigned value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return false;
    value = value * 10 + static_cast<unsigned>(c - '0');
  }
  *out = value;
  return value <= UINT16_MAX;
}

// "80", "80:90", ":90", "80:" of plain numbers.
bool PlainPortRange(std::string_view text, unsigned* low, unsigned* high) {
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) {
    if (!PlainPort(text, low)) return false;
    *high = *low;
    return true;
  }
  const std::string_view first = text.substr(0, colon);
  const std::string_view second = text.substr(colon + 1);
  *low = 0;
  *high = UINT16_MAX;
  return (first.empty() || PlainPort(first, low)) &&
         (second.empty() || PlainPort(second, high));
}

// Whether getaddrinfo() would answer without asking anybody.
bool IsNumericHost(const std::string& host, Family family) {
  addrinfo hints{};
  hints.ai_family = family == Family::kIpv4 ? AF_INET : AF_INET6;
  hints.ai_flags = AI_NUMERICHOST;
  addrinfo* list = nullptr;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return false;
  freeaddrinfo(list);
  return true;
}

// Notes that a name goes to the resolver, or refuses it.
void NoteName(const std::string& host, const OptionContext& context) {
  if (IsNumericHost(host, context.family)) return;
  if (!context.resolve) {
    // A mask where none is taken is not a name either.
    throw XtablesExit{
        fmt::format("'{}' is not an address, and names are not "
                    "looked up here",
                    host)};
  }
  context.resolved_names->push_back(host);
}

// An address, with its prefix length if the option takes one, straight into
// the value; false when libxtables must read it.
bool FillHost(const ExtensionOption& option, std::string_view value,
              const OptionContext& context, xt_option_call* call) {
  const size_t slash = option.literal == LiteralKind::kHostMask
                           ? value.find('/')
                           : std::string_view::npos;
  const std::string host(value.substr(0, slash));
  const bool ipv4 = context.family == Family::kIpv4;
  uint8_t address[16] = {};
  if (!(ipv4 ? ParseIpv4Literal(host, address)
             : inet_pton(AF_INET6, host.c_str(), address) == 1)) {
    NoteName(host, context);
    return false;
  }
  const unsigned max_bits = ipv4 ? 32 : 128;
  unsigned bits = max_bits;
  if (slash == std::string_view::npos) {
    std::memset(&call->val.hmask, 0xff, sizeof(call->val.hmask));
  } else {
    const std::string_view mask = value.substr(slash + 1);
    const auto [end, error] =
        std::from_chars(mask.data(), mask.data() + mask.size(), bits);
    if (error != std::errc() || end != mask.data() + mask.size() ||
        bits > max_bits || (mask.size() > 1 && mask[0] == '0')) {
      return false;
    }
    SetPrefixMask(bits, sizeof(call->val.hmask),
                  reinterpret_cast<uint8_t*>(&call->val.hmask));
  }
  std::memcpy(&call->val.haddr, address, sizeof(address));
  call->val.hlen = static_cast<uint8_t>(bits);
  if (option.entry->flags & XTOPT_PUT) {
    std::memcpy(static_cast<char*>(call->data) + option.entry->ptroff, address,
                sizeof(address));
  }
  return true;
}

// Masks of which IPv4 has the first 4 bytes.  libxtables leaves the others 0xff
// by default and zero when the mask is given, so that a rule would not equal
// its own printed form.
struct Ipv4Mask {
  std::string_view match;
  uint8_t revision;
  size_t offset;
};
constexpr Ipv4Mask kIpv4Masks[] = {
    {"connlimit", 1, offsetof(xt_connlimit_info, mask)},
    {"recent", 1, offsetof(xt_recent_mtinfo_v1, mask)},
};

// Prepares `call` for a value that needs no resolver.  `text` holds the
// rewritten value and must live as long as the call.
void FillLiteral(const ExtensionOption& option, std::string_view value,
                 const OptionContext& context, xt_option_call* call,
                 std::string* text) {
  const auto number = [&](unsigned port) {
    return option.entry->flags & XTOPT_NBO ? htons(static_cast<uint16_t>(port))
                                           : port;
  };
  unsigned low = 0;
  unsigned high = 0;
  switch (option.literal) {
    case LiteralKind::kNone:
      return;
    case LiteralKind::kHost:
    case LiteralKind::kHostMask:
      if (FillHost(option, value, context, call)) {
        call->entry = &option.literal_entry;
      }
      return;
    case LiteralKind::kPort:
      if (!PlainPort(value, &low)) return;
      text->append(fmt::format_int(number(low)).str());
      break;
    case LiteralKind::kPortRange:
      if (!PlainPortRange(value, &low, &high)) return;
      text->append(fmt::format_int(number(low)).str());
      text->push_back(':');
      text->append(fmt::format_int(number(high)).str());
      break;
  }
  call->entry = &option.literal_entry;
  call->arg = text->c_str();
}

}  // namespace

void ExtensionInstance::Start(const LoadedExtension* extension, int word) {
  extension_ = extension;
  flags_ = 0;
  word_ = word;
  completed_ = false;
  static_assert(sizeof(xt_entry_match) == sizeof(xt_entry_target));
  const size_t size = XT_ALIGN(sizeof(xt_entry_match)) + extension->size;
  block_.assign(size / sizeof(uint64_t), 0);
  udata_.assign((extension->udata_size + 7) / 8, 0);
  const auto fill = [&](auto* entry, const auto* registered) {
    entry->u.user.revision = extension->revision;
    std::memcpy(entry->u.user.name, extension->kernel_name.c_str(),
                extension->kernel_name.size() + 1);
    if (registered->init != nullptr) registered->init(entry);
  };
  if (extension->match != nullptr) {
    match()->u.match_size = static_cast<uint16_t>(size);
    fill(match(), extension->match);
  } else {
    target()->u.target_size = static_cast<uint16_t>(size);
    fill(target(), extension->target);
  }
}

void ExtensionInstance::ParseOption(const ExtensionOption& option,
                                    char* argument,
                                    const OptionContext& context) {
  optarg = argument;
  if (option.entry != nullptr) {
    ParseX6(option, argument, context);
    return;
  }
  if (context.sets != nullptr && IsSetOption(*extension_, option)) {
    uint8_t* payload = reinterpret_cast<uint8_t*>(block_.data()) +
                       XT_ALIGN(sizeof(xt_entry_match));
    ParseSetOption(*extension_, option, argument, context.argv[*context.next],
                   context.invert, context.family, *context.sets, payload,
                   &flags_);
    ++*context.next;
    return;
  }
  // Callbacks of the old style may take further words.
  optind = *context.next;
  if (const xtables_match* registered = extension_->match) {
    xt_entry_match* entry = match();
    if (registered->parse != nullptr) {
      registered->parse(option.value, context.argv, context.invert, &flags_,
                        context.entry, &entry);
    }
  } else if (extension_->target->parse != nullptr) {
    xt_entry_target* entry = target();
    extension_->target->parse(option.value, context.argv, context.invert,
                              &flags_, context.entry, &entry);
  }
  *context.next = std::min(optind, context.argc);
}

void ExtensionInstance::ParseX6(const ExtensionOption& option, char* argument,
                                const OptionContext& context) {
  xt_option_call call{};
  call.entry = option.entry;
  call.arg = argument;
  call.invert = context.invert;
  call.ext_name = extension_->name.c_str();
  call.xflags = flags_;
  call.xt_entry = context.entry;
  call.udata = udata();
  xt_entry_match* match_entry = match();
  xt_entry_target* target_entry = target();
  const bool is_match = extension_->match != nullptr;
  if (is_match) {
    call.data = match_entry->data;
    call.match = &match_entry;
  } else {
    call.data = target_entry->data;
    call.target = &target_entry;
  }
  std::string text;
  if (context.literals && option.literal != LiteralKind::kNone &&
      argument != nullptr) {
    FillLiteral(option, argument, context, &call, &text);
  }
  if (is_match) {
    extension_->match->x6_parse(&call);
  } else {
    extension_->target->x6_parse(&call);
  }
  flags_ = call.xflags;
}

namespace {

/// libxt_hashlimit 1.8.9 divides a burst of bytes by the bytes a credit is
/// worth, which is 0 for rates this low: hashlimit_mt_check() and
/// cost_to_bytes() in extensions/libxt_hashlimit.c.
template <typename Info>
void RefuseZeroCredit(const void* data) {
  const auto* info = static_cast<const Info*>(data);
  if ((info->cfg.mode & XT_HASHLIMIT_BYTES) != 0 &&
      info->cfg.avg > UINT32_MAX / 2) {
    throw XtablesExit{"hashlimit: a rate of so few bytes is none", true};
  }
}

}  // namespace

void ExtensionInstance::FinalCheck() {
  if (extension_->match != nullptr && extension_->kernel_name == "hashlimit") {
    if (extension_->match->revision == 3) {
      RefuseZeroCredit<xt_hashlimit_mtinfo3>(match()->data);
    } else if (extension_->match->revision == 2) {
      RefuseZeroCredit<xt_hashlimit_mtinfo2>(match()->data);
    } else {
      RefuseZeroCredit<xt_hashlimit_mtinfo1>(match()->data);
    }
  }
  const auto check = [&](const auto* registered, void* data) {
    if (registered->x6_fcheck != nullptr) {
      xt_fcheck_call call{};
      call.ext_name = registered->name;
      call.data = data;
      call.xflags = flags_;
      call.udata = udata();
      registered->x6_fcheck(&call);
    } else if (registered->final_check != nullptr) {
      registered->final_check(flags_);
    }
    if (registered->x6_options == nullptr) return;
    // xtables_options_fcheck() is slow and almost never has anything to say.
    bool suspicious = (flags_ & extension_->mandatory) != extension_->mandatory;
    for (const LoadedExtension::OptionRule& rule : extension_->option_rules) {
      if ((flags_ & rule.bit) != 0 && ((flags_ & rule.also) != rule.also ||
                                       (flags_ & rule.excluded) != 0)) {
        suspicious = true;
      }
    }
    if (suspicious) {
      xtables_options_fcheck(registered->name, flags_, registered->x6_options);
    }
  };
  if (extension_->match != nullptr) {
    check(extension_->match, match()->data);
  } else {
    check(extension_->target, target()->data);
  }
}

void ExtensionInstance::Store(Family family, Extension* out) const {
  out->name = extension_->kernel_name;
  out->revision = extension_->revision;
  out->user_size = extension_->user_size;
  const auto* payload = reinterpret_cast<const uint8_t*>(block_.data()) +
                        XT_ALIGN(sizeof(xt_entry_match));
  out->payload.assign(payload, payload + extension_->size);
  if (family == Family::kIpv4) {
    for (const Ipv4Mask& mask : kIpv4Masks) {
      if (out->name == mask.match && out->revision == mask.revision) {
        std::fill_n(out->payload.begin() + mask.offset + 4, 12, uint8_t{0});
      }
    }
  }
}

}  // namespace nfarena
