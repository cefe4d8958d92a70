// The option structs of realm.h as those of the core, and back: a default is what the core's struct
// has, and stands nowhere here. What the values mean is validated by those who use them; here, that
// they can be read at all.
#pragma once

#include "model/layer_session.h"
#include "realm/model_spec.h"
#include "realm/quota.h"
#include "realm/realm.h"
#include "realm/runtime_options.h"
#include "realm/sampling_params.h"
#include "realm/speculative_config.h"
#include "runtime/tenant.h"

namespace realm::capi {

// The pointer and what it points to must be readable; NULL is refused.
SamplingParams params_of(const realm_sampling_params* given);
SpeculativeConfig speculative_of(const realm_speculative_config* given);
RuntimeOptions runtime_options_of(const realm_runtime_options* given);
ModelSpec model_spec_of(const realm_model_options* given);  // without id and path
Quota quota_of(const realm_quota* given);
TenantOptions tenant_options_of(const realm_tenant_options* given);
TenantRequest tenant_request_of(const realm_request_options* given);  // without a prompt
LayerOptions layer_options_of(const realm_session_options* given);

// The other way, for default objects: what they point to, texts above all, is left out.
realm_sampling_params struct_of(const SamplingParams& from);
realm_speculative_config struct_of(const SpeculativeConfig& from);
realm_runtime_options struct_of(const RuntimeOptions& from);
realm_quota struct_of(const Quota& from);
realm_request_options struct_of(const TenantRequest& from);
realm_session_options struct_of(const LayerOptions& from);

}  // namespace realm::capi
