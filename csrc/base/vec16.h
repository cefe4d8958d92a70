// Sixteen floats, and the few operations on them that kernels are written in. One kernel text is
// compiled once per instruction set (cpu/isa_*.cpp and the files unit_*.cpp); this file is the only
// place where the instruction sets differ, so every level does the same IEEE operations in the same
// order and gives the same bits.
//
// Included inside the namespace of a level, after its intrinsics header. No standard C++ headers
// here or above: an inline function of theirs, compiled with wide instructions, could be the copy
// that the linker keeps for all.

#if defined(__AVX512F__) && !defined(REALM_IS_BASELINE)

struct Vec16 {
  __m512 v;
};
INLINE Vec16 load(const float* p) {
  return {_mm512_loadu_ps(p)};
}
INLINE void store(float* p, Vec16 a) {
  _mm512_storeu_ps(p, a.v);
}
INLINE Vec16 splat(float x) {
  return {_mm512_set1_ps(x)};
}
INLINE Vec16 operator+(Vec16 a, Vec16 b) {
  return {_mm512_add_ps(a.v, b.v)};
}
INLINE Vec16 operator-(Vec16 a, Vec16 b) {
  return {_mm512_sub_ps(a.v, b.v)};
}
INLINE Vec16 operator*(Vec16 a, Vec16 b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
INLINE Vec16 operator/(Vec16 a, Vec16 b) {
  return {_mm512_div_ps(a.v, b.v)};
}
INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
// The second operand if either is NaN, as the x86 instruction: put the one that may be NaN second.
INLINE Vec16 max(Vec16 a, Vec16 b) {
  return {_mm512_max_ps(a.v, b.v)};
}
INLINE Vec16 min(Vec16 a, Vec16 b) {
  return {_mm512_min_ps(a.v, b.v)};
}
// x where a < b, else y.
INLINE Vec16 select_less(Vec16 a, Vec16 b, Vec16 x, Vec16 y) {
  return {_mm512_mask_blend_ps(_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ), y.v, x.v)};
}
// Whether any lane of a is below that of b.
INLINE bool any_less(Vec16 a, Vec16 b) {
  return _mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ) != 0;
}
// 2^n times a, for integral n in [-126, 127].
INLINE Vec16 times_pow2(Vec16 a, Vec16 n) {
  return {_mm512_scalef_ps(a.v, n.v)};
}
// The even lanes exchanged with the odd ones.
INLINE Vec16 swap_pairs(Vec16 a) {
  return {_mm512_permute_ps(a.v, 0xb1)};
}
// Eight floats, each twice.
INLINE Vec16 load_doubled(const float* p) {
  const __m512i lanes = _mm512_set_epi32(7, 7, 6, 6, 5, 5, 4, 4, 3, 3, 2, 2, 1, 1, 0, 0);
  return {_mm512_permutexvar_ps(lanes, _mm512_castps256_ps512(_mm256_loadu_ps(p)))};
}
INLINE Vec16 load_f16(const unsigned short* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))};
}
INLINE void store_f16(unsigned short* p, Vec16 a) {
  _mm256_storeu_si256((__m256i*)p, _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT));
}
INLINE Vec16 load_bf16(const unsigned short* p) {
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p));
  return {_mm512_castsi512_ps(_mm512_slli_epi32(wide, 16))};
}
INLINE Vec16 load_i8(const signed char* p) {
  return {_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i*)p)))};
}

#elif defined(__AVX2__) && !defined(REALM_IS_BASELINE)

