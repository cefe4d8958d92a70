// Opens a translation unit that is compiled once per CPU level: the build passes REALM_LEVEL (the
// level's name) with the level's flags. Units of another architecture's levels come out empty, so
// REALM_LEVEL_EXISTS guards all they define. Such units include nothing of the C++ library
// (base/vec16.h says why), but for what the baseline's, whose instructions are everyone's, may
// have.
#pragma once

#if defined(REALM_IS_BASELINE)
#define REALM_LEVEL_EXISTS 1
#include "base/half.h"  // for vec16.h
#elif defined(REALM_IS_NEON)
#if defined(__ARM_NEON)
#define REALM_LEVEL_EXISTS 1
#include <arm_neon.h>
#if defined(REALM_IS_DOTPROD) && !defined(__ARM_FEATURE_DOTPROD)
#error "the level dotprod needs flags that allow the dot product of bytes"
#endif
#if defined(REALM_IS_I8MM) && !defined(__ARM_FEATURE_MATMUL_INT8)
#error "the level i8mm needs flags that allow the matrix product of bytes"
#endif
#endif
#elif defined(__AVX2__)
#define REALM_LEVEL_EXISTS 1
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))
#define CALLED static __attribute__((noinline, unused))  // sixteen libm calls, once for all
#define METHOD inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))
#define REALM_JOIN_(a, b) a##b
#define REALM_JOIN(a, b) REALM_JOIN_(a, b)
#define REALM_TEXT_(a) #a
#define REALM_TEXT(a) REALM_TEXT_(a)
#define REALM_LEVEL_NAMESPACE REALM_JOIN(level_, REALM_LEVEL)
#define REALM_LEVEL_TEXT REALM_TEXT(REALM_LEVEL)
