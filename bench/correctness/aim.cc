#include "bench/correctness/aim.h"

#include <fmt/format.h>
#include <netinet/in.h>

#include <map>
#include <string>
#include <vector>

#include "bench/correctness/sketch.h"
#include "compat/meaning/match.h"

namespace nfarena {
namespace {

/// One rule with the jumps that lead to it from a built-in chain.
struct Aimed {
  const Table* table = nullptr;
  const Chain* chain = nullptr;
  Hook hook = Hook::kInput;
  uint32_t rulenum = 0;          // 1-based; 0 = the policy
  const Rule* rule = nullptr;    // nullptr for the policy
  std::vector<const Rule*> way;  // jump rules, outermost first
};

/// For each chain of a table, the shortest way of jumps from one hook.
class Ways {
 public:
  Ways(const Table& table, const Chain& base) {
    std::vector<const Chain*> queue{&base};
    ways_[&base] = {};
    for (size_t i = 0; i < queue.size(); ++i) {
      for (const Rule& rule : queue[i]->rules) {
        if (rule.target.kind != TargetKind::kJump &&
            rule.target.kind != TargetKind::kGoto) {
          continue;
        }
        const Chain* to = table.chain(rule.target.chain);
        if (to == nullptr || ways_.contains(to)) continue;
        std::vector<const Rule*> way = ways_[queue[i]];
        way.push_back(&rule);
        ways_[to] = std::move(way);
        queue.push_back(to);
      }
    }
    order_ = std::move(queue);
  }
  const std::vector<const Chain*>& chains() const { return order_; }
  const std::vector<const Rule*>& to(const Chain* chain) const {
    return ways_.at(chain);
  }

 private:
  std::map<const Chain*, std::vector<const Rule*>> ways_;
  std::vector<const Chain*> order_;
};

std::vector<Aimed> AllTargets(const Ruleset& ruleset) {
  std::vector<Aimed> all;
  for (const Table& table : ruleset.tables) {
    for (const Chain& base : table.chains) {
      if (!base.hook) continue;
      const Ways ways(table, base);
      for (const Chain* chain : ways.chains()) {
        Aimed aimed{.table = &table,
                    .chain = chain,
                    .hook = *base.hook,
                    .rulenum = 0,
                    .rule = nullptr,
                    .way = ways.to(chain)};
        for (const Rule& rule : chain->rules) {
          ++aimed.rulenum;
          aimed.rule = &rule;
          all.push_back(aimed);
        }
      }
      all.push_back(Aimed{.table = &table,
                          .chain = &base,
                          .hook = *base.hook,
                          .rulenum = 0,
                          .rule = nullptr,
                          .way = {}});
    }
  }
  return all;
}

class Aimer {
 public:
  Aimer(const Ruleset& ruleset, const AimOptions& options)
      : family_(ruleset.family),
        options_(options),
        choose_(ruleset, options.seed),
        targets_(AllTargets(ruleset)) {}

  std::string Text() {
    if (targets_.empty()) {  // no table at all: traffic that meets no rule
      Sketch sketch{.family = family_, .in = "eth0", .out = ""};
      for (uint64_t i = 0; i < options_.packets_count; ++i) {
        Sketch one = sketch;
        Emit(&one, "no rule");
      }
      return std::move(text_);
    }
    // When not every rule can be visited, visit them evenly.
    const double wanted_visits =
        static_cast<double>(options_.packets_count) / 2.0;
    const double step =
        std::max(1.0, static_cast<double>(targets_.size()) / wanted_visits);
    double at = 0;
    while (count_ < options_.packets_count) {
      const Aimed& aimed = targets_[static_cast<size_t>(at)];
      Visit(aimed);
      at += step;
      if (at >= static_cast<double>(targets_.size())) {
        at -= static_cast<double>(targets_.size());
      }
    }
    return std::move(text_);
  }

 private:
  void Visit(const Aimed& aimed) {
    Sketch hit = Start(aimed.hook);
    for (const Rule* jump : aimed.way) SteerRule(*jump, nullptr, &hit);
    if (aimed.rule != nullptr) SteerRule(*aimed.rule, nullptr, &hit);
    Shoot(hit, Label(aimed, aimed.rule == nullptr ? "fall through" : "hit"));
    if (aimed.rule == nullptr) return;
    // The miss keeps what the hit settled on and breaks one condition.
    const size_t parts = PartsOf(aimed.rule->selector).size();
    const size_t conditions = parts + aimed.rule->matches.size();
    if (conditions == 0) return;
    const size_t broken = choose_.Below(conditions);
    Sketch miss = Start(aimed.hook);
    for (const Rule* jump : aimed.way) SteerRule(*jump, nullptr, &miss);
    SteerRule(*aimed.rule, &broken, &miss);
    Shoot(miss, Label(aimed, "near miss"));
  }

  static std::string Label(const Aimed& aimed, const char* what) {
    if (aimed.rule == nullptr) {
      return fmt::format("{}/{}/policy {}", TableName(aimed.table->kind),
                         aimed.chain->name, what);
    }
    return fmt::format("{}/{}/{} {} from {}", TableName(aimed.table->kind),
                       aimed.chain->name, aimed.rulenum, what,
                       HookChainName(aimed.hook));
  }