struct Vec16 {
  __m256 lo, hi;
};
INLINE Vec16 load(const float* p) {
  return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)};
}
INLINE void store(float* p, Vec16 a) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
INLINE Vec16 splat(float x) {
  return {_mm256_set1_ps(x), _mm256_set1_ps(x)};
}
INLINE Vec16 operator+(Vec16 a, Vec16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
INLINE Vec16 operator-(Vec16 a, Vec16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
INLINE Vec16 operator*(Vec16 a, Vec16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
INLINE Vec16 operator/(Vec16 a, Vec16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}
INLINE Vec16 max(Vec16 a, Vec16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
INLINE Vec16 min(Vec16 a, Vec16 b) {
  return {_mm256_min_ps(a.lo, b.lo), _mm256_min_ps(a.hi, b.hi)};
}
INLINE Vec16 select_less(Vec16 a, Vec16 b, Vec16 x, Vec16 y) {
  return {_mm256_blendv_ps(y.lo, x.lo, _mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ)),
          _mm256_blendv_ps(y.hi, x.hi, _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))};
}
INLINE bool any_less(Vec16 a, Vec16 b) {
  return _mm256_movemask_ps(_mm256_or_ps(_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ),
                                         _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ))) != 0;
}
INLINE __m256 pow2_half(__m256 n) {
  const __m256i biased = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
  return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
}
INLINE Vec16 times_pow2(Vec16 a, Vec16 n) {
  return {_mm256_mul_ps(a.lo, pow2_half(n.lo)), _mm256_mul_ps(a.hi, pow2_half(n.hi))};
}
INLINE Vec16 swap_pairs(Vec16 a) {
  return {_mm256_permute_ps(a.lo, 0xb1), _mm256_permute_ps(a.hi, 0xb1)};
}
INLINE Vec16 load_doubled(const float* p) {
  const __m256 a = _mm256_loadu_ps(p);
  return {_mm256_permutevar8x32_ps(a, _mm256_set_epi32(3, 3, 2, 2, 1, 1, 0, 0)),
          _mm256_permutevar8x32_ps(a, _mm256_set_epi32(7, 7, 6, 6, 5, 5, 4, 4))};
}
INLINE Vec16 load_f16(const unsigned short* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p)),
          _mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)(p + 8)))};
}
INLINE void store_f16(unsigned short* p, Vec16 a) {
  _mm_storeu_si128((__m128i*)p, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT));
  _mm_storeu_si128((__m128i*)(p + 8), _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT));
}
INLINE __m256 widen_bf16_half(const unsigned short* p) {
  const __m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16));
}
INLINE Vec16 load_bf16(const unsigned short* p) {
  return {widen_bf16_half(p), widen_bf16_half(p + 8)};
}
INLINE __m256 widen_i8_half(const signed char* p) {
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)p)));
}
INLINE Vec16 load_i8(const signed char* p) {
  return {widen_i8_half(p), widen_i8_half(p + 8)};
}

#elif defined(__ARM_NEON) && defined(REALM_IS_NEON)

struct Vec16 {
  float32x4_t q[4];
};
#define REALM_EACH_QUARTER(expression)             \
  Vec16 r;                                         \
  for (int i = 0; i < 4; ++i) r.q[i] = expression; \
  return r
INLINE Vec16 load(const float* p) {
  REALM_EACH_QUARTER(vld1q_f32(p + 4 * i));
}
INLINE void store(float* p, Vec16 a) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.q[i]);
}
INLINE Vec16 splat(float x) {
  REALM_EACH_QUARTER(vdupq_n_f32(x));
}
INLINE Vec16 operator+(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(vaddq_f32(a.q[i], b.q[i]));
}
INLINE Vec16 operator-(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(vsubq_f32(a.q[i], b.q[i]));
}
INLINE Vec16 operator*(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(vmulq_f32(a.q[i], b.q[i]));
}
INLINE Vec16 operator/(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(vdivq_f32(a.q[i], b.q[i]));
}
INLINE Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
  REALM_EACH_QUARTER(vfmaq_f32(c.q[i], a.q[i], b.q[i]));
}
INLINE Vec16 max(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(vbslq_f32(vcgtq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]));
}
INLINE Vec16 min(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(vbslq_f32(vcltq_f32(a.q[i], b.q[i]), a.q[i], b.q[i]));
}
INLINE Vec16 select_less(Vec16 a, Vec16 b, Vec16 x, Vec16 y) {
  REALM_EACH_QUARTER(vbslq_f32(vcltq_f32(a.q[i], b.q[i]), x.q[i], y.q[i]));
}
INLINE bool any_less(Vec16 a, Vec16 b) {
  uint32x4_t any = vcltq_f32(a.q[0], b.q[0]);
  for (int i = 1; i < 4; ++i) any = vorrq_u32(any, vcltq_f32(a.q[i], b.q[i]));
  return vmaxvq_u32(any) != 0;
}
INLINE float32x4_t pow2_quarter(float32x4_t n) {
  const int32x4_t biased = vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127));
  return vreinterpretq_f32_s32(vshlq_n_s32(biased, 23));
}
INLINE Vec16 times_pow2(Vec16 a, Vec16 n) {
  REALM_EACH_QUARTER(vmulq_f32(a.q[i], pow2_quarter(n.q[i])));
}
INLINE Vec16 swap_pairs(Vec16 a) {
  REALM_EACH_QUARTER(vrev64q_f32(a.q[i]));
}
INLINE Vec16 load_doubled(const float* p) {
  const float32x4_t lo = vld1q_f32(p), hi = vld1q_f32(p + 4);
  Vec16 r;
  r.q[0] = vzip1q_f32(lo, lo);
  r.q[1] = vzip2q_f32(lo, lo);
  r.q[2] = vzip1q_f32(hi, hi);
  r.q[3] = vzip2q_f32(hi, hi);
  return r;
}
INLINE Vec16 load_f16(const unsigned short* p) {
  REALM_EACH_QUARTER(vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))));
}
INLINE void store_f16(unsigned short* p, Vec16 a) {
  for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.q[i])));
}
INLINE Vec16 load_bf16(const unsigned short* p) {
  REALM_EACH_QUARTER(vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(p + 4 * i), 16)));
}
INLINE Vec16 load_i8(const signed char* p) {
  const int8x16_t bytes = vld1q_s8(p);
  const int16x8_t lo = vmovl_s8(vget_low_s8(bytes)), hi = vmovl_s8(vget_high_s8(bytes));
  Vec16 r;
  r.q[0] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(lo)));
  r.q[1] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(lo)));
  r.q[2] = vcvtq_f32_s32(vmovl_s16(vget_low_s16(hi)));
  r.q[3] = vcvtq_f32_s32(vmovl_s16(vget_high_s16(hi)));
  return r;
}
#undef REALM_EACH_QUARTER

