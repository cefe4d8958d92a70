// The CPU's inner loops behind one table of function pointers, one table per instruction set. All
// tables give the same bits for the same input (base/vec16.h says why). Functions are pure over the
// caller's memory; lengths are in elements and need no multiple of 16. Thread-safe. This header is
// seen by units compiled for wide instructions: it includes nothing of the C++ library and defines
// no inline function (base/vec16.h).
#pragma once

#include <stdint.h>

#include "backend/kinds.h"

namespace realm::cpu {

constexpr int kLanes = 16;       // output rows of a weight panel, tokens of a KV tile
constexpr int kMaxQueries = 64;  // query vectors that attend() takes together
constexpr int kMaxHeadWidth = 512;
constexpr int kBlockKeys = 64;      // keys that attention weighs together
constexpr int kStretchKeys = 1024;  // keys whose result may be computed apart and merged

// Up to kMaxQueries query vectors over the same K and V pages of one KV head.
struct AttendArgs {
  KvType type;
  int head_width;  // of q, k and v
  int n_queries;
  const float* q[kMaxQueries];     // [head_width] each
  float* out[kMaxQueries];         // [head_width] each
  int64_t first_key[kMaxQueries];  // keys first_key .. last_key, inclusive, are seen
  int64_t last_key[kMaxQueries];
  float scale;           // multiplies q . k
  float softcap;         // 0: none; else cap * tanh(score / cap)
  const uint8_t* pool;   // this KV head's part of page 0
  int64_t page_bytes;    // from a page to the next
  const int32_t* pages;  // page of tile i: the keys 16 i .. 16 i + 15
  float* scratch;        // attend_scratch_floats(), aligned to 64 bytes
  // What is fetched meanwhile: pages of the block that this thread attends to next; null: none.
  const uint8_t* after[kBlockKeys / kLanes] = {};
};

enum class FactorType : int { kF32, kF16, kBF16 };

// out[m][j] = scale * (x[m] . down[j]): the sum over 16 lanes, as in norms.
struct ShrinkArgs {
  FactorType type;
  const void* down;  // [rank, n_in]
  int64_t stride;    // elements from row to row
  int64_t rank, n_in;
  const float* const* x;
  int64_t n_rows;
  float scale;
  float* out;
  int64_t out_stride;
};

// out[m][c] += gain[c] * sum over j of u[m][j] * up[j][c], j ascending, one FMA each, from zero.
struct ExpandArgs {
  FactorType type;
  const void* up;  // [rank, ...], from the first column to be computed on
  int64_t stride;
  int64_t rank;
  const float* u;
  int64_t u_stride;
  float* const* out;  // from that column on
  int64_t n_rows, n_cols;
  const float* gain;  // null: 1
};

struct Kernels {
  // The instruction set that this table's code was compiled for, as its own preprocessor saw it.
  const char* (*compiled_for)();

  // acc[m][lane] += x[m][k] * panel[k][lane], k ascending, one FMA each. `acc` is [n_rows][16].
  void (*multiply_panel)(const float* panel, const float* x, int64_t x_stride, int64_t n_rows,
                         int64_t depth, float* acc);

  void (*widen_f16)(const uint16_t* in, float* out, int64_t n);
  void (*widen_bf16)(const uint16_t* in, float* out, int64_t n);

  // out = in / rms(in) * weight; layer_norm also centres and takes an optional bias.
  void (*rms_norm)(const float* in, const float* weight, float eps, float* out, int64_t n);
  void (*layer_norm)(const float* in, const float* weight, const float* bias, float eps, float* out,
                     int64_t n);

  void (*add_scaled)(float* x, const float* y, float scale, int64_t n);  // x = fma(y, scale, x)
  void (*scale)(float* x, float factor, int64_t n);
  void (*softcap)(float* x, float cap, int64_t n);  // cap * tanh(x / cap)
  void (*activate)(Activation kind, float* x, int64_t n);
  void (*gate)(Activation kind, const float* gate, const float* up, float* out, int64_t n);
  void (*softmax)(float* x, int64_t n);

  // Rotates pairs (2i, 2i + 1) if interleaved, else (i, i + half), i < half, by the angles of cos
  // and sin.
  void (*rotate)(float* x, const float* cos, const float* sin, int64_t half, bool interleaved);

  // Writes one token's key and value of one KV head at `lane` of its page.
  void (*store_kv)(KvType type, int head_width, const float* k, const float* v, uint8_t* page,
                   int lane);

  // Attention over the keys 1024 * stretch .. + 1023. `states` is written: for each query
  // attend_state_floats(), aligned to 64 bytes. The states of a query's stretches are merged in
  // ascending order into the first one's, and finished: only that writes args.out. merge spoils
  // `part`.
  void (*attend)(const AttendArgs& args, int64_t stretch, float* states);
  void (*merge_attention)(const AttendArgs& args, int64_t stretch, float* part, float* total);
  void (*finish_attention)(const AttendArgs& args, float* states);

  void (*shrink)(const ShrinkArgs& args);
  void (*expand)(const ExpandArgs& args);
};

// One per translation unit cpu/isa_*.cpp; null where this architecture does not have the level.
const Kernels* baseline_kernels();
const Kernels* avx2_kernels();
const Kernels* avx512_kernels();
const Kernels* avx512vnni_kernels();
const Kernels* neon_kernels();

}  // namespace realm::cpu
