#include "lora/names.h"

#include <charconv>
#include <span>

#include "base/text.h"

namespace realm::lora {

namespace {

struct Suffix {
  std::string_view text;
  Role role;
};

// Longer ones first where one ends another.
constexpr Suffix kSuffixes[] = {
    {".lora_A.default.weight", Role::kA},
    {".lora_B.default.weight", Role::kB},
    {".lora_B.default.bias", Role::kLoraBias},
    {".lora_A.weight", Role::kA},
    {".lora_B.weight", Role::kB},
    {".lora_B.bias", Role::kLoraBias},
    {".lora_embedding_A.default", Role::kA},
    {".lora_embedding_B.default", Role::kB},
    {".lora_embedding_A", Role::kA},
    {".lora_embedding_B", Role::kB},
    {".lora_magnitude_vector.default.weight", Role::kMagnitude},
    {".lora_magnitude_vector.default", Role::kMagnitude},
    {".lora_magnitude_vector.weight", Role::kMagnitude},
    {".lora_magnitude_vector", Role::kMagnitude},
    {".weight.lora_a", Role::kA},  // GGUF
    {".weight.lora_b", Role::kB},
    {".lora_a.weight", Role::kA},
    {".lora_b.weight", Role::kB},
    {".lora_down.weight", Role::kA},
    {".lora_up.weight", Role::kB},
    {".lora_A", Role::kA},
    {".lora_B", Role::kB},
    {".lora_a", Role::kA},
    {".lora_b", Role::kB},
    {".alpha", Role::kAlpha},
    {".base_layer.weight", Role::kBaseCopy},
    {".base_layer.bias", Role::kBias},
    {".modules_to_save.default.weight", Role::kWeight},
    {".modules_to_save.default.bias", Role::kBias},
    {".modules_to_save.weight", Role::kWeight},
    {".modules_to_save.bias", Role::kBias},
    {".weight", Role::kWeight},
    {".bias", Role::kBias},
};

// Whose names an alias is, which is whose order its rows have. Meta's files and GGUF pair rotated
// rows alike; this project's own names follow them.
enum class Style { kTransformers, kBase };

struct Alias {
  std::string_view module;  // within its layer; * is an expert's number
  std::string_view base;
  Style style = Style::kTransformers;
};

// Where a module may be one of two tensors, the first that the base has.
constexpr Alias kInLayer[] = {
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"self_attn.qkv_proj", "attn_qkv"},
    {"attn.c_attn", "attn_qkv"},
    {"attn.c_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
    {"mlp.gate_up_proj", "ffn_up"},
    {"mlp.c_fc", "ffn_up"},
    {"mlp.c_proj", "ffn_down"},
    {"block_sparse_moe.gate", "ffn_gate_inp"},
    {"block_sparse_moe.experts.*.w1", "ffn_gate_exps"},
    {"block_sparse_moe.experts.*.w3", "ffn_up_exps"},
    {"block_sparse_moe.experts.*.w2", "ffn_down_exps"},
    {"mlp.gate", "ffn_gate_inp"},
    {"mlp.experts.*.gate_proj", "ffn_gate_exps"},
    {"mlp.experts.*.up_proj", "ffn_up_exps"},
    {"mlp.experts.*.down_proj", "ffn_down_exps"},
    {"mlp.shared_expert.gate_proj", "ffn_gate_shexp"},
    {"mlp.shared_expert.up_proj", "ffn_up_shexp"},
    {"mlp.shared_expert.down_proj", "ffn_down_shexp"},
    {"mlp.shared_expert_gate", "ffn_gate_inp_shexp"},
    {"input_layernorm", "attn_norm"},
    {"post_attention_layernorm", "post_attention_norm"},
    {"post_attention_layernorm", "ffn_norm"},
    {"pre_feedforward_layernorm", "ffn_norm"},
    {"post_feedforward_layernorm", "post_ffw_norm"},
    {"self_attn.q_norm", "attn_q_norm"},
    {"self_attn.k_norm", "attn_k_norm"},
    {"ln_1", "attn_norm"},
    {"ln_2", "ffn_norm"},
    {"attention.wq", "attn_q", Style::kBase},
    {"attention.wk", "attn_k", Style::kBase},
    {"attention.wv", "attn_v", Style::kBase},
    {"attention.wo", "attn_output", Style::kBase},
    {"feed_forward.w1", "ffn_gate", Style::kBase},
    {"feed_forward.w3", "ffn_up", Style::kBase},
    {"feed_forward.w2", "ffn_down", Style::kBase},
    {"ffn.gate_proj", "ffn_gate", Style::kBase},
    {"ffn.up_proj", "ffn_up", Style::kBase},
    {"ffn.down_proj", "ffn_down", Style::kBase},
};

constexpr Alias kOutsideLayers[] = {
    {"embed_tokens", "token_embd"},
    {"wte", "token_embd"},
    {"wpe", "position_embd"},
    {"lm_head", "output"},
    {"norm", "output_norm"},
    {"ln_f", "output_norm"},
    {"tok_embeddings", "token_embd", Style::kBase},
    {"token_embedding", "token_embd", Style::kBase},
};

constexpr std::string_view kModelPrefixes[] = {"model.language_model.", "language_model.model.",
                                               "language_model.", "model.", "transformer."};
constexpr std::string_view kLayerPrefixes[] = {"layers.", "layer.", "h.", "blk."};

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// A number written in the one way that a program writes it, before a dot.
std::optional<int64_t> take_number(std::string_view& text) {
  int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto digits = static_cast<size_t>(end - text.data());
  const bool is_plain = error == std::errc() && text[0] != '-' && (text[0] != '0' || digits == 1);
  if (!is_plain || digits == text.size() || text[digits] != '.') return std::nullopt;
  text.remove_prefix(digits + 1);
  return number;
}

// Whether `name` is `pattern`, with a number where the pattern has "*.".
bool matches(std::string_view pattern, std::string_view name, int64_t& expert) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return name == pattern;
  if (!take_prefix(name, pattern.substr(0, star))) return false;
  const auto number = take_number(name);
  if (!number || name != pattern.substr(star + 2)) return false;
  expert = *number;
  return true;
}

class PlaceFinder {
 public:
  PlaceFinder(const BaseLayout& base, std::string& reason) : base_(base), reason_(reason) {}

