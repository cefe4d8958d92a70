# Decides whether the Metal backend is built: sets REALM_METAL_SOURCES. There is no Metal backend to build yet.
set(REALM_METAL_SOURCES metal/no_metal.cpp)
if(REALM_METAL STREQUAL "ON")
  message(FATAL_ERROR "REALM_METAL=ON, but realm has no Metal backend yet; use AUTO or OFF")
elseif(REALM_METAL STREQUAL "AUTO")
  message(STATUS "Metal: no backend in this version, building without it")
elseif(NOT REALM_METAL STREQUAL "OFF")
  message(FATAL_ERROR "REALM_METAL is '${REALM_METAL}'; it must be AUTO, ON or OFF")
endif()
