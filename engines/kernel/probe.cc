#include "engines/kernel/probe.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>
#include <sys/socket.h>

#include <cerrno>
#include <utility>

#include "engines/kernel/probe_rules.h"

namespace nfarena::kernel {
namespace {

// Reports of one packet: some 40 records at most, of which few hold it whole.
constexpr int kReceiveQueueBytes = 32 * 1024 * 1024;
// A record with a packet of 64 KiB and its other attributes.
constexpr size_t kRecordBytes = 80 * 1024;

constexpr std::pair<std::string_view, Marker> kMarkers[] = {
    {"pre_begin", Marker::kPreroutingBegin},
    {"pre_end", Marker::kPreroutingEnd},
    {"in_begin", Marker::kInputBegin},
    {"in_end", Marker::kInputEnd},
    {"fwd_begin", Marker::kForwardBegin},
    {"fwd_end", Marker::kForwardEnd},
    {"out_begin", Marker::kOutputBegin},
    {"out_end", Marker::kOutputEnd},
    {"post_begin", Marker::kPostroutingBegin},
    {"post_end", Marker::kPostroutingEnd},
};

nfgenmsg* BeginConfig(uint8_t subsystem, uint8_t type, uint16_t resource,
                      uint8_t family, MessageBuilder* message) {
  auto* head = static_cast<nfgenmsg*>(
      message->Begin(static_cast<uint16_t>(subsystem << 8 | type),
                     NLM_F_REQUEST, 0, sizeof(nfgenmsg)));
  head->nfgen_family = family;
  head->version = NFNETLINK_V0;
  head->res_id = htons(resource);
  return head;
}

void BindLogger(uint8_t protocol, MessageBuilder* message) {
  BeginConfig(NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG, 0, protocol, message);
  const nfulnl_msg_config_cmd command{NFULNL_CFG_CMD_PF_BIND};
  message->Put(NFULA_CFG_CMD, &command, sizeof command);
  message->End();
}

void BindGroup(uint16_t group, MessageBuilder* message) {
  BeginConfig(NFNL_SUBSYS_ULOG, NFULNL_MSG_CONFIG, group, AF_UNSPEC, message);
  const nfulnl_msg_config_cmd command{NFULNL_CFG_CMD_BIND};
  message->Put(NFULA_CFG_CMD, &command, sizeof command);
  nfulnl_msg_config_mode mode{};
  mode.copy_range = htonl(0xffff);
  mode.copy_mode = NFULNL_COPY_PACKET;
  message->Put(NFULA_CFG_MODE, &mode, sizeof mode);
  // At once, not when several have come together.
  message->PutBe32(NFULA_CFG_QTHRESH, 1);
  message->End();
}

void BindQueue(uint16_t queue, MessageBuilder* message) {
  BeginConfig(NFNL_SUBSYS_QUEUE, NFQNL_MSG_CONFIG, queue, AF_UNSPEC, message);
  nfqnl_msg_config_cmd command{};
  command.command = NFQNL_CFG_CMD_BIND;
  message->Put(NFQA_CFG_CMD, &command, sizeof command);
  nfqnl_msg_config_params params{};
  params.copy_range = htonl(0xffff);
  params.copy_mode = NFQNL_COPY_PACKET;
  message->Put(NFQA_CFG_PARAMS, &params, sizeof params);
  message->End();
}

}  // namespace

std::optional<Marker> MarkerOf(const Event& event) {
  if (event.kind != EventKind::kNftTrace || event.table != kProbeTable) {
    return std::nullopt;
  }
  for (const auto& [name, marker] : kMarkers) {
    if (event.chain == name) return marker;
  }
  return std::nullopt;
}

Probe::Probe(Family family, NetlinkSocket control, NetlinkSocket events)
    : family_(family),
      control_(std::move(control)),
      events_(std::move(events)),
      arena_(16 * kRecordBytes) {}

Result<Probe> Probe::Create(const Namespace& ns, Family family) {
  ASSIGN_OR_RETURN(const auto scope, NamespaceScope::Enter(ns));
  ASSIGN_OR_RETURN(auto control, NetlinkSocket::Open(NETLINK_NETFILTER));
  ASSIGN_OR_RETURN(auto events, NetlinkSocket::Open(NETLINK_NETFILTER));
  events.GrowReceiveBuffer(kReceiveQueueBytes);

  const uint8_t protocol =
      family == Family::kIpv4 ? NFPROTO_IPV4 : NFPROTO_IPV6;
  MessageBuilder message;
  BindLogger(protocol, &message);
  RETURN_IF_ERROR(events.Request(message.bytes(), "nfnetlink_log"));
  message.Clear();
  BindGroup(kProbeGroup, &message);
  RETURN_IF_ERROR(events.Request(message.bytes(), "nfnetlink_log"));
  message.Clear();
  BindGroup(0, &message);
  RETURN_IF_ERROR(events.Request(message.bytes(), "nfnetlink_log"));

  int group = NFNLGRP_NFTRACE;
  if (setsockopt(events.fd(), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group,
                 sizeof group) != 0) {
    return FailErrno("cannot listen to nf_tables' trace");
  }
  Probe probe(family, std::move(control), std::move(events));
  probe.groups_ = {0, kProbeGroup};
  message.Clear();
  BuildProbe(family, &message);
  RETURN_IF_ERROR(probe.SendBatch(message, "the probe's table"));
  return probe;
}

Status Probe::SendBatch(const MessageBuilder& batch, std::string_view what) {
  return control_.Request(batch.bytes(), what);
}

Status Probe::SetMode(ProbeMode mode) {
  if (mode == mode_) return {};
  MessageBuilder batch;
  BuildModeChange(family_, mode_, mode, &batch);
  RETURN_IF_ERROR(SendBatch(batch, "the probe's change of mode"));
  mode_ = mode;
  return {};
}

Status Probe::SetMark(uint32_t mark) {
  if (mark == mark_) return {};
  MessageBuilder batch;
  BuildMark(family_, mark, &batch);
  RETURN_IF_ERROR(SendBatch(batch, "the probe's mark"));
  mark_ = mark;
  return {};
}

Status Probe::Listen(const std::set<uint16_t>& groups,
                     const std::set<uint16_t>& queues) {
  MessageBuilder message;
  for (const uint16_t group : groups) {
    if (!groups_.insert(group).second) continue;
    message.Clear();
    BindGroup(group, &message);
    RETURN_IF_ERROR(
        events_.Request(message.bytes(), fmt::format("nflog group {}", group)));
  }
  for (const uint16_t queue : queues) {
    if (!queues_.insert(queue).second) continue;
    message.Clear();
    BindQueue(queue, &message);
    RETURN_IF_ERROR(
        events_.Request(message.bytes(), fmt::format("queue {}", queue)));
  }
  return {};
}

Result<std::span<const Event>> Probe::Drain() {
  // All is received before anything is decoded: the arena may grow and move.
  size_t filled = 0;
  while (true) {
    if (arena_.size() - filled < kRecordBytes) arena_.resize(arena_.size() * 2);
    const ssize_t got = recv(events_.fd(), &arena_[filled], kRecordBytes,
                             MSG_DONTWAIT | MSG_TRUNC);
    if (got < 0) {
      if (errno == EAGAIN) break;
      if (errno == EINTR) continue;
      return FailErrno("the kernel's reports on a packet are lost");
    }
    const auto size = static_cast<size_t>(got);
    if (size > kRecordBytes) {
      return Fail(ErrorCode::kSystem,
                  fmt::format("a report of {} bytes is too long", size));
    }
    filled += NLMSG_ALIGN(size);
  }
  drained_.clear();
  ForEachMessage({arena_.data(), filled}, [this](const nlmsghdr* message) {
    if (const auto event = DecodeEvent(message)) drained_.push_back(*event);
  });
  return std::span<const Event>(drained_);
}

bool Probe::Wait(int timeout_ms) const {
  pollfd request{events_.fd(), POLLIN, 0};
  return poll(&request, 1, timeout_ms) > 0;
}

Status Probe::DropQueued(const Event& event) {
  MessageBuilder message;
  BeginConfig(NFNL_SUBSYS_QUEUE, NFQNL_MSG_VERDICT, event.queue, AF_UNSPEC,
              &message);
  const nfqnl_msg_verdict_hdr verdict{htonl(NF_DROP), htonl(event.packet_id)};
  message.Put(NFQA_VERDICT_HDR, &verdict, sizeof verdict);
  message.End();
  // Not Request(): that would take the next reports for answers.
  if (send(events_.fd(), message.bytes().data(), message.bytes().size(), 0) <
      0) {
    return FailErrno("cannot drop a queued packet");
  }
  return {};
}

void Probe::Discard() {
  while (true) {
    const ssize_t got =
        recv(events_.fd(), arena_.data(), arena_.size(), MSG_DONTWAIT);
    if (got < 0) {
      if (errno == ENOBUFS || errno == EINTR) continue;
      return;
    }
    // A queued packet waits for its verdict; enough of them fill the queue.
    ForEachMessage({arena_.data(), static_cast<size_t>(got)},
                   [this](const nlmsghdr* message) {
                     const auto event = DecodeEvent(message);
                     if (event && event->kind == EventKind::kQueue) {
                       (void)DropQueued(*event);
                     }
                   });
  }
}

}  // namespace nfarena::kernel
