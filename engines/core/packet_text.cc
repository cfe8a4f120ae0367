#include "engines/core/packet_text.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <optional>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/packet_state.h"
#include "engines/core/tracker_impl.h"

namespace nfarena {
namespace {

constexpr uint8_t kIcmp = 1, kTcp = 6, kUdp = 17, kEsp = 50, kAh = 51,
                  kIcmpv6 = 58, kSctp = 132, kUdplite = 136;
constexpr size_t kMaxPacket = 65535;

/// TCP flags in the order the kernel prints them, with their bit.
struct FlagName {
  std::string_view name;
  uint8_t bit;
};
constexpr FlagName kFlags[] = {{"CWR", 0x80}, {"ECE", 0x40}, {"URG", 0x20},
                               {"ACK", 0x10}, {"PSH", 0x08}, {"RST", 0x04},
                               {"SYN", 0x02}, {"FIN", 0x01}};

/// One IP packet as its words describe it.
struct Fields {
  bool v6 = false;
  std::optional<Address> src, dst;
  std::optional<uint32_t> length;
  uint8_t tos = 0;
  uint8_t ttl = 64;
  std::optional<uint16_t> id;
  uint32_t flow_label = 0;
  bool ce = false, df = false, mf = false;
  std::optional<uint16_t> fragment_offset;  // in 8-byte units
  std::optional<uint32_t> fragment_id;      // IPv6
  std::vector<uint8_t> ip_options;
  std::optional<uint8_t> protocol;

