#include "engines/vm/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

#include <algorithm>
#include <cstring>

namespace nfarena::vm {
namespace {

constexpr size_t kHeadSize = NLMSG_HDRLEN + sizeof(nfgenmsg);

constexpr AttributePolicy kBatchPolicy{
    NFNL_BATCH_MAX, {{NFNL_BATCH_GENID, AttributeKind::kU32, 0}}};

struct Head {
  nlmsghdr header;
  nfgenmsg body;
};

// Reads the two headers; the caller has checked that they are there.
Head ReadHead(std::span<const uint8_t> bytes) {
  Head head;
  std::memcpy(&head.header, bytes.data(), sizeof(head.header));
  std::memcpy(&head.body, bytes.data() + NLMSG_HDRLEN, sizeof(head.body));
  return head;
}

std::span<const uint8_t> Skip(std::span<const uint8_t> bytes, size_t length) {
  return bytes.subspan(std::min(bytes.size(), NLMSG_ALIGN(length)));
}

// Reads messages up to the end of the batch or of the bytes.
void DecodeMessages(std::span<const uint8_t> bytes, Batch* batch) {
  // Most messages of a ruleset are rules of some hundred bytes.
  batch->messages.reserve(bytes.size() / 256);
  while (bytes.size() >= NLMSG_HDRLEN) {
    nlmsghdr header;
    std::memcpy(&header, bytes.data(), sizeof(header));
    if (header.nlmsg_len < kHeadSize || header.nlmsg_len > bytes.size()) {
      batch->end = BatchEnd::kBroken;
      return;
    }
    const Head head = ReadHead(bytes);
    Message message;
    message.flags = header.nlmsg_flags;
    message.seq = header.nlmsg_seq;
    message.family = head.body.nfgen_family;
    const uint16_t type = header.nlmsg_type;
    if ((header.nlmsg_flags & NLM_F_REQUEST) == 0) {
      message.error = EINVAL;
    } else if (type == NFNL_MSG_BATCH_BEGIN) {
      batch->end = BatchEnd::kBroken;
      return;
    } else if (type == NFNL_MSG_BATCH_END) {
      batch->end = BatchEnd::kCommit;
      batch->end_seq = header.nlmsg_seq;
      batch->end_flags = header.nlmsg_flags;
      return;
    } else if (NFNL_SUBSYS_ID(type) != NFNL_SUBSYS_NFTABLES) {
      message.error = EINVAL;
    }
    message.type = NFNL_MSG_TYPE(type);
    message.attributes = bytes.subspan(kHeadSize, header.nlmsg_len - kHeadSize);
    batch->messages.push_back(message);
    bytes = Skip(bytes, header.nlmsg_len);
  }
}

}  // namespace

Batch DecodeBatch(std::span<const uint8_t> bytes) {
  Batch batch;
  batch.ignored = true;
  if (bytes.size() < kHeadSize) return batch;
  const Head head = ReadHead(bytes);
  if (head.header.nlmsg_len < NLMSG_HDRLEN ||
      head.header.nlmsg_len > bytes.size() ||
      head.header.nlmsg_type != NFNL_MSG_BATCH_BEGIN) {
    return batch;
  }
  batch.ignored = false;
  batch.begin_seq = head.header.nlmsg_seq;
  batch.begin_flags = head.header.nlmsg_flags;
  if (head.header.nlmsg_len > kHeadSize) {
    AttributeTable table;
    batch.error = ParseAttributes(
        bytes.subspan(kHeadSize, head.header.nlmsg_len - kHeadSize),
        kBatchPolicy, &table);
    if (batch.error != 0) return batch;
    if (table[NFNL_BATCH_GENID]) batch.genid = table[NFNL_BATCH_GENID].Be32();
  }
  // An old nft wrote the subsystem in host order; the kernel accepts it.
  if (head.body.res_id != NFNL_SUBSYS_NFTABLES &&
      ntohs(head.body.res_id) != NFNL_SUBSYS_NFTABLES) {
    batch.error =
        ntohs(head.body.res_id) >= NFNL_SUBSYS_COUNT ? EINVAL : EOPNOTSUPP;
    return batch;
  }
  DecodeMessages(Skip(bytes, head.header.nlmsg_len), &batch);
  return batch;
}

}  // namespace nfarena::vm
