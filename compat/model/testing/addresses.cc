#include "compat/model/testing/addresses.h"

#include <arpa/inet.h>

#include <cstdio>
#include <cstdlib>
#include <string>

namespace nfarena::testing {

Address ParseAddress(std::string_view text) {
  const int family =
      text.find(':') == std::string_view::npos ? AF_INET : AF_INET6;
  const std::string copy(text);
  Address address{};
  if (inet_pton(family, copy.c_str(), address.data()) != 1) {
    std::fprintf(stderr, "a test says '%s' where an address belongs\n",
                 copy.c_str());
    std::abort();
  }
  return address;
}

}  // namespace nfarena::testing
