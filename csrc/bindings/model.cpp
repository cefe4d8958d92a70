// Model: loading, what it says of itself, and logits.
#include "model/model.h"

#include <optional>
#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "backend/registry.h"
#include "base/error.h"
#include "bindings/adapter_source.h"
#include "bindings/bindings.h"
#include "bindings/gguf_source.h"
#include "bindings/gil.h"
#include "bindings/interruptible.h"
#include "bindings/kv_types.h"
#include "bindings/shapes.h"
#include "model/solo_sequence.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using TokenArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using Progress = std::function<void(uint64_t, uint64_t)>;

bool is_mapped(const std::string& weights) {
  REALM_CHECK(weights == "packed" || weights == "mapped", "weights is ", quoted(weights),
              "; must be 'packed' or 'mapped'");
  return weights == "mapped";
}

ActivationKind activation_kind(const std::string& activations) {
  REALM_CHECK(activations == "int8" || activations == "f32", "activations is ", quoted(activations),
              "; must be 'int8' or 'f32'");
  return activations == "f32" ? ActivationKind::kF32 : ActivationKind::kInt8;
}

// Calls back into Python from the loading thread; what Python raises is kept for the caller.
struct LoadProgress {
  std::optional<Progress> call;
  std::optional<py::error_already_set> raised;

  bool operator()(uint64_t done, uint64_t total, const std::atomic<bool>& cancel) {
    if (call && !cancel) {
      const Locked locked;
      try {
        (*call)(done, total);
      } catch (py::error_already_set& error) {
        raised.emplace(std::move(error));
      }
    }
    return !raised && !cancel;
  }
};

using LoadProgressCall = std::function<bool(uint64_t, uint64_t)>;

// Calls make(report) where Ctrl-C ends it, and so does what `progress` raises.
template <class Make>
std::shared_ptr<Model> with_progress(std::optional<Progress> progress, Make make) {
  LoadProgress report{std::move(progress), {}};
  std::shared_ptr<Model> model;
  try {
    run_interruptibly([&](const std::atomic<bool>& cancel) {
      model = make([&](uint64_t done, uint64_t total) { return report(done, total, cancel); });
    });
  } catch (const Error&) {
    if (report.raised) throw *report.raised;
    throw;
  }
  return model;
}

std::shared_ptr<Model> load(const PathOrBytes& source, const std::string& device,
                            std::optional<int> threads, const std::string& weights,
                            const std::string& activations, bool deterministic,
                            std::optional<Progress> progress,
                            const std::vector<std::pair<AdapterLike, float>>& merge,
                            const std::optional<std::string>& merge_dtype) {
  REALM_CHECK(!threads || *threads >= 1, "threads is ", *threads, "; must be at least 1");
  ModelOptions options;
  options.device = device;
  options.n_threads = threads.value_or(0);
  options.activations = activation_kind(activations);
  options.deterministic = deterministic;
  options.load.mapped = is_mapped(weights);
  options.merge = adapter_sources(merge);
  if (merge_dtype) options.load.merge_type = format_named(*merge_dtype).dtype;
  const auto file = open_gguf(source);
  return with_progress(std::move(progress), [&](const LoadProgressCall& report) {
    options.load.progress = report;
    return Model::load(file, options);
  });
}

std::shared_ptr<Model> overlay(Model& base,
                               const std::vector<std::pair<AdapterLike, float>>& adapters,
                               const std::optional<std::string>& merge_dtype,
                               std::optional<Progress> progress) {
  OverlayOptions options;
  if (merge_dtype) options.merge_type = format_named(*merge_dtype).dtype;
  const AdapterSources sources = adapter_sources(adapters);
  return with_progress(std::move(progress), [&](const LoadProgressCall& report) {
    options.progress = report;
    return base.overlay(sources, options);
  });
}

bool wants_all(const std::string& rows) {
  REALM_CHECK(rows == "all" || rows == "last", "rows is ", quoted(rows),
              "; must be 'all' or 'last'");
  return rows == "all";
}

py::array_t<float> logits(const std::shared_ptr<Model>& model, const TokenArray& tokens,
                          const std::string& rows, const std::string& kv_dtype, int64_t chunk,
                          const AdapterNames& adapters) {
  REALM_CHECK(tokens.ndim() == 1, "tokens must be one-dimensional");
  REALM_CHECK(tokens.size() > 0, "there are no tokens");
  const bool all = wants_all(rows);
  const std::span<const int32_t> ids(tokens.data(), static_cast<size_t>(tokens.size()));
  SoloOptions options;
  options.kv_type = kv_type_named(kv_dtype);
  options.max_tokens = tokens.size();
  options.chunk_rows = chunk;
  const int64_t n_wanted = all ? tokens.size() : 1, n_vocab = model->config().n_vocab;
  py::array_t<float> out(all ? std::vector<py::ssize_t>{n_wanted, n_vocab}
                             : std::vector<py::ssize_t>{n_vocab});
  float* values = out.mutable_data();
  run_interruptibly([&](const std::atomic<bool>& cancel) {
    options.adapters = model->adapters().set_of(adapters);
    SoloSequence(model, options).append(ids, n_wanted, values, &cancel);
  });
  return out;
}

