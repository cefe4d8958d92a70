// A tenant of a runtime on one of its models: a flow of that model's engine, with the tenant's
// quota, its defaults for sampling, its adapter and its own namespace in the prefix cache. Nothing
// of it reaches another tenant: text, keys and values, adapter, draws, errors, or what the cache
// keeps of its prompts.
//
// Handed out by Runtime::get_or_create(). A handle may outlive its tenant, its model and its
// runtime: then submit() throws kInvalidRequest, and everything else stays readable. Every function
// may be called from any thread; in a child process after fork they throw kForked.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/engine.h"
#include "engine/flow.h"
#include "model/adapter_store.h"
#include "model/layer_session.h"
#include "realm/quota.h"
#include "realm/sampling_params.h"
#include "realm/speculative_config.h"

namespace realm {

// Throws kInvalidRequest unless it is 3 to 64 of A-Z, a-z, 0-9, _ and -.
void validate_tenant_id(std::string_view id);

// Of get_or_create(). What is not set keeps what a living tenant has; a new one gets the defaults.
struct TenantOptions {
  // Default: no limits.
  std::optional<Quota> quota{};
  // Its fair share, in proportion to the others' weights: 0.001 to 1000, by default 1.
  std::optional<double> weight{};
  // Of requests that bring no parameters; by default SamplingParams(), with max_tokens within the
  // quota.
  std::optional<SamplingParams> sampling{};
};

struct TenantRequest {
  std::vector<int32_t> prompt;
  // By default the tenant's.
  std::optional<SamplingParams> params{};
  // Among the tenant's own requests: higher goes first.
  int32_t priority = 0;
  std::optional<int64_t> deadline_ms{};
  // In place of the adapter that is set for the tenant; empty for the base alone.
  std::optional<AdapterNames> adapters{};
  // By default as the model's spec says; with `plain`, not at all.
  std::optional<SpeculativeConfig> speculative{};
  std::shared_ptr<Drafter> drafter{};  // with DrafterKind::kCustom
  bool plain = false;
};

// How a tenant runs a model's layers itself; see LayerOptions.
struct TenantLayerOptions {
  int64_t max_tokens = LayerOptions{}.max_tokens;
  int64_t max_rows = LayerOptions{}.max_rows;
  // By default the engine's.
  std::optional<KvType> kv_type{};
  // In place of the adapter that is set for the tenant; empty for the base alone.
  std::optional<AdapterNames> adapters{};
};

class Tenant {
 public:
  // For Runtime.
  struct Terms {
    std::string id, model_id;
    Quota quota;
    double weight = 1;
    SamplingParams sampling;
    std::optional<SpeculativeConfig> speculative;  // of requests that do not say
  };
  Tenant(Terms terms, std::shared_ptr<Engine> engine, std::shared_ptr<Flow> flow,
         std::optional<std::string> adapter_id);

  const std::string& id() const { return terms_.id; }
  const std::string& model_id() const { return terms_.model_id; }
  const Quota& quota() const { return terms_.quota; }
  double weight() const { return terms_.weight; }
  const SamplingParams& sampling() const { return terms_.sampling; }
  // The model it uses; null once the tenant has been released.
  std::shared_ptr<Model> model() const;
  // The adapter of its next request; none for the base.
  std::optional<std::string> adapter_id() const;

  // As Engine::submit(); besides, throws kQuotaExceeded above the quota, and kInvalidRequest if its
  // adapter is no longer loaded, or it was released.
  std::shared_ptr<Request> submit(TenantRequest request,
                                  std::shared_ptr<Mailbox> mailbox = nullptr);
  // As Engine::resume(). The snapshot's max_tokens counts as the request's.
  std::shared_ptr<Request> resume(std::span<const std::byte> snapshot, const TenantRequest& terms,
                                  std::shared_ptr<Mailbox> mailbox = nullptr);

  // The adapters that a request which names none computes with now; null for the base. For callers
  // that run the model's layers themselves.
  std::shared_ptr<const AdapterSet> adapter_set() const;
  // A session of the model's layers for the tenant: with the adapters that these options name or
  // that are set for it now. The session holds its quota's kv_blocks as long as it lives, and what
  // it computes counts as the tenant's tokens; above either it throws kQuotaExceeded, and after the
  // tenant's release kInvalidRequest. Beside requests it waits for its turn.
  std::unique_ptr<LayerSession> layer_session(const TenantLayerOptions& options) const;
  // What the whole forward gives after the last n_wanted of some tokens, [n_wanted, V]: the logits
  // that such a session composes to, from SoloSequence. Counts and throws as that does.
  void prompt_logits(std::span<const int32_t> tokens, int64_t n_wanted, std::span<float> logits,
                     const TenantLayerOptions& options) const;

  FlowStats stats() const;
  bool is_released() const { return flow_->is_closed(); }

  // ---- for Runtime
  void set_adapter(std::optional<std::string> adapter_id);
  // Throws kQuotaExceeded.
  LayerOptions layer_options_of(const TenantLayerOptions& options, Engine& engine) const;
  void require_adapter_bytes(uint64_t bytes) const;
  // Ends its requests with kCancelled, and lets go of the engine.
  void release();

 private:
  std::shared_ptr<Engine> engine() const;
  RequestOptions options_of(TenantRequest request, Engine& engine) const;
  std::shared_ptr<const AdapterSet> set_of(const std::optional<AdapterNames>& names,
                                           Engine& engine) const;

  const Terms terms_;
  const std::shared_ptr<Flow> flow_;
  const OwnerProcess owner_;
  mutable std::mutex mutex_;
  std::shared_ptr<Engine> engine_;  // null after release
  std::optional<std::string> adapter_id_;
};

}  // namespace realm
