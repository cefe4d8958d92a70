#include "lora/module_build.h"

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "lora/dora.h"
#include "lora/factor_load.h"
#include "quant/formats.h"

namespace realm::lora {

namespace {

constexpr int64_t kMaxRank = 4096;

class Builder {
 public:
  Builder(const Module& module, const ModuleContext& context)
      : module_(module), context_(context), target_(context.base.tensors()[module.tensor]) {}

  // Refusals inside are exceptions of kAdapter.
  ModuleResult build() {
    refuse_twins();
    if (find(Role::kWeight) && find(Role::kA)) refuse("the module has factors and a saved weight");
    delta_.tensor = module_.tensor;
    delta_.expert = module_.expert;
    if (find(Role::kWeight)) add_saved(*find(Role::kWeight));
    if (find(Role::kBaseCopy)) add_copy(*find(Role::kBaseCopy));
    if (find(Role::kA) || find(Role::kB)) add_factors();
    if (!find(Role::kA)) refuse_stray_parts();
    if (find(Role::kBias)) add_bias(*find(Role::kBias));
    if (delta_.rank > 0 || !delta_.bias.empty()) result_.delta = std::move(delta_);
    return std::move(result_);
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail(ErrorCode::kAdapter, parts...);
  }

  const SourceTensor* find(Role role) const { return module_.find(role); }

  Turn rows_turn(bool is_transposed) const {
    return {is_transposed, module_.is_transformers_order ? &target_ : nullptr};
  }

  void refuse_twins() const {
    for (size_t i = 0; i < module_.parts.size(); ++i) {
      for (size_t j = 0; j < i; ++j) {
        if (module_.parts[i].role != module_.parts[j].role) continue;
        refuse("the module has two tensors that say the same: ",
               quoted(module_.parts[j].tensor.name), " and ", quoted(module_.parts[i].tensor.name));
      }
    }
  }

  void refuse_stray_parts() const {
    for (const Role role : {Role::kMagnitude, Role::kLoraBias, Role::kAlpha}) {
      if (find(role)) refuse("the module has no lora_A and lora_B that this belongs to");
    }
  }

  static bool is_matrix(const SourceTensor& tensor, int64_t rows, int64_t cols) {
    return tensor.shape.rank() == 2 && tensor.shape[0] == static_cast<uint64_t>(rows) &&
           tensor.shape[1] == static_cast<uint64_t>(cols);
  }

  void add_factors() {
    const SourceTensor *a = find(Role::kA), *b = find(Role::kB);
    if (!b) refuse("lora_B of the module is missing");
    if (!a) refuse("lora_A of the module is missing");
    if (target_.kind == BaseKind::kVector)
      refuse("the base's ", quoted(target_.name), " is no matrix");
    if (a->shape.rank() != 2 || b->shape.rank() != 2) {
      refuse("factors have two extents, not those of ", to_string(a->shape), " and ",
             to_string(b->shape));
    }
    if (target_.kind == BaseKind::kEmbedding) {
      add_embedding_factors(*a, *b);
    } else {
      add_linear_factors(*a, *b);
    }
    add_scale();
    add_lora_bias();
    add_magnitude();
  }

  void check_rank(uint64_t rank) {
    if (rank < 1 || rank > kMaxRank) refuse("the rank is ", rank, "; must be 1 to ", kMaxRank);
    delta_.rank = static_cast<int64_t>(rank);
    const auto promised = context_.config.rank_of(module_.name);
    if (promised && *promised != delta_.rank) {
      refuse("the factors have rank ", rank, ", the configuration says ", *promised);
    }
  }

  void add_linear_factors(const SourceTensor& a, const SourceTensor& b) {
    check_rank(a.shape[0]);
    if (!is_matrix(a, delta_.rank, target_.cols) || !is_matrix(b, target_.rows, delta_.rank)) {
      refuse_shapes(a, b);
    }
    delta_.right = make_factor(a, delta_.rank, target_.cols, {});
    delta_.left = make_factor(b, target_.rows, delta_.rank, rows_turn(true));
  }

