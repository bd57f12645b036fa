# The trace library, the benchmarks, and the command. A part without sources is left out.
find_package(fmt REQUIRED)
find_package(CLI11 REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(LibLZMA REQUIRED)
find_package(ZLIB REQUIRED)
pkg_check_modules(PERVMA_ZSTD REQUIRED IMPORTED_TARGET libzstd)

file(GLOB PERVMA_TRACE_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/trace/*.cpp)
file(GLOB PERVMA_BENCH_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/bench/*.cpp)
file(GLOB PERVMA_TOOL_SOURCES CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/tools/*.cpp)

if(PERVMA_TRACE_SOURCES)
  add_library(pervma_trace STATIC ${PERVMA_TRACE_SOURCES})
  target_link_libraries(pervma_trace PUBLIC pervma fmt::fmt
                        PRIVATE pervma_flags LibLZMA::LibLZMA PkgConfig::PERVMA_ZSTD ZLIB::ZLIB)
endif()

if(PERVMA_BENCH_SOURCES)
  add_library(pervma_bench STATIC ${PERVMA_BENCH_SOURCES})
  target_include_directories(pervma_bench PUBLIC ${PROJECT_SOURCE_DIR})
  target_link_libraries(pervma_bench PUBLIC pervma fmt::fmt PRIVATE pervma_flags)
endif()

if(PERVMA_TOOL_SOURCES)
  add_executable(pervma_tool ${PERVMA_TOOL_SOURCES})
  set_target_properties(pervma_tool PROPERTIES OUTPUT_NAME pervma)
  target_include_directories(pervma_tool PRIVATE ${PROJECT_SOURCE_DIR})
  target_link_libraries(pervma_tool PRIVATE pervma_flags pervma fmt::fmt CLI11::CLI11
                        nlohmann_json::nlohmann_json)
  foreach(part pervma_trace pervma_bench)
    if(TARGET ${part})
      target_link_libraries(pervma_tool PRIVATE ${part})
    endif()
  endforeach()
endif()
