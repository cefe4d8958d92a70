# Lays the shaders and the headers that they include out as one text, in the order given, because a device compiles
# its kernels from one string:  cmake -DROOT=... -DFILES=a,b -DTEXT=kernels.metal -DCPP=kernel_source.cpp -P this
# CPP holds the text as it is; TEXT is for compilers of C++, which do not take Metal's attributes: those are left out.
string(REPLACE "," ";" files "${FILES}")
set(text "")
set(literals "")
foreach(file IN LISTS files)
  file(READ ${ROOT}/${file} one)
  string(REGEX REPLACE "#include \"[^\"]*\"" "" one "${one}")
  string(REPLACE "#pragma once" "" one "${one}")
  string(APPEND text "#line 1 \"${file}\"\n${one}")
  string(APPEND literals "    R\"realm(#line 1 \"${file}\"\n${one})realm\"\n")
endforeach()
string(REGEX REPLACE "\\[\\[[^]]*\\]\\]" "" text "${text}")
file(WRITE ${TEXT} "${text}")
file(WRITE ${CPP} "// Written by csrc/metal/embed_source.cmake.
#include \"metal/kernels.h\"

namespace realm::metal {

const char* const kKernelSource =
${literals};

}  // namespace realm::metal
")
