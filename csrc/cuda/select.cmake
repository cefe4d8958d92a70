# Decides whether the CUDA backend is built: sets REALM_CUDA_SOURCES. Included at the top level, because a
# language must be enabled above every target that links its objects.
#
# EMULATED builds it for the emulated device (csrc/cuda/emulation): right answers, slowly, for tests of the layers
# above.
include(CheckLanguage)
include(${CMAKE_CURRENT_LIST_DIR}/../gpu/sources.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/sources.cmake)

set(REALM_CUDA_SOURCES cuda/no_cuda.cpp)
if(REALM_CUDA STREQUAL "OFF")
  return()
endif()
if(NOT REALM_CUDA MATCHES "^(AUTO|ON|EMULATED)$")
  message(FATAL_ERROR "REALM_CUDA is '${REALM_CUDA}'; it must be AUTO, ON, OFF or EMULATED")
endif()
if(REALM_CUDA STREQUAL "EMULATED")
  set(REALM_CUDA_COMPILER "emulated")  # as doctor() has it
  return()  # csrc/CMakeLists.txt asks for the sources in its own folder
endif()

if(REALM_CUDA_FROM_PYPI)
  # The compiler of the package cuda-toolkit, in the environment of the Python that builds. It finds its own headers;
  # libraries it must be told of.
  find_package(Python REQUIRED COMPONENTS Interpreter)
  execute_process(
    COMMAND ${Python_EXECUTABLE} -c "import nvidia; print(nvidia.__path__[0])"
    OUTPUT_VARIABLE nvidia OUTPUT_STRIP_TRAILING_WHITESPACE RESULT_VARIABLE failed)
  set(toolkit ${nvidia}/cu13)
  if(failed OR NOT EXISTS ${toolkit}/bin/nvcc)
    message(FATAL_ERROR "REALM_CUDA_FROM_PYPI: the package cuda-toolkit[nvcc,nvvm,crt,cudart,cccl]==13.0.2 is missing")
  endif()
  set(CMAKE_CUDA_COMPILER ${toolkit}/bin/nvcc)
  set(ENV{LIBRARY_PATH} ${toolkit}/lib:$ENV{LIBRARY_PATH})
else()
  check_language(CUDA)
endif()
if(NOT CMAKE_CUDA_COMPILER)
  if(REALM_CUDA STREQUAL "ON")
    message(FATAL_ERROR "REALM_CUDA=ON, but no working CUDA compiler was found; put nvcc on the PATH or set CUDACXX")
  endif()
  message(STATUS "CUDA: no compiler found, building for the CPU only")
  return()
endif()

if(NOT DEFINED CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 86-real 89-real 90a-real 90-virtual)
endif()
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
set(CMAKE_CUDA_RUNTIME_LIBRARY Static)
set(CMAKE_CUDA_VISIBILITY_PRESET hidden)
enable_language(CUDA)
set(REALM_CUDA_COMPILER "${CMAKE_CUDA_COMPILER_ID} ${CMAKE_CUDA_COMPILER_VERSION}")
message(STATUS "CUDA: building with ${CMAKE_CUDA_COMPILER} ${CMAKE_CUDA_COMPILER_VERSION}")
set(REALM_CUDA_SOURCES ${realm_cuda_host} ${realm_cuda_kernels} cuda/runtime_cudart.cpp)
