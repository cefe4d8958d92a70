// Mixture of experts around the grouped products: choosing, ordering the choices by expert so that
// each expert's rows lie together, and in them those of rows with the same adapters, and adding the
// experts' outputs. Nothing is read back by the host. Of equal probabilities the lower expert is
// chosen, and a row's experts are added by ascending index, whatever else is in the step.
#include "cuda/device/numbers.cuh"
#include "cuda/device/warp.cuh"
#include "cuda/kernels.h"

namespace realm::cuda {

namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarp;

// The largest value with its index, the lower index on a tie, over the warp.
REALM_DEVICE void warp_largest(float& value, int& index) {
  for (int mask = kWarp / 2; mask > 0; mask /= 2) {
    const float other = shuffle_xor(value, mask);
    const int other_index = shuffle_xor(index, mask);
    if (other > value || (other == value && other_index < index)) {
      value = other;
      index = other_index;
    }
  }
}

// A warp a row. Overwrites the logits with probabilities and -1 for those that were chosen.
__global__ void route_kernel(float* logits, int64_t n_rows, int n_experts, int n_used,
                             bool renormalize, int32_t* expert, float* weight) {
  const int64_t row = int64_t{blockIdx.x} * kWarps + warp_index();
  if (row >= n_rows) return;
  float* p = logits + row * n_experts;
  float top = -INFINITY;
  for (int i = lane_index(); i < n_experts; i += kWarp) top = fmaxf(top, p[i]);
  top = warp_max(top);
  float sum = 0;
  for (int i = lane_index(); i < n_experts; i += kWarp) {
    p[i] = expf(p[i] - top);
    sum += p[i];
  }
  sum = warp_sum(sum);
  for (int i = lane_index(); i < n_experts; i += kWarp) p[i] /= sum;
  float total = 0;
  for (int used = 0; used < n_used; ++used) {
    float best = -2.0f;  // below what marks a chosen one; NaN never wins, expert 0 then does
    int index = 0;
    for (int i = lane_index(); i < n_experts; i += kWarp) {
      if (p[i] > best) {
        best = p[i];
        index = i;
      }
    }
    warp_largest(best, index);
    if (index % kWarp == lane_index()) p[index] = -1.0f;
    if (lane_index() == 0) {
      expert[row * n_used + used] = index;
      weight[row * n_used + used] = best;
    }
    total += best;
  }
  __syncwarp();
  if (renormalize && lane_index() == 0) {
    for (int used = 0; used < n_used; ++used) weight[row * n_used + used] /= total;
  }
}

// What choices are ordered by: the expert, then the group of the row.
struct ChoiceKeys {
  const int32_t* expert;
  const int32_t* group_of_row;  // null: one group
  int n_used, n_groups;

  REALM_DEVICE int at(int choice) const {
    const int group = group_of_row ? group_of_row[choice / n_used] : 0;
    return expert[choice] * n_groups + group;
  }
};

// One block. A warp counts, then places, the choices of every kWarps-th key.
__global__ void sort_choices_kernel(ChoiceKeys keys, int n_choices, int n_experts,
                                    int32_t* segments, int32_t* parts, int32_t* place_of) {
  const int n_keys = n_experts * keys.n_groups;
  for (int key = warp_index(); key < n_keys; key += kWarps) {
    int n = 0;
    for (int first = 0; first < n_choices; first += kWarp) {
      const int choice = first + lane_index();
      n += count_bits(ballot(choice < n_choices && keys.at(choice) == key));
    }
    if (lane_index() == 0) parts[key + 1] = n;
  }
  __syncthreads();
  if (threadIdx.x == 0) {
    parts[0] = 0;
    for (int key = 0; key < n_keys; ++key) parts[key + 1] += parts[key];
    for (int e = 0; e <= n_experts; ++e) segments[e] = parts[e * keys.n_groups];
  }
  __syncthreads();
  for (int key = warp_index(); key < n_keys; key += kWarps) {
    int place = parts[key];
    for (int first = 0; first < n_choices; first += kWarp) {
      const int choice = first + lane_index();
      const bool mine = choice < n_choices && keys.at(choice) == key;
      const uint32_t votes = ballot(mine);
      const uint32_t before = votes & ((1u << lane_index()) - 1);
      if (mine) place_of[choice] = place + count_bits(before);
      place += count_bits(votes);
    }
  }
}

__global__ void scatter_rows_kernel(const float* in, const int32_t* place_of, int64_t n,
                                    int64_t n_used, int64_t n_cols, float* out) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t choice = i / n_cols, col = i % n_cols;
  out[place_of[choice] * n_cols + col] = in[choice / n_used * n_cols + col];
}

__global__ void combine_kernel(const float* in, const int32_t* place_of, const int32_t* expert,
                               const float* weight, int64_t n, int n_used, int64_t n_cols,
                               float* out) {
  const int64_t i = int64_t{blockIdx.x} * kThreads + threadIdx.x;
  if (i >= n) return;
  const int64_t row = i / n_cols, col = i % n_cols, base = row * n_used;
  float sum = 0;
  int last = -1;
  for (int step = 0; step < n_used; ++step) {
    int next = 0;
    for (int c = 0, lowest = 0x7fffffff; c < n_used; ++c) {
      const int e = expert[base + c];
      if (e > last && e < lowest) {
        lowest = e;
        next = c;
      }
    }
    last = expert[base + next];
    sum = fmaf(in[place_of[base + next] * n_cols + col], weight[base + next], sum);
  }
  out[i] = sum;
}

dim3 blocks_for(int64_t n) {
  return dim3(static_cast<unsigned>(div_up<int64_t>(n, kThreads)));
}

}  // namespace

void launch_route(float* logits, int64_t n_rows, int64_t n_experts, int64_t n_used,
                  bool renormalize, int32_t* expert, float* weight, Stream stream) {
  const dim3 grid(static_cast<unsigned>(div_up<int64_t>(n_rows, kWarps)));
  REALM_LAUNCH(route_kernel, grid, dim3(kThreads), 0, stream, logits, n_rows,
               static_cast<int>(n_experts), static_cast<int>(n_used), renormalize, expert, weight);
}

void launch_sort_choices(const int32_t* expert, int64_t n_choices, int64_t n_experts,
                         int64_t n_used, RowGroupsOnDevice groups, SortedChoices out,
                         Stream stream) {
  const ChoiceKeys keys{expert, groups.group_of_row, static_cast<int>(n_used), groups.n_groups};
  REALM_LAUNCH(sort_choices_kernel, dim3(1), dim3(kThreads), 0, stream, keys,
               static_cast<int>(n_choices), static_cast<int>(n_experts), out.segments, out.parts,
               out.place_of);
}

void launch_scatter_rows(const float* in, const int32_t* place_of, int64_t n_choices,
                         int64_t n_used, int64_t n_cols, float* out, Stream stream) {
  const int64_t n = n_choices * n_cols;
  REALM_LAUNCH(scatter_rows_kernel, blocks_for(n), dim3(kThreads), 0, stream, in, place_of, n,
               n_used, n_cols, out);
}

void launch_combine_experts(const float* in, const int32_t* place_of, const int32_t* expert,
                            const float* weight, int64_t n_rows, int64_t n_used, int64_t n_cols,
                            float* out, Stream stream) {
  const int64_t n = n_rows * n_cols;
  REALM_LAUNCH(combine_kernel, blocks_for(n), dim3(kThreads), 0, stream, in, place_of, expert,
               weight, n, static_cast<int>(n_used), n_cols, out);
}

}  // namespace realm::cuda
