#include "runtime/runtime.h"

#include <cstring>
#include <utility>

#include "base/error.h"
#include "runtime/runtime_core.h"

namespace realm {

namespace {

std::shared_ptr<const gguf::GgufFile> open(const ModelBytes& bytes) {
  if (bytes.owner) return gguf::GgufFile::from_bytes(bytes.bytes, bytes.owner);
  const auto copy =
      std::make_shared<const std::vector<std::byte>>(bytes.bytes.begin(), bytes.bytes.end());
  return gguf::GgufFile::from_bytes(*copy, copy);
}

}  // namespace

Runtime::Runtime(const RuntimeOptions& options) : core_(options) {}

Runtime::~Runtime() = default;

void Runtime::load_model(const ModelSpec& spec, const LoadProgress& progress) {
  core_.owner().require();
  core_->load(spec, gguf::GgufFile::open(spec.model_path), progress);
}

void Runtime::store_model(const std::string& model_id, const ModelBytes& bytes,
                          const LoadProgress& progress) {
  core_.owner().require();
  core_->load({.model_id = model_id, .model_path = {}}, open(bytes), progress);
}

void Runtime::store_draft_model(const std::string& model_id, const ModelBytes& bytes,
                                const LoadProgress& progress) {
  core_.owner().require();
  core_->load_draft(model_id, open(bytes), progress);
}

void Runtime::unload_model(const std::string& model_id) {
  core_.owner().require();
  core_->unload(model_id);
}

std::vector<LoadedModel> Runtime::list_models() const {
  core_.owner().require();
  return core_->models();
}

std::shared_ptr<Model> Runtime::model(const std::string& model_id) const {
  core_.owner().require();
  return core_->slot(model_id)->model();
}

std::optional<lora::AdapterReport> Runtime::load_lora_adapter(const std::string& adapter_id,
                                                              lora::AdapterSource source,
                                                              const std::string& model_id,
                                                              bool strict) {
  core_.owner().require();
  return core_->load_adapter(adapter_id, std::move(source), model_id, strict);
}

void Runtime::unload_lora_adapter(const std::string& adapter_id) {
  core_.owner().require();
  core_->unload_adapter(adapter_id);
}

std::vector<RuntimeAdapter> Runtime::list_adapters() const {
  core_.owner().require();
  return core_->adapters();
}

void Runtime::set_tenant_lora_adapter(const std::string& tenant_id,
                                      const std::optional<std::string>& adapter_id) {
  core_.owner().require();
  core_->choose_adapter(tenant_id, adapter_id);
}

std::shared_ptr<Tenant> Runtime::get_or_create(const std::string& tenant_id,
                                               const std::string& model_id,
                                               const TenantOptions& options) {
  core_.owner().require();
  return core_->tenant(tenant_id, model_id, options);
}

void Runtime::release(const std::string& tenant_id) {
  core_.owner().require();
  core_->release(tenant_id);
}

std::vector<std::shared_ptr<Tenant>> Runtime::tenants() const {
  core_.owner().require();
  return core_->tenants();
}

EngineStats Runtime::stats(const std::string& model_id) const {
  core_.owner().require();
  return core_->slot(model_id)->stats();
}

std::vector<MetricFamily> Runtime::metrics() const {
  core_.owner().require();
  std::vector<TenantFigures> tenants;
  for (const auto& tenant : core_->tenants()) {
    tenants.push_back({tenant->id(), tenant->model_id(), tenant->stats()});
  }
  return metric_families(core_->model_figures(), tenants);
}

void Runtime::close() {
  if (core_.owner().is_current()) core_->close();
}

}  // namespace realm