  std::optional<Place> find(std::string_view module) {
    std::string_view rest = module;
    for (const std::string_view prefix : kModelPrefixes) {
      if (take_prefix(rest, prefix)) break;
    }
    for (const std::string_view prefix : kLayerPrefixes) {
      std::string_view within = rest;
      if (!take_prefix(within, prefix)) continue;
      if (const auto layer = take_number(within)) return find_in_layer(*layer, within);
    }
    return find_among(kOutsideLayers, "", rest, Place{});
  }

 private:
  std::optional<Place> find_in_layer(int64_t layer, std::string_view within) {
    if (layer >= base_.n_layers()) {
      reason_ = concat("the base has ", base_.n_layers(), " layers, no layer ", layer);
      return std::nullopt;
    }
    Place place;
    place.layer = layer;
    return find_among(kInLayer, concat("blk.", layer, "."), within, place);
  }

  std::optional<Place> find_among(std::span<const Alias> aliases, const std::string& prefix,
                                  std::string_view name, Place place) {
    bool is_known = false;
    for (const Alias& alias : aliases) {
      if (!matches(alias.module, name, place.expert)) continue;
      is_known = true;
      place.is_transformers_order = alias.style == Style::kTransformers;
      if (accept(prefix + std::string(alias.base), place)) return place;
    }
    place.is_transformers_order = false;
    if (!is_known && accept(prefix + std::string(name), place)) return place;
    if (reason_.empty()) {
      reason_ = concat(is_known ? "this base (" : "the name is known to no table; the base (",
                       base_.architecture(), ") has no such module");
    }
    return std::nullopt;
  }

  bool accept(const std::string& base_name, Place& place) {
    const auto tensor = base_.find(base_name);
    if (!tensor) return false;
    const int64_t n_experts = base_.tensors()[*tensor].n_experts;
    if (place.expert >= 0 && place.expert >= n_experts) {
      reason_ = concat("the base has ", n_experts, " experts, no expert ", place.expert);
      return false;
    }
    place.tensor = *tensor;
    return true;
  }

  const BaseLayout& base_;
  std::string& reason_;
};

}  // namespace

std::optional<ParsedName> parse_name(std::string_view name) {
  if (!take_prefix(name, "base_model.model.")) take_prefix(name, "base_model.");
  for (const Suffix& suffix : kSuffixes) {
    if (!name.ends_with(suffix.text)) continue;
    name.remove_suffix(suffix.text.size());
    return ParsedName{suffix.role, std::string(name)};
  }
  return std::nullopt;
}

std::optional<Place> find_place(const BaseLayout& base, std::string_view module,
                                std::string& reason) {
  reason.clear();
  return PlaceFinder(base, reason).find(module);
}

}  // namespace realm::lora
