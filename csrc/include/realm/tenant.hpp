// Tenants: who asks a model, on which terms. Nothing of one tenant reaches another: text, keys and
// values, adapter, draws, errors, or what the prefix cache keeps of its prompts.
//
// Part of realm.hpp. C++17. Every function may be called from any thread. A Tenant is a hold on the
// tenant and not its life: that ends with Runtime::release_tenant(), or with the model or the
// runtime. Requests are then refused; what it had so far can still be read.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "realm/request.hpp"
#include "realm/session.hpp"

namespace realm {

// A model that is loaded.
struct ModelInfo {
  std::string id;
  int64_t n_vocab = 0, n_embd = 0, n_layers = 0, n_ctx = 0;
  int64_t n_heads = 0, n_kv_heads = 0, head_width = 0;
  std::optional<int32_t> bos_token, eos_token;
  bool is_draft = false;   // it is there only to guess for others
  bool has_draft = false;  // another guesses for it
  int64_t n_tenants = 0;
  uint64_t weight_bytes = 0;
};

// The numbers of realm_model_usage and realm_tenant_usage in structs.h.
using ModelStats = realm_model_usage;
using TenantStats = realm_tenant_usage;

// What one tenant may take of one model; what is not set has no limit but the engine's own.
struct Quota {
  std::optional<int64_t> concurrent_requests;  // that run at once; more of them wait
  std::optional<int64_t> queued_requests;      // that may wait besides those; one more is refused
  std::optional<int64_t> kv_blocks;      // of running requests, 16 tokens each; more of them wait
  std::optional<int64_t> adapter_bytes;  // of the adapters that a request computes with
  std::optional<int64_t> tokens_per_minute;  // of prompts and answers; more are refused
  std::optional<int64_t> max_tokens;         // that a request may ask for
};

// Terms of a tenant on a model. What is not set keeps what a living tenant has.
struct TenantOptions {
  std::optional<Quota> quota;
  std::optional<double> weight;            // its fair share, in proportion to others'; 1
  std::optional<SamplingParams> sampling;  // of requests that bring none
};

// What a request asks for besides its prompt and how it is sampled.
struct RequestOptions {
  std::optional<SpeculativeConfig> speculative;       // by default as the model was loaded with
  bool plain = false;                                 // no guesses, whatever the model has
  int32_t priority = 0;                               // among the tenant's own: higher goes first
  std::optional<std::chrono::milliseconds> deadline;  // ends the answer as it stands
  std::optional<std::vector<std::pair<std::string, double>>> adapters;  // in place of the tenant's

  RequestOptions() = default;
  // With guesses.
  RequestOptions(SpeculativeConfig guesses) : speculative(std::move(guesses)) {}
};

namespace detail {

inline ModelInfo model_info(realm_runtime* runtime, std::string_view model_id) {
  realm_model_info m{};
  m.struct_size = sizeof m;
  check(realm_model_describe(runtime, model_id.data(), model_id.size(), &m));
  ModelInfo info;
  info.id = model_id;
  info.n_vocab = m.n_vocab;
  info.n_embd = m.n_embd;
  info.n_layers = m.n_layers;
  info.n_ctx = m.n_ctx;
  info.n_heads = m.n_heads;
  info.n_kv_heads = m.n_kv_heads;
  info.head_width = m.head_width;
  if (m.bos_token != REALM_NONE) info.bos_token = m.bos_token;
  if (m.eos_token != REALM_NONE) info.eos_token = m.eos_token;
  info.is_draft = m.is_draft != 0;
  info.has_draft = m.has_draft != 0;
  info.n_tenants = m.n_tenants;
  info.weight_bytes = m.weight_bytes;
  return info;
}

class CTerms {
 public:
  explicit CTerms(const TenantOptions& from) {
    check(realm_tenant_options_init(&options_, sizeof options_));
    if (from.quota) {
      check(realm_quota_init(&quota_, sizeof quota_));
      fill(*from.quota);
      options_.quota = &quota_;
    }
    if (from.weight) options_.weight = *from.weight;
    if (from.sampling) options_.sampling = sampling_.emplace(*from.sampling).get();
  }
  CTerms(const CTerms&) = delete;
  CTerms& operator=(const CTerms&) = delete;

  const realm_tenant_options* get() const { return &options_; }

 private:
  void fill(const Quota& from) {
    quota_.concurrent_requests = from.concurrent_requests.value_or(REALM_NONE);
    quota_.queued_requests = from.queued_requests.value_or(REALM_NONE);
    quota_.kv_blocks = from.kv_blocks.value_or(REALM_NONE);
    quota_.adapter_bytes = from.adapter_bytes.value_or(REALM_NONE);
    quota_.tokens_per_minute = from.tokens_per_minute.value_or(REALM_NONE);
    quota_.max_tokens = from.max_tokens.value_or(REALM_NONE);
  }

