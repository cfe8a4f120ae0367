#include "engines/xt/testing/packets.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"

namespace nfarena::xt::testing {
namespace {

constexpr uint8_t kFragmentHeader = 44;
constexpr uint8_t kAuthenticationHeader = 51;

void Append16(std::vector<uint8_t>* bytes, uint16_t value) {
  bytes->push_back(static_cast<uint8_t>(value >> 8));
  bytes->push_back(static_cast<uint8_t>(value));
}

}  // namespace

PacketBuilder::PacketBuilder(Family family) : family_(family) {
  packet_.family = family;
  const bool v4 = family == Family::kIpv4;
  src_ = ParseAddress(v4 ? "192.0.2.1" : "2001:db8::1");
  dst_ = ParseAddress(v4 ? "198.51.100.2" : "2001:db8:1::2");
  Udp(40000, 53);
}

PacketBuilder& PacketBuilder::From(std::string_view address) {
  src_ = ParseAddress(address);
  return *this;
}
PacketBuilder& PacketBuilder::To(std::string_view address) {
  dst_ = ParseAddress(address);
  return *this;
}
PacketBuilder& PacketBuilder::Tos(uint8_t tos) {
  tos_ = tos;
  return *this;
}
PacketBuilder& PacketBuilder::Ttl(uint8_t ttl) {
  ttl_ = ttl;
  return *this;
}
PacketBuilder& PacketBuilder::DontFragment() {
  dont_fragment_ = true;
  return *this;
}
PacketBuilder& PacketBuilder::Fragment(uint16_t offset, bool more) {
  fragment_ = true;
  fragment_offset_ = offset;
  more_fragments_ = more;
  return *this;
}
PacketBuilder& PacketBuilder::Extension(uint8_t kind,
                                        std::vector<uint8_t> body) {
  extensions_.push_back({kind, std::move(body)});
  return *this;
}

PacketBuilder& PacketBuilder::Tcp(uint16_t sport, uint16_t dport, uint8_t flags,
                                  std::vector<uint8_t> options) {
  while (options.size() % 4 != 0) options.push_back(0);
  protocol_ = IPPROTO_TCP;
  upper_.clear();
  Append16(&upper_, sport);
  Append16(&upper_, dport);
  upper_.resize(12);
  upper_.push_back(static_cast<uint8_t>((20 + options.size()) / 4 << 4));
  upper_.push_back(flags);
  Append16(&upper_, 0x7210);  // window
  upper_.resize(20);
  upper_.insert(upper_.end(), options.begin(), options.end());
  return *this;
}
PacketBuilder& PacketBuilder::Sequence(uint32_t sequence,
                                       uint32_t acknowledgement) {
  StoreBe32(&upper_[4], sequence);
  StoreBe32(&upper_[8], acknowledgement);
  return *this;
}
PacketBuilder& PacketBuilder::Udp(uint16_t sport, uint16_t dport,
                                  uint8_t protocol) {
  protocol_ = protocol;
  upper_.clear();
  Append16(&upper_, sport);
  Append16(&upper_, dport);
  upper_.resize(8);
  return *this;
}
PacketBuilder& PacketBuilder::Icmp(uint8_t type, uint8_t code) {
  protocol_ = family_ == Family::kIpv4 ? uint8_t{IPPROTO_ICMP}
                                       : uint8_t{IPPROTO_ICMPV6};
  upper_ = {type, code, 0, 0, 0x12, 0x34, 0, 1};
  return *this;
}
PacketBuilder& PacketBuilder::Protocol(uint8_t protocol,
                                       std::vector<uint8_t> bytes) {
  protocol_ = protocol;
  upper_ = std::move(bytes);
  return *this;
}
PacketBuilder& PacketBuilder::Data(std::vector<uint8_t> data) {
  upper_.insert(upper_.end(), data.begin(), data.end());
  return *this;
}
PacketBuilder& PacketBuilder::Data(std::string_view data) {
  upper_.insert(upper_.end(), data.begin(), data.end());
  return *this;
}

PacketBuilder& PacketBuilder::In(std::string_view device) {
  packet_.in = device;
  return *this;
}
PacketBuilder& PacketBuilder::Out(std::string_view device) {
  packet_.out = device;
  return *this;
}
PacketBuilder& PacketBuilder::Mark(uint32_t mark) {
  packet_.mark = mark;
  return *this;
}
PacketBuilder& PacketBuilder::Owner(uint32_t uid, uint32_t gid) {
  packet_.uid = uid;
  packet_.gid = gid;
  return *this;
}
PacketBuilder& PacketBuilder::Mac(std::array<uint8_t, 6> src,
                                  std::array<uint8_t, 6> dst) {
  packet_.mac_src = src;
  packet_.mac_dst = dst;
  return *this;
}
PacketBuilder& PacketBuilder::At(uint64_t time_ms) {
  packet_.time_ms = time_ms;
  return *this;
}
PacketBuilder& PacketBuilder::Cut(size_t upper_bytes) {
  cut_ = upper_bytes;
  return *this;
}

Packet PacketBuilder::Build() const {
  std::vector<uint8_t> upper = upper_;
  if (protocol_ == IPPROTO_UDP || protocol_ == IPPROTO_UDPLITE) {
    StoreBe16(&upper[4], static_cast<uint16_t>(upper.size()));
  }

  std::vector<uint8_t> bytes;
  size_t upper_at;
  if (family_ == Family::kIpv4) {
    bytes.resize(20);
    bytes[0] = 0x45;
    bytes[1] = tos_;
    StoreBe16(&bytes[4], 0x1234);
    StoreBe16(&bytes[6], static_cast<uint16_t>(fragment_offset_ |
                                               (more_fragments_ ? 0x2000 : 0) |
                                               (dont_fragment_ ? 0x4000 : 0)));
    bytes[8] = ttl_;
    bytes[9] = protocol_;
    std::copy_n(src_.begin(), 4, &bytes[12]);
    std::copy_n(dst_.begin(), 4, &bytes[16]);
    upper_at = bytes.size();
  } else {
    bytes.resize(40);
    bytes[0] = static_cast<uint8_t>(0x60 | tos_ >> 4);
    bytes[1] = static_cast<uint8_t>(tos_ << 4);
    bytes[7] = ttl_;
    std::copy_n(src_.begin(), 16, &bytes[8]);
    std::copy_n(dst_.begin(), 16, &bytes[24]);
    size_t next_at = 6;  // where the kind of the following header goes
    for (const ExtensionHeader& extension : extensions_) {
      bytes[next_at] = extension.kind;
      next_at = bytes.size();
      std::vector<uint8_t> body = extension.body;
      while ((body.size() + 2) % 8 != 0) body.push_back(0);
      const size_t size = body.size() + 2;
      bytes.push_back(0);
      bytes.push_back(static_cast<uint8_t>(
          extension.kind == kAuthenticationHeader ? size / 4 - 2
                                                  : size / 8 - 1));
      bytes.insert(bytes.end(), body.begin(), body.end());
    }
    if (fragment_) {
      bytes[next_at] = kFragmentHeader;
      next_at = bytes.size();
      bytes.resize(bytes.size() + 8);
      StoreBe16(&bytes[next_at + 2],
                static_cast<uint16_t>(fragment_offset_ << 3 |
                                      (more_fragments_ ? 1 : 0)));
      StoreBe32(&bytes[next_at + 4], 0x12345678);
    }
    bytes[next_at] = protocol_;
    upper_at = bytes.size();
  }
  bytes.insert(bytes.end(), upper.begin(), upper.end());
  FixTransportChecksum(family_, bytes, upper_at, protocol_);
  if (cut_ < upper.size()) bytes.resize(upper_at + cut_);
  if (family_ == Family::kIpv4) {
    StoreBe16(&bytes[2], static_cast<uint16_t>(bytes.size()));
    FixIpv4Checksum(bytes);
  } else {
    StoreBe16(&bytes[4], static_cast<uint16_t>(bytes.size() - 40));
  }

  Packet packet = packet_;
  packet.bytes = std::move(bytes);
  return packet;
}

}  // namespace nfarena::xt::testing
