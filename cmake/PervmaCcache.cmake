# Compiles through ccache where it is installed and nothing else was asked for.
if(NOT PROJECT_IS_TOP_LEVEL OR DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  return()
endif()
find_program(PERVMA_CCACHE ccache)
mark_as_advanced(PERVMA_CCACHE)
if(PERVMA_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${PERVMA_CCACHE})
endif()
