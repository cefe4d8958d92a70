// What each quantized format knows of its own bits: sixteen values of a block at a time, as four
// vectors of integers, and the factors that make values of them: step * q - min. Blocks lie as in
// the file (quant/blocks.h); values are rounded as the reference decoders round them
// (quant/decode_*.cpp). A format adds one struct here and its lines of host_names to the kernels.
#pragma once

#include "metal/device/numbers.h"
#include "quant/blocks.h"

struct Factors {
  float step, min;
};

// The nibbles at `shift` of four bytes.
static inline float4 nibbles(device const uint8_t* b, int shift) {
  return float4(float((b[0] >> shift) & 15), float((b[1] >> shift) & 15),
                float((b[2] >> shift) & 15), float((b[3] >> shift) & 15));
}

// Six-bit scale and minimum `j` of Q4_K and Q5_K (quant/unpack.h) as factors.
static inline Factors factors_k4(ushort d, ushort dmin, device const uint8_t* scales, int j) {
  int scale, min;
  if (j < 4) {
    scale = scales[j] & 63;
    min = scales[j + 4] & 63;
  } else {
    scale = (scales[j + 4] & 15) | (scales[j - 4] >> 6) << 4;
    min = (scales[j + 4] >> 4) | (scales[j] >> 6) << 4;
  }
  return {half_to_float(d) * float(scale), half_to_float(dmin) * float(min)};
}

struct CodecQ4_0 {
  typedef BlockQ4_0 Block;
  enum { kPieces = 2 };
  static void unpack(device const Block& block, int piece, thread float4* q) {
    for (int i = 0; i < 4; ++i) q[i] = nibbles(block.qs + 4 * i, 4 * piece) - float4(8.0f);
  }
  static Factors factors(device const Block& block, int) { return {half_to_float(block.d), 0.0f}; }
};

struct CodecQ8_0 {
  typedef BlockQ8_0 Block;
  enum { kPieces = 2 };
  static void unpack(device const Block& block, int piece, thread float4* q) {
    device const int8_t* b = block.qs + kPiece * piece;
    for (int i = 0; i < 4; ++i)
      q[i] = float4(float(b[4 * i]), float(b[4 * i + 1]), float(b[4 * i + 2]), float(b[4 * i + 3]));
  }
  static Factors factors(device const Block& block, int) { return {half_to_float(block.d), 0.0f}; }
};

struct CodecQ4_K {
  typedef BlockQ4_K Block;
  enum { kPieces = 16 };
  static void unpack(device const Block& block, int piece, thread float4* q) {
    device const uint8_t* b = block.qs + piece / 4 * 32 + piece % 2 * kPiece;
    for (int i = 0; i < 4; ++i) q[i] = nibbles(b + 4 * i, piece / 2 % 2 * 4);
  }
  static Factors factors(device const Block& block, int piece) {
    return factors_k4(block.d, block.dmin, block.scales, piece / 2);
  }
};

struct CodecQ5_K {
  typedef BlockQ5_K Block;
  enum { kPieces = 16 };
  static void unpack(device const Block& block, int piece, thread float4* q) {
    device const uint8_t* b = block.qs + piece / 4 * 32 + piece % 2 * kPiece;
    device const uint8_t* high = block.qh + piece % 2 * kPiece;
    const int bit = piece / 2;
    for (int i = 0; i < 4; ++i) {
      device const uint8_t* h = high + 4 * i;
      q[i] = nibbles(b + 4 * i, piece / 2 % 2 * 4) +
             float4(float((h[0] >> bit & 1) << 4), float((h[1] >> bit & 1) << 4),
                    float((h[2] >> bit & 1) << 4), float((h[3] >> bit & 1) << 4));
    }
  }
  static Factors factors(device const Block& block, int piece) {
    return factors_k4(block.d, block.dmin, block.scales, piece / 2);
  }
};

struct CodecQ6_K {
  typedef BlockQ6_K Block;
  enum { kPieces = 16 };
  static void unpack(device const Block& block, int piece, thread float4* q) {
    const int in_part = piece % 8;  // of a part of 128 values
    device const uint8_t* low = block.ql + piece / 8 * 64 + in_part % 4 * kPiece;
    device const uint8_t* high = block.qh + piece / 8 * 32 + in_part % 2 * kPiece;
    const int shift = in_part / 4 * 4, pair = in_part / 2 * 2;
    for (int i = 0; i < 4; ++i) {
      device const uint8_t* h = high + 4 * i;
      q[i] = nibbles(low + 4 * i, shift) +
             float4(float((h[0] >> pair & 3) << 4), float((h[1] >> pair & 3) << 4),
                    float((h[2] >> pair & 3) << 4), float((h[3] >> pair & 3) << 4)) -
             float4(32.0f);
    }
  }
  static Factors factors(device const Block& block, int piece) {
    return {half_to_float(block.d) * float(block.scales[piece]), 0.0f};
  }
};

// A piece's block: `row` counts rows of n_cols values.
template <class Codec>
static inline device const typename Codec::Block& block_of(device const uint8_t* weight, long row,
                                                           long n_cols, int piece) {
  const long per_row = n_cols / (kPiece * Codec::kPieces);
  return ((device const typename Codec::Block*)weight)[row * per_row + piece / Codec::kPieces];
}
