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
// it serves. Factors need no alignment; rows at multiples of 16 bytes are read as words, several
// of them on their way at a time. Oracle: float64.
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

// Values of a row of a factor or of the input, as they lie in memory: what is to be on its way
// together is loaded before any of it is widened.
template <class Element, int kValues>
struct Run {
  using Bits = typename Element::Bits;
  static constexpr int kBytes = kValues * static_cast<int>(sizeof(Bits));
  static constexpr int kWord = kBytes < 16 ? kBytes : 16;
  alignas(16) Bits bits[kValues];

  // Whether rows from `base` on, `stride` values apart, can be loaded as words.
  static REALM_DEVICE bool in_words(uint64_t base, int64_t stride) {
    return base % kWord == 0 && stride * static_cast<int64_t>(sizeof(Bits)) % kWord == 0;
  }
  REALM_DEVICE void load_words(const Bits* from) {
    if (kWord == 8) {
      *reinterpret_cast<Words2*>(bits) = *reinterpret_cast<const Words2*>(from);
    } else {
      REALM_UNROLL
      for (int i = 0; i < kBytes / 16; ++i)
        reinterpret_cast<Words4*>(bits)[i] = reinterpret_cast<const Words4*>(from)[i];
    }
  }
  // `n_valid` values, the others zeros.
  REALM_DEVICE void load(const Bits* from, int64_t n_valid) {
    REALM_UNROLL
    for (int i = 0; i < kValues; ++i) bits[i] = i < n_valid ? from[i] : Bits{0};
  }
  REALM_DEVICE float at(int i) const { return Element::widen(bits[i]); }
};

// What a block of shrink multiplies: ranks of one task with rows of the input.
struct Shrink {
  const gpu::LoraTask& task;
  const TileRows& rows;
  int first_rank;
  const float* in;
  int64_t n_in;
};

// A thread's sums of kRanks ranks with the rows, from the run at k on as long as there are kRuns of
// them, whole ones if they are loaded as words; where it stopped. Beyond the task's ranks the last
// one is taken again, for nothing.
template <class Element, int kRows, int kRanks, int kRuns, bool kWords>
REALM_DEVICE int64_t add_runs(const Shrink& work, int64_t k, float (&sums)[kRanks][kRows]) {
  using Factor = Run<Element, kRun>;
  constexpr int64_t kStride = int64_t{kThreads} * kRun;
  constexpr int64_t kNeeded = (kRuns - 1) * kStride + (kWords ? kRun : 1);
  const auto* down = address<typename Element::Bits>(work.task.down);
  for (; k + kNeeded <= work.n_in; k += kRuns * kStride) {
    Factor factors[kRuns][kRanks];
    REALM_UNROLL
    for (int run = 0; run < kRuns; ++run) {
      REALM_UNROLL
      for (int j = 0; j < kRanks; ++j) {
        const int rank =
            work.first_rank + j < work.task.rank ? work.first_rank + j : work.task.rank - 1;
        const auto* from = down + rank * work.task.down_stride + k + run * kStride;
        if (kWords) {
          factors[run][j].load_words(from);
        } else {
          factors[run][j].load(from, work.n_in - k);
        }
      }
    }
    REALM_UNROLL
    for (int run = 0; run < kRuns; ++run) {
      REALM_UNROLL
      for (int r = 0; r < kRows; ++r) {
        if (kRows > 1 && r >= work.rows.n) break;
        Run<FloatElement, kRun> x;
        const float* from = work.in + work.rows.at(r) * work.n_in + k + run * kStride;
        if (kWords) {
          x.load_words(from);
        } else {
          x.load(from, work.n_in - k);
        }
        REALM_UNROLL
        for (int j = 0; j < kRanks; ++j) {
          REALM_UNROLL
          for (int i = 0; i < kRun; ++i)
            sums[j][r] = fmaf(x.at(i), factors[run][j].at(i), sums[j][r]);
        }
      }
    }
  }
  return k;
}

template <class Element, int kRows, int kRanks>
REALM_DEVICE void add_products(const Shrink& work, float (&sums)[kRanks][kRows]) {
  constexpr int kRuns = kRows == 1 ? 2 : 1;
  int64_t k = int64_t{threadIdx.x} * kRun;
  if (Run<Element, kRun>::in_words(work.task.down, work.task.down_stride) &&
      Run<FloatElement, kRun>::in_words(reinterpret_cast<uint64_t>(work.in), work.n_in)) {
    k = add_runs<Element, kRows, kRanks, kRuns, true>(work, k, sums);
    if (kRuns > 1) k = add_runs<Element, kRows, kRanks, 1, true>(work, k, sums);
  }
  add_runs<Element, kRows, kRanks, 1, false>(work, k, sums);
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
    add_products<decltype(element), kRows, kRanks>({task, rows, first_rank, in, n_in}, sums);
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

// sums[r][c] += row r's coefficients times the columns' values of `up`, from rank j on as long as
// there are kRanks of them; where it stopped.
template <class Element, int kRows, int kRanks, bool kWords>
REALM_DEVICE int add_ranks(const gpu::LoraTask& task, const float* u, int n_rows, int64_t col,
                           int64_t n_cols, int j, float (&sums)[kRows][kCols]) {
  const auto* up = address<typename Element::Bits>(task.up) + col;
  for (; j + kRanks <= task.rank; j += kRanks) {
    Run<Element, kCols> factors[kRanks];
    REALM_UNROLL
    for (int i = 0; i < kRanks; ++i) {
      const auto* from = up + (j + i) * task.up_stride;
      if (kWords) {
        factors[i].load_words(from);
      } else {
        factors[i].load(from, n_cols - col);
      }
    }
    REALM_UNROLL
    for (int r = 0; r < kRows; ++r) {
      if (kRows > 1 && r >= n_rows) break;
      REALM_UNROLL
      for (int i = 0; i < kRanks; ++i) {
        const float coefficient = u[r * task.rank + j + i];
        REALM_UNROLL
        for (int c = 0; c < kCols; ++c)
          sums[r][c] = fmaf(coefficient, factors[i].at(c), sums[r][c]);
      }
    }
  }
  return j;
}

template <class Element, int kRows>
REALM_DEVICE void expand(const gpu::LoraTask& task, const float* u, int n_rows, int64_t col,
                         int64_t n_cols, float (&sums)[kRows][kCols]) {
  constexpr int kRanks = kRows == 1 ? 8 : 4;
  int j = 0;
  if (Run<Element, kCols>::in_words(task.up, task.up_stride) && col + kCols <= n_cols) {
    j = add_ranks<Element, kRows, kRanks, true>(task, u, n_rows, col, n_cols, j, sums);
    j = add_ranks<Element, kRows, 1, true>(task, u, n_rows, col, n_cols, j, sums);
  }
  add_ranks<Element, kRows, 1, false>(task, u, n_rows, col, n_cols, j, sums);
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
  if (col >= chain.n_cols || rows.n <= 0) return;
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