#else  // the baseline: the compiler's own vectors of four; a missing FMA is a correctly rounded
       // call

typedef float Quarter __attribute__((vector_size(16)));
typedef int QuarterBits __attribute__((vector_size(16)));
struct Vec16 {
  Quarter q[4];
};
#define REALM_EACH_QUARTER(expression)             \
  Vec16 r;                                         \
  for (int i = 0; i < 4; ++i) r.q[i] = expression; \
  return r
#define REALM_EACH_LANE(expression)                              \
  Vec16 r;                                                       \
  for (int i = 0; i < 16; ++i) r.q[i / 4][i % 4] = (expression); \
  return r
INLINE float at(const Vec16& a, int i) {
  return a.q[i / 4][i % 4];
}
INLINE Vec16 load(const float* p) {
  Vec16 r;
  __builtin_memcpy(&r, p, sizeof r);
  return r;
}
INLINE void store(float* p, Vec16 a) {
  __builtin_memcpy(p, &a, sizeof a);
}
INLINE Vec16 splat(float x) {
  REALM_EACH_QUARTER(x - (Quarter){});  // x - 0 is x, also for zeros and NaN
}
INLINE Vec16 operator+(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(a.q[i] + b.q[i]);
}
INLINE Vec16 operator-(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(a.q[i] - b.q[i]);
}
INLINE Vec16 operator*(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(a.q[i] * b.q[i]);
}
INLINE Vec16 operator/(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(a.q[i] / b.q[i]);
}
CALLED Vec16 fma(Vec16 a, Vec16 b, Vec16 c) {
  REALM_EACH_LANE(__builtin_fmaf(at(a, i), at(b, i), at(c, i)));
}
INLINE Vec16 select_less(Vec16 a, Vec16 b, Vec16 x, Vec16 y) {
  REALM_EACH_QUARTER(a.q[i] < b.q[i] ? x.q[i] : y.q[i]);
}
INLINE Vec16 max(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(a.q[i] > b.q[i] ? a.q[i] : b.q[i]);
}
INLINE Vec16 min(Vec16 a, Vec16 b) {
  REALM_EACH_QUARTER(a.q[i] < b.q[i] ? a.q[i] : b.q[i]);
}
INLINE bool any_less(Vec16 a, Vec16 b) {
  bool any = false;
  for (int i = 0; i < 16; ++i) any = any || at(a, i) < at(b, i);
  return any;
}
INLINE Quarter pow2_quarter(Quarter n) {
  // Adding 1.5 * 2^23 leaves the integer n in the low bits, without a conversion that NaN could
  // upset.
  const QuarterBits integer = (QuarterBits)(n + 12582912.0f);
  return (Quarter)((integer << 23) + 0x3f800000);
}
INLINE Vec16 times_pow2(Vec16 a, Vec16 n) {
  REALM_EACH_QUARTER(a.q[i] * pow2_quarter(n.q[i]));
}
INLINE Vec16 swap_pairs(Vec16 a) {
  REALM_EACH_LANE(at(a, i ^ 1));
}
INLINE Vec16 load_doubled(const float* p) {
  REALM_EACH_LANE(p[i / 2]);
}
CALLED Vec16 load_f16(const unsigned short* p) {
  REALM_EACH_LANE(f16_to_f32(p[i]));
}
CALLED void store_f16(unsigned short* p, Vec16 a) {
  for (int i = 0; i < 16; ++i) p[i] = f32_to_f16(at(a, i));
}
CALLED Vec16 load_bf16(const unsigned short* p) {
  REALM_EACH_LANE(bf16_to_f32(p[i]));
}
CALLED Vec16 load_i8(const signed char* p) {
  REALM_EACH_LANE((float)p[i]);
}
#undef REALM_EACH_QUARTER
#undef REALM_EACH_LANE

