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

  gtest_discover_tests(test_${layer} TEST_FILTER "-Long*:*/Long*" DISCOVERY_TIMEOUT 60
                       NO_PRETTY_VALUES
                       PROPERTIES LABELS ${layer} TIMEOUT 300)
  gtest_discover_tests(test_${layer} TEST_FILTER "Long*:*/Long*" DISCOVERY_TIMEOUT 60
                       NO_PRETTY_VALUES
                       PROPERTIES LABELS long TIMEOUT 7200)
endfunction()

pervma_add_tests(sync)
pervma_add_tests(tree)
pervma_add_tests(range)
pervma_add_tests(vm)
pervma_add_tests(fault)
if(TARGET pervma_trace)
  pervma_add_tests(trace pervma_trace)
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
