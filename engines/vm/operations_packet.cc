// payload, exthdr, meta, rt, fib, ct, notrack: reading and writing the packet
// and what is known about it.
#include <arpa/inet.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>
#include <span>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/tracker.h"
#include "engines/vm/operations.h"

namespace nfarena::vm {
namespace {

constexpr uint32_t kBaseInner = 3;  // NFT_PAYLOAD_INNER_HEADER
constexpr size_t kTcpHeaderSize = 20;
constexpr size_t kUdpHeaderSize = 8;
constexpr size_t kTcpChecksum = 16;
constexpr size_t kUdpChecksum = 6;
constexpr size_t kIcmp6Checksum = 2;
constexpr uint8_t kProtocolUdplite = 136;
constexpr uint8_t kTcpOptionNop = 1;
constexpr uint8_t kTcpOptionMss = 2;

// __tcp_hdrlen().
size_t TcpHeaderLength(const uint8_t* tcp) { return (tcp[12] >> 4) * 4u; }

// nft_payload_inner_offset() for the protocols of IP; -1: none.
int64_t InnerOffset(const PacketView& view) {
  if (!view.has_transport || view.fragment_offset != 0) return -1;
  switch (view.protocol) {
    case IPPROTO_UDP:
      return static_cast<int64_t>(view.transport + kUdpHeaderSize);
    case IPPROTO_TCP:
      if (view.transport + kTcpHeaderSize > view.size) return -1;
      return static_cast<int64_t>(view.transport +
                                  TcpHeaderLength(view.data + view.transport));
    case IPPROTO_GRE: {
      constexpr size_t kGreHeader = 4;
      if (view.transport + kGreHeader > view.size) return -1;
      const uint8_t* gre = view.data + view.transport;
      constexpr uint8_t kChecksum = 0x80;
      constexpr uint8_t kRouting = 0x40;
      constexpr uint8_t kKey = 0x20;
      constexpr uint8_t kSequence = 0x10;
      if ((gre[1] & 7) != 0 || (gre[0] & kRouting) != 0) return -1;
      size_t size = kGreHeader;
      for (const uint8_t field : {kChecksum, kKey, kSequence}) {
        if ((gre[0] & field) != 0) size += 4;
      }
      return static_cast<int64_t>(view.transport + size);
    }
    case IPPROTO_IPIP:
      return view.transport;
    default:
      return -1;
  }
}

// Where a base starts; -1: not in this packet.  Link-layer headers are not
// part of the bytes.
int64_t BaseOffset(uint8_t base, const PacketView& view) {
  switch (base) {
    case NFT_PAYLOAD_NETWORK_HEADER:
      return 0;
    case NFT_PAYLOAD_TRANSPORT_HEADER:
      return view.has_transport && view.fragment_offset == 0
                 ? int64_t{view.transport}
                 : -1;
    case kBaseInner:
      return InnerOffset(view);
    default:
      return -1;
  }
}

// The Ethernet header that an arriving packet of a device with link layer had.
bool LinkHeader(const PacketView& view, uint8_t (&header)[ETH_HLEN]) {
  const PacketState& packet = *view.packet;
  const auto layer = LinkLayerOf(packet);
  if (!layer) return false;
  std::memcpy(header, layer->dst.data(), ETH_ALEN);
  std::memcpy(header + ETH_ALEN, layer->src.data(), ETH_ALEN);
  StoreBe16(header + 2 * ETH_ALEN,
            packet.family == Family::kIpv4 ? ETH_P_IP : ETH_P_IPV6);
  return true;
}

void CopyToRegister(const uint8_t* from, size_t length, uint32_t* to) {
  if (length % 4 != 0) to[length / 4] = 0;
  std::memcpy(to, from, length);
}

}  // namespace

// ---- payload ----

int32_t Run(const PayloadCode& code, Frame* frame) {
  const PacketView& view = *frame->view;
  uint32_t* to = frame->registers->at(code.dreg);
  if (code.base == NFT_PAYLOAD_LL_HEADER) {
    uint8_t header[ETH_HLEN];
    const size_t end = size_t{code.offset} + code.length;
    if (!LinkHeader(view, header) || end > view.size + ETH_HLEN) {
      return kVerdictBreak;
    }
    if (code.length % 4 != 0) to[code.length / 4] = 0;
    auto* bytes = reinterpret_cast<uint8_t*>(to);
    for (size_t i = 0; i < code.length; ++i) {
      const size_t at = code.offset + i;
      bytes[i] = at < ETH_HLEN ? header[at] : view.data[at - ETH_HLEN];
    }
    return kVerdictContinue;
  }
  // The fast forms have looked already and come here to break.
  const int64_t base = BaseOffset(code.base, view);
  if (base < 0) return kVerdictBreak;
  const size_t at = static_cast<size_t>(base) + code.offset;
  if (at + code.length > view.size) return kVerdictBreak;
  CopyToRegister(view.data + at, code.length, to);
  return kVerdictContinue;
}

namespace {

uint32_t AddSums(uint32_t a, uint32_t b) {
  const uint32_t sum = a + b;
  return sum + (sum < b ? 1 : 0);
}

// nft_csum_replace(): the sum after bytes that summed to `from` sum to `to`.
void ReplaceChecksum(uint8_t* at, uint32_t from, uint32_t to) {
  const uint32_t old = ~static_cast<uint32_t>(LoadRaw16(at));
  uint16_t sum = ChecksumFold(AddSums(AddSums(old, ~from), to));
  if (sum == 0) sum = 0xffff;  // CSUM_MANGLED_0
  StoreRaw16(at, sum);
}

// nft_payload_l4csum_offset(); false: nothing to update.
bool TransportChecksum(const PacketView& view, size_t* at) {
  if (view.fragment_offset != 0) return false;
  switch (view.protocol) {
    case IPPROTO_TCP:
      *at = view.transport + kTcpChecksum;
      return true;
    case IPPROTO_UDP:
      if (view.transport + kUdpHeaderSize > view.size ||
          LoadRaw16(view.data + view.transport + kUdpChecksum) == 0) {
        return false;
      }
      [[fallthrough]];
    case kProtocolUdplite:
      *at = view.transport + kUdpChecksum;
      return true;
    case IPPROTO_ICMPV6:
      *at = view.transport + kIcmp6Checksum;
      return true;
    default:
      return false;
  }
}

// CRC-32C, bit by bit: SCTP packets are few.
uint32_t Crc32c(std::span<const uint8_t> bytes, uint32_t crc) {
  constexpr uint32_t kPolynomial = 0x82f63b78;
  for (const uint8_t byte : bytes) {
    crc ^= byte;
    for (int bit = 0; bit < 8; ++bit) {
      crc = crc >> 1 ^ ((crc & 1) != 0 ? kPolynomial : 0);
    }
  }
  return crc;
}

void FixSctpChecksum(PacketState* packet, size_t sctp) {
  constexpr size_t kChecksumAt = 8;
  constexpr size_t kHeader = 12;
  if (sctp + kHeader > packet->bytes.size()) return;
  uint8_t* at = packet->bytes.data() + sctp + kChecksumAt;
  std::memset(at, 0, 4);
  const uint32_t crc =
      ~Crc32c(std::span(packet->bytes).subspan(sctp), 0xffffffff);
  std::memcpy(at, &crc, sizeof(crc));
}

}  // namespace

int32_t Run(const PayloadStoreCode& code, Frame* frame) {
  PacketView& view = *frame->view;
  PacketState* packet = view.packet;
  const int64_t base = BaseOffset(code.base, view);
  if (base < 0) return kVerdictBreak;
  const size_t checksum_at = static_cast<size_t>(base) + code.csum_offset;
  const size_t at = static_cast<size_t>(base) + code.offset;
  if (at + code.length > view.size) return kVerdictBreak;
  const auto* value =
      reinterpret_cast<const uint8_t*>(frame->registers->at(code.sreg));
  uint8_t* bytes = packet->bytes.data();
  if (code.csum_type == NFT_PAYLOAD_CSUM_INET || code.csum_flags != 0) {
    const uint32_t from = ChecksumPartial({bytes + at, code.length});
    const uint32_t to = ChecksumPartial({value, code.length});
    if (code.csum_type == NFT_PAYLOAD_CSUM_INET) {
      if (checksum_at + 2 > view.size) return kVerdictBreak;
      ReplaceChecksum(bytes + checksum_at, from, to);
    }
    size_t transport_at = 0;
    if (code.csum_flags != 0 && TransportChecksum(view, &transport_at)) {
      if (transport_at + 2 > view.size) return kVerdictBreak;
      ReplaceChecksum(bytes + transport_at, from, to);
    }
  }
  std::memcpy(bytes + at, value, code.length);
  if (code.csum_type == NFT_PAYLOAD_CSUM_SCTP &&
      view.protocol == IPPROTO_SCTP && view.fragment_offset == 0) {
    FixSctpChecksum(packet, view.transport);
  }
  ParseHeaders(packet);
  return kVerdictContinue;
}

// ---- exthdr ----

namespace {

// nft_tcp_header_pointer(): the whole header with its options, or nothing.
std::span<uint8_t> TcpHeader(const PacketView& view) {
  if (view.protocol != IPPROTO_TCP || view.fragment_offset != 0 ||
      view.transport + kTcpHeaderSize > view.size) {
    return {};
  }
  uint8_t* tcp = view.packet->bytes.data() + view.transport;
  const size_t length = TcpHeaderLength(tcp);
  if (length < kTcpHeaderSize || view.transport + length > view.size) {
    return {};
  }
  return {tcp, length};
}

// Where the option of that type is; 0: nowhere.  A kind that is not there is
// told from one that runs over the header's end by *broken.
size_t FindTcpOption(std::span<const uint8_t> tcp, uint8_t type,
                     size_t* length) {
  for (size_t at = kTcpHeaderSize; at + 1 < tcp.size(); at += *length) {
    *length = tcp[at] <= kTcpOptionNop || tcp[at + 1] == 0 ? 1 : tcp[at + 1];
    if (tcp[at] == type) return at;
  }
  return 0;
}

int32_t LoadTcpOption(const ExthdrCode& code, Frame* frame) {
  const std::span<uint8_t> tcp = TcpHeader(*frame->view);
  const bool present = (code.flags & NFT_EXTHDR_F_PRESENT) != 0;
  size_t length = 0;
  const size_t at = tcp.empty() ? 0 : FindTcpOption(tcp, code.type, &length);
  if (at != 0 && at + length <= tcp.size() &&
      size_t{code.length} + code.offset <= length) {
    if (present) {
      frame->registers->Store8(code.reg, 1);
    } else {
      CopyToRegister(tcp.data() + at + code.offset, code.length,
                     frame->registers->at(code.reg));
    }
    return kVerdictContinue;
  }
  if (!present) return kVerdictBreak;
  *frame->registers->at(code.reg) = 0;
  return kVerdictContinue;
}

// inet_proto_csum_replace2() and 4 fold as the 32-bit form does.
void ReplaceInTcp(std::span<uint8_t> tcp, uint32_t from, uint32_t to) {
  StoreRaw16(tcp.data() + kTcpChecksum,
             ChecksumReplace4(LoadRaw16(tcp.data() + kTcpChecksum), from, to));
}

int32_t StoreTcpOption(const ExthdrCode& code, Frame* frame) {
  const std::span<uint8_t> tcp = TcpHeader(*frame->view);
  if (tcp.empty()) return kVerdictBreak;
  size_t length = 0;
  const size_t at = FindTcpOption(tcp, code.type, &length);
  if (at == 0) return kVerdictContinue;
  if (at + length > tcp.size() || size_t{code.length} + code.offset > length) {
    return kVerdictBreak;
  }
  uint8_t* field = tcp.data() + at + code.offset;
  if (code.length == 2) {
    const uint16_t old_value = LoadRaw16(field);
    const uint16_t new_value = frame->registers->Load16(code.reg);
    // A larger segment size could make the connection stall.
    if (code.type == kTcpOptionMss && ntohs(old_value) <= ntohs(new_value)) {
      return kVerdictContinue;
    }
    if (old_value == new_value) return kVerdictContinue;
    StoreRaw16(field, new_value);
    ReplaceInTcp(tcp, old_value, new_value);
    return kVerdictContinue;
  }
  const uint32_t old_value = LoadRaw32(field);
  const uint32_t new_value = *frame->registers->at(code.reg);
  if (old_value == new_value) return kVerdictContinue;
  std::memcpy(field, &new_value, sizeof(new_value));
  ReplaceInTcp(tcp, old_value, new_value);
  return kVerdictContinue;
}

int32_t StripTcpOption(const ExthdrCode& code, Frame* frame) {
  const std::span<uint8_t> tcp = TcpHeader(*frame->view);
  if (tcp.empty()) return kVerdictBreak;
  size_t length = 0;
  const size_t at = FindTcpOption(tcp, code.type, &length);
  if (at == 0) return kVerdictContinue;
  if (at + length > tcp.size()) return kVerdictDrop;
  for (size_t i = at; i < at + length; ++i) {
    uint16_t from = tcp[i];
    uint16_t to = kTcpOptionNop;
    if (i % 2 == 0) {
      from = static_cast<uint16_t>(from << 8);
      to = static_cast<uint16_t>(to << 8);
    }
    ReplaceInTcp(tcp, htons(from), htons(to));
  }
  std::memset(tcp.data() + at, kTcpOptionNop, length);
  return kVerdictContinue;
}

// ipv6_find_hdr() for one kind of extension header; -1: not there.
int64_t FindIpv6Header(const PacketView& view, uint8_t wanted) {
  constexpr size_t kIpv6HeaderSize = 40;
  if (view.size < kIpv6HeaderSize) return -1;
  uint8_t next = view.data[6];
  size_t at = kIpv6HeaderSize;
  for (;;) {
    const bool extension = next == IPPROTO_HOPOPTS || next == IPPROTO_ROUTING ||
                           next == IPPROTO_FRAGMENT || next == IPPROTO_AH ||
                           next == IPPROTO_DSTOPTS || next == IPPROTO_NONE ||
                           next == 135;
    if (next == wanted) return static_cast<int64_t>(at);
    if (!extension || next == IPPROTO_NONE || at + 2 > view.size) return -1;
    size_t length = (view.data[at + 1] + 1u) * 8;
    if (next == IPPROTO_FRAGMENT) {
      if (at + 8 > view.size) return -1;
      // Beyond the first fragment nothing but the header itself is there.
      if ((LoadBe16(view.data + at + 2) & ~7u) != 0) return -1;
      length = 8;
    } else if (next == IPPROTO_AH) {
      length = (view.data[at + 1] + 2u) * 4;
    }
    next = view.data[at];
    at += length;
  }
}

// ipv4_find_option(); -1: not there or malformed.
int64_t FindIpv4Option(const PacketView& view, uint8_t wanted) {
  constexpr size_t kHeader = 20;
  if (view.size < kHeader) return -1;
  const size_t end = std::min<size_t>(view.size, (view.data[0] & 0x0f) * 4u);
  int64_t found = -1;
  for (size_t at = kHeader; at < end;) {
    const uint8_t type = view.data[at];
    if (type == 0) break;
    if (type == 1) {
      ++at;
      continue;
    }
    if (at + 1 >= end) return -1;
    const size_t length = view.data[at + 1];
    if (length < 2 || at + length > end) return -1;
    if (type == wanted && found < 0) found = static_cast<int64_t>(at);
    at += length;
  }
  return found;
}

}  // namespace

int32_t Run(const ExthdrCode& code, Frame* frame) {
  if (code.head.opcode == Opcode::kExthdrTcpStore) {
    return StoreTcpOption(code, frame);
  }
  if (code.head.opcode == Opcode::kExthdrTcpStrip) {
    return StripTcpOption(code, frame);
  }
  if (code.op == NFT_EXTHDR_OP_TCPOPT) return LoadTcpOption(code, frame);
  const PacketView& view = *frame->view;
  const bool ipv6 = code.op == NFT_EXTHDR_OP_IPV6;
  if (ipv6 != (view.packet->family == Family::kIpv6)) return kVerdictBreak;
  const int64_t header =
      ipv6 ? FindIpv6Header(view, code.type) : FindIpv4Option(view, code.type);
  if ((code.flags & NFT_EXTHDR_F_PRESENT) != 0) {
    frame->registers->Store8(code.reg, header >= 0);
    return kVerdictContinue;
  }
  if (header < 0) return kVerdictBreak;
  const size_t at = static_cast<size_t>(header) + code.offset;
  if (at + code.length > view.size) return kVerdictBreak;
  CopyToRegister(view.data + at, code.length, frame->registers->at(code.reg));
  return kVerdictContinue;
}

// ---- meta ----

namespace {

struct DeviceInfo {
  uint32_t index = 0;  // 0: no device
  uint16_t type = ARPHRD_NONE;
  bool loopback = false;
};

DeviceInfo DeviceOf(const PacketState& packet,
                    const std::array<char, 16>& name_field) {
  const std::string_view name = DeviceName(name_field);
  if (name.empty()) return {};
  if (name == "lo") return {1, ARPHRD_LOOPBACK, true};
  if (packet.topology != nullptr) {
    uint32_t index = 2;
    for (const Device& device : packet.topology->devices) {
      if (device.name == name) {
        const auto type = static_cast<uint16_t>(
            device.link_layer ? ARPHRD_ETHER : ARPHRD_NONE);
        return {index, type, false};
      }
      ++index;
    }
  }
  return {UINT32_MAX, ARPHRD_NONE, false};
}

uint8_t PacketType(const PacketState& packet) {
  if (packet.local_out || packet.origin == nullptr ||
      !packet.origin->mac_dst.has_value()) {
    return PACKET_HOST;
  }
  const auto& mac = *packet.origin->mac_dst;
  if (std::all_of(mac.begin(), mac.end(),
                  [](uint8_t byte) { return byte == 0xff; })) {
    return PACKET_BROADCAST;
  }
  return (mac[0] & 1) != 0 ? PACKET_MULTICAST : PACKET_HOST;
}

// The owner of a packet that a process of this host sends; false: no socket
// with a file (forwarded packets, the stack's own answers).
bool OwnerOf(const PacketState& packet, uint32_t* uid, uint32_t* gid) {
  if (!packet.local_out || packet.answer) return false;
  // A packet that does not name its owner was sent by root.
  *uid = packet.origin != nullptr ? packet.origin->uid.value_or(0) : 0;
  *gid = packet.origin != nullptr ? packet.origin->gid.value_or(0) : 0;
  return true;
}

int32_t LoadTime(const MetaCode& code, Frame* frame) {
  PacketState* packet = frame->view->packet;
  packet->MarkIndeterminate("meta time");
  constexpr uint64_t kSecondsPerDay = 86'400;
  const uint64_t seconds = packet->now_ms / 1000;
  switch (code.key) {
    case NFT_META_TIME_NS:
      frame->registers->Store64(code.reg, packet->now_ms * 1'000'000);
      break;
    case NFT_META_TIME_DAY:
      // The epoch was a Thursday.
      frame->registers->Store8(
          code.reg, static_cast<uint8_t>((4 + seconds / kSecondsPerDay) % 7));
      break;
    default:
      *frame->registers->at(code.reg) =
          static_cast<uint32_t>(seconds % kSecondsPerDay);
      break;
  }
  return kVerdictContinue;
}

// Keys of the devices.
int32_t LoadDevice(const MetaCode& code, Frame* frame) {
  const PacketState& packet = *frame->view->packet;
  Registers& registers = *frame->registers;
  const bool input = code.key == NFT_META_IIF || code.key == NFT_META_IIFTYPE ||
                     code.key == NFT_META_IIFGROUP ||
                     code.key == NFT_META_IIFKIND;
  const DeviceInfo device = DeviceOf(packet, input ? packet.in : packet.out);
  switch (code.key) {
    case NFT_META_IIF:
    case NFT_META_OIF:
      *registers.at(code.reg) = device.index;
      return kVerdictContinue;
    case NFT_META_IIFTYPE:
    case NFT_META_OIFTYPE:
      if (device.index == 0) return kVerdictBreak;
      registers.Store16(code.reg, device.type);
      return kVerdictContinue;
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
      if (device.index == 0) return kVerdictBreak;
      *registers.at(code.reg) = 0;
      return kVerdictContinue;
    default: {  // IIFKIND, OIFKIND
      if (device.index == 0 || device.loopback) return kVerdictBreak;
      char kind[16] = "tun";
      std::memcpy(registers.at(code.reg), kind, sizeof(kind));
      return kVerdictContinue;
    }
  }
}

int32_t LoadMeta(const MetaCode& code, Frame* frame) {
  PacketView& view = *frame->view;
  PacketState& packet = *view.packet;
  Registers& registers = *frame->registers;
  uint32_t* to = registers.at(code.reg);
  const bool ipv4 = packet.family == Family::kIpv4;
  switch (code.key) {
    case NFT_META_LEN:
      *to = static_cast<uint32_t>(view.size);
      return kVerdictContinue;
    case NFT_META_PROTOCOL:
      registers.Store16(code.reg, htons(ipv4 ? ETH_P_IP : ETH_P_IPV6));
      return kVerdictContinue;
    case NFT_META_NFPROTO:
      registers.Store8(code.reg, ipv4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
      return kVerdictContinue;
    case NFT_META_L4PROTO:
      if (!view.has_transport) return kVerdictBreak;
      registers.Store8(code.reg, view.protocol);
      return kVerdictContinue;
    case NFT_META_PRIORITY:
      *to = packet.priority;
      return kVerdictContinue;
    case NFT_META_MARK:
      *to = packet.mark;
      return kVerdictContinue;
    case NFT_META_IIFNAME:
      std::memcpy(to, packet.in.data(), packet.in.size());
      return kVerdictContinue;
    case NFT_META_OIFNAME:
      std::memcpy(to, packet.out.data(), packet.out.size());
      return kVerdictContinue;
    case NFT_META_IIF:
    case NFT_META_OIF:
    case NFT_META_IIFTYPE:
    case NFT_META_OIFTYPE:
    case NFT_META_IIFGROUP:
    case NFT_META_OIFGROUP:
    case NFT_META_IIFKIND:
    case NFT_META_OIFKIND:
      return LoadDevice(code, frame);
    case NFT_META_SKUID:
    case NFT_META_SKGID: {
      uint32_t uid = 0;
      uint32_t gid = 0;
      if (!OwnerOf(packet, &uid, &gid)) return kVerdictBreak;
      *to = code.key == NFT_META_SKUID ? uid : gid;
      return kVerdictContinue;
    }
    case NFT_META_CGROUP:
      if (!packet.local_out) return kVerdictBreak;
      *to = 0;
      return kVerdictContinue;
    case NFT_META_RTCLASSID:
      if (packet.route == RouteKind::kNone) return kVerdictBreak;
      *to = 0;
      return kVerdictContinue;
    case NFT_META_PKTTYPE:
      registers.Store8(code.reg, PacketType(packet));
      return kVerdictContinue;
    case NFT_META_CPU:
      packet.MarkIndeterminate("meta cpu");
      *to = 0;
      return kVerdictContinue;
    case NFT_META_PRANDOM:
      packet.MarkIndeterminate("meta random");
      *to = frame->control->NextRandom();
      return kVerdictContinue;
    case NFT_META_SECPATH:
      registers.Store8(code.reg, 0);
      return kVerdictContinue;
    case NFT_META_SDIF:
      *to = 0;
      return kVerdictContinue;
    case NFT_META_SDIFNAME:
      std::memset(to, 0, 16);
      return kVerdictContinue;
    case NFT_META_TIME_NS:
    case NFT_META_TIME_DAY:
    case NFT_META_TIME_HOUR:
      return LoadTime(code, frame);
    default:
      return kVerdictBreak;
  }
}

}  // namespace

int32_t Run(const MetaCode& code, Frame* frame) {
  if (code.head.opcode == Opcode::kMetaLoad) return LoadMeta(code, frame);
  PacketState* packet = frame->view->packet;
  switch (code.key) {
    case NFT_META_MARK:
      packet->mark = *frame->registers->at(code.reg);
      break;
    case NFT_META_PRIORITY:
      packet->priority = *frame->registers->at(code.reg);
      break;
    case NFT_META_NFTRACE:
      packet->traced = frame->registers->Load8(code.reg) != 0;
      break;
  }
  return kVerdictContinue;
}

// ---- rt ----

int32_t Run(const RtCode& code, Frame* frame) {
  const PacketState& packet = *frame->view->packet;
  if (packet.route == RouteKind::kNone) return kVerdictBreak;
  Registers& registers = *frame->registers;
  const bool ipv4 = packet.family == Family::kIpv4;
  switch (code.key) {
    case NFT_RT_NEXTHOP4:
    case NFT_RT_NEXTHOP6: {
      // Routes of the arena have no gateway: the next hop is the destination.
      if ((code.key == NFT_RT_NEXTHOP4) != ipv4) return kVerdictBreak;
      const Address destination = DestinationOf(packet);
      std::memcpy(registers.at(code.dreg), destination.data(), ipv4 ? 4 : 16);
      return kVerdictContinue;
    }
    case NFT_RT_TCPMSS: {
      constexpr uint16_t kMtu = 1500;
      const size_t headers = (ipv4 ? 20 : 40) + kTcpHeaderSize;
      registers.Store16(code.dreg, static_cast<uint16_t>(kMtu - headers));
      return kVerdictContinue;
    }
    case NFT_RT_XFRM:
      registers.Store8(code.dreg, 0);
      return kVerdictContinue;
    default:  // NFT_RT_CLASSID
      *registers.at(code.dreg) = 0;
      return kVerdictContinue;
  }
}

// ---- fib ----

namespace {

AddressType FibType(const PacketState& packet, const Address& address,
                    std::string_view device) {
  if (packet.family == Family::kIpv4) {
    return packet.topology->TypeOf(address, device);
  }
  const AddressType type = packet.topology->TypeOf(address, device);
  if (type != AddressType::kUnicast) return type;
  if (address[0] == 0xff) return AddressType::kMulticast;
  return address == Address{} ? AddressType::kUnspecified
                              : AddressType::kUnicast;
}

void StoreFibResult(const FibCode& code, const PacketState& packet,
                    std::string_view device, Registers* registers) {
  std::array<char, 16> name{};
  SetDeviceName(device, &name);
  if (code.result == NFT_FIB_RESULT_OIFNAME) {
    std::memcpy(registers->at(code.dreg), name.data(), name.size());
    return;
  }
  const uint32_t index = DeviceOf(packet, name).index;
  if ((code.flags & NFTA_FIB_F_PRESENT) != 0) {
    registers->Store8(code.dreg, index != 0);
  } else {
    *registers->at(code.dreg) = index;
  }
}

}  // namespace

int32_t Run(const FibCode& code, Frame* frame) {
  PacketState& packet = *frame->view->packet;
  const size_t header = packet.family == Family::kIpv4 ? 20 : 40;
  if (frame->view->size < header || packet.topology == nullptr) {
    return kVerdictBreak;
  }
  const bool by_destination = (code.flags & NFTA_FIB_F_DADDR) != 0;
  const Address asked =
      by_destination ? DestinationOf(packet) : SourceOf(packet);
  std::string_view device;
  if ((code.flags & NFTA_FIB_F_IIF) != 0) device = DeviceName(packet.in);
  if ((code.flags & NFTA_FIB_F_OIF) != 0) device = DeviceName(packet.out);
  if (code.result == NFT_FIB_RESULT_ADDRTYPE) {
    *frame->registers->at(code.dreg) =
        static_cast<uint32_t>(FibType(packet, asked, device));
    return kVerdictContinue;
  }
  // nft_fib_is_loopback(): what comes by lo is not asked about.
  if (packet.hook != Hook::kForward && DeviceName(packet.in) == "lo") {
    StoreFibResult(code, packet, "lo", frame->registers);
    return kVerdictContinue;
  }
  const RouteDecision route = packet.topology->FindRoute("", Address{}, asked);
  std::string_view found;
  if (route.ok && !route.local) {
    found =
        device.empty() || device == route.out ? route.out : std::string_view();
  }
  StoreFibResult(code, packet, found, frame->registers);
  return kVerdictContinue;
}

// ---- ct ----

namespace {

constexpr uint32_t kStateInvalid = 1u << 0;
constexpr uint32_t kStateUntracked = 1u << 6;

uint32_t StateBit(const PacketState& packet) {
  if (packet.connection != nullptr) {
    // NF_CT_STATE_BIT(): the reply states fold onto the original ones.
    return 1u << (static_cast<unsigned>(packet.ct_info) % 3 + 1);
  }
  // A template left before tracking looks like a new connection.
  if (packet.ct_template.set) {
    return 1u << (static_cast<unsigned>(CtInfo::kNew) % 3 + 1);
  }
  return packet.ct_info == CtInfo::kUntracked ? kStateUntracked : kStateInvalid;
}

uint64_t CountOf(const Connection& connection, uint8_t key, uint8_t direction) {
  const auto one = [&](unsigned d) {
    return key == NFT_CT_BYTES ? connection.direction[d].bytes
                               : connection.direction[d].packets;
  };
  return direction < 2 ? one(direction) : one(0) + one(1);
}

int32_t LoadTuple(const CtCode& code, const Connection& connection,
                  Registers* registers) {
  const Tuple& tuple =
      code.direction == 0 ? connection.original : connection.reply;
  const bool ipv4 = tuple.family == Family::kIpv4;
  uint32_t* to = registers->at(code.reg);
  switch (code.key) {
    case NFT_CT_SRC_IP:
    case NFT_CT_DST_IP:
      if (!ipv4) return kVerdictBreak;
      break;
    case NFT_CT_SRC_IP6:
    case NFT_CT_DST_IP6:
      if (ipv4) return kVerdictBreak;
      break;
  }
  switch (code.key) {
    case NFT_CT_SRC:
    case NFT_CT_SRC_IP:
    case NFT_CT_SRC_IP6:
      std::memcpy(to, tuple.src.data(), code.length);
      return kVerdictContinue;
    case NFT_CT_DST:
    case NFT_CT_DST_IP:
    case NFT_CT_DST_IP6:
      std::memcpy(to, tuple.dst.data(), code.length);
      return kVerdictContinue;
    case NFT_CT_PROTO_SRC:
      registers->Store16(code.reg, htons(tuple.src_port));
      return kVerdictContinue;
    case NFT_CT_PROTO_DST:
      registers->Store16(code.reg, htons(tuple.dst_port));
      return kVerdictContinue;
    default:
      return kVerdictBreak;
  }
}

int32_t LoadCt(const CtCode& code, Frame* frame) {
  PacketState& packet = *frame->view->packet;
  Registers& registers = *frame->registers;
  uint32_t* to = registers.at(code.reg);
  if (code.key == NFT_CT_STATE) {
    *to = StateBit(packet);
    return kVerdictContinue;
  }
  if (packet.connection == nullptr) return kVerdictBreak;
  const Connection& connection = *packet.connection;
  switch (code.key) {
    case NFT_CT_DIRECTION:
      registers.Store8(code.reg,
                       static_cast<uint8_t>(DirectionOf(packet.ct_info)));
      return kVerdictContinue;
    case NFT_CT_STATUS:
      *to = connection.status;
      return kVerdictContinue;
    case NFT_CT_MARK:
      *to = connection.mark;
      return kVerdictContinue;
    case NFT_CT_EXPIRATION: {
      packet.MarkIndeterminate("ct expiration");
      uint64_t left = connection.expires_ms;
      if ((connection.status & kStatusConfirmed) != 0) {
        left = left > packet.now_ms ? left - packet.now_ms : 0;
      }
      *to = static_cast<uint32_t>(left);
      return kVerdictContinue;
    }
    case NFT_CT_HELPER:
      // No connection has a helper here.
      return kVerdictBreak;
    case NFT_CT_LABELS:
      std::memset(to, 0, 16);
      return kVerdictContinue;
    case NFT_CT_BYTES:
    case NFT_CT_PKTS:
      registers.Store64(code.reg,
                        CountOf(connection, code.key, code.direction));
      return kVerdictContinue;
    case NFT_CT_AVGPKT: {
      const uint64_t packets = CountOf(connection, NFT_CT_PKTS, code.direction);
      const uint64_t bytes = CountOf(connection, NFT_CT_BYTES, code.direction);
      registers.Store64(code.reg, packets == 0 ? 0 : bytes / packets);
      return kVerdictContinue;
    }
    case NFT_CT_L3PROTOCOL:
      registers.Store8(code.reg, connection.original.family == Family::kIpv4
                                     ? NFPROTO_IPV4
                                     : NFPROTO_IPV6);
      return kVerdictContinue;
    case NFT_CT_PROTOCOL:
      registers.Store8(code.reg, connection.original.protocol);
      return kVerdictContinue;
    case NFT_CT_ZONE: {
      const bool in_zone =
          code.direction > 1 ||
          (connection.zone_directions >> code.direction & 1) != 0;
      registers.Store16(code.reg, in_zone ? connection.zone : 0);
      return kVerdictContinue;
    }
    case NFT_CT_ID:
      packet.MarkIndeterminate("ct id");
      *to = 0;
      return kVerdictContinue;
    default:
      return LoadTuple(code, connection, &registers);
  }
}

}  // namespace

int32_t Run(const CtCode& code, Frame* frame) {
  if (code.head.opcode == Opcode::kCtLoad) return LoadCt(code, frame);
  PacketState* packet = frame->view->packet;
  if (code.key == NFT_CT_ZONE) {
    if (packet->connection != nullptr || packet->ct_template.set) {
      return kVerdictContinue;
    }
    packet->ct_template.set = true;
    packet->ct_template.zone = frame->registers->Load16(code.reg);
    packet->ct_template.zone_directions =
        code.direction < 2 ? static_cast<uint8_t>(1u << code.direction) : 3;
    return kVerdictContinue;
  }
  if (packet->connection != nullptr && code.key == NFT_CT_MARK) {
    packet->connection->mark = *frame->registers->at(code.reg);
  }
  // NFT_CT_EVENTMASK changes what is told to listeners, nothing a packet sees.
  return kVerdictContinue;
}

int32_t Run(const NotrackCode&, Frame* frame) {
  PacketState* packet = frame->view->packet;
  if (packet->connection == nullptr && !packet->ct_template.set) {
    packet->ct_info = CtInfo::kUntracked;
  }
  return kVerdictContinue;
}

}  // namespace nfarena::vm
