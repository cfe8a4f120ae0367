# A dependency on nfarena::x is resolved when the build files are written, so
# that directories may be added in any order.
function(nfarena_late_names out)
  list(TRANSFORM ARGN REPLACE "^nfarena::" "nfarena_")
  set(${out} ${ARGN} PARENT_SCOPE)
endfunction()

# nfarena_library(NAME sources... DEPS libs...)    static library nfarena::NAME
# nfarena_test(NAME sources... DEPS libs... LABELS labels...)   GoogleTest program
# nfarena_fuzzer(NAME source DEPS libs...)         libFuzzer program
include(GoogleTest)

add_library(nfarena_options INTERFACE)
target_compile_options(nfarena_options INTERFACE
  -Wall -Wextra -Wpedantic -Wconversion -Wno-sign-conversion -Wshadow
  -Wnon-virtual-dtor -Wno-missing-field-initializers)
# g++ 12 warns of overlapping copies inside std::string's operator+ (GCC bug
# 105651); clang has no such warning.
target_compile_options(nfarena_options INTERFACE
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
if(NFARENA_WERROR)
  target_compile_options(nfarena_options INTERFACE -Werror)
endif()
if(NFARENA_SANITIZE)
  target_compile_options(nfarena_options INTERFACE
    -fsanitize=${NFARENA_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all
    # g++ 12 takes the sanitizers' own code inside libstdc++ for such a use.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  target_link_options(nfarena_options INTERFACE -fsanitize=${NFARENA_SANITIZE})
endif()
if(NFARENA_BUILD_FUZZERS)
  target_compile_options(nfarena_options INTERFACE -fsanitize=fuzzer-no-link)
  target_link_options(nfarena_options INTERFACE -fsanitize=fuzzer-no-link)
endif()
target_include_directories(nfarena_options INTERFACE ${PROJECT_SOURCE_DIR})

function(nfarena_library name)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  nfarena_late_names(ARG_DEPS ${ARG_DEPS})
  add_library(nfarena_${name} STATIC ${ARG_UNPARSED_ARGUMENTS})
  add_library(nfarena::${name} ALIAS nfarena_${name})
  target_link_libraries(nfarena_${name} PUBLIC ${ARG_DEPS} PRIVATE nfarena_options)
  target_include_directories(nfarena_${name} PUBLIC ${PROJECT_SOURCE_DIR})
endfunction()

function(nfarena_test name)
  if(NOT NFARENA_BUILD_TESTS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "TIMEOUT" "DEPS;LABELS" ${ARGN})
  if(NOT ARG_LABELS)
    set(ARG_LABELS unit)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  nfarena_late_names(ARG_DEPS ${ARG_DEPS})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE
    ${ARG_DEPS} nfarena_options GTest::gtest GTest::gmock GTest::gtest_main)
  # A test's own code need not be fast, and compiles in half the time.
  if(CMAKE_BUILD_TYPE STREQUAL "Release")
    target_compile_options(${name} PRIVATE -O0)
  endif()
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  # One CTest entry a case, so that a skipped one is seen and one can be rerun.
  gtest_discover_tests(${name}
    WORKING_DIRECTORY ${PROJECT_SOURCE_DIR}
    TEST_PREFIX ${name}. NO_PRETTY_VALUES DISCOVERY_MODE PRE_TEST
    PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
endfunction()

function(nfarena_fuzzer name)
  if(NOT NFARENA_BUILD_FUZZERS)
    return()
  endif()
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  nfarena_late_names(ARG_DEPS ${ARG_DEPS})
  add_executable(${name} ${ARG_UNPARSED_ARGUMENTS})
  target_link_libraries(${name} PRIVATE ${ARG_DEPS} nfarena_options)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  set_target_properties(${name} PROPERTIES
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
endfunction()
