#include "engines/legacy/legacy_program.h"

#include <fmt/format.h>

#include <cassert>
#include <cstring>
#include <iterator>

#include "compat/lower/xt_layout.h"

namespace nfarena {
namespace {

LegacyBound BoundAt(const uint8_t* header) {
  LegacyBound bound;
  std::memcpy(&bound, header, sizeof(bound));
  return bound;
}

/// Turns a header's overlay back into what user space put there.
void Unbind(std::span<const LegacyExtensionUse> uses, uint8_t* header) {
  const LegacyBound bound = BoundAt(header);
  xt_entry_match user{};
  user.u.user.match_size = bound.size;
  user.u.user.revision = bound.revision;
  const std::string& name = uses[bound.use].name;
  std::memcpy(user.u.user.name, name.data(), name.size());
  std::memcpy(header, &user, kXtHeaderBytes);
  const size_t used = kXtHeaderBytes + uses[bound.use].payload_bytes;
  std::memset(header + used, 0, bound.size - used);
}

template <typename Traits>
void UnbindEntries(std::span<const LegacyExtensionUse> uses,
                   std::span<const Counters> counters, uint8_t* bytes,
                   size_t size) {
  using Entry = typename Traits::Entry;
  size_t index = 0;
  for (size_t at = 0; at < size; ++index) {
    Entry entry;
    std::memcpy(&entry, bytes + at, sizeof(entry));
    entry.counters = {counters[index].packets, counters[index].bytes};
    std::memcpy(bytes + at, &entry, sizeof(entry));
    for (size_t m = sizeof(Entry); m < entry.target_offset;) {
      const size_t step = BoundAt(bytes + at + m).size;
      Unbind(uses, bytes + at + m);
      m += step;
    }
    Unbind(uses, bytes + at + entry.target_offset);
    at += entry.next_offset;
  }
}

std::string VerdictText(const uint8_t* payload) {
  int32_t verdict;
  std::memcpy(&verdict, payload, sizeof(verdict));
  switch (verdict) {
    case kXtAccept:
      return "ACCEPT";
    case kXtDrop:
      return "DROP";
    case kXtQueue:
      return "QUEUE";
    case kXtReturn:
      return "RETURN";
    default:
      return fmt::format("-> {}", verdict);
  }
}

template <typename Traits>
std::string DisassembleEntries(const LegacyProgram& program) {
  using Entry = typename Traits::Entry;
  std::string out;
  for (size_t at = 0; at < program.size();) {
    const uint8_t* bytes = program.entries() + at;
    Entry e;
    std::memcpy(&e, bytes, sizeof(e));
    fmt::format_to(std::back_inserter(out),
                   "{:>8} size {} hooks {:#04x} #{}/{}", at, e.next_offset,
                   e.comefrom, e.counters.bcnt >> 32,
                   e.counters.bcnt & 0xffffffff);
    for (size_t m = sizeof(Entry); m < e.target_offset;) {
      const LegacyBound bound = BoundAt(bytes + m);
      fmt::format_to(std::back_inserter(out), " [{}.{} {} bytes]",
                     program.uses()[bound.use].name, bound.revision,
                     bound.size - kXtHeaderBytes);
      m += bound.size;
    }
    const uint8_t* target = bytes + e.target_offset;
    const LegacyBound bound = BoundAt(target);
    if (bound.target == nullptr) {
      const bool is_goto = (Traits::selector(e).flags & Traits::kFlagGoto) != 0;
      out += is_goto ? " goto " : " ";
      out += VerdictText(target + kXtHeaderBytes);
    } else if (program.uses()[bound.use].name == XT_ERROR_TARGET) {
      out +=
          fmt::format(" ERROR '{}'",
                      reinterpret_cast<const char*>(target + kXtHeaderBytes));
    } else {
      out +=
          fmt::format(" {}.{}", program.uses()[bound.use].name, bound.revision);
    }
    out += '\n';
    at += e.next_offset;
  }
  return out;
}

}  // namespace

std::vector<uint8_t> LegacyProgram::ToUser(
    std::span<const Counters> counters) const {
  assert(counters.size() == entries_count_ && "one counter an entry");
  std::vector<uint8_t> bytes(bytes_.get(), bytes_.get() + size_);
  WithXtTraits(family_, [&]<typename Traits>() {
    UnbindEntries<Traits>(uses_, counters, bytes.data(), bytes.size());
  });
  return bytes;
}

std::string LegacyProgram::Disassemble() const {
  return WithXtTraits(family_, [&]<typename Traits>() {
    return DisassembleEntries<Traits>(*this);
  });
}

}  // namespace nfarena
