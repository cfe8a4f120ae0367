// The frame of an nfnetlink batch: bytes -> messages, every length checked.
//
//   nlmsghdr BATCH_BEGIN, nfgenmsg {res_id = subsystem}, [NFNL_BATCH_GENID]
//   nlmsghdr message, nfgenmsg {family}, attributes       (any number)
//   nlmsghdr BATCH_END
//
// Nothing of a message is interpreted here; the ruleset does that.  A frame
// that is broken is told apart from one that merely lacks its end, because the
// kernel answers them differently: the first fails the batch, the second only
// validates it (nft -c).
// Source: net/netfilter/nfnetlink.c, nfnetlink_rcv_skb_batch(),
// nfnetlink_rcv_batch().
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engines/vm/attribute.h"

namespace nfarena::vm {

struct Message {
  uint16_t type = 0;   // NFT_MSG_*, the subsystem already checked off
  uint16_t flags = 0;  // NLM_F_*
  uint32_t seq = 0;
  uint8_t family = 0;  // NFPROTO_*
  std::span<const uint8_t> attributes;
  /// Not 0: the frame alone is reason to refuse this message.
  Errno error = 0;
};

enum class BatchEnd : uint8_t {
  kCommit,    // BATCH_END was there
  kValidate,  // the bytes ended without it: check, then abort
  kBroken,    // a length was wrong, or a second BATCH_BEGIN: abort, and the
              // errors collected so far are not delivered
};

struct Batch {
  uint32_t begin_seq = 0;
  uint16_t begin_flags = 0;
  uint32_t end_seq = 0;
  uint16_t end_flags = 0;
  uint32_t genid = 0;  // 0: no check asked for
  std::vector<Message> messages;
  BatchEnd end = BatchEnd::kValidate;
  /// Not 0: refused as a whole before any message (error of BATCH_BEGIN).
  Errno error = 0;
  /// The kernel drops such bytes without an answer: no batch header at all.
  bool ignored = false;
};

/// The spans in the result point into `bytes`.
Batch DecodeBatch(std::span<const uint8_t> bytes);

}  // namespace nfarena::vm
