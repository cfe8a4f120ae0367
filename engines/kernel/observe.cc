#include "engines/kernel/observe.h"

#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "compat/meaning/target.h"
#include "engines/core/checksum.h"
#include "engines/core/packet_state.h"

namespace nfarena::kernel {
namespace {

constexpr uint32_t kLoopback = 1;  // ifindex of lo

bool IsTarget(const Rule* rule, std::string_view name) {
  return rule != nullptr && rule->target.kind == TargetKind::kExtension &&
         rule->target.extension.name == name;
}

/// A packet made by this host may be seen before its TCP or UDP checksum is
/// there: the field then holds the sum of the pseudo header, for the device or
/// skb_checksum_help() to complete (CHECKSUM_PARTIAL).  Completes it as on the
/// wire; any other checksum, also a wrong one, is left alone.
/// Source: net/ipv4/netfilter/nf_reject_ipv4.c nf_reject_ip_tcphdr_put().
void CompleteChecksum(Family family, std::vector<uint8_t>* bytes) {
  const Headers headers = HeadersOf(family, *bytes);
  const bool tcp = headers.protocol == IPPROTO_TCP;
  if (!headers.ok || headers.fragment ||
      (!tcp && headers.protocol != IPPROTO_UDP)) {
    return;
  }
  const size_t field = headers.transport + (tcp ? 16u : 6u);
  if (headers.total_length > bytes->size() ||
      field + 2 > headers.total_length) {
    return;
  }
  const bool v4 = family == Family::kIpv4;
  const size_t size = v4 ? 4 : 16;
  Address src{}, dst{};
  std::copy_n(bytes->begin() + (v4 ? 12 : 8), size, src.begin());
  std::copy_n(bytes->begin() + (v4 ? 16 : 24), size, dst.begin());
  const uint16_t partial = static_cast<uint16_t>(~ChecksumFold(
      PseudoHeaderSum(family, src, dst, headers.protocol,
                      uint32_t{headers.total_length} - headers.transport)));
  uint16_t found = 0;
  std::memcpy(&found, bytes->data() + field, sizeof found);
  if (found == partial) {
    FixTransportChecksum(family, *bytes, headers.transport, headers.protocol);
  }
}

/// Whether the rule's target can be what dropped a packet.
bool MayDrop(const Rule& rule) {
  switch (rule.target.kind) {
    case TargetKind::kDrop:
      return true;
    case TargetKind::kExtension: {
      // These only note something and go on.
      constexpr std::string_view kHarmless[] = {
          "LOG",         "NFLOG",   "MARK",    "CONNMARK",  "CLASSIFY", "TRACE",
          "CONNSECMARK", "SECMARK", "RATEEST", "IDLETIMER", "LED",      "AUDIT",
          "SET",         "TEE",     "HMARK",   "CT",        "NOTRACK",
      };
      return std::find(std::begin(kHarmless), std::end(kHarmless),
                       rule.target.extension.name) == std::end(kHarmless);
    }
    case TargetKind::kNone:
    case TargetKind::kAccept:
    case TargetKind::kQueue:
    case TargetKind::kReturn:
    case TargetKind::kJump:
    case TargetKind::kGoto:
      return false;
  }
  return false;
}

/// What a LOG rule writes to the kernel's log.
std::optional<LogRecord> LogOf(const Rule& rule, Family family) {
  if (!IsTarget(&rule, "LOG")) return std::nullopt;
  const auto meaning = DecodeTarget(family, rule.target.extension);
  if (!meaning) return std::nullopt;
  const auto* log = std::get_if<LogTarget>(&*meaning);
  if (log == nullptr) return std::nullopt;
  LogRecord record;
  record.prefix = log->prefix;
  record.level = log->level;
  return record;
}

}  // namespace

RuleIndex::RuleIndex(const Ruleset* ruleset) : ruleset_(ruleset) {
  for (const Table& table : ruleset->tables) {
    TableIndex& index = tables_[static_cast<size_t>(table.kind)];
    index.table = &table;
    for (uint32_t i = 0; i < table.chains.size(); ++i) {
      index.chains.emplace(table.chains[i].name, i);
    }
  }
}

void RuleIndex::AddHandle(const RuleRef& rule, uint64_t handle) {
  tables_[static_cast<size_t>(rule.table)].rules.emplace(handle, rule);
}

std::optional<RuleRef> RuleIndex::Find(const Event& trace) const {
  const auto kind = TableKindFromName(trace.table);
  if (!kind) return std::nullopt;
  const TableIndex& index = tables_[static_cast<size_t>(*kind)];
  const auto chain = index.chains.find(trace.chain);
  if (chain == index.chains.end()) return std::nullopt;
  RuleRef ref{*kind, chain->second, 0};
  if (trace.kind == EventKind::kLegacyTrace) {
    // Past the last rule comes the chain's foot.  The step is no help here: an
    // unconditional DROP in a built-in chain is called "policy", too.
    const Chain& c = index.table->chains[chain->second];
    if (trace.rulenum <= c.rules.size()) ref.rule = trace.rulenum;
  } else if (trace.handle != 0) {
    const auto rule = index.rules.find(trace.handle);
    if (rule == index.rules.end()) return std::nullopt;
    ref = rule->second;
  }
  return ref;
}

const Chain& RuleIndex::ChainOf(const RuleRef& ref) const {
  return tables_[static_cast<size_t>(ref.table)].table->chains[ref.chain];
}

const Rule* RuleIndex::RuleOf(const RuleRef& ref) const {
  return ref.rule == 0 ? nullptr : &ChainOf(ref).rules[ref.rule - 1];
}

Observer::Observer(const RuleIndex* rules, const Network* network,
                   const ObserverOptions& options, Outcome* outcome)
    : rules_(rules), network_(network), options_(options), outcome_(outcome) {
  outcome->Clear();
}

bool Observer::Stranger(const Event& event) {
  // The packet is in the hook whose beginning it reported last; what the stack
  // makes on its account is in another.
  const auto hook = HookOf(event);
  if (hook && hook != open_) aside_ = true;
  return aside_ || IsOfAnAnswer(event);
}

std::optional<Hook> Observer::HookOf(const Event& event) const {
  if (event.kind != EventKind::kNftTrace) return event.hook;
  // nf_tables names no hook; the built-in chains have theirs.
  const auto ref = rules_->Find(event);
  return ref ? rules_->ChainOf(*ref).hook : std::nullopt;
}

void Observer::Take(const Event& event) {
  if (const auto marker = MarkerOf(event)) {
    TakeMarker(*marker);
    return;
  }
  if (event.kind == EventKind::kPriority) {
    if (pending_) pending_priority_ = event.mark;
    return;
  }
  SettlePending();
  switch (event.kind) {
    case EventKind::kFinal:
      pending_ = event;
      break;
    case EventKind::kNflog:
      if (!Stranger(event)) {
        LogRecord record;
        record.prefix = event.prefix;
        record.group = event.group;
        record.nflog = true;
        outcome_->logs.push_back(std::move(record));
      }
      break;
    case EventKind::kQueue:
      if (!Stranger(event)) {
        outcome_->verdict = VerdictKind::kQueue;
        outcome_->queue = event.queue;
        outcome_->bytes.assign(event.bytes.begin(), event.bytes.end());
        outcome_->mark = event.mark;
        decided_ = true;
      }
      break;
    case EventKind::kLegacyTrace:
    case EventKind::kNftTrace:
      if (!Stranger(event)) TakeTrace(event);
      break;
    case EventKind::kPriority:
      break;
  }
}

void Observer::TakeMarker(Marker marker) {
  if (pending_) {
    // The rule that logged is traced after its record, if the packet is.
    const bool of_pending =
        marker == Marker::kInputEnd || marker == Marker::kPostroutingEnd;
    if (of_pending && !aside_) {
      AcceptPending();
      return;
    }
    SettlePending();
    if (of_pending) return;
  }
  // A packet of this host sees OUTPUT once; a copy of it, a second time.
  if (marker == Marker::kOutputBegin) {
    if (options_.arrives || output_seen_) aside_ = true;
    output_seen_ = true;
  }
  if (aside_) return;
  switch (marker) {
    case Marker::kPreroutingBegin:
      Open(Hook::kPrerouting);
      on_loopback_ = false;
      break;
    case Marker::kInputBegin:
      Open(Hook::kInput);
      break;
    case Marker::kForwardBegin:
      Open(Hook::kForward);
      break;
    case Marker::kOutputBegin:
      Open(Hook::kOutput);
      break;
    case Marker::kPostroutingBegin:
      Open(Hook::kPostrouting);
      break;
    case Marker::kPostroutingEnd:
      // Without a final record: out of lo, to come in again.
      on_loopback_ = true;
      open_.reset();
      break;
    case Marker::kPreroutingEnd:
    case Marker::kInputEnd:
    case Marker::kForwardEnd:
    case Marker::kOutputEnd:
      open_.reset();
      break;
  }
}

void Observer::AcceptPending() {
  outcome_->verdict = VerdictKind::kAccept;
  outcome_->bytes.assign(pending_->bytes.begin(), pending_->bytes.end());
  outcome_->mark = pending_->mark;
  if (pending_->hook != Hook::kInput) {
    outcome_->out = network_->NameOf(pending_->out_index);
  }
  outcome_->priority = pending_priority_.value_or(0);
  decided_ = true;
  pending_.reset();
  pending_priority_.reset();
  open_.reset();
}

void Observer::TakeTrace(const Event& event) {
  const auto ref = rules_->Find(event);
  if (!ref) return;
  any_rule_ = true;
  if (const Rule* rule = rules_->RuleOf(*ref)) {
    last_rule_ = rule;
    outcome_->decided_by = *ref;
    drop_explained_ = event.drops || MayDrop(*rule);
    // nf_tables also traces a rule whose match dropped the packet as
    // malformed; then its target was not reached.
    if (event.drops && !MayDrop(*rule)) return;
    if (options_.trace) outcome_->trace.push_back(*ref);
    if (auto log = LogOf(*rule, rules_->ruleset().family)) {
      outcome_->logs.push_back(std::move(*log));
    }
    // What the stack answers is sent from inside the rule: ip_tables traces
    // before that, nf_tables after it.
    if (IsTarget(rule, "REJECT")) aside_ = aside_for_good_ = true;
    if (event.kind == EventKind::kLegacyTrace && IsTarget(rule, "TEE")) {
      aside_ = true;
    }
    return;
  }
  last_rule_ = nullptr;
  outcome_->decided_by = *ref;
  const Chain& chain = rules_->ChainOf(*ref);
  drop_explained_ =
      event.drops || (chain.hook && chain.policy == Policy::kDrop);
}

void Observer::SettlePending() {
  if (!pending_) return;
  AddEmission(*pending_);
  pending_.reset();
  pending_priority_.reset();
  if (!aside_for_good_) aside_ = false;
}

void Observer::AddEmission(const Event& event) {
  Emission emission;
  emission.out = event.hook == Hook::kInput
                     ? "lo"
                     : std::string(network_->NameOf(event.out_index));
  emission.bytes.assign(event.bytes.begin(), event.bytes.end());
  CompleteChecksum(rules_->ruleset().family, &emission.bytes);
  emission.mark = event.mark;
  outcome_->emissions.push_back(std::move(emission));
}

void Observer::Finish() {
  SettlePending();
  if (decided_) return;
  outcome_->bytes.clear();
  if (!open_) {
    outcome_->verdict = VerdictKind::kUnrouted;
  } else if (IsTarget(last_rule_, "SYNPROXY") || KeptByDefrag()) {
    outcome_->verdict = VerdictKind::kStolen;
  } else {
    outcome_->verdict = VerdictKind::kDrop;
    outcome_->decided_by_known = drop_explained_;
  }
}

bool Observer::IsOfAnAnswer(const Event& event) const {
  if (options_.arrives || event.bytes.empty() || event.hook != Hook::kOutput) {
    return false;
  }
  const Family family = rules_->ruleset().family;
  const Headers own = HeadersOf(family, options_.bytes);
  const Headers logged = HeadersOf(family, event.bytes);
  if (!own.ok || !logged.ok) return false;
  if (own.protocol != logged.protocol) return true;
  if (own.protocol == IPPROTO_ICMP || own.protocol == IPPROTO_ICMPV6) {
    return own.total_length < logged.total_length;  // it quotes the packet
  }
  constexpr size_t kTcpFlags = 13;
  constexpr uint8_t kReset = 0x04;
  const auto is_reset = [](const Headers& headers,
                           std::span<const uint8_t> bytes) {
    const size_t at = headers.transport + kTcpFlags;
    return headers.protocol == IPPROTO_TCP && at < bytes.size() &&
           (bytes[at] & kReset) != 0;
  };
  return is_reset(logged, event.bytes) && !is_reset(own, options_.bytes);
}

bool Observer::KeptByDefrag() const {
  // nf_ct_defrag() stands before every rule.
  return options_.fragment && !any_rule_ &&
         (open_ == Hook::kPrerouting || open_ == Hook::kOutput);
}

void Observer::Open(Hook hook) {
  // The first hook reports its beginning twice, by rule and by policy.
  if (open_ == hook) return;
  open_ = hook;
  drop_explained_ = false;
}

}  // namespace nfarena::kernel
