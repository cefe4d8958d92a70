// Mixture of experts around the grouped products: choosing, ordering the choices by expert so that
// each expert's rows lie together, and adding the experts' outputs. Nothing is read back by the
// host. Of equal probabilities the lower expert is chosen, and a row's experts are added by
// ascending index, whatever else is in the step.
#include "metal/device/numbers.h"

// A simdgroup a row. Overwrites the logits with probabilities and -1 for those that were chosen.
kernel void route_kernel(device float* logits [[buffer(0)]], device int* expert [[buffer(1)]],
                         device float* weight [[buffer(2)]], constant RouteParams& p [[buffer(3)]],
                         uint group [[threadgroup_position_in_grid]],
                         uint simd [[simdgroup_index_in_threadgroup]],
                         uint thread_lane [[thread_index_in_simdgroup]]) {
  const long row = long(group) * (kExpertThreads / kSimd) + simd;
  const int lane = int(thread_lane);
  if (row >= p.n_rows) return;
  device float* probability = logits + row * p.n_experts;
  float top = -INFINITY;
  for (int i = lane; i < p.n_experts; i += kSimd) top = fmax(top, probability[i]);
  top = simd_max(top);
  float sum = 0;
  for (int i = lane; i < p.n_experts; i += kSimd) {
    probability[i] = exp(probability[i] - top);
    sum += probability[i];
  }
  sum = simd_sum(sum);
  for (int i = lane; i < p.n_experts; i += kSimd) probability[i] /= sum;
  float total = 0;
  for (int used = 0; used < p.n_used; ++used) {
    float best = -2.0f;  // below what marks a chosen one; NaN never wins, expert 0 then does
    int index = 0;
    for (int i = lane; i < p.n_experts; i += kSimd) {
      if (probability[i] > best) {
        best = probability[i];
        index = i;
      }
    }
    for (int mask = kSimd / 2; mask > 0; mask /= 2) {
      const float other = simd_shuffle_xor(best, ushort(mask));
      const int other_index = simd_shuffle_xor(index, ushort(mask));
      if (other > best || (other == best && other_index < index)) {
        best = other;
        index = other_index;
      }
    }
    if (index % kSimd == lane) probability[index] = -1.0f;
    if (lane == 0) {
      expert[row * p.n_used + used] = index;
      weight[row * p.n_used + used] = best;
    }
    total += best;
  }
  if (p.renormalize && lane == 0) {
    for (int used = 0; used < p.n_used; ++used) weight[row * p.n_used + used] /= total;
  }
}

// By which a choice is ordered: its expert, then the group of its row, if there are several.
static inline int key_of(device const int* expert, device const int* group_of_row,
                         constant SortParams& p, int choice) {
  const int group = p.n_groups > 1 ? group_of_row[choice / p.n_used] : 0;
  return expert[choice] * p.n_groups + group;
}

// One threadgroup. A simdgroup counts, then places, the choices of every n-th key. `parts` begin
// where keys do, `segments` where experts do.
kernel void sort_choices_kernel(device const int* expert [[buffer(0)]],
                                device const int* group_of_row [[buffer(1)]],
                                device int* segments [[buffer(2)]], device int* parts [[buffer(3)]],
                                device int* place_of [[buffer(4)]],
                                constant SortParams& p [[buffer(5)]],
                                uint simd [[simdgroup_index_in_threadgroup]],
                                uint thread_lane [[thread_index_in_simdgroup]]) {
  const int n_simds = kExpertThreads / kSimd, lane = int(thread_lane);
  const int n_keys = p.n_experts * p.n_groups;
  for (int key = int(simd); key < n_keys; key += n_simds) {
    int n = 0;
    for (int choice = lane; choice < p.n_choices; choice += kSimd)
      n += key_of(expert, group_of_row, p, choice) == key;
    n = simd_sum(n);
    if (lane == 0) parts[key + 1] = n;
  }
  threadgroup_barrier(mem_flags::mem_device);
  if (simd == 0 && lane == 0) {
    parts[0] = 0;
    for (int key = 0; key < n_keys; ++key) parts[key + 1] += parts[key];
    for (int e = 0; e <= p.n_experts; ++e) segments[e] = parts[e * p.n_groups];
  }
  threadgroup_barrier(mem_flags::mem_device);
  for (int key = int(simd); key < n_keys; key += n_simds) {
    int place = parts[key];
    for (int first = 0; first < p.n_choices; first += kSimd) {
      const int choice = first + lane;
      const bool is_choice = choice < p.n_choices;
      const int mine = is_choice && key_of(expert, group_of_row, p, choice) == key ? 1 : 0;
      const int before = simd_prefix_exclusive_sum(mine);
      if (mine) place_of[choice] = place + before;
      place += simd_sum(mine);
    }
  }
}

kernel void scatter_rows_kernel(device const float* in [[buffer(0)]],
                                device const int* place_of [[buffer(1)]],
                                device float* out [[buffer(2)]],
                                constant ChoiceParams& p [[buffer(3)]],
                                uint i [[thread_position_in_grid]]) {
  if (i >= p.n) return;
  const long choice = i / p.n_cols, col = i % p.n_cols;
  out[place_of[choice] * p.n_cols + col] = in[choice / p.n_used * p.n_cols + col];
}

kernel void combine_kernel(device const float* in [[buffer(0)]],
                           device const int* place_of [[buffer(1)]],
                           device const int* expert [[buffer(2)]],
                           device const float* weight [[buffer(3)]],
                           device float* out [[buffer(4)]], constant ChoiceParams& p [[buffer(5)]],
                           uint i [[thread_position_in_grid]]) {
  if (i >= p.n) return;
  const long row = i / p.n_cols, col = i % p.n_cols, base = row * p.n_used;
  float sum = 0;
  int last = -1;
  for (int step = 0; step < p.n_used; ++step) {
    int next = 0, lowest = 0x7fffffff;
    for (int c = 0; c < p.n_used; ++c) {
      const int e = expert[base + c];
      if (e > last && e < lowest) {
        lowest = e;
        next = c;
      }
    }
    last = expert[base + next];
    sum = fma(in[place_of[base + next] * p.n_cols + col], weight[base + next], sum);
  }
  out[i] = sum;
}
