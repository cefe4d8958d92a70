// What the handles of runtimes and tenants stand for.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "runtime/runtime.h"

namespace realm::capi {

// The adapters that realm_set_lora_adapter() chose for tenants that have none set, by model. Any
// thread.
class ChosenAdapters {
 public:
  void choose(const std::string& model_id, std::optional<std::string> adapter_id) {
    const std::lock_guard lock(mutex_);
    if (adapter_id) {
      by_model_[model_id] = std::move(*adapter_id);
    } else {
      by_model_.erase(model_id);
    }
  }

  std::optional<std::string> of(const std::string& model_id) const {
    const std::lock_guard lock(mutex_);
    const auto found = by_model_.find(model_id);
    if (found == by_model_.end()) return std::nullopt;
    return found->second;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::string> by_model_;
};

class RuntimeHandle {
 public:
  explicit RuntimeHandle(const RuntimeOptions& options) : runtime_(options) {}

  Runtime& runtime() { return runtime_; }
  const std::shared_ptr<ChosenAdapters>& chosen() const { return chosen_; }

 private:
  Runtime runtime_;
  const std::shared_ptr<ChosenAdapters> chosen_ = std::make_shared<ChosenAdapters>();
};

class TenantHandle {
 public:
  TenantHandle(std::shared_ptr<Tenant> tenant, std::shared_ptr<const ChosenAdapters> chosen)
      : tenant_(std::move(tenant)), chosen_(std::move(chosen)) {}

  Tenant& tenant() const { return *tenant_; }

  // The adapter of requests that choose none, where it is not the tenant's own.
  std::optional<AdapterNames> chosen_adapters() const {
    if (tenant_->adapter_id()) return std::nullopt;
    const auto adapter = chosen_->of(tenant_->model_id());
    if (!adapter) return std::nullopt;
    return AdapterNames{{*adapter, 1.0f}};
  }

 private:
  const std::shared_ptr<Tenant> tenant_;
  const std::shared_ptr<const ChosenAdapters> chosen_;
};

}  // namespace realm::capi
