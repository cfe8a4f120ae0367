#include "engines/vm/testing/random_batch.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netlink.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <string_view>
#include <vector>

#include "engines/vm/expression.h"
#include "engines/vm/message_types.h"
#include "engines/xt/extension.h"

namespace nfarena::vm {
namespace {

constexpr std::array<std::string_view, 10> kChainNames = {
    "PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING",
    "a",          "b",     "c",       "d",      "none"};
constexpr std::array<std::string_view, 9> kSetNames = {
    "words", "ranges", "pairs",   "verdicts", "marks",
    "live",  "ports",  "__set%d", "none"};
constexpr std::array<std::string_view, 4> kObjectNames = {"counted", "limited",
                                                          "quota", "none"};
constexpr std::array<std::string_view, 16> kMatchNames = {
    "tcp",    "udp",   "icmp",      "multiport", "conntrack", "state",
    "mark",   "limit", "addrtype",  "iprange",   "set",       "hashlimit",
    "recent", "u32",   "statistic", "connlimit"};
constexpr std::array<std::string_view, 12> kTargetNames = {
    "MARK", "LOG",  "REJECT", "DNAT",   "SNAT",  "MASQUERADE",
    "CT",   "DSCP", "TTL",    "TCPMSS", "NFLOG", "CONNMARK"};

struct NamedPolicy {
  std::string_view name;
  const AttributePolicy* policy;
};
const NamedPolicy kExpressions[] = {
#define VM_EXPRESSION(id, name, stateful) {name, &k##id##Policy},
#include "engines/vm/expressions.def"
#undef VM_EXPRESSION
};

template <size_t kSize>
std::string_view Name(const std::array<std::string_view, kSize>& names,
                      Choices* choices) {
  return names[choices->Below(kSize)];
}

class RandomWriter {
 public:
  RandomWriter(uint8_t family, Choices* choices, MessageWriter* writer)
      : family_(family), choices_(choices), writer_(writer) {}

  void Message(uint16_t type) {
    const AttributePolicy* policy = PolicyOf(type);
    if (policy == nullptr) return;
    type_ = type;
    for (uint16_t t = 1; t <= policy->max_type(); ++t) {
      if (t > 2 && choices_->OneIn(2)) continue;
      Attribute(policy->rule(t), t);
    }
  }

  void ExpressionList(uint16_t type) {
    const size_t list = writer_->BeginNest(type);
    for (size_t n = choices_->Below(7); n != 0; --n) {
      const size_t element = writer_->BeginNest(NFTA_LIST_ELEM);
      Expression();
      writer_->EndNest(element);
    }
    writer_->EndNest(list);
  }

 private:
  void Attribute(const AttributeRule& rule, uint16_t type) {
    switch (rule.kind) {
      case AttributeKind::kIgnored:
        break;
      case AttributeKind::kU8:
        writer_->PutU8(type, choices_->Byte());
        break;
      case AttributeKind::kU16:
        writer_->PutBe16(type, static_cast<uint16_t>(choices_->Number()));
        break;
      case AttributeKind::kU32:
      case AttributeKind::kMax32:
      case AttributeKind::kMask32:
        writer_->PutBe32(type, choices_->Number());
        break;
      case AttributeKind::kU64:
        writer_->PutBe64(type, choices_->Number());
        break;
      case AttributeKind::kString:
      case AttributeKind::kNulString:
        writer_->PutString(type, MessageName(type));
        break;
      case AttributeKind::kBinary:
        writer_->Put(type, choices_->Take(choices_->Below(64)));
        break;
      case AttributeKind::kNested:
        MessageNest(type);
        break;
      case AttributeKind::kExprList:
        ExpressionList(type);
        break;
      case AttributeKind::kElementList:
        Elements(type);
        break;
    }
  }

  std::string_view MessageName(uint16_t type) {
    if (type == 1) return choices_->OneIn(16) ? "other" : "filter";
    if (type_ == NFT_MSG_NEWCHAIN && type == NFTA_CHAIN_TYPE) {
      constexpr std::array<std::string_view, 4> kTypes = {"filter", "nat",
                                                          "route", "none"};
      return Name(kTypes, choices_);
    }
    switch (type_) {
      case NFT_MSG_NEWSET:
      case NFT_MSG_DELSET:
      case NFT_MSG_NEWSETELEM:
      case NFT_MSG_DELSETELEM:
      case kDestroySet:
      case kDestroySetElement:
        return Name(kSetNames, choices_);
      case NFT_MSG_NEWOBJ:
      case NFT_MSG_DELOBJ:
      case kDestroyObject:
        return Name(kObjectNames, choices_);
      default:
        return Name(kChainNames, choices_);
    }
  }

