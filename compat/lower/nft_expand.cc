#include "compat/lower/nft_expand.h"

#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

namespace nfarena::nft {
namespace {

using Element = ElementsRecord::Element;
using Bytes = std::vector<uint8_t>;
using Exprs = std::vector<Expr>;

// -------------------------------------------------------------- elements

/// from <= key <= to, byte by byte of each field.
struct Entry {
  Bytes from, to;
  std::optional<Verdict> verdict;
  std::optional<Data> data;
};

Bytes KeyOf(const Element& element) {
  if (!element.wide_key.empty()) return element.wide_key;
  const auto view = element.key.view();
  return {view.begin(), view.end()};
}

std::optional<Bytes> EndOf(const Element& element) {
  if (!element.wide_end.empty()) return element.wide_end;
  if (!element.key_end) return std::nullopt;
  const auto view = element.key_end->view();
  return Bytes(view.begin(), view.end());
}

/// The number before a big-endian one; zero has none.
Bytes Before(Bytes number) {
  for (size_t i = number.size(); i-- > 0;) {
    if (number[i]-- != 0) break;
  }
  return number;
}

/// In ascending order; nullopt for what is no set of fixed ranges.
std::optional<std::vector<Entry>> EntriesOf(
    const std::vector<Element>& elements) {
  struct Keyed {
    Bytes key;
    const Element* element;
  };
  std::vector<Keyed> sorted;
  for (const Element& element : elements) {
    if (element.catch_all || element.dynamic) return std::nullopt;
    Bytes key = KeyOf(element);
    const auto end = EndOf(element);
    if (key.empty() || (end && end->size() != key.size()) ||
        (!sorted.empty() && sorted.front().key.size() != key.size())) {
      return std::nullopt;
    }
    sorted.push_back({std::move(key), &element});
  }
  // At equal keys one interval's end comes before the next one's start.
  std::ranges::sort(sorted, [](const Keyed& a, const Keyed& b) {
    if (a.key != b.key) return a.key < b.key;
    return a.element->interval_end && !b.element->interval_end;
  });
  const bool has_ends = std::ranges::any_of(
      sorted, [](const Keyed& keyed) { return keyed.element->interval_end; });
  std::vector<Entry> entries;
  bool open = false;
  for (const Keyed& keyed : sorted) {
    const Element& element = *keyed.element;
    if (element.interval_end) {
      if (open) entries.back().to = Before(keyed.key);
      open = false;
      continue;
    }
    if (open) return std::nullopt;  // overlaps the one before
    auto end = EndOf(element);
    open = has_ends && !end;
    Entry entry{keyed.key, end ? *std::move(end) : keyed.key, element.verdict,
                element.data};
    if (open) std::ranges::fill(entry.to, uint8_t{0xff});
    entries.push_back(std::move(entry));
  }
  return entries;
}

// --------------------------------------------------------------- registers

/// The number of the 32-bit register at which netlink's register begins.
std::optional<size_t> WordOf(uint32_t reg) {
  if (reg >= NFT_REG_1 && reg <= NFT_REG_4) return (reg - NFT_REG_1) * 4;
  if (reg >= NFT_REG32_00 && reg <= NFT_REG32_15) return reg - NFT_REG32_00;
  return std::nullopt;
}

size_t MetaSize(uint32_t key) {
  switch (key) {
    case NFT_META_L4PROTO:
    case NFT_META_NFPROTO:
    case NFT_META_PKTTYPE:
    case NFT_META_SECPATH:
      return 1;
    case NFT_META_PROTOCOL:
    case NFT_META_IIFTYPE:
    case NFT_META_OIFTYPE:
      return 2;
    case NFT_META_IIFNAME:
    case NFT_META_OIFNAME:
      return 16;
    default:
      return 4;
  }
}

size_t CtSize(uint32_t key, size_t address) {
  switch (key) {
    case NFT_CT_DIRECTION:
    case NFT_CT_PROTOCOL:
    case NFT_CT_L3PROTOCOL:
      return 1;
    case NFT_CT_PROTO_SRC:
    case NFT_CT_PROTO_DST:
    case NFT_CT_ZONE:
      return 2;
    case NFT_CT_SRC:
    case NFT_CT_DST:
      return address;
    case NFT_CT_SRC_IP6:
    case NFT_CT_DST_IP6:
      return 16;
    default:
      return 4;
  }
}

/// What an expression put into which register.
struct Field {
  uint32_t reg = 0;
  size_t size = 0;
  bool payload = false;
  bool fixed = false;  // no rule changes it in passing
  bool state = false;  // the connection's: only table raw changes that
};

std::optional<Field> FieldOf(const Expr& expr, size_t address) {
  if (const auto* load = std::get_if<Payload>(&expr)) {
    const size_t source = address == 4 ? 12 : 8;
    const bool addresses = load->base == NFT_PAYLOAD_NETWORK_HEADER &&
                           load->offset >= source &&
                           load->offset + load->len <= source + 2 * address;
    return Field{load->dreg, load->len, true,
                 addresses || load->base == NFT_PAYLOAD_TRANSPORT_HEADER};
  }
  if (const auto* load = std::get_if<Meta>(&expr)) {
    const bool changes =
        load->key == NFT_META_MARK || load->key == NFT_META_PRIORITY ||
        load->key == NFT_META_PRANDOM || load->key == NFT_META_CPU ||
        load->key == NFT_META_SECMARK;
    return Field{load->dreg, MetaSize(load->key), false, !changes};
  }
  if (const auto* load = std::get_if<Ct>(&expr)) {
    const bool changes =
        load->key == NFT_CT_MARK || load->key == NFT_CT_EXPIRATION ||
        load->key == NFT_CT_SECMARK || load->key == NFT_CT_LABELS;
    return Field{load->dreg, CtSize(load->key, address), false, !changes,
                 load->key == NFT_CT_STATE};
  }
  if (const auto* fib = std::get_if<Fib>(&expr)) {
    return Field{fib->dreg, 4, false, true};
  }
  return std::nullopt;
}

/// The parts of a key of `size` bytes that begins in register `reg`, as the
/// expressions in front of the lookup loaded them.
std::optional<std::vector<Field>> FieldsOf(std::span<const Expr> before,
                                           uint32_t reg, size_t size,
                                           size_t address) {
  auto word = WordOf(reg);
  std::vector<Field> fields;
  for (size_t at = 0; at < size;) {
    if (!word) return std::nullopt;
    std::optional<Field> found;
    for (const Expr& expr : before) {
      const auto field = FieldOf(expr, address);
      if (field && WordOf(field->reg) == word) found = field;
    }
    // A test compares at most a register.
    if (!found || found->size == 0 || found->size > Data{}.bytes.size() ||
        at + found->size > size) {
      return std::nullopt;
    }
    fields.push_back(*found);
    const size_t words = (found->size + 3) / 4;
    at += words * 4;
    *word += words;
  }
  return fields;
}

// ------------------------------------------------------------------- tests

/// The bits in which the ends of a prefix agree, or nullopt.
std::optional<Data> PrefixMask(std::span<const uint8_t> from,
                               std::span<const uint8_t> to) {
  Data mask = Data::Zero(static_cast<uint8_t>(from.size()));
  bool inside = true;  // of the prefix
  for (size_t i = 0; i < from.size() * 8; ++i) {
    const auto bit = [i](std::span<const uint8_t> bytes) {
      return bytes[i / 8] >> (7 - i % 8) & 1;
    };
    inside = inside && bit(from) == bit(to);
    if (inside) {
      mask.bytes[i / 8] =
          static_cast<uint8_t>(mask.bytes[i / 8] | 1 << (7 - i % 8));
    } else if (bit(from) != 0 || bit(to) != 1) {
      return std::nullopt;
    }
  }
  return mask;
}

void AddTest(const Field& field, std::span<const uint8_t> from,
             std::span<const uint8_t> to, bool inverted, Exprs* out) {
  const Data first(from), last(to);
  if (first == last) {
    // A compare of an address that is not equal to one of several has a form
    // only as a range.
    if (inverted && field.payload && first.size >= 4) {
      out->push_back(Range{NFT_RANGE_NEQ, field.reg, first, last});
    } else {
      out->push_back(
          Cmp{inverted ? NFT_CMP_NEQ : NFT_CMP_EQ, field.reg, first});
    }
    return;
  }
  const auto mask = PrefixMask(from, to);
  if (!inverted && mask && field.payload && first.size >= 4) {
    const bool any =
        std::ranges::all_of(mask->view(), [](uint8_t b) { return b == 0; });
    if (any) return;
    out->push_back(Bitwise{first.size, field.reg, field.reg, *mask,
                           Data::Zero(first.size)});
    out->push_back(Cmp{NFT_CMP_EQ, field.reg, first});
    return;
  }
  out->push_back(
      Range{inverted ? NFT_RANGE_NEQ : NFT_RANGE_EQ, field.reg, first, last});
}

/// nft writes a range as two compares of one register.
Exprs JoinRanges(const Exprs& exprs) {
  Exprs joined;
  for (const Expr& expr : exprs) {
    const auto* high = std::get_if<Cmp>(&expr);
    const auto* low =
        joined.empty() ? nullptr : std::get_if<Cmp>(&joined.back());
    if (high != nullptr && low != nullptr && low->sreg == high->sreg &&
        low->op == NFT_CMP_GTE && high->op == NFT_CMP_LTE &&
        low->data.size == high->data.size) {
      joined.back() = Range{NFT_RANGE_EQ, low->sreg, low->data, high->data};
      continue;
    }
    joined.push_back(expr);
  }
  return joined;
}

// -------------------------------------------------------------- statements

/// Whether no packet goes on behind it.
bool Ends(const Expr& expr) {
  if (const auto* verdict = std::get_if<Verdict>(&expr)) {
    return verdict->code == NF_ACCEPT || verdict->code == NF_DROP ||
           verdict->code == NFT_RETURN || verdict->code == NFT_GOTO;
  }
  return std::holds_alternative<Reject>(expr) ||
         std::holds_alternative<Nat>(expr) ||
         std::holds_alternative<Masq>(expr) ||
         std::holds_alternative<Redir>(expr) ||
         std::holds_alternative<Queue>(expr);
}

bool Writes(const Expr& expr) {
  return std::holds_alternative<PayloadWrite>(expr) ||
         std::holds_alternative<MetaWrite>(expr) ||
         std::holds_alternative<CtWrite>(expr) ||
         std::holds_alternative<Notrack>(expr);
}

/// Whether two rules that begin with it may share its work.
bool IsPure(const Expr& expr) {
  return !std::holds_alternative<Limit>(expr) &&
         !std::holds_alternative<Numgen>(expr) &&
         !std::holds_alternative<CarriedMatch>(expr) &&
         !std::holds_alternative<CarriedTarget>(expr) &&
         !std::holds_alternative<Other>(expr);
}

bool IsLoad(const Expr& expr) {
  return FieldOf(expr, 4).has_value() || std::holds_alternative<Rt>(expr) ||
         std::holds_alternative<Bitwise>(expr) ||
         std::holds_alternative<Byteorder>(expr) ||
         std::holds_alternative<Immediate>(expr);
}

bool IsTest(const Expr& expr) {
  return std::holds_alternative<Cmp>(expr) ||
         std::holds_alternative<Range>(expr) ||
         std::holds_alternative<Lookup>(expr);
}

class Expander {
 public:
  Expander(Family family, const RuleRecord& record, const SetContents& sets)
      : family_(family), record_(record), sets_(sets) {}

