#include "compat/syntax/address.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>

#include <cstring>
#include <string>

#include "compat/syntax/xt_headers.h"

namespace nfarena {

namespace {

// The buffer of libxtables for one address with its mask, less the NUL.
constexpr size_t kMaxAddressText = 255;

// Decimal digits only; -1 for anything else, so that the caller can ask
// libxtables, which knows hexadecimal and octal.
int ParsePlainNumber(std::string_view text) {
  if (text.empty() || text.size() > 3) return -1;
  if (text.size() > 1 && text[0] == '0') return -1;
  int value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return -1;
    value = value * 10 + (c - '0');
  }
  return value;
}

Status ParseMask(const std::string& text, Family family, Address* mask) {
  const bool ipv4 = family == Family::kIpv4;
  const unsigned max_bits = ipv4 ? 32 : 128;
  const int plain = ParsePlainNumber(text);
  if (plain >= 0 && static_cast<unsigned>(plain) <= max_bits) {
    SetPrefixMask(static_cast<unsigned>(plain), max_bits / 8, mask->data());
    return {};
  }
  if (ipv4) {
    if (ParseIpv4Literal(text, mask->data())) return {};
    if (const in_addr* dotted = xtables_numeric_to_ipmask(text.c_str())) {
      std::memcpy(mask->data(), dotted, sizeof(*dotted));
      return {};
    }
  } else if (inet_pton(AF_INET6, text.c_str(), mask->data()) == 1) {
    return {};
  }
  unsigned bits = 0;
  if (!xtables_strtoui(text.c_str(), nullptr, &bits, 0, max_bits)) {
    return Fail(ErrorCode::kSyntax, fmt::format("invalid mask '{}'", text));
  }
  SetPrefixMask(bits, max_bits / 8, mask->data());
  return {};
}

Status ResolveName(const std::string& name, Family family, bool resolve,
                   std::vector<Address>* out) {
  if (!resolve) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("'{}' is not an address, and names are not looked "
                            "up here",
                            name));
  }
  if (family == Family::kIpv4) {
    const netent* net = getnetbyname(name.c_str());
    if (net != nullptr && net->n_addrtype == AF_INET) {
      const uint32_t value = htonl(net->n_net);
      Address address{};
      std::memcpy(address.data(), &value, sizeof(value));
      out->push_back(address);
      return {};
    }
  }
  addrinfo hints{};
  hints.ai_family = family == Family::kIpv4 ? AF_INET : AF_INET6;
  hints.ai_socktype = SOCK_RAW;
  addrinfo* list = nullptr;
  const int error = getaddrinfo(name.c_str(), nullptr, &hints, &list);
  if (error != 0) {
    return Fail(ErrorCode::kSyntax,
                fmt::format("host or network '{}' not found: {}", name,
                            gai_strerror(error)));
  }
  for (const addrinfo* p = list; p != nullptr; p = p->ai_next) {
    Address address{};
    if (family == Family::kIpv4) {
      std::memcpy(address.data(),
                  &reinterpret_cast<const sockaddr_in*>(p->ai_addr)->sin_addr,
                  4);
    } else {
      std::memcpy(address.data(),
                  &reinterpret_cast<const sockaddr_in6*>(p->ai_addr)->sin6_addr,
                  16);
    }
    out->push_back(address);
  }
  freeaddrinfo(list);
  return {};
}

bool ParseNumericAddress(const std::string& text, Family family,
                         Address* address) {
  if (family == Family::kIpv6) {
    return inet_pton(AF_INET6, text.c_str(), address->data()) == 1;
  }
  if (ParseIpv4Literal(text, address->data())) return true;
  // Knows "10", "10.1" and numbers in other bases.
  const in_addr* dotted = xtables_numeric_to_ipaddr(text.c_str());
  if (dotted == nullptr) return false;
  std::memcpy(address->data(), dotted, sizeof(*dotted));
  return true;
}

