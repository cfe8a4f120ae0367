# Every library comes from Debian 12; a missing one is named with its package.
find_package(PkgConfig REQUIRED)

function(nfarena_require_pkg prefix module package)
  pkg_check_modules(${prefix} QUIET IMPORTED_TARGET GLOBAL ${module})
  if(NOT ${prefix}_FOUND)
    message(FATAL_ERROR
      "${module} is missing: apt-get install ${package} (or run ci/setup)")
  endif()
endfunction()

function(nfarena_require_cmake name package)
  find_package(${name} QUIET ${ARGN})
  if(NOT ${name}_FOUND)
    message(FATAL_ERROR
      "${name} is missing: apt-get install ${package} (or run ci/setup)")
  endif()
  # find_package sets its targets in this scope only.
  set(${name}_FOUND TRUE PARENT_SCOPE)
endfunction()

nfarena_require_pkg(XTABLES xtables libxtables-dev)
nfarena_require_pkg(IP4TC libip4tc libiptc-dev)
nfarena_require_pkg(IP6TC libip6tc libiptc-dev)
nfarena_require_pkg(NFTNL libnftnl libnftnl-dev)
nfarena_require_pkg(MNL libmnl libmnl-dev)
nfarena_require_pkg(PCAP libpcap libpcap-dev)
nfarena_require_cmake(fmt libfmt-dev GLOBAL)
nfarena_require_cmake(CLI11 libcli11-dev)
nfarena_require_cmake(tl-expected libexpected-dev GLOBAL)
nfarena_require_cmake(nlohmann_json nlohmann-json3-dev GLOBAL)
find_package(Threads REQUIRED)
if(NFARENA_BUILD_TESTS)
  nfarena_require_cmake(GTest libgtest-dev GLOBAL)
endif()
if(NFARENA_BUILD_BENCH)
  nfarena_require_cmake(benchmark libbenchmark-dev GLOBAL)
endif()
