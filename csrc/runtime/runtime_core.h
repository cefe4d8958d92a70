// What a runtime holds: models, adapters and tenants by id, and the rules of how they come and go.
// One lock guards the maps, and is held for moments: what takes long (loading, fitting, ending an
// engine) happens outside, on ids that are reserved, or on objects that are out of the maps
// already.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "runtime/model_slot.h"
#include "runtime/runtime.h"

namespace realm {

class Runtime::Core {
 public:
  explicit Core(const RuntimeOptions& options);
  ~Core() { close(); }

  void load(const ModelSpec& spec, const std::shared_ptr<const gguf::GgufFile>& file,
            const LoadProgress& progress);
  void load_draft(const std::string& model_id, const std::shared_ptr<const gguf::GgufFile>& file,
                  const LoadProgress& progress);
  void unload(const std::string& model_id);
  std::vector<LoadedModel> models() const;
  std::shared_ptr<ModelSlot> slot(const std::string& model_id) const;

  std::optional<lora::AdapterReport> load_adapter(const std::string& adapter_id,
                                                  lora::AdapterSource source,
                                                  const std::string& model_id, bool strict);
  void unload_adapter(const std::string& adapter_id);
  std::vector<RuntimeAdapter> adapters() const;
  void choose_adapter(const std::string& tenant_id, const std::optional<std::string>& adapter_id);

  std::shared_ptr<Tenant> tenant(const std::string& tenant_id, const std::string& model_id,
                                 const TenantOptions& options);
  void release(const std::string& tenant_id);
  std::vector<std::shared_ptr<Tenant>> tenants() const;

  std::vector<ModelFigures> model_figures() const;
  void close();

 private:
  using Slot = std::shared_ptr<ModelSlot>;
  using TenantKey = std::pair<std::string, std::string>;  // tenant, model
  using Tenants = std::map<TenantKey, std::shared_ptr<Tenant>>;
  struct Adapter {
    std::string model_id;
    bool strict = true;
    // Until its model is loaded.
    std::shared_ptr<const lora::AdapterSource> source{};
  };
  // Ids that somebody loads just now; gives them back in the end.
  class Reservation {
   public:
    explicit Reservation(Core& core) : core_(core) {}
    ~Reservation();
    void add_locked(const std::string& id);

   private:
    Core& core_;
    std::vector<std::string> ids_;
  };

  void require_open_locked() const;
  Slot find_locked(const std::string& model_id) const;
  Slot require_locked(const std::string& model_id) const;
  Slot find_draft_locked(const ModelSpec& spec) const;
  void require_adapter_of_locked(const std::string& adapter_id, const std::string& model_id) const;
  std::shared_ptr<Model> load_weights(std::shared_ptr<const gguf::GgufFile> file,
                                      const LoadProgress& progress) const;
  void publish(const Slot& slot, const Slot& new_draft);
  bool publish_if_fitted(const Slot& slot, const Slot& new_draft,
                         std::map<std::string, Adapter>& fitted,
                         std::map<std::string, Adapter>& pending);
  std::vector<Slot> take_model_locked(const std::string& model_id);
  std::vector<std::shared_ptr<Tenant>> take_tenants_locked(
      const std::function<bool(const TenantKey&)>& matches);
  Tenant::Terms terms_of(const std::string& tenant_id, const ModelSlot& slot,
                         const TenantOptions& options) const;
  std::shared_ptr<Flow> open_flow(Engine& engine, const Tenant::Terms& terms);
  std::optional<std::string> choice_locked(const std::string& tenant_id,
                                           const std::string& model_id) const;

  const RuntimeOptions options_;
  const Sha256Digest secret_;
  mutable std::mutex mutex_;
  bool is_closed_ = false;
  std::map<std::string, Slot> models_;
  std::set<std::string> loading_;
  std::map<std::string, Adapter> adapters_;
  Tenants tenants_;
  std::map<std::string, std::map<std::string, std::string>> choices_;  // tenant: model: adapter
  uint64_t n_tenants_ever_ = 0;
};

}  // namespace realm
