// The vectors that panel kernels are written in: kWidth lanes of 32 bits, a lane for each row of a
// panel, holding four bytes, two int16, an int or a float. This is the only place where levels
// differ; integer operations are exact and float ones IEEE's, so all levels give the same bits.
// Included inside a level's namespace, after panels/level.h.
//
// kManyRowCounts: a kernel for every number of rows. Levels without it take some rows in two calls,
// for which the build is minutes shorter. kManyRegisters: 32 vectors fit, and a tile of floats
// takes twice the sums.
//
// kSlabRun: values of k side by side in a slab (panels/operands.h). Eight where one instruction
// multiplies two lanes by two rows of activations, which panels/tile_by_pairs.inc does.
//
// dot_unsigned and dot_signed multiply the four bytes of each lane with four int8 of activations
// and add. Weights of dot_unsigned are at most 127, or 255 where kFullUnsigned. Weights of
// dot_signed are given xor kSignedFlip.

#if defined(__AVX512F__) && !defined(REALM_IS_BASELINE)

constexpr int kWidth = 16, kSlabRun = 4;
constexpr bool kManyRegisters = true;
struct Lanes {
  __m512i v;
};
struct Floats {
  __m512 v;
};
INLINE Lanes keep(Lanes a) {
  asm("" : "+v"(a.v));
  return a;
}
INLINE Lanes load(const void* p) {
  return {_mm512_loadu_si512(p)};
}
INLINE void store(void* p, Lanes a) {
  _mm512_storeu_si512(p, a.v);
}
INLINE Lanes splat(int x) {
  return {_mm512_set1_epi32(x)};
}
INLINE Lanes operator&(Lanes a, Lanes b) {
  return {_mm512_and_si512(a.v, b.v)};
}
INLINE Lanes operator|(Lanes a, Lanes b) {
  return {_mm512_or_si512(a.v, b.v)};
}
INLINE Lanes operator^(Lanes a, Lanes b) {
  return {_mm512_xor_si512(a.v, b.v)};
}
INLINE Lanes operator-(Lanes a, Lanes b) {
  return {_mm512_sub_epi32(a.v, b.v)};
}
INLINE Lanes operator+(Lanes a, Lanes b) {
  return {_mm512_add_epi32(a.v, b.v)};
}
INLINE Lanes largest(Lanes a, Lanes b) {
  return {_mm512_max_epi32(a.v, b.v)};
}
// a | (b & mask)
INLINE Lanes merge(Lanes a, Lanes b, Lanes mask) {
  return {_mm512_ternarylogic_epi32(a.v, b.v, mask.v, 0xf8)};
}
INLINE Lanes add_bytes(Lanes a, Lanes b) {
  return {_mm512_add_epi8(a.v, b.v)};
}
template <int N>
INLINE Lanes shift_right(Lanes a) {
  return {_mm512_srli_epi32(a.v, N)};
}
template <int N>
INLINE Lanes shift_left(Lanes a) {
  return {_mm512_slli_epi32(a.v, N)};
}
INLINE Lanes down(Lanes a, int n) {
  return {_mm512_srlv_epi32(a.v, _mm512_set1_epi32(n))};
}
INLINE Lanes turn(Lanes a, int n) {
  return {_mm512_rolv_epi32(a.v, _mm512_set1_epi32(n))};
}
INLINE Lanes load_table(const void* p) {
  return {_mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i*)p))};
}
INLINE Lanes lookup(Lanes table, Lanes index) {
  return {_mm512_shuffle_epi8(table.v, index.v)};
}
INLINE Lanes load_u8(const uint8_t* p) {
  return {_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p))};
}
INLINE Lanes load_u16(const uint8_t* p) {
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)p))};
}
INLINE void store_low_bytes(void* p, Lanes a) {
  _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8(a.v));
}
#if defined(__AVX512VNNI__)
constexpr int kSignedFlip = 0x80;
constexpr bool kManyRowCounts = true, kFullUnsigned = true;
// Compilers copy the sums of the intrinsics.
INLINE Lanes dot_unsigned(Lanes acc, Lanes w, Lanes x) {
  asm("vpdpbusd %2, %1, %0" : "+v"(acc.v) : "v"(w.v), "v"(x.v));
  return acc;
}
INLINE Lanes dot_signed(Lanes acc, Lanes w, Lanes x) {
  return dot_unsigned(acc, w, x);
}
// With the same four bytes for every lane, from memory: compilers take a register for them.
#define REALM_HAS_DOTS_AT
typedef int __attribute__((may_alias)) FourBytes;
INLINE Lanes dot_unsigned_at(Lanes acc, Lanes w, const void* x) {
  asm("vpdpbusd %2%{1to16%}, %1, %0" : "+v"(acc.v) : "v"(w.v), "m"(*(const FourBytes*)x));
  return acc;
}
INLINE Lanes dot_signed_at(Lanes acc, Lanes w, const void* x) {
  return dot_unsigned_at(acc, w, x);
}
INLINE Lanes pair_dot(Lanes acc, Lanes a, Lanes b) {
  asm("vpdpwssd %2, %1, %0" : "+v"(acc.v) : "v"(a.v), "v"(b.v));
  return acc;
}
#else
constexpr int kSignedFlip = 0;
constexpr bool kManyRowCounts = false, kFullUnsigned = false;
INLINE Lanes pair_dot(Lanes acc, Lanes a, Lanes b) {
  return {_mm512_add_epi32(acc.v, _mm512_madd_epi16(a.v, b.v))};
}
INLINE Lanes dot_unsigned(Lanes acc, Lanes w, Lanes x) {
  return keep(pair_dot(acc, {_mm512_maddubs_epi16(w.v, x.v)}, {_mm512_set1_epi16(1)}));
}
INLINE Lanes dot_signed(Lanes acc, Lanes w, Lanes x) {
  const __m512i signed_x =
      _mm512_mask_sub_epi8(x.v, _mm512_movepi8_mask(w.v), _mm512_setzero_si512(), x.v);
  return dot_unsigned(acc, {_mm512_abs_epi8(w.v)}, {signed_x});
}
#endif
INLINE Floats to_floats(Lanes a) {
  return {_mm512_cvtepi32_ps(a.v)};
}
INLINE Lanes bits_of(Floats a) {
  return {_mm512_castps_si512(a.v)};
}
INLINE Floats floats_of(Lanes a) {
  return {_mm512_castsi512_ps(a.v)};
}
INLINE Floats load_floats(const float* p) {
  return {_mm512_loadu_ps(p)};
}
INLINE void store_floats(float* p, Floats a) {
  _mm512_storeu_ps(p, a.v);
}
INLINE Floats splat_float(float x) {
  return {_mm512_set1_ps(x)};
}
INLINE Floats operator+(Floats a, Floats b) {
  return {_mm512_add_ps(a.v, b.v)};
}
INLINE Floats operator*(Floats a, Floats b) {
  return {_mm512_mul_ps(a.v, b.v)};
}
INLINE Floats fma(Floats a, Floats b, Floats c) {
  return {_mm512_fmadd_ps(a.v, b.v, c.v)};
}
INLINE Floats fnma(Floats a, Floats b, Floats c) {
  return {_mm512_fnmadd_ps(a.v, b.v, c.v)};
}
INLINE Floats load_f16(const uint8_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i*)p))};
}
INLINE Floats load_bf16(const uint8_t* p) {
  return {_mm512_castsi512_ps(_mm512_slli_epi32(load_u16(p).v, 16))};
}

