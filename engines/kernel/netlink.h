// A netlink socket on libmnl, and its three ways of talking: send and take the
// errors, dump, and listen.
//
// The kernel handles a request inside sendmsg(): when it returns, everything
// that the request caused is already in the socket's queue.  So no call here
// waits; "nothing more in the queue" is the end.
#pragma once

#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "compat/model/result.h"

struct mnl_socket;
struct nlmsghdr;

namespace nfarena::kernel {

/// One error message of the kernel, with what extended acks add to it.
struct NetlinkError {
  uint32_t seq = 0;
  int errno_value = 0;  // positive
  uint32_t offset = 0;  // of the offending attribute in the message; 0 = none
  std::string text;     // NLMSGERR_ATTR_MSG
};

class NetlinkSocket {
 public:
  /// A socket in the calling thread's namespace.
  /// Errors: kSystem (protocol missing).
  [[nodiscard]] static Result<NetlinkSocket> Open(int protocol);

  /// Sends whole messages and collects the errors that come back at once;
  /// acks (error 0) are not errors.
  [[nodiscard]] Result<std::vector<NetlinkError>> Send(
      std::span<const uint8_t> messages);
  /// Sends one request; its error, if any, becomes the status.  `what` opens
  /// the error's message.
  [[nodiscard]] Status Request(std::span<const uint8_t> message,
                               std::string_view what);
  /// Sends a request with NLM_F_DUMP and returns the answer's messages one
  /// after the other, without NLMSG_DONE; begins again when the kernel says
  /// that the data changed under it.
  [[nodiscard]] Result<std::vector<uint8_t>> Dump(
      std::span<const uint8_t> message, std::string_view what);
  /// Sends a request and returns all that it is answered with.
  [[nodiscard]] Result<std::vector<uint8_t>> Ask(
      std::span<const uint8_t> message, std::string_view what);

  int fd() const;
  uint32_t portid() const;
  /// Bytes that may be queued towards us / that one message may have.  Beyond
  /// the system's limit only with CAP_NET_ADMIN of the first user namespace.
  void GrowReceiveBuffer(int bytes);
  void GrowSendBuffer(size_t bytes);
  /// System calls made so far, for UpdateCost::messages.
  uint64_t calls() const { return calls_; }

 private:
  struct Closer {
    void operator()(mnl_socket* socket) const;
  };
  explicit NetlinkSocket(mnl_socket* socket);
  Status SendOnly(std::span<const uint8_t> messages);

  std::unique_ptr<mnl_socket, Closer> socket_;
  std::vector<uint8_t> buffer_;
  size_t send_buffer_ = 0;
  uint64_t calls_ = 0;
};

/// Builds netlink messages one after the other in one buffer.
class MessageBuilder {
 public:
  /// Begins a message; `extra_bytes` zeroed bytes follow the header and are
  /// returned to be filled in before the next call.
  void* Begin(uint16_t type, uint16_t flags, uint32_t seq, size_t extra_bytes);
  void Put(uint16_t type, const void* data, size_t size);
  void PutU8(uint16_t type, uint8_t value);
  void PutU16(uint16_t type, uint16_t value);
  void PutU32(uint16_t type, uint32_t value);
  void PutBe32(uint16_t type, uint32_t value);
  void PutString(uint16_t type, std::string_view text);  // with its NUL
  /// Returns the place to give to EndNest.
  size_t BeginNest(uint16_t type);
  void EndNest(size_t place);
  /// Closes the message under construction.
  void End();

  std::span<const uint8_t> bytes() const { return bytes_; }
  void Clear() { bytes_.clear(); }

 private:
  std::vector<uint8_t> bytes_;
  size_t begin_ = 0;
};

/// Reads the error messages among `messages` (also nested extended acks).
/// Everything is checked against the bytes that are there.
std::vector<NetlinkError> ReadErrors(std::span<const uint8_t> messages);

/// Calls `use` for each whole message in `bytes`.
void ForEachMessage(std::span<const uint8_t> bytes,
                    const std::function<void(const nlmsghdr*)>& use);

/// What follows a message's header and its `skip` bytes of fixed body: the
/// attributes.  Empty when the message is shorter.
std::span<const uint8_t> AttributesOf(const nlmsghdr* header, size_t skip);

/// Calls `use(type, payload)` for each whole attribute in `area`, the flag bits
/// of the type removed.  Stops at the first that does not fit.
template <typename Use>
void ForEachAttribute(std::span<const uint8_t> area, Use use) {
  constexpr size_t kHead = 4;
  constexpr uint16_t kTypeMask = 0x3fff;  // NLA_TYPE_MASK
  size_t offset = 0;
  while (area.size() - offset >= kHead) {
    uint16_t length = 0;
    uint16_t type = 0;
    std::memcpy(&length, &area[offset], sizeof length);
    std::memcpy(&type, &area[offset + 2], sizeof type);
    if (length < kHead || length > area.size() - offset) return;
    use(static_cast<uint16_t>(type & kTypeMask),
        area.subspan(offset + kHead, length - kHead));
    const size_t whole = (size_t{length} + 3) & ~size_t{3};
    if (whole > area.size() - offset) return;
    offset += whole;
  }
}

/// An attribute's value; 0 when it has another size.
uint32_t ReadU32(std::span<const uint8_t> payload);
uint32_t ReadBe32(std::span<const uint8_t> payload);
uint64_t ReadBe64(std::span<const uint8_t> payload);
/// The text up to the first NUL or the end.
std::string_view ReadText(std::span<const uint8_t> payload);

/// "message (attribute offset, kernel text)" with its errno.
Error ErrorOf(const NetlinkError& error, std::string_view what);

}  // namespace nfarena::kernel
