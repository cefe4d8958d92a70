// A model's numbers, validated: everything the forward divides by, indexes with or allocates from
// is checked here, at load, and refused with a FormatError that names it. Plain data; thread-safe
// once made.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "gguf/reader.h"
#include "model/architecture.h"

namespace realm {

// How positions become angles. The scaling kinds are those that files declare in rope.scaling.type.
struct RopeConfig {
  enum class Scaling { kNone, kLinear, kYarn, kLongRope };
  float base = 10000.0f;
  int64_t width = 0;  // elements of a head that are rotated; even
  Scaling scaling = Scaling::kNone;
  float factor = 1.0f;
  int64_t original_context = 0;
  int64_t trained_context = 0;  // context_length
  // Both multiply cos and sin. The first replaces what longrope defines, the second what yarn does;
  // 0: the file does not say.
  float attention_factor = 0, yarn_attention_factor = 0;
  float beta_fast = 32.0f, beta_slow = 1.0f;
};

struct ModelConfig {
  const Architecture* architecture = nullptr;
  int64_t n_layers = 0, n_embd = 0, n_vocab = 0, n_ctx = 0;
  int64_t n_heads = 0, n_kv_heads = 0, head_width = 0;
  int64_t n_ff = 0;  // of the dense feed-forward
  int64_t n_experts = 0, n_experts_used = 0, n_ff_expert = 0, n_ff_shared = 0;
  float norm_eps = 0;
  float embedding_scale = 1, residual_scale = 1, attention_scale = 1, logit_scale = 1;
  float attention_softcap = 0, final_softcap = 0;  // 0: none
  int64_t window = 0;                              // 0: no sliding window anywhere
  std::vector<bool> window_layers;                 // who has it; empty when there is none
  RopeConfig rope;
  float local_rope_base = 0;  // of sliding-window layers, which are not scaled; 0: as the others

  int64_t q_width() const { return n_heads * head_width; }
  int64_t kv_width() const { return n_kv_heads * head_width; }
  bool has_window(int64_t layer) const {
    return window > 0 && window_layers[static_cast<size_t>(layer)];
  }
  bool has_rope(int64_t layer) const;
};

// Throws kFormat.
ModelConfig parse_config(const gguf::GgufFile& file);

}  // namespace realm
