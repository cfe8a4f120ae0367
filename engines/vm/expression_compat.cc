// match and target: an extension of xtables as an expression (nft_compat).
//
// The extension is looked up by family, name and revision among those the
// twins know; any other is refused with ENOENT, which is also what a kernel
// without the module says.
// Source: net/netfilter/nft_compat.c.
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nf_tables_compat.h>
#include <linux/netfilter/x_tables.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "engines/vm/control_plane.h"
#include "engines/vm/expression.h"
#include "engines/xt/extension.h"

namespace nfarena::vm {
namespace {

constexpr size_t kLargeThreshold = 192;  // NFT_MATCH_LARGE_THRESH
constexpr uint32_t kNameLimit = XT_EXTENSION_MAXNAMELEN;

constexpr AttributePolicy kCompatPolicy{
    NFTA_RULE_COMPAT_MAX,
    {{NFTA_RULE_COMPAT_PROTO, AttributeKind::kU32, 0},
     {NFTA_RULE_COMPAT_FLAGS, AttributeKind::kU32, 0}}};

Family FamilyOf(uint8_t nfproto) {
  return nfproto == NFPROTO_IPV6 ? Family::kIpv6 : Family::kIpv4;
}

bool KnownFamily(uint8_t nfproto) {
  return nfproto == NFPROTO_IPV4 || nfproto == NFPROTO_IPV6;
}

// xt_request_find_match() and _target() with the name and revision of the
// expression; the three attributes are numbered alike in both.
static_assert(static_cast<int>(NFTA_MATCH_NAME) == NFTA_TARGET_NAME &&
              static_cast<int>(NFTA_MATCH_REV) == NFTA_TARGET_REV &&
              static_cast<int>(NFTA_MATCH_INFO) == NFTA_TARGET_INFO);

Errno CheckAttributes(const AttributeTable& attributes) {
  return attributes[NFTA_MATCH_NAME] && attributes[NFTA_MATCH_REV] &&
                 attributes[NFTA_MATCH_INFO]
             ? 0
             : EINVAL;
}

// What checkentry() is told of where the rule is.
Errno MakeUse(const DecodeContext& context, XtUse* use) {
  use->family = FamilyOf(context.family);
  use->table =
      TableKindFromName(context.table->name).value_or(TableKind::kFilter);
  if (context.chain != nullptr && context.chain->base) {
    use->hook_mask = static_cast<uint8_t>(1u << context.chain->base->hook);
  }
  if (!context.compat) return 0;
  AttributeTable table;
  const Errno error =
      ParseAttributes(context.compat.payload(), kCompatPolicy, &table);
  if (error != 0) return error;
  if (!table[NFTA_RULE_COMPAT_PROTO] || !table[NFTA_RULE_COMPAT_FLAGS]) {
    return EINVAL;
  }
  constexpr uint32_t kUnused = 1u << 0;  // NFT_RULE_COMPAT_F_UNUSED
  const uint32_t flags = table[NFTA_RULE_COMPAT_FLAGS].Be32();
  if ((flags & kUnused) != 0 ||
      (flags & ~uint32_t{NFT_RULE_COMPAT_F_MASK}) != 0) {
    return EINVAL;
  }
  const uint32_t protocol = table[NFTA_RULE_COMPAT_PROTO].Be32();
  if (protocol > UINT16_MAX) return EINVAL;
  use->protocol = static_cast<uint16_t>(protocol);
  use->protocol_inverted = (flags & NFT_RULE_COMPAT_F_INV) != 0;
  return 0;
}

Errno ErrnoOf(const Status& status) {
  if (status) return 0;
  return status.error().errno_value != 0 ? status.error().errno_value : EINVAL;
}

// State of a match or target, zeroed and initialised; nullptr when it has none.
void* MakeState(const XtStateLayout& layout, const uint8_t* payload) {
  if (layout.bytes == 0) return nullptr;
  const size_t bytes = XT_ALIGN(size_t{layout.bytes});
  void* state = std::aligned_alloc(16, (bytes + 15) & ~size_t{15});
  std::memset(state, 0, bytes);
  if (layout.init != nullptr) layout.init(payload, state);
  return state;
}

// Checks the payload and makes the use; shared by the inline and large forms.
Errno InitPayload(DecodeContext* context, const AttributeTable& attributes,
                  uint8_t* payload, uint32_t* aux) {
  const XtMatch* match = context->selected->match;
  const XtTarget* target = context->selected->target;
  const size_t size =
      match != nullptr ? match->payload_size : target->payload_size;
  const Attribute& info = attributes[NFTA_MATCH_INFO];
  std::memcpy(payload, info.payload().data(), size);
  XtUse use;
  Errno error = MakeUse(*context, &use);
  CompatUse compat;
  use.net = context->control->net();
  use.holds = &compat.holds;
  if (error != 0) return error;
  if (XT_ALIGN(info.size()) != XT_ALIGN(size)) return EINVAL;
  const std::span<const uint8_t> bytes(payload, size);
  if (match != nullptr && match->check != nullptr) {
    error = ErrnoOf(match->check(bytes, use));
  } else if (target != nullptr && target->check != nullptr) {
    error = ErrnoOf(target->check(bytes, use));
  }
  if (error != 0) return error;
  compat.match = match;
  compat.target = target;
  compat.state =
      MakeState(match != nullptr ? match->state : target->state, payload);
  *aux = context->control->AddCompatUse(compat);
  return 0;
}

// Bytes of the payload that user space owns; what follows is the kernel's and
// reads as zero.  Source: .usersize of net/netfilter/xt_*.c.
struct UserSize {
  const char* name;
  uint8_t revision;
  bool target;
  uint16_t bytes;
};

constexpr UserSize kUserSizes[] = {
    {"limit", 0, false, 8},       {"connlimit", 1, false, 24},
    {"quota", 0, false, 16},      {"statistic", 0, false, 16},
    {"hashlimit", 1, false, 48},  {"hashlimit", 2, false, 296},
    {"hashlimit", 3, false, 304}, {"string", 1, false, 152},
    {"nfacct", 0, false, 32},     {"bpf", 0, false, 520},
    {"rateest", 0, false, 48},    {"CT", 0, true, 24},
    {"CT", 1, true, 56},          {"CT", 2, true, 56},
    {"IDLETIMER", 0, true, 32},   {"IDLETIMER", 1, true, 33},
    {"RATEEST", 0, true, 24},     {"TEE", 1, true, 32},
    {"LED", 0, true, 32},
};

size_t UserSizeOf(std::string_view name, uint8_t revision, bool target,
                  size_t payload_size) {
  for (const UserSize& entry : kUserSizes) {
    if (entry.target == target && entry.revision == revision &&
        name == entry.name) {
      return std::min<size_t>(entry.bytes, payload_size);
    }
  }
  return payload_size;
}

void DumpCompat(const DumpContext& context, const Instruction& head,
                const uint8_t* payload, MessageWriter* writer) {
  const CompatUse& use = context.control->compat_use(head.aux);
  const bool is_match = use.match != nullptr;
  const std::string_view name = is_match ? use.match->name : use.target->name;
  const uint8_t revision =
      is_match ? use.match->revision : use.target->revision;
  const size_t size =
      is_match ? use.match->payload_size : use.target->payload_size;
  writer->PutString(NFTA_MATCH_NAME, name);
  writer->PutBe32(NFTA_MATCH_REV, revision);
  std::vector<uint8_t> info(XT_ALIGN(size), 0);
  std::memcpy(info.data(), payload,
              UserSizeOf(name, revision, !is_match, size));
  writer->Put(NFTA_MATCH_INFO, info);
}

// nft_match_validate(), nft_target_validate(): the hooks once more, now that
// the base chain is known.
// nft_match_validate(), nft_target_validate(): the hooks once more, now that
// the base chain is known.
Errno ValidateCompat(const ValidateContext& context, const CompatUse& use) {
  const uint8_t hooks =
      use.match != nullptr ? use.match->hooks : use.target->hooks;
  const std::optional<TableKind> table =
      use.match != nullptr ? use.match->only_table : use.target->only_table;
  const BaseChain& base = *context.base->base;
  if (hooks != 0 && (1u << base.hook & hooks) == 0) return EINVAL;
  if (table == TableKind::kNat && base.type != ChainType::kNat) return EINVAL;
  return 0;
}

}  // namespace

constexpr AttributePolicy kMatchPolicy{
    NFTA_MATCH_MAX,
    {{NFTA_MATCH_NAME, AttributeKind::kNulString, kNameLimit},
     {NFTA_MATCH_REV, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_MATCH_INFO, AttributeKind::kBinary, 0}}};

constexpr AttributePolicy kTargetPolicy{
    NFTA_TARGET_MAX,
    {{NFTA_TARGET_NAME, AttributeKind::kNulString, kNameLimit},
     {NFTA_TARGET_REV, AttributeKind::kMax32, UINT8_MAX},
     {NFTA_TARGET_INFO, AttributeKind::kBinary, 0}}};

Errno SelectMatch(const DecodeContext& context,
                  const AttributeTable& attributes, Selected* selected) {
  const Errno error = CheckAttributes(attributes);
  if (error != 0) return error;
  const XtMatch* match = nullptr;
  if (KnownFamily(context.family)) {
    match = FindXtMatch(
        FamilyOf(context.family), attributes[NFTA_MATCH_NAME].Text(),
        static_cast<uint8_t>(attributes[NFTA_MATCH_REV].Be32()));
  }
  if (match == nullptr) return ENOENT;
  if (match->payload_size > attributes[NFTA_MATCH_INFO].size()) return EINVAL;
  selected->match = match;
  const size_t size = sizeof(Instruction) + XT_ALIGN(match->payload_size);
  if (size > kLargeThreshold) {
    selected->opcode = Opcode::kMatchLarge;
  } else {
    selected->opcode = Opcode::kMatchInline;
    selected->size = static_cast<uint16_t>(size);
  }
  return 0;
}

Errno SelectTarget(const DecodeContext& context,
                   const AttributeTable& attributes, Selected* selected) {
  const Errno error = CheckAttributes(attributes);
  if (error != 0) return error;
  const std::string_view name = attributes[NFTA_TARGET_NAME].Text();
  if (name == XT_ERROR_TARGET || name == XT_STANDARD_TARGET ||
      name == "standard") {
    return EINVAL;
  }
  const XtTarget* target = nullptr;
  if (KnownFamily(context.family)) {
    target =
        FindXtTarget(FamilyOf(context.family), name,
                     static_cast<uint8_t>(attributes[NFTA_TARGET_REV].Be32()));
  }
  if (target == nullptr) return ENOENT;
  if (target->payload_size > attributes[NFTA_TARGET_INFO].size()) {
    return EINVAL;
  }
  selected->target = target;
  selected->opcode = Opcode::kTargetInline;
  selected->size = static_cast<uint16_t>(sizeof(Instruction) +
                                         XT_ALIGN(target->payload_size));
  return 0;
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           CompatCode* code) {
  return InitPayload(context, attributes, code->payload(), &code->head.aux);
}

Errno Init(DecodeContext* context, const AttributeTable& attributes,
           CompatLargeCode* code) {
  const size_t words =
      XT_ALIGN(context->selected->match->payload_size) / sizeof(uint64_t);
  code->payload = reinterpret_cast<uint8_t*>(new uint64_t[words]());
  const Errno error =
      InitPayload(context, attributes, code->payload, &code->head.aux);
  if (error != 0) {
    delete[] reinterpret_cast<uint64_t*>(code->payload);
    code->payload = nullptr;
  }
  return error;
}

void Dump(const DumpContext& context, const CompatCode& code,
          MessageWriter* writer) {
  DumpCompat(context, code.head, code.payload(), writer);
}

void Dump(const DumpContext& context, const CompatLargeCode& code,
          MessageWriter* writer) {
  DumpCompat(context, code.head, code.payload, writer);
}

void Destroy(ControlPlane* control, CompatCode* code) {
  control->FreeCompatUse(code->head.aux);
}

void Destroy(ControlPlane* control, CompatLargeCode* code) {
  control->FreeCompatUse(code->head.aux);
  delete[] reinterpret_cast<uint64_t*>(code->payload);
  code->payload = nullptr;
}

Errno Validate(ValidateContext* context, const CompatCode& code) {
  return ValidateCompat(*context, context->control->compat_use(code.head.aux));
}

Errno Validate(ValidateContext* context, const CompatLargeCode& code) {
  return ValidateCompat(*context, context->control->compat_use(code.head.aux));
}

}  // namespace nfarena::vm
