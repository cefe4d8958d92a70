// What adapters add to products, for all adapters of a call at once (gpu/lora_work.h): a launch for
// the coefficients of every tile of rows, then one for the outputs, where each row gets what its
// own adapters add, in their order. f32; fused multiply-adds.
//
// shrink: a block for some ranks of a tile. Thread t takes the values 8 t .. 8 t + 7 of a row, then
// those 1024 further on; warps add up by butterfly, then their sums in warp order. expand: a thread
// for four columns of a chain's rows, ranks ascending. So a row's sums depend on its own adapters
// alone, and on neither the tile nor the alignment of a factor.
//
// Grids: tiles x ranks; chains x columns. Bytes moved: each factor once for each tile of rows that
// it serves. Factors need no alignment; of 16 bytes they are read faster. Oracle: float64.
#include "cuda/codec.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

namespace {

using gpu::FactorType;
using gpu::kLoraRows;

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kWarp;
constexpr int kRun = 8;   // values of a row that a thread of shrink takes at a time
constexpr int kCols = 4;  // columns of a thread of expand

struct TileRows {
  const int32_t* list;  // null: the rows from `first` on
  int first, n;

  REALM_DEVICE int64_t at(int i) const { return list ? list[i] : first + i; }
};

REALM_DEVICE TileRows rows_of(const LoraTables& tables, const gpu::LoraRows& rows) {
  if (rows.part < 0) return {tables.rows + rows.first, 0, rows.n};
  const int first = tables.parts[rows.part] + rows.first;
  const int n = tables.parts[rows.part + 1] - first;
  return {nullptr, first, n < rows.n ? n : rows.n};
}

template <class T>
REALM_DEVICE const T* address(uint64_t at) {
  return reinterpret_cast<const T*>(at);
}

template <class F>
REALM_DEVICE void with_factor(FactorType type, F f) {
  if (type == FactorType::kF32) return f(FloatElement{});
  if (type == FactorType::kF16) return f(HalfElement{});
  f(BrainElement{});
}

// Whether rows of kValues values that begin at multiples of kValues may be read as words.
template <class Bits, int kValues>
REALM_DEVICE bool in_words(uint64_t base, int64_t stride) {
  constexpr int kBytes = kValues * static_cast<int>(sizeof(Bits));
  constexpr int kWord = kBytes < 16 ? kBytes : 16;
  return base % kWord == 0 && stride * static_cast<int64_t>(sizeof(Bits)) % kWord == 0;
}

// `n_valid` values, the others zeros.
template <class Element, int kValues>
REALM_DEVICE void load_values(const typename Element::Bits* from, int64_t n_valid, bool words,
                              float (&out)[kValues]) {
  using Bits = typename Element::Bits;
  constexpr int kBytes = kValues * static_cast<int>(sizeof(Bits));
  if (words && n_valid >= kValues) {
    alignas(16) Bits run[kValues];
    if (kBytes == 8) {
      *reinterpret_cast<Words2*>(run) = *reinterpret_cast<const Words2*>(from);
    } else {
      REALM_UNROLL
      for (int i = 0; i < kBytes / 16; ++i)
        reinterpret_cast<Words4*>(run)[i] = reinterpret_cast<const Words4*>(from)[i];
    }
    REALM_UNROLL
    for (int i = 0; i < kValues; ++i) out[i] = Element::widen(run[i]);
  } else {
    REALM_UNROLL
    for (int i = 0; i < kValues; ++i) out[i] = i < n_valid ? Element::widen(from[i]) : 0.0f;
  }
}

// A thread's sums of kRanks ranks with the tile's rows.
template <class Element, int kRows, int kRanks>
REALM_DEVICE void add_products(const gpu::LoraTask& task, const TileRows& rows, int first_rank,
                               const float* in, int64_t n_in, float (&sums)[kRanks][kRows]) {
  using Bits = typename Element::Bits;
  const auto* down = address<Bits>(task.down) + first_rank * task.down_stride;
  const bool words = in_words<Bits, kRun>(task.down, task.down_stride);
  const bool in_is_words = in_words<float, kRun>(reinterpret_cast<uint64_t>(in), n_in);
  const int n_ranks = task.rank - first_rank;
  for (int64_t k = int64_t{threadIdx.x} * kRun; k < n_in; k += kThreads * kRun) {
    float factors[kRanks][kRun];
    REALM_UNROLL
    for (int j = 0; j < kRanks; ++j)
      load_values<Element>(down + j * task.down_stride + k, j < n_ranks ? n_in - k : 0, words,
                           factors[j]);
    REALM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows.n) break;
      float x[kRun];
      load_values<FloatElement>(in + rows.at(r) * n_in + k, n_in - k, in_is_words, x);
      REALM_UNROLL
      for (int j = 0; j < kRanks; ++j) {
        REALM_UNROLL
        for (int i = 0; i < kRun; ++i) sums[j][r] = fmaf(x[i], factors[j][i], sums[j][r]);
      }
    }
  }
}

