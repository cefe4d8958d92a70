// The functions of realm.h, each as a call with arguments that are mostly right.
#include "fuzz/capi_caller.h"

namespace realm::test {

#define INIT_CALL(name, type)                      \
  list(#name, 1, [this] {                          \
    Sized<type> out(dice_);                        \
    return name(out.argument(), out->struct_size); \
  })

void Caller::list_calls() {
  INIT_CALL(realm_runtime_options_init, realm_runtime_options);
  INIT_CALL(realm_model_options_init, realm_model_options);
  INIT_CALL(realm_quota_init, realm_quota);
  INIT_CALL(realm_tenant_options_init, realm_tenant_options);
  INIT_CALL(realm_sampling_params_init, realm_sampling_params);
  INIT_CALL(realm_speculative_config_init, realm_speculative_config);
  INIT_CALL(realm_request_options_init, realm_request_options);
  INIT_CALL(realm_session_options_init, realm_session_options);
  list_runtime_calls();
  list_model_calls();
  list_adapter_calls();
  list_tenant_calls();
  list_request_calls();
  list_session_calls();
  list_file_calls();
}

void Caller::list_runtime_calls() {
  list("realm_runtime_create", 1, [this] {
    Sized<realm_runtime_options> options(dice_, realm_runtime_options_init);
    options->kv_bytes = 1 << 20;
    options->n_threads = 1;
    spoil(options->max_sequences);
    spoil(options->max_step_tokens);
    spoil(options->kv_bytes);
    spoil(options->kv_type);
    spoil(options->mapped_weights);
    spoil(options->prefix_cache);
    spoil(options->max_queue);
    spoil(options->max_wait_ms);
    const Text device(dice_, dice_.once_in(20) ? "toaster" : "cpu");
    options->device = {device.data, device.count};
    return making<realm_runtime>(H::kRuntime, [&](realm_runtime** out) {
      return realm_runtime_create(options.argument(), out);
    });
  });
  list("realm_runtime_destroy", 1, [this] {
    if (!dice_.once_in(4)) return realm_runtime_destroy(nullptr);
    return freeing(H::kRuntime, realm_runtime_destroy);
  });
  list("realm_metrics", 2, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    return texting([&](char* buffer, size_t capacity, size_t* length) {
      return realm_metrics(runtime, buffer, capacity, length);
    });
  });
}

void Caller::list_model_calls() {
  list("realm_model_load", 2, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id("tiny"), path(dice_, dice_.once_in(8) ? "nowhere" : files_.model);
    Sized<realm_model_options> options(dice_, realm_model_options_init);
    Sized<realm_speculative_config> guesses(dice_, realm_speculative_config_init);
    mutate(*guesses.get());
    const Text draft(dice_, dice_.once_in(3) ? "nowhere" : files_.model), draft_id = id("help");
    if (dice_.once_in(3)) options->draft_path = {draft.data, draft.count};
    if (dice_.once_in(6)) options->draft_id = {draft_id.data, draft_id.count};
    if (dice_.once_in(3)) options->speculative = guesses.argument();
    return realm_model_load(runtime, model.data, model.count, path.data, path.count,
                            dice_.once_in(3) ? nullptr : options.argument());
  });
  list("realm_model_load_from_memory", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id("tiny");
    const bool damaged = dice_.once_in(3);
    const size_t size =
        damaged ? dice_.below(files_.model_bytes.size()) : files_.model_bytes.size();
    return realm_model_load_from_memory(runtime, model.data, model.count, files_.model_bytes.data(),
                                        size);
  });
  list("realm_store_model", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id("other"), bytes(dice_, files_.model_bytes);
    return realm_store_model(runtime, bytes.data, bytes.count, model.data, model.count);
  });
  list("realm_store_draft_model", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id("other"), bytes(dice_, files_.model_bytes);
    return realm_store_draft_model(runtime, bytes.data, bytes.count, model.data, model.count);
  });
  list("realm_model_unload", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id(dice_.once_in(8) ? "tiny" : "other");
    return realm_model_unload(runtime, model.data, model.count);
  });
  list("realm_model_count", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    return giving<size_t>([&](size_t* out) { return realm_model_count(runtime, out); });
  });
  list("realm_model_at", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    Sized<realm_model_info> info(dice_);
    const auto index = static_cast<size_t>(dice_.once_in(2) ? 0 : dice_.edge_number());
    return texting([&](char* buffer, size_t capacity, size_t* length) {
      return realm_model_at(runtime, index, buffer, capacity, length, info.argument());
    });
  });
  list("realm_model_describe", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id("tiny");
    return reporting<realm_model_info>([&](realm_model_info* out) {
      return realm_model_describe(runtime, model.data, model.count, out);
    });
  });
  list("realm_decode_tokens", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id("tiny");
    const auto ids = tokens();
    return texting([&](char* buffer, size_t capacity, size_t* length) {
      return realm_decode_tokens(runtime, model.data, model.count, ids.data, ids.count, buffer,
                                 capacity, length);
    });
  });
  list("realm_stats", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id("tiny");
    return reporting<realm_model_usage>(
        [&](realm_model_usage* out) { return realm_stats(runtime, model.data, model.count, out); });
  });
}

