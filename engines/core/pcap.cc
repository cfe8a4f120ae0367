#include <fmt/format.h>
#include <pcap/pcap.h>
#include <pcap/sll.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <memory>

#include "engines/core/bytes.h"
#include "engines/core/packet_text.h"

namespace nfarena {
namespace {

constexpr uint16_t kTypeIpv4 = 0x0800, kTypeIpv6 = 0x86dd, kTypeVlan = 0x8100,
                   kTypeQinq = 0x88a8;
/// Beyond it a time stamp is damage: a pcapng file has 64 bits for it.
constexpr int64_t kMaxSeconds = int64_t{1} << 40;

struct PcapCloser {
  void operator()(pcap_t* handle) const { pcap_close(handle); }
};

/// Where the IP packet of a frame is; no type = not IP.
struct Frame {
  uint16_t type = 0;
  size_t offset = 0;
};

/// Follows the link header; kSyntax when it is cut off.
Result<Frame> ReadLinkHeader(int link, std::span<const uint8_t> bytes,
                             Packet* packet) {
  const auto cut = [] {
    return Fail(ErrorCode::kSyntax, "the link header is cut off");
  };
  switch (link) {
    case DLT_RAW:
    case DLT_IPV4:
    case DLT_IPV6: {
      if (bytes.empty()) return cut();
      const int version = bytes[0] >> 4;
      return Frame{version == 4   ? kTypeIpv4
                   : version == 6 ? kTypeIpv6
                                  : uint16_t{0},
                   0};
    }
    case DLT_EN10MB: {
      if (bytes.size() < 14) return cut();
      packet->mac_dst.emplace();
      packet->mac_src.emplace();
      std::copy_n(bytes.begin(), 6, packet->mac_dst->begin());
      std::copy_n(bytes.begin() + 6, 6, packet->mac_src->begin());
      Frame frame{LoadBe16(&bytes[12]), 14};
      while (frame.type == kTypeVlan || frame.type == kTypeQinq) {
        if (bytes.size() < frame.offset + 4) return cut();
        frame.type = LoadBe16(&bytes[frame.offset + 2]);
        frame.offset += 4;
      }
      return frame;
    }
    case DLT_LINUX_SLL:
      if (bytes.size() < 16) return cut();
      return Frame{LoadBe16(&bytes[14]), 16};
    case DLT_LINUX_SLL2:
      if (bytes.size() < 20) return cut();
      return Frame{LoadBe16(&bytes[0]), 20};
    case DLT_NULL:
    case DLT_LOOP: {
      if (bytes.size() < 4) return cut();
      // The family in the byte order of whoever wrote it; AF_INET6 differs
      // between systems, so the packet's own version decides.
      if (bytes.size() < 5) return cut();
      const int version = bytes[4] >> 4;
      return Frame{version == 4   ? kTypeIpv4
                   : version == 6 ? kTypeIpv6
                                  : uint16_t{0},
                   4};
    }
    default:
      return Fail(
          ErrorCode::kUnsupported,
          fmt::format("link type {} of the capture is not known", link));
  }
}

}  // namespace

Result<std::vector<Packet>> ParsePcap(std::string_view bytes,
                                      const std::string& file,
                                      std::string_view device) {
  if (bytes.empty()) {
    return Fail(ErrorCode::kSyntax, "an empty file is no capture",
                {.file = file});
  }
  // Opened for reading only, so nothing writes through the pointer.
  FILE* stream = fmemopen(const_cast<char*>(bytes.data()), bytes.size(), "rb");
  if (stream == nullptr) return FailErrno("fmemopen");
  char message[PCAP_ERRBUF_SIZE] = {};
  std::unique_ptr<pcap_t, PcapCloser> handle(
      pcap_fopen_offline(stream, message));
  if (handle == nullptr) {
    std::fclose(stream);
    return Fail(ErrorCode::kSyntax, message, {.file = file});
  }
  const int link = pcap_datalink(handle.get());
  std::vector<Packet> packets;
  int64_t first_us = 0;
  for (uint32_t number = 1;; ++number) {
    const SourcePlace place{.file = file, .line = number};
    pcap_pkthdr* header = nullptr;
    const u_char* data = nullptr;
    const int status = pcap_next_ex(handle.get(), &header, &data);
    if (status == PCAP_ERROR_BREAK) break;
    if (status != 1) {
      return Fail(
          ErrorCode::kSyntax,
          fmt::format("packet {}: {}", number, pcap_geterr(handle.get())),
          place);
    }
    const std::span<const uint8_t> frame_bytes(data, header->caplen);
    if (header->ts.tv_sec < 0 || header->ts.tv_sec > kMaxSeconds) {
      return Fail(ErrorCode::kRange,
                  fmt::format("packet {}: its time is out of range", number),
                  place);
    }
    const int64_t now_us =
        static_cast<int64_t>(header->ts.tv_sec) * 1000000 + header->ts.tv_usec;
    if (number == 1) first_us = now_us;
    Packet packet;
    packet.in = device;
    packet.line = number;
    packet.time_ms =
        static_cast<uint64_t>(std::max<int64_t>(now_us - first_us, 0) / 1000);
    auto frame = ReadLinkHeader(link, frame_bytes, &packet);
    if (!frame) {
      Error error = frame.error();
      error.message = fmt::format("packet {}: {}", number, error.message);
      error.place = place;
      return tl::unexpected(std::move(error));
    }
    if (frame->type != kTypeIpv4 && frame->type != kTypeIpv6) continue;
    if (header->caplen < header->len) {
      return Fail(ErrorCode::kSyntax,
                  fmt::format("packet {}: only {} of {} bytes were captured",
                              number, header->caplen, header->len),
                  place);
    }
    packet.family = frame->type == kTypeIpv4 ? Family::kIpv4 : Family::kIpv6;
    const auto ip = frame_bytes.subspan(frame->offset);
    packet.bytes.assign(ip.begin(), ip.end());
    packets.push_back(std::move(packet));
  }
  return packets;
}

}  // namespace nfarena
