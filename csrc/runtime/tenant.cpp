#include "runtime/tenant.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace realm {

namespace {

bool is_id_character(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

// Blocks of a flow that are held as long as this lives.
class HeldBlocks {
 public:
  HeldBlocks(std::shared_ptr<Flow> flow, int64_t n) : flow_(std::move(flow)), n_(n) {
    flow_->take_blocks(n_);
  }
  ~HeldBlocks() { flow_->give_back(n_); }
  HeldBlocks(const HeldBlocks&) = delete;
  HeldBlocks& operator=(const HeldBlocks&) = delete;

  Flow& flow() const { return *flow_; }

 private:
  const std::shared_ptr<Flow> flow_;
  const int64_t n_;
};

// Calls `act`; an error about a quota then says whose it is.
template <class Act>
auto naming(const std::string& tenant, Act act) {
  try {
    return act();
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kQuotaExceeded) throw;
    throw Error(error.breach(), concat("tenant ", quoted(tenant), ": ", error.what()));
  }
}

}  // namespace

void validate_tenant_id(std::string_view id) {
  REALM_CHECK(id.size() >= 3 && id.size() <= 64 && std::ranges::all_of(id, is_id_character),
              "tenant is ", quoted(std::string(id.substr(0, 80))),
              "; must be 3 to 64 of A-Z, a-z, 0-9, _ and -");
}

Tenant::Tenant(Terms terms, std::shared_ptr<Engine> engine, std::shared_ptr<Flow> flow,
               std::optional<std::string> adapter_id)
    : terms_(std::move(terms)),
      flow_(std::move(flow)),
      engine_(std::move(engine)),
      adapter_id_(std::move(adapter_id)) {}

std::shared_ptr<Engine> Tenant::engine() const {
  owner_.require();
  const std::lock_guard lock(mutex_);
  REALM_CHECK(engine_, "tenant ", quoted(id()), " has been released, or its model unloaded");
  return engine_;
}

std::shared_ptr<Model> Tenant::model() const {
  owner_.require();
  const std::lock_guard lock(mutex_);
  return engine_ ? engine_->model() : nullptr;
}

std::optional<std::string> Tenant::adapter_id() const {
  owner_.require();
  const std::lock_guard lock(mutex_);
  return adapter_id_;
}

FlowStats Tenant::stats() const {
  owner_.require();
  return flow_->stats();
}

void Tenant::set_adapter(std::optional<std::string> adapter_id) {
  const std::lock_guard lock(mutex_);
  adapter_id_ = std::move(adapter_id);
}

void Tenant::release() {
  std::shared_ptr<Engine> engine;
  {
    const std::lock_guard lock(mutex_);
    engine = std::exchange(engine_, nullptr);
  }
  if (engine) engine->close_flow(*flow_);
}

void Tenant::require_adapter_bytes(uint64_t bytes) const {
  const auto& limit = quota().adapter_bytes;
  if (!limit || bytes <= *limit) return;
  fail_quota({"adapter_bytes", static_cast<int64_t>(*limit), static_cast<int64_t>(bytes)});
}

std::shared_ptr<const AdapterSet> Tenant::set_of(const std::optional<AdapterNames>& names,
                                                 Engine& engine) const {
  AdapterNames chosen = names.value_or(AdapterNames());
  if (const auto own = adapter_id(); !names && own) chosen.emplace_back(*own, 1.0f);
  auto set = engine.model()->adapters().set_of(chosen);
  uint64_t bytes = 0;
  if (set) {
    for (const AdapterSet::Member& member : set->members()) bytes += member.adapter->bytes();
  }
  try {
    require_adapter_bytes(bytes);
  } catch (const Error&) {
    flow_->note_refused();
    throw;
  }
  return set;
}

std::shared_ptr<const AdapterSet> Tenant::adapter_set() const {
  return naming(id(), [&] { return set_of(std::nullopt, *engine()); });
}

std::unique_ptr<LayerSession> Tenant::layer_session(int64_t max_tokens, int64_t max_rows) const {
  return naming(id(), [&] {
    const auto engine = this->engine();
    const std::shared_ptr<Model>& model = engine->model();
    LayerOptions options;
    options.kv_type = engine->options().kv_type;
    options.max_tokens = max_tokens;
    options.max_rows = max_rows;
    options.adapters = set_of(std::nullopt, *engine);
    validate(options, model->config());
    const auto held = std::make_shared<const HeldBlocks>(flow_, blocks_of(options, *model));
    options.charge = [held, id = id()](int64_t n_tokens) {
      naming(id, [&] { held->flow().charge(n_tokens, std::chrono::steady_clock::now()); });
    };
    return std::make_unique<LayerSession>(model, options);
  });
}

RequestOptions Tenant::options_of(TenantRequest request, Engine& engine) const {
  RequestOptions options;
  options.prompt = std::move(request.prompt);
  options.params = request.params ? std::move(*request.params) : sampling();
  options.flow = flow_;
  options.priority = request.priority;
  options.deadline_ms = request.deadline_ms;
  options.adapter_set = set_of(request.adapters, engine);
  if (request.plain) return options;
  options.speculative = request.speculative ? std::move(request.speculative) : terms_.speculative;
  options.drafter = std::move(request.drafter);
  return options;
}

std::shared_ptr<Request> Tenant::submit(TenantRequest request, std::shared_ptr<Mailbox> mailbox) {
  return naming(id(), [&] {
    const auto engine = this->engine();
    return engine->submit(options_of(std::move(request), *engine), std::move(mailbox));
  });
}

std::shared_ptr<Request> Tenant::resume(std::span<const std::byte> snapshot,
                                        const TenantRequest& terms,
                                        std::shared_ptr<Mailbox> mailbox) {
  return naming(id(), [&] {
    const auto engine = this->engine();
    return engine->resume(snapshot, options_of(terms, *engine), std::move(mailbox));
  });
}

}  // namespace realm