  void MessageNest(uint16_t type) {
    const size_t nest = writer_->BeginNest(type);
    switch (type_) {
      case NFT_MSG_NEWCHAIN:
        if (type == NFTA_CHAIN_HOOK) {
          writer_->PutBe32(NFTA_HOOK_HOOKNUM,
                           static_cast<uint32_t>(choices_->Below(6)));
          writer_->PutBe32(NFTA_HOOK_PRIORITY, choices_->Number());
        } else {
          writer_->PutBe64(NFTA_COUNTER_BYTES, choices_->Number());
          writer_->PutBe64(NFTA_COUNTER_PACKETS, choices_->Number());
        }
        break;
      case NFT_MSG_NEWRULE:
        writer_->PutBe32(NFTA_RULE_COMPAT_PROTO, choices_->Number());
        writer_->PutBe32(NFTA_RULE_COMPAT_FLAGS,
                         static_cast<uint32_t>(choices_->Below(4)));
        break;
      case NFT_MSG_NEWSET:
        if (type == NFTA_SET_DESC) {
          writer_->PutBe32(NFTA_SET_DESC_SIZE, choices_->Number());
          const size_t fields = writer_->BeginNest(NFTA_SET_DESC_CONCAT);
          for (size_t n = choices_->Below(6); n != 0; --n) {
            const size_t field = writer_->BeginNest(NFTA_LIST_ELEM);
            writer_->PutBe32(NFTA_SET_FIELD_LEN, choices_->Number());
            writer_->EndNest(field);
          }
          writer_->EndNest(fields);
        } else {
          Expression();
        }
        break;
      case NFT_MSG_NEWOBJ:
        Attributes(
            *kExpressions[choices_->Below(std::size(kExpressions))].policy);
        break;
      default:
        break;
    }
    writer_->EndNest(nest);
  }

  void Elements(uint16_t type) {
    const size_t list = writer_->BeginNest(type);
    for (size_t n = choices_->Below(6); n != 0; --n) {
      const size_t element = writer_->BeginNest(NFTA_LIST_ELEM);
      if (!choices_->OneIn(16)) Data(NFTA_SET_ELEM_KEY);
      if (choices_->OneIn(3)) Data(NFTA_SET_ELEM_DATA);
      if (choices_->OneIn(3)) {
        writer_->PutBe32(NFTA_SET_ELEM_FLAGS,
                         static_cast<uint32_t>(choices_->Below(4)));
      }
      if (choices_->OneIn(6)) Data(NFTA_SET_ELEM_KEY_END);
      if (choices_->OneIn(6)) {
        writer_->PutBe64(NFTA_SET_ELEM_TIMEOUT, choices_->Number());
      }
      if (choices_->OneIn(8)) {
        const size_t nest = writer_->BeginNest(NFTA_SET_ELEM_EXPR);
        Expression();
        writer_->EndNest(nest);
      }
      if (choices_->OneIn(8)) {
        writer_->PutString(NFTA_SET_ELEM_OBJREF, Name(kObjectNames, choices_));
      }
      writer_->EndNest(element);
    }
    writer_->EndNest(list);
  }

  // A value or a verdict.
  void Data(uint16_t type) {
    const size_t nest = writer_->BeginNest(type);
    if (choices_->OneIn(4)) {
      constexpr std::array<int32_t, 8> kCodes = {
          NF_DROP,  NF_ACCEPT, NFT_CONTINUE, NFT_BREAK,
          NFT_JUMP, NFT_GOTO,  NFT_RETURN,   NF_QUEUE};
      const size_t verdict = writer_->BeginNest(NFTA_DATA_VERDICT);
      writer_->PutBe32(
          NFTA_VERDICT_CODE,
          static_cast<uint32_t>(kCodes[choices_->Below(kCodes.size())]));
      if (!choices_->OneIn(3)) {
        writer_->PutString(NFTA_VERDICT_CHAIN, Name(kChainNames, choices_));
      }
      writer_->EndNest(verdict);
    } else {
      constexpr std::array<uint8_t, 8> kLengths = {1, 2, 4, 4, 8, 12, 16, 0};
      size_t length = kLengths[choices_->Below(kLengths.size())];
      if (length == 0) length = choices_->Byte();
      writer_->Put(NFTA_DATA_VALUE, choices_->Take(length));
    }
    writer_->EndNest(nest);
  }

