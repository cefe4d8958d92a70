// Block layouts of every quantized weight format, exactly as GGUF files store them (little-endian, no
// padding). One text for C++17, CUDA and Metal: plain integer arrays and 16-bit float bits only, no
// functions. Names: `d` is a block's scale, `m`/`dmin` its minimum, `qs` low bits of the quants, `qh` high
// bits. Files give no alignment: copy a block before reading its 16-bit members through a pointer to it.
#pragma once

#ifdef __METAL_VERSION__
#include <metal_stdlib>
#define REALM_BLOCK_SIZE(type, bytes)
#else
#include <stdint.h>
#define REALM_BLOCK_SIZE(type, bytes) static_assert(sizeof(type) == bytes, #type " has padding")
#endif

typedef uint16_t realm_f16;  // bits of an IEEE half

// ---- 32 values to a block: one scale (and minimum) each -------------------------------------------------

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

struct BlockQ5_1 {  // w = d * q + m
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

struct BlockIQ4_NL {  // w = d * codebook[q]
  realm_f16 d;
  uint8_t qs[16];
};
REALM_BLOCK_SIZE(BlockIQ4_NL, 18);

struct BlockMXFP4 {  // w = 2^(e - 127) * e2m1(q)
  uint8_t e;
  uint8_t qs[16];
};
REALM_BLOCK_SIZE(BlockMXFP4, 17);

struct BlockNVFP4 {  // 64 values, a UE4M3 scale for each 16: w = ue4m3(d[j]) * e2m1(q)
  uint8_t d[4];
  uint8_t qs[32];
};
REALM_BLOCK_SIZE(BlockNVFP4, 36);

// ---- 256 values to a superblock: sub-blocks of 16 or 32 with small integer scales -----------------------

struct BlockQ2_K {  // w = d * (scale & 15) * q - dmin * (scale >> 4), sub-blocks of 16
  uint8_t scales[16];
  uint8_t qs[64];
  realm_f16 d, dmin;
};
REALM_BLOCK_SIZE(BlockQ2_K, 84);

struct BlockQ3_K {  // w = d * (scale - 32) * (q - 4), sub-blocks of 16, 6-bit scales
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

// ---- 256 values, quants that index a codebook (quant/codebooks.h) ---------------------------------------

struct BlockIQ2_XXS {  // per 32: four 8-bit grid indices, four 7-bit sign sets, a 4-bit scale
  realm_f16 d;
  uint16_t qs[32];
};
REALM_BLOCK_SIZE(BlockIQ2_XXS, 66);

struct BlockIQ2_XS {  // per 8: a 9-bit grid index and a 7-bit sign set
  realm_f16 d;
  uint16_t qs[32];
  uint8_t scales[8];
};
REALM_BLOCK_SIZE(BlockIQ2_XS, 74);

struct BlockIQ2_S {  // qs: 32 low index bytes, then 32 sign bytes; qh: two index bits per 8 values
  realm_f16 d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t scales[8];
};
REALM_BLOCK_SIZE(BlockIQ2_S, 82);

struct BlockIQ3_XXS {  // qs: 64 grid indices, then per 32 four 7-bit sign sets and a 4-bit scale
  realm_f16 d;
  uint8_t qs[96];
};
REALM_BLOCK_SIZE(BlockIQ3_XXS, 98);

struct BlockIQ3_S {
  realm_f16 d;
  uint8_t qs[64];
  uint8_t qh[8];
  uint8_t signs[32];
  uint8_t scales[4];
};
REALM_BLOCK_SIZE(BlockIQ3_S, 110);

struct BlockIQ1_S {  // qh, per 32: three index bits for each 8, a 3-bit scale, the sign of delta
  realm_f16 d;
  uint8_t qs[32];
  uint16_t qh[8];
};
REALM_BLOCK_SIZE(BlockIQ1_S, 50);

struct BlockIQ1_M {  // the 16 bits of d lie in the top nibbles of the four 16-bit scale words
  uint8_t qs[32];
  uint8_t qh[16];
  uint8_t scales[8];
};
REALM_BLOCK_SIZE(BlockIQ1_M, 56);

struct BlockIQ4_XS {  // per 32 a 6-bit scale: 4 bits in scales_l, 2 in scales_h
  realm_f16 d;
  uint16_t scales_h;
  uint8_t scales_l[4];
  uint8_t qs[128];
};
REALM_BLOCK_SIZE(BlockIQ4_XS, 136);

// ---- 256 ternary values -1, 0, 1 ------------------------------------------------------------------------

struct BlockTQ1_0 {  // five base-3 digits to a byte, four in qh
  uint8_t qs[48];
  uint8_t qh[4];
  realm_f16 d;
};
REALM_BLOCK_SIZE(BlockTQ1_0, 54);

struct BlockTQ2_0 {  // two bits each
  uint8_t qs[64];
  realm_f16 d;
};
REALM_BLOCK_SIZE(BlockTQ2_0, 66);

#undef REALM_BLOCK_SIZE
