#include "lora/adapter_builder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <tuple>

#include "base/error.h"
#include "base/thread_pool.h"
#include "lora/factor_load.h"
#include "lora/module_build.h"
#include "lora/names.h"
#include "quant/formats.h"

namespace realm::lora {

namespace {

constexpr size_t kMaxListed = 1000;  // refusals that an error names; the rest are counted

class Builder {
 public:
  Builder(const AdapterSource& source, const BaseLayout& base, const BuildOptions& options)
      : source_(source),
        base_(base),
        options_(options),
        reasons_(source.tensors.size()),
        pool_(ThreadPool::shared(usable_processors())) {}

  std::shared_ptr<const Adapter> build() {
    check_architecture();
    check_values();
    for (size_t i = 0; i < source_.tensors.size(); ++i) sort_in(i);
    check_promises();
    build_modules();
    return finish();
  }

 private:
  void check_architecture() const {
    if (source_.architecture.empty() || source_.architecture == base_.architecture()) return;
    fail(ErrorCode::kAdapter, source_.label, " was made for the architecture ",
         quoted(source_.architecture), "; the base is ", quoted(base_.architecture()));
  }

  // Every value of every tensor, whatever becomes of it.
  void check_values() {
    pool_->run(static_cast<int64_t>(reasons_.size()), [&](int64_t i) {
      const SourceTensor& tensor = source_.tensors[static_cast<size_t>(i)];
      std::string& reason = reasons_[static_cast<size_t>(i)];
      reason = tensor.unreadable.empty() ? defect_of(tensor) : tensor.unreadable;
    });
  }

  // Puts a tensor with the others of its module, or says why it has none.
  void sort_in(size_t idx) {
    const SourceTensor& tensor = source_.tensors[idx];
    const auto name = parse_name(tensor.name);
    if (!name) return refuse(idx, "the name is no part of an adapter");
    std::string reason;
    const auto place = find_place(base_, name->module, reason);
    if (!place) return refuse(idx, reason);
    if (!is_declared(*name, *place, reason)) return refuse(idx, reason);
    const BaseTensor& target = base_.tensors()[place->tensor];
    if (target.n_experts == 0 || place->expert >= 0) {
      return add({idx, name->role, tensor}, *name, *place, std::max<int64_t>(place->expert, 0));
    }
    if (!split_bank(idx, *name, *place, target)) {
      refuse(idx, concat("its shape ", to_string(tensor.shape), " is no bank of ", target.n_experts,
                         " experts"));
    }
  }

  // A tensor of all experts at once becomes one part of each expert's module.
  bool split_bank(size_t idx, const ParsedName& name, const Place& place,
                  const BaseTensor& target) {
    const SourceTensor& tensor = source_.tensors[idx];
    const auto n_experts = static_cast<uint64_t>(target.n_experts);
    if (tensor.shape.rank() != 3 || tensor.shape[0] != n_experts) return false;
    const uint64_t bytes = tensor.bytes.size() / n_experts;
    for (uint64_t i = 0; i < n_experts; ++i) {
      SourceTensor slice = tensor;
      slice.shape = {tensor.shape[1], tensor.shape[2]};
      slice.bytes = tensor.bytes.subspan(i * bytes, bytes);
      add({idx, name.role, slice}, name, place, static_cast<int64_t>(i));
    }
    return true;
  }

  void add(ModulePart part, const ParsedName& name, const Place& place, int64_t expert) {
    Module& module = modules_[{place.tensor, expert}];
    if (module.parts.empty()) {
      module.tensor = place.tensor;
      module.expert = expert;
      module.name = name.module;
      module.is_transformers_order = place.is_transformers_order;
    }
    module.layers_named.insert(place.layer);
    if (name.module != module.name) {
      return refuse(part.source,
                    concat("the base's ", quoted(base_.tensors()[place.tensor].name),
                           " is adapted under another name too: ", quoted(module.name)));
    }
    module.parts.push_back(std::move(part));
  }

