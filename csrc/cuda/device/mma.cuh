// The matrix unit: D = A * B + D on fragments that the 32 lanes of a warp hold together. With
// g = lane / 4 and t = lane % 4, as PTX lays them out:
//
//   16-bit, 16 x 8 x 16   a[i] holds row g + 8 * (i % 2), columns 2t, 2t + 1 (+ 8 if i >= 2);
//                         b[i] rows 2t, 2t + 1 (+ 8 if i == 1) of column g
//   int8, 16 x 8 x 32     a[i] row g + 8 * (i % 2), columns 4t .. 4t + 3 (+ 16 if i >= 2);
//                         b[i] rows 4t .. 4t + 3 (+ 16 if i == 1) of column g
//   int8, 16 x 8 x 16     a[i] row g + 8 * i, columns 4t .. 4t + 3; b rows 4t .. 4t + 3 of column g
//   every D               d[i] row g + 8 * (i / 2), column 2t + i % 2
//
// load_matrices() brings four 8 x 8 matrices of 16-bit elements from shared memory: lane l names
// row l % 8 of matrix l / 8 (16 bytes, aligned); r[m] is the pair at row g, columns 2t, 2t + 1 of
// matrix m. load_matrices_turned() gives the pair at rows 2t, 2t + 1 of column g.
#pragma once

#include "cuda/device/numbers.cuh"

#ifndef __CUDACC__
#include "cuda/emulation/mma.h"
#endif

namespace realm::cuda {

#ifdef __CUDACC__

REALM_DEVICE void load_matrices(uint32_t (&r)[4], const void* row) {
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

REALM_DEVICE void load_matrices_turned(uint32_t (&r)[4], const void* row) {
  const auto at = static_cast<uint32_t>(__cvta_generic_to_shared(row));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(at)
               : "memory");
}

template <class Format>
REALM_DEVICE void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]);

template <>
REALM_DEVICE void multiply_add<HalfFormat>(float (&d)[4], const uint32_t (&a)[4],
                                           const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

template <>
REALM_DEVICE void multiply_add<BrainFormat>(float (&d)[4], const uint32_t (&a)[4],
                                            const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

REALM_DEVICE void multiply_add_int8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

REALM_DEVICE void multiply_add_int8(int (&d)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32 "
      "{%0,%1,%2,%3}, {%4,%5}, {%6}, {%0,%1,%2,%3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a0), "r"(a1), "r"(b));
}

#else

inline void load_matrices(uint32_t (&r)[4], const void* row) {
  simt::load_matrices(r, row, false);
}
inline void load_matrices_turned(uint32_t (&r)[4], const void* row) {
  simt::load_matrices(r, row, true);
}
template <class Format>
void multiply_add(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  simt::multiply_add<Format>(d, a, b);
}
inline void multiply_add_int8(int (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
  simt::multiply_add_int8(d, a, b);
}
inline void multiply_add_int8(int (&d)[4], uint32_t a0, uint32_t a1, uint32_t b) {
  const uint32_t whole_a[4] = {a0, a1, 0, 0}, whole_b[2] = {b, 0};
  simt::multiply_add_int8(d, whole_a, whole_b);
}

#endif

}  // namespace realm::cuda
