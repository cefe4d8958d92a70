// Block layouts of every quantized weight format, exactly as GGUF files store them (little-endian,
// no padding), checked against the `gguf` package by tests/cpp/quant_decode_test.cpp. One text for
// C++17, CUDA and Metal: plain integer arrays and 16-bit float bits only, no functions. Names: `d`
// is a block's scale, `m`/`dmin` its minimum, `qs` low bits of the quants, `qh` high bits. Formulas
// round after each operation, left to right; in codebook formats the grid value comes last and its
// sign is exact. Files give no alignment: copy a block before reading its 16-bit members through a
// pointer to it.
#pragma once

#ifdef __METAL_VERSION__
#include <metal_stdlib>
#define REALM_BLOCK_SIZE(type, bytes)
#else
#include <stdint.h>
#define REALM_BLOCK_SIZE(type, bytes) static_assert(sizeof(type) == bytes, #type " has padding")
#endif

typedef uint16_t realm_f16;  // bits of an IEEE half

// ---- 32 values to a block: one scale (and minimum) each

struct BlockQ4_0 {  // w = d * (q - 8); byte i holds value i low, value i + 16 high
  realm_f16 d;
  uint8_t qs[16];
};
REALM_BLOCK_SIZE(BlockQ4_0, 18);

struct BlockQ4_1 {  // w = d * q + m
  realm_f16 d, m;
  uint8_t qs[16];
};
REALM_BLOCK_SIZE(BlockQ4_1, 20);

struct BlockQ5_0 {  // w = d * (q - 16); bit i of qh is bit 4 of value i
  realm_f16 d;
  uint8_t qh[4];
  uint8_t qs[16];
};
REALM_BLOCK_SIZE(BlockQ5_0, 22);

struct BlockQ5_1 {  // w = d * q + m, with qh as in Q5_0
  realm_f16 d, m;
  uint8_t qh[4];
  uint8_t qs[16];
};
REALM_BLOCK_SIZE(BlockQ5_1, 24);

struct BlockQ8_0 {  // w = d * q
  realm_f16 d;
  int8_t qs[32];
};
REALM_BLOCK_SIZE(BlockQ8_0, 34);

struct BlockIQ4_NL {  // w = d * kLevelsIQ4[q], nibbles as in Q4_0
  realm_f16 d;
  uint8_t qs[16];
};
REALM_BLOCK_SIZE(BlockIQ4_NL, 18);

struct BlockMXFP4 {  // w = 2^(e - 127) * e2m1(q), nibbles as in Q4_0; e = 255 is read as 2^128
  uint8_t e;
  uint8_t qs[16];
};
REALM_BLOCK_SIZE(BlockMXFP4, 17);

// 64 values, a UE4M3 scale for each 16: w = ue4m3(d[j]) * e2m1(q). Bit 7 of a scale is ignored and
// 0x7f is read as zero. Each 16 have 8 bytes of qs; byte i holds value i low, value i + 8 high.
struct BlockNVFP4 {
  uint8_t d[4];
  uint8_t qs[32];
};
REALM_BLOCK_SIZE(BlockNVFP4, 36);

// ---- 256 values to a superblock: sub-blocks of 16 or 32 with small integer scales
//
// Packings of 256 values, in unpack.h: two bits (qs of Q2_K and Q3_K, qh of Q6_K) lie as four
// planes of 32 in each 32 bytes, one bit (hmask, qh of Q5_K) as eight planes of 32, four bits as
// pairs of runs: the low nibbles of 32 bytes (64 in Q6_K) hold one run, the high nibbles the next.

struct BlockQ2_K {  // w = d * (scale & 15) * q - dmin * (scale >> 4), sub-blocks of 16
  uint8_t scales[16];
  uint8_t qs[64];
  realm_f16 d, dmin;
};
REALM_BLOCK_SIZE(BlockQ2_K, 84);

// w = d * (scale - 32) * (q - 4), sub-blocks of 16, 6-bit scales; hmask has bit 2 of q.
struct BlockQ3_K {
  uint8_t hmask[32];
  uint8_t qs[64];
  uint8_t scales[12];
  realm_f16 d;
};
REALM_BLOCK_SIZE(BlockQ3_K, 110);

struct BlockQ4_K {  // w = d * scale * q - dmin * min, sub-blocks of 32, 6-bit scales and minimums
  realm_f16 d, dmin;
  uint8_t scales[12];
  uint8_t qs[128];
};
REALM_BLOCK_SIZE(BlockQ4_K, 144);

struct BlockQ5_K {  // as Q4_K with a fifth bit in qh
  realm_f16 d, dmin;
  uint8_t scales[12];
  uint8_t qh[32];
  uint8_t qs[128];
};
REALM_BLOCK_SIZE(BlockQ5_K, 176);

