// Products on the unit that multiplies matrices of bytes (Intel's AMX), for formats with one scale
// of activations to a block. The unit adds up integers over a whole block, while the arithmetic
// (docs/numerics.md) adds up floats, one for each sub-block. The two agree in every bit as long as
// no sum of half a block leaves the integers that floats hold; FoldedSlab::square says when that is
// sure.
//
// The unit's registers and instructions have no intrinsics that templates can name (GCC 12), so
// they are written out.
#include "cpu/panels/level.h"
#include "cpu/panels/operands.h"
#include "cpu/panels/units.h"

namespace realm::cpu::REALM_LEVEL_NAMESPACE {

#if defined(__AMX_INT8__)
#include "cpu/panels/lanes.h"

namespace {

constexpr int kTileBytes = 64;  // of a row of a tile
// Tiles: the sums of low and high bytes, two of activations and two of weights, used in turn.
constexpr int kLow = 0, kHigh = 1, kActs = 2, kWeights = 4;

struct alignas(64) TileShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

template <int Tile>
INLINE void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(Tile));
}
template <int Tile>
INLINE void tile_load(const void* rows, int64_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(Tile), "r"(rows), "r"(stride) : "memory");
}
template <int Tile>
INLINE void tile_store(void* rows) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(Tile), "r"(rows), "r"((int64_t)kTileBytes)
               : "memory");
}
// Sums += activations * weights, signed bytes times unsigned ones.
template <int Sums, int Acts, int Weights>
INLINE void tile_dot_unsigned() {
  asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Acts), "i"(Weights));
}
template <int Sums, int Acts, int Weights>
INLINE void tile_dot_signed() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(Sums), "i"(Acts), "i"(Weights));
}

void open_tiles() {
  TileShapes shapes = {};
  shapes.palette = 1;
  for (int tile = 0; tile < 8; ++tile) {
    shapes.rows[tile] = kMatrixRows;
    shapes.row_bytes[tile] = kTileBytes;
  }
  asm volatile("ldtilecfg %0" ::"m"(shapes));
}

// An idle unit leaves nothing to save when threads change.
void close_tiles() {
  asm volatile("tilerelease");
}

void measure(ActSuper* act) {
  for (int half = 0; half < 2; ++half) {
    __m512i squares = _mm512_setzero_si512();
    for (int i = 0; i < kBlockValues / 2; i += 64) {
      const __m512i sizes =
          _mm512_abs_epi8(_mm512_load_si512(act->q + half * kBlockValues / 2 + i));
      squares = _mm512_dpbusd_epi32(squares, sizes, sizes);
    }
    act->square[half] = (float)_mm512_reduce_add_epi32(squares);
  }
}

// Two int16 for each lane, from its even or its odd bytes.
struct Halves {
  __m512i even, odd;
};

// Scales times weights. Weights with minimums are unsigned, and some levels keep them times 16
// under a sixteenth of the scale: all products are taken times 16 and shifted back.
template <bool Min>
INLINE Halves scaled(__m512i weights, __m512i scale, __m512i offset) {
  const __m512i even = _mm512_and_si512(weights, _mm512_set1_epi16(0xff));
  const __m512i odd = _mm512_srli_epi16(weights, 8);
  if constexpr (Min) {
    return {_mm512_srli_epi16(_mm512_mullo_epi16(even, scale), 4),
            _mm512_srli_epi16(_mm512_mullo_epi16(odd, scale), 4)};
  } else {
    return {_mm512_mullo_epi16(_mm512_sub_epi16(even, offset), scale),
            _mm512_mullo_epi16(_mm512_sub_epi16(odd, offset), scale)};
  }
}

// Byte 0 or 1 of each int16, from its own place to the places of `even` and `odd`.
INLINE __m512i low_bytes(Halves w) {
  return _mm512_ternarylogic_epi32(w.even, _mm512_slli_epi16(w.odd, 8), _mm512_set1_epi16(0xff),
                                   0xe4);
}
INLINE __m512i high_bytes(Halves w) {
  return _mm512_ternarylogic_epi32(_mm512_srli_epi16(w.even, 8), w.odd, _mm512_set1_epi16(0xff),
                                   0xe4);
}

