#include "engines/reference/testing/stand.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "compat/syntax/known_sets.h"
#include "compat/syntax/save_parser.h"
#include "engines/core/bytes.h"
#include "engines/core/checksum.h"
#include "engines/core/ipset_text.h"

namespace nfarena::reference::testing {
namespace {

constexpr uint8_t kFragmentHeader = 44;

bool IsV6(std::string_view address) {
  return address.find(':') != std::string_view::npos;
}

std::vector<uint8_t> UpperLayer(const Fields& fields) {
  std::vector<uint8_t> upper;
  switch (fields.protocol) {
    case IPPROTO_TCP:
      upper.resize(20);
      StoreBe16(&upper[0], fields.sport);
      StoreBe16(&upper[2], fields.dport);
      StoreBe32(&upper[4], fields.sequence);
      StoreBe32(&upper[8], fields.acknowledgment);
      upper[12] = static_cast<uint8_t>((20 + fields.options.size()) / 4 << 4);
      upper[13] = fields.flags;
      StoreBe16(&upper[14], 64240);
      upper.insert(upper.end(), fields.options.begin(), fields.options.end());
      break;
    case IPPROTO_UDP:
    case IPPROTO_UDPLITE:
      upper.resize(8);
      StoreBe16(&upper[0], fields.sport);
      StoreBe16(&upper[2], fields.dport);
      StoreBe16(&upper[4], static_cast<uint16_t>(8 + fields.data.size()));
      break;
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
      upper = {fields.type, fields.code, 0, 0, 0x12, 0x34, 0, 1};
      break;
    case IPPROTO_SCTP:
    case IPPROTO_DCCP:
      upper.resize(12);
      StoreBe16(&upper[0], fields.sport);
      StoreBe16(&upper[2], fields.dport);
      break;
    default:
      break;
  }
  upper.insert(upper.end(), fields.data.begin(), fields.data.end());
  upper.resize(std::min(upper.size(), fields.cut));
  return upper;
}

std::vector<uint8_t> Head4(const Fields& fields) {
  std::vector<uint8_t> head(20);
  head[0] = 0x45;
  head[1] = fields.tos;
  StoreBe16(&head[6],
            static_cast<uint16_t>(fields.fragment_offset |
                                  (fields.more_fragments ? 0x2000u : 0u)));
  head[8] = fields.ttl;
  head[9] = fields.protocol;
  const Address src = ParseAddress(fields.src), dst = ParseAddress(fields.dst);
  std::copy_n(src.begin(), 4, &head[12]);
  std::copy_n(dst.begin(), 4, &head[16]);
  return head;
}

std::vector<uint8_t> Head6(const Fields& fields) {
  std::vector<uint8_t> head(40);
  StoreBe16(&head[0], static_cast<uint16_t>(0x6000 | fields.tos << 4));
  head[6] = fields.protocol;
  head[7] = fields.ttl;
  const Address src = ParseAddress(fields.src), dst = ParseAddress(fields.dst);
  std::copy_n(src.begin(), 16, &head[8]);
  std::copy_n(dst.begin(), 16, &head[24]);
  auto extensions = fields.extensions;
  if (fields.fragment_offset != 0 || fields.more_fragments) {
    std::vector<uint8_t> fragment(8);
    StoreBe16(&fragment[2],
              static_cast<uint16_t>(fields.fragment_offset << 3 |
                                    (fields.more_fragments ? 1 : 0)));
    extensions.push_back({kFragmentHeader, fragment});
  }
  size_t next_at = 6;  // of the field that says what follows
  for (const ExtensionHeader& extension : extensions) {
    head[next_at] = extension.kind;
    next_at = head.size();
    head.insert(head.end(), extension.bytes.begin(), extension.bytes.end());
  }
  head[next_at] = fields.protocol;
  return head;
}

}  // namespace

Packet Build(const Fields& fields) {
  Packet packet;
  packet.family = IsV6(fields.src) ? Family::kIpv6 : Family::kIpv4;
  const bool v4 = packet.family == Family::kIpv4;
  packet.bytes = v4 ? Head4(fields) : Head6(fields);
  const size_t transport = packet.bytes.size();
  const auto upper = UpperLayer(fields);
  packet.bytes.insert(packet.bytes.end(), upper.begin(), upper.end());
  if (v4) {
    StoreBe16(&packet.bytes[2], static_cast<uint16_t>(packet.bytes.size()));
    FixIpv4Checksum(packet.bytes);
  } else {
    StoreBe16(&packet.bytes[4],
              static_cast<uint16_t>(packet.bytes.size() - 40));
  }
  if (fields.fragment_offset == 0 && fields.cut == SIZE_MAX) {
    FixTransportChecksum(packet.family, packet.bytes, transport,
                         fields.protocol);
  }
  packet.in = fields.in;
  packet.out = fields.out;
  packet.mark = fields.mark;
  packet.mac_src = fields.mac_src;
  packet.mac_dst = fields.mac_dst;
  packet.uid = fields.uid;
  packet.gid = fields.gid;
  packet.time_ms = fields.time_ms;
  return packet;
}

Topology TestTopology(Family family) {
  const bool v4 = family == Family::kIpv4;
  const auto bits = static_cast<uint8_t>(v4 ? 24 : 64);
  Topology topology;
  topology.family = family;
  topology.devices = {
      {.name = "eth0",
       .addresses = {{ParseAddress(v4 ? "192.0.2.254" : "2001:db8::fe"),
                      bits}}},
      {.name = "eth1",
       .addresses = {
           {ParseAddress(v4 ? "198.51.100.254" : "2001:db8:1::fe"), bits}}}};
  topology.routes = {
      {.in = "*",
       .destination = {ParseAddress(v4 ? "192.0.2.0" : "2001:db8::"), bits},
       .out = "eth0"},
      {.in = "*", .destination = {}, .out = "eth1"}};
  topology.BuildIndex();
  return topology;
}

Stand::Stand(const Fields& fields, Hook hook)
    : packet(Build(fields)), topology(TestTopology(packet.family)) {
  state.family = packet.family;
  state.bytes = packet.bytes;
  ParseHeaders(&state);
  state.hook = hook;
  if (hook == Hook::kInput) state.route = RouteKind::kLocal;
  state.origin = &packet;
  state.local_out = packet.in.empty();
  state.mark = packet.mark;
  state.now_ms = packet.time_ms;
  state.topology = &topology;
  state.outcome = &outcome;
  const bool has_in = hook == Hook::kPrerouting || hook == Hook::kInput ||
                      hook == Hook::kForward;
  if (has_in) SetDeviceName(packet.in, &state.in);
  if (hook != Hook::kPrerouting && hook != Hook::kInput) {
    SetDeviceName(packet.out, &state.out);
  }
}

void Stand::Track(CtInfo info) {
  state.ct_info = info;
  state.connection = &connection;
}

Bench::Bench(Family family, TableKind table, std::string_view lines,
             std::string_view ipset_save)
    : table_(table) {
  auto sets = ReadIpSets(ipset_save);
  const auto known = ReadKnownSets(ipset_save);
  if (!sets || !known) {
    error_ = "sets: " + (sets ? known.error() : sets.error()).ToString();
    return;
  }
  sets_ = std::move(*sets);
  std::string text = "*";
  text += TableName(table);
  text += "\n";
  text += lines;
  text += "\nCOMMIT\n";
  ParseOptions options;
  options.family = family;
  options.sets = &*known;
  std::vector<Warning> warnings;
  auto ruleset = ParseSave(text, options, &warnings);
  if (!ruleset) {
    error_ = "parser: " + ruleset.error().ToString();
    return;
  }
  if (auto ok = evaluator_.Load(*ruleset); !ok) {
    error_ = ok.error().ToString();
    error_number_ = ok.error().errno_value;
  }
}

StageVerdict Bench::Evaluate(Stand* stand) {
  return evaluator_.Evaluate({table_, stand->state.hook}, &stand->state);
}

std::string Bench::Name(const RuleRef& ref) const {
  return RuleRefName(evaluator_.ruleset(), ref);
}

}  // namespace nfarena::reference::testing