struct BlockQ6_K {  // w = d * scale * (q - 32), sub-blocks of 16, 8-bit scales
  uint8_t ql[128];
  uint8_t qh[64];
  int8_t scales[16];
  realm_f16 d;
};
REALM_BLOCK_SIZE(BlockQ6_K, 210);

struct BlockQ8_K {  // w = d * q; bsums[j] is the sum of quants 16j .. 16j+15
  float d;
  int8_t qs[256];
  int16_t bsums[16];
};
REALM_BLOCK_SIZE(BlockQ8_K, 292);

// ---- 256 values, quants that index a codebook (quant/codebooks.h)
//
// A grid entry gives 8 values, in IQ3 4. A 7-bit sign set is the signs of 8 values, bit k negating
// value k; the eighth sign makes the number of negations even. An 8-bit one is all eight signs.

// w = d * (scale + 0.5) * 0.25 * grid. Per 32 values, four words: two hold four 8-bit grid indices,
// two hold four 7-bit sign sets and, on top, a 4-bit scale.
struct BlockIQ2_XXS {
  realm_f16 d;
  uint16_t qs[32];
};
REALM_BLOCK_SIZE(BlockIQ2_XXS, 66);

// w as in IQ2_XXS. Per 8 values a word: a 9-bit grid index and, above it, a 7-bit sign set. Per 16
// a scale nibble, low first.
struct BlockIQ2_XS {
  realm_f16 d;
  uint16_t qs[32];
  uint8_t scales[8];
};
REALM_BLOCK_SIZE(BlockIQ2_XS, 74);

// w as in IQ2_XXS. qs: per 8 values 32 low index bytes, then 32 sign bytes; qh: two high index bits
// per 8 values; per 16 a scale nibble.
struct BlockIQ2_S {
  realm_f16 d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t scales[8];
};
REALM_BLOCK_SIZE(BlockIQ2_S, 82);

// w = d * (scale + 0.5) * 0.5 * grid. qs: 64 grid indices, then per 32 values a 32-bit word of four
// 7-bit sign sets and, on top, a 4-bit scale.
struct BlockIQ3_XXS {
  realm_f16 d;
  uint8_t qs[96];
};
REALM_BLOCK_SIZE(BlockIQ3_XXS, 98);

// w = d * (2 * scale + 1) * grid. Per 4 values a low index byte in qs and the ninth index bit in
// qh; per 8 a byte of signs; per 32 a scale nibble.
struct BlockIQ3_S {
  realm_f16 d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t signs[32];
  uint8_t scales[4];
};
REALM_BLOCK_SIZE(BlockIQ3_S, 110);

// w = d * (2 * scale + 1) * (grid + delta), delta = 1/8. Per 8 values a low index byte in qs; per
// 32 a word of qh: four times three high index bits, a 3-bit scale, and bit 15 negates delta.
struct BlockIQ1_S {
  realm_f16 d;
  uint8_t qs[32];
  uint16_t qh[8];
};
REALM_BLOCK_SIZE(BlockIQ1_S, 50);

// w as in IQ1_S. Per 8 values a low index byte in qs and a nibble of qh: three high index bits, and
// bit 3 negates delta. Scales are four 16-bit words: per 16 values a 3-bit scale, four to a word;
// the 16 bits of d lie in the top nibbles, lowest first.
struct BlockIQ1_M {
  uint8_t qs[32];
  uint8_t qh[16];
  uint8_t scales[8];
};
REALM_BLOCK_SIZE(BlockIQ1_M, 56);

// w = d * (scale - 32) * kLevelsIQ4[q]. Per 32 values a 6-bit scale: a nibble in scales_l and two
// bits in scales_h, and 16 bytes of qs as in Q4_0.
struct BlockIQ4_XS {
  realm_f16 d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
REALM_BLOCK_SIZE(BlockIQ4_XS, 136);

// ---- 256 ternary values: w = d * (q - 1)

// A byte is the base-3 fraction 0.q0q1q2q3q4 in units of 1/256, rounded up. Digit n of qs[0..31]
// are values 32n ..; then digits of qs[32..47], 16 values each; then four digits of qh, 4 values
// each.
struct BlockTQ1_0 {
  uint8_t qs[48];
  uint8_t qh[4];
  realm_f16 d;
};
REALM_BLOCK_SIZE(BlockTQ1_0, 54);

struct BlockTQ2_0 {  // two bits each, in planes as in Q2_K; q = 3 gives 2 * d
  uint8_t qs[64];
  realm_f16 d;
};
REALM_BLOCK_SIZE(BlockTQ2_0, 66);

#undef REALM_BLOCK_SIZE