template <int Subs, bool Min>
void fold(const Slab* slab, int offset, FoldedSlab* out) {
  constexpr int kQuads = 64 / Subs;
  const __m512i offsets = _mm512_set1_epi16((short)offset);
  for (int half = 0; half < 2; ++half) {
    __m512i squares = _mm512_setzero_si512();  // they end at the largest integer, if not before
    for (int j = half * Subs / 2; j < (half + 1) * Subs / 2; ++j) {
      const __m512 factor = _mm512_set1_ps(Min ? 16 : 1);
      const __m512i word = _mm512_cvtps_epi32(_mm512_load_ps(slab->scale[j]) * factor);
      const __m512i scale = _mm512_mask_blend_epi16(0xaaaaaaaa, word, _mm512_slli_epi32(word, 16));
      unroll<kQuads>([&](auto i) INLINE_LAMBDA {
        const int at = j * kQuads + i;
        const Halves w = scaled<Min>(_mm512_load_si512(slab->q[at]), scale, offsets);
        _mm512_store_si512(out->low[at], low_bytes(w));
        _mm512_store_si512(out->high[at], high_bytes(w));
        squares = _mm512_dpwssds_epi32(squares, w.even, w.even);
        squares = _mm512_dpwssds_epi32(squares, w.odd, w.odd);
      });
    }
    constexpr float kAboveRounding = 1.0001f;
    out->square[half] = (float)_mm512_reduce_max_epi32(squares) * kAboveRounding;
  }
}

void fold_slab(const Slab* slab, SlabKind kind, int start, FoldedSlab* out) {
  const int offset = start == __builtin_offsetof(ActSuper, start_32_16) ? 32 : kSignedFlip;
  switch (kind) {
    case SlabKind::kSuper32:
      return fold<8, false>(slab, offset, out);
    case SlabKind::kSuper16:
      return fold<16, false>(slab, offset, out);
    case SlabKind::kSuper32Min:
      return fold<8, true>(slab, 0, out);
    case SlabKind::kSuper16Min:
      return fold<16, true>(slab, 0, out);
    default:
      __builtin_unreachable();  // kinds whose `multiply` is null are not folded
  }
}

typedef int32_t Sums[kMatrixRows][kPanelRows];

INLINE void tile_products(const FoldedSlab& slab, const ActSuper* a, Sums& low, Sums& high) {
  tile_zero<kLow>();
  tile_zero<kHigh>();
  unroll<kBlockValues / kTileBytes>([&](auto k) INLINE_LAMBDA {
    constexpr int kRow = 16 * k.value, kTurn = k.value % 2;
    tile_load<kActs + kTurn>(a->q + kTileBytes * k, sizeof(ActSuper));
    tile_load<kWeights>(slab.low[kRow], kTileBytes);
    tile_dot_unsigned<kLow, kActs + kTurn, kWeights>();
    tile_load<kWeights + 1>(slab.high[kRow], kTileBytes);
    tile_dot_signed<kHigh, kActs + kTurn, kWeights + 1>();
  });
  tile_store<kLow>(low);
  tile_store<kHigh>(high);
}

template <int Subs, bool Min>
void multiply(const Slab* slabs, const FoldedSlab* folded, int panels, const ActSuper* a,
              float* acc) {
  alignas(64) Sums low, high;
  for (int p = 0; p < panels; ++p) {
    const Slab& slab = slabs[p];
    tile_products(folded[p], a, low, high);
    const Floats d = load_floats(slab.d), dmin = load_floats(slab.dmin);
    unroll<kMatrixRows>([&](auto r) INLINE_LAMBDA {
      Floats y = to_floats(load(low[r]) + shift_left<8>(load(high[r]))) * d;
      if constexpr (Min) {
        const int16_t* pairs = Subs == 8 ? a[r].pairs_32 : a[r].pairs_16;
        Lanes mins = splat(0);
        unroll<Subs / 2>([&](auto i) INLINE_LAMBDA {
          mins = pair_dot(mins, load(slab.pairs[i]), splat_at(pairs + 2 * i));
        });
        y = fnma(to_floats(mins), dmin, y);
      }
      float* sum = acc + (r * panels + p) * kPanelRows;
      store_floats(sum, fma(y, splat_float(a[r].d), load_floats(sum)));
    });
  }
}

}  // namespace

bool add_matrix(PanelKernels& kernels) {
  MatrixKernels& matrix = kernels.matrix;
  kernels.compiled_for = REALM_LEVEL_TEXT;
  matrix.open = open_tiles;
  matrix.close = close_tiles;
  matrix.measure = measure;
  matrix.fold = fold_slab;
  matrix.multiply[(int)SlabKind::kSuper32] = multiply<8, false>;
  matrix.multiply[(int)SlabKind::kSuper16] = multiply<16, false>;
  matrix.multiply[(int)SlabKind::kSuper32Min] = multiply<8, true>;
  matrix.multiply[(int)SlabKind::kSuper16Min] = multiply<16, true>;
  return true;
}

#else
bool add_matrix(PanelKernels&) {
  return false;
}
#endif

}  // namespace realm::cpu::REALM_LEVEL_NAMESPACE
