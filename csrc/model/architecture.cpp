#include "model/architecture.h"

#include <string>

namespace realm {

namespace {

// C++20 designated initializers: a row names only what differs from the plain llama-like block.
constexpr Architecture kArchitectures[] = {
    {.name = "llama",  // with experts it is mixtral
     .rope_interleaved = true,
     .experts = Experts::kIfDeclared,
     .renormalize_experts = true},
    {.name = "qwen2", .biases = Biases::kQkv},
    {.name = "qwen2moe",
     .biases = Biases::kQkv,
     .experts = Experts::kRequired,
     .shared_expert = true},
    {.name = "qwen3", .qk_norm = QkNorm::kPerHead},
    {.name = "qwen3moe",
     .qk_norm = QkNorm::kPerHead,
     .experts = Experts::kRequired,
     .renormalize_experts = true},
    {.name = "gemma2",
     .activation = Activation::kGeluTanh,
     .post_norms = true,
     .embedding_scale = EmbeddingScale::kSqrtWidth,
     .softcaps_required = true,
     .window_required = true,
     .global_every = 2,
     .width_scaled_layers = 46},
    {.name = "gemma3",
     .activation = Activation::kGeluTanh,
     .post_norms = true,
     .default_rope_base = 1000000.0f,
     .local_rope = true,
     .default_local_rope_base = 10000.0f,
     .qk_norm = QkNorm::kPerHead,
     .embedding_scale = EmbeddingScale::kSqrtWidth,
     .global_every = 6,
     .width_scaled_layers = 62},
    {.name = "phi3", .fused_qkv = true, .fused_gate_up = true},
    {.name = "olmo2",  // with windows it is olmo3
     .pre_norms = false,
     .post_norms = true,
     .local_rope = true,
     .qk_norm = QkNorm::kWholeRow,
     .global_every = 4},
    {.name = "smollm3", .rope_interleaved = true, .rope_skips_every = 4},
    {.name = "granite",
     .rope_interleaved = true,
     .embedding_scale = EmbeddingScale::kFromFile,
     .multipliers = true},
    {.name = "starcoder2",
     .norm = NormKind::kLayer,
     .activation = Activation::kGeluTanh,
     .gated = false,
     .biases = Biases::kAll},
    {.name = "gpt2",
     .norm = NormKind::kLayer,
     .activation = Activation::kGeluTanh,
     .gated = false,
     .biases = Biases::kAll,
     .fused_qkv = true,
     .learned_positions = true},
};

}  // namespace

std::span<const Architecture> all_architectures() {
  return kArchitectures;
}

const Architecture* find_architecture(std::string_view name) {
  for (const Architecture& row : kArchitectures) {
    if (name == row.name) return &row;
  }
  return nullptr;
}

}  // namespace realm
