// The lowering against the kernel and against what libiptc makes of the same
// table: iptables-legacy-restore loads a text, the kernel gives its entries
// back, and raising and lowering them must give the same bytes.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>

#include "compat/lower/testing/xt_socket.h"
#include "compat/lower/xt_layout.h"
#include "compat/lower/xt_table.h"

namespace nfarena {
namespace {

using testing::InNamespace;
using testing::KernelTable;

/// Clears what the kernel writes into an entry for itself.
template <typename Traits>
void ClearKernelFields(std::vector<uint8_t>* entries) {
  using Entry = typename Traits::Entry;
  for (size_t at = 0; at + sizeof(Entry) <= entries->size();) {
    Entry entry;
    std::memcpy(&entry, entries->data() + at, sizeof(entry));
    entry.comefrom = 0;
    entry.counters = {};
    std::memcpy(entries->data() + at, &entry, sizeof(entry));
    at += entry.next_offset;
  }
}

void ClearKernelFields(Family family, std::vector<uint8_t>* entries) {
  WithXtTraits(family,
               [&]<typename Traits>() { ClearKernelFields<Traits>(entries); });
}

std::string FirstDifference(const std::vector<uint8_t>& a,
                            const std::vector<uint8_t>& b) {
  if (a.size() != b.size()) {
    return fmt::format("{} bytes against {}", a.size(), b.size());
  }
  for (size_t i = 0; i < a.size(); ++i) {
    if (a[i] != b[i]) {
      return fmt::format("byte {}: {:#x} against {:#x}", i, a[i], b[i]);
    }
  }
  return "";
}

struct Case {
  const char* name;
  Family family;
  TableKind kind;
  const char* text;
};

void PrintTo(const Case& c, std::ostream* os) { *os << c.name; }

constexpr Case kCases[] = {
    {"empty", Family::kIpv4, TableKind::kFilter, "*filter\nCOMMIT\n"},
    {"targets", Family::kIpv4, TableKind::kFilter,
     "*filter\n:INPUT DROP [1:2]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n:zz - [0:0]\n:Aa - [0:0]\n:a-b - [0:0]\n"
     "-A INPUT -j zz\n-A INPUT -g Aa\n-A INPUT\n-A INPUT -j QUEUE\n"
     "-A zz -s 192.0.2.0/24 -i eth+ -j RETURN\n-A zz ! -o lo -j ACCEPT\n"
     "-A Aa -f -j DROP\n-A Aa ! -f -j a-b\n-A a-b ! -p tcp -j DROP\n"
     "COMMIT\n"},
    {"extensions", Family::kIpv4, TableKind::kFilter,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n"
     "-A INPUT -p tcp -m tcp --dport 22 -m conntrack --ctstate NEW -m limit "
     "--limit 3/min -j LOG --log-prefix \"ssh: \"\n"
     "-A INPUT -p udp -m multiport --dports 53,123 -m comment --comment x "
     "-j REJECT\n"
     "-A INPUT -p icmp -m icmp --icmp-type 8 -j NFQUEUE --queue-num 3\n"
     "-A OUTPUT -m owner --uid-owner 0 -j ACCEPT\n"
     "COMMIT\n"},
    {"nat", Family::kIpv4, TableKind::kNat,
     "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
     "-A PREROUTING -d 198.51.100.1/32 -p tcp -m tcp --dport 80 -j DNAT "
     "--to-destination 192.0.2.9:8080\n"
     "-A POSTROUTING -o eth0 -j MASQUERADE\nCOMMIT\n"},
    {"mangle", Family::kIpv4, TableKind::kMangle,
     "*mangle\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n"
     ":FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n"
     ":POSTROUTING ACCEPT [0:0]\n"
     "-A FORWARD -p tcp -m tcp --tcp-flags SYN,RST SYN -j TCPMSS "
     "--clamp-mss-to-pmtu\n-A PREROUTING -j MARK --set-mark 5\nCOMMIT\n"},
    {"v6", Family::kIpv6, TableKind::kFilter,
     "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD DROP [0:0]\n"
     ":OUTPUT ACCEPT [0:0]\n:user - [0:0]\n"
     "-A INPUT -s 2001:db8::/32 -p tcp -m tcp --dport 22 -j user\n"
     "-A INPUT ! -p udp -i eth0 -g user\n-A INPUT -p ipv6-icmp -j ACCEPT\n"
     "-A user -j REJECT\nCOMMIT\n"},
};

class KernelXtTable : public ::testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    static const auto kBlocked = testing::KernelTestsBlockedBy();
    if (kBlocked) GTEST_SKIP() << *kBlocked;
  }
};

