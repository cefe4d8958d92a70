// Tenants: who asks, on which terms.
#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "capi/options.h"
#include "capi/runtime.h"

using namespace realm::capi;

int realm_quota_init(realm_quota* out, size_t struct_size) {
  return guard([&] { init_struct("out", struct_of(realm::Quota{}), out, struct_size); });
}

int realm_tenant_options_init(realm_tenant_options* out, size_t struct_size) {
  return guard([&] { init_struct("out", realm_tenant_options{}, out, struct_size); });
}

int realm_tenant_get_or_create(realm_runtime* runtime, const char* tenant_id,
                               size_t tenant_id_length, const char* model_id,
                               size_t model_id_length, const realm_tenant_options* options,
                               realm_tenant** out) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("tenant_id", tenant_id, tenant_id_length));
    const std::string model(text_of("model_id", model_id, model_id_length));
    const auto terms = options != nullptr ? tenant_options_of(options) : realm::TenantOptions{};
    require("out", out);
    auto tenant = object->runtime().get_or_create(id, model, terms);
    *out =
        give_out<realm_tenant>(std::make_shared<TenantHandle>(std::move(tenant), object->chosen()));
  });
}

int realm_tenant_free(realm_tenant* tenant) {
  return guard([&] { take_back(tenant); });
}

int realm_tenant_release(realm_runtime* runtime, const char* tenant_id, size_t tenant_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    object->runtime().release(std::string(text_of("tenant_id", tenant_id, tenant_id_length)));
  });
}

int realm_tenant_stats(realm_tenant* tenant, realm_tenant_usage* out) {
  return guard([&] {
    const realm::FlowStats stats = object_of(tenant)->tenant().stats();
    realm_tenant_usage usage{};
    usage.total_requests = stats.total_requests;
    usage.refused_requests = stats.refused;
    usage.active_requests = stats.active_requests;
    usage.running = stats.running;
    usage.preempted = stats.preempted;
    usage.cancelled = stats.cancelled;
    usage.failed = stats.failed;
    usage.kv_blocks_used = stats.kv_blocks_used;
    usage.prefix_hits = stats.prefix_hits;
    usage.prefix_tokens = stats.prefix_tokens;
    usage.prompt_tokens = stats.prompt_tokens;
    usage.tokens_generated = stats.tokens_generated;
    usage.tokens_last_minute = stats.tokens_last_minute;
    usage.draft_tokens = stats.draft_tokens;
    usage.accepted_tokens = stats.accepted_tokens;
    write_struct("out", usage, out);
  });
}
