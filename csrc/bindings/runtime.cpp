// Runtime, its tenants and their quotas. The Python face is realm_ext/runtime.py.
#include "runtime/runtime.h"

#include <pybind11/operators.h>
#include <pybind11/stl.h>

#include "bindings/adapter_source.h"
#include "bindings/bindings.h"
#include "bindings/buffers.h"
#include "bindings/gil.h"
#include "bindings/interruptible.h"
#include "bindings/kv_types.h"
#include "bindings/request_arguments.h"
#include "bindings/speculation.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

// A path given as str or os.PathLike.
class Path : public py::object {
 public:
  static bool accepts(PyObject*) { return true; }
  PYBIND11_OBJECT_DEFAULT(Path, py::object, accepts)
};

// A file's contents.
class FileBytes : public py::object {
 public:
  static bool accepts(PyObject*) { return true; }
  PYBIND11_OBJECT_DEFAULT(FileBytes, py::object, accepts)
};

}  // namespace

}  // namespace realm::bindings

template <>
struct pybind11::detail::handle_type_name<realm::bindings::Path> {
  static constexpr auto name = const_name("str | os.PathLike");
};
template <>
struct pybind11::detail::handle_type_name<realm::bindings::FileBytes> {
  static constexpr auto name = const_name("typing_extensions.Buffer");
};

