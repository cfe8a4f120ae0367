// Rules for tests of lowerings and engines, without a parser.
#pragma once

#include <linux/netfilter/xt_limit.h>
#include <linux/netfilter/xt_mark.h>
#include <linux/netfilter/xt_tcpudp.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <initializer_list>
#include <string>
#include <string_view>

#include "compat/model/ruleset.h"

namespace nfarena::testing {

/// An extension whose payload is the uapi struct `info`.
template <typename Info>
Extension ExtensionOf(std::string_view name, uint8_t revision,
                      const Info& info) {
  Extension e{.name = std::string(name), .revision = revision};
  e.payload.resize((sizeof(info) + 7) / 8 * 8);
  std::memcpy(e.payload.data(), &info, sizeof(info));
  e.user_size = static_cast<uint16_t>(sizeof(info));
  return e;
}

inline Extension TcpPort(uint16_t port) {
  xt_tcp info{};
  info.spts[1] = 0xffff;
  info.dpts[0] = info.dpts[1] = port;
  return ExtensionOf("tcp", 0, info);
}

/// -m limit at one packet an hour, with a burst: a match with state.
inline Extension LimitBurst(uint32_t burst) {
  xt_rateinfo info{};
  info.avg = XT_LIMIT_SCALE * 60 * 60;
  info.burst = burst;
  Extension e = ExtensionOf("limit", 0, info);
  e.user_size = offsetof(xt_rateinfo, prev);
  return e;
}

inline Extension MarkIs(uint32_t mark) {
  xt_mark_mtinfo1 info{};
  info.mark = mark;
  info.mask = 0xffffffff;
  return ExtensionOf("mark", 1, info);
}

inline Extension SetMark(uint32_t mark) {
  xt_mark_tginfo2 info{};
  info.mark = mark;
  info.mask = 0xffffffff;
  return ExtensionOf("MARK", 2, info);
}

/// Builds one rule: R().Src("...").Match(...).Jump("web").
class R {
 public:
  R& Src(std::initializer_list<uint8_t> address, size_t prefix_bytes) {
    Fill(address, prefix_bytes, &rule_.selector.src, &rule_.selector.src_mask);
    return *this;
  }
  R& Dst(std::initializer_list<uint8_t> address, size_t prefix_bytes) {
    Fill(address, prefix_bytes, &rule_.selector.dst, &rule_.selector.dst_mask);
    return *this;
  }
  /// "eth0" exactly, "eth+" as a prefix.
  R& In(std::string_view name) {
    rule_.selector.in = Interface(name);
    return *this;
  }
  R& Out(std::string_view name) {
    rule_.selector.out = Interface(name);
    return *this;
  }
  R& Proto(uint16_t protocol) {
    rule_.selector.protocol = protocol;
    return *this;
  }
  R& Fragment() {
    rule_.selector.fragment = true;
    return *this;
  }
  R& Not(InvertBit bit) {
    rule_.selector.inverted |= bit;
    return *this;
  }
  R& Match(Extension match) {
    rule_.matches.push_back(std::move(match));
    return *this;
  }
  R& Line(uint32_t line) {
    rule_.line = line;
    return *this;
  }
  R& Count(uint64_t packets, uint64_t bytes) {
    rule_.counters = {packets, bytes};
    return *this;
  }
  Rule Accept() { return To(TargetKind::kAccept); }
  Rule Drop() { return To(TargetKind::kDrop); }
  Rule Return() { return To(TargetKind::kReturn); }
  Rule Queue() { return To(TargetKind::kQueue); }
  Rule None() { return To(TargetKind::kNone); }
  Rule Jump(std::string chain) {
    rule_.target.chain = std::move(chain);
    return To(TargetKind::kJump);
  }
  Rule Goto(std::string chain) {
    rule_.target.chain = std::move(chain);
    return To(TargetKind::kGoto);
  }
  Rule Do(Extension target) {
    rule_.target.extension = std::move(target);
    return To(TargetKind::kExtension);
  }

 private:
  static void Fill(std::initializer_list<uint8_t> from, size_t prefix_bytes,
                   Address* address, Address* mask) {
    std::copy(from.begin(), from.end(), address->begin());
    std::fill_n(mask->begin(), prefix_bytes, uint8_t{0xff});
  }
  static InterfaceTest Interface(std::string_view name) {
    InterfaceTest test;
    const bool prefix = name.back() == '+';
    std::copy(name.begin(), name.end(), test.name.begin());
    std::fill_n(test.mask.begin(), prefix ? name.size() - 1 : name.size() + 1,
                uint8_t{0xff});
    return test;
  }
  Rule To(TargetKind kind) {
    rule_.target.kind = kind;
    return rule_;
  }

  Rule rule_;
};

}  // namespace nfarena::testing
