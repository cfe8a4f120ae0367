// Packets in the words of an iptables LOG line, one a line:
//
//   IN=eth0 OUT= MAC=.. SRC=192.0.2.1 DST=198.51.100.7 LEN=60 TOS=0x00
//   PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=1024 DPT=22 WINDOW=.. SYN URGP=0
//
// so that a line out of a real log is a packet: whatever stands before
// "IN=... OUT=" (a syslog header, a log prefix) is skipped.  All words of the
// kernel's printer are known, for IPv4 and IPv6: PROTO= TCP, UDP, UDPLITE,
// ICMP, ICMPv6, AH, ESP or a number, the quoted packet of an ICMP error in
// [ ], UID=, GID=, MARK=.  A word that is not known, or that this packet cannot
// have, is refused with line and column.
//
// What a line does not say has these defaults: TTL (HOPLIMIT) 64, ID 1, TCP
// SEQ 0, ACK 0, WINDOW 64240, ICMP TYPE 8 (ICMPv6: 128), shortest length that
// holds the headers, payload of zeros.  Checksums are right.
//
// Words of our own:
//   PAYLOAD=hex     what follows the upper-layer header
//   MSS=n           a TCP option (OPT (...) gives any)
//   TIME=ms         virtual time of arrival, as Packet::time_ms
//   BYTES=hex       the whole packet from its IP header; it wins over the words
//                   that describe a header
//   FAMILY=4 or 6   for BYTES whose first half-byte lies
//   MACSRC=, MACDST=  as the kernel prints them with --log-macdecode
//
// IN=lo is read as a packet this host sends to itself (IN= OUT=lo).
// Source: net/netfilter/nf_log_syslog.c (the kernel's printer of these lines).
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "engines/core/packet.h"

namespace nfarena {

/// Parses a whole file: comments (#), blank lines, one packet a line.
/// Errors: kSyntax, kRange (a value or length too large), kUnsupported (bridge
/// ports, IPv6 extension headers in words); place names line and column.
[[nodiscard]] Result<std::vector<Packet>> ParsePackets(std::string_view text,
                                                       std::string_view file);
/// The line of a packet, without a newline; ParsePackets of it gives the
/// packet back (but for `line`).
std::string PacketLine(const Packet& packet);

/// Reads the bytes of a pcap or pcapng file (raw IP, Ethernet, Linux cooked,
/// BSD loopback); a packet's `in` is `device`, its time is relative to the
/// first one, its `line` is its number in the file.  Frames that hold no IP are
/// left out.
/// Errors: kSyntax (no capture, truncated file or frame, with the number of the
/// packet), kRange (a time that no clock shows), kUnsupported (another link
/// type).
[[nodiscard]] Result<std::vector<Packet>> ParsePcap(std::string_view bytes,
                                                    const std::string& file,
                                                    std::string_view device);

}  // namespace nfarena
