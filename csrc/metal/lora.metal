// What adapters add to products, for all adapters of a step at once: a launch for the coefficients
// of every row of every task, then one for the outputs, where each row of an output gets what its
// own adapters add, in their order. So a row's sums depend on its own adapters alone. Factors and
// outputs lie in many buffers, which tasks and chains name by address. Grids: ranks x rows of
// tasks; columns x chains. Bytes moved: each factor once for each row that it serves.
#include "metal/device/numbers.h"

static inline float read_factor(device const uint8_t* data, FactorType type, long at) {
  if (type == FactorType::kF32) return ((device const float*)data)[at];
  const ushort bits = ((device const ushort*)data)[at];
  return type == FactorType::kF16 ? half_to_float(bits) : bf16_to_float(bits);
}

// A simdgroup a coefficient: scale * (row j of `down`) . (the input's row).
kernel void lora_shrink_kernel(
    device const LoraTask* tasks [[buffer(0)]], device const LoraRow* rows [[buffer(1)]],
    device const float* in [[buffer(2)]], device float* coefficients [[buffer(3)]],
    constant LoraParams& p [[buffer(4)]], uint2 group [[threadgroup_position_in_grid]],
    uint simd [[simdgroup_index_in_threadgroup]], uint lane [[thread_index_in_simdgroup]]) {
  device const LoraRow& row = rows[group.y];
  device const LoraTask& task = tasks[row.task];
  const int j = int(group.x) * (kLoraThreads / kSimd) + int(simd);
  if (j >= task.rank) return;
  device const float* x = in + row.row * p.n_in;
  float sum = 0;
  for (long k = lane; k < p.n_in; k += kSimd)
    sum = fma(x[k], read_factor(task.down, task.down_type, j * task.down_stride + k), sum);
  sum = simd_sum(sum);
  if (lane == 0) coefficients[row.coefficients + j] = task.scale * sum;
}

// A thread a coefficient: scale * column j of the token's row of `down`.
kernel void lora_look_up_kernel(device const LoraTask* tasks [[buffer(0)]],
                                device const LoraRow* rows [[buffer(1)]],
                                device float* coefficients [[buffer(2)]],
                                uint2 at [[thread_position_in_grid]]) {
  device const LoraRow& row = rows[at.y];
  device const LoraTask& task = tasks[row.task];
  const int j = int(at.x);
  if (j >= task.rank) return;
  coefficients[row.coefficients + j] =
      task.scale * read_factor(task.down, task.down_type, row.row * task.down_stride + j);
}

// A thread a column of one row of the output.
kernel void lora_expand_kernel(device const LoraTask* tasks [[buffer(0)]],
                               device const LoraRow* rows [[buffer(1)]],
                               device const LoraChain* chains [[buffer(2)]],
                               device const float* coefficients [[buffer(3)]],
                               uint2 at [[thread_position_in_grid]]) {
  device const LoraChain& chain = chains[at.y];
  const long col = at.x;
  if (col >= chain.n_cols) return;
  float value = chain.out[col];
  for (int i = chain.first; i < chain.first + chain.n; ++i) {
    device const LoraTask& task = tasks[rows[i].task];
    if (task.rescale) {
      const float bias = task.bias ? task.bias[col] : 0.0f;
      value = task.rescale[col] * (value - bias) + bias;
    }
    device const float* u = coefficients + rows[i].coefficients;
    float sum = 0;
    for (int j = 0; j < task.rank; ++j)
      sum = fma(u[j], read_factor(task.up, task.up_type, j * task.up_stride + col), sum);
    if (task.rank > 0) value += task.gain ? task.gain[col] * sum : sum;
    if (task.shift) value += task.shift_scale * task.shift[col];
  }
  chain.out[col] = value;
}