  Result<std::vector<Rule>> Run() {
    const Exprs exprs = JoinRanges(record_.exprs);
    auto whole = Raise(exprs);
    if (whole) return std::vector<Rule>{*std::move(whole)};
    if (std::ranges::all_of(exprs, IsPure) && TakeApart(exprs)) {
      return std::move(rules_);
    }
    return tl::unexpected(std::move(whole).error());
  }

 private:
  Result<Rule> Raise(const Exprs& exprs) const {
    RuleRecord record = record_;
    record.exprs = exprs;
    return RaiseRule(family_, record, sets_);
  }

  size_t AddressSize() const { return family_ == Family::kIpv4 ? 4 : 16; }

  /// Appends to rules_; false when it cannot be done, and then rules_ is of no
  /// use.
  bool TakeApart(const Exprs& exprs) {
    if (rules_.size() >= kMaxExpansion) return false;
    if (auto rule = Raise(exprs)) {
      rules_.push_back(*std::move(rule));
      return true;
    }
    for (size_t i = 0; i < exprs.size(); ++i) {
      if (const auto* lookup = std::get_if<Lookup>(&exprs[i])) {
        if (StaysALookup(exprs, i)) continue;
        return TakeLookupApart(exprs, i, *lookup);
      }
    }
    return Split(exprs);
  }

