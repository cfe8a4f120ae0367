#include "compat/syntax/extension_library.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <mutex>
#include <set>

#include "compat/syntax/revisions.h"

#if defined(__SANITIZE_ADDRESS__)
#define NFARENA_WITH_LEAK_SANITIZER
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NFARENA_WITH_LEAK_SANITIZER
#endif
#endif

#ifdef NFARENA_WITH_LEAK_SANITIZER
// libxtables' option parsers copy their argument and free the copy at the end;
// a refusal leaves them by an exception, and the copy is lost.  That is bounded
// by the number of refused texts, and no memory of nfarena's own is concerned.
extern "C" const char* __lsan_default_suppressions();
extern "C" const char* __lsan_default_suppressions() {
  return "leak:libxtables.so\nleak:libxt_\nleak:libipt_\nleak:libip6t_\n";
}
#endif

namespace nfarena {

namespace {

// XT_EXTENSION_MAXNAMELEN counts the NUL.
constexpr size_t kMaxNameSize = XT_EXTENSION_MAXNAMELEN - 1;
// Unknown names come from the text; remembering them is bounded.
constexpr size_t kMaxUnknownNames = 4096;

__attribute__((noreturn, format(printf, 2, 3))) void ThrowExit(
    xtables_exittype status, const char* format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(text, sizeof(text), format, arguments);
  va_end(arguments);
  std::string message = text;
  while (!message.empty() && (message.back() == '\n' || message.back() == ' '))
    message.pop_back();
  throw XtablesExit{std::move(message), status == PARAMETER_PROBLEM};
}

// libxtables asks with the socket option's number.
int CompatibleRevision(const char* name, uint8_t revision, int option) {
  const bool target = option == IPT_SO_GET_REVISION_TARGET ||
                      option == IP6T_SO_GET_REVISION_TARGET;
  const bool ipv6 = option == IP6T_SO_GET_REVISION_MATCH ||
                    option == IP6T_SO_GET_REVISION_TARGET;
  return RevisionSupported(ipv6 ? Family::kIpv6 : Family::kIpv4, target, name,
                           revision);
}

option no_options[] = {{nullptr, 0, nullptr, 0}};

xtables_globals globals = {
    .option_offset = 0,
    .program_name = "nfarena",
    .program_version = "1.8.9",
    .orig_opts = no_options,
    .opts = no_options,
    .exit_err = ThrowExit,
    .compat_rev = CompatibleRevision,
};

// A FILE that appends to a string.  It is never closed: a thread that still
// holds it when the redirection ends must find it alive.
class StringStream {
 public:
  explicit StringStream(bool buffered) {
    cookie_io_functions_t functions{};
    functions.write = [](void* self, const char* data, size_t size) {
      if (std::string* sink = static_cast<StringStream*>(self)->sink_) {
        sink->append(data, size);
      }
      return static_cast<ssize_t>(size);
    };
    file_ = fopencookie(this, "w", functions);
    if (file_ != nullptr && !buffered) setvbuf(file_, nullptr, _IONBF, 0);
  }
  FILE* file() { return file_; }
  void set_sink(std::string* sink) { sink_ = sink; }