template <int kRows, int kRanks>
__global__ void __launch_bounds__(kThreads)
    lora_shrink_kernel(LoraTables tables, const float* in, int64_t n_in, float* coefficients) {
  REALM_SHARED(float, parts, kWarps * kRanks * kRows);
  const gpu::LoraTile tile = tables.tiles[blockIdx.x];
  const gpu::LoraTask task = tables.tasks[tile.task];
  const TileRows rows = rows_of(tables, tile.rows);
  const int first_rank = static_cast<int>(blockIdx.y) * kRanks;
  if (first_rank >= task.rank || rows.n <= 0) return;
  float sums[kRanks][kRows] = {};
  with_factor(task.down_type, [&](auto element) {
    add_products<decltype(element), kRows, kRanks>(task, rows, first_rank, in, n_in, sums);
  });
  REALM_UNROLL
  for (int j = 0; j < kRanks; ++j) {
    REALM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (r >= rows.n) break;
      const float sum = warp_sum(sums[j][r]);
      if (lane_index() == 0) parts[(warp_index() * kRanks + j) * kRows + r] = sum;
    }
  }
  __syncthreads();
  const int j = static_cast<int>(threadIdx.x) / kRows, r = static_cast<int>(threadIdx.x) % kRows;
  if (j >= kRanks || first_rank + j >= task.rank || r >= rows.n) return;
  float total = 0;
  for (int warp = 0; warp < kWarps; ++warp) total += parts[(warp * kRanks + j) * kRows + r];
  coefficients[tile.coefficients + r * task.rank + first_rank + j] = task.scale * total;
}

// A thread a rank: of each row of the tile, scale * column j of the token's row of `down`.
__global__ void lora_look_up_kernel(LoraTables tables, const int32_t* tokens, float* coefficients) {
  const gpu::LoraTile tile = tables.tiles[blockIdx.x];
  const gpu::LoraTask task = tables.tasks[tile.task];
  const int j = static_cast<int>(blockIdx.y) * kThreads + static_cast<int>(threadIdx.x);
  if (j >= task.rank) return;
  with_factor(task.down_type, [&](auto element) {
    using Element = decltype(element);
    const auto* down = address<typename Element::Bits>(task.down) + j;
    for (int r = 0; r < tile.rows.n; ++r) {
      const int64_t token = tokens[tables.rows[tile.rows.first + r]];
      coefficients[tile.coefficients + r * task.rank + j] =
          task.scale * Element::widen(down[token * task.down_stride]);
    }
  });
}

// sums[r][c] = row r's coefficients times the columns' values of `up`.
template <class Element, int kRows>
REALM_DEVICE void expand(const gpu::LoraTask& task, const float* u, int n_rows, int64_t col,
                         int64_t n_cols, float (&sums)[kRows][kCols]) {
  using Bits = typename Element::Bits;
  const auto* up = address<Bits>(task.up) + col;
  const bool words = in_words<Bits, kCols>(task.up, task.up_stride);
  for (int j = 0; j < task.rank; ++j) {
    float factors[kCols];
    load_values<Element>(up + j * task.up_stride, n_cols - col, words, factors);
    REALM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (r >= n_rows) break;
      const float coefficient = u[r * task.rank + j];
      REALM_UNROLL
      for (int c = 0; c < kCols; ++c) sums[r][c] = fmaf(coefficient, factors[c], sums[r][c]);
    }
  }
}

