#include "engines/core/fragments.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "engines/core/bytes.h"
#include "engines/core/checksum.h"

namespace nfarena {
namespace {

constexpr uint64_t kIpv4TimeoutMs = 30000;  // ipfrag_time
constexpr uint64_t kIpv6TimeoutMs = 60000;  // nf_conntrack_frag6_timeout
constexpr size_t kIpv6MinMtu = 1280;
constexpr uint32_t kIpv6MaxPayload = 65535;

/// Which ECN code points were met, one bit each: 1 << code point.
constexpr uint8_t kNotEct = 1 << 0, kCe = 1 << 3;

/// ip_frag_ecn_table[]: what the whole gets; nullopt for a mix that is refused.
std::optional<uint8_t> EcnOfWhole(uint8_t seen) {
  if ((seen & kNotEct) != 0 && seen != kNotEct) return std::nullopt;
  if ((seen & kCe) != 0 && seen != kCe) return uint8_t{3};
  return uint8_t{0};
}

}  // namespace

bool Reassembler::Queue::NoteEnd(uint32_t end, bool more) {
  if (more && end <= length) return true;
  if (last_in ? more || end != length : end < length) return false;
  last_in = !more;
  length = end;
  return true;
}

bool Reassembler::Queue::IsComplete() const {
  size_t held = 0;
  for (const Piece& piece : pieces) held += piece.data.size();
  return first_in && last_in && held == length;
}

std::vector<uint8_t> Reassembler::Queue::Join() {
  std::vector<uint8_t> whole = std::move(header);
  for (const Piece& piece : pieces) {
    whole.insert(whole.end(), piece.data.begin(), piece.data.end());
  }
  return whole;
}

DefragResult Reassembler::Add(PacketState* packet, DefragUser user) {
  if (!packet->headers.ok) return DefragResult::kWhole;
  if (packet->family == Family::kIpv6) return AddIpv6(packet, user);
  return packet->headers.fragment ? AddIpv4(packet, user)
                                  : DefragResult::kWhole;
}

size_t Reassembler::FindQueue(const Queue& key, uint64_t now_ms) {
  std::erase_if(queues_,
                [now_ms](const Queue& q) { return q.expires_ms <= now_ms; });
  for (size_t i = 0; i < queues_.size(); ++i) {
    const Queue& q = queues_[i];
    if (q.family == key.family && q.user == key.user && q.src == key.src &&
        q.dst == key.dst && q.id == key.id && q.protocol == key.protocol) {
      return i;
    }
  }
  queues_.push_back(key);
  return queues_.size() - 1;
}

void Reassembler::Drop(size_t index) {
  queues_.erase(queues_.begin() + static_cast<ptrdiff_t>(index));
}

Reassembler::Insert Reassembler::InsertPiece(Queue* queue, uint32_t offset,
                                             std::span<const uint8_t> data) {
  const uint32_t end = offset + static_cast<uint32_t>(data.size());
  // inet_frag_queue_insert() compares with runs of adjoining pieces.
  uint32_t run_begin = 0, run_end = 0;
  bool in_run = false;
  auto& pieces = queue->pieces;
  for (const Piece& piece : pieces) {
    const uint32_t piece_end =
        piece.offset + static_cast<uint32_t>(piece.data.size());
    if (!in_run || piece.offset != run_end) run_begin = piece.offset;
    run_end = piece_end;
    in_run = true;
    if (offset < piece_end && end > piece.offset) {
      // Whether it lies within the whole run shows at the run's end.
      uint32_t whole_end = run_end;
      for (const Piece& next : pieces) {
        if (next.offset == whole_end) {
          whole_end += static_cast<uint32_t>(next.data.size());
        }
      }
      return offset >= run_begin && end <= whole_end ? Insert::kDuplicate
                                                     : Insert::kOverlap;
    }
  }
  const auto at =
      std::find_if(pieces.begin(), pieces.end(),
                   [&](const Piece& p) { return p.offset > offset; });
  pieces.insert(at, Piece{offset, {data.begin(), data.end()}});
  return Insert::kDone;
}

DefragResult Reassembler::AddIpv4(PacketState* packet, DefragUser user) {
  const std::vector<uint8_t>& bytes = packet->bytes;
  const size_t header = packet->headers.transport;
  const uint16_t word = LoadBe16(&bytes[6]);
  const uint32_t offset = static_cast<uint32_t>(word & 0x1fff) * 8;
  uint32_t end = offset + static_cast<uint32_t>(bytes.size() - header);
  const bool more = (word & 0x2000) != 0;

  const size_t index =
      FindQueue({.family = Family::kIpv4,
                 .user = user,
                 .src = SourceOf(*packet),
                 .dst = DestinationOf(*packet),
                 .id = LoadBe16(&bytes[4]),
                 .protocol = bytes[9],
                 .expires_ms = packet->now_ms + kIpv4TimeoutMs},
                packet->now_ms);
  Queue* queue = &queues_[index];
  const auto discard = [&] {
    Drop(index);
    return DefragResult::kDropped;
  };
  if (more) end &= ~7u;
  if (!queue->NoteEnd(end, more) || end <= offset) return discard();
  switch (InsertPiece(queue, offset,
                      std::span(bytes).subspan(header, end - offset))) {
    case Insert::kDuplicate:
      return DefragResult::kDropped;
    case Insert::kOverlap:
      return discard();
    case Insert::kDone:
      break;
  }
  queue->ecn |= static_cast<uint8_t>(1 << (bytes[1] & 3));
  const auto size = static_cast<uint32_t>(end - offset + header);
  queue->max_size = std::max(queue->max_size, size);
  if ((word & 0x4000) != 0) {
    queue->max_df_size = std::max(queue->max_df_size, size);
  }
  if (offset == 0) {
    queue->first_in = true;
    queue->header.assign(bytes.begin(),
                         bytes.begin() + static_cast<ptrdiff_t>(header));
  }
  if (!queue->IsComplete()) return DefragResult::kQueued;

  const auto ecn = EcnOfWhole(queue->ecn);
  const size_t total = queue->header.size() + queue->length;
  if (!ecn || total > 65535) return discard();
  std::vector<uint8_t> whole = queue->Join();
  StoreBe16(&whole[2], static_cast<uint16_t>(total));
  whole[1] |= *ecn;
  // DF is kept only when a fragment with DF was the largest.
  StoreBe16(&whole[6], queue->max_df_size == queue->max_size ? uint16_t{0x4000}
                                                             : uint16_t{0});
  FixIpv4Checksum(whole);
  Drop(index);
  packet->bytes = std::move(whole);
  packet->refragmented = true;
  ParseHeaders(packet);
  return DefragResult::kWhole;
}

DefragResult Reassembler::AddIpv6(PacketState* packet, DefragUser user) {
  // find_prev_fhdr(): the fragment header and the byte that announces it.
  const std::vector<uint8_t>& bytes = packet->bytes;
  size_t next_at = 6;
  size_t at = 40;
  while (bytes[next_at] != 44) {
    const uint8_t next = bytes[next_at];
    const bool extension = next == 0 || next == 43 || next == 51 || next == 60;
    if (!extension || at + 2 > bytes.size()) return DefragResult::kWhole;
    const size_t length = next == 51
                              ? (static_cast<size_t>(bytes[at + 1]) + 2) * 4
                              : (static_cast<size_t>(bytes[at + 1]) + 1) * 8;
    next_at = at;
    at += length;
    if (at > bytes.size()) return DefragResult::kWhole;
  }
  if (at + 8 > bytes.size()) return DefragResult::kDropped;
  const uint16_t word = LoadBe16(&bytes[at + 2]);
  const bool more = (word & 1) != 0;
  if (bytes.size() < kIpv6MinMtu && more) return DefragResult::kDropped;
  const uint32_t offset = word & 0xfff8u;
  const uint32_t end = offset + static_cast<uint32_t>(bytes.size() - (at + 8));
  const size_t index =
      FindQueue({.family = Family::kIpv6,
                 .user = user,
                 .src = SourceOf(*packet),
                 .dst = DestinationOf(*packet),
                 .id = LoadBe32(&bytes[at + 4]),
                 .expires_ms = packet->now_ms + kIpv6TimeoutMs},
                packet->now_ms);
  Queue* queue = &queues_[index];
  if (end > kIpv6MaxPayload) return DefragResult::kDropped;
  if (more && (end & 7) != 0) {
    Drop(index);
    return DefragResult::kDropped;
  }
  if (!queue->NoteEnd(end, more) || end == offset) {
    return DefragResult::kDropped;
  }
  switch (InsertPiece(queue, offset, std::span(bytes).subspan(at + 8))) {
    case Insert::kDuplicate:
      return DefragResult::kQueued;
    case Insert::kOverlap:
      Drop(index);
      return DefragResult::kDropped;
    case Insert::kDone:
      break;
  }
  queue->ecn |= static_cast<uint8_t>(1 << (LoadBe16(&bytes[0]) >> 4 & 3));
  if (offset == 0) {
    queue->first_in = true;
    queue->header.assign(bytes.begin(),
                         bytes.begin() + static_cast<ptrdiff_t>(at));
    queue->header[next_at] = bytes[at];
  }
  if (!queue->IsComplete()) return DefragResult::kQueued;

  const auto ecn = EcnOfWhole(queue->ecn);
  const size_t payload = queue->header.size() - 40 + queue->length;
  if (!ecn || payload > kIpv6MaxPayload) {
    Drop(index);
    return DefragResult::kDropped;
  }
  const bool several = queue->pieces.size() > 1;
  std::vector<uint8_t> whole = queue->Join();
  StoreBe16(&whole[4], static_cast<uint16_t>(payload));
  StoreBe16(&whole[0], static_cast<uint16_t>(LoadBe16(&whole[0]) | *ecn << 4));
  Drop(index);
  packet->bytes = std::move(whole);
  // A lone fragment leaves as the whole it is.
  packet->refragmented = several;
  ParseHeaders(packet);
  return DefragResult::kWhole;
}

}  // namespace nfarena