  // PEFT keeps A as [r, V], GGUF as [V, r].
  void add_embedding_factors(const SourceTensor& a, const SourceTensor& b) {
    check_rank(b.shape[1]);
    const bool is_by_token = is_matrix(a, target_.rows, delta_.rank);
    const bool fits = is_by_token || is_matrix(a, delta_.rank, target_.rows);
    if (!fits || !is_matrix(b, target_.cols, delta_.rank)) refuse_shapes(a, b);
    delta_.left = is_by_token ? make_factor(a, target_.rows, delta_.rank, {})
                              : make_factor(a, delta_.rank, target_.rows, {.is_transposed = true});
    delta_.right = make_factor(b, target_.cols, delta_.rank, {.is_transposed = true});
  }

  [[noreturn]] void refuse_shapes(const SourceTensor& a, const SourceTensor& b) const {
    refuse("factors of shapes ", to_string(a.shape), " and ", to_string(b.shape),
           " do not fit the base's ", quoted(target_.name), " [", target_.rows, ", ", target_.cols,
           "]");
  }

  void add_scale() {
    double scale = context_.config.scale_of(module_.name, delta_.rank);
    if (const SourceTensor* alpha = find(Role::kAlpha)) {
      if (alpha->shape.elements() != 1)
        refuse("alpha is no single number but ", to_string(alpha->shape));
      scale = static_cast<double>(values_of(*alpha, 0, 1)[0]) / static_cast<double>(delta_.rank);
    }
    delta_.scale = static_cast<float>(scale);
    if (!std::isfinite(delta_.scale)) refuse("the scale is ", scale);
  }

  void add_lora_bias() {
    const SourceTensor* bias = find(Role::kLoraBias);
    const AdapterConfig& config = context_.config;
    if (config.is_declared && config.lora_bias != (bias != nullptr)) {
      refuse(bias ? "adapter_config.json says lora_bias: false"
                  : "lora_bias is set but lora_B.bias is missing");
    }
    if (!bias) return;
    delta_.bias = vector_of(*bias);
    for (float& value : delta_.bias) value *= delta_.scale;
  }

  std::vector<float> vector_of(const SourceTensor& tensor) const {
    if (target_.kind == BaseKind::kEmbedding)
      refuse("an embedding has no bias and no magnitude that this version computes");
    if (tensor.shape.elements() != static_cast<uint64_t>(target_.rows)) {
      refuse("a vector of shape ", to_string(tensor.shape), " does not fit the ", target_.rows,
             " outputs of the base's ", quoted(target_.name));
    }
    return make_vector(tensor, target_.rows, rows_turn(false));
  }

  void add_magnitude() {
    const SourceTensor* magnitude = find(Role::kMagnitude);
    const AdapterConfig& config = context_.config;
    if (config.is_declared && config.dora != (magnitude != nullptr)) {
      refuse(magnitude ? "adapter_config.json says use_dora: false"
                       : "use_dora is set but lora_magnitude_vector is missing");
    }
    if (!magnitude) return;
    delta_.magnitude = vector_of(*magnitude);
    delta_.gain = dora_gain(context_.base, target_, delta_);
  }

  void add_saved(const SourceTensor& tensor) {
    const bool is_vector = target_.kind == BaseKind::kVector;
    if (is_vector && context_.on_the_fly) {
      refuse(
          "a saved norm can only be merged; merge the adapter, or leave it out of modules_to_save");
    }
    if (target_.n_experts > 0 && context_.on_the_fly) refuse("a saved expert can only be merged");
    const bool swapped = target_.is_transposed_outside && module_.is_transformers_order;
    if (is_vector) {
      if (tensor.shape.elements() != static_cast<uint64_t>(target_.rows))
        refuse_saved_shape(tensor);
      result_.saved = Saved{module_.tensor, module_.expert, shifted(tensor)};
      return;
    }
    if (!is_matrix(tensor, swapped ? target_.cols : target_.rows,
                   swapped ? target_.rows : target_.cols)) {
      refuse_saved_shape(tensor);
    }
    Saved saved{module_.tensor, module_.expert, {}};
    saved.weight = swapped
                       ? make_factor(tensor, target_.cols, target_.rows, {.is_transposed = true})
                       : make_factor(tensor, target_.rows, target_.cols, rows_turn(false));
    result_.saved = std::move(saved);
  }