  uint16_t sport = 0, dport = 0;
  uint32_t seq = 0, ack = 0;
  uint16_t window = 64240, urgent = 0;
  uint8_t flags = 0;
  uint8_t reserved = 0;  // the 4 bits beside the data offset
  std::optional<uint16_t> mss;
  std::vector<uint8_t> tcp_options;
  std::optional<uint16_t> udp_length;
  std::optional<uint8_t> type;
  uint8_t code = 0;
  uint16_t icmp_id = 0, icmp_seq = 0;
  std::optional<uint32_t> second_word;  // parameter, gateway, MTU
  uint32_t spi = 0;
  std::optional<uint32_t> incomplete;  // bytes there are of the header
  std::optional<std::vector<uint8_t>> payload;
  std::unique_ptr<Fields> inner;
};

/// A word of a line; `column` is 1-based.
struct Word {
  std::string_view text;
  uint32_t column = 0;
};

std::optional<uint8_t> HexDigit(char c) {
  if (c >= '0' && c <= '9') return static_cast<uint8_t>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<uint8_t>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<uint8_t>(c - 'A' + 10);
  return std::nullopt;
}

std::optional<std::vector<uint8_t>> FromHex(std::string_view text) {
  if (text.size() % 2 != 0) return std::nullopt;
  std::vector<uint8_t> bytes;
  bytes.reserve(text.size() / 2);
  for (size_t i = 0; i < text.size(); i += 2) {
    const auto high = HexDigit(text[i]);
    const auto low = HexDigit(text[i + 1]);
    if (!high || !low) return std::nullopt;
    bytes.push_back(static_cast<uint8_t>(*high << 4 | *low));
  }
  return bytes;
}

std::string ToHex(std::span<const uint8_t> bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(bytes.size() * 2);
  for (uint8_t byte : bytes) {
    text += kDigits[byte >> 4];
    text += kDigits[byte & 0xf];
  }
  return text;
}

/// Decimal, or hexadecimal with 0x, up to `max`.
std::optional<uint64_t> ToNumber(std::string_view text, uint64_t max,
                                 int base = 10) {
  if (text.starts_with("0x") || text.starts_with("0X")) {
    text.remove_prefix(2);
    base = 16;
  }
  uint64_t value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc() ||
      end != text.data() + text.size() || value > max) {
    return std::nullopt;
  }
  return value;
}

std::optional<Address> ToAddress(std::string_view text, bool* v6) {
  char copy[64] = {};
  if (text.size() >= sizeof(copy) || text.find('\0') != text.npos) {
    return std::nullopt;
  }
  std::copy(text.begin(), text.end(), copy);
  Address address{};
  if (text.find(':') != text.npos) {
    *v6 = true;
    if (inet_pton(AF_INET6, copy, address.data()) == 1) return address;
    return std::nullopt;
  }
  *v6 = false;
  if (inet_pton(AF_INET, copy, address.data()) == 1) return address;
  return std::nullopt;
}

std::optional<std::array<uint8_t, 6>> ToMac(std::string_view text) {
  if (text.size() != 17) return std::nullopt;
  std::array<uint8_t, 6> mac;
  for (size_t i = 0; i < 6; ++i) {
    const auto high = HexDigit(text[i * 3]);
    const auto low = HexDigit(text[i * 3 + 1]);
    if (!high || !low || (i < 5 && text[i * 3 + 2] != ':')) {
      return std::nullopt;
    }
    mac[i] = static_cast<uint8_t>(*high << 4 | *low);
  }
  return mac;
}

// ---------------------------------------------------------------- building

/// What stops a packet from being built from its fields.
using BuildError = std::string;

bool IsIcmpQuery(bool v6, uint8_t type) {
  return v6 ? type == 128 || type == 129
            : type == 8 || type == 0 || (type >= 13 && type <= 18);
}

bool IsIcmpError(bool v6, uint8_t type) {
  return v6 ? type >= 1 && type <= 4
            : type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

size_t HeaderSize(const Fields& f) {
  const size_t options = (f.ip_options.size() + 3) & ~size_t{3};
  size_t size = f.v6 ? 40 : 20 + options;
  if (f.v6 && f.fragment_offset) size += 8;
  return size;
}

std::optional<BuildError> BuildPacket(const Fields& f, bool quoted,
                                      std::vector<uint8_t>* out);

/// The upper-layer header (with payload where that comes at once).
std::optional<BuildError> BuildTransport(const Fields& f, size_t room,
                                         std::vector<uint8_t>* out) {
  switch (*f.protocol) {
    case kTcp: {
      std::vector<uint8_t> options = f.tcp_options;
      if (f.mss) {
        const std::array<uint8_t, 4> mss = {2, 4,
                                            static_cast<uint8_t>(*f.mss >> 8),
                                            static_cast<uint8_t>(*f.mss)};
        options.insert(options.begin(), mss.begin(), mss.end());
      }
      while (options.size() % 4 != 0) options.push_back(0);
      if (options.size() > 40) return "more than 40 bytes of TCP options";
      out->assign(20, 0);
      StoreBe16(&(*out)[0], f.sport);
      StoreBe16(&(*out)[2], f.dport);
      StoreBe32(&(*out)[4], f.seq);
      StoreBe32(&(*out)[8], f.ack);
      (*out)[12] =
          static_cast<uint8_t>(((20 + options.size()) / 4) << 4 | f.reserved);
      (*out)[13] = f.flags;
      StoreBe16(&(*out)[14], f.window);
      StoreBe16(&(*out)[18], f.urgent);
      out->insert(out->end(), options.begin(), options.end());
      return std::nullopt;
    }
    case kUdp:
    case kUdplite:
      out->assign(8, 0);
      StoreBe16(&(*out)[0], f.sport);
      StoreBe16(&(*out)[2], f.dport);
      return std::nullopt;
    case kSctp:
      out->assign(12, 0);
      StoreBe16(&(*out)[0], f.sport);
      StoreBe16(&(*out)[2], f.dport);
      return std::nullopt;
    case kIcmp:
    case kIcmpv6: {
      const bool v6 = *f.protocol == kIcmpv6;
      const uint8_t type = f.type.value_or(v6 ? 128 : 8);
      out->assign(8, 0);
      (*out)[0] = type;
      (*out)[1] = f.code;
      if (IsIcmpQuery(v6, type)) {
        StoreBe16(&(*out)[4], f.icmp_id);
        StoreBe16(&(*out)[6], f.icmp_seq);
      }
      if (f.second_word) StoreBe32(&(*out)[4], *f.second_word);
      if (f.inner != nullptr) {
        std::vector<uint8_t> inner;
        if (auto error = BuildPacket(*f.inner, /*quoted=*/true, &inner)) {
          return error;
        }
        // A quotation fills the packet, or by default holds 8 bytes of the
        // upper layer.
        size_t keep = HeaderSize(*f.inner) + 8;
        if (f.length) keep = room > 8 ? room - 8 : 0;
        if (inner.size() > keep) inner.resize(keep);
        out->insert(out->end(), inner.begin(), inner.end());
      }
      return std::nullopt;
    }
    case kEsp:
      out->assign(8, 0);
      StoreBe32(out->data(), f.spi);
      return std::nullopt;
    case kAh:
      // RFC 4302 with a 96-bit check value, nothing behind it.
      out->assign(24, 0);
      (*out)[0] = 59;
      (*out)[1] = 4;
      StoreBe32(&(*out)[4], f.spi);
      return std::nullopt;
    default:
      out->clear();
      return std::nullopt;
  }
}

std::optional<BuildError> BuildPacket(const Fields& f, bool quoted,
                                      std::vector<uint8_t>* out) {
  const size_t header = HeaderSize(f);
  if (!f.v6 && f.ip_options.size() > 40) {
    return "more than 40 bytes of IP options";
  }
  const size_t length = f.length.value_or(0);
  if (f.length && (length < header || length > kMaxPacket)) {
    return fmt::format("LEN={} is shorter than the IP header", length);
  }
  std::vector<uint8_t> upper;
  const bool first = f.fragment_offset.value_or(0) == 0;
  if (first) {
    const size_t room = f.length ? length - header : 0;
    if (auto error = BuildTransport(f, room, &upper)) return error;
    if (f.incomplete) {
      if (*f.incomplete > upper.size()) return "INCOMPLETE header is whole";
      upper.resize(*f.incomplete);
    }
  }
  if (f.payload) {
    upper.insert(upper.end(), f.payload->begin(), f.payload->end());
  }
  if (f.length) {
    if (header + upper.size() > length) {
      if (!quoted) {
        return fmt::format("LEN={} is shorter than headers and payload ({})",
                           length, header + upper.size());
      }
    } else {
      upper.resize(length - header);
    }
  }
  if (header + upper.size() > kMaxPacket) return "packet over 65535 bytes";

  out->assign(header, 0);
  out->insert(out->end(), upper.begin(), upper.end());
  uint8_t* ip = out->data();
  // A quoted packet says how long it was, not how much of it is quoted.
  const size_t total = f.length.value_or(static_cast<uint32_t>(out->size()));
  if (f.v6) {
    StoreBe32(ip, 6u << 28 | static_cast<uint32_t>(f.tos) << 20 | f.flow_label);
    StoreBe16(ip + 4, static_cast<uint16_t>(total - 40));
    ip[6] = f.fragment_offset ? uint8_t{44} : *f.protocol;
    ip[7] = f.ttl;
    std::copy_n(f.src->begin(), 16, ip + 8);
    std::copy_n(f.dst->begin(), 16, ip + 24);
    if (f.fragment_offset) {
      ip[40] = *f.protocol;
      StoreBe16(ip + 42, static_cast<uint16_t>(*f.fragment_offset << 3 |
                                               (f.mf ? 1 : 0)));
      StoreBe32(ip + 44, f.fragment_id.value_or(0));
    }
  } else {
    ip[0] = static_cast<uint8_t>(0x40 | (header / 4));
    ip[1] = f.tos;
    StoreBe16(ip + 2, static_cast<uint16_t>(total));
    StoreBe16(ip + 4, f.id.value_or(1));
    StoreBe16(ip + 6, static_cast<uint16_t>(
                          (f.ce ? 0x8000 : 0) | (f.df ? 0x4000 : 0) |
                          (f.mf ? 0x2000 : 0) | f.fragment_offset.value_or(0)));
    ip[8] = f.ttl;
    ip[9] = *f.protocol;
    std::copy_n(f.src->begin(), 4, ip + 12);
    std::copy_n(f.dst->begin(), 4, ip + 16);
    std::copy(f.ip_options.begin(), f.ip_options.end(), ip + 20);
    FixIpv4Checksum(*out);
  }
  if (!first) return std::nullopt;
  if (*f.protocol == kUdp || *f.protocol == kUdplite) {
    if (out->size() >= header + 6) {
      const uint16_t own = static_cast<uint16_t>(total - header);
      StoreBe16(&(*out)[header + 4], f.udp_length.value_or(own));
    }
  }
  if (*f.protocol == kSctp && out->size() >= header + 12) {
    const uint32_t crc = SctpChecksum(std::span(*out).subspan(header));
    std::memcpy(&(*out)[header + 8], &crc, sizeof(crc));
  }
  if (*f.protocol == kUdplite && out->size() >= header + 8) {
    // Covers it all; the pseudo header has the protocol's own number.
    Address src{}, dst{};
    std::copy_n(f.src->begin(), 16, src.begin());
    std::copy_n(f.dst->begin(), 16, dst.begin());
    const auto l4 = std::span(*out).subspan(header);
    uint16_t sum = ChecksumFold(ChecksumPartial(
        l4, PseudoHeaderSum(f.v6 ? Family::kIpv6 : Family::kIpv4, src, dst,
                            kUdplite, static_cast<uint32_t>(l4.size()))));
    if (sum == 0) sum = 0xffff;
    StoreRaw16(&l4[6], sum);
  } else {
    FixTransportChecksum(f.v6 ? Family::kIpv6 : Family::kIpv4, *out, header,
                         *f.protocol);
  }
  return std::nullopt;
}

// ----------------------------------------------------------------- parsing

/// Reads one line.
class LineParser {
 public:
  LineParser(std::string_view line, std::string_view file, uint32_t number)
      : line_(line), file_(file), number_(number) {}

  Result<Packet> Parse() {
    const size_t start = FindStart();
    if (start == line_.npos) {
      return Refuse(ErrorCode::kSyntax, "a packet begins with IN= and OUT=",
                    {line_.substr(0, 20), 1});
    }
    Split(start);
    for (at_ = 0; at_ < words_.size(); ++at_) {
      RETURN_IF_ERROR(Read(words_[at_]));
    }
    if (depth_ != 0) {
      return Refuse(ErrorCode::kSyntax, "a quoted packet ends with ]",
                    words_.back());
    }
    return Finish();
  }

 private:
  tl::unexpected<Error> Refuse(ErrorCode code, std::string message,
                               Word word) const {
    // A whole word can be long; its head is enough to find it.
    return Fail(code, std::move(message),
                {.file = std::string(file_),
                 .line = number_,
                 .column = word.column,
                 .text = std::string(word.text.substr(0, 40))});
  }

  /// Where IN= is: first before an OUT=, so that a log prefix may say "IN=".
  size_t FindStart() const {
    for (size_t at = line_.find("IN="); at != line_.npos;
         at = line_.find("IN=", at + 1)) {
      const size_t end = line_.find(' ', at);
      if (end != line_.npos && line_.substr(end + 1, 4) == "OUT=") return at;
    }
    // A packet written by hand may leave one of the two out.
    for (std::string_view word : {"IN=", "OUT="}) {
      if (line_.starts_with(word)) return 0;
    }
    for (std::string_view word : {" IN=", " OUT="}) {
      const size_t at = line_.find(word);
      if (at != line_.npos) return at + 1;
    }
    return line_.npos;
  }

  void Split(size_t start) {
    size_t at = start;
    while (at < line_.size()) {
      if (line_[at] == ' ' || line_[at] == '\t') {
        ++at;
        continue;
      }
      size_t end = line_.find_first_of(" \t", at);
      if (end == line_.npos) end = line_.size();
      words_.push_back(
          {line_.substr(at, end - at), static_cast<uint32_t>(at + 1)});
      at = end;
    }
  }

  Fields* fields() { return depth_ == 0 ? &outer_ : outer_.inner.get(); }

  Status Read(Word word) {
    if (word.text == "]") return CloseInner(word);
    if (word.text.front() == '[') {
      if (depth_ != 0 || outer_.inner != nullptr || !outer_.protocol) {
        return Refuse(ErrorCode::kSyntax, "one packet is quoted in [ ]", word);
      }
      outer_.inner = std::make_unique<Fields>();
      depth_ = 1;
      word.text.remove_prefix(1);
      ++word.column;
      if (word.text.empty()) return {};
    }
    const bool closes =
        depth_ == 1 && word.text.size() > 1 && word.text.back() == ']';
    if (closes) word.text.remove_suffix(1);
    const size_t equals = word.text.find('=');
    if (equals != word.text.npos) {
      RETURN_IF_ERROR(ReadPair(word, word.text.substr(0, equals),
                               word.text.substr(equals + 1)));
    } else {
      RETURN_IF_ERROR(ReadFlag(word));
    }
    if (closes) return CloseInner(word);
    return {};
  }

  Status CloseInner(Word word) {
    if (depth_ != 1) return Refuse(ErrorCode::kSyntax, "] without [", word);
    depth_ = 0;
    const Fields& inner = *outer_.inner;
    if (!inner.src || !inner.dst) {
      return Refuse(ErrorCode::kSyntax,
                    "the quoted packet needs SRC= and DST=", word);
    }
    return {};
  }

  Status ReadFlag(Word word) {
    Fields* f = fields();
    const std::string_view text = word.text;
    for (const FlagName& flag : kFlags) {
      if (text == flag.name) {
        f->flags |= flag.bit;
        return NeedProtocol(word, {kTcp});
      }
    }
    if (text == "DF" || text == "CE") {
      if (f->v6 && f->src) return Misplaced(word);
      (text == "DF" ? f->df : f->ce) = true;
      return {};
    }
    if (text == "MF" || text == "INC") {
      f->mf = true;
      return {};
    }
    if (text.starts_with("FRAG:")) {
      // IPv4 counts units of 8 bytes, IPv6 bytes.
      const auto value = ToNumber(text.substr(5), f->v6 ? 0xfff8 : 0x1fff);
      if (!value || (f->v6 && *value % 8 != 0)) return BadValue(word);
      f->fragment_offset = static_cast<uint16_t>(f->v6 ? *value / 8 : *value);
      return {};
    }
    if (text.starts_with("ID:") && f->v6) {
      const auto value = ToNumber(text.substr(3), 0xffffffff, 16);
      if (!value) return BadValue(word);
      f->fragment_id = static_cast<uint32_t>(*value);
      return {};
    }
    if (text == "OPT") return ReadOptions(word);
    if (text == "INCOMPLETE") return ReadIncomplete(word);
    return Refuse(ErrorCode::kSyntax, "not a word of a LOG line", word);
  }

  /// "OPT (0204...)".
  Status ReadOptions(Word word) {
    Fields* f = fields();
    if (at_ + 1 >= words_.size()) return BadValue(word);
    Word value = words_[++at_];
    if (f->v6 && !f->protocol) {
      return Refuse(ErrorCode::kUnsupported,
                    "extension headers are given as BYTES=", word);
    }
    if (value.text.size() < 2 || value.text.front() != '(' ||
        value.text.back() != ')') {
      return Refuse(ErrorCode::kSyntax, "options are hexadecimal in ( )",
                    value);
    }
    auto bytes = FromHex(value.text.substr(1, value.text.size() - 2));
    if (!bytes || bytes->size() > 40) return BadValue(value);
    if (!f->protocol) {
      f->ip_options = std::move(*bytes);
      return {};
    }
    f->tcp_options = std::move(*bytes);
    return NeedProtocol(word, {kTcp});
  }

  /// "INCOMPLETE [4 bytes]".
  Status ReadIncomplete(Word word) {
    if (at_ + 2 >= words_.size() || words_[at_ + 1].text.size() < 2 ||
        words_[at_ + 1].text.front() != '[' ||
        words_[at_ + 2].text != "bytes]") {
      return BadValue(word);
    }
    const auto value = ToNumber(words_[at_ + 1].text.substr(1), 60);
    if (!value) return BadValue(words_[at_ + 1]);
    fields()->incomplete = static_cast<uint32_t>(*value);
    at_ += 2;
    return {};
  }

  Status BadValue(Word word) const {
    return Refuse(ErrorCode::kRange, "a value that this word cannot have",
                  word);
  }
  Status Misplaced(Word word) const {
    return Refuse(ErrorCode::kSyntax, "this packet has no such field", word);
  }

  /// Words of an upper layer are checked against the protocol at the end, so
  /// that they may stand before PROTO= in a line written by hand.
  Status NeedProtocol(Word word, std::initializer_list<uint8_t> protocols) {
    Need need{word, depth_, {}};
    std::copy(protocols.begin(), protocols.end(), need.protocols.begin());
    needs_.push_back(need);
    return {};
  }

  template <typename T>
  Status Number(Word word, std::string_view value, uint64_t max, T* field) {
    const auto number = ToNumber(value, max);
    if (!number) return BadValue(word);
    *field = static_cast<T>(*number);
    return {};
  }

  /// The same for an optional field.
  template <typename T>
  Status Number(Word word, std::string_view value, uint64_t max,
                std::optional<T>* field) {
    const auto number = ToNumber(value, max);
    if (!number) return BadValue(word);
    *field = static_cast<T>(*number);
    return {};
  }

  Status ReadDevice(Word word, std::string_view value, std::string* device) {
    if (depth_ != 0) return Misplaced(word);
    if (value.size() > 15 || value.find_first_of("/:") != value.npos) {
      return BadValue(word);
    }
    *device = value;
    return {};
  }

  Status ReadAddress(Word word, std::string_view value,
                     std::optional<Address>* field) {
    Fields* f = fields();
    bool v6 = false;
    *field = ToAddress(value, &v6);
    if (!*field) {
      return Refuse(ErrorCode::kSyntax, "not an IPv4 or IPv6 address", word);
    }
    if (f->src && f->dst && f->v6 != v6) {
      return Refuse(ErrorCode::kSyntax, "SRC and DST are of two families",
                    word);
    }
    f->v6 = v6;
    return {};
  }

  Status ReadPair(Word word, std::string_view name, std::string_view value);
  Status ReadHeaderPair(Word word, std::string_view name,
                        std::string_view value, bool* known);
  Status ReadUpperPair(Word word, std::string_view name, std::string_view value,
                       bool* known);
  Status ReadPacketPair(Word word, std::string_view name,
                        std::string_view value, bool* known);
  Status ReadProtocol(Word word, std::string_view value);
  Status CheckNeeds();
  Result<Packet> Finish();

  struct Need {
    Word word;
    int depth = 0;
    std::array<uint8_t, 4> protocols{};
  };

  std::string_view line_;
  std::string_view file_;
  uint32_t number_;
  std::vector<Word> words_;
  size_t at_ = 0;
  int depth_ = 0;
  Fields outer_;
  std::vector<Need> needs_;
  Packet packet_;
  std::optional<std::vector<uint8_t>> bytes_;
  std::optional<uint8_t> family_;
};

Status LineParser::ReadPair(Word word, std::string_view name,
                            std::string_view value) {
  bool known = true;
  RETURN_IF_ERROR(ReadHeaderPair(word, name, value, &known));
  if (known) return {};
  known = true;
  RETURN_IF_ERROR(ReadUpperPair(word, name, value, &known));
  if (known) return {};
  known = true;
  RETURN_IF_ERROR(ReadPacketPair(word, name, value, &known));
  if (known) return {};
  if (name == "PHYSIN" || name == "PHYSOUT") {
    return Refuse(ErrorCode::kUnsupported, "bridge ports are not modelled",
                  word);
  }
  return Refuse(ErrorCode::kSyntax, "not a word of a LOG line", word);
}

Status LineParser::ReadHeaderPair(Word word, std::string_view name,
                                  std::string_view value, bool* known) {
  Fields* f = fields();
  if (name == "SRC") return ReadAddress(word, value, &f->src);
  if (name == "DST") return ReadAddress(word, value, &f->dst);
  if (name == "LEN") {
    if (!f->protocol) return Number(word, value, kMaxPacket, &f->length);
    RETURN_IF_ERROR(NeedProtocol(word, {kUdp, kUdplite}));
    return Number(word, value, 0xffff, &f->udp_length);
  }
  if (name == "TOS" || name == "PREC") {
    uint8_t bits = 0;
    RETURN_IF_ERROR(Number(word, value, 0xff, &bits));
    f->tos |= bits;
    return {};
  }
  if (name == "TC") return Number(word, value, 0xff, &f->tos);
  if (name == "TTL" || name == "HOPLIMIT") {
    return Number(word, value, 0xff, &f->ttl);
  }
  if (name == "FLOWLBL") return Number(word, value, 0xfffff, &f->flow_label);
  if (name == "PROTO") return ReadProtocol(word, value);
  if (name == "ID") {
    if (!f->protocol) return Number(word, value, 0xffff, &f->id);
    RETURN_IF_ERROR(NeedProtocol(word, {kIcmp, kIcmpv6}));
    return Number(word, value, 0xffff, &f->icmp_id);
  }
  *known = false;
  return {};
}

Status LineParser::ReadProtocol(Word word, std::string_view value) {
  static constexpr std::pair<std::string_view, uint8_t> kNames[] = {
      {"TCP", kTcp},   {"UDP", kUdp},       {"UDPLITE", kUdplite},
      {"ICMP", kIcmp}, {"ICMPv6", kIcmpv6}, {"AH", kAh},
      {"ESP", kEsp},   {"SCTP", kSctp},     {"GRE", 47},
      {"IGMP", 2}};
  Fields* f = fields();
  if (f->protocol) {
    return Refuse(ErrorCode::kSyntax, "PROTO= stands twice", word);
  }
  for (const auto& [name, number] : kNames) {
    if (value == name) {
      f->protocol = number;
      return {};
    }
  }
  return Number(word, value, 0xff, &f->protocol);
}

Status LineParser::ReadUpperPair(Word word, std::string_view name,
                                 std::string_view value, bool* known) {
  Fields* f = fields();
  if (name == "SPT" || name == "DPT") {
    RETURN_IF_ERROR(NeedProtocol(word, {kTcp, kUdp, kUdplite, kSctp}));
    return Number(word, value, 0xffff, name == "SPT" ? &f->sport : &f->dport);
  }
  if (name == "SEQ") {
    // A TCP sequence number, or an echo's.
    RETURN_IF_ERROR(NeedProtocol(word, {kTcp, kIcmp, kIcmpv6}));
    RETURN_IF_ERROR(Number(word, value, 0xffffffff, &f->seq));
    f->icmp_seq = static_cast<uint16_t>(f->seq);
    return {};
  }
  if (name == "ACK") {
    RETURN_IF_ERROR(NeedProtocol(word, {kTcp}));
    return Number(word, value, 0xffffffff, &f->ack);
  }
  if (name == "WINDOW") {
    RETURN_IF_ERROR(NeedProtocol(word, {kTcp}));
    return Number(word, value, 0xffff, &f->window);
  }
  if (name == "RES") {
    // The kernel prints the word's reserved bits shifted to 0x0 to 0x3f with
    // the flags CWR and ECE left out: 4 bits.
    RETURN_IF_ERROR(NeedProtocol(word, {kTcp}));
    uint8_t bits = 0;
    RETURN_IF_ERROR(Number(word, value, 0x3f, &bits));
    f->reserved = bits >> 2;
    return {};
  }
  if (name == "URGP") {
    RETURN_IF_ERROR(NeedProtocol(word, {kTcp}));
    return Number(word, value, 0xffff, &f->urgent);
  }
  if (name == "MSS") {
    RETURN_IF_ERROR(NeedProtocol(word, {kTcp}));
    return Number(word, value, 0xffff, &f->mss);
  }
  if (name == "TYPE") {
    RETURN_IF_ERROR(NeedProtocol(word, {kIcmp, kIcmpv6}));
    return Number(word, value, 0xff, &f->type);
  }
  if (name == "CODE") {
    RETURN_IF_ERROR(NeedProtocol(word, {kIcmp, kIcmpv6}));
    return Number(word, value, 0xff, &f->code);
  }
  if (name == "PARAMETER") {
    // The pointer is the first byte of the word.
    RETURN_IF_ERROR(NeedProtocol(word, {kIcmp}));
    uint32_t pointer = 0;
    RETURN_IF_ERROR(Number(word, value, 0xff, &pointer));
    f->second_word = pointer << 24;
    return {};
  }
  if (name == "POINTER") {
    RETURN_IF_ERROR(NeedProtocol(word, {kIcmpv6}));
    const auto pointer = ToNumber(value, 0xffffffff, 16);
    if (!pointer) return BadValue(word);
    f->second_word = static_cast<uint32_t>(*pointer);
    return {};
  }
  if (name == "GATEWAY") {
    RETURN_IF_ERROR(NeedProtocol(word, {kIcmp}));
    bool v6 = false;
    const auto gateway = ToAddress(value, &v6);
    if (!gateway || v6) return BadValue(word);
    f->second_word = LoadBe32(gateway->data());
    return {};
  }
  if (name == "MTU") {
    RETURN_IF_ERROR(NeedProtocol(word, {kIcmp, kIcmpv6}));
    return Number(word, value, 0xffffffff, &f->second_word);
  }
  if (name == "SPI") {
    RETURN_IF_ERROR(NeedProtocol(word, {kAh, kEsp}));
    return Number(word, value, 0xffffffff, &f->spi);
  }
  if (name == "PAYLOAD") {
    auto bytes = FromHex(value);
    if (!bytes || bytes->size() > kMaxPacket) return BadValue(word);
    f->payload = std::move(*bytes);
    return {};
  }
  *known = false;
  return {};
}

Status LineParser::ReadPacketPair(Word word, std::string_view name,
                                  std::string_view value, bool* known) {
  if (name == "IN") return ReadDevice(word, value, &packet_.in);
  if (name == "OUT") return ReadDevice(word, value, &packet_.out);
  if (name == "MARK") return Number(word, value, 0xffffffff, &packet_.mark);
  if (name == "UID") return Number(word, value, 0xffffffff, &packet_.uid);
  if (name == "GID") return Number(word, value, 0xffffffff, &packet_.gid);
  if (name == "TIME") {
    return Number(word, value, uint64_t{1} << 53, &packet_.time_ms);
  }
  if (name == "FAMILY") return Number(word, value, 6, &family_);
  if (name == "MACPROTO") {
    return value.size() == 4 && FromHex(value) ? Status() : BadValue(word);
  }
  if (name == "MACSRC" || name == "MACDST") {
    const auto mac = ToMac(value);
    if (!mac) return BadValue(word);
    (name == "MACSRC" ? packet_.mac_src : packet_.mac_dst) = mac;
    return {};
  }
  if (name == "MAC") {
    // dst:src:type of Ethernet; empty on a device without link addresses.
    if (value.empty()) return {};
    if (value.size() < 35) return BadValue(word);
    packet_.mac_dst = ToMac(value.substr(0, 17));
    packet_.mac_src = ToMac(value.substr(18, 17));
    const bool rest_is_hex =
        value.find_first_not_of("0123456789abcdefABCDEF:") == value.npos;
    if (!packet_.mac_dst || !packet_.mac_src || value[17] != ':' ||
        !rest_is_hex) {
      return BadValue(word);
    }
    return {};
  }
  if (name == "BYTES") {
    auto bytes = FromHex(value);
    if (!bytes || bytes->size() > kMaxPacket) return BadValue(word);
    bytes_ = std::move(*bytes);
    return {};
  }
  *known = false;
  return {};
}

Status LineParser::CheckNeeds() {
  for (const Need& need : needs_) {
    const Fields& f = need.depth == 0 ? outer_ : *outer_.inner;
    // What only fragments say about a header is not there to be wrong.
    const uint8_t protocol = f.protocol.value_or(0);
    if (std::find(need.protocols.begin(), need.protocols.end(), protocol) ==
            need.protocols.end() ||
        protocol == 0) {
      return Misplaced(need.word);
    }
  }
  return {};
}

Result<Packet> LineParser::Finish() {
  packet_.line = number_;
  // A packet over lo enters by OUTPUT.
  if (packet_.in == "lo") {
    packet_.in.clear();
    packet_.out = "lo";
  }
  const Word first = words_.front();
  if (packet_.in.empty() && packet_.out.empty()) {
    return Refuse(ErrorCode::kSyntax, "IN= and OUT= are both empty", first);
  }
  if (bytes_) {
    packet_.bytes = std::move(*bytes_);
    const bool v6 =
        family_ ? *family_ == 6
                : !packet_.bytes.empty() && (packet_.bytes[0] >> 4) == 6;
    packet_.family = v6 ? Family::kIpv6 : Family::kIpv4;
    return std::move(packet_);
  }
  if (!outer_.src || !outer_.dst) {
    return Refuse(ErrorCode::kSyntax, "a packet needs SRC= and DST=", first);
  }
  RETURN_IF_ERROR(CheckNeeds());
  for (Fields* f : {&outer_, outer_.inner.get()}) {
    if (f != nullptr && !f->protocol) {
      return Refuse(ErrorCode::kSyntax, "a packet needs PROTO=", first);
    }
  }
  if (outer_.inner != nullptr &&
      ((*outer_.protocol != kIcmp && *outer_.protocol != kIcmpv6) ||
       outer_.inner->v6 != outer_.v6)) {
    return Refuse(ErrorCode::kSyntax,
                  "only an ICMP error of the same family quotes a packet",
                  first);
  }
  packet_.family = outer_.v6 ? Family::kIpv6 : Family::kIpv4;
  if (auto error = BuildPacket(outer_, /*quoted=*/false, &packet_.bytes)) {
    return Refuse(ErrorCode::kRange, std::move(*error), first);
  }
  return std::move(packet_);
}

// ---------------------------------------------------------------- printing

std::string AddressText(bool v6, const uint8_t* bytes) {
  char text[INET6_ADDRSTRLEN] = {};
  inet_ntop(v6 ? AF_INET6 : AF_INET, bytes, text, sizeof(text));
  return text;
}

std::string MacText(const std::array<uint8_t, 6>& mac) {
  return fmt::format("{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", mac[0],
                     mac[1], mac[2], mac[3], mac[4], mac[5]);
}

/// The words of the IP packet `bytes`, which may be a quotation that is cut
/// off.  What they leave unsaid shows when the line is parsed again.
void PrintIp(bool v6, std::span<const uint8_t> bytes, bool quoted,
             std::string* line);

void PrintUpper(bool v6, uint8_t protocol, std::span<const uint8_t> l4,
                bool quoted, std::string* line) {
  const auto add = [line]<typename... Args>(fmt::format_string<Args...> format,
                                            Args&&... args) {
    fmt::format_to(std::back_inserter(*line), format,
                   std::forward<Args>(args)...);
  };
  std::span<const uint8_t> rest;
  switch (protocol) {
    case kTcp: {
      add("PROTO=TCP ");
      if (l4.size() < 20) {
        if (quoted && l4.size() >= 8) {
          add("SPT={} DPT={} SEQ={} ", LoadBe16(&l4[0]), LoadBe16(&l4[2]),
              LoadBe32(&l4[4]));
        }
        add("INCOMPLETE [{} bytes] ", l4.size());
        return;
      }
      add("SPT={} DPT={} SEQ={} ACK={} WINDOW={} RES=0x{:02x} ",
          LoadBe16(&l4[0]), LoadBe16(&l4[2]), LoadBe32(&l4[4]),
          LoadBe32(&l4[8]), LoadBe16(&l4[14]), (l4[12] & 0xf) << 2);
      for (const FlagName& flag : kFlags) {
        if ((l4[13] & flag.bit) != 0) add("{} ", flag.name);
      }
      add("URGP={} ", LoadBe16(&l4[18]));
      const size_t header = static_cast<size_t>(l4[12] >> 4) * 4;
      if (header > 20 && header <= l4.size()) {
        add("OPT ({}) ", ToHex(l4.subspan(20, header - 20)));
      }
      rest = l4.subspan(std::clamp<size_t>(header, 20, l4.size()));
      break;
    }
    case kUdp:
    case kUdplite:
      add("PROTO={} ", protocol == kUdp ? "UDP" : "UDPLITE");
      if (l4.size() < 8) {
        add("INCOMPLETE [{} bytes] ", l4.size());
        return;
      }
      add("SPT={} DPT={} LEN={} ", LoadBe16(&l4[0]), LoadBe16(&l4[2]),
          LoadBe16(&l4[4]));
      rest = l4.subspan(8);
      break;
    case kIcmp:
    case kIcmpv6: {
      add("PROTO={} ", protocol == kIcmp ? "ICMP" : "ICMPv6");
      if (l4.size() < 8) {
        add("INCOMPLETE [{} bytes] ", l4.size());
        return;
      }
      const bool icmpv6 = protocol == kIcmpv6;
      const uint8_t type = l4[0];
      add("TYPE={} CODE={} ", type, l4[1]);
      rest = l4.subspan(8);
      if (IsIcmpQuery(icmpv6, type)) {
        add("ID={} SEQ={} ", LoadBe16(&l4[4]), LoadBe16(&l4[6]));
      } else if (!icmpv6 && type == 12) {
        add("PARAMETER={} ", l4[4]);
      } else if (!icmpv6 && type == 5) {
        add("GATEWAY={} ", AddressText(false, &l4[4]));
      } else if (icmpv6 && type == 4) {
        add("POINTER={:08x} ", LoadBe32(&l4[4]));
      }
      if (IsIcmpError(icmpv6, type) && !quoted &&
          rest.size() >= (v6 ? 40u : 20u)) {
        line->push_back('[');
        PrintIp(v6, rest, /*quoted=*/true, line);
        line->append("] ");
        rest = {};
      }
      if ((!icmpv6 && type == 3 && l4[1] == 4) || (icmpv6 && type == 2)) {
        add("MTU={} ", LoadBe32(&l4[4]));
      }
      break;
    }
    case kEsp:
    case kAh:
      add("PROTO={} ", protocol == kEsp ? "ESP" : "AH");
      if (l4.size() < 12) {
        add("INCOMPLETE [{} bytes] ", l4.size());
        return;
      }
      add("SPI=0x{:x} ", LoadBe32(&l4[protocol == kEsp ? 0 : 4]));
      rest = l4.subspan(std::min<size_t>(l4.size(), protocol == kEsp ? 8 : 24));
      break;
    case kSctp:
      add("PROTO=132 ");
      if (l4.size() < 12) {
        add("INCOMPLETE [{} bytes] ", l4.size());
        return;
      }
      add("SPT={} DPT={} ", LoadBe16(&l4[0]), LoadBe16(&l4[2]));
      rest = l4.subspan(12);
      break;
    default:
      add("PROTO={} ", protocol);
      rest = l4;
      break;
  }
  // Zeros at the end follow from LEN.
  while (!rest.empty() && rest.back() == 0) rest = rest.first(rest.size() - 1);
  if (!rest.empty()) add("PAYLOAD={} ", ToHex(rest));
}

void PrintIp(bool v6, std::span<const uint8_t> bytes, bool quoted,
             std::string* line) {
  const auto add = [line]<typename... Args>(fmt::format_string<Args...> format,
                                            Args&&... args) {
    fmt::format_to(std::back_inserter(*line), format,
                   std::forward<Args>(args)...);
  };
  if (bytes.size() < (v6 ? 40u : 20u)) return;
  size_t offset = 40;
  uint8_t protocol = 0;
  bool first = true;
  if (v6) {
    const uint32_t word = LoadBe32(&bytes[0]);
    protocol = bytes[6];
    add("SRC={} DST={} LEN={} TC={} HOPLIMIT={} FLOWLBL={} ",
        AddressText(true, &bytes[8]), AddressText(true, &bytes[24]),
        40 + LoadBe16(&bytes[4]), word >> 20 & 0xff, bytes[7], word & 0xfffff);
    if (protocol == 44 && bytes.size() >= 48) {
      const uint16_t fragment = LoadBe16(&bytes[42]);
      add("FRAG:{} {}ID:{:08x} ", fragment & 0xfff8,
          (fragment & 1) != 0 ? "INC " : "", LoadBe32(&bytes[44]));
      protocol = bytes[40];
      offset = 48;
      first = (fragment & 0xfff8) == 0;
    }
  } else {
    const uint16_t fragment = LoadBe16(&bytes[6]);
    protocol = bytes[9];
    add("SRC={} DST={} LEN={} TOS=0x{:02X} PREC=0x{:02X} TTL={} ID={} ",
        AddressText(false, &bytes[12]), AddressText(false, &bytes[16]),
        LoadBe16(&bytes[2]), bytes[1] & 0x1f, bytes[1] & 0xe0, bytes[8],
        LoadBe16(&bytes[4]));
    if ((fragment & 0x8000) != 0) add("CE ");
    if ((fragment & 0x4000) != 0) add("DF ");
    if ((fragment & 0x2000) != 0) add("MF ");
    if ((fragment & 0x1fff) != 0) add("FRAG:{} ", fragment & 0x1fff);
    offset =
        std::min<size_t>(static_cast<size_t>(bytes[0] & 0xf) * 4, bytes.size());
    offset = std::max<size_t>(offset, 20);
    if (offset > 20) add("OPT ({}) ", ToHex(bytes.subspan(20, offset - 20)));
    first = (fragment & 0x1fff) == 0;
  }
  auto l4 = bytes.subspan(std::min(offset, bytes.size()));
  if (first) {
    PrintUpper(v6, protocol, l4, quoted, line);
    return;
  }
  add("PROTO={} ", protocol);
  while (!l4.empty() && l4.back() == 0) l4 = l4.first(l4.size() - 1);
  if (!l4.empty()) add("PAYLOAD={} ", ToHex(l4));
}

bool SamePacket(const Packet& a, const Packet& b) {
  return a.family == b.family && a.bytes == b.bytes && a.in == b.in &&
         a.out == b.out && a.mac_src == b.mac_src && a.mac_dst == b.mac_dst &&
         a.mark == b.mark && a.uid == b.uid && a.gid == b.gid &&
         a.time_ms == b.time_ms;
}

}  // namespace

Result<std::vector<Packet>> ParsePackets(std::string_view text,
                                         std::string_view file) {
  std::vector<Packet> packets;
  uint32_t number = 0;
  while (!text.empty()) {
    ++number;
    size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == text.npos ? text.size() : end + 1);
    while (!line.empty() &&
           (line.back() == '\r' || line.back() == ' ' || line.back() == '\t')) {
      line.remove_suffix(1);
    }
    const size_t start = line.find_first_not_of(" \t");
    if (start == line.npos || line[start] == '#') continue;
    ASSIGN_OR_RETURN(Packet packet, LineParser(line, file, number).Parse());
    packets.push_back(std::move(packet));
  }
  return packets;
}

