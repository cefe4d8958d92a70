// Products on the unit that multiplies matrices of bytes (Intel's AMX), for formats with one scale
// of activations to a block. The unit adds up integers over a whole block, while the arithmetic
// (docs/numerics.md) adds up floats, one for each sub-block. The two agree in every bit as long as
// no sum of half a block leaves the integers that floats hold; IntegerSlab::square says when that
// is sure.
//
// The unit's registers and instructions have no intrinsics that templates can name (GCC 12), so
// they are written out.
#include "base/level.h"
#include "cpu/panels/operands.h"
#include "cpu/panels/units.h"
#include "quant/codebooks.h"

namespace realm::cpu::REALM_LEVEL_NAMESPACE {

#if defined(__AMX_INT8__)
#include "cpu/panels/lanes.h"
// After lanes.h, in the level's namespace.
#include "cpu/panels/product.inc"
// After product.inc.
#include "cpu/panels/levels.inc"
#include "cpu/panels/tile.inc"
// After levels.inc.
#include "cpu/panels/formats_k.inc"

namespace {

// After formats_k.inc and tile.inc.
#include "cpu/panels/fold.inc"

constexpr int kTileBytes = 64;  // of a row of a tile
// Two tiles of activations share each of weights. The unit's own tiles: low and high sums of both,
// then activations, then weights.
constexpr int kTilesDown = 2;
constexpr int kActs = 2 * kTilesDown, kWeights = 3 * kTilesDown;

struct alignas(64) TileShapes {
  uint8_t palette, start_row, reserved[14];
  uint16_t row_bytes[16];
  uint8_t rows[16];
};

template <int Tile>
INLINE void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(Tile));
}
template <int Tile, int Offset>
INLINE void tile_load(const void* from, int64_t stride) {
  asm volatile("tileloadd %c1(%2,%3,1), %%tmm%c0" ::"i"(Tile), "i"(Offset), "r"(from), "r"(stride)
               : "memory");
}
template <int Tile, int Offset>
INLINE void tile_store(void* to) {
  asm volatile("tilestored %%tmm%c0, %c1(%2,%3,1)" ::"i"(Tile), "i"(Offset), "r"(to),
               "r"((int64_t)kTileBytes)
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
    shapes.rows[tile] = kIntegerRows;
    shapes.row_bytes[tile] = kTileBytes;
  }
  asm volatile("ldtilecfg %0" ::"m"(shapes));
}

// An idle unit leaves nothing to save when threads change.
void close_tiles() {
  asm volatile("tilerelease");
}

// Fewer rows do not pay for folding weights, unless they fill the unit's tiles.
bool pays(int64_t rows) {
  return rows >= 24 || rows == kIntegerRows;
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
  act->square_32 = act->square_16 = 0;
}

// Low and high sums of some tiles of one panel.
template <int Tiles>
struct alignas(64) Sums {
  int32_t of[Tiles][2][kIntegerRows][kPanelRows];
};

// Calls between(i) after each of the 8 * Tiles dots, which leave the vectors idle.
template <int Tiles, bool Min, class Between>
INLINE void tile_products(const IntegerSlab& slab, const ActSuper* a, Sums<Tiles>& sums,
                          Between between) {
  unroll<2 * Tiles>([&](auto i) INLINE_LAMBDA { tile_zero<i.value>(); });
  unroll<kBlockValues / kTileBytes>([&](auto k) INLINE_LAMBDA {
    constexpr int kAt = k.value * kTileBytes;
    tile_load<kWeights, 16 * kAt>(slab.folded.low, kTileBytes);
    tile_load<kWeights + 1, 16 * kAt>(slab.folded.high, kTileBytes);
    unroll<Tiles>([&](auto t) INLINE_LAMBDA {
      constexpr int kLow = 2 * t.value, kDot = 2 * (Tiles * k.value + t.value);
      constexpr int kRow = kIntegerRows * t.value * (int)sizeof(ActSuper);
      tile_load<kActs + t.value, kRow + kAt>(a, sizeof(ActSuper));
      tile_dot_unsigned<kLow, kActs + t.value, kWeights>();
      between(kDot);
      if constexpr (Min) {
        tile_dot_unsigned<kLow + 1, kActs + t.value, kWeights + 1>();
      } else {
        tile_dot_signed<kLow + 1, kActs + t.value, kWeights + 1>();
      }
      between(kDot + 1);
    });
  });
  unroll<2 * Tiles>([&](auto i) INLINE_LAMBDA {
    tile_store<i.value, i.value * kIntegerRows * kTileBytes>(&sums);
  });
}

// What the unit's sums of one panel and some rows still need. The panel's numbers are kept in
// registers: loads are what the vectors have least of beside tiles.
template <int Subs, bool Min>
struct Finish {
  const ActSuper* a;
  float* acc;
  int64_t stride;
  Floats d, dmin;
  Lanes pairs[Min ? Subs / 2 : 1];

