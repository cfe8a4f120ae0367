// The attributes of a netlink message, to be walked with a range-for: libmnl's
// own loops are macros that need `typeof`.
#pragma once

#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>

namespace nfarena::nft {

/// The attributes between two addresses; ends before the first whose length is
/// wrong, as mnl_attr_for_each() does.
class AttributeRange {
 public:
  class Iterator {
   public:
    Iterator(const nlattr* at, const char* end) : at_(at), end_(end) {
      StopAtTheEnd();
    }
    const nlattr& operator*() const { return *at_; }
    Iterator& operator++() {
      at_ = mnl_attr_next(at_);
      StopAtTheEnd();
      return *this;
    }
    bool operator!=(const Iterator& other) const { return at_ != other.at_; }

   private:
    void StopAtTheEnd() {
      const auto left = end_ - reinterpret_cast<const char*>(at_);
      if (!mnl_attr_ok(at_, static_cast<int>(left))) at_ = nullptr;
    }

    const nlattr* at_;
    const char* end_;
  };

  AttributeRange(const void* begin, const void* end)
      : begin_(static_cast<const nlattr*>(begin)),
        end_(static_cast<const char*>(end)) {}
  Iterator begin() const { return {begin_, end_}; }
  Iterator end() const { return {nullptr, nullptr}; }

 private:
  const nlattr* begin_;
  const char* end_;
};

inline AttributeRange AttributesOf(const nlattr& nest) {
  const auto* begin = static_cast<const char*>(mnl_attr_get_payload(&nest));
  return {begin, begin + mnl_attr_get_payload_len(&nest)};
}

/// Those behind the message's nfgenmsg, which it must have.
inline AttributeRange AttributesOf(const nlmsghdr& message) {
  return {mnl_nlmsg_get_payload_offset(&message, sizeof(nfgenmsg)),
          mnl_nlmsg_get_payload_tail(&message)};
}

}  // namespace nfarena::nft
