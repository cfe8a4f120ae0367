// Which size every attribute of an nf_tables message must have.
//
// libnftnl takes an attribute of another size for a broken kernel interface and
// calls exit() (abi_breakage() in libnftnl 1.2.4, src/utils.c), so a message
// from elsewhere is checked here before libnftnl sees it.
#pragma once

#include "compat/model/result.h"

struct nlmsghdr;

namespace nfarena::nft {

/// Whether libnftnl can read a whole message of nf_tables that describes a
/// table, a chain, a rule or a set (NFT_MSG_NEW* and NFT_MSG_DEL*); other
/// messages are not looked at.  Attributes without a name in the policy are
/// passed over, as the kernel and libnftnl pass over them.
/// Errors: kSyntax, with the attribute's path by number.
[[nodiscard]] Status CheckAttributes(const nlmsghdr& message);

}  // namespace nfarena::nft
