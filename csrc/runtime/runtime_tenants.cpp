// The tenants of a runtime: how they come and go, and what makes each a flow of its own.
#include <algorithm>
#include <utility>

#include "base/error.h"
#include "engine/validate_params.h"
#include "runtime/runtime_core.h"

namespace realm {

namespace {

// A living tenant keeps its terms: others are refused, not taken on the quiet.
void require_same(const Tenant& tenant, const TenantOptions& options) {
  const auto check = [&](const char* what, const auto& given, const auto& present) {
    REALM_CHECK(!given || *given == present, "tenant ", quoted(tenant.id()), " lives with another ",
                what, "; release it first");
  };
  check("quota", options.quota, tenant.quota());
  check("weight", options.weight, tenant.weight());
  check("sampling", options.sampling, tenant.sampling());
}

}  // namespace

Tenant::Terms Runtime::Core::terms_of(const std::string& tenant_id, const ModelSlot& slot,
                                      const TenantOptions& options) const {
  Tenant::Terms terms{.id = tenant_id,
                      .model_id = slot.id(),
                      .quota = options.quota.value_or(Quota()),
                      .weight = options.weight.value_or(1),
                      .sampling = options.sampling.value_or(SamplingParams()),
                      .speculative = slot.speculative()};
  const auto& most = terms.quota.max_tokens;
  if (most && !options.sampling)
    terms.sampling.max_tokens = std::min(terms.sampling.max_tokens, *most);
  REALM_CHECK(!most || terms.sampling.max_tokens <= *most, "the tenant's sampling has max_tokens ",
              terms.sampling.max_tokens, ", its quota allows ", *most);
  validate(terms.sampling, slot.model()->config().n_vocab);
  return terms;
}

// The namespace cannot be guessed from the id, and is another one after a release.
std::shared_ptr<Flow> Runtime::Core::open_flow(Engine& engine, const Tenant::Terms& terms) {
  Sha256 hash;
  hash.update(secret_);
  {
    const std::lock_guard lock(mutex_);
    hash.update_number(++n_tenants_ever_);
  }
  hash.update(terms.id);
  const Quota& quota = terms.quota;
  return engine.open_flow({.weight = terms.weight,
                           .limits = {.concurrent_requests = quota.concurrent_requests,
                                      .queued_requests = quota.queued_requests,
                                      .kv_blocks = quota.kv_blocks,
                                      .tokens_per_minute = quota.tokens_per_minute,
                                      .max_tokens = quota.max_tokens},
                           .space = hash.finish()});
}

std::shared_ptr<Tenant> Runtime::Core::tenant(const std::string& tenant_id,
                                              const std::string& model_id,
                                              const TenantOptions& options) {
  validate_tenant_id(tenant_id);
  const TenantKey key{tenant_id, model_id};
  Slot slot;
  {
    const std::lock_guard lock(mutex_);
    slot = require_locked(model_id);
    if (const auto at = tenants_.find(key); at != tenants_.end()) {
      require_same(*at->second, options);
      return at->second;
    }
  }
  REALM_CHECK(!slot->is_draft(), "model ", quoted(model_id), " is there to guess for others");
  const auto engine = slot->engine(options_.engine);
  const Tenant::Terms terms = terms_of(tenant_id, *slot, options);
  const auto flow = open_flow(*engine, terms);
  const std::lock_guard lock(mutex_);
  require_open_locked();
  REALM_CHECK(find_locked(model_id) == slot, "model ", quoted(model_id), " was unloaded meanwhile");
  if (const auto at = tenants_.find(key); at != tenants_.end()) {  // somebody was faster
    require_same(*at->second, options);
    return at->second;
  }
  const auto tenant =
      std::make_shared<Tenant>(terms, engine, flow, choice_locked(tenant_id, model_id));
  tenants_.emplace(key, tenant);
  return tenant;
}

std::vector<std::shared_ptr<Tenant>> Runtime::Core::take_tenants_locked(
    const std::function<bool(const TenantKey&)>& matches) {
  std::vector<std::shared_ptr<Tenant>> taken;
  for (const auto& [key, tenant] : tenants_) {
    if (matches(key)) taken.push_back(tenant);
  }
  std::erase_if(tenants_, [&](const auto& one) { return matches(one.first); });
  return taken;
}

void Runtime::Core::release(const std::string& tenant_id) {
  std::vector<std::shared_ptr<Tenant>> taken;
  {
    const std::lock_guard lock(mutex_);
    require_open_locked();
    taken = take_tenants_locked([&](const TenantKey& key) { return key.first == tenant_id; });
    const bool had_choice = choices_.erase(tenant_id) > 0;
    REALM_CHECK(had_choice || !taken.empty(), "tenant ", quoted(tenant_id, 80), " is not there");
  }
  for (const auto& tenant : taken) tenant->release();
}

std::vector<std::shared_ptr<Tenant>> Runtime::Core::tenants() const {
  const std::lock_guard lock(mutex_);
  require_open_locked();
  std::vector<std::shared_ptr<Tenant>> list;
  for (const auto& [key, tenant] : tenants_) list.push_back(tenant);
  return list;
}

}  // namespace realm