void Caller::list_adapter_calls() {
  list("realm_adapter_load", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text adapter = id("style"), model = id("tiny");
    const Text path(dice_, dice_.once_in(8) ? "nowhere" : files_.adapter);
    return realm_adapter_load(runtime, adapter.data, adapter.count, path.data, path.count,
                              model.data, model.count);
  });
  list("realm_adapter_load_from_memory", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text adapter = id("style"), model = id("tiny"), bytes(dice_, files_.adapter_bytes);
    const Text config(dice_, dice_.once_in(8) ? "{}" : files_.config);
    return realm_adapter_load_from_memory(runtime, adapter.data, adapter.count, bytes.data,
                                          bytes.count, config.data, config.count, model.data,
                                          model.count);
  });
  list("realm_adapter_unload", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text adapter = id("style");
    return realm_adapter_unload(runtime, adapter.data, adapter.count);
  });
  list("realm_adapter_count", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    return giving<size_t>([&](size_t* out) { return realm_adapter_count(runtime, out); });
  });
  list("realm_adapter_at", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    Sized<realm_adapter_info> info(dice_);
    const auto index = static_cast<size_t>(dice_.once_in(8) ? dice_.edge_number() : 0);
    return texting([&](char* buffer, size_t capacity, size_t* length) {
      return realm_adapter_at(runtime, index, buffer, capacity, length, info.argument());
    });
  });
  list("realm_set_lora_adapter", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text model = id("tiny"), adapter = id(dice_.once_in(2) ? "style" : "");
    return realm_set_lora_adapter(runtime, model.data, model.count, adapter.data, adapter.count);
  });
  list("realm_tenant_set_lora_adapter", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text tenant = tenant_id(), adapter = id(dice_.once_in(2) ? "style" : "");
    return realm_tenant_set_lora_adapter(runtime, tenant.data, tenant.count, adapter.data,
                                         adapter.count);
  });
}

void Caller::list_tenant_calls() {
  list("realm_tenant_get_or_create", 3, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text tenant = tenant_id(), model = id("tiny");
    Sized<realm_tenant_options> options(dice_, realm_tenant_options_init);
    Sized<realm_quota> quota(dice_, realm_quota_init);
    Sized<realm_sampling_params> params(dice_, realm_sampling_params_init);
    mutate(*params.get());
    for (auto* limit : {&quota->concurrent_requests, &quota->queued_requests, &quota->kv_blocks,
                        &quota->adapter_bytes, &quota->tokens_per_minute, &quota->max_tokens}) {
      if (dice_.once_in(6)) *limit = static_cast<int64_t>(dice_.below(1000));
      spoil(*limit);
    }
    spoil(options->weight);
    if (dice_.once_in(3)) options->quota = quota.argument();
    if (dice_.once_in(3)) options->sampling = params.argument();
    return making<realm_tenant>(H::kTenant, [&](realm_tenant** out) {
      return realm_tenant_get_or_create(runtime, tenant.data, tenant.count, model.data, model.count,
                                        dice_.once_in(2) ? nullptr : options.argument(), out);
    });
  });
  list("realm_tenant_free", 1, [this] { return freeing(H::kTenant, realm_tenant_free); });
  list("realm_tenant_release", 1, [this] {
    auto* runtime = drawn<realm_runtime>(H::kRuntime);
    const Text tenant = dice_.once_in(4) ? tenant_id() : id("guest");
    return realm_tenant_release(runtime, tenant.data, tenant.count);
  });
  list("realm_tenant_stats", 1, [this] {
    auto* tenant = drawn<realm_tenant>(H::kTenant);
    return reporting<realm_tenant_usage>(
        [&](realm_tenant_usage* out) { return realm_tenant_stats(tenant, out); });
  });
}

