# Decides whether the Metal backend is built: sets REALM_METAL_SOURCES. Included at the top level, as its neighbour of
# CUDA is.
#
# EMULATED builds it for the emulated device (csrc/metal/emulation): right answers, slowly, for tests of the layers
# above.
include(${CMAKE_CURRENT_LIST_DIR}/../gpu/sources.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/sources.cmake)

set(REALM_METAL_SOURCES metal/no_metal.cpp)
if(REALM_METAL STREQUAL "OFF")
  return()
endif()
if(NOT REALM_METAL MATCHES "^(AUTO|ON|EMULATED)$")
  message(FATAL_ERROR "REALM_METAL is '${REALM_METAL}'; it must be AUTO, ON, OFF or EMULATED")
endif()
if(REALM_METAL STREQUAL "EMULATED")
  return()  # csrc/CMakeLists.txt asks for the sources in its own folder
endif()
if(NOT APPLE)
  if(REALM_METAL STREQUAL "ON")
    message(FATAL_ERROR "REALM_METAL=ON, but this build is for ${CMAKE_SYSTEM_NAME}: Metal is macOS's")
  endif()
  message(STATUS "Metal: this build is not for macOS, building without it")
  return()
endif()
message(STATUS "Metal: building the backend; its shaders are compiled when a model is loaded")
set(REALM_METAL_SOURCES ${realm_metal_host} metal/objc.cpp metal/runtime_objc.cpp)
