// Many tenants on shared models. A runtime holds models by id, one copy of each however many
// tenants use it; beside each its adapters and the draft that guesses ahead for it; and the
// tenants, each a flow of its model's engine.
//
// There is no global runtime: whoever makes one holds it. Every function may be called from any
// thread, also while others load, serve or close; a long one (loading) does not hold up the others.
// What fails leaves everything as it was. After close() every function throws kInvalidRequest, and
// in a child process after fork kForked; close() and the destructor do nothing there.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/process.h"
#include "engine/engine.h"
#include "lora/adapter_source.h"
#include "realm/model_spec.h"
#include "realm/runtime_options.h"
#include "runtime/metrics.h"
#include "runtime/tenant.h"

namespace realm {

// The contents of a GGUF file. With an owner they are not copied, and it is kept as long as the
// model; without one they are copied.
struct ModelBytes {
  std::span<const std::byte> bytes;
  std::shared_ptr<const void> owner{};
};

// Called as a load goes on; false cancels it (kCancelled).
using LoadProgress = std::function<bool(uint64_t bytes_done, uint64_t bytes_total)>;

struct LoadedModel {
  std::string id;
  uint64_t weight_bytes = 0;
  std::optional<std::string> draft_id{};
  bool is_draft = false;  // there only to guess for others
  int64_t n_tenants = 0;
};

struct RuntimeAdapter {
  std::string id, model_id;
  uint64_t bytes = 0;
  // How it fits; none as long as its model is not loaded.
  std::optional<lora::AdapterReport> report{};
};

class Runtime {
 public:
  // Throws kInvalidRequest for options that make no sense.
  explicit Runtime(const RuntimeOptions& options = {});
  // Closes.
  ~Runtime();

  // ---- models

  // Loads a model, and its draft if it has one and that is not there yet. Throws kInvalidRequest
  // for an id that is taken, a draft that is asked for and not there, or one whose tokens are not
  // the model's; kAdapter if an adapter that was loaded for it does not fit; kFormat, kIo,
  // kOutOfMemory, kCancelled. Then nothing of it is loaded.
  void load_model(const ModelSpec& spec, const LoadProgress& progress = {});
  // The same from memory; its draft is the one under "{model_id}_draft", if there is one.
  void store_model(const std::string& model_id, const ModelBytes& bytes,
                   const LoadProgress& progress = {});
  // Loads the draft "{model_id}_draft", before or after its model, but before that has tenants:
  // kInvalidRequest after.
  void store_draft_model(const std::string& model_id, const ModelBytes& bytes,
                         const LoadProgress& progress = {});
  // Ends the requests on it with kCancelled, releases its tenants, and lets go of its adapters and
  // of a draft that nobody else has. Memory goes with the last who holds a piece of it.
  void unload_model(const std::string& model_id);
  // By id, drafts included.
  std::vector<LoadedModel> list_models() const;
  // For callers that compute with it themselves. Throws kInvalidRequest if there is none.
  std::shared_ptr<Model> model(const std::string& model_id) const;

  // ---- adapters

  // Loads an adapter for a model, which may come later: then it is fitted when that is loaded, and
  // there is no report yet. An id that is taken goes to the new adapter of the same model; requests
  // that run keep the one they have. Throws as AdapterStore::load().
  std::optional<lora::AdapterReport> load_lora_adapter(const std::string& adapter_id,
                                                       lora::AdapterSource source,
                                                       const std::string& model_id,
                                                       bool strict = true);
  // Requests of tenants that have it set fail from now on, until they are given another or it is
  // loaded again. Throws kInvalidRequest for an id that is not there.
  void unload_lora_adapter(const std::string& adapter_id);
  std::vector<RuntimeAdapter> list_adapters() const;
  // From the tenant's next request on, also if the tenant or the model comes later. None: the base,
  // on every model. Throws kInvalidRequest for an adapter that is not there; kQuotaExceeded for one
  // above the tenant's adapter_bytes.
  void set_tenant_lora_adapter(const std::string& tenant_id,
                               const std::optional<std::string>& adapter_id);

  // ---- tenants

  // The tenant on a model that is loaded. A tenant may be on several models; quota and counters are
  // those of each. Throws kInvalidRequest for an id or a value that makes no sense, a model that is
  // not there, or a living tenant with another quota, weight or sampling.
  std::shared_ptr<Tenant> get_or_create(const std::string& tenant_id, const std::string& model_id,
                                        const TenantOptions& options = {});
  // Ends its requests with kCancelled, on all models, and forgets it with its adapter. Throws
  // kInvalidRequest if there is none.
  void release(const std::string& tenant_id);
  std::vector<std::shared_ptr<Tenant>> tenants() const;

  // ---- figures

  // Of a model's engine, over all its tenants. Throws kInvalidRequest if there is no such model.
  EngineStats stats(const std::string& model_id) const;
  // What runtime/metrics.h renders.
  std::vector<MetricFamily> metrics() const;

  // Ends every request with kCancelled. Returns when all engines have ended.
  void close();

 private:
  class Core;
  LeftToOwner<Core> core_;
};

}  // namespace realm