void Caller::list_request_calls() {
  list("realm_request_submit", 5, [this] { return submitting(realm_request_submit); });
  list("realm_generate", 2, [this] { return submitting(realm_generate); });
  list("realm_request_poll", 1, [this] {
    auto* request = drawn<realm_request>(H::kRequest);
    return giving<int32_t>([&](int32_t* out) { return realm_request_poll(request, out); });
  });
  list("realm_request_wait", 2, [this] {
    auto* request = drawn<realm_request>(H::kRequest);
    int32_t ready = 0;
    // All that run end by themselves.
    const int64_t timeout = dice_.once_in(4) ? dice_.edge_number() : 1;
    return realm_request_wait(request, timeout, dice_.once_in(2) ? nullptr : &ready);
  });
  list("realm_request_take", 4, [this] {
    auto* request = drawn<realm_request>(H::kRequest);
    Array<int32_t> ids(dice_, std::vector<int32_t>(dice_.below(8)));
    Array<char> bytes(dice_, std::vector<char>(dice_.below(16)));
    size_t n_ids = 0, n_bytes = 0;
    auto* id_count = dice_.once_in(8) ? nullptr : &n_ids;
    auto* byte_count = dice_.once_in(8) ? nullptr : &n_bytes;
    return giving<int32_t>([&](int32_t* ended) {
      return realm_request_take(request, ids.data, ids.count, id_count, bytes.data, bytes.count,
                                byte_count, ended);
    });
  });
  list("realm_request_take_logprobs", 2, [this] {
    auto* request = drawn<realm_request>(H::kRequest);
    Array<realm_token_logprob> out(dice_, std::vector<realm_token_logprob>(dice_.below(12)));
    return giving<size_t>([&](size_t* count) {
      return realm_request_take_logprobs(request, out.data, out.count, count);
    });
  });
  list("realm_request_cancel", 1,
       [this] { return realm_request_cancel(drawn<realm_request>(H::kRequest)); });
  list("realm_request_describe", 1, [this] {
    auto* request = drawn<realm_request>(H::kRequest);
    return reporting<realm_request_report>(
        [&](realm_request_report* out) { return realm_request_describe(request, out); });
  });
  list("realm_request_error", 1, [this] {
    auto* request = drawn<realm_request>(H::kRequest);
    return texting([&](char* buffer, size_t capacity, size_t* length) {
      return realm_request_error(request, buffer, capacity, length);
    });
  });
  list("realm_request_speculation", 1, [this] {
    auto* request = drawn<realm_request>(H::kRequest);
    return texting([&](char* buffer, size_t capacity, size_t* length) {
      return realm_request_speculation(request, buffer, capacity, length);
    });
  });
  list("realm_request_free", 1, [this] { return freeing(H::kRequest, realm_request_free); });
}