#endif

// The sum of the lanes, always as this tree: i with i + 8, then + 4, + 2, + 1.
INLINE float sum(Vec16 a) {
  float s[16];
  store(s, a);
  for (int step = 8; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) s[i] = s[i] + s[i + step];
  }
  return s[0];
}

// The same of sixteen at once: lane i is that of a[i].
#if defined(__AVX512F__) && !defined(REALM_IS_BASELINE)
INLINE Vec16 add_halves(Vec16 a, Vec16 b) {
  return {_mm512_shuffle_f32x4(a.v, b.v, 0x44) + _mm512_shuffle_f32x4(a.v, b.v, 0xee)};
}
INLINE Vec16 add_quarters(Vec16 a, Vec16 b) {
  return {_mm512_shuffle_f32x4(a.v, b.v, 0x88) + _mm512_shuffle_f32x4(a.v, b.v, 0xdd)};
}
INLINE Vec16 add_pairs(Vec16 a, Vec16 b) {
  return {_mm512_shuffle_ps(a.v, b.v, 0x44) + _mm512_shuffle_ps(a.v, b.v, 0xee)};
}
INLINE Vec16 add_neighbours(Vec16 a, Vec16 b) {
  return {_mm512_shuffle_ps(a.v, b.v, 0x88) + _mm512_shuffle_ps(a.v, b.v, 0xdd)};
}
INLINE Vec16 sums(const Vec16 (&a)[16]) {
  Vec16 quarters[4];  // of a[i], a[i + 4], a[i + 8], a[i + 12]
  for (int i = 0; i < 4; ++i) {
    quarters[i] = add_quarters(add_halves(a[i], a[i + 4]), add_halves(a[i + 8], a[i + 12]));
  }
  return add_neighbours(add_pairs(quarters[0], quarters[1]), add_pairs(quarters[2], quarters[3]));
}
#else
INLINE Vec16 sums(const Vec16 (&a)[16]) {
  float s[16];
  for (int i = 0; i < 16; ++i) s[i] = sum(a[i]);
  return load(s);
}
#endif

INLINE float largest(Vec16 a) {
  float s[16];
  store(s, a);
  for (int step = 8; step > 0; step /= 2) {
    for (int i = 0; i < step; ++i) s[i] = s[i] > s[i + step] ? s[i] : s[i + step];
  }
  return s[0];
}

// The first lane that no other is below; none may be NaN.
#if defined(__AVX512F__) && !defined(REALM_IS_BASELINE)
INLINE int first_least(Vec16 a) {
  const __m512 least = _mm512_set1_ps(_mm512_reduce_min_ps(a.v));
  return __builtin_ctz(_mm512_cmp_ps_mask(a.v, least, _CMP_EQ_OQ));
}
#else
INLINE int first_least(Vec16 a) {
  float s[16];
  store(s, a);
  float least = s[0];
  int first = 0;
  for (int i = 1; i < 16; ++i) {
    first = s[i] < least ? i : first;
    least = s[i] < least ? s[i] : least;
  }
  return first;
}
#endif