// What a model will take before it is loaded: the weights as stored, and keys and values for
// `context` tokens.
py::dict estimate(const PathOrBytes& source, std::optional<int64_t> context,
                  const std::string& kv_dtype) {
  const auto file = open_gguf(source);
  const ModelConfig config = parse_config(*file);
  uint64_t weights = 0;
  for (const gguf::TensorInfo& info : file->tensors()) weights += info.bytes;
  const auto backend = make_cpu_backend(1);
  const auto [global, window] = KvStorage::page_bytes(*backend, config, kv_type_named(kv_dtype));
  const int64_t tokens = context.value_or(config.n_ctx), page_tokens = backend->kv_page_tokens();
  REALM_CHECK(tokens >= 1 && tokens <= config.n_ctx, "context is ", tokens, "; must be 1 to ",
              config.n_ctx);
  py::dict bytes;
  bytes["weights"] = weights;
  bytes["kv"] = (global + window) * static_cast<uint64_t>((tokens + page_tokens - 1) / page_tokens);
  return bytes;
}

void bind_config(py::module_& m) {
  py::class_<ModelConfig>(m, "ModelConfig", "A model's numbers, as its file declares them.")
      .def_property_readonly("architecture",
                             [](const ModelConfig& c) { return c.architecture->name; })
      .def_readonly("n_layers", &ModelConfig::n_layers)
      .def_readonly("n_embd", &ModelConfig::n_embd)
      .def_readonly("n_heads", &ModelConfig::n_heads)
      .def_readonly("n_kv_heads", &ModelConfig::n_kv_heads)
      .def_readonly("head_width", &ModelConfig::head_width)
      .def_readonly("n_ff", &ModelConfig::n_ff)
      .def_readonly("n_experts", &ModelConfig::n_experts)
      .def_readonly("n_experts_used", &ModelConfig::n_experts_used)
      .def_readonly("n_vocab", &ModelConfig::n_vocab)
      .def_readonly("n_ctx", &ModelConfig::n_ctx, "The context length the model was trained for.")
      .def_readonly("window", &ModelConfig::window,
                    "Width of the sliding window; 0 when there is none.");
}

}  // namespace

void bind_model(py::module_& m) {
  bind_config(m);
  py::class_<Model, std::shared_ptr<Model>>(m, "Model")
      .def(py::init(&load), py::arg("source"), py::kw_only(), py::arg("device") = "auto",
           py::arg("threads") = py::none(), py::arg("weights") = "packed",
           py::arg("activations") = "int8", py::arg("deterministic") = false,
           py::arg("progress") = py::none(),
           py::arg("merge") = std::vector<std::pair<AdapterLike, float>>(),
           py::arg("merge_dtype") = py::none())
      .def("overlay", &overlay, py::arg("adapters"), py::kw_only(),
           py::arg("merge_dtype") = py::none(), py::arg("progress") = py::none())
      .def_property_readonly("merged", [](const Model& self) { return self.weights().merged; })
      .def_property_readonly("config", &Model::config, py::return_value_policy::reference_internal)
      .def_property_readonly("weight_bytes", [](const Model& self) { return self.weights().bytes; })
      .def_property_readonly("vocabulary", &Model::vocabulary)
      .def_property_readonly("backend", [](Model& self) { return self.backend().description(); })
      .def(
          "path_counts",
          [](Model& self) {
            py::dict counts;
            for (const auto& [name, n] : self.backend().path_counts()) counts[name.c_str()] = n;
            return counts;
          },
          "Kernel calls of matrix products so far, by path.")
      .def("logits", &logits, py::arg("tokens"), py::kw_only(), py::arg("rows") = "all",
           py::arg("kv_dtype") = "f32", py::arg("chunk") = 512,
           py::arg("adapters") = AdapterNames(),
           R"(The logits after each token ("all": [T, V]) or after the last one ("last": [V]).

`chunk` is how many tokens go through the model at a time; it changes no bit of the result.)");
  m.def("estimate", &estimate, py::arg("source"), py::kw_only(), py::arg("context") = py::none(),
        py::arg("kv_dtype") = "f16");
}

}  // namespace realm::bindings