#elif defined(__AVX2__) && !defined(REALM_IS_BASELINE)

constexpr int kWidth = 8, kSlabRun = 4;
constexpr bool kManyRegisters = false;
constexpr int kSignedFlip = 0;
constexpr bool kManyRowCounts = false, kFullUnsigned = false;
struct Lanes {
  __m256i v;
};
struct Floats {
  __m256 v;
};
INLINE Lanes keep(Lanes a) {
  asm("" : "+x"(a.v));
  return a;
}
INLINE Lanes load(const void* p) {
  return {_mm256_loadu_si256((const __m256i*)p)};
}
INLINE void store(void* p, Lanes a) {
  _mm256_storeu_si256((__m256i*)p, a.v);
}
INLINE Lanes splat(int x) {
  return {_mm256_set1_epi32(x)};
}
INLINE Lanes operator&(Lanes a, Lanes b) {
  return {_mm256_and_si256(a.v, b.v)};
}
INLINE Lanes operator|(Lanes a, Lanes b) {
  return {_mm256_or_si256(a.v, b.v)};
}
INLINE Lanes operator^(Lanes a, Lanes b) {
  return {_mm256_xor_si256(a.v, b.v)};
}
INLINE Lanes operator-(Lanes a, Lanes b) {
  return {_mm256_sub_epi32(a.v, b.v)};
}
INLINE Lanes operator+(Lanes a, Lanes b) {
  return {_mm256_add_epi32(a.v, b.v)};
}
INLINE Lanes largest(Lanes a, Lanes b) {
  return {_mm256_max_epi32(a.v, b.v)};
}
INLINE Lanes merge(Lanes a, Lanes b, Lanes mask) {
  return a | (b & mask);
}
INLINE Lanes add_bytes(Lanes a, Lanes b) {
  return {_mm256_add_epi8(a.v, b.v)};
}
template <int N>
INLINE Lanes shift_right(Lanes a) {
  return {_mm256_srli_epi32(a.v, N)};
}
template <int N>
INLINE Lanes shift_left(Lanes a) {
  return {_mm256_slli_epi32(a.v, N)};
}
INLINE Lanes down(Lanes a, int n) {
  return {_mm256_srlv_epi32(a.v, _mm256_set1_epi32(n))};
}
INLINE Lanes turn(Lanes a, int n) {
  const Lanes lowered = down(a, n < 0 ? -n : 0);
  return {_mm256_sllv_epi32(lowered.v, _mm256_set1_epi32(n > 0 ? n : 0))};
}
INLINE Lanes load_table(const void* p) {
  return {_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i*)p))};
}
INLINE Lanes lookup(Lanes table, Lanes index) {
  return {_mm256_shuffle_epi8(table.v, index.v)};
}
INLINE Lanes load_u8(const uint8_t* p) {
  return {_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p))};
}
INLINE Lanes load_u16(const uint8_t* p) {
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i*)p))};
}
INLINE void store_low_bytes(void* p, Lanes a) {
  const __m256i first =
      _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, -1,
                       -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1);
  const __m256i packed = _mm256_shuffle_epi8(a.v, first);
  const int halves[2] = {_mm256_extract_epi32(packed, 0), _mm256_extract_epi32(packed, 4)};
  __builtin_memcpy(p, halves, 8);
}
INLINE Lanes pair_dot(Lanes acc, Lanes a, Lanes b) {
  return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(a.v, b.v))};
}
// maddubs adds two products in 16 bits with saturation: 2 * 127 * 127 fits.
INLINE Lanes dot_unsigned(Lanes acc, Lanes w, Lanes x) {
  return keep(pair_dot(acc, {_mm256_maddubs_epi16(w.v, x.v)}, {_mm256_set1_epi16(1)}));
}
// |w| times x with w's sign: 2 * 128 * 127 fits as well.
INLINE Lanes dot_signed(Lanes acc, Lanes w, Lanes x) {
  return dot_unsigned(acc, {_mm256_abs_epi8(w.v)}, {_mm256_sign_epi8(x.v, w.v)});
}
INLINE Floats to_floats(Lanes a) {
  return {_mm256_cvtepi32_ps(a.v)};
}
INLINE Lanes bits_of(Floats a) {
  return {_mm256_castps_si256(a.v)};
}
INLINE Floats floats_of(Lanes a) {
  return {_mm256_castsi256_ps(a.v)};
}
INLINE Floats load_floats(const float* p) {
  return {_mm256_loadu_ps(p)};
}
INLINE void store_floats(float* p, Floats a) {
  _mm256_storeu_ps(p, a.v);
}
INLINE Floats splat_float(float x) {
  return {_mm256_set1_ps(x)};
}
INLINE Floats operator+(Floats a, Floats b) {
  return {_mm256_add_ps(a.v, b.v)};
}
INLINE Floats operator*(Floats a, Floats b) {
  return {_mm256_mul_ps(a.v, b.v)};
}
INLINE Floats fma(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.v, b.v, c.v)};
}
INLINE Floats fnma(Floats a, Floats b, Floats c) {
  return {_mm256_fnmadd_ps(a.v, b.v, c.v)};
}
INLINE Floats load_f16(const uint8_t* p) {
  return {_mm256_cvtph_ps(_mm_loadu_si128((const __m128i*)p))};
}
INLINE Floats load_bf16(const uint8_t* p) {
  return {_mm256_castsi256_ps(_mm256_slli_epi32(load_u16(p).v, 16))};
}

