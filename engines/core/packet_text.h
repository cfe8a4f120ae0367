// Packets in the words of an iptables LOG line, one a line:
//
//   IN=eth0 OUT= MAC=.. SRC=192.0.2.1 DST=198.51.100.7 LEN=60 TOS=0x00
//   PREC=0x00 TTL=64 ID=1 DF PROTO=TCP SPT=1024 DPT=22 WINDOW=.. SYN URGP=0
//
// so that a line out of a real log is a packet.  Fields that are missing get
// documented defaults; unknown words are refused with line and column.
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
[[nodiscard]] Result<std::vector<Packet>> ParsePackets(std::string_view text,
                                                       std::string_view file);
/// The line of a packet; ParsePackets of it gives the packet back.
std::string PacketLine(const Packet& packet);

/// Reads a pcap or pcapng file (raw IP, Ethernet, Linux cooked); a packet's
/// `in` is `device`.
[[nodiscard]] Result<std::vector<Packet>> ReadPcap(const std::string& path,
                                                   std::string_view device);

}  // namespace nfarena