  realm_tenant_options options_;
  realm_quota quota_;
  std::optional<CSampling> sampling_;
};

class CRequest {
 public:
  CRequest(const std::optional<SamplingParams>& params, const RequestOptions& from) {
    check(realm_request_options_init(&options_, sizeof options_));
    if (params) options_.params = params_.emplace(*params).get();
    if (from.speculative) {
      speculative_ = c_struct_of(*from.speculative);
      options_.speculative = &speculative_;
    }
    options_.plain = from.plain;
    options_.priority = from.priority;
    if (from.deadline) options_.deadline_ms = from.deadline->count();
    if (!from.adapters) return;
    for (const auto& [id, scale] : *from.adapters) {
      adapters_.push_back({{id.data(), id.size()}, scale});
    }
    options_.chooses_adapters = 1;
    options_.adapters = adapters_.data();
    options_.n_adapters = adapters_.size();
  }
  CRequest(const CRequest&) = delete;
  CRequest& operator=(const CRequest&) = delete;

  const realm_request_options* get() const { return &options_; }

 private:
  realm_request_options options_;
  std::optional<CSampling> params_;
  realm_speculative_config speculative_;
  std::vector<realm_scaled_adapter> adapters_;
};

}  // namespace detail

// Handed out by Runtime::tenant(). Move-only.
class Tenant {
 public:
  // Hands in a prompt and returns at once; the answer comes on the runtime's thread, and is the one
  // that the prompt gets alone, whatever runs beside it. Without parameters: the tenant's. Throws
  // REALM_ERROR_INVALID_REQUEST for a prompt that is empty, above the context, or has ids outside
  // the vocabulary; REALM_ERROR_QUOTA_EXCEEDED, with the limit and the value, above the quota.
  Request submit(const std::vector<int32_t>& prompt,
                 const std::optional<SamplingParams>& params = std::nullopt,
                 const RequestOptions& options = {}) const {
    const detail::CRequest given(params, options);
    realm_request* handle = nullptr;
    detail::check(
        realm_request_submit(handle_.get(), prompt.data(), prompt.size(), given.get(), &handle));
    return Request(handle);
  }

  // The same, and waits for the whole answer. Throws what the answer failed with; one that was
  // cancelled or ran into its deadline is an answer, and its report says so.
  Answer generate(const std::vector<int32_t>& prompt,
                  const std::optional<SamplingParams>& params = std::nullopt,
                  const RequestOptions& options = {}) const {
    const detail::CRequest given(params, options);
    realm_request* handle = nullptr;
    detail::check(
        realm_generate(handle_.get(), prompt.data(), prompt.size(), given.get(), &handle));
    return Request(handle).answer();
  }

  // A session on the tenant's model, with the adapter that the tenant has now.
  Session session(const SessionOptions& options = {}) const {
    const realm_session_options given = detail::c_struct_of(options);
    realm_session* handle = nullptr;
    detail::check(realm_session_create(handle_.get(), &given, &handle));
    return Session(handle, static_cast<size_t>(model_.n_embd), static_cast<size_t>(model_.n_vocab));
  }

  // The logits of the last n_wanted tokens of a prompt, [n_wanted, n_vocab], by the forward that
  // answers requests, with what a session of these options would have.
  std::vector<float> prompt_logits(const std::vector<int32_t>& tokens, size_t n_wanted,
                                   const SessionOptions& options = {}) const {
    const realm_session_options given = detail::c_struct_of(options);
    std::vector<float> logits(n_wanted * static_cast<size_t>(model_.n_vocab));
    detail::check(realm_prompt_logits(handle_.get(), &given, tokens.data(), tokens.size(), n_wanted,
                                      logits.data(), logits.size()));
    return logits;
  }

  // What the tenant had so far.
  TenantStats stats() const {
    TenantStats stats{};
    stats.struct_size = sizeof stats;
    detail::check(realm_tenant_stats(handle_.get(), &stats));
    return stats;
  }

  // The model as it was when this object was made.
  const ModelInfo& model() const { return model_; }

 private:
  friend class Runtime;
  Tenant(realm_tenant* handle, ModelInfo model) : handle_(handle), model_(std::move(model)) {}

  detail::Handle<realm_tenant, realm_tenant_free> handle_;
  ModelInfo model_;
};

}  // namespace realm