  // Whether the configuration knows of the tensor: PEFT itself would pass over what it does not.
  bool is_declared(const ParsedName& name, const Place& place, std::string& reason) const {
    const AdapterConfig& config = source_.config;
    if (!config.is_declared || !source_.architecture.empty()) return true;
    const bool is_saved = config.saves(name.module);
    if (name.role == Role::kBias) {
      const bool known = config.bias != AdapterConfig::Bias::kNone || is_saved;
      if (!known) reason = "adapter_config.json says bias: 'none'";
      return known;
    }
    const bool is_end = base_.tensors()[place.tensor].name == "output" ||
                        base_.tensors()[place.tensor].kind == BaseKind::kEmbedding;
    if (name.role == Role::kWeight || name.role == Role::kBaseCopy) {
      const bool known = is_saved || is_end || name.role == Role::kBaseCopy;
      if (!known) reason = "modules_to_save of adapter_config.json does not name it";
      return known;
    }
    if (!config.targets(name.module)) {
      reason = "target_modules of adapter_config.json does not name it";
      return false;
    }
    const auto& layers = config.layers_to_transform;
    if (place.layer < 0 || layers.empty() || std::ranges::find(layers, place.layer) != layers.end())
      return true;
    reason = concat("layers_to_transform of adapter_config.json does not have layer ", place.layer);
    return false;
  }

  // What the configuration promises and no tensor keeps.
  void check_promises() {
    const AdapterConfig& config = source_.config;
    const auto some_module = [&](const auto& test) {
      return std::ranges::any_of(modules_, [&](const auto& one) { return test(one.second); });
    };
    const auto keep = [&](bool is_kept, const std::string& promise) {
      if (is_kept) return;
      extra_.push_back(
          {concat("adapter_config.json: ", promise), "no tensor of the file belongs to it"});
    };
    const auto ends_with = [](const Module& module, const std::string& name) {
      return ends_module(module.name, name);
    };
    for (const std::string& name : config.target_modules) {
      keep(some_module([&](const Module& m) { return ends_with(m, name); }),
           concat("target_modules ", name));
    }
    for (const std::string& name : config.modules_to_save) {
      keep(
          some_module([&](const Module& m) { return ends_with(m, name) && m.find(Role::kWeight); }),
          concat("modules_to_save ", name));
    }
    for (const auto& [pattern, number] : config.rank_pattern) {
      keep(some_module([&](const Module& m) { return pattern.matches_module(m.name); }),
           concat("rank_pattern ", pattern.text()));
    }
    for (const auto& [pattern, number] : config.alpha_pattern) {
      keep(some_module([&](const Module& m) { return pattern.matches_module(m.name); }),
           concat("alpha_pattern ", pattern.text()));
    }
    for (const int64_t layer : config.layers_to_transform) {
      keep(some_module([&](const Module& m) { return m.layers_named.contains(layer); }),
           concat("layers_to_transform ", layer));
    }
  }

  void build_modules() {
    std::vector<Module*> open;
    for (auto& [place, module] : modules_) open.push_back(&module);
    std::vector<ModuleResult> results(open.size());
    for (Module* module : open) spread_refusal(*module);
    pool_->run(static_cast<int64_t>(open.size()), [&](int64_t i) {
      const auto idx = static_cast<size_t>(i);
      if (!open[idx]->is_refused)
        results[idx] = build_module(*open[idx], {base_, source_.config, options_.on_the_fly});
    });
    for (size_t i = 0; i < open.size(); ++i) take(*open[i], results[i]);
  }

  // A module with a refused part cannot be computed without it.
  void spread_refusal(Module& module) {
    for (const ModulePart& part : module.parts) {
      if (reasons_[part.source].empty()) continue;
      module.is_refused = true;
      refuse_rest(module, concat("another tensor of its module was refused: ",
                                 quoted(source_.tensors[part.source].name)));
      return;
    }
  }

  void refuse_rest(const Module& module, const std::string& reason) {
    for (const ModulePart& part : module.parts) refuse(part.source, reason);
  }

