// What simdgroup.h defines, declared for the pass that checks address spaces: matrices are loaded
// from device and threadgroup memory, and nothing is loaded from anywhere else. Seen through
// metal_stdlib.
#pragma once

namespace metal {

void threadgroup_barrier(mem_flags);
void simdgroup_barrier(mem_flags);
template <class T>
T simd_shuffle_xor(T value, ushort mask);
template <class T>
T simd_sum(T value);
float simd_max(float value);
template <class T>
T simd_prefix_exclusive_sum(T value);

template <class T, int kCols, int kRows>
struct simdgroup_matrix {
  T element[2];
};
template <class T, int kCols, int kRows = kCols>
simdgroup_matrix<T, kCols, kRows> make_filled_simdgroup_matrix(T value);

template <class T>
void simdgroup_load(simdgroup_matrix<T, 8>& m, threadgroup const T* from, ulong stride,
                    ulong2 origin = ulong2(0, 0), bool transposed = false);
template <class T>
void simdgroup_load(simdgroup_matrix<T, 8>& m, device const T* from, ulong stride,
                    ulong2 origin = ulong2(0, 0), bool transposed = false);
template <class T>
void simdgroup_store(simdgroup_matrix<T, 8> m, threadgroup T* to, ulong stride,
                     ulong2 origin = ulong2(0, 0));
template <class T>
void simdgroup_store(simdgroup_matrix<T, 8> m, device T* to, ulong stride,
                     ulong2 origin = ulong2(0, 0));
void simdgroup_multiply_accumulate(simdgroup_float8x8& d, simdgroup_float8x8 a,
                                   simdgroup_float8x8 b, simdgroup_float8x8 c);

}  // namespace metal
