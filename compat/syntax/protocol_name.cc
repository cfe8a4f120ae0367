#include "compat/syntax/protocol_name.h"

#include <netdb.h>

#include "compat/syntax/xt_headers.h"

namespace nfarena {

std::string ProtocolName(uint16_t protocol, bool look_up) {
  for (const xtables_pprot* p = xtables_chain_protos; p->name != nullptr; ++p) {
    if (p->num == protocol) return p->name;
  }
  if (protocol == 0 || !look_up) return "";
  const protoent* entry = getprotobynumber(protocol);
  return entry != nullptr ? entry->p_name : "";
}

}  // namespace nfarena