 private:
  FILE* file_;
  std::string* sink_ = nullptr;
};

struct LibraryState {
  std::mutex mutex;
  bool ready = false;
  StringStream diagnostics{false};
  StringStream output{true};
  std::string diagnostics_text;
  // By name; nullptr = libxtables knows none.  [family]
  std::map<std::string, std::unique_ptr<LoadedExtension>, std::less<>>
      matches[2], targets[2];
  // Files of libraries that gave a target to one family or the other.
  std::set<std::string> target_libraries;
};

LibraryState& State() {
  // Never destroyed: extensions stay loaded until the process ends.
  static LibraryState* const state = new LibraryState;
  return *state;
}

Status InitLibrary(LibraryState& state) {
  if (state.ready) return {};
  // xtables_init() ends the process in this case.
  if (getuid() != geteuid()) {
    return Fail(ErrorCode::kSystem,
                "libxtables cannot be used in a set-user-id program");
  }
  if (state.diagnostics.file() == nullptr || state.output.file() == nullptr) {
    return FailErrno("cannot make a memory stream");
  }
  if (xtables_init_all(&globals, NFPROTO_IPV4) != 0) {
    return Fail(ErrorCode::kSystem, "libxtables refused to start");
  }
  state.ready = true;
  return {};
}

struct TableLimit {
  std::string_view target;
  TableKind table;
};
constexpr TableLimit kTableLimits[] = {
    {"SNAT", TableKind::kNat},        {"DNAT", TableKind::kNat},
    {"MASQUERADE", TableKind::kNat},  {"REDIRECT", TableKind::kNat},
    {"NETMAP", TableKind::kNat},      {"DSCP", TableKind::kMangle},
    {"TOS", TableKind::kMangle},      {"TTL", TableKind::kMangle},
    {"HL", TableKind::kMangle},       {"ECN", TableKind::kMangle},
    {"CHECKSUM", TableKind::kMangle}, {"TCPOPTSTRIP", TableKind::kMangle},
    {"TPROXY", TableKind::kMangle},   {"SNPT", TableKind::kMangle},
    {"DNPT", TableKind::kMangle},     {"CT", TableKind::kRaw},
    {"NOTRACK", TableKind::kRaw},     {"TRACE", TableKind::kRaw},
    {"REJECT", TableKind::kFilter},
};

// An x6 entry whose value is a literal is handed to the extension's own
// callback with an entry of a simpler type: libxtables would otherwise call
// getaddrinfo(), about 20 us, for "53".  Numbers keep their place in the
// value union (u16_range and port_range are the same bytes).
void SetLiteralEntry(ExtensionOption* option) {
  option->literal_entry = *option->entry;
  switch (option->entry->type) {
    case XTTYPE_PORT:
      option->literal = LiteralKind::kPort;
      option->literal_entry.type = XTTYPE_UINT16;
      option->literal_entry.min = option->literal_entry.max = 0;
      break;
    case XTTYPE_PORTRC:
      option->literal = LiteralKind::kPortRange;
      option->literal_entry.type = XTTYPE_UINT16RC;
      break;
    case XTTYPE_HOST:
      option->literal = LiteralKind::kHost;
      option->literal_entry.type = XTTYPE_NONE;
      break;
    case XTTYPE_HOSTMASK:
      option->literal = LiteralKind::kHostMask;
      option->literal_entry.type = XTTYPE_NONE;
      break;
    default:
      break;
  }
}

template <typename Registered>
std::unique_ptr<LoadedExtension> Describe(const Registered* from) {
  auto loaded = std::make_unique<LoadedExtension>();
  loaded->name = from->name;
  loaded->kernel_name =
      from->real_name != nullptr ? from->real_name : std::string(from->name);
  loaded->converted =
      from->real_name != nullptr && !(from->ext_flags & XTABLES_EXT_ALIAS);
  loaded->revision = from->revision;
  loaded->size = static_cast<uint32_t>(from->size);
  loaded->user_size = static_cast<uint16_t>(from->userspacesize);
  loaded->udata_size = static_cast<uint32_t>(from->udata_size);
  loaded->has_parser = from->x6_parse != nullptr || from->parse != nullptr;
  if (from->x6_options != nullptr) {
    const xt_option_entry* e = from->x6_options;
    for (; e->name != nullptr; ++e) {
      ExtensionOption option;
      option.name = e->name;
      option.has_arg = e->type != XTTYPE_NONE;
      option.value = static_cast<int>(e->id);
      // Entries with one id are one option with several names; libxtables
      // looks up the first.
      option.entry = from->x6_options;
      while (option.entry->id != e->id) ++option.entry;
      SetLiteralEntry(&option);
      loaded->options.push_back(option);
      if (e->flags & XTOPT_MAND) loaded->mandatory |= 1u << e->id;
    }
    uint32_t known = 0;
    for (e = from->x6_options; e->name != nullptr; ++e) known |= 1u << e->id;
    for (e = from->x6_options; e->name != nullptr; ++e) {
      const uint32_t bit = 1u << e->id;
      const uint32_t others = known & ~bit;
      if (((e->also | e->excl) & others) != 0) {
        loaded->option_rules.push_back(
            {bit, e->also & others, e->excl & others});
      }
    }
  } else if (from->extra_opts != nullptr) {
    for (const option* o = from->extra_opts; o->name != nullptr; ++o) {
      ExtensionOption option;
      option.name = o->name;
      option.has_arg = o->has_arg;
      option.value = o->val;
      loaded->options.push_back(option);
    }
  }
  return loaded;
}

// A name becomes part of a path and of a dlopen().
bool PlausibleName(std::string_view name) {
  return !name.empty() && name.size() <= kMaxNameSize &&
         std::all_of(name.begin(), name.end(), [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                  (c >= '0' && c <= '9') || c == '_' || c == '-';
         });
}

// An extension, or nullptr.  When one is found, what libxtables said on the
// way ("not supported", of another revision) is not worth a warning.
template <typename Find>
auto Load(Find find) -> decltype(find()) {
  const size_t said = State().diagnostics_text.size();
  try {
    const auto found = find();
    if (found != nullptr) State().diagnostics_text.resize(said);
    return found;
  } catch (const XtablesExit&) {
    return nullptr;
  }
}

// The library that libxtables would load for this name.
std::vector<std::string> LibraryPaths(Family family, const std::string& name) {
  const char* from_environment = getenv("XTABLES_LIBDIR");
  const std::string directory =
      from_environment != nullptr ? from_environment : NFARENA_XTABLES_LIBDIR;
  const char* family_prefix = family == Family::kIpv4 ? "libipt_" : "libip6t_";
  return {fmt::format("{}/{}{}.so", directory, family_prefix, name),
          fmt::format("{}/libxt_{}.so", directory, name)};
}

// The file of the name's library if it is in the process already, else "".
// Several names may be one file: SNAT and DNAT.
std::string LoadedLibrary(Family family, const std::string& name) {
  for (const std::string& path : LibraryPaths(family, name)) {
    if (void* loaded = dlopen(path.c_str(), RTLD_NOW | RTLD_NOLOAD)) {
      dlclose(loaded);
      char file[PATH_MAX];
      return realpath(path.c_str(), file) != nullptr ? file : "";
    }
  }
  return "";
}

// A file in memory with the bytes of `path`; -1 when that fails.
int CopyToMemory(const std::string& path) {
  const int source = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (source < 0) return -1;
  const int copy = memfd_create("nfarena-extension", MFD_CLOEXEC);
  bool complete = copy >= 0;
  char buffer[16384];
  while (complete) {
    const ssize_t got = read(source, buffer, sizeof(buffer));
    if (got == 0) break;
    complete = got > 0 && write(copy, buffer, static_cast<size_t>(got)) == got;
  }
  close(source);
  if (!complete && copy >= 0) close(copy);
  return complete ? copy : -1;
}

// xtables_register_target() drops the targets of the other family, and a
// library's constructor runs once.  A copy of the library is another library
// to the dynamic linker: its constructor runs again, now for this family.
bool LoadLibraryAgain(const std::string& path) {
  const int copy = CopyToMemory(path);
  if (copy < 0) return false;
  // The linker knows libraries by their path first, and the number of the
  // file descriptor comes again: another count of slashes is another path.
  static size_t copies = 0;
  const std::string memory_path =
      fmt::format("/proc/self/fd{}{}", std::string(++copies, '/'), copy);
  const bool loaded = dlopen(memory_path.c_str(), RTLD_NOW) != nullptr;
  close(copy);
  return loaded;
}

template <typename Map>
LoadedExtension* Remember(Map& map, std::string name,
                          std::unique_ptr<LoadedExtension> loaded) {
  if (loaded == nullptr && map.size() > kMaxUnknownNames) {
    std::erase_if(map, [](const auto& item) { return item.second == nullptr; });
  }
  return (map[std::move(name)] = std::move(loaded)).get();
}

}  // namespace

LibrarySession::LibrarySession(Family family)
    : family_(family), saved_stderr_(stderr) {
  LibraryState& state = State();
  state.mutex.lock();
  status_ = InitLibrary(state);
  if (!status_) return;
  xtables_set_nfproto(family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
  state.diagnostics_text.clear();
  state.diagnostics.set_sink(&state.diagnostics_text);
  stderr = state.diagnostics.file();
}

LibrarySession::~LibrarySession() {
  stderr = saved_stderr_;
  State().diagnostics.set_sink(nullptr);
  State().mutex.unlock();
}

bool LibrarySession::has_diagnostics() const {
  return !State().diagnostics_text.empty();
}

void LibrarySession::AddDiagnostic(std::string_view line) {
  State().diagnostics_text.append(line).push_back('\n');
}

std::vector<std::string> LibrarySession::TakeDiagnostics() {
  std::vector<std::string> lines;
  std::string_view rest = State().diagnostics_text;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    if (end != 0) lines.emplace_back(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }
  State().diagnostics_text.clear();
  return lines;
}

const LoadedExtension* LibrarySession::FindMatch(std::string_view name) {
  // libxtables' own aliases; one object for all of them.
  if (name == "icmpv6" || name == "ipv6-icmp") name = "icmp6";
  auto& known = State().matches[static_cast<size_t>(family_)];
  if (const auto it = known.find(name); it != known.end()) {
    return it->second.get();
  }
  std::string key(name);
  std::unique_ptr<LoadedExtension> loaded;
  if (PlausibleName(name)) {
    if (const xtables_match* match = Load([&] {
          return xtables_find_match(key.c_str(), XTF_LOAD_MUST_SUCCEED,
                                    nullptr);
        })) {
      loaded = Describe(match);
      loaded->match = match;
    }
  }
  return Remember(known, std::move(key), std::move(loaded));
}

const LoadedExtension* LibrarySession::FindTarget(std::string_view name) {
  auto& known = State().targets[static_cast<size_t>(family_)];
  auto& target_libraries = State().target_libraries;
  if (const auto it = known.find(name); it != known.end()) {
    return it->second.get();
  }
  std::string key(name);
  std::unique_ptr<LoadedExtension> loaded;
  // "standard" is libxtables' name for ACCEPT, DROP and jumps.
  if (PlausibleName(name) && name != "standard") {
    // XTF_LOAD_MUST_SUCCEED, because the softer form remembers every name it
    // did not find, for both families alike.
    const auto find = [&] {
      return Load([&] {
        return xtables_find_target(key.c_str(), XTF_LOAD_MUST_SUCCEED);
      });
    };
    const std::string loaded_before = LoadedLibrary(family_, key);
    const xtables_target* target = find();
    // Only a library that has targets: another copy of a match would change
    // the order in which libxtables prefers revisions.
    if (target == nullptr && target_libraries.contains(loaded_before) &&
        LoadLibraryAgain(loaded_before)) {
      target = find();
    }
    if (target != nullptr) {
      target_libraries.insert(LoadedLibrary(family_, key));
    }
    if (target != nullptr) {
      loaded = Describe(target);
      loaded->target = target;
      for (const TableLimit& limit : kTableLimits) {
        if (limit.target == loaded->kernel_name) {
          loaded->only_table = limit.table;
        }
      }
    }
  }
  return Remember(known, std::move(key), std::move(loaded));
}

StdoutCapture::StdoutCapture(std::string* sink) : saved_stdout_(stdout) {
  State().output.set_sink(sink);
  stdout = State().output.file();
}

StdoutCapture::~StdoutCapture() {
  Flush();
  stdout = saved_stdout_;
  State().output.set_sink(nullptr);
}

void StdoutCapture::Flush() { fflush(State().output.file()); }

}  // namespace nfarena