  void take(Module& module, ModuleResult& result) {
    if (module.is_refused) return;
    if (!result.refusal.empty()) return refuse_rest(module, result.refusal);
    if (result.delta) deltas_.push_back(std::move(*result.delta));
    if (result.saved) saved_.push_back(std::move(*result.saved));
  }

  void refuse(size_t idx, const std::string& reason) {
    if (reasons_[idx].empty()) reasons_[idx] = reason;
  }

  // A bank's slices share a tensor: what was refused of one expert is refused of all.
  void drop_half_refused() {
    const auto is_refused = [&](const auto& one) {
      const Module& module = modules_.at({one.tensor, one.expert});
      return std::ranges::any_of(
          module.parts, [&](const ModulePart& part) { return !reasons_[part.source].empty(); });
    };
    std::erase_if(deltas_, is_refused);
    std::erase_if(saved_, is_refused);
  }

  std::shared_ptr<const Adapter> finish() {
    drop_half_refused();
    AdapterReport report;
    for (size_t i = 0; i < reasons_.size(); ++i) {
      if (!reasons_[i].empty()) report.refused.push_back({source_.tensors[i].name, reasons_[i]});
    }
    list_applied(report);
    std::ranges::move(extra_, std::back_inserter(report.refused));
    const bool is_empty = deltas_.empty() && saved_.empty();
    if (is_empty || (options_.strict && !report.refused.empty())) refuse_all(report, is_empty);
    describe_scale(report);
    return std::make_shared<const Adapter>(std::move(deltas_), std::move(saved_), base_,
                                           std::move(report));
  }

  void list_applied(AdapterReport& report) const {
    std::vector<std::tuple<size_t, std::string, std::string>> rows;
    for (const auto& [place, module] : modules_) {
      const BaseTensor& target = base_.tensors()[module.tensor];
      for (const ModulePart& part : module.parts) {
        if (reasons_[part.source].empty())
          rows.emplace_back(part.source, target.name + ".weight", part_name(part.role));
      }
    }
    std::ranges::sort(rows);
    const auto [end, last] = std::ranges::unique(rows);
    rows.erase(end, last);
    for (const auto& [idx, base_name, part] : rows) {
      report.applied.push_back({source_.tensors[idx].name, base_name, part});
    }
  }

  void describe_scale(AdapterReport& report) const {
    std::map<float, size_t> counts;
    for (const Delta& delta : deltas_) {
      report.rank = std::max(report.rank, delta.rank);
      if (delta.rank > 0) ++counts[delta.scale];
    }
    const auto most =
        std::ranges::max_element(counts, {}, [](const auto& one) { return one.second; });
    report.scale = most == counts.end() ? 1 : most->first;
  }

  [[noreturn]] void refuse_all(const AdapterReport& report, bool is_empty) const {
    std::string text = concat(source_.label, " does not fit the base (", base_.architecture(), ")");
    if (is_empty && report.refused.empty()) text += ": it changes nothing";
    for (size_t i = 0; i < std::min(report.refused.size(), kMaxListed); ++i) {
      text += concat("\n  ", quoted(report.refused[i].tensor, 200), ": ", report.refused[i].reason);
    }
    if (report.refused.size() > kMaxListed)
      text += concat("\n  and ", report.refused.size() - kMaxListed, " more");
    fail(ErrorCode::kAdapter, text);
  }

  const AdapterSource& source_;
  const BaseLayout& base_;
  const BuildOptions options_;
  std::vector<std::string> reasons_;  // of each source tensor; empty: not refused
  std::vector<RefusedTensor> extra_;  // promises of the configuration that nothing keeps
  std::map<std::pair<uint32_t, int64_t>, Module> modules_;
  std::vector<Delta> deltas_;
  std::vector<Saved> saved_;
  const std::shared_ptr<ThreadPool> pool_;
};

}  // namespace

std::shared_ptr<const Adapter> build_adapter(const AdapterSource& source, const BaseLayout& base,
                                             const BuildOptions& options) {
  return Builder(source, base, options).build();
}

}  // namespace realm::lora
