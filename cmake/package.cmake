# What `cmake --install` installs: the programs, and the client library as the package `penstock` (docs/cpp.md).
#
# The library is static, so that the parts of Penstock below it are installed too, as targets that nobody needs to name. Of the
# headers only those named here are public. Installed, they are "penstock/client/client.h" and so on, and nothing of ours is
# found without that prefix; cpp_package_test compiles each of them alone from there.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(PENSTOCK_PUBLIC_HEADERS client/admin.h client/client.h client/client_types.h client/dense_tensor.h client/producer.h
                            client/producer_window.h client/spin_get.h
                            common/base/ids.h common/base/status.h common/cluster/codec.h common/cluster/held_before.h
                            common/cluster/table_spec.h)
target_compile_features(penstock_base PUBLIC cxx_std_20)

set(PENSTOCK_PACKAGED base config proto common client)
foreach(part ${PENSTOCK_PACKAGED})
  set_target_properties(penstock_${part} PROPERTIES EXPORT_NAME ${part})
endforeach()
list(TRANSFORM PENSTOCK_PACKAGED PREPEND penstock_ OUTPUT_VARIABLE targets)
set(config_folder ${CMAKE_INSTALL_LIBDIR}/cmake/penstock)

install(TARGETS penstock penstock-scheduler penstock-server penstock-worker RUNTIME)
install(TARGETS ${targets} EXPORT penstock ARCHIVE INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(CODE "set(penstock_headers \"${PENSTOCK_PUBLIC_HEADERS}\")
set(penstock_source \"${CMAKE_SOURCE_DIR}\")
set(penstock_written \"${CMAKE_BINARY_DIR}/public_headers\")
set(penstock_include \"${CMAKE_INSTALL_INCLUDEDIR}\")")
install(SCRIPT cmake/install_headers.cmake)
install(EXPORT penstock NAMESPACE penstock:: FILE penstockTargets.cmake DESTINATION ${config_folder})
configure_package_config_file(cmake/penstockConfig.cmake.in ${CMAKE_BINARY_DIR}/penstockConfig.cmake
                              INSTALL_DESTINATION ${config_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/penstockConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/penstockConfig.cmake ${CMAKE_BINARY_DIR}/penstockConfigVersion.cmake
        DESTINATION ${config_folder})
