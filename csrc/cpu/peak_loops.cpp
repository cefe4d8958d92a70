// The loops of every level in one file: each is a function of its own that names its instruction
// set, so nothing of it can end up in code for another machine. Twelve chains cover the longest
// latency (5 clocks) on two ports. The empty asm statements emit nothing; they keep the compiler
// from doing a product once for all rounds, from dropping sums, and from moving them between
// registers.
#include "cpu/peak_loops.h"

#if defined(__x86_64__)
#include <immintrin.h>
#define KEEP(vector) asm volatile("" : "+x"(vector))
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#define KEEP(vector) asm volatile("" : "+w"(vector))
#else
#define KEEP(vector) asm volatile("" : "+m"(vector))
#endif

namespace realm::cpu {

namespace {

constexpr int kChains = 12;
constexpr int kLine = 64;

void fetch(const uint8_t* data, int64_t ahead) {
  if (ahead != 0) __builtin_prefetch(data + ahead);
}

// ---- the compiler's default instructions

int64_t multiply_i8_plainly(int64_t rounds) {
  // What is left of a byte product without instructions for bytes: 16 bits, eight at a time.
  typedef uint16_t Lanes __attribute__((vector_size(16)));
  Lanes a = {1, 2, 3, 4, 5, 6, 7, 8}, sums[kChains] = {};
  const Lanes b = {8, 7, 6, 5, 4, 3, 2, 1};
  for (int64_t r = 0; r < rounds; ++r) {
    for (Lanes& sum : sums) {
      KEEP(a);
      sum = a * b + sum;
    }
  }
  for (Lanes& sum : sums) asm volatile("" : : "m"(sum));
  return rounds * kChains * 8;
}

int64_t multiply_f32_plainly(int64_t rounds) {
  typedef float Lanes __attribute__((vector_size(16)));
  Lanes sums[kChains] = {};
  Lanes a = {1, 2, 3, 4}, b = {0.5f, 0.25f, 0.125f, 1};
  for (int64_t r = 0; r < rounds; ++r) {
    for (Lanes& sum : sums) {
      KEEP(a);
      sum = a * b + sum;
    }
  }
  for (Lanes& sum : sums) asm volatile("" : : "m"(sum));
  return rounds * kChains * 4;
}

void read_plainly(const uint8_t* data, int64_t bytes, int64_t ahead) {
  uint64_t sum = 0;
  for (int64_t i = 0; i < bytes; i += kLine) {
    fetch(data + i, ahead);
    const auto* words = reinterpret_cast<const uint64_t*>(data + i);
    for (int w = 0; w < kLine / 8; ++w) sum += words[w];
  }
  asm volatile("" : : "r"(sum));
}

#if defined(__x86_64__)

// ---- AVX2: products of bytes in pairs to 16 bits, where a few fit before they must be widened

__attribute__((target("avx2"))) int64_t multiply_i8_avx2(int64_t rounds) {
  constexpr int kBeforeWidening = 8;
  __m256i a = _mm256_set1_epi8(7);
  const __m256i b = _mm256_set1_epi8(-3), ones = _mm256_set1_epi16(1);
  __m256i sums[4] = {};
  for (int64_t r = 0; r < rounds; ++r) {
    for (__m256i& sum : sums) {
      __m256i narrow = _mm256_maddubs_epi16(a, b);
      for (int i = 1; i < kBeforeWidening; ++i) {
        KEEP(a);
        narrow = _mm256_add_epi16(narrow, _mm256_maddubs_epi16(a, b));
      }
      sum = _mm256_add_epi32(sum, _mm256_madd_epi16(narrow, ones));
      KEEP(sum);
    }
  }
  return rounds * 4 * kBeforeWidening * 32;
}

__attribute__((target("avx2,fma"))) int64_t multiply_f32_avx2(int64_t rounds) {
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
  __m256 sums[kChains];
  for (__m256& sum : sums) sum = _mm256_setzero_ps();
  for (int64_t r = 0; r < rounds; ++r) {
    for (__m256& sum : sums) {
      sum = _mm256_fmadd_ps(a, b, sum);
      KEEP(sum);
    }
  }
  return rounds * kChains * 8;
}

__attribute__((target("avx2"))) void read_avx2(const uint8_t* data, int64_t bytes, int64_t ahead) {
  __m256i even = _mm256_setzero_si256(), odd = even;
  for (int64_t i = 0; i < bytes; i += kLine) {
    fetch(data + i, ahead);
    const auto* line = reinterpret_cast<const __m256i*>(data + i);
    even = _mm256_xor_si256(even, _mm256_load_si256(line));
    odd = _mm256_xor_si256(odd, _mm256_load_si256(line + 1));
  }
  asm volatile("" : : "x"(even), "x"(odd));
}

// ---- AVX-512, without and with the dot product of bytes

__attribute__((target("avx512f,avx512bw"))) int64_t multiply_i8_avx512(int64_t rounds) {
  constexpr int kBeforeWidening = 8;
  __m512i a = _mm512_set1_epi8(7);
  const __m512i b = _mm512_set1_epi8(-3), ones = _mm512_set1_epi16(1);
  __m512i sums[4] = {};
  for (int64_t r = 0; r < rounds; ++r) {
    for (__m512i& sum : sums) {
      __m512i narrow = _mm512_maddubs_epi16(a, b);
      for (int i = 1; i < kBeforeWidening; ++i) {
        KEEP(a);
        narrow = _mm512_add_epi16(narrow, _mm512_maddubs_epi16(a, b));
      }
      sum = _mm512_add_epi32(sum, _mm512_madd_epi16(narrow, ones));
      KEEP(sum);
    }
  }
  return rounds * 4 * kBeforeWidening * 64;
}

__attribute__((target("avx512f,avx512vnni"))) int64_t multiply_i8_vnni(int64_t rounds) {
  const __m512i a = _mm512_set1_epi8(7), b = _mm512_set1_epi8(-3);
  __m512i sums[kChains];
  for (__m512i& sum : sums) sum = _mm512_setzero_si512();
  for (int64_t r = 0; r < rounds; ++r) {
    for (__m512i& sum : sums) {
      // As the intrinsic, but GCC 12 keeps that one's sums in memory.
      asm volatile("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    }
  }
  return rounds * kChains * 64;
}

#if defined(REALM_HAS_AMX)
// Bytes that differ: the unit slows down for the power that they take, and zeros take none.
__attribute__((target("amx-tile,amx-int8"))) int64_t multiply_i8_amx(int64_t rounds) {
  struct alignas(64) {
    uint8_t palette = 1, rest[15] = {};
    uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
    uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
  } const shapes;
  alignas(64) uint8_t bytes[16][64];
  uint32_t random = 1;
  for (auto& row : bytes) {
    for (uint8_t& byte : row)
      byte = static_cast<uint8_t>((random = random * 1664525 + 1013904223) >> 24);
  }
  asm volatile(
      "ldtilecfg %0\n\ttileloadd (%1,%2,1), %%tmm4\n\ttileloadd (%1,%2,1), %%tmm5\n\t"
      "tilezero %%tmm0\n\ttilezero %%tmm1\n\ttilezero %%tmm2\n\ttilezero %%tmm3"
      :
      : "m"(shapes), "r"(bytes), "r"(int64_t{64})
      : "memory");
  for (int64_t r = 0; r < rounds; ++r) {
    asm volatile(
        "tdpbsud %%tmm5, %%tmm4, %%tmm0\n\ttdpbsud %%tmm4, %%tmm5, %%tmm1\n\t"
        "tdpbsud %%tmm5, %%tmm4, %%tmm2\n\ttdpbsud %%tmm4, %%tmm5, %%tmm3" ::);
  }
  asm volatile("tilerelease" ::);
  return rounds * 4 * 16 * 16 * 64;
}
#endif

__attribute__((target("avx512f"))) int64_t multiply_f32_avx512(int64_t rounds) {
  const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  for (int64_t r = 0; r < rounds; ++r) {
    for (__m512& sum : sums) {
      sum = _mm512_fmadd_ps(a, b, sum);
      KEEP(sum);
    }
  }
  return rounds * kChains * 16;
}

__attribute__((target("avx512f"))) void read_avx512(const uint8_t* data, int64_t bytes,
                                                    int64_t ahead) {
  __m512i even = _mm512_setzero_si512(), odd = even;
  const int64_t half = bytes / 2;
  for (int64_t i = 0; i < half; i += kLine) {
    fetch(data + i, ahead);
    fetch(data + i + half, ahead);
    even = _mm512_xor_si512(even, _mm512_load_si512(data + i));
    odd = _mm512_xor_si512(odd, _mm512_load_si512(data + i + half));
  }
  asm volatile("" : : "v"(even), "v"(odd));
}

#elif defined(__ARM_NEON)

// ---- NEON, without and with the products of bytes that not every Armv8 has

int64_t multiply_i8_neon(int64_t rounds) {
  int8x16_t a = vdupq_n_s8(7);
  const int8x16_t b = vdupq_n_s8(-3);
  int32x4_t sums[kChains] = {};
  for (int64_t r = 0; r < rounds; ++r) {
    for (int32x4_t& sum : sums) {
      KEEP(a);
      const int16x8_t low = vmull_s8(vget_low_s8(a), vget_low_s8(b));
      sum = vpadalq_s16(sum, vmlal_high_s8(low, a, b));
      KEEP(sum);
    }
  }
  return rounds * kChains * 16;
}

__attribute__((target("+dotprod"))) int64_t multiply_i8_dotprod(int64_t rounds) {
  const int8x16_t a = vdupq_n_s8(7), b = vdupq_n_s8(-3);
  int32x4_t sums[kChains] = {};
  for (int64_t r = 0; r < rounds; ++r) {
    for (int32x4_t& sum : sums) {
      asm volatile("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
    }
  }
  return rounds * kChains * 16;
}

__attribute__((target("+i8mm"))) int64_t multiply_i8_i8mm(int64_t rounds) {
  const int8x16_t a = vdupq_n_s8(7), b = vdupq_n_s8(-3);
  int32x4_t sums[kChains] = {};
  for (int64_t r = 0; r < rounds; ++r) {
    for (int32x4_t& sum : sums) {
      asm volatile("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
    }
  }
  return rounds * kChains * 32;
}

int64_t multiply_f32_neon(int64_t rounds) {
  const float32x4_t a = vdupq_n_f32(0.5f), b = vdupq_n_f32(0.25f);
  float32x4_t sums[kChains];
  for (float32x4_t& sum : sums) sum = vdupq_n_f32(0);
  for (int64_t r = 0; r < rounds; ++r) {
    for (float32x4_t& sum : sums) {
      sum = vfmaq_f32(sum, a, b);
      KEEP(sum);
    }
  }
  return rounds * kChains * 4;
}

#endif

}  // namespace

PeakLoops peak_loops(CpuLevel level) {
  switch (level) {
#if defined(__x86_64__)
    case CpuLevel::kAvx2:
      return {multiply_i8_avx2, multiply_f32_avx2, read_avx2};
    case CpuLevel::kAvx512:
      return {multiply_i8_avx512, multiply_f32_avx512, read_avx512};
    case CpuLevel::kAvx512Vnni:
      return {multiply_i8_vnni, multiply_f32_avx512, read_avx512};
#if defined(REALM_HAS_AMX)
    case CpuLevel::kAmx:
      return {multiply_i8_amx, multiply_f32_avx512, read_avx512};
#endif
#elif defined(__ARM_NEON)
    case CpuLevel::kNeon:
      return {multiply_i8_neon, multiply_f32_neon, read_plainly};
    case CpuLevel::kDotprod:
      return {multiply_i8_dotprod, multiply_f32_neon, read_plainly};
    case CpuLevel::kI8mm:
      return {multiply_i8_i8mm, multiply_f32_neon, read_plainly};
#endif
    default:
      return {multiply_i8_plainly, multiply_f32_plainly, read_plainly};
  }
}

void add_in_a_chain(int64_t rounds) {
  uint64_t value = 1, step = 3;
  asm volatile("" : "+r"(step));  // some processors add a constant without taking a clock
  for (int64_t r = 0; r < rounds; ++r) {
    for (int i = 0; i < 16; ++i) {
      value += step;
      asm volatile("" : "+r"(value));
    }
  }
}

}  // namespace realm::cpu
