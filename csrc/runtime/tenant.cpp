#include "runtime/tenant.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "model/solo_sequence.h"

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

LayerOptions Tenant::layer_options_of(const TenantLayerOptions& options, Engine& engine) const {
  LayerOptions layer;
  layer.kv_type = options.kv_type.value_or(engine.options().kv_type);
  layer.max_tokens = options.max_tokens;
  layer.max_rows = options.max_rows;
  layer.adapters = set_of(options.adapters, engine);
  validate(layer, engine.model()->config());
  return layer;
}

std::unique_ptr<LayerSession> Tenant::layer_session(const TenantLayerOptions& options) const {
  return naming(id(), [&] {
    const auto engine = this->engine();
    const std::shared_ptr<Model>& model = engine->model();
    LayerOptions layer = layer_options_of(options, *engine);
    const auto held = std::make_shared<const HeldBlocks>(flow_, blocks_of(layer, *model));
    layer.charge = [held, id = id()](int64_t n_tokens) {
      naming(id, [&] { held->flow().charge(n_tokens, std::chrono::steady_clock::now()); });
    };
    return std::make_unique<LayerSession>(model, layer);
  });
}

void Tenant::prompt_logits(std::span<const int32_t> tokens, int64_t n_wanted,
                           std::span<float> logits, const TenantLayerOptions& options) const {
  naming(id(), [&] {
    const auto engine = this->engine();
    const std::shared_ptr<Model>& model = engine->model();
    const LayerOptions layer = layer_options_of(options, *engine);
    const auto n = static_cast<int64_t>(tokens.size()), n_vocab = model->config().n_vocab;
    const int64_t length = layer.max_tokens > 0 ? layer.max_tokens : model->config().n_ctx;
    REALM_CHECK(n >= 1 && n <= length, "there are ", n, " tokens; must be 1 to ", length);
    REALM_CHECK(n_wanted >= 0 && n_wanted <= n, "n_wanted is ", n_wanted, ", of ", n, " tokens");
    REALM_CHECK(std::ssize(logits) % n_vocab == 0 && std::ssize(logits) / n_vocab == n_wanted,
                "logits of ", n_wanted, " rows are ", n_wanted, " x ", n_vocab,
                " values, and there is room for ", logits.size());
    for (const int32_t token : tokens) {
      REALM_CHECK(token >= 0 && token < n_vocab, "token id ", token,
                  " is not in the vocabulary of ", n_vocab);
    }
    const HeldBlocks held(flow_, blocks_of(layer, *model));
    SoloOptions solo{layer.kv_type, length};
    solo.chunk_rows = layer.max_rows;
    solo.adapters = layer.adapters;
    SoloSequence sequence(model, solo);
    // In pieces, between which others have their turns.
    for (int64_t done = 0, rows = 0; done < n; done += rows) {
      rows = std::min(layer.max_rows, n - done);
      const int64_t wanted = std::clamp(done + rows - (n - n_wanted), int64_t{0}, rows);
      flow_->charge(rows, std::chrono::steady_clock::now());
      sequence.append(tokens.subspan(static_cast<size_t>(done), static_cast<size_t>(rows)), wanted,
                      logits.data());
      logits = logits.subspan(static_cast<size_t>(wanted * n_vocab));
    }
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
