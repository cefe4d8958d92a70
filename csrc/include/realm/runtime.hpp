// Runtimes: models, adapters and the tenants that use them. There is no global runtime; make as
// many as you like.
//
//   realm::Runtime runtime;
//   runtime.load_model("demo", "model.gguf");
//   realm::Tenant tenant = runtime.tenant("main", "demo");
//   std::cout << tenant.generate(prompt).bytes;
//
// Part of realm.hpp. C++17. Every function may be called from any thread, also while others load,
// serve or unload. What fails throws realm::Error and leaves everything as it was.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "realm/tenant.hpp"

namespace realm {

// What holds for all models of a runtime.
struct RuntimeOptions {
  std::string device;       // "cpu", "cuda", "cuda:1"; empty: the best there is
  int32_t n_threads;        // of the CPU; 0: every processor this process may use
  bool mapped_weights;      // use weights in their files; see docs/embedding.md for the risk
  int64_t max_sequences;    // requests of one model that run at once
  int64_t max_step_tokens;  // rows of one step, which bounds how long a step takes
  std::optional<uint64_t> kv_bytes;  // for keys and values; by default from the free memory
  std::optional<uint64_t> draft_kv_bytes;
  KvType kv_type;
  bool prefix_cache;  // reuse the keys and values of a tenant's prompts that begin alike
  std::optional<int64_t> max_queue;  // requests that may wait besides those that run
  int64_t max_wait_ms;               // an idle engine waits so long for requests to start together

  RuntimeOptions() {
    realm_runtime_options o;
    detail::check(realm_runtime_options_init(&o, sizeof o));
    n_threads = o.n_threads;
    mapped_weights = o.mapped_weights != 0;
    max_sequences = o.max_sequences;
    max_step_tokens = o.max_step_tokens;
    kv_type = static_cast<KvType>(o.kv_type);
    prefix_cache = o.prefix_cache != 0;
    if (o.max_queue != REALM_NONE) max_queue = o.max_queue;
    max_wait_ms = o.max_wait_ms;
  }
};

// How a model is loaded.
struct ModelOptions {
  std::string draft_path;  // a smaller model of the same vocabulary that guesses ahead
  std::string draft_id;    // its own id, by which models can share it; empty: "{model_id}_draft"
  // How requests are speculated that do not say; by default with the defaults if there is a draft.
  std::optional<SpeculativeConfig> speculative;
};

// An adapter that is loaded. The numbers are known once its model is loaded too.
struct AdapterInfo {
  std::string id;
  bool is_fitted = false;
  int64_t rank = 0;
  double scale = 0;
  uint64_t n_applied = 0, n_refused = 0;  // tensors
  uint64_t bytes = 0;
};

namespace detail {

inline realm_runtime_options c_struct_of(const RuntimeOptions& from) {
  realm_runtime_options o;
  check(realm_runtime_options_init(&o, sizeof o));
  o.device = {from.device.data(), from.device.size()};
  o.n_threads = from.n_threads;
  o.mapped_weights = from.mapped_weights;
  o.max_sequences = from.max_sequences;
  o.max_step_tokens = from.max_step_tokens;
  o.kv_bytes = from.kv_bytes.value_or(0);
  o.draft_kv_bytes = from.draft_kv_bytes.value_or(0);
  o.kv_type = static_cast<int32_t>(from.kv_type);
  o.prefix_cache = from.prefix_cache;
  o.max_queue = from.max_queue.value_or(REALM_NONE);
  o.max_wait_ms = from.max_wait_ms;
  return o;
}

}  // namespace detail

// Move-only. When it ends, its requests end with Finish::cancelled, and its threads with them;
// tenants, requests and sessions that the program still holds say so, and harm nobody.
class Runtime {
 public:
  // A runtime with nothing in it. Throws REALM_ERROR_INVALID_REQUEST for options that make no
  // sense.
  explicit Runtime(const RuntimeOptions& options = {}) {
    const realm_runtime_options given = detail::c_struct_of(options);
    realm_runtime* handle = nullptr;
    detail::check(realm_runtime_create(&given, &handle));
    handle_ = Handle(handle);
  }

  // ---- models

  // Loads a GGUF file, and the draft that the options name: all of it or nothing. An id that is
  // taken is refused. Throws REALM_ERROR_IO, REALM_ERROR_FORMAT, REALM_ERROR_OUT_OF_MEMORY.
  void load_model(std::string_view model_id, std::string_view path,
                  const ModelOptions& options = {}) {
    realm_model_options given;
    detail::check(realm_model_options_init(&given, sizeof given));
    realm_speculative_config speculative;
    given.draft_path = {options.draft_path.data(), options.draft_path.size()};
    given.draft_id = {options.draft_id.data(), options.draft_id.size()};
    if (options.speculative) {
      speculative = detail::c_struct_of(*options.speculative);
      given.speculative = &speculative;
    }
    detail::check(realm_model_load(get(), model_id.data(), model_id.size(), path.data(),
                                   path.size(), &given));
  }

  // Loads the contents of a GGUF file without copying them: they must stay, unchanged, until the
  // model is unloaded and every session on it is gone.
  void load_model_from_memory(std::string_view model_id, const void* data, size_t size) {
    detail::check(
        realm_model_load_from_memory(get(), model_id.data(), model_id.size(), data, size));
  }

  // The same with a copy.
  void store_model(const void* data, size_t size, std::string_view model_id) {
    detail::check(realm_store_model(get(), data, size, model_id.data(), model_id.size()));
  }

