// Adapters: loading, listing, and for whom they are set.
#include <algorithm>

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "capi/runtime.h"
#include "lora/adapter_source.h"

namespace realm::capi {

namespace {

realm_adapter_info describe(const RuntimeAdapter& adapter) {
  realm_adapter_info info{};
  info.bytes = adapter.bytes;
  info.is_fitted = adapter.report.has_value();
  if (!adapter.report) return info;
  info.rank = adapter.report->rank;
  info.scale = adapter.report->scale;
  info.n_applied = adapter.report->applied.size();
  info.n_refused = adapter.report->refused.size();
  return info;
}

std::optional<std::string> adapter_id_of(const char* data, size_t length) {
  const std::string_view id = text_of("adapter_id", data, length);
  if (id.empty()) return std::nullopt;
  return std::string(id);
}

}  // namespace
}  // namespace realm::capi

using namespace realm::capi;

int realm_adapter_load(realm_runtime* runtime, const char* adapter_id, size_t adapter_id_length,
                       const char* path, size_t path_length, const char* model_id,
                       size_t model_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("adapter_id", adapter_id, adapter_id_length));
    const std::string file = path_of("path", path, path_length);
    const std::string model(text_of("model_id", model_id, model_id_length));
    object->runtime().load_lora_adapter(id, realm::lora::open_adapter(file), model);
  });
}

int realm_adapter_load_from_memory(realm_runtime* runtime, const char* adapter_id,
                                   size_t adapter_id_length, const void* data, size_t size,
                                   const char* config, size_t config_length, const char* model_id,
                                   size_t model_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("adapter_id", adapter_id, adapter_id_length));
    const auto bytes = array_of("data", static_cast<const std::byte*>(data), size);
    const std::string_view text = text_of("config", config, config_length);
    const std::string model(text_of("model_id", model_id, model_id_length));
    const auto copy = std::make_shared<const std::vector<std::byte>>(bytes.begin(), bytes.end());
    auto source = realm::lora::adapter_from_bytes(
        *copy, copy, text.empty() ? std::nullopt : std::optional<std::string>(text));
    object->runtime().load_lora_adapter(id, std::move(source), model);
  });
}

int realm_adapter_unload(realm_runtime* runtime, const char* adapter_id, size_t adapter_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    object->runtime().unload_lora_adapter(
        std::string(text_of("adapter_id", adapter_id, adapter_id_length)));
  });
}

int realm_adapter_count(realm_runtime* runtime, size_t* out) {
  return guard([&] {
    const auto object = object_of(runtime);
    require("out", out) = object->runtime().list_adapters().size();
  });
}

int realm_adapter_at(realm_runtime* runtime, size_t index, char* adapter_id, size_t capacity,
                     size_t* length, realm_adapter_info* info) {
  return guard([&] {
    const auto object = object_of(runtime);
    const auto adapters = object->runtime().list_adapters();
    REALM_CHECK(index < adapters.size(), "adapter ", index, " of ", adapters.size());
    check_text_room("adapter_id", adapter_id, capacity, length);
    if (info != nullptr) write_struct("info", describe(adapters[index]), info);
    give_text(adapters[index].id, adapter_id, capacity, length);
  });
}

int realm_set_lora_adapter(realm_runtime* runtime, const char* model_id, size_t model_id_length,
                           const char* adapter_id, size_t adapter_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string model(text_of("model_id", model_id, model_id_length));
    const auto adapter = adapter_id_of(adapter_id, adapter_id_length);
    object->runtime().model(model);  // must be there
    const auto loaded = object->runtime().list_adapters();
    const bool fits = !adapter || std::ranges::any_of(loaded, [&](const auto& one) {
      return one.id == *adapter && one.model_id == model;
    });
    REALM_CHECK(fits, "no adapter ", realm::quoted(adapter.value_or("")),
                " is loaded for the model ", realm::quoted(model));
    object->chosen()->choose(model, adapter);
  });
}

int realm_tenant_set_lora_adapter(realm_runtime* runtime, const char* tenant_id,
                                  size_t tenant_id_length, const char* adapter_id,
                                  size_t adapter_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string tenant(text_of("tenant_id", tenant_id, tenant_id_length));
    object->runtime().set_tenant_lora_adapter(tenant, adapter_id_of(adapter_id, adapter_id_length));
  });
}