/// Loads the case by libiptc; returns what raising and lowering gives.
std::string LoadAndLower(const Case& c, KernelTable* loaded,
                         XtTableImage* image) {
  if (testing::LegacyRestore(c.family, c.text) != 0) return "restore failed";
  if (const int e = testing::ReadTable(c.family, c.kind, loaded)) {
    return fmt::format("GET_ENTRIES: {}", strerror(e));
  }
  auto table =
      RaiseXtTable(c.family, c.kind, loaded->entries, loaded->hook_entry,
                   loaded->underflow, loaded->valid_hooks, {});
  if (!table) return table.error().ToString();
  auto lowered = LowerXtTable(c.family, *table);
  if (!lowered) return lowered.error().ToString();
  *image = std::move(*lowered);
  return "";
}

TEST_P(KernelXtTable, LowersToTheBytesLibiptcLoads) {
  const Case& c = GetParam();
  EXPECT_EQ(InNamespace([&]() -> std::string {
              KernelTable loaded;
              XtTableImage image;
              const std::string error = LoadAndLower(c, &loaded, &image);
              if (!error.empty()) return error;
              ClearKernelFields(c.family, &loaded.entries);
              std::vector<uint8_t> ours(
                  image.replace.begin() + sizeof(ipt_replace),
                  image.replace.end());
              ClearKernelFields(c.family, &ours);
              ipt_replace head;
              std::memcpy(&head, image.replace.data(), sizeof(head));
              // The kernel leaves the offsets of hooks without a chain at -1.
              for (size_t h = 0; h < kHookCount; ++h) {
                if ((head.valid_hooks >> h & 1) == 0) continue;
                if (head.hook_entry[h] != loaded.hook_entry[h] ||
                    head.underflow[h] != loaded.underflow[h]) {
                  return "hook offsets differ";
                }
              }
              if (head.num_entries != loaded.num_entries) {
                return "num_entries differs";
              }
              return FirstDifference(loaded.entries, ours);
            }),
            "");
}

TEST_P(KernelXtTable, KernelTakesTheBytesAndGivesThemBack) {
  const Case& c = GetParam();
  EXPECT_EQ(InNamespace([&]() -> std::string {
              KernelTable loaded;
              XtTableImage image;
              const std::string error = LoadAndLower(c, &loaded, &image);
              if (!error.empty()) return error;
              // A namespace of its own again, with nothing loaded by libiptc.
              return InNamespace([&]() -> std::string {
                if (const int e =
                        testing::WriteTable(c.family, c.kind, image.replace)) {
                  return fmt::format("SET_REPLACE: {}", strerror(e));
                }
                KernelTable ours;
                if (const int e = testing::ReadTable(c.family, c.kind, &ours)) {
                  return fmt::format("GET_ENTRIES: {}", strerror(e));
                }
                // Counters went in by ADD_COUNTERS there, not here.
                ClearKernelFields(c.family, &ours.entries);
                ClearKernelFields(c.family, &loaded.entries);
                return FirstDifference(loaded.entries, ours.entries);
              });
            }),
            "");
}

INSTANTIATE_TEST_SUITE_P(Tables, KernelXtTable, ::testing::ValuesIn(kCases),
                         [](const auto& test_case) {
                           return std::string(test_case.param.name);
                         });

}  // namespace
}  // namespace nfarena
