#include "fuzz/capi_caller.h"

#include <cstdio>

namespace realm::test {

void Verdict::violated(const char* function, const char* what) {
  ++count_;
  std::fprintf(stderr, "%s: %s; last error: %s\n", function, what, realm_last_error());
}

Caller::Caller(const Files& files, Handles& handles, Verdict& verdict, uint64_t seed)
    : files_(files), handles_(handles), verdict_(verdict), dice_(seed) {
  list_calls();
}

Counts Caller::no_counts() const {
  Counts counts;
  for (const auto& call : calls_) counts[call.first];
  return counts;
}

void Caller::run(int n_calls, Counts& counts) {
  for (int i = 0; i < n_calls; ++i) {
    const auto& [name, call] = calls_[dice_.below(calls_.size())];
    name_ = name;
    if (i % 16 == 0) restock();
    const int status = call();
    Count& count = counts.at(name);
    ++(status == REALM_OK ? count.served : count.refused);
    if (status > REALM_OK || status < REALM_ERROR_FORKED) verdict_.violated(name, "no status");
    if (status == REALM_ERROR_INTERNAL) verdict_.violated(name, "an internal error");
    if (status != REALM_OK && *realm_last_error() == '\0') verdict_.violated(name, "no text");
    free_surplus();
  }
}

void Caller::mutate(realm_sampling_params& p) {
  p.max_tokens = static_cast<int64_t>(1 + dice_.below(6));
  spoil(p.max_tokens);
  spoil(p.temperature);
  spoil(p.top_k);
  spoil(p.top_p);
  spoil(p.min_p);
  spoil(p.repetition_penalty);
  spoil(p.presence_penalty);
  spoil(p.frequency_penalty);
  spoil(p.has_seed);
  spoil(p.ignore_eos);
  if (dice_.once_in(3)) p.logprobs = static_cast<int64_t>(dice_.below(4));
  spoil(p.logprobs);
}

void Caller::mutate(realm_speculative_config& s) {
  s.drafter = REALM_DRAFTER_NGRAM;
  spoil(s.draft_k);
  spoil(s.max_draft_tokens);
  spoil(s.drafter);
  spoil(s.adaptive);
  spoil(s.method);
  spoil(s.reserved);
}

void Caller::mutate(Options& o) {
  mutate(*o.params.get());
  mutate(*o.guesses.get());
  if (dice_.once_in(3)) {
    o.stop_text = {o.stop.data, o.stop.count};
    o.params->stop = &o.stop_text;
    o.params->n_stop = 1;
    spoil(o.params->n_stop_token_ids);  // with NULL: any count is a refusal
  }
  if (dice_.once_in(4)) {
    o.params->stop_token_ids = o.stop_ids.data;
    o.params->n_stop_token_ids = o.stop_ids.count;
  }
  if (dice_.once_in(4)) {
    o.bias[0] = {static_cast<int32_t>(dice_.below(20)), 1};
    o.bias[1] = {static_cast<int32_t>(dice_.edge_number()), static_cast<float>(dice_.edge_real())};
    o.params->logit_bias = o.bias;
    o.params->n_logit_bias = 1 + dice_.below(8) / 7;
  }
  if (!dice_.once_in(3)) o.options->params = o.params.argument();
  if (dice_.once_in(3)) o.options->speculative = o.guesses.argument();
  spoil(o.options->plain);
  spoil(o.options->priority);
  spoil(o.options->deadline_ms);
  spoil(o.options->reserved);
  if (!dice_.once_in(6)) return;
  o.scaled = {{o.adapter.data, o.adapter.count}, dice_.once_in(4) ? dice_.edge_real() : 1};
  o.options->chooses_adapters = !dice_.once_in(8);
  o.options->adapters = &o.scaled;
  o.options->n_adapters = 1;
}

// A tenant on a model, a request and a session that mutants can work with.
void Caller::restock() {
  realm_runtime* runtime = nullptr;
  realm_tenant* tenant = nullptr;
  realm_request* request = nullptr;
  realm_session* session = nullptr;
  if (handles_.count(H::kRuntime) < 2) {
    realm_runtime_create(nullptr, &runtime);
    realm_model_load(runtime, "tiny", 4, files_.model.data(), files_.model.size(), nullptr);
    realm_adapter_load(runtime, "style", 5, files_.adapter.data(), files_.adapter.size(), "tiny",
                       4);
    handles_.add(H::kRuntime, runtime);
  } else {
    runtime = drawn<realm_runtime>(H::kRuntime);
  }
  if (realm_tenant_get_or_create(runtime, "main", 4, "tiny", 4, nullptr, &tenant) != REALM_OK) {
    return;
  }
  handles_.add(H::kTenant, tenant);
  const int32_t prompt[] = {3, 4, 5};
  if (handles_.count(H::kRequest) < 4 &&
      realm_request_submit(tenant, prompt, 3, nullptr, &request) == REALM_OK) {
    handles_.add(H::kRequest, request);
  }
  if (handles_.count(H::kSession) < 2 &&
      realm_session_create(tenant, nullptr, &session) == REALM_OK) {
    handles_.add(H::kSession, session);
  }
}

void Caller::free_surplus() {
  const auto drop = [&](H::Kind kind, auto free_it) {
    if (void* handle = handles_.take_surplus(kind)) {
      free_it(handle);
      handles_.note_freed(handle);
    }
  };
  drop(H::kRequest, [](void* h) { realm_request_free(static_cast<realm_request*>(h)); });
  drop(H::kSession, [](void* h) { realm_session_free(static_cast<realm_session*>(h)); });
  drop(H::kTenant, [](void* h) { realm_tenant_free(static_cast<realm_tenant*>(h)); });
  drop(H::kGguf, [](void* h) { realm_gguf_close(static_cast<realm_gguf*>(h)); });
  drop(H::kRuntime, [](void* h) { realm_runtime_destroy(static_cast<realm_runtime*>(h)); });
}

}  // namespace realm::test
