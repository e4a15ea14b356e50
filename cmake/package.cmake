# What `cmake --install` installs: the programs, and the client library as the package `penstock` (docs/cpp.md).
#
# The library is static, so that the parts of Penstock below it are installed too, as targets that nobody needs to name. Public
# headers are those of the header sets; each of them compiles alone (VERIFY_INTERFACE_HEADER_SETS).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

target_compile_features(penstock_base PUBLIC cxx_std_20)
target_sources(penstock_base PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES common/base/ids.h common/base/status.h)
target_sources(penstock_common PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES common/cluster/codec.h common/cluster/table_spec.h)
target_sources(penstock_client PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR}
               FILES client/client.h client/dense_tensor.h client/producer.h client/producer_window.h
                     client/spin_get.h)

set(PENSTOCK_PACKAGED base config proto common client)
foreach(part ${PENSTOCK_PACKAGED})
  set_target_properties(penstock_${part} PROPERTIES EXPORT_NAME ${part} VERIFY_INTERFACE_HEADER_SETS ON)
endforeach()
list(TRANSFORM PENSTOCK_PACKAGED PREPEND penstock_ OUTPUT_VARIABLE targets)
set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/penstock)

install(TARGETS penstock penstock-scheduler penstock-server penstock-worker RUNTIME)
install(TARGETS ${targets} EXPORT penstock ARCHIVE FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/penstock)
install(EXPORT penstock NAMESPACE penstock:: FILE penstockTargets.cmake DESTINATION ${config_folder})
configure_package_config_file(cmake/penstockConfig.cmake.in ${CMAKE_BINARY_DIR}/penstockConfig.cmake
                              INSTALL_DESTINATION ${config_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/penstockConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/penstockConfig.cmake ${CMAKE_BINARY_DIR}/penstockConfigVersion.cmake
        DESTINATION ${config_folder})
