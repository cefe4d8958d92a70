// What hosts and Metal kernels tell each other: the constants that a launch passes, and how work is
// cut. One text for C++ and for the Metal Shading Language (gpu/language.h); field sizes are the
// same in both. Matrices are dense f32 rows.
#pragma once

#include "backend/kinds.h"
#include "gpu/attend_tile.h"
#include "gpu/kv_page.h"
#include "gpu/language.h"
#include "gpu/lora_work.h"

namespace realm {
namespace msl {

REALM_CONSTANT int kSimd = 32;  // threads of a simdgroup
REALM_CONSTANT int kElementThreads = 256;
REALM_CONSTANT int kPiece = 16;  // values of a weight that are unpacked together

// ---- elementwise.metal
struct AddParams {
  int64_t n;
  float scale;
};
struct ScaleParams {
  int64_t n;
  float factor;
};
struct SoftcapParams {
  int64_t n;
  float cap;
};
struct ActivateParams {
  int64_t n;
  Activation kind;
};
struct RowsParams {  // n elements in rows of n_cols
  int64_t n, n_cols;
};
struct RotateParams {
  int64_t n, n_heads, head_width, n_pairs;  // n: pairs of all heads and rows
  int interleaved;
};

// ---- norm.metal
REALM_CONSTANT int kNormThreads = 256;
struct NormParams {
  int64_t n_cols;
  float eps;
  int has_bias;
};

// ---- embed.metal
REALM_CONSTANT int kEmbedThreads = 128;
struct EmbedParams {
  int64_t n_cols;
  float scale;
};

// ---- products: out = in * weight^T + bias over the weight rows from `first_row` on. With segments
// the weight is a bank: rows segments[e] .. segments[e + 1] - 1 of the input meet the n_out weight
// rows of expert e.
struct ProductParams {
  int64_t n_in, n_out, n_cols, first_row;
  int has_bias, has_segments;
};
// vector_quant.metal, vector_float.metal
REALM_CONSTANT int kVectorSimds = 4;
REALM_CONSTANT int kVectorOutputs = 2;  // of a simdgroup, where weights are quantized
REALM_CONSTANT int kVectorRows = 8;     // of the input, at a time; four where weights are floats
REALM_CONSTANT int kVectorFloatRows = 4;
// matrix.metal: tiles of rows by columns, `depth` values along k at a time
REALM_CONSTANT int kMatrixThreads = 128;
REALM_CONSTANT int kMatrixRows = 32, kMatrixCols = 64, kMatrixDepth = 32;

// ---- keys and values. A step's rows are words: positions [T], slots [T] (page * kPageTokens +
// place in the page), where in the last array the row's sequence begins [T], then all pages.
struct KvParams {
  int64_t n_rows;
  KvType type;
  int n_kv_heads, head_width;
};
struct AttendParams {
  int64_t n_rows;
  KvType type;
  gpu::AttendShape shape;
};
REALM_CONSTANT int kPlainSimds = 4;
REALM_CONSTANT int kSimdQueries = 8;  // of a simdgroup in the tiled kernels
REALM_CONSTANT int kFlashSimds = 8, kSplitSimds = 2;
REALM_CONSTANT int kMergeThreads = 128;

// Keys of a step of the tiled kernels, and what they keep in threadgroup memory: keys or values as
// floats, and of each simdgroup its scores and a diagonal.
REALM_EITHER constexpr int attend_keys(int width) {
  return width > 128 ? 16 : 32;
}
REALM_EITHER constexpr int attend_shared_bytes(int width, int n_simds) {
  return 4 * (attend_keys(width) * width + n_simds * kSimdQueries * (attend_keys(width) + 8));
}

// ---- experts.metal
REALM_CONSTANT int kExpertThreads = 256;
struct RouteParams {
  int64_t n_rows;
  int n_experts, n_used, renormalize;
};
struct SortParams {
  int n_choices, n_experts;
  int n_used, n_groups;  // choices to a row; groups of rows
};
struct ChoiceParams {  // n elements in rows of n_cols, n_used choices to a row
  int64_t n, n_cols;
  int n_used;
};

// ---- lora.metal
struct LoraParams {
  int64_t n_in;
};
REALM_CONSTANT int kLoraThreads = 128;

// ---- choose.metal
REALM_CONSTANT int kChooseThreads = 256;
struct ChooseParams {
  int64_t n_cols;
};

}  // namespace msl
}  // namespace realm
