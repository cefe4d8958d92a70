// Many rows on levels whose dots of bytes are one instruction: sums of whole blocks in integers.
//
// A sub-block's dot becomes a float and joins the sum in two operations, beside the eight or four
// that multiply it. Here the two halves of a vector's lanes hold two sub-blocks of eight rows of
// weights; two such vectors of dots pack into one of 16 bits, which one instruction multiplies with
// both scales and adds up: two operations for four. The sums are the arithmetic's
// (docs/numerics.md) as long as IntegerSlab's squares say so.
#include "base/level.h"
#include "cpu/panels/operands.h"
#include "cpu/panels/units.h"
#include "quant/codebooks.h"

namespace realm::cpu::REALM_LEVEL_NAMESPACE {

#if defined(REALM_LEVEL_EXISTS) && defined(__AVX512VNNI__)
#include "cpu/panels/lanes.h"
// After lanes.h, in the level's namespace.
#include "cpu/panels/product.inc"
// After product.inc.
#include "cpu/panels/levels.inc"
// After levels.inc.
#include "cpu/panels/formats_k.inc"

namespace {

constexpr int kRowsTogether = 4, kPanelsTogether = 2;
constexpr int kGroup = 64, kGroups = kBlockValues / kGroup;  // values whose sub-blocks are paired

// Pairs of sub-blocks in a group, and the first of a pair and how far the other lies from it.
template <int Subs>
struct Pairs {
  static constexpr int kOfGroup = Subs / 8, kApart = kOfGroup;
  static constexpr int kQuads = 8 / kOfGroup;
  static constexpr int first(int group, int pair) { return 2 * kOfGroup * group + pair; }
};

bool pays(int64_t rows) {
  return rows > kMaxFusedRows;
}

void measure(ActSuper* act) {
  const __m512i in_turn = _mm512_setr_epi32(0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15);
  __m512i of_halves[2] = {}, most_32 = _mm512_setzero_si512(), most_16 = most_32;
  for (int g = 0; g < kGroups; ++g) {
    const __m512i q = _mm512_load_si512(act->q + kGroup * g), sizes = _mm512_abs_epi8(q);
    const __m512i squares = _mm512_dpbusd_epi32(_mm512_setzero_si512(), sizes, sizes);
    of_halves[g / 2] = _mm512_add_epi32(of_halves[g / 2], squares);
    // Sums of sixteen values in the quarters of the vector, of 32 in its halves.
    const __m512i twos = _mm512_add_epi32(squares, _mm512_shuffle_epi32(squares, _MM_PERM_BADC));
    const __m512i of_16 = _mm512_add_epi32(twos, _mm512_shuffle_epi32(twos, _MM_PERM_CDAB));
    const __m512i of_32 =
        _mm512_add_epi32(of_16, _mm512_shuffle_i32x4(of_16, of_16, _MM_PERM_CDAB));
    most_16 = _mm512_max_epi32(most_16, of_16);
    most_32 = _mm512_max_epi32(most_32, of_32);
    _mm512_store_si512(act->paired + kGroup * g, _mm512_permutexvar_epi32(in_turn, q));
  }
  for (int half = 0; half < 2; ++half) {
    act->square[half] = (float)_mm512_reduce_add_epi32(of_halves[half]);
  }
  act->square_32 = (float)_mm512_reduce_max_epi32(most_32);
  act->square_16 = (float)_mm512_reduce_max_epi32(most_16);
  const __m512i by_group = _mm512_setr_epi32(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
  const __m512i starts = _mm512_load_si512(act->start_32_16);
  _mm512_store_si512(act->start_paired, _mm512_permutexvar_epi32(by_group, starts));
}

INLINE Lanes splat_eight(const void* p) {
  int64_t x;
  __builtin_memcpy(&x, p, 8);
  return {_mm512_set1_epi64(x)};
}

// The first dot of a sum, which begins at zero: compilers copy a zero from elsewhere, which takes
// the ports that dots need.
INLINE Lanes first_dot(Lanes w, Lanes x) {
  Lanes acc;
  asm("vpxord %0, %0, %0\n\tvpdpbusd %2, %1, %0" : "=&v"(acc.v) : "v"(w.v), "v"(x.v));
  return acc;
}

struct SlabMinimums {
  const IntegerSlab* slab;
  template <int I>
  METHOD Lanes minimum(int p) const {
    return load(slab[p].pairs[I]);
  }
  METHOD Floats dmin(int p) const { return load_floats(slab[p].dmin); }
};

// The block times kRowsTogether rows, for P panels. The next rows are fetched from L2.
template <int Subs, bool Min, int P>
INLINE void multiply_rows(const IntegerSlab* slabs, const ActSuper* a, float* acc) {
  constexpr int R = kRowsTogether;
  typedef Pairs<Subs> By;
  constexpr int kRead = (int)__builtin_offsetof(ActSuper, start_paired) + (Min ? 0 : 64);
  constexpr int kLines = kRead / 64, kSteps = kGroups * 8;
  const char* next = (const char*)(a + R);
  Lanes sum[R * P];
  unroll<R * P>([&](auto i) INLINE_LAMBDA { sum[i] = splat(0); });
#pragma GCC unroll 1
  for (int g = 0; g < kGroups; ++g) {
    const char* next_row = next + g * sizeof(ActSuper);
    unroll<By::kOfGroup>([&](auto h) INLINE_LAMBDA {
      Lanes dot[R * P][2];
      if constexpr (!Min) {
        unroll<R>([&](auto r) INLINE_LAMBDA {
          const Lanes start = splat_eight(a[r].start_paired + 2 * (By::kOfGroup * g + h));
          unroll<P>([&](auto p) INLINE_LAMBDA { dot[r * P + p][0] = dot[r * P + p][1] = start; });
        });
      }
      unroll<By::kQuads>([&](auto t) INLINE_LAMBDA {
        constexpr int kStep = By::kQuads * h.value + t.value;
        Lanes w[P][2];
        unroll<P>([&](auto p) INLINE_LAMBDA {
          const uint8_t* at = slabs[p].paired.q[2 * (8 * g + kStep)];
          w[p][0] = keep(load(at));
          w[p][1] = keep(load(at + 64));
        });
        unroll<R>([&](auto r) INLINE_LAMBDA {
          const Lanes x = splat_eight(a[r].paired + kGroup * g + 8 * kStep);
          unroll<P>([&](auto p) INLINE_LAMBDA {
            unroll<2>([&](auto i) INLINE_LAMBDA {
              Lanes& of_pair = dot[r * P + p][i];
              if constexpr (Min && t == 0) {
                of_pair = first_dot(w[p][i], x);
              } else {
                of_pair = dot_unsigned(of_pair, w[p][i], x);
              }
            });
          });
        });
        unroll_share<kLines, kSteps / kGroups, kStep>([&](auto line) INLINE_LAMBDA {
          fetch_after<true>(dot[R * P - 1][1], next_row + 64 * line);
        });
      });
      unroll<P>([&](auto p) INLINE_LAMBDA {
        const Lanes scales = load(slabs[p].paired.scale[By::kOfGroup * g + h]);
        unroll<R>([&](auto r) INLINE_LAMBDA {
          Lanes(&both)[2] = dot[r * P + p];
          const Lanes packed = {_mm512_packs_epi32(both[0].v, both[1].v)};
          sum[r * P + p] = pair_dot(sum[r * P + p], packed, scales);
        });
      });
    });
  }
  Floats y[R * P];
  unroll<P>([&](auto p) INLINE_LAMBDA {
    const Floats d = load_floats(slabs[p].d);
    unroll<R>([&](auto r) INLINE_LAMBDA { y[r * P + p] = to_floats(sum[r * P + p]) * d; });
  });
  if constexpr (Min) {
    SlabMinimums minimums = {slabs};
    take_minimums<SubBlocks<kBlockValues / Subs, false, true>, R, P>(minimums, a, y);
  }
  unroll<R>([&](auto r) INLINE_LAMBDA {
    const Floats d = splat_float(a[r].d);
    unroll<P>([&](auto p) INLINE_LAMBDA {
      float* at = acc + kPanelRows * (r * P + p);
      store_floats(at, fma(y[r * P + p], d, load_floats(at)));
    });
  });
}

template <int Subs, bool Min, int P>
void multiply_panels(const IntegerSlab* slabs, const ActSuper* a, int rows, float* acc,
                     WantedLines next) {
  int from = 0;
  for (int row = 0; row < rows; row += kRowsTogether) {
    const int to = next.lines * (row + kRowsTogether < rows ? row + kRowsTogether : rows) / rows;
    for (int p = 0; p < P; ++p) {
      for (int i = from; i < to; ++i) {
        __builtin_prefetch(next.at + p * next.stride + 64 * i, 0, 2);
      }
    }
    from = to;
    multiply_rows<Subs, Min, P>(slabs, a + row, acc + (int64_t)row * P * kPanelRows);
  }
}

template <int Subs, bool Min>
void multiply(const IntegerSlab* slabs, int panels, const ActSuper* a, int rows, float* acc,
              WantedLines next) {
  (panels == 1 ? multiply_panels<Subs, Min, 1>
               : multiply_panels<Subs, Min, kPanelsTogether>)(slabs, a, rows, acc, next);
}

// A sub-block of a source as it is paired: weights that dots may take, under a scale in 16 bits.
// Those of odd sub-blocks of F may lie some bits to the left, under a smaller scale.
template <class F>
struct SubBlock {
  static constexpr bool kBiased = F::kStart == __builtin_offsetof(ActSuper, start_32_16);
  typename F::Unpacked unpacked;
  int shift;
  Floats scale;
  Lanes squares;

  METHOD void begin(const F& src, int j) {
    src.prepare(j, unpacked);
    shift = F::kOddShift * (j % 2);
    scale = src.scale(0, j) * splat_float((float)(1 << shift));
    squares = splat(0);
  }
  template <int Q>
  METHOD Lanes quad() {
    Lanes w = F::template quad<Q>(0, unpacked);
    if constexpr (F::kOddShift > 0) w = {_mm512_srl_epi16(w.v, _mm_cvtsi32_si128(shift))};
    const Lanes size = {kBiased ? _mm512_abs_epi8(_mm512_sub_epi8(w.v, _mm512_set1_epi8(32)))
                                : w.v};
    squares = dot_unsigned(squares, size, size);
    return w;
  }
  METHOD Lanes whole_scale() const { return {_mm512_cvtps_epi32(scale.v)}; }
  // Under a scale of zero, as where a panel has no row, any dot will do.
  METHOD Lanes squares_that_count() const {
    const __m512i whole = whole_scale().v;
    return {_mm512_maskz_mov_epi32(_mm512_test_epi32_mask(whole, whole), squares.v)};
  }
  METHOD Floats square() const { return to_floats(squares) * (scale * scale); }
};

template <class F>
void expand(const uint8_t* panel, int64_t block, int64_t n_blocks, IntegerSlab* out) {
  typedef typename F::Shape S;
  typedef Pairs<S::kSubs> By;
  constexpr float kAboveRounding = 1.0001f;
  F src;
  src.begin(panel, 0, block, n_blocks);
  Lanes most = splat(0);
  for (int half = 0; half < 2; ++half) {
    Floats squares = splat_float(0);
#pragma GCC unroll 1
    for (int i = 0; i < S::kSubs / 4; ++i) {
      const int pair = S::kSubs / 4 * half + i, group = pair / By::kOfGroup;
      const int j = By::first(group, pair % By::kOfGroup);
      SubBlock<F> even, odd;
      even.begin(src, j);
      odd.begin(src, j + By::kApart);
      unroll<By::kQuads>([&](auto t) INLINE_LAMBDA {
        const Lanes a = even.template quad<t.value>(), b = odd.template quad<t.value>();
        uint8_t* at = out->paired.q[2 * (By::kQuads * pair + t)];
        store(at, {_mm512_unpacklo_epi32(a.v, b.v)});
        store(at + 64, {_mm512_unpackhi_epi32(a.v, b.v)});
      });
      store(out->paired.scale[pair], merge(even.whole_scale() & splat(0xffff),
                                           shift_left<16>(odd.whole_scale()), splat(-1)));
      squares = squares + even.square() + odd.square();
      most = largest(most, largest(even.squares_that_count(), odd.squares_that_count()));
    }
    out->square[half] = _mm512_reduce_max_ps(squares.v) * kAboveRounding;
  }
  out->sub_square = (float)_mm512_reduce_max_epi32(most.v);
  store_floats(out->d, src.d(0));
  if constexpr (S::kMin) {
    store_floats(out->dmin, src.dmin(0));
    unroll<S::kSubs / 2>(
        [&](auto i) INLINE_LAMBDA { store(out->pairs[i], src.template minimum<i.value>(0)); });
  }
}

}  // namespace

void add_integers(PanelKernels& kernels) {
  IntegerKernels& integer = kernels.integer;
  integer.panels = kPanelsTogether;
  integer.pays = pays;
  integer.measure = measure;
  integer.expand[(int)Packed::kQ2_K] = expand<FormatQ2K>;
  integer.expand[(int)Packed::kQ3_K] = expand<FormatQ3K>;
  integer.expand[(int)Packed::kQ4_K] = expand<FormatQ4K>;
  integer.expand[(int)Packed::kQ6_K] = expand<FormatQ6K>;
  integer.multiply[(int)SlabKind::kSuper16] = multiply<16, false>;
  integer.multiply[(int)SlabKind::kSuper32Min] = multiply<8, true>;
  integer.multiply[(int)SlabKind::kSuper16Min] = multiply<16, true>;
}
#else
void add_integers(PanelKernels&) {}
#endif

}  // namespace realm::cpu::REALM_LEVEL_NAMESPACE