  // NFTA_EXPR_NAME and NFTA_EXPR_DATA.
  void Expression() {
    if (depth_ == 3) return;
    ++depth_;
    const NamedPolicy& expression =
        kExpressions[choices_->Below(std::size(kExpressions))];
    writer_->PutString(NFTA_EXPR_NAME, expression.name);
    const size_t data = writer_->BeginNest(NFTA_EXPR_DATA);
    if (expression.policy == &kMatchPolicy) {
      MatchOrTarget(true);
    } else if (expression.policy == &kTargetPolicy) {
      MatchOrTarget(false);
    } else {
      Attributes(*expression.policy);
    }
    writer_->EndNest(data);
    --depth_;
  }

  void MatchOrTarget(bool match) {
    const std::string_view name =
        match ? Name(kMatchNames, choices_) : Name(kTargetNames, choices_);
    const auto revision = static_cast<uint8_t>(choices_->Below(4));
    const Family family =
        family_ == NFPROTO_IPV4 ? Family::kIpv4 : Family::kIpv6;
    size_t size = choices_->Below(64);
    if (const XtMatch* known = FindXtMatch(family, name, revision)) {
      size = known->payload_size;
    } else if (const XtTarget* target = FindXtTarget(family, name, revision)) {
      size = target->payload_size;
    }
    constexpr size_t kXtAlignment = 8;
    size = (size + kXtAlignment - 1) / kXtAlignment * kXtAlignment;
    writer_->PutString(NFTA_MATCH_NAME, name);
    writer_->PutBe32(NFTA_MATCH_REV, revision);
    writer_->Put(NFTA_MATCH_INFO, choices_->Take(size));
  }

  void Attributes(const AttributePolicy& policy) {
    for (uint16_t t = 1; t <= policy.max_type(); ++t) {
      if (choices_->OneIn(4)) continue;
      ExpressionAttribute(policy, policy.rule(t), t);
    }
  }

  void ExpressionAttribute(const AttributePolicy& policy,
                           const AttributeRule& rule, uint16_t type) {
    switch (rule.kind) {
      case AttributeKind::kString:
      case AttributeKind::kNulString:
        writer_->PutString(type, &policy == &kObjrefPolicy && type == 2
                                     ? Name(kObjectNames, choices_)
                                     : Name(kSetNames, choices_));
        break;
      case AttributeKind::kNested:
        if (&policy == &kDynsetPolicy) {
          const size_t nest = writer_->BeginNest(type);
          Expression();
          writer_->EndNest(nest);
        } else {
          Data(type);
        }
        break;
      default:
        Attribute(rule, type);
    }
  }

