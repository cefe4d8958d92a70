// How weights lie in device memory: the same bits as in the file, in planes whose pieces are
// aligned. Values come in groups of 32 along a row, eight words of four:
//
//   quants  16 bytes a group: byte i holds value i in its low nibble and value i + 16 in its high
//           one; Q8_0 has 32 bytes, one a value; F32, F16 and BF16 their values, rows padded with
//           zeros to a multiple of 8 values
//   high    Q5_K: a 32-bit word a group, bit i is bit 4 of value i; Q6_K: 8 bytes a group, byte j
//           holds bits 4-5 of the values 4j .. 4j + 3, lowest first
//   scales  Q4_0, Q8_0, IQ4_NL: an f16 a group; Q4_K, Q5_K: 16 bytes a superblock of 256, as in the
//           file (d, dmin, twelve bytes of scales); Q6_K: 16 int8 a superblock; IQ4_XS: 8 bytes as
//           in the file (d, scales_h, scales_l)
//   steps   Q6_K: the f16 d of each superblock
//
// Formats without a packing of their own are decoded at load: to F16 if that holds every value,
// else to F32; with activations in f32 all are, to F32. Valid C++17; seen by kernels.
#pragma once

#include <cstdint>

namespace realm::cuda {

enum class Packing { kF32, kF16, kBF16, kQ4_0, kQ8_0, kQ4_K, kQ5_K, kQ6_K, kIQ4_NL, kIQ4_XS };

constexpr bool is_quantized(Packing packing) {
  return packing > Packing::kBF16;
}

struct PackedWeight {
  Packing packing;
  const uint8_t* quants;
  const uint8_t* high;
  const uint8_t* scales;
  const uint8_t* steps;
  int64_t n_cols;  // values in a row; a multiple of 32 when quantized
  int64_t stride;  // values from a row to the next in the plane of a float packing
};

}  // namespace realm::cuda