#elif defined(REALM_IS_NEON)
#include "cpu/panels/lanes_neon.inc"
#else
#include "cpu/panels/lanes_baseline.inc"
#endif

// The four bytes at `p` in every lane.
INLINE Lanes splat_at(const void* p) {
  int x;
  __builtin_memcpy(&x, p, 4);
  return splat(x);
}
#if !defined(REALM_HAS_DOTS_AT)
INLINE Lanes dot_unsigned_at(Lanes acc, Lanes w, const void* x) {
  return dot_unsigned(acc, w, splat_at(x));
}
INLINE Lanes dot_signed_at(Lanes acc, Lanes w, const void* x) {
  return dot_signed(acc, w, splat_at(x));
}
#endif
#undef REALM_HAS_DOTS_AT
INLINE Lanes low_nibbles(Lanes a) {
  return a & splat(0x0f0f0f0f);
}
#if !defined(REALM_HAS_HIGH_NIBBLES)
INLINE Lanes high_nibbles(Lanes a) {
  return shift_right<4>(a) & splat(0x0f0f0f0f);
}
#endif
#undef REALM_HAS_HIGH_NIBBLES

// Fetches the line at `p` into L1, or from memory as far as L2, after a dot is known. Compilers
// would gather the fetches of a loop, and many at once wait for one another, with loads behind
// them. Measured on x86-64; elsewhere the compiler still places them.
template <bool IntoL1>
INLINE void fetch_after([[maybe_unused]] Lanes& dot, const void* p) {
#if defined(__AVX2__) && !defined(REALM_IS_BASELINE)
  if constexpr (IntoL1) {
    asm("prefetcht0 %1" : "+v"(dot.v) : "m"(*(const char*)p));
  } else {
    asm("prefetcht1 %1" : "+v"(dot.v) : "m"(*(const char*)p));
  }
#else
  __builtin_prefetch(p, 0, IntoL1 ? 3 : 2);
#endif
}

template <int N>
struct Constant {
  static constexpr int value = N;
  constexpr operator int() const { return N; }
};

// Calls f(Constant<0>), f(Constant<1>), ...: indices are constants before optimization starts, so
// that arrays of vectors live in registers.
template <int N, int I = 0, class F>
INLINE void unroll(F&& f) {
  if constexpr (I < N) {
    f(Constant<I>{});
    unroll<N, I + 1>(f);
  }
}

// Calls f(Constant<i>) for those of N that fall to a share, when they are dealt out evenly.
template <int N, int Shares, int Share, class F>
INLINE void unroll_share(F&& f) {
  unroll<N>([&](auto i) INLINE_LAMBDA {
    if constexpr (i.value * Shares / N == Share) f(i);
  });
}
