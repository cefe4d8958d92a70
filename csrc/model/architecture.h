// The table of architectures: each is a row of switches that the one forward (decoder.cpp) reads,
// and of the defaults that its format defines. What a model's own file says is in ModelConfig
// (config.h).
#pragma once

#include <span>
#include <string_view>

#include "backend/kinds.h"

namespace realm {

enum class QkNorm { kNone, kPerHead, kWholeRow };  // where queries and keys are normalized
enum class EmbeddingScale { kNone, kSqrtWidth, kFromFile };
enum class Experts { kNone, kIfDeclared, kRequired };
enum class Biases { kIfPresent, kQkv, kAll };  // which a file must have; others it may have

struct Architecture {
  const char* name;  // general.architecture, and the prefix of its keys
  NormKind norm = NormKind::kRms;
  Activation activation = Activation::kSilu;
  bool gated = true;        // feed-forward: activation(gate) * up, else activation(up)
  bool pre_norms = true;    // norms before attention and feed-forward
  bool post_norms = false;  // norms after them, before the residual sum
  Biases biases = Biases::kIfPresent;
  bool fused_qkv = false;          // attn_qkv holds q, k, v one after another
  bool fused_gate_up = false;      // ffn_up holds gate, then up
  bool learned_positions = false;  // position_embd instead of rotary angles
  bool rope_interleaved = false;   // rotated pairs are (2i, 2i + 1), else (i, i + half)
  float default_rope_base = 10000.0f;
  bool local_rope = false;            // sliding-window layers: unscaled, with a base of their own
  float default_local_rope_base = 0;  // 0: that of the other layers
  int rope_skips_every = 0;           // each n-th layer has no positions at all; 0: none
  QkNorm qk_norm = QkNorm::kNone;
  EmbeddingScale embedding_scale = EmbeddingScale::kNone;
  bool softcaps_required = false;  // attention and final soft caps are part of the architecture
  bool window_required = false;    // and so is the sliding window
  bool multipliers = false;        // residual, attention and logit multipliers in the file
  int global_every = 0;            // each n-th layer is without sliding window; 0: none is
  int width_scaled_layers =
      0;  // a model with this many layers scales scores by sqrt(width / heads)
  Experts experts = Experts::kNone;
  bool renormalize_experts = false;
  bool shared_expert = false;
};

std::span<const Architecture> all_architectures();

// Null for an architecture we do not run.
const Architecture* find_architecture(std::string_view name);

}  // namespace realm
