#include "lora/adapter_config.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "base/error.h"
#include "base/json.h"

namespace realm::lora {

namespace {

constexpr int64_t kMaxRank = 4096;

// Options that say nothing about what is computed from the saved tensors: how training went,
// where the base came from, how its first values were chosen.
constexpr std::string_view kNeutral[] = {"auto_mapping",   "base_model_name_or_path",
                                         "corda_config",   "ensure_weight_tying",
                                         "eva_config",     "exclude_modules",
                                         "inference_mode", "layers_pattern",
                                         "loftq_config",   "lora_dropout",
                                         "lora_ga_config", "megatron_core",
                                         "peft_version",   "qalora_group_size",
                                         "revision",       "runtime_config",
                                         "task_type"};

// Options that are read below.
constexpr std::string_view kRead[] = {"alpha_pattern",
                                      "bias",
                                      "fan_in_fan_out",
                                      "init_lora_weights",
                                      "layers_to_transform",
                                      "lora_alpha",
                                      "lora_bias",
                                      "modules_to_save",
                                      "peft_type",
                                      "r",
                                      "rank_pattern",
                                      "target_modules",
                                      "use_dora",
                                      "use_rslora"};

// Ways to choose the first values that also change the base's own weights: the saved factors mean
// nothing over the base as it is published.
constexpr std::string_view kChangesBase[] = {"pissa", "olora", "loftq", "corda", "lora_ga"};

bool is_among(std::string_view name, std::span<const std::string_view> names) {
  return std::ranges::find(names, name) != names.end();
}

bool is_off(const json::Value& value) {
  const bool empty =
      (value.array() && value.array()->empty()) || (value.object() && value.object()->empty());
  return value.is_null() || value.boolean() == false || empty;
}

class ConfigReader {
 public:
  explicit ConfigReader(const json::Value& json) : json_(json) {}

  AdapterConfig read() {
    out_.is_declared = true;
    refuse_other_kinds();
    read_scale();
    out_.dora = flag("use_dora");
    out_.lora_bias = flag("lora_bias");
    flag("fan_in_fan_out");  // the factors are the same whichever way the base's weight lies
    read_bias();
    read_patterns();
    read_modules();
    refuse_unknown();
    if (!problems_.empty()) fail(ErrorCode::kAdapter, "adapter_config.json: ", problems_);
    return std::move(out_);
  }

 private:
  template <class... Parts>
  void problem(const Parts&... parts) {
    problems_ += concat(problems_.empty() ? "" : "; ", parts...);
  }
  void problem_value(std::string_view key, const json::Value& value, std::string_view must) {
    problem(key, " is ", json::to_string(value), ", ", must);
  }

  // Null when it is absent or null.
  const json::Value* find(std::string_view key) const {
    const json::Value* value = json_.find(key);
    return value && !value->is_null() ? value : nullptr;
  }

  bool flag(std::string_view key) {
    const json::Value* value = find(key);
    if (!value) return false;
    if (!value->boolean()) problem_value(key, *value, "must be true or false");
    return value->boolean().value_or(false);
  }

  void refuse_other_kinds() {
    const json::Value* type = find("peft_type");
    if (!type) {
      problem("peft_type is missing");
    } else if (type->text() != "LORA") {
      problem_value("peft_type", *type, "only 'LORA' is computed");
    }
    const json::Value* init = find("init_lora_weights");
    if (!init || !init->text()) return;
    for (const std::string_view name : kChangesBase) {
      if (!init->text()->starts_with(name)) continue;
      problem_value("init_lora_weights", *init,
                    "which changes the base's weights too: convert the adapter to plain LoRA "
                    "(path_initial_model_for_weight_conversion of PEFT's save_pretrained)");
    }
  }

  std::optional<int64_t> checked_rank(std::string_view key, const json::Value& value) {
    const auto rank = value.integer();
    if (rank && *rank >= 1 && *rank <= kMaxRank) return rank;
    problem_value(key, value, concat("must be 1 to ", kMaxRank));
    return std::nullopt;
  }

  std::optional<double> checked_alpha(std::string_view key, const json::Value& value) {
    const auto alpha = value.number();
    if (alpha && std::abs(*alpha) <= 1e9) return alpha;
    problem_value(key, value, "must be a number of at most 1e9");
    return std::nullopt;
  }

  void read_scale() {
    const json::Value *rank = find("r"), *alpha = find("lora_alpha");
    if (rank) out_.rank = checked_rank("r", *rank);
    if (!rank) problem("r is missing");
    if (alpha) out_.alpha = checked_alpha("lora_alpha", *alpha).value_or(0);
    if (!alpha) problem("lora_alpha is missing");
    out_.alpha_over_root = flag("use_rslora");
  }

