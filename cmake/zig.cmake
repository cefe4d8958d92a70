# Builds for another system with the clang of PyPI's `ziglang`, which carries the C and C++ libraries of all of them:
#   cmake -S . -B build/arm --toolchain cmake/zig.cmake -DREALM_ZIG_TARGET=aarch64-linux-musl
# Targets that we build for: aarch64-linux-musl (static programs, for qemu-aarch64), aarch64-macos, x86_64-windows-gnu.
# REALM_ZIG names the program; without it, `zig` or `python-zig` of the PATH is taken.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES REALM_ZIG REALM_ZIG_TARGET)
if(NOT REALM_ZIG_TARGET)
  message(FATAL_ERROR "cmake/zig.cmake needs -DREALM_ZIG_TARGET=, such as aarch64-linux-musl")
endif()
find_program(REALM_ZIG NAMES zig python-zig DOC "The program of PyPI's ziglang")
if(NOT REALM_ZIG)
  message(FATAL_ERROR "cmake/zig.cmake found no zig; pip install ziglang, or set REALM_ZIG")
endif()

string(REGEX MATCH "^[^-]+" CMAKE_SYSTEM_PROCESSOR "${REALM_ZIG_TARGET}")
if(REALM_ZIG_TARGET MATCHES "-linux")
  set(CMAKE_SYSTEM_NAME Linux)
  find_program(REALM_QEMU NAMES qemu-${CMAKE_SYSTEM_PROCESSOR} qemu-${CMAKE_SYSTEM_PROCESSOR}-static)
  if(REALM_QEMU)
    set(CMAKE_CROSSCOMPILING_EMULATOR ${REALM_QEMU})  # ctest runs the suites with it; QEMU_CPU names a processor
  endif()
elseif(REALM_ZIG_TARGET MATCHES "-macos")
  set(CMAKE_SYSTEM_NAME Darwin)
  set(CMAKE_INSTALL_NAME_TOOL "${CMAKE_COMMAND}")  # wanted by CMake, and without work: nothing is installed
elseif(REALM_ZIG_TARGET MATCHES "-windows")
  set(CMAKE_SYSTEM_NAME Windows)
else()
  message(FATAL_ERROR "REALM_ZIG_TARGET is '${REALM_ZIG_TARGET}'; its system must be linux, macos or windows")
endif()

# Debug checks of zig's own, which unoptimized code would carry, need a runtime that we do not link.
set(flags -target ${REALM_ZIG_TARGET} -fno-sanitize=undefined)
set(CMAKE_C_COMPILER ${REALM_ZIG} cc ${flags})
set(CMAKE_CXX_COMPILER ${REALM_ZIG} c++ ${flags})
# `ar` and `ranlib` are words of the same program.
foreach(language C CXX)
  set(CMAKE_${language}_ARCHIVE_CREATE "\"${REALM_ZIG}\" ar qc <TARGET> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_APPEND "\"${REALM_ZIG}\" ar q <TARGET> <OBJECTS>")
  set(CMAKE_${language}_ARCHIVE_FINISH "\"${REALM_ZIG}\" ranlib <TARGET>")
endforeach()

set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
