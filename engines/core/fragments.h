// Putting fragments together, where the stack does it: before connection
// tracking, and before local delivery of IPv4.
//
// The fragment that completes a datagram goes on as the whole of it; those
// before it end here.  As in the kernel, a queue is keyed by who asks, so that
// fragments held for tracking on arrival do not meet those of another hook.
// Source: net/ipv4/ip_fragment.c, net/ipv4/inet_fragment.c,
// net/ipv6/netfilter/nf_conntrack_reasm.c.
#pragma once

#include <cstdint>
#include <vector>

#include "engines/core/packet_state.h"

namespace nfarena {

/// Who asks for reassembly (enum ip_defrag_users).
enum class DefragUser : uint8_t { kTrackingIn, kTrackingOut, kDelivery };

enum class DefragResult : uint8_t {
  kWhole,    // not a fragment, or complete now: packet->bytes is the datagram
  kQueued,   // held until the others come
  kDropped,  // corrupt (overlap, other end, too long) or a duplicate
};

class Reassembler {
 public:
  /// `packet->headers` must be valid; it is parsed anew when bytes change.
  DefragResult Add(PacketState* packet, DefragUser user);
  void Clear() { queues_.clear(); }

 private:
  struct Piece {
    uint32_t offset = 0;
    std::vector<uint8_t> data;
  };
  struct Queue {
    Family family = Family::kIpv4;
    DefragUser user = DefragUser::kTrackingIn;
    Address src{}, dst{};
    uint32_t id = 0;
    uint8_t protocol = 0;  // IPv4 only
    uint64_t expires_ms = 0;
    uint32_t length = 0;  // of the data, as far as known
    bool first_in = false, last_in = false;
    uint8_t ecn = 0;              // IPFRAG_ECN_* seen
    uint32_t max_size = 0;        // largest fragment with its header
    uint32_t max_df_size = 0;     // ... of those with DF
    std::vector<uint8_t> header;  // of the fragment at offset 0
    std::vector<Piece> pieces;    // by offset, without overlap

    /// What a fragment that ends at `end` says of the whole; false when another
    /// one has said otherwise.
    bool NoteEnd(uint32_t end, bool more);
    bool IsComplete() const;
    /// Header and pieces; the queue is spent.
    std::vector<uint8_t> Join();
  };

  DefragResult AddIpv4(PacketState* packet, DefragUser user);
  DefragResult AddIpv6(PacketState* packet, DefragUser user);
  size_t FindQueue(const Queue& key, uint64_t now_ms);
  /// kOverlap: the queue is void.
  enum class Insert : uint8_t { kDone, kDuplicate, kOverlap };
  static Insert InsertPiece(Queue* queue, uint32_t offset,
                            std::span<const uint8_t> data);
  void Drop(size_t index);

  std::vector<Queue> queues_;  // few at a time
};

}  // namespace nfarena