  /// Whether iptables may say that lookup in one match: ports.
  bool StaysALookup(const Exprs& exprs, size_t at) const {
    const auto& lookup = std::get<Lookup>(exprs[at]);
    if (lookup.dreg) return false;
    // Judged alone, behind what stands in front of it.
    Exprs alone;
    for (size_t i = 0; i <= at; ++i) {
      if (i == at || !IsStatement(exprs[i])) alone.push_back(exprs[i]);
    }
    std::erase_if(alone, [&](const Expr& expr) {
      const auto* other = std::get_if<Lookup>(&expr);
      return other != nullptr && !(*other == lookup);
    });
    return Raise(alone).has_value();
  }

  static bool IsStatement(const Expr& expr) {
    return Ends(expr) || Writes(expr) || std::holds_alternative<Log>(expr) ||
           std::holds_alternative<Counter>(expr) ||
           std::holds_alternative<Verdict>(expr);
  }

  bool TakeLookupApart(const Exprs& exprs, size_t at, const Lookup& lookup) {
    const auto* elements = sets_.Find(record_.table, lookup);
    const auto entries =
        elements == nullptr ? std::nullopt : EntriesOf(*elements);
    if (!entries || entries->empty() || entries->size() > kMaxExpansion) {
      return false;
    }
    const auto fields = FieldsOf(std::span(exprs).first(at), lookup.sreg,
                                 entries->front().from.size(), AddressSize());
    if (!fields) return false;
    if ((lookup.flags & NFT_LOOKUP_F_INV) != 0) {
      return NoneOf(exprs, at, *entries, *fields);
    }
    if (!Exclusive(exprs, *entries, *fields)) return false;
    for (const Entry& entry : *entries) {
      Exprs one(exprs.begin(), exprs.begin() + static_cast<ptrdiff_t>(at));
      size_t offset = 0;
      for (const Field& field : *fields) {
        AddTest(field, std::span(entry.from).subspan(offset, field.size),
                std::span(entry.to).subspan(offset, field.size), false, &one);
        offset += (field.size + 3) / 4 * 4;
      }
      if (lookup.dreg) {
        if (entry.verdict) {
          one.push_back(*entry.verdict);
        } else if (entry.data) {
          one.push_back(Immediate{*lookup.dreg, *entry.data});
        } else {
          return false;
        }
      }
      one.insert(one.end(), exprs.begin() + static_cast<ptrdiff_t>(at) + 1,
                 exprs.end());
      // The packets of all of them are counted at the first.
      if (!rules_.empty()) ClearCounters(&one);
      if (!TakeApart(one)) return false;
    }
    return true;
  }

