// What adapters add to products, for all adapters of a step at once (gpu/lora_work.h): a launch for
// the coefficients of every tile of rows, then one for the outputs, where each row gets what its
// own adapters add, in their order. So a row's sums depend on its own adapters alone. Factors and
// outputs lie in many buffers, which tasks and chains name by address. Grids: ranks x tiles;
// columns x chains. Bytes moved: each factor once for each tile of rows that it serves.
#include "metal/device/numbers.h"

static inline float read_factor(device const uint8_t* data, FactorType type, long at) {
  if (type == FactorType::kF32) return ((device const float*)data)[at];
  const ushort bits = ((device const ushort*)data)[at];
  return type == FactorType::kF16 ? half_to_float(bits) : bf16_to_float(bits);
}

struct TileRows {
  device const int* list;  // null: the rows from `first` on
  int first, n;

  long at(int i) const { return list ? list[i] : first + i; }
};

static inline TileRows rows_of(device const LoraRows& rows, device const int* list,
                               device const int* parts) {
  if (rows.part < 0) return {list + rows.first, 0, rows.n};
  const int first = parts[rows.part] + rows.first;
  const int n = parts[rows.part + 1] - first;
  return {nullptr, first, n < rows.n ? n : rows.n};
}

// A simdgroup a rank: of each row of the tile, scale * (row j of `down`) . (the input's row).
kernel void lora_shrink_kernel(
    device const LoraTask* tasks [[buffer(0)]], device const LoraTile* tiles [[buffer(1)]],
    device const int* list [[buffer(2)]], device const int* parts [[buffer(3)]],
    device const float* in [[buffer(4)]], device float* coefficients [[buffer(5)]],
    constant LoraParams& p [[buffer(6)]], uint2 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  device const LoraTile& tile = tiles[group.y];
  device const LoraTask& task = tasks[tile.task];
  const int j = int(group.x) * (kLoraThreads / kSimd) + int(simd);
  if (j >= task.rank) return;
  const TileRows rows = rows_of(tile.rows, list, parts);
  float sums[kLoraRows] = {};
  for (long k = lane; k < p.n_in; k += kSimd) {
    const float factor = read_factor(task.down, task.down_type, j * task.down_stride + k);
    for (int r = 0; r < rows.n; ++r) sums[r] = fma(in[rows.at(r) * p.n_in + k], factor, sums[r]);
  }
  for (int r = 0; r < rows.n; ++r) {
    const float sum = simd_sum(sums[r]);
    if (lane == 0) coefficients[tile.coefficients + r * task.rank + j] = task.scale * sum;
  }
}

// A thread a rank: of each row of the tile, scale * column j of the token's row of `down`.
kernel void lora_look_up_kernel(device const LoraTask* tasks [[buffer(0)]],
                                device const LoraTile* tiles [[buffer(1)]],
                                device const int* rows [[buffer(2)]],
                                device const int* tokens [[buffer(3)]],
                                device float* coefficients [[buffer(4)]],
                                uint2 at [[thread_position_in_grid]]) {
  device const LoraTile& tile = tiles[at.y];
  device const LoraTask& task = tasks[tile.task];
  const int j = int(at.x);
  if (j >= task.rank) return;
  for (int r = 0; r < tile.rows.n; ++r) {
    const long token = tokens[rows[tile.rows.first + r]];
    coefficients[tile.coefficients + r * task.rank + j] =
        task.scale * read_factor(task.down, task.down_type, token * task.down_stride + j);
  }
}

// A thread a column of the chain's rows.
kernel void lora_expand_kernel(device const LoraTask* tasks [[buffer(0)]],
                               device const LoraLink* links [[buffer(1)]],
                               device const LoraChain* chains [[buffer(2)]],
                               device const int* list [[buffer(3)]],
                               device const int* parts [[buffer(4)]],
                               device const float* coefficients [[buffer(5)]],
                               uint2 at [[thread_position_in_grid]]) {
  device const LoraChain& chain = chains[at.y];
  const long col = at.x;
  if (col >= chain.n_cols) return;
  const TileRows rows = rows_of(chain.rows, list, parts);
  const int n = rows.n;
  float values[kLoraRows], sums[kLoraRows];
  for (int r = 0; r < n; ++r) values[r] = chain.out[rows.at(r) * chain.n_cols + col];
  for (int i = chain.first_link; i < chain.first_link + chain.n_links; ++i) {
    device const LoraTask& task = tasks[links[i].task];
    const float bias = task.rescale && task.bias ? task.bias[col] : 0.0f;
    for (int r = 0; r < n && task.rescale; ++r)
      values[r] = task.rescale[col] * (values[r] - bias) + bias;
    device const float* u = coefficients + links[i].coefficients + chain.first_of_link * task.rank;
    for (int r = 0; r < n; ++r) sums[r] = 0;
    for (int j = 0; j < task.rank; ++j) {
      const float factor = read_factor(task.up, task.up_type, j * task.up_stride + col);
      for (int r = 0; r < n; ++r) sums[r] = fma(u[r * task.rank + j], factor, sums[r]);
    }
    const float gain = task.gain ? task.gain[col] : 1.0f;
    const float shift = task.shift ? task.shift_scale * task.shift[col] : 0.0f;
    for (int r = 0; r < n && task.rank > 0; ++r) values[r] += gain * sums[r];
    for (int r = 0; r < n && task.shift; ++r) values[r] += shift;
  }
  for (int r = 0; r < n; ++r) chain.out[rows.at(r) * chain.n_cols + col] = values[r];
}