  [[noreturn]] void refuse_saved_shape(const SourceTensor& tensor) const {
    refuse("a saved weight of shape ", to_string(tensor.shape), " does not fit the base's ",
           quoted(target_.name), " [", target_.rows, ", ", target_.cols, "]");
  }

  Factor shifted(const SourceTensor& tensor) const {
    std::vector<float> values = values_of(tensor, 0, tensor.shape.elements());
    for (float& value : values) value += target_.stored_offset;
    Factor out(DType::kF32, target_.rows, 1);
    std::ranges::copy(std::as_bytes(std::span(values)), out.data());
    return out;
  }

  // PEFT saves the embeddings of the base along with factors for them. Where they are the base's,
  // within what its type can hold, there is nothing to do.
  void add_copy(const SourceTensor& tensor) {
    if (!is_matrix(tensor, target_.rows, target_.cols)) refuse_saved_shape(tensor);
    if (!is_copy_of_base(tensor)) add_saved(tensor);
  }

  double type_tolerance() const {
    if (target_.dtype == DType::kF32 || target_.dtype == DType::kF64) return 1e-6;
    if (target_.dtype == DType::kF16) return 1e-3;
    if (target_.dtype == DType::kBF16) return 1e-2;
    const Format& format = format_of(target_.dtype);
    return 4 * std::exp2(-8.0 * format.block_bytes / format.block_elements);
  }

  bool is_copy_of_base(const SourceTensor& tensor) const {
    constexpr int64_t kRowsAtOnce = 64;
    double difference = 0, size = 0;
    std::vector<float> ours(static_cast<size_t>(kRowsAtOnce * target_.cols));
    for (int64_t row = 0; row < target_.rows; row += kRowsAtOnce) {
      const int64_t n_rows = std::min(kRowsAtOnce, target_.rows - row);
      context_.base.decode_rows(target_, module_.expert * target_.rows + row, n_rows, ours.data());
      for (int64_t i = 0; i < n_rows; ++i) {
        const int64_t from =
            module_.is_transformers_order ? outside_row(target_, row + i) : row + i;
        const auto cols = static_cast<uint64_t>(target_.cols);
        const std::vector<float> theirs =
            values_of(tensor, static_cast<uint64_t>(from) * cols, cols);
        for (size_t c = 0; c < theirs.size(); ++c) {
          const double d = theirs[c] - ours[static_cast<size_t>(i * target_.cols) + c];
          difference += d * d;
          size += double{theirs[c]} * theirs[c];
        }
      }
    }
    return std::sqrt(difference) <= type_tolerance() * std::sqrt(size);
  }

  // A whole bias: what is added is its difference from the base's.
  void add_bias(const SourceTensor& tensor) {
    if (target_.kind == BaseKind::kVector)
      refuse("a saved bias of a norm is not computed by this version");
    std::vector<float> bias = vector_of(tensor);
    const std::vector<float> before = context_.base.bias(target_);
    delta_.bias.resize(bias.size());
    for (size_t i = 0; i < bias.size(); ++i) {
      delta_.bias[i] += before.empty() ? bias[i] : bias[i] - before[i];
    }
  }

  const Module& module_;
  const ModuleContext& context_;
  const BaseTensor& target_;
  Delta delta_;
  ModuleResult result_;
};

}  // namespace

const SourceTensor* Module::find(Role role) const {
  const auto found = std::ranges::find(parts, role, &ModulePart::role);
  return found == parts.end() ? nullptr : &found->tensor;
}

ModuleResult build_module(const Module& module, const ModuleContext& context) {
  try {
    return Builder(module, context).build();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kAdapter) throw;
    ModuleResult refused;
    refused.refusal = error.what();
    return refused;
  }
}

const char* part_name(Role role) {
  switch (role) {
    case Role::kA:
      return "A";
    case Role::kB:
      return "B";
    case Role::kMagnitude:
      return "magnitude";
    case Role::kLoraBias:
    case Role::kBias:
      return "bias";
    case Role::kAlpha:
      return "alpha";
    case Role::kWeight:
      return "weight";
    case Role::kBaseCopy:
      return "base copy";
  }
  return "";
}

}  // namespace realm::lora