  void read_bias() {
    const json::Value* bias = find("bias");
    if (!bias || bias->text() == "none") return;
    if (bias->text() == "all") {
      out_.bias = AdapterConfig::Bias::kAll;
    } else if (bias->text() == "lora_only") {
      out_.bias = AdapterConfig::Bias::kLoraOnly;
    } else {
      problem_value("bias", *bias, "must be 'none', 'all' or 'lora_only'");
    }
  }

  template <class Number, class Check>
  void read_pattern(std::string_view key, std::vector<std::pair<NamePattern, Number>>& out,
                    Check check) {
    const json::Value* value = find(key);
    if (!value) return;
    if (!value->object()) return problem_value(key, *value, "must be an object");
    for (const auto& [text, number] : *value->object()) {
      const auto checked = check(concat(key, "[", quoted(text), "]"), number);
      try {
        if (checked) out.emplace_back(NamePattern(text), *checked);
      } catch (const Error& error) {
        problem(key, ": ", error.what());
      }
    }
  }

  void read_patterns() {
    read_pattern(
        "rank_pattern", out_.rank_pattern,
        [this](const std::string& key, const json::Value& v) { return checked_rank(key, v); });
    read_pattern(
        "alpha_pattern", out_.alpha_pattern,
        [this](const std::string& key, const json::Value& v) { return checked_alpha(key, v); });
  }

  std::vector<std::string> names(std::string_view key, const json::Value& value) {
    std::vector<std::string> out;
    if (!value.array()) problem_value(key, value, "must be an array of names");
    for (const json::Value& one : value.array() ? *value.array() : json::Array{}) {
      if (one.text() && !one.text()->empty()) {
        out.emplace_back(*one.text());
      } else {
        problem_value(key, one, "must be a name");
      }
    }
    return out;
  }

  void read_modules() {
    if (const json::Value* targets = find("target_modules")) {
      if (!targets->text()) {
        out_.target_modules = names("target_modules", *targets);
      } else if (*targets->text() != "all-linear") {
        try {
          out_.target_pattern.emplace(*targets->text());
        } catch (const Error& error) {
          problem("target_modules: ", error.what());
        }
      }
    }
    if (const json::Value* saved = find("modules_to_save")) {
      out_.modules_to_save = names("modules_to_save", *saved);
    }
    const json::Value* layers = find("layers_to_transform");
    if (!layers) return;
    const json::Array one{*layers};
    for (const json::Value& layer : layers->array() ? *layers->array() : one) {
      if (!layer.integer()) problem_value("layers_to_transform", layer, "must be layer numbers");
      out_.layers_to_transform.push_back(layer.integer().value_or(-1));
    }
  }

  void refuse_unknown() {
    for (const auto& [key, value] : *json_.object()) {
      if (is_among(key, kNeutral) || is_among(key, kRead) || is_off(value)) continue;
      problem(quoted(key), " is ", json::to_string(value), ", which this version does not compute");
    }
  }

  const json::Value& json_;
  AdapterConfig out_;
  std::string problems_;
};

template <class Number>
const Number* first_match(const std::vector<std::pair<NamePattern, Number>>& patterns,
                          std::string_view module) {
  for (const auto& [pattern, number] : patterns) {
    if (pattern.matches_module(module)) return &number;
  }
  return nullptr;
}

}  // namespace

bool ends_module(std::string_view module, std::string_view name) {
  if (!module.ends_with(name)) return false;
  return module.size() == name.size() || module[module.size() - name.size() - 1] == '.';
}

double AdapterConfig::scale_of(std::string_view module, int64_t r) const {
  if (!is_declared) return 1;
  const double* own = first_match(alpha_pattern, module);
  const auto rank_f = static_cast<double>(r);
  return (own ? *own : alpha) / (alpha_over_root ? std::sqrt(rank_f) : rank_f);
}

std::optional<int64_t> AdapterConfig::rank_of(std::string_view module) const {
  const int64_t* own = first_match(rank_pattern, module);
  return own ? std::optional(*own) : rank;
}

bool AdapterConfig::targets(std::string_view module) const {
  if (target_pattern) return target_pattern->matches(module);
  if (target_modules.empty()) return true;
  return std::ranges::any_of(target_modules,
                             [&](const std::string& name) { return ends_module(module, name); });
}

bool AdapterConfig::saves(std::string_view module) const {
  return std::ranges::any_of(modules_to_save,
                             [&](const std::string& name) { return ends_module(module, name); });
}

AdapterConfig parse_adapter_config(std::string_view text) {
  const json::Value json = json::parse(text, "adapter_config.json");
  if (!json.object()) {
    fail(ErrorCode::kFormat, "adapter_config.json is ", json::to_string(json),
         ", must be an object");
  }
  return ConfigReader(json).read();
}

}  // namespace realm::lora
