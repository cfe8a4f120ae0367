#include "compat/lower/nft_expr.h"

#include <arpa/inet.h>
#include <endian.h>
#include <fmt/format.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
// After the C library's own network headers, which it would clash with.
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include <algorithm>
#include <cstdlib>

#include "compat/lower/nft_objects.h"
#include "compat/model/overloaded.h"

namespace nfarena::nft {

Data Data::Be16(uint16_t value) { return Host16(htons(value)); }
Data Data::Be32(uint32_t value) { return Host32(htonl(value)); }

Data Data::Host16(uint16_t value) {
  Data data;
  std::memcpy(data.bytes.data(), &value, sizeof(value));
  data.size = sizeof(value);
  return data;
}

Data Data::Host32(uint32_t value) {
  Data data;
  std::memcpy(data.bytes.data(), &value, sizeof(value));
  data.size = sizeof(value);
  return data;
}

Data Data::Be64(uint64_t value) {
  const uint64_t be = htobe64(value);
  Data data;
  std::memcpy(data.bytes.data(), &be, sizeof(be));
  data.size = sizeof(be);
  return data;
}

Data Data::Zero(uint8_t size) {
  Data data;
  data.size = size;
  return data;
}

uint16_t Data::be16() const { return ntohs(host16()); }
uint32_t Data::be32() const { return ntohl(host32()); }

uint16_t Data::host16() const {
  uint16_t value;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

uint32_t Data::host32() const {
  uint32_t value;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return value;
}

uint64_t Data::be64() const {
  uint64_t value;
  std::memcpy(&value, bytes.data(), sizeof(value));
  return be64toh(value);
}

namespace {

// ---------------------------------------------------------------- printing

template <size_t N>
std::string NameOr(const char* const (&names)[N], uint32_t number) {
  if (number < N && names[number] != nullptr) return names[number];
  return fmt::format("{}", number);
}

std::string BaseName(uint32_t base) {
  static constexpr const char* kNames[] = {"link", "network", "transport",
                                           "inner"};
  return NameOr(kNames, base);
}

std::string MetaName(uint32_t key) {
  switch (key) {
    case NFT_META_PRIORITY:
      return "priority";
    case NFT_META_MARK:
      return "mark";
    case NFT_META_IIFNAME:
      return "iifname";
    case NFT_META_OIFNAME:
      return "oifname";
    case NFT_META_IIFTYPE:
      return "iiftype";
    case NFT_META_SKUID:
      return "skuid";
    case NFT_META_SKGID:
      return "skgid";
    case NFT_META_NFTRACE:
      return "nftrace";
    case NFT_META_L4PROTO:
      return "l4proto";
    case NFT_META_PKTTYPE:
      return "pkttype";
    case NFT_META_IIF:
      return "iif";
    case NFT_META_OIF:
      return "oif";
    case NFT_META_LEN:
      return "len";
    case NFT_META_PROTOCOL:
      return "protocol";
    case NFT_META_NFPROTO:
      return "nfproto";
    case NFT_META_SECMARK:
      return "secmark";
    case NFT_META_SECPATH:
      return "secpath";
    case NFT_META_CPU:
      return "cpu";
    case NFT_META_RTCLASSID:
      return "rtclassid";
    case NFT_META_IIFGROUP:
      return "iifgroup";
    case NFT_META_OIFGROUP:
      return "oifgroup";
    case NFT_META_TIME_NS:
      return "time";
    case NFT_META_TIME_DAY:
      return "day";
    case NFT_META_TIME_HOUR:
      return "hour";
    default:
      return fmt::format("{}", key);
  }
}

std::string CtName(uint32_t key, std::optional<uint8_t> direction) {
  std::string name;
  switch (key) {
    case NFT_CT_STATE:
      name = "state";
      break;
    case NFT_CT_DIRECTION:
      name = "direction";
      break;
    case NFT_CT_STATUS:
      name = "status";
      break;
    case NFT_CT_MARK:
      name = "mark";
      break;
    case NFT_CT_EXPIRATION:
      name = "expiration";
      break;
    case NFT_CT_PROTOCOL:
      name = "protocol";
      break;
    case NFT_CT_SRC:
      name = "src";
      break;
    case NFT_CT_DST:
      name = "dst";
      break;
    case NFT_CT_PROTO_SRC:
      name = "proto_src";
      break;
    case NFT_CT_PROTO_DST:
      name = "proto_dst";
      break;
    case NFT_CT_SECMARK:
      name = "secmark";
      break;
    case NFT_CT_LABELS:
      name = "label";
      break;
    case NFT_CT_ZONE:
      name = "zone";
      break;
    case NFT_CT_HELPER:
      name = "helper";
      break;
    case NFT_CT_BYTES:
      name = "bytes";
      break;
    case NFT_CT_PKTS:
      name = "packets";
      break;
    case NFT_CT_AVGPKT:
      name = "avgpkt";
      break;
    default:
      name = fmt::format("{}", key);
  }
  if (direction) name += *direction == 0 ? ", dir original" : ", dir reply";
  return name;
}

std::string CmpName(uint32_t op) {
  static constexpr const char* kNames[] = {"eq",  "neq", "lt",
                                           "lte", "gt",  "gte"};
  return NameOr(kNames, op);
}

std::string Hex(std::span<const uint8_t> bytes) {
  std::string text = "0x";
  for (const uint8_t byte : bytes) text += fmt::format("{:02x}", byte);
  return text;
}

std::string VerdictName(int32_t code) {
  switch (code) {
    case NF_DROP:
      return "drop";
    case NF_ACCEPT:
      return "accept";
    case NFT_CONTINUE:
      return "continue";
    case NFT_BREAK:
      return "break";
    case NFT_JUMP:
      return "jump";
    case NFT_GOTO:
      return "goto";
    case NFT_RETURN:
      return "return";
    default:
      return fmt::format("{}", code);
  }
}

std::string Registers(const char* word, uint32_t min, uint32_t max) {
  if (min == 0) return "";
  std::string text = fmt::format(" {}_min reg {}", word, min);
  if (max != 0) text += fmt::format(" {}_max reg {}", word, max);
  return text;
}

std::string Flags(uint32_t flags) {
  return flags == 0 ? "" : fmt::format(" flags 0x{:x}", flags);
}

std::string Escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

std::string PrintLog(const Log& log) {
  std::string text = "log";
  if (!log.prefix.empty()) {
    text += fmt::format(" prefix \"{}\"", Escaped(log.prefix));
  }
  if (log.group) text += fmt::format(" group {}", *log.group);
  if (log.snaplen) text += fmt::format(" snaplen {}", *log.snaplen);
  if (log.threshold != 0) text += fmt::format(" qthreshold {}", log.threshold);
  if (log.level) text += fmt::format(" level {}", *log.level);
  return text + Flags(log.flags);
}

const auto kPrinter = Overloaded{
    [](const Payload& e) {
      return fmt::format("payload load {}b @ {} header + {} => reg {}", e.len,
                         BaseName(e.base), e.offset, e.dreg);
    },
    [](const PayloadWrite& e) {
      return fmt::format(
          "payload write reg {} => {}b @ {} header + {} csum_type {} "
          "csum_off {} csum_flags 0x{:x}",
          e.sreg, e.len, BaseName(e.base), e.offset, e.csum_type, e.csum_offset,
          e.csum_flags);
    },
    [](const Meta& e) {
      return fmt::format("meta load {} => reg {}", MetaName(e.key), e.dreg);
    },
    [](const MetaWrite& e) {
      return fmt::format("meta set {} with reg {}", MetaName(e.key), e.sreg);
    },
    [](const Ct& e) {
      return fmt::format("ct load {} => reg {}", CtName(e.key, e.direction),
                         e.dreg);
    },
    [](const CtWrite& e) {
      return fmt::format("ct set {} with reg {}", CtName(e.key, e.direction),
                         e.sreg);
    },
    [](const Cmp& e) {
      return fmt::format("cmp {} reg {} {}", CmpName(e.op), e.sreg,
                         Hex(e.data.view()));
    },
    [](const Range& e) {
      return fmt::format("range {} reg {} {} {}", CmpName(e.op), e.sreg,
                         Hex(e.from.view()), Hex(e.to.view()));
    },
    [](const Bitwise& e) {
      if (e.op != NFT_BITWISE_BOOL) {
        return fmt::format("bitwise reg {} = ( reg {} {} 0x{:08x} )", e.dreg,
                           e.sreg, e.op == NFT_BITWISE_LSHIFT ? "<<" : ">>",
                           e.shift);
      }
      return fmt::format("bitwise reg {} = ( reg {} & {} ) ^ {}", e.dreg,
                         e.sreg, Hex(e.mask.view()), Hex(e.xor_bits.view()));
    },
    [](const Byteorder& e) {
      return fmt::format("byteorder reg {} = {}(reg {}, {}, {})", e.dreg,
                         e.op == NFT_BYTEORDER_NTOH ? "ntoh" : "hton", e.sreg,
                         e.len, e.size);
    },
    [](const Immediate& e) {
      return fmt::format("immediate reg {} {}", e.dreg, Hex(e.data.view()));
    },
    [](const Verdict& e) {
      std::string text = fmt::format("immediate reg 0 {}", VerdictName(e.code));
      if (!e.chain.empty()) text += " -> " + e.chain;
      return text;
    },
    [](const Lookup& e) {
      std::string text =
          fmt::format("lookup reg {} set {}", e.sreg, Escaped(e.set));
      if (e.dreg) text += fmt::format(" dreg {}", *e.dreg);
      return text + Flags(e.flags);
    },
    [](const Counter& e) {
      return fmt::format("counter pkts {} bytes {}", e.packets, e.bytes);
    },
    [](const Limit& e) {
      return fmt::format("limit rate {}/{}s burst {} type {}", e.rate, e.unit_s,
                         e.burst,
                         e.type == NFT_LIMIT_PKTS ? "packets" : "bytes") +
             Flags(e.flags);
    },
    [](const Quota& e) {
      return fmt::format("quota bytes {} consumed {}", e.bytes, e.consumed) +
             Flags(e.flags);
    },
    [](const Log& e) { return PrintLog(e); },
    [](const Reject& e) {
      return fmt::format("reject type {} code {}", e.type, e.code);
    },
    [](const Nat& e) {
      return fmt::format("nat {} {}", e.type == NFT_NAT_SNAT ? "snat" : "dnat",
                         e.family == NFPROTO_IPV6 ? "ip6" : "ip") +
             Registers("addr", e.address_min, e.address_max) +
             Registers("proto", e.proto_min, e.proto_max) + Flags(e.flags);
    },
    [](const Masq& e) {
      return "masq" + Registers("proto", e.proto_min, e.proto_max) +
             Flags(e.flags);
    },
    [](const Redir& e) {
      return "redir" + Registers("proto", e.proto_min, e.proto_max) +
             Flags(e.flags);
    },
    [](const Notrack&) { return std::string("notrack"); },
    [](const Numgen& e) {
      return fmt::format("numgen reg {} = {} mod {} offset {}", e.dreg,
                         e.type == NFT_NG_RANDOM ? "random" : "inc", e.modulus,
                         e.offset);
    },
    [](const Fib& e) {
      static constexpr const char* kResults[] = {nullptr, "oif", "oifname",
                                                 "type"};
      return fmt::format("fib {}{}{}{}{}{} => reg {}",
                         e.flags & NFTA_FIB_F_SADDR ? "saddr . " : "daddr . ",
                         e.flags & NFTA_FIB_F_IIF ? "iif . " : "",
                         e.flags & NFTA_FIB_F_OIF ? "oif . " : "",
                         e.flags & NFTA_FIB_F_MARK ? "mark . " : "",
                         NameOr(kResults, e.result),
                         e.flags & NFTA_FIB_F_PRESENT ? " present" : "",
                         e.dreg);
    },
    [](const Queue& e) {
      return fmt::format("queue num {} total {}", e.first, e.total) +
             Flags(e.flags);
    },
    [](const CarriedMatch& e) {
      return fmt::format("match {} rev {} {}", Escaped(e.name), e.revision,
                         Hex(e.info));
    },
    [](const CarriedTarget& e) {
      return fmt::format("target {} rev {} {}", Escaped(e.name), e.revision,
                         Hex(e.info));
    },
    [](const Rt& e) {
      static constexpr const char* kKeys[] = {"classid", "nexthop4", "nexthop6",
                                              "tcpmss", "ipsec"};
      return fmt::format("rt load {} => reg {}", NameOr(kKeys, e.key), e.dreg);
    },
    [](const Dup& e) {
      std::string text = fmt::format("dup sreg_addr {}", e.address);
      if (e.device != 0) text += fmt::format(" sreg_dev {}", e.device);
      return text;
    },
    [](const Synproxy& e) {
      return fmt::format("synproxy mss {} wscale {}", e.mss, e.wscale) +
             Flags(e.flags);
    },
    [](const Other& e) {
      return Escaped(e.words.empty() ? e.name + " ?" : e.words);
    },
};

// ----------------------------------------------------------------- writing

void Set(nftnl_expr* to, uint16_t attribute, uint32_t value) {
  nftnl_expr_set_u32(to, attribute, value);
}

void Set(nftnl_expr* to, uint16_t attribute, const Data& data) {
  nftnl_expr_set(to, attribute, data.bytes.data(), data.size);
}

void Set(nftnl_expr* to, uint16_t attribute, const std::string& text) {
  nftnl_expr_set_str(to, attribute, text.c_str());
}

/// libnftnl takes the buffer of a match's or target's payload over and frees
/// it with free().
Status SetInfo(nftnl_expr* to, uint16_t attribute,
               const std::vector<uint8_t>& info) {
  void* copy = std::malloc(std::max<size_t>(info.size(), 1));
  if (copy == nullptr) return FailErrno("payload of an extension");
  if (!info.empty()) std::memcpy(copy, info.data(), info.size());
  nftnl_expr_set(to, attribute, copy, static_cast<uint32_t>(info.size()));
  return {};
}

void SetNonzero(nftnl_expr* to, uint16_t attribute, uint32_t value) {
  if (value != 0) Set(to, attribute, value);
}

/// Attributes that the kernel defaults to what is meant are left out: they are
/// most of a message's bytes.
struct Writer {
  nftnl_expr* to;

  Status operator()(const Payload& e) const {
    Set(to, NFTNL_EXPR_PAYLOAD_BASE, e.base);
    Set(to, NFTNL_EXPR_PAYLOAD_OFFSET, e.offset);
    Set(to, NFTNL_EXPR_PAYLOAD_LEN, e.len);
    Set(to, NFTNL_EXPR_PAYLOAD_DREG, e.dreg);
    return {};
  }
  Status operator()(const PayloadWrite& e) const {
    Set(to, NFTNL_EXPR_PAYLOAD_BASE, e.base);
    Set(to, NFTNL_EXPR_PAYLOAD_OFFSET, e.offset);
    Set(to, NFTNL_EXPR_PAYLOAD_LEN, e.len);
    Set(to, NFTNL_EXPR_PAYLOAD_SREG, e.sreg);
    if (e.csum_type != NFT_PAYLOAD_CSUM_NONE) {
      Set(to, NFTNL_EXPR_PAYLOAD_CSUM_TYPE, e.csum_type);
      Set(to, NFTNL_EXPR_PAYLOAD_CSUM_OFFSET, e.csum_offset);
    }
    SetNonzero(to, NFTNL_EXPR_PAYLOAD_FLAGS, e.csum_flags);
    return {};
  }
  Status operator()(const Meta& e) const {
    Set(to, NFTNL_EXPR_META_KEY, e.key);
    Set(to, NFTNL_EXPR_META_DREG, e.dreg);
    return {};
  }
  Status operator()(const MetaWrite& e) const {
    Set(to, NFTNL_EXPR_META_KEY, e.key);
    Set(to, NFTNL_EXPR_META_SREG, e.sreg);
    return {};
  }
  Status operator()(const Ct& e) const {
    Set(to, NFTNL_EXPR_CT_KEY, e.key);
    Set(to, NFTNL_EXPR_CT_DREG, e.dreg);
    if (e.direction) nftnl_expr_set_u8(to, NFTNL_EXPR_CT_DIR, *e.direction);
    return {};
  }
  Status operator()(const CtWrite& e) const {
    Set(to, NFTNL_EXPR_CT_KEY, e.key);
    Set(to, NFTNL_EXPR_CT_SREG, e.sreg);
    if (e.direction) nftnl_expr_set_u8(to, NFTNL_EXPR_CT_DIR, *e.direction);
    return {};
  }
  Status operator()(const Cmp& e) const {
    Set(to, NFTNL_EXPR_CMP_SREG, e.sreg);
    Set(to, NFTNL_EXPR_CMP_OP, e.op);
    Set(to, NFTNL_EXPR_CMP_DATA, e.data);
    return {};
  }
  Status operator()(const Range& e) const {
    Set(to, NFTNL_EXPR_RANGE_SREG, e.sreg);
    Set(to, NFTNL_EXPR_RANGE_OP, e.op);
    Set(to, NFTNL_EXPR_RANGE_FROM_DATA, e.from);
    Set(to, NFTNL_EXPR_RANGE_TO_DATA, e.to);
    return {};
  }
  Status operator()(const Bitwise& e) const {
    Set(to, NFTNL_EXPR_BITWISE_SREG, e.sreg);
    Set(to, NFTNL_EXPR_BITWISE_DREG, e.dreg);
    Set(to, NFTNL_EXPR_BITWISE_LEN, e.len);
    if (e.op != NFT_BITWISE_BOOL) {
      Set(to, NFTNL_EXPR_BITWISE_OP, e.op);
      Set(to, NFTNL_EXPR_BITWISE_DATA, Data::Host32(e.shift));
      return {};
    }
    Set(to, NFTNL_EXPR_BITWISE_MASK, e.mask);
    Set(to, NFTNL_EXPR_BITWISE_XOR, e.xor_bits);
    return {};
  }
  Status operator()(const Byteorder& e) const {
    Set(to, NFTNL_EXPR_BYTEORDER_SREG, e.sreg);
    Set(to, NFTNL_EXPR_BYTEORDER_DREG, e.dreg);
    Set(to, NFTNL_EXPR_BYTEORDER_OP, e.op);
    Set(to, NFTNL_EXPR_BYTEORDER_LEN, e.len);
    Set(to, NFTNL_EXPR_BYTEORDER_SIZE, e.size);
    return {};
  }
  Status operator()(const Immediate& e) const {
    Set(to, NFTNL_EXPR_IMM_DREG, e.dreg);
    Set(to, NFTNL_EXPR_IMM_DATA, e.data);
    return {};
  }
  Status operator()(const Verdict& e) const {
    Set(to, NFTNL_EXPR_IMM_DREG, uint32_t{NFT_REG_VERDICT});
    Set(to, NFTNL_EXPR_IMM_VERDICT, static_cast<uint32_t>(e.code));
    if (!e.chain.empty()) Set(to, NFTNL_EXPR_IMM_CHAIN, e.chain);
    return {};
  }
  Status operator()(const Lookup& e) const {
    Set(to, NFTNL_EXPR_LOOKUP_SREG, e.sreg);
    if (e.dreg) Set(to, NFTNL_EXPR_LOOKUP_DREG, *e.dreg);
    Set(to, NFTNL_EXPR_LOOKUP_SET, e.set);
    SetNonzero(to, NFTNL_EXPR_LOOKUP_SET_ID, e.set_id);
    SetNonzero(to, NFTNL_EXPR_LOOKUP_FLAGS, e.flags);
    return {};
  }
  Status operator()(const Counter& e) const {
    if (e.packets != 0 || e.bytes != 0) {
      nftnl_expr_set_u64(to, NFTNL_EXPR_CTR_PACKETS, e.packets);
      nftnl_expr_set_u64(to, NFTNL_EXPR_CTR_BYTES, e.bytes);
    }
    return {};
  }
  Status operator()(const Limit& e) const {
    nftnl_expr_set_u64(to, NFTNL_EXPR_LIMIT_RATE, e.rate);
    nftnl_expr_set_u64(to, NFTNL_EXPR_LIMIT_UNIT, e.unit_s);
    Set(to, NFTNL_EXPR_LIMIT_BURST, e.burst);
    SetNonzero(to, NFTNL_EXPR_LIMIT_TYPE, e.type);
    SetNonzero(to, NFTNL_EXPR_LIMIT_FLAGS, e.flags);
    return {};
  }
  Status operator()(const Quota& e) const {
    nftnl_expr_set_u64(to, NFTNL_EXPR_QUOTA_BYTES, e.bytes);
    if (e.consumed != 0) {
      nftnl_expr_set_u64(to, NFTNL_EXPR_QUOTA_CONSUMED, e.consumed);
    }
    SetNonzero(to, NFTNL_EXPR_QUOTA_FLAGS, e.flags);
    return {};
  }
  Status operator()(const Log& e) const {
    if (!e.prefix.empty()) Set(to, NFTNL_EXPR_LOG_PREFIX, e.prefix);
    if (e.group) nftnl_expr_set_u16(to, NFTNL_EXPR_LOG_GROUP, *e.group);
    if (e.snaplen) Set(to, NFTNL_EXPR_LOG_SNAPLEN, *e.snaplen);
    if (e.threshold != 0) {
      nftnl_expr_set_u16(to, NFTNL_EXPR_LOG_QTHRESHOLD, e.threshold);
    }
    if (e.level) Set(to, NFTNL_EXPR_LOG_LEVEL, *e.level);
    SetNonzero(to, NFTNL_EXPR_LOG_FLAGS, e.flags);
    return {};
  }
  Status operator()(const Reject& e) const {
    Set(to, NFTNL_EXPR_REJECT_TYPE, e.type);
    nftnl_expr_set_u8(to, NFTNL_EXPR_REJECT_CODE, e.code);
    return {};
  }
  Status operator()(const Nat& e) const {
    Set(to, NFTNL_EXPR_NAT_TYPE, e.type);
    Set(to, NFTNL_EXPR_NAT_FAMILY, e.family);
    SetNonzero(to, NFTNL_EXPR_NAT_REG_ADDR_MIN, e.address_min);
    SetNonzero(to, NFTNL_EXPR_NAT_REG_ADDR_MAX, e.address_max);
    SetNonzero(to, NFTNL_EXPR_NAT_REG_PROTO_MIN, e.proto_min);
    SetNonzero(to, NFTNL_EXPR_NAT_REG_PROTO_MAX, e.proto_max);
    SetNonzero(to, NFTNL_EXPR_NAT_FLAGS, e.flags);
    return {};
  }
  Status operator()(const Masq& e) const {
    SetNonzero(to, NFTNL_EXPR_MASQ_FLAGS, e.flags);
    SetNonzero(to, NFTNL_EXPR_MASQ_REG_PROTO_MIN, e.proto_min);
    SetNonzero(to, NFTNL_EXPR_MASQ_REG_PROTO_MAX, e.proto_max);
    return {};
  }
  Status operator()(const Redir& e) const {
    SetNonzero(to, NFTNL_EXPR_REDIR_FLAGS, e.flags);
    SetNonzero(to, NFTNL_EXPR_REDIR_REG_PROTO_MIN, e.proto_min);
    SetNonzero(to, NFTNL_EXPR_REDIR_REG_PROTO_MAX, e.proto_max);
    return {};
  }
  Status operator()(const Notrack&) const { return {}; }
  Status operator()(const Numgen& e) const {
    Set(to, NFTNL_EXPR_NG_TYPE, e.type);
    Set(to, NFTNL_EXPR_NG_MODULUS, e.modulus);
    SetNonzero(to, NFTNL_EXPR_NG_OFFSET, e.offset);
    Set(to, NFTNL_EXPR_NG_DREG, e.dreg);
    return {};
  }
  Status operator()(const Fib& e) const {
    Set(to, NFTNL_EXPR_FIB_RESULT, e.result);
    Set(to, NFTNL_EXPR_FIB_FLAGS, e.flags);
    Set(to, NFTNL_EXPR_FIB_DREG, e.dreg);
    return {};
  }
  Status operator()(const Queue& e) const {
    nftnl_expr_set_u16(to, NFTNL_EXPR_QUEUE_NUM, e.first);
    nftnl_expr_set_u16(to, NFTNL_EXPR_QUEUE_TOTAL, e.total);
    if (e.flags != 0) {
      nftnl_expr_set_u16(to, NFTNL_EXPR_QUEUE_FLAGS, e.flags);
    }
    return {};
  }
  Status operator()(const Rt& e) const {
    Set(to, NFTNL_EXPR_RT_KEY, e.key);
    Set(to, NFTNL_EXPR_RT_DREG, e.dreg);
    return {};
  }
  Status operator()(const Dup& e) const {
    SetNonzero(to, NFTNL_EXPR_DUP_SREG_ADDR, e.address);
    SetNonzero(to, NFTNL_EXPR_DUP_SREG_DEV, e.device);
    return {};
  }
  Status operator()(const Synproxy& e) const {
    nftnl_expr_set_u16(to, NFTNL_EXPR_SYNPROXY_MSS, e.mss);
    nftnl_expr_set_u8(to, NFTNL_EXPR_SYNPROXY_WSCALE, e.wscale);
    Set(to, NFTNL_EXPR_SYNPROXY_FLAGS, e.flags);
    return {};
  }
  Status operator()(const CarriedMatch& e) const {
    nftnl_expr_set_str(to, NFTNL_EXPR_MT_NAME, e.name.c_str());
    Set(to, NFTNL_EXPR_MT_REV, e.revision);
    return SetInfo(to, NFTNL_EXPR_MT_INFO, e.info);
  }
  Status operator()(const CarriedTarget& e) const {
    nftnl_expr_set_str(to, NFTNL_EXPR_TG_NAME, e.name.c_str());
    Set(to, NFTNL_EXPR_TG_REV, e.revision);
    return SetInfo(to, NFTNL_EXPR_TG_INFO, e.info);
  }
  Status operator()(const Other& e) const {
    return Fail(ErrorCode::kInternal,
                "expression \"" + e.name + "\" is never made here");
  }
};

// ----------------------------------------------------------------- reading

/// Presence-checked reads of one libnftnl expression.
class Source {
 public:
  explicit Source(const nftnl_expr* from) : from_(from) {}

  bool Has(uint16_t attribute) const {
    return nftnl_expr_is_set(from_, attribute);
  }
  uint32_t U32(uint16_t attribute) const {
    return Has(attribute) ? nftnl_expr_get_u32(from_, attribute) : 0;
  }
  uint16_t U16(uint16_t attribute) const {
    return Has(attribute) ? nftnl_expr_get_u16(from_, attribute) : uint16_t{0};
  }
  uint8_t U8(uint16_t attribute) const {
    return Has(attribute) ? nftnl_expr_get_u8(from_, attribute) : uint8_t{0};
  }
  uint64_t U64(uint16_t attribute) const {
    return Has(attribute) ? nftnl_expr_get_u64(from_, attribute) : 0;
  }
  std::string Text(uint16_t attribute) const {
    if (!Has(attribute)) return "";
    const char* text = nftnl_expr_get_str(from_, attribute);
    return text == nullptr ? "" : text;
  }
  std::span<const uint8_t> Bytes(uint16_t attribute) const {
    uint32_t size = 0;
    if (!Has(attribute)) return {};
    const void* data = nftnl_expr_get(from_, attribute, &size);
    if (data == nullptr) return {};
    return {static_cast<const uint8_t*>(data), size};
  }
  /// False when it is absent or does not fit a register.
  bool Constant(uint16_t attribute, Data* data) const {
    const auto bytes = Bytes(attribute);
    if (bytes.empty() || bytes.size() > data->bytes.size()) return false;
    *data = Data(bytes);
    return true;
  }

 private:
  const nftnl_expr* from_;
};

using Reader = std::optional<Expr> (*)(const Source& from);

std::optional<Expr> ReadPayload(const Source& from) {
  if (from.Has(NFTNL_EXPR_PAYLOAD_SREG)) {
    return PayloadWrite{.base = from.U32(NFTNL_EXPR_PAYLOAD_BASE),
                        .offset = from.U32(NFTNL_EXPR_PAYLOAD_OFFSET),
                        .len = from.U32(NFTNL_EXPR_PAYLOAD_LEN),
                        .sreg = from.U32(NFTNL_EXPR_PAYLOAD_SREG),
                        .csum_type = from.U32(NFTNL_EXPR_PAYLOAD_CSUM_TYPE),
                        .csum_offset = from.U32(NFTNL_EXPR_PAYLOAD_CSUM_OFFSET),
                        .csum_flags = from.U32(NFTNL_EXPR_PAYLOAD_FLAGS)};
  }
  return Payload{.base = from.U32(NFTNL_EXPR_PAYLOAD_BASE),
                 .offset = from.U32(NFTNL_EXPR_PAYLOAD_OFFSET),
                 .len = from.U32(NFTNL_EXPR_PAYLOAD_LEN),
                 .dreg = from.U32(NFTNL_EXPR_PAYLOAD_DREG)};
}

std::optional<Expr> ReadMeta(const Source& from) {
  const uint32_t key = from.U32(NFTNL_EXPR_META_KEY);
  if (from.Has(NFTNL_EXPR_META_SREG)) {
    return MetaWrite{key, from.U32(NFTNL_EXPR_META_SREG)};
  }
  return Meta{key, from.U32(NFTNL_EXPR_META_DREG)};
}

std::optional<Expr> ReadCt(const Source& from) {
  const uint32_t key = from.U32(NFTNL_EXPR_CT_KEY);
  std::optional<uint8_t> direction;
  if (from.Has(NFTNL_EXPR_CT_DIR)) direction = from.U8(NFTNL_EXPR_CT_DIR);
  if (from.Has(NFTNL_EXPR_CT_SREG)) {
    return CtWrite{key, from.U32(NFTNL_EXPR_CT_SREG), direction};
  }
  return Ct{key, from.U32(NFTNL_EXPR_CT_DREG), direction};
}

std::optional<Expr> ReadCmp(const Source& from) {
  Cmp cmp{.op = from.U32(NFTNL_EXPR_CMP_OP),
          .sreg = from.U32(NFTNL_EXPR_CMP_SREG),
          .data = {}};
  if (!from.Constant(NFTNL_EXPR_CMP_DATA, &cmp.data)) return std::nullopt;
  return cmp;
}

std::optional<Expr> ReadRange(const Source& from) {
  Range range{.op = from.U32(NFTNL_EXPR_RANGE_OP),
              .sreg = from.U32(NFTNL_EXPR_RANGE_SREG),
              .from = {},
              .to = {}};
  if (!from.Constant(NFTNL_EXPR_RANGE_FROM_DATA, &range.from) ||
      !from.Constant(NFTNL_EXPR_RANGE_TO_DATA, &range.to)) {
    return std::nullopt;
  }
  return range;
}

std::optional<Expr> ReadBitwise(const Source& from) {
  Bitwise bitwise{.len = from.U32(NFTNL_EXPR_BITWISE_LEN),
                  .sreg = from.U32(NFTNL_EXPR_BITWISE_SREG),
                  .dreg = from.U32(NFTNL_EXPR_BITWISE_DREG),
                  .mask = {},
                  .xor_bits = {},
                  .op = from.U32(NFTNL_EXPR_BITWISE_OP),
                  .shift = 0};
  if (bitwise.op == NFT_BITWISE_LSHIFT || bitwise.op == NFT_BITWISE_RSHIFT) {
    Data shift;
    if (!from.Constant(NFTNL_EXPR_BITWISE_DATA, &shift) || shift.size != 4) {
      return std::nullopt;
    }
    bitwise.shift = shift.host32();
    return bitwise;
  }
  if (bitwise.op != NFT_BITWISE_BOOL) return std::nullopt;
  if (!from.Constant(NFTNL_EXPR_BITWISE_MASK, &bitwise.mask) ||
      !from.Constant(NFTNL_EXPR_BITWISE_XOR, &bitwise.xor_bits) ||
      bitwise.mask.size != bitwise.len ||
      bitwise.xor_bits.size != bitwise.len) {
    return std::nullopt;
  }
  return bitwise;
}

std::optional<Expr> ReadByteorder(const Source& from) {
  return Byteorder{.op = from.U32(NFTNL_EXPR_BYTEORDER_OP),
                   .len = from.U32(NFTNL_EXPR_BYTEORDER_LEN),
                   .size = from.U32(NFTNL_EXPR_BYTEORDER_SIZE),
                   .sreg = from.U32(NFTNL_EXPR_BYTEORDER_SREG),
                   .dreg = from.U32(NFTNL_EXPR_BYTEORDER_DREG)};
}

std::optional<Expr> ReadImmediate(const Source& from) {
  if (from.Has(NFTNL_EXPR_IMM_VERDICT)) {
    if (from.U32(NFTNL_EXPR_IMM_DREG) != NFT_REG_VERDICT) return std::nullopt;
    return Verdict{static_cast<int32_t>(from.U32(NFTNL_EXPR_IMM_VERDICT)),
                   from.Text(NFTNL_EXPR_IMM_CHAIN)};
  }
  Immediate immediate{.dreg = from.U32(NFTNL_EXPR_IMM_DREG), .data = {}};
  if (!from.Constant(NFTNL_EXPR_IMM_DATA, &immediate.data)) return std::nullopt;
  return immediate;
}

std::optional<Expr> ReadLookup(const Source& from) {
  Lookup lookup{.sreg = from.U32(NFTNL_EXPR_LOOKUP_SREG),
                .set = from.Text(NFTNL_EXPR_LOOKUP_SET),
                .set_id = from.U32(NFTNL_EXPR_LOOKUP_SET_ID),
                .flags = from.U32(NFTNL_EXPR_LOOKUP_FLAGS),
                .dreg = std::nullopt};
  if (from.Has(NFTNL_EXPR_LOOKUP_DREG)) {
    lookup.dreg = from.U32(NFTNL_EXPR_LOOKUP_DREG);
  }
  return lookup;
}

std::optional<Expr> ReadCounter(const Source& from) {
  return Counter{from.U64(NFTNL_EXPR_CTR_PACKETS),
                 from.U64(NFTNL_EXPR_CTR_BYTES)};
}

std::optional<Expr> ReadLimit(const Source& from) {
  return Limit{.rate = from.U64(NFTNL_EXPR_LIMIT_RATE),
               .unit_s = from.U64(NFTNL_EXPR_LIMIT_UNIT),
               .burst = from.U32(NFTNL_EXPR_LIMIT_BURST),
               .type = from.U32(NFTNL_EXPR_LIMIT_TYPE),
               .flags = from.U32(NFTNL_EXPR_LIMIT_FLAGS)};
}

std::optional<Expr> ReadQuota(const Source& from) {
  return Quota{.bytes = from.U64(NFTNL_EXPR_QUOTA_BYTES),
               .consumed = from.U64(NFTNL_EXPR_QUOTA_CONSUMED),
               .flags = from.U32(NFTNL_EXPR_QUOTA_FLAGS)};
}

std::optional<Expr> ReadLog(const Source& from) {
  Log log;
  log.prefix = from.Text(NFTNL_EXPR_LOG_PREFIX);
  if (from.Has(NFTNL_EXPR_LOG_GROUP)) {
    log.group = from.U16(NFTNL_EXPR_LOG_GROUP);
  }
  if (from.Has(NFTNL_EXPR_LOG_SNAPLEN)) {
    log.snaplen = from.U32(NFTNL_EXPR_LOG_SNAPLEN);
  }
  log.threshold = from.U16(NFTNL_EXPR_LOG_QTHRESHOLD);
  // The kernel names the level even where it is the default.
  const uint32_t level = from.U32(NFTNL_EXPR_LOG_LEVEL);
  if (from.Has(NFTNL_EXPR_LOG_LEVEL) && level != NFT_LOGLEVEL_WARNING) {
    log.level = level;
  }
  log.flags = from.U32(NFTNL_EXPR_LOG_FLAGS);
  return log;
}

std::optional<Expr> ReadReject(const Source& from) {
  return Reject{from.U32(NFTNL_EXPR_REJECT_TYPE),
                from.U8(NFTNL_EXPR_REJECT_CODE)};
}

std::optional<Expr> ReadNat(const Source& from) {
  return Nat{.type = from.U32(NFTNL_EXPR_NAT_TYPE),
             .family = from.U32(NFTNL_EXPR_NAT_FAMILY),
             .address_min = from.U32(NFTNL_EXPR_NAT_REG_ADDR_MIN),
             .address_max = from.U32(NFTNL_EXPR_NAT_REG_ADDR_MAX),
             .proto_min = from.U32(NFTNL_EXPR_NAT_REG_PROTO_MIN),
             .proto_max = from.U32(NFTNL_EXPR_NAT_REG_PROTO_MAX),
             .flags = from.U32(NFTNL_EXPR_NAT_FLAGS)};
}

std::optional<Expr> ReadMasq(const Source& from) {
  return Masq{.flags = from.U32(NFTNL_EXPR_MASQ_FLAGS),
              .proto_min = from.U32(NFTNL_EXPR_MASQ_REG_PROTO_MIN),
              .proto_max = from.U32(NFTNL_EXPR_MASQ_REG_PROTO_MAX)};
}

std::optional<Expr> ReadRedir(const Source& from) {
  return Redir{.flags = from.U32(NFTNL_EXPR_REDIR_FLAGS),
               .proto_min = from.U32(NFTNL_EXPR_REDIR_REG_PROTO_MIN),
               .proto_max = from.U32(NFTNL_EXPR_REDIR_REG_PROTO_MAX)};
}

std::optional<Expr> ReadNotrack(const Source&) { return Notrack{}; }

std::optional<Expr> ReadNumgen(const Source& from) {
  return Numgen{.type = from.U32(NFTNL_EXPR_NG_TYPE),
                .modulus = from.U32(NFTNL_EXPR_NG_MODULUS),
                .offset = from.U32(NFTNL_EXPR_NG_OFFSET),
                .dreg = from.U32(NFTNL_EXPR_NG_DREG)};
}

std::optional<Expr> ReadFib(const Source& from) {
  return Fib{.result = from.U32(NFTNL_EXPR_FIB_RESULT),
             .flags = from.U32(NFTNL_EXPR_FIB_FLAGS),
             .dreg = from.U32(NFTNL_EXPR_FIB_DREG)};
}

std::optional<Expr> ReadQueue(const Source& from) {
  if (from.Has(NFTNL_EXPR_QUEUE_SREG_QNUM)) return std::nullopt;
  return Queue{.first = from.U16(NFTNL_EXPR_QUEUE_NUM),
               .total = from.Has(NFTNL_EXPR_QUEUE_TOTAL)
                            ? from.U16(NFTNL_EXPR_QUEUE_TOTAL)
                            : uint16_t{1},
               .flags = from.U16(NFTNL_EXPR_QUEUE_FLAGS)};
}

std::optional<Expr> ReadRt(const Source& from) {
  return Rt{from.U32(NFTNL_EXPR_RT_KEY), from.U32(NFTNL_EXPR_RT_DREG)};
}

std::optional<Expr> ReadDup(const Source& from) {
  return Dup{from.U32(NFTNL_EXPR_DUP_SREG_ADDR),
             from.U32(NFTNL_EXPR_DUP_SREG_DEV)};
}

std::optional<Expr> ReadSynproxy(const Source& from) {
  return Synproxy{from.U16(NFTNL_EXPR_SYNPROXY_MSS),
                  from.U8(NFTNL_EXPR_SYNPROXY_WSCALE),
                  from.U32(NFTNL_EXPR_SYNPROXY_FLAGS)};
}

std::vector<uint8_t> Copy(std::span<const uint8_t> bytes) {
  return {bytes.begin(), bytes.end()};
}

std::optional<Expr> ReadMatch(const Source& from) {
  return CarriedMatch{from.Text(NFTNL_EXPR_MT_NAME),
                      from.U32(NFTNL_EXPR_MT_REV),
                      Copy(from.Bytes(NFTNL_EXPR_MT_INFO))};
}

std::optional<Expr> ReadTarget(const Source& from) {
  return CarriedTarget{from.Text(NFTNL_EXPR_TG_NAME),
                       from.U32(NFTNL_EXPR_TG_REV),
                       Copy(from.Bytes(NFTNL_EXPR_TG_INFO))};
}

/// In the order of the variant's alternatives; several of those share a name.
struct NamedReader {
  std::string_view name;
  Reader read;
};
constexpr NamedReader kReaders[] = {
    {"payload", ReadPayload},
    {"meta", ReadMeta},
    {"ct", ReadCt},
    {"cmp", ReadCmp},
    {"range", ReadRange},
    {"bitwise", ReadBitwise},
    {"byteorder", ReadByteorder},
    {"immediate", ReadImmediate},
    {"lookup", ReadLookup},
    {"counter", ReadCounter},
    {"limit", ReadLimit},
    {"quota", ReadQuota},
    {"log", ReadLog},
    {"reject", ReadReject},
    {"nat", ReadNat},
    {"masq", ReadMasq},
    {"redir", ReadRedir},
    {"notrack", ReadNotrack},
    {"numgen", ReadNumgen},
    {"fib", ReadFib},
    {"queue", ReadQueue},
    {"rt", ReadRt},
    {"dup", ReadDup},
    {"synproxy", ReadSynproxy},
    {"match", ReadMatch},
    {"target", ReadTarget},
};

/// What libnftnl says of an expression, on one line.
std::string Words(const std::string& name, const nftnl_expr* expr) {
  std::array<char, 1024> text{};
  const int size = nftnl_expr_snprintf(text.data(), text.size(), expr,
                                       NFTNL_OUTPUT_DEFAULT, 0);
  if (size <= 0) return "";
  std::string words = name;
  bool space = true;
  for (const char c : std::string_view(text.data())) {
    const bool blank = c == ' ' || c == '\n' || c == '\t';
    if (!blank && space) words += ' ';
    if (!blank) words += c;
    space = blank;
  }
  return words;
}

constexpr size_t Align8(size_t size) { return (size + 7) & ~size_t{7}; }

size_t CmpKernelBytes(const Cmp& cmp) {
  const bool equality = cmp.op == NFT_CMP_EQ || cmp.op == NFT_CMP_NEQ;
  if (equality && cmp.data.size <= 4) return 24;  // cmp_fast
  const bool even_register = cmp.sreg <= NFT_REG_4 || cmp.sreg % 2 == 0;
  if (equality && even_register) return 48;  // cmp16_fast
  return 32;
}

}  // namespace

std::string_view ExprName(const Expr& expr) {
  return std::visit(
      Overloaded{
          [](const Payload&) { return std::string_view("payload"); },
          [](const PayloadWrite&) { return std::string_view("payload"); },
          [](const Meta&) { return std::string_view("meta"); },
          [](const MetaWrite&) { return std::string_view("meta"); },
          [](const Ct&) { return std::string_view("ct"); },
          [](const CtWrite&) { return std::string_view("ct"); },
          [](const Cmp&) { return std::string_view("cmp"); },
          [](const Range&) { return std::string_view("range"); },
          [](const Bitwise&) { return std::string_view("bitwise"); },
          [](const Byteorder&) { return std::string_view("byteorder"); },
          [](const Immediate&) { return std::string_view("immediate"); },
          [](const Verdict&) { return std::string_view("immediate"); },
          [](const Lookup&) { return std::string_view("lookup"); },
          [](const Counter&) { return std::string_view("counter"); },
          [](const Limit&) { return std::string_view("limit"); },
          [](const Quota&) { return std::string_view("quota"); },
          [](const Log&) { return std::string_view("log"); },
          [](const Reject&) { return std::string_view("reject"); },
          [](const Nat&) { return std::string_view("nat"); },
          [](const Masq&) { return std::string_view("masq"); },
          [](const Redir&) { return std::string_view("redir"); },
          [](const Notrack&) { return std::string_view("notrack"); },
          [](const Numgen&) { return std::string_view("numgen"); },
          [](const Fib&) { return std::string_view("fib"); },
          [](const Queue&) { return std::string_view("queue"); },
          [](const Rt&) { return std::string_view("rt"); },
          [](const Dup&) { return std::string_view("dup"); },
          [](const Synproxy&) { return std::string_view("synproxy"); },
          [](const CarriedMatch&) { return std::string_view("match"); },
          [](const CarriedTarget&) { return std::string_view("target"); },
          [](const Other& other) { return std::string_view(other.name); },
      },
      expr);
}

std::string PrintExpr(const Expr& expr) { return std::visit(kPrinter, expr); }

size_t KernelBytes(const Expr& expr) {
  return std::visit(
      Overloaded{
          [](const Cmp& e) { return CmpKernelBytes(e); },
          [](const Range&) { return size_t{48}; },
          [](const Bitwise& e) {
            const bool fast = e.len == 4 && e.op == NFT_BITWISE_BOOL;
            return size_t{fast ? 24u : 64u};
          },
          [](const Immediate&) { return size_t{32}; },
          [](const Verdict&) { return size_t{32}; },
          [](const Lookup&) { return size_t{56}; },
          [](const Limit&) { return size_t{56}; },
          [](const Quota&) { return size_t{32}; },
          [](const Log&) { return size_t{32}; },
          [](const Notrack&) { return size_t{8}; },
          [](const Numgen& e) {
            return size_t{e.type == NFT_NG_RANDOM ? 24u : 32u};
          },
          // NFT_MATCH_LARGE_THRESH: a big payload is allocated apart.
          [](const CarriedMatch& e) {
            return e.info.size() > 192 ? 16 : 8 + Align8(e.info.size());
          },
          [](const CarriedTarget& e) { return 8 + Align8(e.info.size()); },
          [](const auto&) { return size_t{16}; },
      },
      expr);
}

size_t MessageBytes(const Expr& expr) {
  // Eight attributes with two 16-byte constants.
  static constexpr size_t kMost = 160;
  return std::visit(Overloaded{
                        [](const Verdict& e) { return kMost + e.chain.size(); },
                        [](const Lookup& e) { return kMost + e.set.size(); },
                        [](const Log& e) { return kMost + e.prefix.size(); },
                        [](const CarriedMatch& e) {
                          return kMost + e.name.size() + e.info.size();
                        },
                        [](const CarriedTarget& e) {
                          return kMost + e.name.size() + e.info.size();
                        },
                        [](const auto&) { return kMost; },
                    },
                    expr);
}

Status AddToRule(const Expr& expr, nftnl_rule* rule) {
  OwnedExpr made(nftnl_expr_alloc(ExprName(expr).data()));
  if (!made) return FailErrno("expression " + std::string(ExprName(expr)));
  RETURN_IF_ERROR(std::visit(Writer{made.get()}, expr));
  nftnl_rule_add_expr(rule, made.release());
  return {};
}

Expr ReadExpr(const nftnl_expr* expr) {
  const char* name = nftnl_expr_is_set(expr, NFTNL_EXPR_NAME)
                         ? nftnl_expr_get_str(expr, NFTNL_EXPR_NAME)
                         : "";
  for (const NamedReader& reader : kReaders) {
    if (reader.name != name) continue;
    if (auto read = reader.read(Source(expr))) return *std::move(read);
    break;
  }
  return Other{name, Words(name, expr)};
}

std::vector<Expr> ReadExprs(const nftnl_rule* rule) {
  std::vector<Expr> exprs;
  nftnl_expr_iter* iterator = nftnl_expr_iter_create(rule);
  if (iterator == nullptr) return exprs;
  for (const nftnl_expr* e = nftnl_expr_iter_next(iterator); e != nullptr;
       e = nftnl_expr_iter_next(iterator)) {
    exprs.push_back(ReadExpr(e));
  }
  nftnl_expr_iter_destroy(iterator);
  return exprs;
}

}  // namespace nfarena::nft