  Sketch Start(Hook hook) {
    Sketch s{.family = family_, .in = {}, .out = {}};
    const bool local = choose_.Chance(0.5);
    switch (hook) {
      case Hook::kPrerouting:
        s.in = choose_.Device();
        if (!local) s.out = choose_.Device();
        break;
      case Hook::kInput:
        s.in = choose_.Device();
        break;
      case Hook::kForward:
        s.in = choose_.Device();
        s.out = choose_.Device();
        s.forwarded = true;
        break;
      case Hook::kOutput:
        s.out = choose_.Device();
        break;
      case Hook::kPostrouting:
        if (!local) s.in = choose_.Device();
        s.out = choose_.Device();
        break;
    }
    return s;
  }

  /// Steers all conditions of a rule; `broken` numbers the one to fail
  /// (selector parts first, then matches).
  void SteerRule(const Rule& rule, const size_t* broken, Sketch* sketch) {
    size_t index = 0;
    for (SelectorPart part : PartsOf(rule.selector)) {
      SteerSelector(rule.selector, part, broken == nullptr || *broken != index,
                    &choose_, sketch);
      ++index;
    }
    for (const Extension& match : rule.matches) {
      const bool hold = broken == nullptr || *broken != index;
      ++index;
      if (const auto condition = DecodeMatch(family_, match)) {
        Steer(*condition, hold, &choose_, sketch);
      }
    }
  }

  /// Emits the packet with what it needs before and what may follow it.
  void Shoot(Sketch s, const std::string& label) {
    KeepRoute(&s);
    switch (s.state) {
      case WantedState::kEstablished: {
        // The line settles the free fields; the opener is its mirror.
        const std::string packet = SketchLine(&s, &choose_);
        Sketch opener = Reversed(s);
        opener.tcp_flags = 0x02;
        if (s.protocol == IPPROTO_ICMP) opener.icmp_type = 8;
        if (s.protocol == IPPROTO_ICMPV6) opener.icmp_type = 128;
        KeepRoute(&opener);
        Emit(&opener, label + ", opener");
        Line(packet, label);
        return;
      }
      case WantedState::kRelated: {
        // The flow went the other way; the error comes where `s` would.
        (void)SketchLine(&s, &choose_);
        Sketch flow = Reversed(s);
        flow.tcp_flags = 0x02;
        KeepRoute(&flow);
        Emit(&flow, label + ", the flow of it");
        Line(IcmpErrorAbout(s, flow), label);
        return;
      }
      default:
        break;
    }
    Emit(&s, label);
    if (choose_.Chance(0.25)) FollowUp(s, label);
  }

  /// The answer and, for TCP, the third packet of the handshake.
  void FollowUp(const Sketch& s, const std::string& label) {
    Sketch answer = Reversed(s);
    if (s.protocol == IPPROTO_TCP) {
      if (s.tcp_flags != 0x02) return;
      answer.tcp_flags = 0x12;
    } else if (s.protocol == IPPROTO_ICMP && s.icmp_type == 8) {
      answer.icmp_type = 0;
    } else if (s.protocol == IPPROTO_ICMPV6 && s.icmp_type == 128) {
      answer.icmp_type = 129;
    } else if (s.protocol != IPPROTO_UDP) {
      return;
    }
    KeepRoute(&answer);
    Emit(&answer, label + ", answered");
    if (s.protocol == IPPROTO_TCP) {
      Sketch third = s;
      third.tcp_flags = 0x10;
      Emit(&third, label + ", acknowledged");
    }
  }

  /// "host unreachable" about `flow`, on the way that `s` takes.
  std::string IcmpErrorAbout(const Sketch& s, const Sketch& flow) {
    Sketch quoted = flow;
    quoted.in.clear();
    quoted.out.clear();
    quoted.mark.reset();
    quoted.uid.reset();
    quoted.gid.reset();
    std::string inner = SketchLine(&quoted, &choose_);
    inner.erase(0, inner.find("SRC="));
    Sketch error = s;
    error.protocol = IcmpProtocol(family_);
    error.icmp_type = family_ == Family::kIpv4 ? 3 : 1;
    error.icmp_code = family_ == Family::kIpv4 ? 1 : 3;
    error.length.reset();
    KeepRoute(&error);
    std::string line = SketchLine(&error, &choose_);
    // An error has no ID and SEQ; what it quotes stands in brackets.
    line.erase(line.find(" ID="));
    return line + " [" + inner + "]";
  }

  /// One (IN, DST) leaves by one device only: the network of a ruleset has one
  /// routing table an input device.
  void KeepRoute(Sketch* s) {
    if (!s->dst) s->dst = choose_.PlainAddress(family_);
    const auto [it, added] = routes_.try_emplace({s->in, *s->dst}, s->out);
    if (!added) s->out = it->second;
  }

  void Emit(Sketch* s, const std::string& label) {
    KeepRoute(s);
    Line(SketchLine(s, &choose_), label);
  }

  void Line(const std::string& line, const std::string& label) {
    if (count_ >= options_.packets_count) return;
    ++count_;
    text_ += fmt::format("# {}: {}\n{}\n", count_, label, line);
  }

  Family family_;
  AimOptions options_;
  Chooser choose_;
  std::vector<Aimed> targets_;
  std::map<std::pair<std::string, Address>, std::string> routes_;
  std::string text_;
  uint64_t count_ = 0;
};

}  // namespace

std::string AimPackets(const Ruleset& ruleset, const AimOptions& options) {
  return Aimer(ruleset, options).Text();
}

}  // namespace nfarena
