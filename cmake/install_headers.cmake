# Installs the public headers (penstock_headers, relative to penstock_source) below `include`/penstock. Within the tree they name
# each other from its root; installed they do so as "penstock/...", because a project's own common/base/status.h would otherwise
# be found instead of ours. Runs at the installation.
cmake_policy(VERSION 3.25)

foreach(header ${penstock_headers})
  file(READ ${penstock_source}/${header} text)
  string(REGEX MATCHALL "#include \"[^\"]+\"" includes "${text}")
  foreach(include ${includes})
    string(REGEX REPLACE "#include \"(.+)\"" "\\1" named ${include})
    if(NOT named IN_LIST penstock_headers)
      message(FATAL_ERROR "the public header ${header} includes ${named}, which is not installed: add it to cmake/package.cmake")
    endif()
  endforeach()
  string(REPLACE "#include \"" "#include \"penstock/" text "${text}")
  file(WRITE ${penstock_written}/${header} "${text}")
  get_filename_component(folder ${header} DIRECTORY)
  file(INSTALL ${penstock_written}/${header} DESTINATION ${CMAKE_INSTALL_PREFIX}/${penstock_include}/penstock/${folder})
endforeach()
