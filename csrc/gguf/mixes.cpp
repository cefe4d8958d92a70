#include "gguf/mixes.h"

#include <algorithm>
#include <charconv>
#include <numeric>
#include <optional>
#include <string>
#include <tuple>

#include "quant/formats.h"

namespace realm::gguf {

namespace {

using enum MixGrade;

constexpr Mix kMixes[] = {
    {"F32", 0, DType::kF32, kPlain},        {"F16", 1, DType::kF16, kPlain},
    {"BF16", 32, DType::kBF16, kPlain},     {"Q8_0", 7, DType::kQ8_0, kPlain},
    {"Q4_0", 2, DType::kQ4_0, kPlain},      {"Q4_1", 3, DType::kQ4_1, kPlain},
    {"Q5_0", 8, DType::kQ5_0, kPlain},      {"Q5_1", 9, DType::kQ5_1, kPlain},
    {"Q2_K", 10, DType::kQ2_K, kPlain},     {"Q3_K_S", 11, DType::kQ3_K, kSmall},
    {"Q3_K_M", 12, DType::kQ3_K, kMedium},  {"Q3_K_L", 13, DType::kQ3_K, kLarge},
    {"Q4_K_S", 14, DType::kQ4_K, kSmall},   {"Q4_K_M", 15, DType::kQ4_K, kMedium},
    {"Q5_K_S", 16, DType::kQ5_K, kSmall},   {"Q5_K_M", 17, DType::kQ5_K, kMedium},
    {"Q6_K", 18, DType::kQ6_K, kPlain},     {"IQ4_NL", 25, DType::kIQ4_NL, kPlain},
    {"IQ4_XS", 30, DType::kIQ4_XS, kPlain},
};

// Matrices that are small, or not used as matrices, and stay as they are.
constexpr const char* kKept[] = {
    "_norm.weight",
    "ffn_gate_inp.weight",
    "altup",
    "laurel",
    "per_layer_model_proj",
    "ssm_conv1d",
    "shortconv.conv.",
    "indexer.k_proj.",
    "indexer.q_proj.",
    "time_mix_first.",
    "time_mix_w0.",
    "time_mix_w1.",
    "time_mix_w2.",
    "time_mix_v0.",
    "time_mix_v1.",
    "time_mix_v2.",
    "time_mix_a0.",
    "time_mix_a1.",
    "time_mix_a2.",
    "time_mix_g1.",
    "time_mix_g2.",
    "time_mix_decay_w1.",
    "time_mix_decay_w2.",
    "time_mix_lerp_fused.",
    "attn_rel_b.weight",
    "position_embd",
    "token_types.weight",
    ".rel_pos",
    ".patch_embd",
    ".patch_merger",
};

enum class Role {
  kOutput,
  kTokenEmbedding,
  kAttentionV,
  kAttentionK,
  kAttentionOutput,
  kFfnDown,
  kOther
};

bool has(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

Role role_of(std::string_view name) {
  if (name == "output.weight") return Role::kOutput;
  if (name == "token_embd.weight" || name == "per_layer_token_embd.weight") {
    return Role::kTokenEmbedding;
  }
  if (has(name, "attn_v.weight") || has(name, "attn_qkv.weight") || has(name, "attn_kv_b.weight")) {
    return Role::kAttentionV;
  }
  if (has(name, "attn_k.weight")) return Role::kAttentionK;
  if (has(name, "attn_output.weight")) return Role::kAttentionOutput;
  if (has(name, "ffn_down")) return Role::kFfnDown;
  return Role::kOther;
}

bool is_quantizable(const TensorInfo& tensor) {
  const std::string_view name = tensor.name;
  const auto is_part = [&](const char* part) { return has(name, part); };
  return tensor.shape.rows() > 1 && name.ends_with("weight") &&
         std::ranges::none_of(kKept, is_part);
}

// The number in "blk.<n>.", -1 for tensors of no layer.
int64_t layer_of(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return -1;
  int64_t layer = -1;
  std::from_chars(name.data() + kPrefix.size(), name.data() + name.size(), layer);
  return layer;
}

// What the rules ask of a model.
struct Facts {
  bool falcon = false;
  bool is_70b = false;          // eight query heads to a key head, 80 layers: attn_v is small
  bool tied_embeddings = true;  // the token embedding is the output head too
  int64_t n_layers = 0;
  int64_t n_experts = 0;
  int64_t queries_per_key = 1;
  int64_t n_attention_v = 0;
};

// Of an integer, or of the first layer where the file has one for each.
int64_t integer_at(const Metadata& metadata, const std::string& key, int64_t otherwise) {
  const Value* value = metadata.find(key);
  if (value == nullptr) return otherwise;
  const Array* per_layer = value->array();
  if (per_layer != nullptr && per_layer->size() > 0)
    return per_layer->integer(0).value_or(otherwise);
  return value->integer().value_or(otherwise);
}

Facts facts_of(const Metadata& metadata, std::span<const TensorInfo> tensors) {
  const Value* named = metadata.find("general.architecture");
  const std::string arch(named != nullptr ? named->text().value_or("") : "");
  const int64_t heads = integer_at(metadata, arch + ".attention.head_count", 0);
  const int64_t kv_heads = integer_at(metadata, arch + ".attention.head_count_kv", heads);
  Facts facts;
  facts.falcon = arch == "falcon";
  facts.n_layers = integer_at(metadata, arch + ".block_count", 0);
  facts.n_experts = integer_at(metadata, arch + ".expert_count", 0);
  facts.queries_per_key = kv_heads > 0 ? heads / kv_heads : 0;
  facts.is_70b = arch == "llama" && facts.n_layers == 80 && heads != kv_heads;
  for (const TensorInfo& tensor : tensors) {
    const Role role = role_of(tensor.name);
    facts.n_attention_v += role == Role::kAttentionV;
    if (role == Role::kOutput) facts.tied_embeddings = false;
  }
  return facts;
}

// The layers at both ends and every third between them.
bool uses_more_bits(int64_t layer, int64_t n_layers) {
  return layer < n_layers / 8 || layer >= 7 * n_layers / 8 || (layer - n_layers / 8) % 3 == 2;
}

bool is_iq4(const Mix& mix) {
  return mix.base == DType::kIQ4_NL || mix.base == DType::kIQ4_XS;
}

DType output_format(const Mix& mix, const Facts& facts, const TensorInfo& tensor) {
  const uint32_t block = format_of(mix.base).block_elements;
  if (facts.falcon || tensor.shape.row_elements() % block != 0) return DType::kQ8_0;
  return mix.base == DType::kQ8_0 ? DType::kQ8_0 : DType::kQ6_K;
}

// `idx` counts the tensors of this role.
DType attention_v_format(const Mix& mix, const Facts& facts, int64_t idx) {
  if (facts.n_experts == 8) return DType::kQ8_0;
  DType format = mix.base;
  if (mix.base == DType::kQ2_K) {
    format = facts.queries_per_key >= 4 ? DType::kQ4_K : DType::kQ3_K;
  } else if (mix.base == DType::kQ3_K && mix.grade == kMedium) {
    format = idx < 2 ? DType::kQ5_K : DType::kQ4_K;
  } else if (mix.base == DType::kQ3_K && mix.grade == kLarge) {
    format = DType::kQ5_K;
  } else if (is_iq4(mix) && facts.queries_per_key >= 4) {
    format = DType::kQ5_K;
  } else if (mix.grade == kMedium && uses_more_bits(idx, facts.n_attention_v)) {
    format = DType::kQ6_K;
  } else if (mix.base == DType::kQ4_K && mix.grade == kSmall && idx < 4) {
    format = DType::kQ5_K;
  }
  const bool raise = facts.is_70b && (format == DType::kQ3_K || format == DType::kQ4_K);
  return raise ? DType::kQ5_K : format;
}

DType ffn_down_format(const Mix& mix, const Facts& facts, int64_t layer) {
  const int64_t n = facts.n_layers;
  const bool more_bits = uses_more_bits(layer, n);
  if (mix.base == DType::kQ2_K) return DType::kQ3_K;
  if (mix.base == DType::kQ3_K && mix.grade == kMedium) {
    if (layer < n / 16) return DType::kQ5_K;
    return !facts.falcon || more_bits ? DType::kQ4_K : DType::kQ3_K;
  }
  if (mix.base == DType::kQ3_K && mix.grade == kLarge) {
    return facts.falcon ? DType::kQ4_K : DType::kQ5_K;
  }
  if (mix.base == DType::kQ4_K && mix.grade == kMedium && facts.falcon) {
    return layer < n / 16 ? DType::kQ6_K : more_bits ? DType::kQ5_K : DType::kQ4_K;
  }
  if (mix.grade == kMedium && more_bits) return DType::kQ6_K;
  const bool small_q4 = mix.base == DType::kQ4_K && mix.grade == kSmall && !facts.falcon;
  return layer < n / 8 && (is_iq4(mix) || small_q4) ? DType::kQ5_K : mix.base;
}

DType attention_output_format(const Mix& mix, const Facts& facts) {
  const bool is_q3 = mix.base == DType::kQ3_K;
  if (facts.falcon) return is_q3 && mix.grade == kLarge ? DType::kQ4_K : mix.base;
  if (facts.n_experts == 8) {
    const bool raise = mix.base == DType::kQ2_K || mix.base == DType::kQ4_K || is_iq4(mix) ||
                       (is_q3 && mix.grade != kLarge);
    return raise ? DType::kQ5_K : mix.base;
  }
  if (mix.base == DType::kQ2_K) return DType::kQ3_K;
  if (is_q3 && mix.grade == kMedium) return DType::kQ4_K;
  if (is_q3 && mix.grade == kLarge) return DType::kQ5_K;
  return mix.base;
}

// A format of 32-value blocks (or none) near `wanted` for rows that are not whole blocks of it.
DType fitting_format(DType wanted, uint64_t row_elements) {
  const auto fits = [&](DType dtype) {
    return row_elements % format_of(dtype).block_elements == 0;
  };
  if (fits(wanted)) return wanted;
  DType smaller = DType::kF16;
  if (wanted == DType::kQ2_K || wanted == DType::kQ3_K) smaller = DType::kQ4_0;
  if (wanted == DType::kQ4_K) smaller = DType::kQ5_0;
  if (wanted == DType::kQ5_K) smaller = DType::kQ5_1;
  if (wanted == DType::kQ6_K) smaller = DType::kQ8_0;
  if (wanted == DType::kIQ4_XS) smaller = DType::kIQ4_NL;
  return fits(smaller) ? smaller : DType::kF16;
}

// Applies the rules to tensors in the reference quantizer's order, layer after layer: some count.
class Planner {
 public:
  Planner(const Mix& mix, const Facts& facts) : mix_(mix), facts_(facts) {}

  DType format_for(const TensorInfo& tensor) {
    switch (role_of(tensor.name)) {
      case Role::kOutput:
        return output_format(mix_, facts_, tensor);
      case Role::kTokenEmbedding:
        return facts_.tied_embeddings ? output_format(mix_, facts_, tensor) : mix_.base;
      case Role::kAttentionV:
        return attention_v_format(mix_, facts_, attention_v_idx_++);
      case Role::kAttentionK:
        return facts_.n_experts == 8 ? DType::kQ8_0 : mix_.base;
      case Role::kAttentionOutput:
        return attention_output_format(mix_, facts_);
      case Role::kFfnDown:
        return ffn_down_format(mix_, facts_, ffn_down_layer(tensor));
      case Role::kOther:
        break;
    }
    return mix_.base;
  }

 private:
  // Experts have several ffn_down tensors to a layer, so their names say which it is.
  int64_t ffn_down_layer(const TensorInfo& tensor) {
    const int64_t idx = ffn_down_idx_++;
    return facts_.n_experts > 1 ? layer_of(tensor.name) : idx;
  }

  const Mix& mix_;
  const Facts& facts_;
  int64_t attention_v_idx_ = 0;
  int64_t ffn_down_idx_ = 0;
};

std::vector<size_t> by_layer_and_name(std::span<const TensorInfo> tensors) {
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::ranges::sort(order, {}, [&](size_t i) {
    return std::tuple(layer_of(tensors[i].name), std::string_view(tensors[i].name));
  });
  return order;
}

bool same_ignoring_case(std::string_view a, std::string_view b) {
  const auto upper = [](char c) {
    return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  };
  return std::ranges::equal(a, b, {}, upper, upper);
}

}  // namespace

std::span<const Mix> all_mixes() {
  return kMixes;
}

const Mix* find_mix(std::string_view name) {
  for (const Mix& mix : kMixes) {
    if (same_ignoring_case(mix.name, name)) return &mix;
  }
  for (const Mix& mix : kMixes) {
    const std::string_view stem = std::string_view(mix.name).substr(0, 4);
    if (mix.grade == kMedium && same_ignoring_case(stem, name)) return &mix;
  }
  return nullptr;
}

std::vector<DType> plan_mix(const Mix& mix, bool pure, const Metadata& metadata,
                            std::span<const TensorInfo> tensors) {
  const Facts facts = facts_of(metadata, tensors);
  const bool has_rules = !pure && format_of(mix.base).block_elements > 1;
  Planner planner(mix, facts);
  std::vector<DType> plan(tensors.size());
  for (const size_t i : by_layer_and_name(tensors)) {
    const TensorInfo& tensor = tensors[i];
    plan[i] = tensor.dtype;
    if (!is_quantizable(tensor)) continue;
    const DType wanted = has_rules ? planner.format_for(tensor) : mix.base;
    plan[i] = fitting_format(wanted, tensor.shape.row_elements());
  }
  return plan;
}

}  // namespace realm::gguf