  uint8_t family_;
  Choices* choices_;
  MessageWriter* writer_;
  uint16_t type_ = 0;
  int depth_ = 0;
};

constexpr uint16_t kMessages[] = {
    NFT_MSG_NEWRULE,    NFT_MSG_NEWRULE,    NFT_MSG_NEWRULE,
    NFT_MSG_NEWRULE,    NFT_MSG_DELRULE,    NFT_MSG_NEWSETELEM,
    NFT_MSG_NEWSETELEM, NFT_MSG_DELSETELEM, NFT_MSG_NEWCHAIN,
    NFT_MSG_DELCHAIN,   NFT_MSG_NEWSET,     NFT_MSG_NEWSET,
    NFT_MSG_DELSET,     NFT_MSG_NEWOBJ,     NFT_MSG_DELOBJ,
    NFT_MSG_NEWTABLE,   NFT_MSG_DELTABLE,   kDestroyRule,
    kDestroyChain,      kDestroySet,        kDestroySetElement,
    kDestroyObject,     kDestroyTable};

// An expression that is mostly accepted, so that rules get far.
TestExpression LikelyExpression(Choices* choices) {
  const auto reg = static_cast<uint32_t>(choices->OneIn(4)
                                             ? NFT_REG32_00 + choices->Below(16)
                                             : size_t{NFT_REG_1});
  switch (choices->Below(12)) {
    case 0:
      return Payload(static_cast<uint32_t>(choices->Below(3)), choices->Byte(),
                     static_cast<uint32_t>(1 + choices->Below(16)), reg);
    case 1:
      return Meta(static_cast<uint32_t>(choices->Below(32)), reg);
    case 2:
      return Ct(static_cast<uint32_t>(choices->Below(24)), reg,
                static_cast<int>(choices->Below(3)) - 1);
    case 3:
      return Cmp(static_cast<uint32_t>(choices->Below(6)),
                 choices->Take(1 + choices->Below(16)), reg);
    case 4:
      return Immediate(reg, choices->Take(1 + choices->Below(16)));
    case 5: {
      constexpr std::array<std::string_view, 3> kTargets = {"a", "b", "c"};
      return Verdict(choices->OneIn(2) ? NFT_JUMP : NFT_GOTO,
                     Name(kTargets, choices));
    }
    case 6:
      return Verdict(choices->OneIn(2) ? NFT_RETURN : NF_ACCEPT);
    case 7:
      return Counter();
    case 8:
      return Lookup(Name(kSetNames, choices), 0, reg,
                    choices->OneIn(2) ? -1 : static_cast<int>(reg),
                    choices->OneIn(8));
    case 9: {
      const size_t length = 1 + choices->Below(16);
      return Bitwise(choices->Take(length), choices->Take(length), reg, reg);
    }
    case 10:
      return PayloadSet(
          static_cast<uint32_t>(choices->Below(3)), choices->Byte(),
          static_cast<uint32_t>(1 + choices->Below(16)), reg,
          static_cast<uint32_t>(choices->Below(2)), choices->Byte(),
          static_cast<uint32_t>(choices->Below(2)));
    default:
      return MetaSet(static_cast<uint32_t>(choices->Below(32)), reg);
  }
}

}  // namespace

Bytes StandingBatch(uint8_t family) {
  BatchBuilder batch(family);
  batch.Table("filter");
  for (uint32_t hook = 0; hook < 5; ++hook) {
    batch.BaseChain("filter", kChainNames[hook], "filter", hook, 0, NF_ACCEPT,
                    true);
  }
  for (const std::string_view name : {"a", "b", "c"}) {
    batch.Chain("filter", name);
  }
  constexpr uint32_t kVerdictType = 0xffffff00;
  batch.Set("filter", "words", 1, 0, 4)
      .Set("filter", "ranges", 2, NFT_SET_INTERVAL, 4)
      .Set("filter", "pairs", 3, NFT_SET_INTERVAL | NFT_SET_CONCAT, 8, 0, 0, 0,
           {4, 4})
      .Set("filter", "verdicts", 4, NFT_SET_MAP, 2, kVerdictType, 16)
      .Set("filter", "marks", 5, NFT_SET_MAP, 4, 1, 4)
      .Set("filter", "live", 6, NFT_SET_EVAL | NFT_SET_TIMEOUT, 4, 0, 0, 64)
      .Set("filter", "ports", 7, 0, 2)
      .Elements("filter", "words", 1,
                {{.key = {192, 0, 2, 1}}, {.key = {198, 51, 100, 1}}})
      .Elements("filter", "ranges", 2,
                {{.key = {192, 0, 2, 0}},
                 {.key = {192, 0, 3, 0}, .flags = NFT_SET_ELEM_INTERVAL_END}})
      .Elements("filter", "pairs", 3,
                {{.key = {192, 0, 2, 0, 0, 22, 0, 0},
                  .key_end = {192, 0, 2, 255, 0, 80, 0, 0}}})
      .Elements("filter", "verdicts", 4,
                {{.key = {0, 22}, .verdict = NF_DROP, .has_verdict = true},
                 {.key = {0, 80},
                  .verdict = NFT_JUMP,
                  .has_verdict = true,
                  .chain = "c"}})
      .Object("filter", "counted", NFT_OBJECT_COUNTER, [](MessageWriter*) {})
      .Object("filter", "quota", NFT_OBJECT_QUOTA, [](MessageWriter* writer) {
        writer->PutBe64(NFTA_QUOTA_BYTES, 1000);
      });
  return batch.Build();
}

Bytes RandomBatch(uint8_t family, size_t most, Choices* choices) {
  BatchBuilder batch(family);
  for (size_t n = 1 + choices->Below(most); n != 0; --n) {
    if (!choices->OneIn(3)) {
      std::vector<TestExpression> expressions;
      for (size_t e = 1 + choices->Below(6); e != 0; --e) {
        expressions.push_back(LikelyExpression(choices));
      }
      batch.Rule("filter", Name(kChainNames, choices), expressions);
      continue;
    }
    const uint16_t type = kMessages[choices->Below(std::size(kMessages))];
    constexpr std::array<uint16_t, 4> kFlags = {
        NLM_F_CREATE, NLM_F_CREATE | NLM_F_APPEND, 0,
        NLM_F_CREATE | NLM_F_EXCL | NLM_F_REPLACE};
    const uint16_t flags = kFlags[choices->Below(kFlags.size())];
    batch.Message(type, flags, [&](MessageWriter* writer) {
      RandomWriter(family, choices, writer).Message(type);
    });
  }
  return batch.Build();
}

}  // namespace nfarena::vm
