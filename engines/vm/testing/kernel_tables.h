// nf_tables of a fresh network namespace, asked in the same terms as the twin:
// bytes in, answers and dumps out.
//
// The namespace lives as long as the socket that was opened in it; no process
// has to stay there.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "compat/model/result.h"
#include "engines/vm/control_plane.h"

namespace nfarena::vm {

class KernelTables {
 public:
  /// Errors: kSystem (no right to make a namespace, no nf_tables).
  static Result<KernelTables> Open();
  KernelTables(KernelTables&& other) noexcept;
  ~KernelTables();

  /// Sends one batch and collects the answers.
  BatchResult Submit(std::span<const uint8_t> batch);
  /// The messages of a dump without NLMSG_DONE; port ids are zeroed.
  std::vector<uint8_t> Dump(DumpKind kind, const DumpRequest& request);
  std::vector<uint8_t> DumpElements(std::string_view table,
                                    std::string_view set,
                                    const DumpRequest& request);

 private:
  explicit KernelTables(int socket) : socket_(socket) {}
  std::vector<uint8_t> Ask(std::span<const uint8_t> request);

  int socket_ = -1;
};

}  // namespace nfarena::vm