  // Loads what guesses ahead for that model, before or after the model, but before it has tenants.
  void store_draft_model(const void* data, size_t size, std::string_view model_id) {
    detail::check(realm_store_draft_model(get(), data, size, model_id.data(), model_id.size()));
  }

  // Ends the requests on the model, and releases its tenants and adapters.
  void unload_model(std::string_view model_id) {
    detail::check(realm_model_unload(get(), model_id.data(), model_id.size()));
  }

  // What is loaded, drafts included, by id.
  std::vector<ModelInfo> models() const {
    size_t count = 0;
    detail::check(realm_model_count(get(), &count));
    std::vector<ModelInfo> models;
    for (size_t i = 0; i < count; ++i) {
      models.push_back(model(detail::text_of([&](char* buffer, size_t capacity, size_t* length) {
        return realm_model_at(get(), i, buffer, capacity, length, nullptr);
      })));
    }
    return models;
  }

  ModelInfo model(std::string_view model_id) const { return detail::model_info(get(), model_id); }

  // The bytes that tokens stand for; they need not be UTF-8.
  std::string decode(std::string_view model_id, const std::vector<int32_t>& tokens) const {
    return detail::text_of([&](char* buffer, size_t capacity, size_t* length) {
      return realm_decode_tokens(get(), model_id.data(), model_id.size(), tokens.data(),
                                 tokens.size(), buffer, capacity, length);
    });
  }

  // What the model's engine did so far, over all tenants.
  ModelStats stats(std::string_view model_id) const {
    ModelStats stats{};
    stats.struct_size = sizeof stats;
    detail::check(realm_stats(get(), model_id.data(), model_id.size(), &stats));
    return stats;
  }

  // Figures of all models and tenants, as Prometheus reads them.
  std::string metrics() const {
    return detail::text_of([&](char* buffer, size_t capacity, size_t* length) {
      return realm_metrics(get(), buffer, capacity, length);
    });
  }

  // ---- adapters

  // Loads a PEFT folder, a safetensors file or a GGUF adapter, before or after its model. An
  // adapter that does not fit whole throws REALM_ERROR_ADAPTER, and the text lists what was
  // refused. An id that is taken goes to the new adapter; requests that run keep the one they have.
  void load_adapter(std::string_view adapter_id, std::string_view path, std::string_view model_id) {
    detail::check(realm_adapter_load(get(), adapter_id.data(), adapter_id.size(), path.data(),
                                     path.size(), model_id.data(), model_id.size()));
  }

  // The same from the contents of a file, which are copied; `config` is the text of an
  // adapter_config.json, or empty if the file says enough by itself.
  void load_adapter_from_memory(std::string_view adapter_id, const void* data, size_t size,
                                std::string_view config, std::string_view model_id) {
    detail::check(realm_adapter_load_from_memory(get(), adapter_id.data(), adapter_id.size(), data,
                                                 size, config.data(), config.size(),
                                                 model_id.data(), model_id.size()));
  }

  // Requests of tenants that have it set fail from now on, until they are given another.
  void unload_adapter(std::string_view adapter_id) {
    detail::check(realm_adapter_unload(get(), adapter_id.data(), adapter_id.size()));
  }

  // By id.
  std::vector<AdapterInfo> adapters() const {
    size_t count = 0;
    detail::check(realm_adapter_count(get(), &count));
    std::vector<AdapterInfo> adapters;
    for (size_t i = 0; i < count; ++i) {
      realm_adapter_info info{};
      info.struct_size = sizeof info;
      std::string id = detail::text_of([&](char* buffer, size_t capacity, size_t* length) {
        return realm_adapter_at(get(), i, buffer, capacity, length, &info);
      });
      adapters.push_back({std::move(id), info.is_fitted != 0, info.rank, info.scale, info.n_applied,
                          info.n_refused, info.bytes});
    }
    return adapters;
  }

  // The adapter of a model's tenants that have none set; empty for the base.
  void set_lora_adapter(std::string_view model_id, std::string_view adapter_id) {
    detail::check(realm_set_lora_adapter(get(), model_id.data(), model_id.size(), adapter_id.data(),
                                         adapter_id.size()));
  }

  // The adapter of one tenant from its next request on, also if the tenant comes later; empty takes
  // it away.
  void set_tenant_lora_adapter(std::string_view tenant_id, std::string_view adapter_id) {
    detail::check(realm_tenant_set_lora_adapter(get(), tenant_id.data(), tenant_id.size(),
                                                adapter_id.data(), adapter_id.size()));
  }

  // ---- tenants

  // The tenant on a model that is loaded, made if there is none. A living tenant with other terms
  // is refused.
  Tenant tenant(std::string_view tenant_id, std::string_view model_id,
                const TenantOptions& options = {}) {
    const detail::CTerms given(options);
    const ModelInfo info = model(model_id);
    realm_tenant* handle = nullptr;
    detail::check(realm_tenant_get_or_create(get(), tenant_id.data(), tenant_id.size(),
                                             model_id.data(), model_id.size(), given.get(),
                                             &handle));
    return Tenant(handle, info);
  }

  // Ends a tenant on all models: its requests are cancelled, its counters forgotten.
  void release_tenant(std::string_view tenant_id) {
    detail::check(realm_tenant_release(get(), tenant_id.data(), tenant_id.size()));
  }

 private:
  using Handle = detail::Handle<realm_runtime, realm_runtime_destroy>;

  realm_runtime* get() const { return handle_.get(); }

  Handle handle_;
};

}  // namespace realm
