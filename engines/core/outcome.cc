#include "engines/core/outcome.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "engines/core/bytes.h"

namespace nfarena {
namespace {

std::string Hex(const std::vector<uint8_t>& bytes) {
  std::string text;
  text.reserve(bytes.size() * 2);
  for (uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

/// Only what differs, with its offset: a whole packet twice is hard to read.
std::string ByteDifference(const std::vector<uint8_t>& a,
                           const std::vector<uint8_t>& b) {
  if (a.size() != b.size()) {
    return fmt::format("{} bytes / {} bytes ({} / {})", a.size(), b.size(),
                       Hex(a), Hex(b));
  }
  std::string text;
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] == b[i]) continue;
    text += fmt::format("{}[{}] {:02x} / {:02x}", text.empty() ? "" : ", ", i,
                        a[i], b[i]);
  }
  return text;
}

/// Zeroes what the stack fills in from a counter or a hash of a secret: the id
/// of an IPv4 answer without DF (with its checksum), an IPv6 flow label.
void MaskAnswer(std::vector<uint8_t>* bytes) {
  if (bytes->size() >= 20 && ((*bytes)[0] >> 4) == 4) {
    if (((*bytes)[6] & 0x40) == 0) {
      std::fill_n(bytes->begin() + 4, 2, uint8_t{0});
      std::fill_n(bytes->begin() + 10, 2, uint8_t{0});
    }
  } else if (bytes->size() >= 40 && ((*bytes)[0] >> 4) == 6) {
    (*bytes)[1] &= 0xf0;
    (*bytes)[2] = 0;
    (*bytes)[3] = 0;
  }
}

void Add(std::string* text, std::string_view what, const std::string& a,
         const std::string& b) {
  if (!text->empty()) *text += "; ";
  *text += fmt::format("{}: {} / {}", what, a, b);
}

std::string Quoted(const std::string& text) { return '"' + text + '"'; }

void CompareEmissions(const Outcome& a, const Outcome& b, std::string* text) {
  if (a.emissions.size() != b.emissions.size()) {
    Add(text, "emissions", std::to_string(a.emissions.size()),
        std::to_string(b.emissions.size()));
    return;
  }
  for (size_t i = 0; i < a.emissions.size(); ++i) {
    Emission x = a.emissions[i];
    Emission y = b.emissions[i];
    MaskAnswer(&x.bytes);
    MaskAnswer(&y.bytes);
    const std::string name = fmt::format("emission {}", i + 1);
    if (x.out != y.out) Add(text, name + " out", Quoted(x.out), Quoted(y.out));
    if (x.mark != y.mark) {
      Add(text, name + " mark", fmt::format("{:#x}", x.mark),
          fmt::format("{:#x}", y.mark));
    }
    if (x.bytes != y.bytes) {
      if (!text->empty()) *text += "; ";
      *text += name + " bytes: " + ByteDifference(x.bytes, y.bytes);
    }
  }
}

std::string LogText(const LogRecord& log) {
  return log.nflog ? fmt::format("NFLOG {} \"{}\"", log.group, log.prefix)
                   : fmt::format("LOG {} \"{}\"", log.level, log.prefix);
}

void CompareLogs(const Outcome& a, const Outcome& b, std::string* text) {
  const size_t common = std::min(a.logs.size(), b.logs.size());
  for (size_t i = 0; i < common; ++i) {
    if (a.logs[i] == b.logs[i]) continue;
    Add(text, fmt::format("log {}", i + 1), LogText(a.logs[i]),
        LogText(b.logs[i]));
  }
  if (a.logs.size() != b.logs.size()) {
    Add(text, "logs", std::to_string(a.logs.size()),
        std::to_string(b.logs.size()));
  }
}

}  // namespace

const char* VerdictKindName(VerdictKind kind) {
  switch (kind) {
    case VerdictKind::kAccept:
      return "accept";
    case VerdictKind::kDrop:
      return "drop";
    case VerdictKind::kQueue:
      return "queue";
    case VerdictKind::kStolen:
      return "stolen";
    case VerdictKind::kUnrouted:
      return "unrouted";
  }
  return "unknown";
}

void Outcome::Clear() {
  verdict = VerdictKind::kAccept;
  queue = 0;
  decided_by = {};
  decided_by_known = true;
  out.clear();
  bytes.clear();
  mark = 0;
  priority = 0;
  emissions.clear();
  logs.clear();
  trace.clear();
  indeterminate.clear();
}

std::string DescribeDifference(const Ruleset& ruleset, const Outcome& a,
                               const Outcome& b,
                               const OutcomeComparison& what) {
  std::string text;
  if (a.verdict != b.verdict) {
    Add(&text, "verdict", VerdictKindName(a.verdict),
        VerdictKindName(b.verdict));
  } else {
    // These mean something only for some verdicts; the rest is left over.
    const bool leaves =
        a.verdict == VerdictKind::kAccept || a.verdict == VerdictKind::kQueue;
    if (a.verdict == VerdictKind::kQueue && a.queue != b.queue) {
      Add(&text, "queue", std::to_string(a.queue), std::to_string(b.queue));
    }
    if (a.verdict == VerdictKind::kAccept && a.out != b.out) {
      Add(&text, "out", Quoted(a.out), Quoted(b.out));
    }
    if (leaves && a.mark != b.mark) {
      Add(&text, "mark", fmt::format("{:#x}", a.mark),
          fmt::format("{:#x}", b.mark));
    }
    if (a.verdict == VerdictKind::kAccept && a.priority != b.priority) {
      Add(&text, "priority", fmt::format("{:#x}", a.priority),
          fmt::format("{:#x}", b.priority));
    }
    if (leaves && what.bytes && a.bytes != b.bytes) {
      if (!text.empty()) text += "; ";
      text += "bytes: " + ByteDifference(a.bytes, b.bytes);
    }
  }
  if (what.decided_by && a.decided_by_known && b.decided_by_known &&
      !(a.decided_by == b.decided_by)) {
    Add(&text, "decided by", RuleRefName(ruleset, a.decided_by),
        RuleRefName(ruleset, b.decided_by));
  }
  if (what.bytes) CompareEmissions(a, b, &text);
  if (what.logs) CompareLogs(a, b, &text);
  return text;
}

std::string OutcomeLine(const Ruleset& ruleset, const Outcome& outcome) {
  std::string text = VerdictKindName(outcome.verdict);
  if (outcome.verdict == VerdictKind::kQueue) {
    text += fmt::format(" {}", outcome.queue);
  }
  text += ' ' + RuleRefName(ruleset, outcome.decided_by);
  if (outcome.verdict == VerdictKind::kAccept) {
    text += outcome.out.empty() ? " here" : " out=" + outcome.out;
  }
  if (outcome.mark != 0) text += fmt::format(" mark={:#x}", outcome.mark);
  if (outcome.priority != 0) {
    text += fmt::format(" priority={:#x}", outcome.priority);
  }
  for (const LogRecord& log : outcome.logs) text += ' ' + LogText(log);
  for (const Emission& emission : outcome.emissions) {
    text += fmt::format(" emits out={} {}", emission.out, Hex(emission.bytes));
  }
  if (!outcome.indeterminate.empty()) {
    text += fmt::format(" (indeterminate: {})", outcome.indeterminate);
  }
  return text;
}

}  // namespace nfarena