Status ParseOneAddress(std::string_view text, Family family, bool resolve,
                       std::vector<AddressAndMask>* out,
                       std::vector<std::string>* resolved) {
  AddressAndMask parsed;
  const size_t slash = text.rfind('/');
  const std::string_view host_view = text.substr(0, slash);

  // The common case, without a copy.
  if (family == Family::kIpv4 &&
      ParseIpv4Literal(host_view, parsed.address.data())) {
    int bits = 32;
    if (slash != std::string_view::npos) {
      bits = ParsePlainNumber(text.substr(slash + 1));
    }
    if (bits >= 0 && bits <= 32) {
      SetPrefixMask(static_cast<unsigned>(bits), 4, parsed.mask.data());
      for (size_t i = 0; i < 4; ++i) parsed.address[i] &= parsed.mask[i];
      out->push_back(parsed);
      return {};
    }
  }

  if (text.size() > kMaxAddressText) {
    return Fail(ErrorCode::kRange, "host name too long");
  }
  const std::string host(host_view);
  if (slash == std::string_view::npos) {
    const bool ipv4 = family == Family::kIpv4;
    SetPrefixMask(ipv4 ? 32 : 128, ipv4 ? 4 : 16, parsed.mask.data());
  } else {
    RETURN_IF_ERROR(
        ParseMask(std::string(text.substr(slash + 1)), family, &parsed.mask));
  }
  // With an empty mask the address does not matter, as in "any/0".
  if (parsed.mask == Address{}) {
    out->push_back(AddressAndMask{});
    return {};
  }
  std::vector<Address> addresses;
  Address numeric{};
  if (ParseNumericAddress(host, family, &numeric)) {
    addresses.push_back(numeric);
  } else {
    RETURN_IF_ERROR(ResolveName(host, family, resolve, &addresses));
    resolved->push_back(host);
  }
  for (const Address& address : addresses) {
    parsed.address = address;
    for (size_t i = 0; i < parsed.address.size(); ++i) {
      parsed.address[i] &= parsed.mask[i];
    }
    out->push_back(parsed);
  }
  return {};
}

}  // namespace

bool ParseIpv4Literal(std::string_view text, uint8_t out[4]) {
  size_t at = 0;
  for (int part = 0; part < 4; ++part) {
    if (part != 0) {
      if (at >= text.size() || text[at] != '.') return false;
      ++at;
    }
    unsigned value = 0;
    const size_t first = at;
    while (at < text.size() && text[at] >= '0' && text[at] <= '9') {
      value = value * 10 + static_cast<unsigned>(text[at] - '0');
      ++at;
      if (at - first > 3) return false;
    }
    // A leading zero means octal to libxtables.
    if (at == first || value > 255) return false;
    if (at - first > 1 && text[first] == '0') return false;
    out[part] = static_cast<uint8_t>(value);
  }
  return at == text.size();
}

void SetPrefixMask(unsigned bits, size_t size, uint8_t* out) {
  for (size_t i = 0; i < size; ++i) {
    const unsigned left =
        bits > i * 8 ? bits - static_cast<unsigned>(i * 8) : 0;
    out[i] = left >= 8 ? 0xff : static_cast<uint8_t>(0xff00u >> left);
  }
}

Status ParseAddressList(std::string_view text, Family family, bool resolve,
                        std::vector<AddressAndMask>* out,
                        std::vector<std::string>* resolved) {
  while (true) {
    while (!text.empty() &&
           (text[0] == ' ' || (text[0] >= '\t' && text[0] <= '\r')))
      text.remove_prefix(1);
    const size_t comma = text.find(',');
    RETURN_IF_ERROR(
        ParseOneAddress(text.substr(0, comma), family, resolve, out, resolved));
    if (comma == std::string_view::npos) return {};
    text.remove_prefix(comma + 1);
  }
}

}  // namespace nfarena
