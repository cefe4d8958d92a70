// What every kernel of this room begins with. Kernels are Metal Shading Language 3.0 and,
// unchanged, C++ on the emulated device (metal/emulation/metal_stdlib). Laws that make one text
// serve both: threadgroup memory comes as the argument `shared`, whose size the host sets; the
// elements of simdgroup matrices are touched by load, store and multiply-accumulate alone; every
// kernel is in the table of metal/kernels.cpp, which a test compares with what is declared here.
#pragma once

#include <metal_stdlib>

#include "metal/params.h"

#ifdef __clang__
#pragma clang fp contract(off)  // decoded values are those of the reference decoders
#endif

using namespace metal;
using namespace realm;
using namespace realm::gpu;
using namespace realm::msl;
