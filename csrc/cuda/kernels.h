// Every kernel of the backend as a host function that launches it on a stream. Matrices are dense
// f32 rows, [T, cols], unless said otherwise; pointers are device pointers. Nothing here allocates
// or waits. Each function's file, named beside it, states the kernel's contract. Valid C++17.
#pragma once

#include <cstdint>

#include "backend/kinds.h"
#include "backend/top_logit.h"
#include "cuda/packed_weight.h"
#include "cuda/runtime.h"
#include "gpu/attend_tile.h"
#include "gpu/kv_page.h"
#include "gpu/lora_work.h"

namespace realm::cuda {

using gpu::AttendShape;
using gpu::AttendTile;
using gpu::kKvGroup;
using gpu::kMaxHeadWidth;
using gpu::kPageTokens;
using gpu::kSplitQueries;
using gpu::kv_page_layout;
using gpu::KvPageLayout;
using gpu::MergeRow;

// Rows in the form that integer products take. An op that may leave it beside its output does so if
// `quants` is not null; the width is then a multiple of 32.
struct QuantizedRows {
  int8_t* quants;  // [T, K]
  float* scales;   // [T, K / 32, 2]: a group's scale, and its scale times the sum of its quants
};

// ---- elementwise.cu
struct RotationAngles {  // as RopeAngles
  const float* cos;      // [T, half]
  const float* sin;
  int64_t half;
  bool interleaved;
};
void launch_add(float* x, const float* y, float scale, int64_t n, Stream stream);
void launch_scale(float* x, float factor, int64_t n, Stream stream);
void launch_softcap(float* x, float cap, int64_t n, Stream stream);
void launch_activate(Activation kind, float* x, QuantizedRows quantized, int64_t n, Stream stream);
void launch_gate(Activation kind, const float* gate, const float* up, float* out,
                 QuantizedRows quantized, int64_t n, Stream stream);
void launch_scale_by_sigmoid(float* x, const float* logits, int64_t n_rows, int64_t n_cols,
                             Stream stream);
void launch_gather(const float* in, const int32_t* rows, float* out, int64_t n_rows, int64_t n_cols,
                   Stream stream);
void launch_rotate(float* x, int64_t n_rows, int64_t n_heads, int64_t head_width,
                   const RotationAngles& angles, Stream stream);

// ---- norm.cu
void launch_norm(NormKind kind, const float* in, const float* weight, const float* bias, float eps,
                 float* out, QuantizedRows quantized, int64_t n_rows, int64_t n_cols,
                 Stream stream);

// ---- embed.cu: out[t] = scale * row tokens[t] of the table
void launch_embed(const PackedWeight& table, const int32_t* tokens, float scale, float* out,
                  int64_t n_rows, Stream stream);

// ---- quantize.cu: rows as matrix products take them
void launch_quantize(const float* in, QuantizedRows out, int64_t n_rows, int64_t n_cols,
                     Stream stream);
struct NarrowRows {
  uint16_t* values;  // [T, stride], padded with zeros
  float* factors;    // [T]: a row's true values are its factor times these
  int64_t stride;    // a multiple of 8
};
void launch_narrow(const float* in, NarrowRows out, bool brain, int64_t n_rows, int64_t n_cols,
                   Stream stream);

// ---- matrix products: out = in * weight^T + bias over the weight rows from `first_row` on
//
// With `segments` the weight is a bank: rows segments[e] .. segments[e + 1] - 1 of the input meet
// the n_out weight rows of expert e. Without, all rows meet the same.
struct ProductShape {
  int64_t n_in;  // rows of the input; with segments the most there can be
  int64_t n_out;
  int64_t first_row;
  const float* bias;        // [n_out] or null
  const int32_t* segments;  // [n_experts + 1] or null
  int64_t n_experts;        // 1 without segments
};
// vector_quant.cu: integer dot products, a warp for a few outputs, eight input rows at a time
void launch_vector_quant(const PackedWeight& weight, const ProductShape& shape, QuantizedRows in,
                         float* out, Stream stream);
// vector_float.cu: the same in f32 for F32, F16 and BF16 weights; `in` is [T, K] f32
void launch_vector_float(const PackedWeight& weight, const ProductShape& shape, const float* in,
                         float* out, Stream stream);
// matrix_quant.cu: the matrix unit on int8
void launch_matrix_quant(const PackedWeight& weight, const ProductShape& shape, QuantizedRows in,
                         float* out, Stream stream);
// matrix_half.cu: the matrix unit on F16 and BF16
void launch_matrix_half(const PackedWeight& weight, const ProductShape& shape, NarrowRows in,
                        float* out, Stream stream);
// decode_brain.cu: rows of a quantized weight as bf16, [n_rows, K]
void launch_decode_brain(const PackedWeight& weight, int64_t first_row, int64_t n_rows,
                         uint16_t* out, Stream stream);
// What is left to do for a product of narrowed rows that another computed: out * factor + bias.
void launch_finish_half(const ProductShape& shape, const float* factors, float* out, Stream stream);

// ---- keys and values
struct KvPages {
  uint8_t* data;  // pages of kPageTokens tokens; the layout of a page is in gpu/kv_page.h
  KvType type;
  int n_kv_heads, head_width;
};
// A step as kernels see it; arrays on the device, planned on the host (gpu/step_plan.h).
struct StepRows {
  int64_t n_rows;
  const int32_t* positions;  // [T]
  const int32_t* slots;      // [T]: page * kPageTokens + place in the page, of the row's own token
  const int32_t* first_pages;  // [T]: where in `pages` the row's sequence begins
  const int32_t* pages;
};
// kv_store.cu
void launch_kv_store(const KvPages& cache, const StepRows& rows, const float* k, const float* v,
                     Stream stream);
// Rotates the queries in place and stores rotated keys, and values.
void launch_rotate_and_store(const KvPages& cache, const StepRows& rows,
                             const RotationAngles& angles, int64_t n_heads, float* q,
                             const float* k, const float* v, Stream stream);

// attention_plain.cu: f32 throughout, every cache type, any head width up to kMaxHeadWidth; the
// oracle of the others
void launch_attention_plain(const KvPages& cache, const StepRows& rows, const AttendShape& shape,
                            const float* q, float* out, Stream stream);

// attention_flash.cu: up to kFlashQueries queries to a tile; f16 and bf16 caches
void launch_attention_flash(const KvPages& cache, const int32_t* pages, const AttendTile* tiles,
                            int64_t n_tiles, const AttendShape& shape, const float* q, float* out,
                            Stream stream);
// attention_split.cu: up to kSplitQueries queries to a tile, kSplitKeys keys to a split; f16, bf16
// and q8_0 caches. Parts are [n_parts, KV heads, kSplitQueries, head width + 2] f32. What is merged
// can be quantized if the head width is a multiple of 32.
void launch_attention_split(const KvPages& cache, const int32_t* pages, const AttendTile* tiles,
                            int64_t n_tiles, const AttendShape& shape, const float* q, float* parts,
                            Stream stream);
void launch_attention_merge(const MergeRow* rows, int64_t n_rows, const AttendShape& shape,
                            const float* parts, float* out, QuantizedRows quantized, Stream stream);

// ---- lora.cu: a plan of gpu/lora_plan.h on the device
struct LoraTables {
  const gpu::LoraTask* tasks;
  const int32_t* rows;
  const gpu::LoraTile* tiles;
  const gpu::LoraLink* links;
  const gpu::LoraChain* chains;
  const int32_t* parts;  // where each part of the ordered choices begins; null without experts
  int64_t n_tiles, n_chains, max_rank, max_cols;
  int max_rows;
};
// Coefficients of the tiles from rows of `in`, [T, n_in], or from rows of tokens in their tables.
void launch_lora_shrink(const LoraTables& tables, const float* in, int64_t n_in,
                        float* coefficients, Stream stream);
void launch_lora_look_up(const LoraTables& tables, const int32_t* tokens, float* coefficients,
                         Stream stream);
// Adds to the chains' outputs.
void launch_lora_expand(const LoraTables& tables, const float* coefficients, Stream stream);

// ---- experts.cu
void launch_route(float* logits, int64_t n_rows, int64_t n_experts, int64_t n_used,
                  bool renormalize, int32_t* expert, float* weight, Stream stream);
struct RowGroupsOnDevice {
  const int32_t* group_of_row;  // [T]; null: all rows in one group
  int n_groups;
};
struct SortedChoices {
  int32_t* segments;  // [n_experts + 1]: where each expert's choices begin
  int32_t* parts;     // [n_experts * n_groups + 1]: and those of each group of rows in them
  int32_t* place_of;  // [choices]: where each choice stands in the ordered whole
};
// Orders the T * n_used choices by expert, then by the row's group, rows ascending.
void launch_sort_choices(const int32_t* expert, int64_t n_choices, int64_t n_experts,
                         int64_t n_used, RowGroupsOnDevice groups, SortedChoices out,
                         Stream stream);
// out[place_of[c]] = in[c / n_used]
void launch_scatter_rows(const float* in, const int32_t* place_of, int64_t n_choices,
                         int64_t n_used, int64_t n_cols, float* out, Stream stream);
// out[t] = sum over the choices c of row t, experts ascending, of weight[c] * in[place_of[c]]
void launch_combine_experts(const float* in, const int32_t* place_of, const int32_t* expert,
                            const float* weight, int64_t n_rows, int64_t n_used, int64_t n_cols,
                            float* out, Stream stream);

// ---- shortlist.cu: the first `width` logits of each row, up to kMaxShortlist and n_cols; `out` is
// [T, 1 + width], where the first entry's token is how many follow: none of a row with a NaN or an
// infinity
constexpr int kMaxShortlist = 256;
void launch_shortlist(const float* logits, int64_t n_rows, int64_t n_cols, int64_t width,
                      TopLogit* out, Stream stream);

// ---- choose.cu: greedy choice, the lower token on a tie; a row with a NaN gives -1
void launch_choose_largest(const float* logits, int64_t n_rows, int64_t n_cols, int32_t* token,
                           Stream stream);

}  // namespace realm::cuda