std::string PacketLine(const Packet& packet) {
  std::string line = fmt::format("IN={} OUT={} ", packet.in, packet.out);
  if (packet.mac_src && packet.mac_dst) {
    line += fmt::format("MAC={}:{}:{} ", MacText(*packet.mac_dst),
                        MacText(*packet.mac_src),
                        packet.family == Family::kIpv4 ? "08:00" : "86:dd");
  } else if (packet.mac_src) {
    line += fmt::format("MACSRC={} ", MacText(*packet.mac_src));
  } else if (packet.mac_dst) {
    line += fmt::format("MACDST={} ", MacText(*packet.mac_dst));
  }
  std::string words;
  PrintIp(packet.family == Family::kIpv6, packet.bytes, /*quoted=*/false,
          &words);
  std::string rest;
  if (packet.uid) rest += fmt::format("UID={} ", *packet.uid);
  if (packet.gid) rest += fmt::format("GID={} ", *packet.gid);
  if (packet.mark != 0) rest += fmt::format("MARK=0x{:x} ", packet.mark);
  if (packet.time_ms != 0) rest += fmt::format("TIME={} ", packet.time_ms);
  std::string whole = line + words + rest;
  whole.pop_back();
  const auto again = ParsePackets(whole, "");
  if (again && again->size() == 1 && SamePacket(again->front(), packet)) {
    return whole;
  }
  // What the words cannot say (an odd checksum, extension headers) is given
  // as bytes besides; words that make no sense are left out.
  line += again ? words + rest : rest;
  return line + fmt::format("FAMILY={} BYTES={}",
                            packet.family == Family::kIpv6 ? 6 : 4,
                            ToHex(packet.bytes));
}

}  // namespace nfarena