  METHOD void begin(const IntegerSlab& slab, const ActSuper* acts, float* sums,
                    int64_t sums_stride) {
    a = acts;
    acc = sums;
    stride = sums_stride;
    d = kept(slab.d);
    if constexpr (Min) {
      dmin = kept(slab.dmin);
      unroll<Subs / 2>([&](auto i) INLINE_LAMBDA { pairs[i] = keep(load(slab.pairs[i])); });
    }
  }
  template <int Tiles>
  METHOD void row(const Sums<Tiles>& sums, int r) const {
    const auto& of = sums.of[r / kIntegerRows];
    const Lanes low = load(of[0][r % kIntegerRows]), high = load(of[1][r % kIntegerRows]);
    Floats y = to_floats(low + shift_left<kScaleBits<Min>>(high)) * d;
    if constexpr (Min) {
      const int16_t* act_pairs = Subs == 8 ? a[r].pairs_32 : a[r].pairs_16;
      Lanes mins = splat(0);
      unroll<Subs / 2>([&](auto i) INLINE_LAMBDA {
        mins = pair_dot(mins, pairs[i], splat_at(act_pairs + 2 * i));
      });
      y = fnma(to_floats(mins), dmin, y);
    }
    float* sum = acc + r * stride;
    store_floats(sum, fma(y, splat_float(a[r].d), load_floats(sum)));
  }

 private:
  static METHOD Floats kept(const float* numbers) {
    return floats_of(keep(bits_of(load_floats(numbers))));
  }
};

// Asks for a few lines at a time: many at once hold up the loads that hit the caches.
struct Fetch {
  const uint8_t *at, *end;
  int64_t bytes;  // at a time

  METHOD Fetch(const WantedLines& lines, int panel, int share, int shares, int times) {
    const uint8_t* from = lines.at + panel * lines.stride;
    at = from + 64 * (int64_t)(lines.lines * share / shares);
    end = from + 64 * (int64_t)(lines.lines * (share + 1) / shares);
    bytes = (end - at + 64 * times - 1) / (64 * times) * 64;
  }
  METHOD void some() {
    for (const uint8_t* stop = at + bytes; at < stop && at < end; at += 64) {
      __builtin_prefetch(at, 0, 2);
    }
  }
};

// Groups of rows, of `Tiles` tiles each, times all panels. While the unit multiplies, the vectors
// finish the sums of the panel before.
template <int Tiles, int Subs, bool Min>
void multiply_groups(const IntegerSlab* slabs, int panels, const ActSuper* a, int groups,
                     float* acc, WantedLines wanted) {
  constexpr int kRows = Tiles * kIntegerRows, kDots = 8 * Tiles, kRowsBetween = kRows / kDots;
  const int64_t stride = panels * kPanelRows;
  Sums<Tiles> sums[2];
  Finish<Subs, Min> before = {};
  int turn = 0;
  for (int g = 0; g < groups; ++g, a += kRows, acc += kRows * stride) {
    for (int p = 0; p < panels; ++p, turn = 1 - turn) {
      Fetch fetch(wanted, p, g, groups, kDots);
      const auto fetch_some = [&](int) INLINE_LAMBDA { fetch.some(); };
      const auto finish_some = [&](int i) INLINE_LAMBDA {
        fetch.some();
        unroll<kRowsBetween>(
            [&](auto n) INLINE_LAMBDA { before.row(sums[1 - turn], i * kRowsBetween + n); });
      };
      if (before.a) {
        tile_products<Tiles, Min>(slabs[p], a, sums[turn], finish_some);
      } else {
        tile_products<Tiles, Min>(slabs[p], a, sums[turn], fetch_some);
      }
      before.begin(slabs[p], a, acc + p * kPanelRows, stride);
    }
  }
  for (int r = 0; r < kRows; ++r) before.row(sums[1 - turn], r);
}

template <int Subs, bool Min>
void multiply(const IntegerSlab* slabs, int panels, const ActSuper* a, int n_rows, float* acc,
              WantedLines next) {
  const int tiles = (n_rows + kIntegerRows - 1) / kIntegerRows;
  const int whole = tiles / kTilesDown, rows = whole * kTilesDown * kIntegerRows;
  if (whole > 0) {
    multiply_groups<kTilesDown, Subs, Min>(slabs, panels, a, whole, acc, next);
  }
  if (tiles % kTilesDown) {
    if (whole > 0) next.lines = 0;
    multiply_groups<1, Subs, Min>(slabs, panels, a + rows, 1,
                                  acc + (int64_t)rows * panels * kPanelRows, next);
  }
}

}  // namespace

bool add_matrix(PanelKernels& kernels) {
  IntegerKernels& matrix = kernels.integer;
  kernels.compiled_for = REALM_LEVEL_TEXT;
  matrix = {};
  matrix.panels = kMaxTilePanels;
  matrix.pays = pays;
  matrix.open = open_tiles;
  matrix.close = close_tiles;
  matrix.measure = measure;
  matrix.fold = fold_slab;
  matrix.expand[(int)Packed::kQ2_K] = fold_packed<FormatQ2K>;
  matrix.expand[(int)Packed::kQ3_K] = fold_packed<FormatQ3K>;
  matrix.expand[(int)Packed::kQ4_K] = fold_packed<FormatQ4K>;
  matrix.expand[(int)Packed::kQ5_K] = fold_packed<FormatQ5K>;
  matrix.expand[(int)Packed::kQ6_K] = fold_packed<FormatQ6K>;
  matrix.expand[(int)Packed::kIQ4_XS] = fold_packed<FormatIQ4XS>;
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
