# One GoogleTest program per layer from tests/<layer>/*.cpp; a layer without tests is left out.
# Labels: the layer's name, and `long` for suites whose name starts with Long.
find_package(GTest REQUIRED)
include(GoogleTest)

file(GLOB PERVMA_TEST_SUPPORT CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/support/*.cpp)

function(pervma_add_tests layer)
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/${layer}/*.cpp)
  if(NOT sources)
    return()
  endif()
  add_executable(test_${layer} ${sources} ${PERVMA_TEST_SUPPORT})
  target_include_directories(test_${layer} PRIVATE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(test_${layer} PRIVATE pervma_flags pervma ${ARGN} GTest::gmock
                        GTest::gtest_main)
  target_compile_definitions(test_${layer} PRIVATE
    PERVMA_TEST_TRACES="${PROJECT_SOURCE_DIR}/traces"
    PERVMA_TEST_DATA="${PROJECT_SOURCE_DIR}/tests/${layer}"
    PERVMA_TEST_TOOL="${PROJECT_BINARY_DIR}/pervma")

  # What these test is compiled with their headers, and shows its races when it is optimised. The
  # others test libraries: to optimise their own long functions would be most of a build's time.
  if(NOT layer IN_LIST PERVMA_HEADER_LAYERS)
    target_compile_options(test_${layer} PRIVATE $<IF:$<CONFIG:Release>,-O1,-O0>)
  endif()

  gtest_discover_tests(test_${layer} TEST_FILTER "-Long*:*/Long*" DISCOVERY_TIMEOUT 60
                       NO_PRETTY_VALUES
                       PROPERTIES LABELS ${layer} TIMEOUT 300)
  gtest_discover_tests(test_${layer} TEST_FILTER "Long*:*/Long*" DISCOVERY_TIMEOUT 60
                       NO_PRETTY_VALUES
                       PROPERTIES LABELS long TIMEOUT 7200)
endfunction()

set(PERVMA_HEADER_LAYERS sync tree range)
pervma_add_tests(sync)
pervma_add_tests(tree)
pervma_add_tests(range)
pervma_add_tests(vm fmt::fmt-header-only)
if(TARGET pervma_compressed)
  pervma_add_tests(fault pervma_compressed)
endif()

# The C API, from programs in C11 that a C++ compiler never sees.
enable_language(C)
function(pervma_add_c_program name source label)
  add_executable(${name} ${source})
  set_target_properties(${name} PROPERTIES C_STANDARD 11 C_STANDARD_REQUIRED ON C_EXTENSIONS OFF
                        LINKER_LANGUAGE CXX)
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic -Werror)
  if(PERVMA_SANITIZER)
    target_compile_options(${name} PRIVATE -fsanitize=${PERVMA_SANITIZER})
    target_link_options(${name} PRIVATE -fsanitize=${PERVMA_SANITIZER}
                        $<$<STREQUAL:${PERVMA_SANITIZER},address>:-fsanitize=undefined>)
  endif()
  target_link_libraries(${name} PRIVATE pervma Threads::Threads)
  add_test(NAME ${label}.${name} COMMAND ${name})
  set_tests_properties(${label}.${name} PROPERTIES LABELS ${label} TIMEOUT 300)
endfunction()
file(GLOB PERVMA_C_TESTS CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tests/capi/*.c)
foreach(source ${PERVMA_C_TESTS})
  get_filename_component(name ${source} NAME_WE)
  pervma_add_c_program(${name} ${source} capi)
  target_include_directories(${name} PRIVATE ${PROJECT_SOURCE_DIR})
endforeach()

# The examples are built and run as tests.
file(GLOB PERVMA_CXX_EXAMPLES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.cpp)
foreach(source ${PERVMA_CXX_EXAMPLES})
  get_filename_component(name ${source} NAME_WE)
  add_executable(example_${name} ${source})
  target_link_libraries(example_${name} PRIVATE pervma_flags pervma Threads::Threads)
  add_test(NAME examples.${name} COMMAND example_${name})
  set_tests_properties(examples.${name} PROPERTIES LABELS examples TIMEOUT 300)
endforeach()
file(GLOB PERVMA_C_EXAMPLES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.c)
foreach(source ${PERVMA_C_EXAMPLES})
  get_filename_component(name ${source} NAME_WE)
  pervma_add_c_program(example_${name} ${source} examples)
endforeach()

if(TARGET pervma_trace)
  pervma_add_tests(trace pervma_trace)
  # One thread, and an operator new of its own where TSan brings another.
  if(NOT PERVMA_SANITIZER STREQUAL "thread")
    pervma_add_tests(fuzz pervma_trace fmt::fmt)
  endif()
endif()
if(TARGET pervma_bench AND TARGET pervma_tool)
  pervma_add_tests(bench pervma_bench nlohmann_json::nlohmann_json)
  add_dependencies(test_bench pervma_tool)
endif()
if(TARGET pervma_tool)
  pervma_add_tests(tools nlohmann_json::nlohmann_json fmt::fmt)
  if(TARGET test_tools)
    add_dependencies(test_tools pervma_tool)
  endif()
endif()

# These two look at the installed tree and at the scripts, which no sanitizer changes.
if(NOT PERVMA_SANITIZER)
  if(PERVMA_INSTALL)
    add_test(NAME install.consumer_builds_against_the_installed_tree
             COMMAND ${PROJECT_SOURCE_DIR}/tests/install/install_test.sh ${PROJECT_BINARY_DIR}
                     ${CMAKE_COMMAND} ${CMAKE_GENERATOR} ${CMAKE_CXX_COMPILER} ${PROJECT_VERSION})
    set_tests_properties(install.consumer_builds_against_the_installed_tree PROPERTIES
                         LABELS install TIMEOUT 300)
  endif()
  add_test(NAME scripts.checks_find_what_they_look_for
           COMMAND ${PROJECT_SOURCE_DIR}/tests/scripts/scripts_test.sh)
  set_tests_properties(scripts.checks_find_what_they_look_for PROPERTIES LABELS scripts TIMEOUT 60)
endif()

# The fuzz target itself: clang's libFuzzer, by scripts/fuzz.
if(PERVMA_FUZZ AND TARGET pervma_trace)
  add_executable(fuzz_operations tests/fuzz/operations_fuzz.cpp tests/fuzz/program.cpp
                 tests/fuzz/failing_allocation.cpp)
  target_include_directories(fuzz_operations PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  target_link_libraries(fuzz_operations PRIVATE pervma_flags pervma pervma_trace fmt::fmt)
  target_link_options(fuzz_operations PRIVATE -fsanitize=fuzzer)
endif()