// What one link does to the columns of its rows.
template <int kRows>
REALM_DEVICE void apply(const gpu::LoraTask& task, const float* u, int n_rows, int64_t col,
                        int64_t n_cols, float (&values)[kRows][kCols]) {
  const auto *rescale = address<float>(task.rescale), *bias = address<float>(task.bias),
             *gain = address<float>(task.gain), *shift = address<float>(task.shift);
  float sums[kRows][kCols] = {};
  if (task.rank > 0) {
    with_factor(task.up_type, [&](auto element) {
      expand<decltype(element), kRows>(task, u, n_rows, col, n_cols, sums);
    });
  }
  REALM_UNROLL
  for (int c = 0; c < kCols; ++c) {
    if (col + c >= n_cols) break;
    const float base = rescale && bias ? bias[col + c] : 0.0f;
    const float factor = rescale ? rescale[col + c] : 1.0f;
    const float strength = gain ? gain[col + c] : 1.0f;
    const float offset = shift ? shift[col + c] : 0.0f;
    REALM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (rescale) values[r][c] = fmaf(factor, values[r][c] - base, base);
      if (task.rank > 0) values[r][c] = fmaf(strength, sums[r][c], values[r][c]);
      if (shift) values[r][c] = fmaf(task.shift_scale, offset, values[r][c]);
    }
  }
}

template <int kRows>
__global__ void __launch_bounds__(kThreads)
    lora_expand_kernel(LoraTables tables, const float* coefficients) {
  const gpu::LoraChain chain = tables.chains[blockIdx.x];
  const TileRows rows = rows_of(tables, chain.rows);
  const int64_t col = (int64_t{blockIdx.y} * kThreads + threadIdx.x) * kCols;
  if (col >= chain.n_cols) return;
  auto* out = reinterpret_cast<float*>(chain.out);
  float values[kRows][kCols] = {};
  REALM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    if (r >= rows.n) break;
    const float* from = out + rows.at(r) * chain.n_cols + col;
    REALM_UNROLL
    for (int c = 0; c < kCols; ++c)
      if (col + c < chain.n_cols) values[r][c] = from[c];
  }
  for (int i = chain.first_link; i < chain.first_link + chain.n_links; ++i) {
    const gpu::LoraTask& task = tables.tasks[tables.links[i].task];
    const float* u =
        coefficients + tables.links[i].coefficients + int64_t{chain.first_of_link} * task.rank;
    apply<kRows>(task, u, rows.n, col, chain.n_cols, values);
  }
  REALM_UNROLL
  for (int r = 0; r < kRows; ++r) {
    if (r >= rows.n) break;
    float* to = out + rows.at(r) * chain.n_cols + col;
    REALM_UNROLL
    for (int c = 0; c < kCols; ++c)
      if (col + c < chain.n_cols) to[c] = values[r][c];
  }
}

dim3 grid_of(int64_t n_pieces, int64_t n, int64_t unit) {
  return dim3(static_cast<unsigned>(n_pieces), static_cast<unsigned>(div_up(n, unit)));
}

}  // namespace

// Many rows read an input for more ranks at a time; a few leave more blocks to the device.
void launch_lora_shrink(const LoraTables& tables, const float* in, int64_t n_in,
                        float* coefficients, Stream stream) {
  if (tables.n_tiles == 0) return;
  if (tables.max_rows == 1) {
    REALM_LAUNCH((lora_shrink_kernel<1, 2>), grid_of(tables.n_tiles, tables.max_rank, 2),
                 dim3(kThreads), 0, stream, tables, in, n_in, coefficients);
  } else {
    REALM_LAUNCH((lora_shrink_kernel<kLoraRows, 4>), grid_of(tables.n_tiles, tables.max_rank, 4),
                 dim3(kThreads), 0, stream, tables, in, n_in, coefficients);
  }
}

void launch_lora_look_up(const LoraTables& tables, const int32_t* tokens, float* coefficients,
                         Stream stream) {
  if (tables.n_tiles == 0) return;
  REALM_LAUNCH(lora_look_up_kernel, grid_of(tables.n_tiles, tables.max_rank, kThreads),
               dim3(kThreads), 0, stream, tables, tokens, coefficients);
}

void launch_lora_expand(const LoraTables& tables, const float* coefficients, Stream stream) {
  if (tables.n_chains == 0) return;
  const dim3 grid = grid_of(tables.n_chains, tables.max_cols, kThreads * kCols);
  if (tables.max_rows == 1) {
    REALM_LAUNCH(lora_expand_kernel<1>, grid, dim3(kThreads), 0, stream, tables, coefficients);
  } else {
    REALM_LAUNCH(lora_expand_kernel<kLoraRows>, grid, dim3(kThreads), 0, stream, tables,
                 coefficients);
  }
}

}  // namespace realm::cuda