void Caller::list_session_calls() {
  list("realm_session_create", 2, [this] {
    auto* tenant = drawn<realm_tenant>(H::kTenant);
    Sized<realm_session_options> options(dice_, realm_session_options_init);
    spoil(options->max_tokens);
    spoil(options->max_rows);
    spoil(options->kv_type);
    spoil(options->reserved);
    return making<realm_session>(H::kSession, [&](realm_session** out) {
      return realm_session_create(tenant, dice_.once_in(4) ? nullptr : options.argument(), out);
    });
  });
  list("realm_session_free", 1, [this] { return freeing(H::kSession, realm_session_free); });
  list("realm_session_position", 1, [this] {
    auto* session = drawn<realm_session>(H::kSession);
    return giving<int64_t>([&](int64_t* out) { return realm_session_position(session, out); });
  });
  list("realm_session_truncate", 1, [this] {
    auto* session = drawn<realm_session>(H::kSession);
    return realm_session_truncate(session, dice_.once_in(2) ? 0 : dice_.edge_number());
  });
  list("realm_embed_tokens", 2, [this] {
    auto* session = drawn<realm_session>(H::kSession);
    const auto ids = tokens();
    const auto rows = floats(dice_.once_in(4) ? dice_.below(300) : ids.count % 1000 * kWidth);
    return realm_embed_tokens(session, ids.data, ids.count, rows.data, rows.count);
  });
  list("realm_forward_layer", 4, [this] {
    auto* session = drawn<realm_session>(H::kSession);
    const auto rows = floats(dice_.once_in(12) ? dice_.below(300) : 2 * kWidth);
    const auto layer =
        dice_.once_in(8) ? dice_.edge_number() : static_cast<int64_t>(dice_.below(2));
    return realm_forward_layer(session, layer, rows.data, rows.count);
  });
  list("realm_compute_logits", 2, [this] {
    auto* session = drawn<realm_session>(H::kSession);
    const auto rows = floats(dice_.once_in(8) ? dice_.below(300) : kWidth);
    const auto logits = floats(dice_.once_in(8) ? dice_.below(300) : kVocab);
    return realm_compute_logits(session, rows.data, rows.count, logits.data, logits.count);
  });
  list("realm_prompt_logits", 2, [this] {
    auto* tenant = drawn<realm_tenant>(H::kTenant);
    Sized<realm_session_options> options(dice_, realm_session_options_init);
    spoil(options->max_tokens);
    spoil(options->kv_type);
    const auto ids = tokens();
    const size_t wanted = dice_.once_in(8) ? static_cast<size_t>(dice_.edge_number()) : 1;
    const auto logits = floats(dice_.once_in(8) ? dice_.below(300) : kVocab);
    return realm_prompt_logits(tenant, dice_.once_in(4) ? nullptr : options.argument(), ids.data,
                               ids.count, wanted, logits.data, logits.count);
  });
}

void Caller::list_file_calls() {
  list("realm_gguf_open", 1, [this] {
    const Text path(dice_, dice_.once_in(4) ? "nowhere" : files_.model);
    return making<realm_gguf>(
        H::kGguf, [&](realm_gguf** out) { return realm_gguf_open(path.data, path.count, out); });
  });
  list("realm_gguf_open_memory", 1, [this] {
    const bool damaged = dice_.once_in(2);
    const size_t size =
        damaged ? dice_.below(files_.model_bytes.size()) : files_.model_bytes.size();
    return making<realm_gguf>(H::kGguf, [&](realm_gguf** out) {
      return realm_gguf_open_memory(files_.model_bytes.data(), size, out);
    });
  });
  list("realm_gguf_close", 1, [this] { return freeing(H::kGguf, realm_gguf_close); });
  list("realm_gguf_tensor_count", 1, [this] {
    auto* gguf = drawn<realm_gguf>(H::kGguf);
    return giving<uint64_t>([&](uint64_t* out) { return realm_gguf_tensor_count(gguf, out); });
  });
  list("realm_gguf_tensor", 1, [this] {
    auto* gguf = drawn<realm_gguf>(H::kGguf);
    const auto index = static_cast<uint64_t>(dice_.edge_number());
    return reporting<realm_tensor_info>(
        [&](realm_tensor_info* out) { return realm_gguf_tensor(gguf, index, out); });
  });
  list("realm_gguf_metadata_string", 1, [this] {
    auto* gguf = drawn<realm_gguf>(H::kGguf);
    const Text key(dice_, dice_.once_in(3) ? "llama.block_count" : "general.architecture");
    const char* text = nullptr;
    return giving<size_t>([&](size_t* length) {
      return realm_gguf_metadata_string(gguf, key.data, key.count, &text, length);
    });
  });
}

}  // namespace realm::test
