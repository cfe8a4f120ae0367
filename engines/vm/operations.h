// The instructions that the machine's loop calls: everything but its few
// inlined cases.
//
// Each takes the registers and the packet and returns what the verdict
// register holds afterwards: kVerdictContinue, kVerdictBreak, or a verdict
// that ends the rule.
// Source: net/netfilter/nft_*.c, the eval functions.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>

#include "engines/core/packet_state.h"
#include "engines/vm/code.h"
#include "engines/vm/control_plane.h"

namespace nfarena::vm {

/// struct nft_regs.  Words 0..3 would be the verdict; it is kept apart.
struct Registers {
  alignas(16) std::array<uint32_t, kRegisterWords> words{};

  uint32_t* at(uint8_t reg) { return &words[reg]; }
  /// Stores of less than a word leave zeros in the rest of it.
  void Store8(uint8_t reg, uint8_t value) { StoreShort(reg, &value, 1); }
  void Store16(uint8_t reg, uint16_t value) { StoreShort(reg, &value, 2); }
  void Store64(uint8_t reg, uint64_t value) {
    std::memcpy(at(reg), &value, sizeof(value));
  }
  uint8_t Load8(uint8_t reg) {
    uint8_t value;
    std::memcpy(&value, at(reg), sizeof(value));
    return value;
  }
  uint16_t Load16(uint8_t reg) {
    uint16_t value;
    std::memcpy(&value, at(reg), sizeof(value));
    return value;
  }

 private:
  void StoreShort(uint8_t reg, const void* value, size_t size) {
    words[reg] = 0;
    std::memcpy(at(reg), value, size);
  }
};

/// struct nft_pktinfo: where the upper layer is, as nf_tables sees it.
/// Source: include/net/netfilter/nf_tables_ipv4.h, nf_tables_ipv6.h.
struct PacketView {
  PacketState* packet;
  const uint8_t* data;
  size_t size;
  bool has_transport;        // NFT_PKTINFO_L4PROTO
  uint8_t protocol;          // tprot
  uint16_t transport;        // thoff
  uint16_t fragment_offset;  // fragoff

  explicit PacketView(PacketState* state);
  /// The bytes may have moved or grown.
  void Refresh() {
    data = packet->bytes.data();
    size = packet->bytes.size();
  }
};

/// What an operation works with.
struct Frame {
  ControlPlane* control;
  Registers* registers;
  PacketView* view;
  TableKind table;
  uint8_t family;  // of the table
};

/// Runs any instruction but jumps; the machine's loop and objref call it.
int32_t RunInstruction(const uint8_t* code, Frame* frame);

int32_t Run(const PayloadCode&, Frame*);
int32_t Run(const PayloadStoreCode&, Frame*);
int32_t Run(const ExthdrCode&, Frame*);
int32_t Run(const MetaCode&, Frame*);
int32_t Run(const RtCode&, Frame*);
int32_t Run(const FibCode&, Frame*);
int32_t Run(const CtCode&, Frame*);
int32_t Run(const NotrackCode&, Frame*);
int32_t Run(const LogCode&, Frame*);
int32_t Run(const RejectCode&, Frame*);
int32_t Run(const NatCode&, Frame*);
int32_t Run(const MasqCode&, Frame*);
int32_t Run(const RedirCode&, Frame*);
int32_t Run(const QueueCode&, Frame*);
int32_t Run(const CompatCode&, Frame*);
int32_t Run(const CompatLargeCode&, Frame*);
int32_t Run(const LookupCode&, Frame*);
/// The verdict of a verdict map, nullptr: no element.
const Data* LookupVerdict(const LookupCode&, Frame*);
int32_t Run(const DynsetCode&, Frame*);
int32_t Run(const ObjrefCode&, Frame*);
int32_t Run(const ObjrefMapCode&, Frame*);
int32_t Run(const LimitPacketsCode&, Frame*);
int32_t Run(const LimitBytesCode&, Frame*);
int32_t Run(const QuotaCode&, Frame*);
int32_t Run(const ConnlimitCode&, Frame*);
int32_t Run(const LastCode&, Frame*);
int32_t Run(const NumgenIncrementalCode&, Frame*);
int32_t Run(const NumgenRandomCode&, Frame*);
int32_t Run(const HashJenkinsCode&, Frame*);
int32_t Run(const HashSymmetricCode&, Frame*);

// The inlined cases, also as calls, for objref and for what is rare.
int32_t Run(const CmpFastCode&, Frame*);
int32_t Run(const Cmp16Code&, Frame*);
int32_t Run(const CmpCode&, Frame*);
int32_t Run(const RangeCode&, Frame*);
int32_t Run(const BitwiseFastCode&, Frame*);
int32_t Run(const BitwiseCode&, Frame*);
int32_t Run(const ByteorderCode&, Frame*);
int32_t Run(const ImmediateCode&, Frame*);
int32_t Run(const CounterCode&, Frame*);

}  // namespace nfarena::vm
