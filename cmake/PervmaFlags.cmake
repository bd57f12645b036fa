# pervma_flags: how pervma's own code is compiled. Never exported: embedders choose for themselves.
add_library(pervma_flags INTERFACE)
target_include_directories(pervma_flags INTERFACE ${PROJECT_SOURCE_DIR}/src)
target_compile_options(pervma_flags INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -fno-omit-frame-pointer)

if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  # An options struct is filled by name; what is not named keeps its default.
  # libstdc++ 12's own stable_sort calls a function that C++17 deprecated; clang reports it there.
  target_compile_options(pervma_flags INTERFACE -Wthread-safety -Werror
                         -Wno-deprecated-declarations
                         -Wno-missing-designated-field-initializers)
endif()
if(PERVMA_DEBUG_CHECKS)
  target_compile_definitions(pervma_flags INTERFACE PERVMA_DEBUG_CHECKS=1)
endif()
if(PERVMA_FUZZ)
  target_compile_options(pervma_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
if(PERVMA_SANITIZER)
  target_compile_options(pervma_flags INTERFACE -fsanitize=${PERVMA_SANITIZER})
  target_link_options(pervma_flags INTERFACE -fsanitize=${PERVMA_SANITIZER})
  if(PERVMA_SANITIZER STREQUAL "address")
    target_compile_options(pervma_flags INTERFACE -fsanitize=undefined
      -fno-sanitize-recover=undefined
      $<$<CXX_COMPILER_ID:GNU>:-fno-sanitize=alignment>
      $<$<CXX_COMPILER_ID:Clang>:-fsanitize-ignorelist=${CMAKE_CURRENT_LIST_DIR}/ubsan_ignore.txt>)
    target_link_options(pervma_flags INTERFACE -fsanitize=undefined)
  endif()
endif()