  static void ClearCounters(Exprs* exprs) {
    for (Expr& expr : *exprs) {
      if (auto* counter = std::get_if<Counter>(&expr)) *counter = Counter{};
    }
  }

  /// Whether a packet that one of the rules was for meets none of the others:
  /// what is looked up stays as it is, or the rule leaves the packet alone.
  bool Exclusive(const Exprs& exprs, const std::vector<Entry>& entries,
                 const std::vector<Field>& fields) const {
    const bool raw = record_.table == TableName(TableKind::kRaw);
    const bool fixed = std::ranges::all_of(fields, [raw](const Field& field) {
      return field.fixed && !(raw && field.state);
    });
    const auto jumps = [](const Verdict* verdict) {
      return verdict != nullptr && verdict->code == NFT_JUMP;
    };
    const bool acts =
        std::ranges::any_of(exprs,
                            [&](const Expr& expr) {
                              return Writes(expr) ||
                                     jumps(std::get_if<Verdict>(&expr));
                            }) ||
        std::ranges::any_of(entries, [&](const Entry& entry) {
          return entry.verdict && jumps(&*entry.verdict);
        });
    return entries.size() == 1 || fixed || !acts;
  }

  /// Not in a set: not any of its elements, in one rule.
  bool NoneOf(const Exprs& exprs, size_t at, const std::vector<Entry>& entries,
              const std::vector<Field>& fields) {
    constexpr size_t kMost = 32;
    if (fields.size() != 1 || entries.size() > kMost) return false;
    Exprs one(exprs.begin(), exprs.begin() + static_cast<ptrdiff_t>(at));
    for (const Entry& entry : entries) {
      const size_t size = fields[0].size;
      AddTest(fields[0], std::span(entry.from).first(size),
              std::span(entry.to).first(size), true, &one);
    }
    one.insert(one.end(), exprs.begin() + static_cast<ptrdiff_t>(at) + 1,
               exprs.end());
    return TakeApart(one);
  }

