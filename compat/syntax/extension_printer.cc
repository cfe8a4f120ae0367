#include "compat/syntax/extension_printer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <string_view>
#include <type_traits>

namespace nfarena {
namespace {

// Strings in a payload from elsewhere may lack their NUL; callbacks then read
// on into this many zero bytes.
constexpr size_t kPayloadMargin = 1024;

/// Runs a callback that prints; its output follows what is in `out`.
template <typename Call>
void Capture(std::string* out, Call call) {
  StdoutCapture capture(out);
  try {
    call();
  } catch (const XtablesExit& exit) {
    capture.Flush();
    // A set whose name the kernel does not give, for instance.
    fmt::format_to(std::back_inserter(*out), " [cannot be printed: {}]",
                   exit.message);
  }
}

// What differs between matches and targets.
struct MatchSide {
  using Entry = xt_entry_match;
  static constexpr char kOption = 'm';
  static constexpr std::string_view kWord = "match";
  static const xtables_match* Preferred(const LoadedExtension& loaded) {
    return loaded.match;
  }
  static const LoadedExtension* Find(LibrarySession* session,
                                     std::string_view name) {
    return session->FindMatch(name);
  }
  static constexpr auto FindRevision = xtables_find_match_revision;
};
struct TargetSide {
  using Entry = xt_entry_target;
  static constexpr char kOption = 'j';
  static constexpr std::string_view kWord = "target";
  static const xtables_target* Preferred(const LoadedExtension& loaded) {
    return loaded.target;
  }
  static const LoadedExtension* Find(LibrarySession* session,
                                     std::string_view name) {
    return session->FindTarget(name);
  }
  static constexpr auto FindRevision = xtables_find_target_revision;
};

// The revision's own object, which libxtables keeps next to the one it
// prefers; nullptr when this libxtables does not know the revision.
template <typename Side>
auto Exact(const LoadedExtension& loaded, const Extension& extension) {
  const auto* preferred = Side::Preferred(loaded);
  using Object =
      std::remove_const_t<std::remove_pointer_t<decltype(preferred)>>;
  const Object* exact =
      Side::FindRevision(loaded.name.c_str(), XTF_DONT_LOAD,
                         const_cast<Object*>(preferred), extension.revision);
  return exact;
}

}  // namespace

void ExtensionPrinter::FillHead() {
  if (head_is_filled_) return;
  head_is_filled_ = true;
  const Selector& selector = rule_->selector;
  std::memset(&head_, 0, sizeof(head_));
  const auto fill = [&](auto& ip) {
    std::memcpy(ip.iniface, selector.in.name.data(), IFNAMSIZ);
    std::memcpy(ip.outiface, selector.out.name.data(), IFNAMSIZ);
    std::memcpy(ip.iniface_mask, selector.in.mask.data(), IFNAMSIZ);
    std::memcpy(ip.outiface_mask, selector.out.mask.data(), IFNAMSIZ);
    std::memcpy(&ip.src, selector.src.data(), sizeof(ip.src));
    std::memcpy(&ip.smsk, selector.src_mask.data(), sizeof(ip.smsk));
    std::memcpy(&ip.dst, selector.dst.data(), sizeof(ip.dst));
    std::memcpy(&ip.dmsk, selector.dst_mask.data(), sizeof(ip.dmsk));
    ip.proto = selector.protocol;
    ip.invflags = selector.inverted;
  };
  if (session_->family() == Family::kIpv4) {
    fill(head_.ipv4);
    if (selector.fragment) head_.ipv4.flags |= IPT_F_FRAG;
  } else {
    fill(head_.ipv6);
    if (selector.protocol != 0) head_.ipv6.flags |= IP6T_F_PROTO;
  }
}

template <typename Entry>
const Entry* ExtensionPrinter::MakeEntry(const Extension& extension,
                                         size_t size) {
  // Callbacks read the whole payload of their revision.
  const size_t payload = std::max(extension.payload.size(), size);
  const size_t total = XT_ALIGN(sizeof(Entry)) + payload;
  block_.assign((total + kPayloadMargin) / sizeof(uint64_t) + 1, 0);
  auto* entry = reinterpret_cast<Entry*>(block_.data());
  entry->u.user.revision = extension.revision;
  std::memcpy(entry->u.user.name, extension.name.data(),
              std::min(extension.name.size(), sizeof(entry->u.user.name) - 1));
  if constexpr (std::is_same_v<Entry, xt_entry_match>) {
    entry->u.match_size = static_cast<uint16_t>(total);
  } else {
    entry->u.target_size = static_cast<uint16_t>(total);
  }
  if (!extension.payload.empty()) {
    std::memcpy(entry->data, extension.payload.data(),
                extension.payload.size());
  }
  FillHead();
  return entry;
}

// Source: iptables 1.8.9, iptables/xshared.c print_match_save() and
// iptables/iptables.c print_rule4().
template <typename Side>
void ExtensionPrinter::Save(const Extension& extension, std::string* out) {
  const LoadedExtension* loaded = Side::Find(session_, extension.name);
  if (loaded == nullptr) {
    fmt::format_to(std::back_inserter(*out), " -{} {} [unknown {} of {} bytes]",
                   Side::kOption, extension.name, Side::kWord,
                   extension.payload.size());
    return;
  }
  const auto* preferred = Side::Preferred(*loaded);
  const auto* exact = Exact<Side>(*loaded, extension);
  const auto* shown = exact != nullptr ? exact : preferred;
  const auto* entry = MakeEntry<typename Side::Entry>(extension, shown->size);
  fmt::format_to(std::back_inserter(*out), " -{} ", Side::kOption);
  out->append(shown->alias != nullptr ? shown->alias(entry) : extension.name);
  if (sets_ != nullptr &&
      PrintSetExtension(extension, std::is_same_v<Side, TargetSide>, *sets_,
                        out)) {
    return;
  }
  if (exact != nullptr && exact->save != nullptr) {
    Capture(out, [&] { exact->save(&head_, entry); });
  } else if (preferred->save != nullptr) {
    out->append(" [unsupported revision]");
  }
}

void ExtensionPrinter::SaveMatch(const Extension& extension, std::string* out) {
  Save<MatchSide>(extension, out);
}

void ExtensionPrinter::SaveTarget(const Extension& extension,
                                  std::string* out) {
  Save<TargetSide>(extension, out);
}

// Source: iptables 1.8.9, iptables/iptables.c print_match().
void ExtensionPrinter::ListMatch(const Extension& extension, bool numeric,
                                 std::string* out) {
  const LoadedExtension* loaded = session_->FindMatch(extension.name);
  if (loaded == nullptr) {
    fmt::format_to(std::back_inserter(*out), "UNKNOWN match `{}' ",
                   extension.name);
    return;
  }
  const xtables_match* exact = Exact<MatchSide>(*loaded, extension);
  const xtables_match* shown = exact != nullptr ? exact : loaded->match;
  const auto* entry = MakeEntry<xt_entry_match>(extension, shown->size);
  if (exact != nullptr && exact->print != nullptr) {
    Capture(out, [&] { exact->print(&head_, entry, numeric); });
  } else {
    fmt::format_to(
        std::back_inserter(*out), "{}{} ", loaded->match->name,
        loaded->match->print != nullptr ? " [unsupported revision]" : "");
  }
}

// Source: iptables 1.8.9, iptables/iptables.c print_firewall().
void ExtensionPrinter::ListTarget(const Extension& extension, bool numeric,
                                  std::string* out) {
  const LoadedExtension* loaded = session_->FindTarget(extension.name);
  if (loaded == nullptr) {
    if (!extension.payload.empty()) {
      fmt::format_to(std::back_inserter(*out),
                     "[{} bytes of unknown target data] ",
                     extension.payload.size());
    }
    return;
  }
  const xtables_target* exact = Exact<TargetSide>(*loaded, extension);
  const xtables_target* shown = exact != nullptr ? exact : loaded->target;
  const auto* entry = MakeEntry<xt_entry_target>(extension, shown->size);
  if (exact != nullptr && exact->print != nullptr) {
    Capture(out, [&] { exact->print(&head_, entry, numeric); });
  } else if (loaded->target->print != nullptr) {
    fmt::format_to(std::back_inserter(*out), " {} [unsupported revision]",
                   loaded->target->name);
  }
}

}  // namespace nfarena
