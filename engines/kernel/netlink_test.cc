#include "engines/kernel/netlink.h"

#include <gtest/gtest.h>
#include <linux/netlink.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <vector>

namespace nfarena::kernel {
namespace {

/// An NLMSG_ERROR as the kernel sends it with NETLINK_CAP_ACK.
std::vector<uint8_t> ErrorMessage(int error, uint32_t seq,
                                  std::string_view text, uint32_t offset) {
  MessageBuilder m;
  const bool extended = !text.empty() || offset != 0;
  auto flags = static_cast<uint16_t>(NLM_F_CAPPED);
  if (extended) flags |= NLM_F_ACK_TLVS;
  auto* body = static_cast<nlmsgerr*>(
      m.Begin(NLMSG_ERROR, flags, seq, sizeof(nlmsgerr)));
  body->error = -error;
  body->msg.nlmsg_seq = seq;
  body->msg.nlmsg_len = 64;
  if (!text.empty()) m.PutString(NLMSGERR_ATTR_MSG, text);
  if (offset != 0) m.PutU32(NLMSGERR_ATTR_OFFS, offset);
  m.End();
  return {m.bytes().begin(), m.bytes().end()};
}

TEST(ReadErrorsTest, ReadsErrnoSequenceTextAndOffset) {
  std::vector<uint8_t> bytes = ErrorMessage(ENOENT, 7, "no such thing", 24);
  const std::vector<uint8_t> ack = ErrorMessage(0, 8, "", 0);
  const std::vector<uint8_t> plain = ErrorMessage(EINVAL, 9, "", 0);
  bytes.insert(bytes.end(), ack.begin(), ack.end());
  bytes.insert(bytes.end(), plain.begin(), plain.end());
  const auto errors = ReadErrors(bytes);
  ASSERT_EQ(errors.size(), 2u);
  EXPECT_EQ(errors[0].errno_value, ENOENT);
  EXPECT_EQ(errors[0].seq, 7u);
  EXPECT_EQ(errors[0].text, "no such thing");
  EXPECT_EQ(errors[0].offset, 24u);
  EXPECT_EQ(errors[1].errno_value, EINVAL);
  EXPECT_EQ(errors[1].seq, 9u);
  EXPECT_EQ(errors[1].text, "");
}

TEST(ReadErrorsTest, NumbersThatAreNoErrnoAreErrorsAllTheSame) {
  for (const int number : {-5, -2147483647, 4096}) {
    const auto errors = ReadErrors(ErrorMessage(number, 1, "", 0));
    ASSERT_EQ(errors.size(), 1u) << number;
    EXPECT_EQ(errors[0].errno_value, EPROTO) << number;
  }
}

TEST(ReadErrorsTest, EveryCutIsHarmless) {
  const std::vector<uint8_t> whole = ErrorMessage(ENOENT, 7, "text", 24);
  for (size_t size = 0; size < whole.size(); ++size) {
    // A copy of exactly that size, so that a sanitizer sees a read beyond.
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + size);
    EXPECT_TRUE(ReadErrors(cut).empty()) << size;
  }
}

TEST(ForEachAttributeTest, StopsAtTheFirstThatDoesNotFit) {
  MessageBuilder m;
  m.Begin(1, 0, 0, 0);
  m.PutU32(5, 42);
  const size_t nest = m.BeginNest(6 | NLA_F_NESTED);
  m.PutString(1, "in");
  m.EndNest(nest);
  m.End();
  std::vector<uint8_t> bytes(m.bytes().begin() + NLMSG_HDRLEN, m.bytes().end());
  std::string seen;
  const auto note = [&seen](uint16_t type, auto payload) {
    seen += std::to_string(type) + ':' + std::to_string(payload.size()) + ' ';
  };
  ForEachAttribute(bytes, note);
  EXPECT_EQ(seen, "5:4 6:8 ");
  for (size_t size = 0; size < bytes.size(); ++size) {
    seen.clear();
    const std::vector<uint8_t> cut(bytes.begin(), bytes.begin() + size);
    ForEachAttribute(cut, note);
    EXPECT_EQ(seen, size < 8 ? "" : "5:4 ") << size;
  }
}

TEST(ReadTest, ValuesOfAnotherSizeAreZero) {
  const uint8_t bytes[] = {0, 0, 1, 2, 0, 0, 0, 0};
  EXPECT_EQ(ReadBe32({bytes, 4}), 258u);
  EXPECT_EQ(ReadBe32({bytes, 3}), 0u);
  EXPECT_EQ(ReadBe64({bytes, 8}), uint64_t{258} << 32);
  EXPECT_EQ(ReadBe64({bytes, 4}), 0u);
}

TEST(NetlinkSocketTest, ReportsTheKernelsError) {
  auto socket = NetlinkSocket::Open(NETLINK_ROUTE);
  ASSERT_TRUE(socket) << socket.error().ToString();
  MessageBuilder m;
  // A request of a type nobody has registered.
  m.Begin(0xfff0, NLM_F_REQUEST, 3, 16);
  m.End();
  const auto errors = socket->Send(m.bytes());
  ASSERT_TRUE(errors) << errors.error().ToString();
  ASSERT_EQ(errors->size(), 1u);
  EXPECT_EQ((*errors)[0].errno_value, EOPNOTSUPP);
  EXPECT_EQ((*errors)[0].seq, 3u);
  const Status status = socket->Request(m.bytes(), "a try");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().errno_value, EOPNOTSUPP);
  EXPECT_EQ(status.error().message.substr(0, 5), "a try");
}

}  // namespace
}  // namespace nfarena::kernel
