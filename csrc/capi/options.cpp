#include "capi/options.h"

#include "capi/arguments.h"
#include "engine/validate_params.h"
#include "model/vocabulary.h"

namespace realm::capi {

namespace {

constexpr size_t kMaxAdapters = 1024;  // far above what a request may have

// Refuses what is too much before it is copied.
template <class T>
std::span<T> list_of(const char* name, T* data, size_t count, size_t limit) {
  REALM_CHECK(count <= limit, name, " has a count of ", count, "; at most ", limit);
  return array_of(name, data, count);
}

template <class Enum>
Enum choice_of(const char* name, int32_t value, Enum last) {
  REALM_CHECK(value >= 0 && value <= static_cast<int32_t>(last), name, " must be from 0 to ",
              static_cast<int32_t>(last), ", is ", value);
  return static_cast<Enum>(value);
}

// A limit, if there is one.
std::optional<int64_t> limit_of(const char* name, int64_t value) {
  if (value == REALM_NONE) return std::nullopt;
  REALM_CHECK(value >= 0, name, " must be at least 0, or REALM_NONE, is ", value);
  return value;
}

void check_reserved(int32_t value) {
  REALM_CHECK(value == 0, "reserved must be 0, is ", value);
}

std::string string_of(const char* name, const realm_text& text) {
  return std::string(text_of(name, text.data, text.length));
}

}  // namespace

SamplingParams params_of(const realm_sampling_params* given) {
  const realm_sampling_params p = read_struct("params", given);
  SamplingParams params;
  params.max_tokens = p.max_tokens;
  params.temperature = p.temperature;
  params.top_k = p.top_k;
  params.top_p = p.top_p;
  params.min_p = p.min_p;
  params.repetition_penalty = p.repetition_penalty;
  params.presence_penalty = p.presence_penalty;
  params.frequency_penalty = p.frequency_penalty;
  if (flag_of("has_seed", p.has_seed)) params.seed = p.seed;
  params.ignore_eos = flag_of("ignore_eos", p.ignore_eos);
  if (p.logprobs != REALM_NONE) params.logprobs = p.logprobs;
  for (const realm_text& text : list_of("stop", p.stop, p.n_stop, kMaxStops)) {
    params.stop.emplace_back(text_of("stop", text.data, text.length, kMaxStopBytes));
  }
  const auto tokens =
      list_of("stop_token_ids", p.stop_token_ids, p.n_stop_token_ids, kMaxStopTokens);
  params.stop_token_ids.assign(tokens.begin(), tokens.end());
  for (const realm_logit_bias& one :
       list_of("logit_bias", p.logit_bias, p.n_logit_bias, Vocabulary::kMaxTokens)) {
    REALM_CHECK(params.logit_bias.emplace(one.token, one.bias).second, "logit_bias has token ",
                one.token, " twice");
  }
  return params;
}

realm_sampling_params struct_of(const SamplingParams& from) {
  realm_sampling_params p{};
  p.max_tokens = from.max_tokens;
  p.temperature = from.temperature;
  p.top_k = from.top_k;
  p.top_p = from.top_p;
  p.min_p = from.min_p;
  p.repetition_penalty = from.repetition_penalty;
  p.presence_penalty = from.presence_penalty;
  p.frequency_penalty = from.frequency_penalty;
  p.has_seed = from.seed.has_value();
  p.seed = from.seed.value_or(0);
  p.ignore_eos = from.ignore_eos;
  p.logprobs = from.logprobs.value_or(REALM_NONE);
  return p;
}

SpeculativeConfig speculative_of(const realm_speculative_config* given) {
  const realm_speculative_config s = read_struct("speculative", given);
  SpeculativeConfig config;
  config.draft_k = s.draft_k;
  config.max_draft_tokens = s.max_draft_tokens;
  config.drafter = choice_of("drafter", s.drafter, DrafterKind::kNgram);
  config.adaptive = flag_of("adaptive", s.adaptive);
  config.method = choice_of("method", s.method, SpeculativeMethod::kRejection);
  check_reserved(s.reserved);
  config.draft_adapter = string_of("draft_adapter", s.draft_adapter);
  return config;
}

realm_speculative_config struct_of(const SpeculativeConfig& from) {
  realm_speculative_config s{};
  s.draft_k = from.draft_k;
  s.max_draft_tokens = from.max_draft_tokens;
  s.drafter = static_cast<int32_t>(from.drafter);
  s.adaptive = from.adaptive;
  s.method = static_cast<int32_t>(from.method);
  return s;
}

RuntimeOptions runtime_options_of(const realm_runtime_options* given) {
  const realm_runtime_options o = read_struct("options", given);
  RuntimeOptions options;
  if (o.device.length > 0) options.device = string_of("device", o.device);
  options.n_threads = o.n_threads;
  options.mapped_weights = flag_of("mapped_weights", o.mapped_weights);
  EngineOptions& engine = options.engine;
  engine.max_sequences = o.max_sequences;
  engine.max_step_tokens = o.max_step_tokens;
  if (o.kv_bytes > 0) engine.kv_bytes = o.kv_bytes;
  if (o.draft_kv_bytes > 0) engine.draft_kv_bytes = o.draft_kv_bytes;
  engine.kv_type = choice_of("kv_type", o.kv_type, KvType::kQ8_0);
  engine.prefix_cache = flag_of("prefix_cache", o.prefix_cache);
  engine.max_queue = limit_of("max_queue", o.max_queue);
  engine.max_wait_ms = o.max_wait_ms;
  return options;
}

realm_runtime_options struct_of(const RuntimeOptions& from) {
  const EngineOptions& engine = from.engine;
  realm_runtime_options o{};  // no device: what RuntimeOptions says
  o.n_threads = from.n_threads;
  o.mapped_weights = from.mapped_weights;
  o.max_sequences = engine.max_sequences;
  o.max_step_tokens = engine.max_step_tokens;
  o.kv_bytes = engine.kv_bytes.value_or(0);
  o.draft_kv_bytes = engine.draft_kv_bytes.value_or(0);
  o.kv_type = static_cast<int32_t>(engine.kv_type);
  o.prefix_cache = engine.prefix_cache;
  o.max_queue = engine.max_queue.value_or(REALM_NONE);
  o.max_wait_ms = engine.max_wait_ms;
  return o;
}

ModelSpec model_spec_of(const realm_model_options* given) {
  const realm_model_options o = read_struct("options", given);
  ModelSpec spec;
  if (o.draft_path.length > 0) {
    spec.draft_model_path = path_of("draft_path", o.draft_path.data, o.draft_path.length);
  }
  if (o.draft_id.length > 0) spec.draft_model_id = string_of("draft_id", o.draft_id);
  if (o.speculative != nullptr) spec.speculative = speculative_of(o.speculative);
  return spec;
}

Quota quota_of(const realm_quota* given) {
  const realm_quota q = read_struct("quota", given);
  Quota quota;
  quota.concurrent_requests = limit_of("concurrent_requests", q.concurrent_requests);
  quota.queued_requests = limit_of("queued_requests", q.queued_requests);
  quota.kv_blocks = limit_of("kv_blocks", q.kv_blocks);
  quota.adapter_bytes = limit_of("adapter_bytes", q.adapter_bytes);
  quota.tokens_per_minute = limit_of("tokens_per_minute", q.tokens_per_minute);
  quota.max_tokens = limit_of("max_tokens", q.max_tokens);
  return quota;
}

realm_quota struct_of(const Quota& from) {
  realm_quota q{};
  q.concurrent_requests = from.concurrent_requests.value_or(REALM_NONE);
  q.queued_requests = from.queued_requests.value_or(REALM_NONE);
  q.kv_blocks = from.kv_blocks.value_or(REALM_NONE);
  q.adapter_bytes =
      from.adapter_bytes ? static_cast<int64_t>(*from.adapter_bytes) : int64_t{REALM_NONE};
  q.tokens_per_minute = from.tokens_per_minute.value_or(REALM_NONE);
  q.max_tokens = from.max_tokens.value_or(REALM_NONE);
  return q;
}

TenantOptions tenant_options_of(const realm_tenant_options* given) {
  const realm_tenant_options o = read_struct("options", given);
  TenantOptions options;
  if (o.quota != nullptr) options.quota = quota_of(o.quota);
  if (o.weight != 0) options.weight = o.weight;
  if (o.sampling != nullptr) options.sampling = params_of(o.sampling);
  return options;
}

TenantRequest tenant_request_of(const realm_request_options* given) {
  const realm_request_options o = read_struct("options", given);
  check_reserved(o.reserved);
  TenantRequest request;
  if (o.params != nullptr) request.params = params_of(o.params);
  if (o.speculative != nullptr) request.speculative = speculative_of(o.speculative);
  request.plain = flag_of("plain", o.plain);
  REALM_CHECK(!request.plain || o.speculative == nullptr, "plain is 1, and speculative is given");
  request.priority = o.priority;
  request.deadline_ms = limit_of("deadline_ms", o.deadline_ms);
  const bool chooses = flag_of("chooses_adapters", o.chooses_adapters);
  REALM_CHECK(chooses || o.n_adapters == 0, "n_adapters is ", o.n_adapters,
              ", and chooses_adapters is 0");
  if (!chooses) return request;
  request.adapters.emplace();
  for (const realm_scaled_adapter& one :
       list_of("adapters", o.adapters, o.n_adapters, kMaxAdapters)) {
    request.adapters->emplace_back(string_of("adapters", one.id), static_cast<float>(one.scale));
  }
  return request;
}

realm_request_options struct_of(const TenantRequest& from) {
  realm_request_options o{};
  o.plain = from.plain;
  o.priority = from.priority;
  o.deadline_ms = from.deadline_ms.value_or(REALM_NONE);
  return o;
}

TenantLayerOptions layer_options_of(const realm_session_options* given) {
  const realm_session_options o = read_struct("options", given);
  check_reserved(o.reserved);
  TenantLayerOptions options;
  options.max_tokens = o.max_tokens;
  options.max_rows = o.max_rows;
  if (o.kv_type != REALM_NONE) options.kv_type = choice_of("kv_type", o.kv_type, KvType::kQ8_0);
  return options;
}

realm_session_options struct_of(const TenantLayerOptions& from) {
  realm_session_options o{};
  o.max_tokens = from.max_tokens;
  o.max_rows = from.max_rows;
  o.kv_type = from.kv_type ? static_cast<int32_t>(*from.kv_type) : REALM_NONE;
  return o;
}

}  // namespace realm::capi