  /// A rule for each statement, all with the tests in front of it.
  bool Split(const Exprs& exprs) {
    const size_t before = rules_.size();
    Exprs tests;
    for (size_t i = 0; i < exprs.size(); ++i) {
      const Expr& expr = exprs[i];
      const bool last = i + 1 == exprs.size();
      if (IsTest(expr) && HasCounter(tests)) {
        // What was counted before this test is a rule of its own.
        if (!Emit(tests)) return false;
        std::erase_if(tests, [](const Expr& e) {
          return std::holds_alternative<Counter>(e);
        });
      }
      tests.push_back(expr);
      if (last || !GoesOn(expr)) continue;
      if (Writes(expr) && LooksAtMarks(exprs)) return false;
      if (!Emit(tests)) return false;
      tests.pop_back();
      // The value that was written.
      while (!tests.empty() && Writes(expr) &&
             std::holds_alternative<Immediate>(tests.back())) {
        tests.pop_back();
      }
    }
    if (rules_.size() == before) return false;  // as it was, which has no form
    return Emit(tests);
  }

  bool Emit(Exprs exprs) {
    // What was loaded for a test that comes later.
    while (!exprs.empty() && IsLoad(exprs.back())) exprs.pop_back();
    auto rule = Raise(exprs);
    if (!rule || rules_.size() >= kMaxExpansion) return false;
    rules_.push_back(*std::move(rule));
    return true;
  }

  static bool HasCounter(const Exprs& exprs) {
    return std::ranges::any_of(exprs, [](const Expr& expr) {
      return std::holds_alternative<Counter>(expr);
    });
  }

  static bool GoesOn(const Expr& expr) {
    const auto* meta = std::get_if<MetaWrite>(&expr);
    const auto* ct = std::get_if<CtWrite>(&expr);
    return std::holds_alternative<Log>(expr) ||
           (meta != nullptr &&
            (meta->key == NFT_META_MARK || meta->key == NFT_META_PRIORITY ||
             meta->key == NFT_META_NFTRACE)) ||
           (ct != nullptr && ct->key == NFT_CT_MARK);
  }

  static bool LooksAtMarks(const Exprs& exprs) {
    return std::ranges::any_of(exprs, [](const Expr& expr) {
      const auto* meta = std::get_if<Meta>(&expr);
      const auto* ct = std::get_if<Ct>(&expr);
      return (meta != nullptr &&
              (meta->key == NFT_META_MARK || meta->key == NFT_META_PRIORITY)) ||
             (ct != nullptr && ct->key == NFT_CT_MARK);
    });
  }

  Family family_;
  const RuleRecord& record_;
  const SetContents& sets_;
  std::vector<Rule> rules_;
};

std::string Hex(const Bytes& bytes) {
  std::string text = "0x";
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

}  // namespace

Result<std::vector<Rule>> RaiseRules(Family family, const RuleRecord& record,
                                     const SetContents& sets) {
  return Expander(family, record, sets).Run();
}

std::string PrintElements(const std::vector<Element>& elements) {
  constexpr size_t kMost = 64;
  std::string text;
  size_t shown = 0;
  for (const Element& element : elements) {
    if (++shown > kMost) {
      return text + fmt::format(", and {} more", elements.size() - kMost);
    }
    if (!text.empty()) text += ", ";
    text += element.catch_all ? "*" : Hex(KeyOf(element));
    if (const auto end = EndOf(element)) text += "-" + Hex(*end);
    if (element.interval_end) text += " (end)";
    if (element.verdict) text += " : " + PrintExpr(Expr(*element.verdict));
    if (element.data) {
      const auto view = element.data->view();
      text += " : " + Hex({view.begin(), view.end()});
    }
  }
  return text;
}

}  // namespace nfarena::nft
