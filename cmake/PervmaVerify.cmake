# The model checking of the lock protocols: one program per verify/relacy/*.cpp, run by Relacy.
# Label `verify`. g++ only (Relacy replaces operator new in a way that clang refuses), and in no
# sanitizer build: Relacy's fibers are not for them, and it watches more closely than they do.
if(PERVMA_SANITIZER OR NOT CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  return()
endif()
find_path(PERVMA_RELACY_DIR relacy/relacy.hpp REQUIRED)
mark_as_advanced(PERVMA_RELACY_DIR)

set(PERVMA_VERIFY ${PROJECT_SOURCE_DIR}/verify)
file(GLOB PERVMA_HARNESSES CONFIGURE_DEPENDS ${PERVMA_VERIFY}/relacy/*.cpp)
list(REMOVE_ITEM PERVMA_HARNESSES ${PERVMA_VERIFY}/relacy/harness.cpp)

# Assertions are part of what is checked, so they are on; optimised, because it runs millions.
add_library(pervma_verify STATIC ${PERVMA_VERIFY}/relacy/harness.cpp)
target_compile_features(pervma_verify PUBLIC cxx_std_20)
target_include_directories(pervma_verify PUBLIC ${PROJECT_SOURCE_DIR}/src
                           ${PROJECT_SOURCE_DIR}/include)
target_include_directories(pervma_verify SYSTEM PUBLIC ${PERVMA_RELACY_DIR})
target_compile_definitions(pervma_verify PUBLIC PERVMA_DEBUG_CHECKS=1)
target_compile_options(pervma_verify PUBLIC -O2 -Wall -Wextra)

set(PERVMA_VERIFY_DIR ${PROJECT_BINARY_DIR}/verify)
foreach(source IN LISTS PERVMA_HARNESSES)
  get_filename_component(name ${source} NAME_WE)
  add_executable(verify_${name} ${source})
  target_link_libraries(verify_${name} PRIVATE pervma_verify)
  set_target_properties(verify_${name} PROPERTIES OUTPUT_NAME ${name}
                        RUNTIME_OUTPUT_DIRECTORY ${PERVMA_VERIFY_DIR})
  add_test(NAME verify.${name}_holds COMMAND verify_${name})
  set_tests_properties(verify.${name}_holds PROPERTIES LABELS verify TIMEOUT 600)
endforeach()

add_test(NAME verify.every_mutant_is_caught
         COMMAND ${PERVMA_VERIFY}/run_mutants ${PERVMA_VERIFY_DIR})
set_tests_properties(verify.every_mutant_is_caught PROPERTIES LABELS verify TIMEOUT 600)

# The plain harnesses must stay what a stateless model checker can compile: clang 16 where it is.
find_program(PERVMA_LITMUS_COMPILER NAMES clang++-16 clang++-19)
mark_as_advanced(PERVMA_LITMUS_COMPILER)
if(PERVMA_LITMUS_COMPILER)
  add_test(NAME verify.plain_harnesses_compile_alone_and_run
           COMMAND ${PERVMA_VERIFY}/run_litmus ${PERVMA_LITMUS_COMPILER})
  set_tests_properties(verify.plain_harnesses_compile_alone_and_run PROPERTIES LABELS verify
                       TIMEOUT 600)
endif()