namespace realm::bindings {

namespace {

// ---- options

ModelSpec make_spec(std::string model_id, const Path& model_path,
                    const std::optional<Path>& draft_model_path,
                    std::optional<std::string> draft_model_id,
                    const std::optional<PySpeculativeConfig>& speculative) {
  ModelSpec spec{.model_id = std::move(model_id), .model_path = file_path(model_path)};
  if (draft_model_path) spec.draft_model_path = file_path(*draft_model_path);
  spec.draft_model_id = std::move(draft_model_id);
  if (speculative) {
    REALM_CHECK(!speculative->custom, "a drafter of one's own goes with a request, not a model");
    spec.speculative = speculative->options;
  }
  return spec;
}

void bind_spec(py::module_& m) {
  using S = ModelSpec;
  py::class_<S>(m, "ModelSpec", R"(A model to load into a `Runtime`, and what guesses ahead for it.

Args:
    model_id: What tenants call it.
    model_path: Its file.
    draft_model_path: A smaller model with the same vocabulary, which guesses tokens ahead.
    draft_model_id: Its own id, by which several models can share one; by default
        ``"{model_id}_draft"``. A model that is there under this id is used as it is.
    speculative: How requests are speculated that do not say; by default as `SpeculativeConfig()`
        does if there is a draft, else not at all.

Example:
    >>> import realm_ext
    >>> realm_ext.ModelSpec("demo", realm_ext.demo_path("target.gguf")).model_id
    'demo')")
      .def(py::init(&make_spec), py::arg("model_id"), py::arg("model_path"),
           py::arg("draft_model_path") = py::none(), py::arg("draft_model_id") = py::none(),
           py::arg("speculative") = py::none())
      .def_readonly("model_id", &S::model_id)
      .def_property_readonly("model_path", [](const S& s) { return decode_text(s.model_path); })
      .def_property_readonly("draft_model_path",
                             [](const S& s) -> std::optional<py::str> {
                               if (!s.draft_model_path) return std::nullopt;
                               return decode_text(*s.draft_model_path);
                             })
      .def_readonly("draft_model_id", &S::draft_model_id)
      .def(py::self == py::self)
      .def("__repr__", [](const S& s) { return concat("<ModelSpec ", quoted(s.model_id), ">"); });
}

std::string describe(const Quota& q) {
  std::string text;
  const auto add = [&](const char* name, const auto& limit) {
    if (limit) text += concat(text.empty() ? "" : ", ", name, "=", *limit);
  };
  add("concurrent_requests", q.concurrent_requests);
  add("queued_requests", q.queued_requests);
  add("kv_blocks", q.kv_blocks);
  add("adapter_bytes", q.adapter_bytes);
  add("tokens_per_minute", q.tokens_per_minute);
  add("max_tokens", q.max_tokens);
  return "Quota(" + text + ")";
}

void bind_quota(py::module_& m) {
  using Q = Quota;
  using Limit = std::optional<int64_t>;
  py::class_<Q>(m, "Quota", R"(What one tenant may take of a model. None: no limit.

Args:
    concurrent_requests: Requests that run at once; more of them wait.
    queued_requests: Requests that may wait besides those that may run; one more is refused.
    kv_blocks: Blocks of the cache, of 16 tokens each, that running requests hold together; more of
        them wait. A request that could need more alone is refused.
    adapter_bytes: Memory of the adapters that a request computes with.
    tokens_per_minute: Tokens of prompts and answers within any 60 seconds. A request counts with
        its prompt and its `max_tokens` until it has ended, then for 60 seconds with what it took.
    max_tokens: The `max_tokens` that a request may ask for.

What is refused raises `QuotaExceeded`.

Example:
    >>> import realm_ext
    >>> realm_ext.Quota(concurrent_requests=2, tokens_per_minute=10_000)
    Quota(concurrent_requests=2, tokens_per_minute=10000))")
      .def(py::init([](Limit concurrent_requests, Limit queued_requests, Limit kv_blocks,
                       std::optional<uint64_t> adapter_bytes, Limit tokens_per_minute,
                       Limit max_tokens) {
             return Quota{concurrent_requests, queued_requests,   kv_blocks,
                          adapter_bytes,       tokens_per_minute, max_tokens};
           }),
           py::kw_only(), py::arg("concurrent_requests") = py::none(),
           py::arg("queued_requests") = py::none(), py::arg("kv_blocks") = py::none(),
           py::arg("adapter_bytes") = py::none(), py::arg("tokens_per_minute") = py::none(),
           py::arg("max_tokens") = py::none())
      .def_readonly("concurrent_requests", &Q::concurrent_requests)
      .def_readonly("queued_requests", &Q::queued_requests)
      .def_readonly("kv_blocks", &Q::kv_blocks)
      .def_readonly("adapter_bytes", &Q::adapter_bytes)
      .def_readonly("tokens_per_minute", &Q::tokens_per_minute)
      .def_readonly("max_tokens", &Q::max_tokens)
      .def(py::self == py::self)
      .def("__repr__", &describe);
}

// ---- tenants

TenantRequest request_of(const std::optional<SamplingParams>& params, int32_t priority,
                         std::optional<double> deadline_ms,
                         const std::optional<PySpeculativeConfig>& speculative, bool plain,
                         std::optional<AdapterNames> adapters) {
  TenantRequest request;
  request.params = params;
  request.priority = priority;
  request.deadline_ms = deadline_of(deadline_ms);
  request.adapters = std::move(adapters);
  request.plain = plain;
  if (speculative) {
    request.speculative = speculative->options;
    request.drafter = speculative->custom;
  }
  return request;
}

std::shared_ptr<Request> submit(Tenant& tenant, const TokenArray& tokens,
                                const std::optional<SamplingParams>& params, int32_t priority,
                                std::optional<double> deadline_ms, MaybeMailbox mailbox,
                                const std::optional<PySpeculativeConfig>& speculative, bool plain,
                                std::optional<AdapterNames> adapters) {
  TenantRequest request =
      request_of(params, priority, deadline_ms, speculative, plain, std::move(adapters));
  request.prompt = tokens_of(tokens);
  const Unlocked unlocked;
  return tenant.submit(std::move(request), mailbox.value_or(nullptr));
}

std::shared_ptr<Request> resume(Tenant& tenant, const py::bytes& snapshot,
                                std::optional<double> deadline_ms, MaybeMailbox mailbox,
                                const std::optional<PySpeculativeConfig>& speculative, bool plain,
                                std::optional<AdapterNames> adapters) {
  const std::string_view bytes = snapshot;
  const TenantRequest terms =
      request_of(std::nullopt, 0, deadline_ms, speculative, plain, std::move(adapters));
  const Unlocked unlocked;
  return tenant.resume(std::as_bytes(std::span(bytes)), terms, mailbox.value_or(nullptr));
}

void bind_tenant(py::module_& m) {
  using S = FlowStats;
  py::class_<S>(m, "TenantStats",
                R"(What a tenant has had of a model so far, and what it has now.

Requests: `total_requests` accepted, `refused` above the quota, `active_requests` that have not
ended, of them `running`; `preempted` counts how often one gave way, `cancelled` and `failed` how
they ended. `kv_blocks_used` counts a block for every request that uses it. Tokens: `prompt_tokens`,
of them `prefix_tokens` found in the cache by `prefix_hits` requests, `tokens_generated`,
`tokens_last_minute` as the quota counts them; `rows_computed` is what fair shares are counted in.
Speculation: `draft_tokens`, `accepted_tokens`. Latencies: `queue_wait`, `time_to_first_token`,
`inter_token_latency`.)")
      .def_readonly("total_requests", &S::total_requests)
      .def_readonly("refused", &S::refused)
      .def_readonly("active_requests", &S::active_requests)
      .def_readonly("running", &S::running)
      .def_readonly("preempted", &S::preempted)
      .def_readonly("cancelled", &S::cancelled)
      .def_readonly("failed", &S::failed)
      .def_readonly("kv_blocks_used", &S::kv_blocks_used)
      .def_readonly("prefix_hits", &S::prefix_hits)
      .def_readonly("prefix_tokens", &S::prefix_tokens)
      .def_readonly("prompt_tokens", &S::prompt_tokens)
      .def_readonly("tokens_generated", &S::tokens_generated)
      .def_readonly("rows_computed", &S::rows_computed)
      .def_readonly("tokens_last_minute", &S::tokens_last_minute)
      .def_readonly("draft_tokens", &S::draft_tokens)
      .def_readonly("accepted_tokens", &S::accepted_tokens)
      .def_readonly("queue_wait", &S::queue_wait)
      .def_readonly("time_to_first_token", &S::time_to_first_token)
      .def_readonly("inter_token_latency", &S::inter_token_latency);
  using T = Tenant;
  py::class_<T, std::shared_ptr<T>>(m, "Tenant")
      .def_property_readonly("id", &T::id)
      .def_property_readonly("model_id", &T::model_id)
      .def_property_readonly("quota", &T::quota, py::return_value_policy::copy)
      .def_property_readonly("weight", &T::weight)
      .def_property_readonly("sampling", &T::sampling, py::return_value_policy::copy)
      .def_property_readonly("adapter_id", &T::adapter_id)
      .def_property_readonly("is_released", &T::is_released)
      .def("submit", &submit, py::arg("tokens"), py::arg("params") = py::none(), py::kw_only(),
           py::arg("priority") = 0, py::arg("deadline_ms") = py::none(),
           py::arg("mailbox") = py::none(), py::arg("speculative") = py::none(),
           py::arg("plain") = false, py::arg("adapters") = py::none())
      .def("resume", &resume, py::arg("snapshot"), py::kw_only(),
           py::arg("deadline_ms") = py::none(), py::arg("mailbox") = py::none(),
           py::arg("speculative") = py::none(), py::arg("plain") = false,
           py::arg("adapters") = py::none())
      .def("stats", &T::stats);
}

// ---- the runtime

// Ends a runtime without the GIL: its engines' threads may have to end a step first.
struct Unlocking {
  void operator()(Runtime* runtime) const {
    const Unlocked unlocked;
    delete runtime;
  }
};
using RuntimeHolder = std::unique_ptr<Runtime, Unlocking>;

RuntimeHolder make_runtime(int64_t max_sequences, int64_t max_step_tokens,
                           std::optional<uint64_t> kv_bytes, const std::string& kv_dtype,
                           bool prefix_cache, std::optional<uint64_t> draft_kv_bytes,
                           std::string device, std::optional<int> threads,
                           const std::string& weights) {
  REALM_CHECK(!threads || *threads >= 1, "threads is ", *threads, "; must be at least 1");
  REALM_CHECK(weights == "packed" || weights == "mapped", "weights is ", quoted(weights),
              "; must be 'packed' or 'mapped'");
  RuntimeOptions options;
  options.engine.max_sequences = max_sequences;
  options.engine.max_step_tokens = max_step_tokens;
  options.engine.kv_bytes = kv_bytes;
  options.engine.kv_type = kv_type_named(kv_dtype);
  options.engine.prefix_cache = prefix_cache;
  options.engine.draft_kv_bytes = draft_kv_bytes;
  options.device = std::move(device);
  options.n_threads = threads.value_or(0);
  options.mapped_weights = weights == "mapped";
  return RuntimeHolder(new Runtime(options));
}

// Calls load(progress) where Ctrl-C ends it.
template <class Load>
void load_interruptibly(Load load) {
  run_interruptibly([&](const std::atomic<bool>& cancel) {
    load([&](uint64_t, uint64_t) { return !cancel.load(); });
  });
}

ModelBytes bytes_of(const FileBytes& data) {
  HeldBytes held = hold_bytes(data);
  return {held.bytes, std::move(held.owner)};
}

std::optional<lora::AdapterReport> load_lora_adapter(Runtime& runtime,
                                                     const std::string& adapter_id,
                                                     const AdapterLike& source,
                                                     const std::string& model_id, bool strict,
                                                     const std::optional<std::string>& config) {
  lora::AdapterSource opened = adapter_source(source, config);
  const Unlocked unlocked;
  return runtime.load_lora_adapter(adapter_id, std::move(opened), model_id, strict);
}

py::object value_of(const MetricSample& sample) {
  if (const double* plain = std::get_if<double>(&sample.value)) return py::float_(*plain);
  const auto& histogram = std::get<MetricHistogram>(sample.value);
  py::dict value;
  value["buckets"] = histogram.buckets;
  value["count"] = histogram.count;
  value["sum"] = histogram.sum;
  return value;
}

py::dict figures_of(const std::vector<MetricFamily>& families) {
  py::dict figures;
  for (const MetricFamily& family : families) {
    py::list samples;
    for (const MetricSample& sample : family.samples) {
      py::dict labels;
      for (const auto& [name, text] : sample.labels) labels[py::str(name)] = text;
      samples.append(py::make_tuple(labels, value_of(sample)));
    }
    py::dict one;
    one["type"] = name_of(family.type);
    one["help"] = family.help;
    one["samples"] = samples;
    figures[py::str(family.name)] = one;
  }
  return figures;
}

std::vector<MetricFamily> families_of(const Runtime& runtime) {
  const Unlocked unlocked;
  return runtime.metrics();
}

void bind_listings(py::module_& m) {
  py::class_<LoadedModel>(m, "LoadedModel", "A model that a runtime has loaded.")
      .def_readonly("id", &LoadedModel::id)
      .def_readonly("weight_bytes", &LoadedModel::weight_bytes)
      .def_readonly("draft_id", &LoadedModel::draft_id, "What guesses ahead for it.")
      .def_readonly("is_draft", &LoadedModel::is_draft, "It is there only to guess for others.")
      .def_readonly("n_tenants", &LoadedModel::n_tenants);
  py::class_<RuntimeAdapter>(m, "RuntimeAdapter", "An adapter that a runtime has loaded.")
      .def_readonly("id", &RuntimeAdapter::id)
      .def_readonly("model_id", &RuntimeAdapter::model_id)
      .def_readonly("bytes", &RuntimeAdapter::bytes)
      .def_readonly("report", &RuntimeAdapter::report,
                    "How it fits; None as long as its model is not loaded.");
}

using R = Runtime;
using RuntimeClass = py::class_<R, RuntimeHolder>;

void bind_models(RuntimeClass& runtime) {
  runtime
      .def(
          "load_model",
          [](R& self, const ModelSpec& spec) {
            load_interruptibly(
                [&](const LoadProgress& progress) { self.load_model(spec, progress); });
          },
          py::arg("spec"))
      .def(
          "store_model",
          [](R& self, const FileBytes& data, const std::string& model_id) {
            const ModelBytes bytes = bytes_of(data);
            load_interruptibly(
                [&](const LoadProgress& progress) { self.store_model(model_id, bytes, progress); });
          },
          py::arg("data"), py::arg("model_id"))
      .def(
          "store_draft_model",
          [](R& self, const FileBytes& data, const std::string& model_id) {
            const ModelBytes bytes = bytes_of(data);
            load_interruptibly([&](const LoadProgress& progress) {
              self.store_draft_model(model_id, bytes, progress);
            });
          },
          py::arg("data"), py::arg("model_id"))
      .def("unload_model", &R::unload_model, py::arg("model_id"), py::call_guard<Unlocked>())
      .def("list_models", &R::list_models, py::call_guard<Unlocked>())
      .def("model", &R::model, py::arg("model_id"), py::call_guard<Unlocked>());
}

void bind_tenancy(RuntimeClass& runtime) {
  runtime
      .def("load_lora_adapter", &load_lora_adapter, py::arg("adapter_id"), py::arg("source"),
           py::arg("model_id"), py::kw_only(), py::arg("strict") = true,
           py::arg("config") = py::none())
      .def("unload_lora_adapter", &R::unload_lora_adapter, py::arg("adapter_id"),
           py::call_guard<Unlocked>())
      .def("list_adapters", &R::list_adapters, py::call_guard<Unlocked>())
      .def("set_tenant_lora_adapter", &R::set_tenant_lora_adapter, py::arg("tenant_id"),
           py::arg("adapter_id"), py::call_guard<Unlocked>())
      .def(
          "get_or_create",
          [](R& self, const std::string& tenant_id, const std::string& model_id,
             const std::optional<Quota>& quota, std::optional<double> weight,
             const std::optional<SamplingParams>& sampling) {
            const Unlocked unlocked;
            return self.get_or_create(tenant_id, model_id, {quota, weight, sampling});
          },
          py::arg("tenant_id"), py::arg("model_id"), py::kw_only(), py::arg("quota") = py::none(),
          py::arg("weight") = py::none(), py::arg("sampling") = py::none())
      .def("release", &R::release, py::arg("tenant_id"), py::call_guard<Unlocked>())
      .def("tenants", &R::tenants, py::call_guard<Unlocked>());
}

}  // namespace

void bind_runtime(py::module_& m) {
  bind_spec(m);
  bind_quota(m);
  bind_tenant(m);
  bind_listings(m);
  RuntimeClass runtime(m, "Runtime");
  runtime.def(py::init(&make_runtime), py::kw_only(), py::arg("max_sequences"),
              py::arg("max_step_tokens"), py::arg("kv_bytes"), py::arg("kv_dtype"),
              py::arg("prefix_cache"), py::arg("draft_kv_bytes"), py::arg("device"),
              py::arg("threads"), py::arg("weights"));
  bind_models(runtime);
  bind_tenancy(runtime);
  runtime.def("metrics", [](const R& self) { return prometheus_text(families_of(self)); })
      .def("figures", [](const R& self) { return figures_of(families_of(self)); })
      .def("close", &R::close, py::call_guard<Unlocked>());
}

}  // namespace realm::bindings
