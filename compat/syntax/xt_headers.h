// The C headers of libxtables and the kernel, in the one order that compiles:
// glibc's net/if.h and netinet/in.h before the kernel's linux/if.h and in.h.
#pragma once

// clang-format off
#include <getopt.h>
#include <net/if.h>
#include <netinet/in.h>
#include <linux/netfilter/x_tables.h>
#include <linux/netfilter_ipv4/ip_tables.h>
#include <linux/netfilter_ipv6/ip6_tables.h>
#include <xtables.h>
// clang-format on
