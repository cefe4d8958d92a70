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

realm_sampling_params default_params();
realm_speculative_config default_speculative();
realm_runtime_options default_runtime_options();
realm_quota default_quota();
realm_request_options default_request_options();
realm_session_options default_session_options();

}  // namespace realm::capi
