# Headers, library, command, CMake package and pkg-config file.
include(CMakePackageConfigHelpers)
set(PERVMA_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/pervma)

install(TARGETS pervma EXPORT pervmaTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/pervma
        DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(TARGET pervma_compressed)
  install(TARGETS pervma_compressed EXPORT pervmaTargets ARCHIVE
          DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
if(TARGET pervma_tool)
  install(TARGETS pervma_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT pervmaTargets NAMESPACE pervma:: DESTINATION ${PERVMA_CMAKE_DIR})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/pervmaConfig.cmake.in
  ${PROJECT_BINARY_DIR}/pervmaConfig.cmake INSTALL_DESTINATION ${PERVMA_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/pervmaConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/pervmaConfig.cmake
              ${PROJECT_BINARY_DIR}/pervmaConfigVersion.cmake
        DESTINATION ${PERVMA_CMAKE_DIR})

# The prefix is found from the file's own place, so that an installed tree can be moved.
file(RELATIVE_PATH PERVMA_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${CMAKE_CURRENT_LIST_DIR}/pervma.pc.in ${PROJECT_BINARY_DIR}/pervma.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/pervma.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(TARGET pervma_compressed)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/pervma_compressed.pc.in
                 ${PROJECT_BINARY_DIR}/pervma_compressed.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/pervma_compressed.pc
          DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endif()
