#include "engines/legacy/legacy_table.h"

#include <fmt/format.h>

#include <cassert>
#include <cerrno>
#include <climits>
#include <cstring>
#include <string_view>

#include "compat/lower/xt_layout.h"
#include "compat/lower/xt_table.h"

namespace nfarena {
namespace {

static_assert(sizeof(ipt_replace) == sizeof(ip6t_replace));

auto Refuse(int errno_value, std::string message,
            ErrorCode code = ErrorCode::kRange) {
  return Fail(code, std::move(message), {}, errno_value);
}

/// A table name of 32 bytes whose last one the kernel overwrites with NUL.
std::string_view TableNameIn(const char* name) {
  return {name, strnlen(name, XT_TABLE_MAXNAMELEN - 1)};
}

}  // namespace

LegacyTable::LegacyTable(Family family, TableKind kind, NetState* net)
    : family_(family), kind_(kind), net_(net) {
  const auto image = LowerXtTable(family, EmptyTable(kind));
  assert(image && "an empty table has a blob");
  // num_counters is compared with the entries in force; there are none yet.
  std::vector<uint8_t> bytes = image->replace;
  ipt_replace head;
  std::memcpy(&head, bytes.data(), sizeof(head));
  head.num_counters = 1;
  std::memcpy(bytes.data(), &head, sizeof(head));
  LegacyFault fault;
  auto first = Translate(bytes, &fault);
  assert(first && "an empty table is valid");
  Commit(std::move(*first));
}

LegacyInfo LegacyTable::Info() const {
  const LegacyProgram& p = program();
  return LegacyInfo{p.valid_hooks(), p.hook_entry(), p.underflow(),
                    p.entries_count(), p.size()};
}

Result<LegacyReplacement> LegacyTable::Translate(std::span<const uint8_t> bytes,
                                                 LegacyFault* fault) const {
  ipt_replace head;
  if (bytes.size() < sizeof(head)) {
    return Refuse(EINVAL, fmt::format("{} bytes are no struct ipt_replace",
                                      bytes.size()));
  }
  std::memcpy(&head, bytes.data(), sizeof(head));
  if (head.num_counters >= INT_MAX / sizeof(xt_counters)) {
    return Refuse(ENOMEM, "num_counters is out of range");
  }
  if (head.num_counters == 0) return Refuse(EINVAL, "num_counters is 0");
  if (bytes.size() - sizeof(head) < head.size) {
    return Refuse(EINVAL, fmt::format("{} bytes of entries, but size is {}",
                                      bytes.size() - sizeof(head), head.size));
  }
  LegacyReplaceHead checked;
  checked.table = kind_;
  checked.valid_hooks = head.valid_hooks;
  checked.num_entries = head.num_entries;
  std::memcpy(checked.hook_entry.data(), head.hook_entry,
              sizeof(head.hook_entry));
  std::memcpy(checked.underflow.data(), head.underflow, sizeof(head.underflow));
  ASSIGN_OR_RETURN(auto program,
                   LegacyProgram::Translate(
                       family_, checked, bytes.subspan(sizeof(head), head.size),
                       net_, fault));
  if (TableNameIn(head.name) != TableName(kind_)) {
    return Refuse(ENOENT,
                  fmt::format("no table '{}' here", TableNameIn(head.name)));
  }
  uint32_t hooks = 0;
  for (Hook hook : TableHooks(kind_)) {
    hooks |= 1u << static_cast<unsigned>(hook);
  }
  if (head.valid_hooks != hooks) {
    return Refuse(EINVAL, fmt::format("valid_hooks {:#x} are not those of "
                                      "table {}",
                                      head.valid_hooks, TableName(kind_)));
  }
  return LegacyReplacement{std::move(program), head.num_counters};
}

Status LegacyTable::CheckCounters(const LegacyReplacement& next) const {
  const uint32_t count = program().entries_count();
  if (next.num_counters == count) return {};
  return Refuse(EAGAIN,
                fmt::format("table {} has {} entries now, not {}",
                            TableName(kind_), count, next.num_counters),
                ErrorCode::kConflict);
}

std::vector<Counters> LegacyTable::Commit(LegacyReplacement next) {
  auto generation = std::make_unique<Generation>();
  generation->context = LegacyContext(*next.program);
  generation->program = std::move(next.program);
  // The only change that the packet path sees.
  generation_.swap(generation);
  return generation ? std::move(generation->context.counters)
                    : std::vector<Counters>();
}

Result<std::vector<Counters>> LegacyTable::Replace(
    std::span<const uint8_t> bytes) {
  LegacyFault fault;
  ASSIGN_OR_RETURN(LegacyReplacement next, Translate(bytes, &fault));
  RETURN_IF_ERROR(CheckCounters(next));
  return Commit(std::move(next));
}

Result<std::vector<uint8_t>> LegacyTable::GetEntries(uint32_t size) const {
  if (size != program().size()) {
    return Refuse(EAGAIN,
                  fmt::format("table {} has {} bytes now, not {}",
                              TableName(kind_), program().size(), size),
                  ErrorCode::kConflict);
  }
  return program().ToUser(context().counters);
}

Status LegacyTable::AddCounters(std::span<const uint8_t> bytes) {
  xt_counters_info head;
  if (bytes.size() <= sizeof(head)) {
    return Refuse(EINVAL, "too few bytes for struct xt_counters_info");
  }
  std::memcpy(&head, bytes.data(), sizeof(head));
  const std::span<const uint8_t> added = bytes.subspan(sizeof(head));
  if (uint64_t{head.num_counters} * sizeof(xt_counters) != added.size()) {
    return Refuse(EINVAL, fmt::format("num_counters is {}, but {} bytes follow",
                                      head.num_counters, added.size()));
  }
  if (TableNameIn(head.name) != TableName(kind_)) {
    return Refuse(ENOENT,
                  fmt::format("no table '{}' here", TableNameIn(head.name)));
  }
  std::vector<Counters>& counters = generation_->context.counters;
  if (head.num_counters != counters.size()) {
    return Refuse(EINVAL,
                  fmt::format("{} counters for {} entries", head.num_counters,
                              counters.size()),
                  ErrorCode::kConflict);
  }
  for (size_t i = 0; i < counters.size(); ++i) {
    xt_counters one;
    std::memcpy(&one, added.data() + i * sizeof(one), sizeof(one));
    counters[i].packets += one.pcnt;
    counters[i].bytes += one.bcnt;
  }
  return {};
}

}  // namespace nfarena
