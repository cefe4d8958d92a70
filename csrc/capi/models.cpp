// Models: loading, listing, and what their ids mean.
#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "capi/options.h"
#include "capi/runtime.h"
#include "model/detokenize.h"

namespace realm::capi {

namespace {

std::span<const std::byte> contents_of(const void* data, size_t size) {
  const auto bytes = array_of("data", static_cast<const std::byte*>(data), size);
  REALM_CHECK(!bytes.empty(), "data is empty");
  return bytes;
}

// For memory that the caller keeps.
std::shared_ptr<const void> nobody() {
  static const char kNobody = 0;
  return {std::shared_ptr<const void>(), &kNobody};
}

realm_model_info describe(const LoadedModel& loaded, const Model& model) {
  const ModelConfig& config = model.config();
  realm_model_info info{};
  info.n_vocab = config.n_vocab;
  info.n_embd = config.n_embd;
  info.n_layers = config.n_layers;
  info.n_ctx = config.n_ctx;
  info.n_heads = config.n_heads;
  info.n_kv_heads = config.n_kv_heads;
  info.head_width = config.head_width;
  const SpecialTokens special =
      model.vocabulary() ? model.vocabulary()->special() : SpecialTokens{};
  info.bos_token = special.bos;
  info.eos_token = special.eos;
  info.is_draft = loaded.is_draft;
  info.has_draft = loaded.draft_id.has_value();
  info.n_tenants = loaded.n_tenants;
  info.weight_bytes = loaded.weight_bytes;
  return info;
}

void give_model(Runtime& runtime, const LoadedModel& loaded, realm_model_info* out) {
  write_struct("info", describe(loaded, *runtime.model(loaded.id)), out);
}

}  // namespace
}  // namespace realm::capi

using namespace realm::capi;
static_assert(realm::kNoToken == REALM_NONE);

int realm_model_options_init(realm_model_options* out, size_t struct_size) {
  return guard([&] { init_struct("out", realm_model_options{}, out, struct_size); });
}

int realm_model_load(realm_runtime* runtime, const char* model_id, size_t model_id_length,
                     const char* path, size_t path_length, const realm_model_options* options) {
  return guard([&] {
    const auto object = object_of(runtime);
    realm::ModelSpec spec = options != nullptr ? model_spec_of(options) : realm::ModelSpec{};
    spec.model_id = text_of("model_id", model_id, model_id_length);
    spec.model_path = path_of("path", path, path_length);
    object->runtime().load_model(spec);
  });
}

int realm_model_load_from_memory(realm_runtime* runtime, const char* model_id,
                                 size_t model_id_length, const void* data, size_t size) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("model_id", model_id, model_id_length));
    object->runtime().store_model(id, {contents_of(data, size), nobody()});
  });
}

int realm_store_model(realm_runtime* runtime, const void* data, size_t size, const char* model_id,
                      size_t model_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("model_id", model_id, model_id_length));
    object->runtime().store_model(id, {contents_of(data, size)});
  });
}

int realm_store_draft_model(realm_runtime* runtime, const void* data, size_t size,
                            const char* model_id, size_t model_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("model_id", model_id, model_id_length));
    object->runtime().store_draft_model(id, {contents_of(data, size)});
  });
}

int realm_model_unload(realm_runtime* runtime, const char* model_id, size_t model_id_length) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("model_id", model_id, model_id_length));
    object->runtime().unload_model(id);
    object->chosen()->choose(id, std::nullopt);
  });
}

int realm_model_count(realm_runtime* runtime, size_t* out) {
  return guard([&] {
    const auto object = object_of(runtime);
    require("out", out) = object->runtime().list_models().size();
  });
}

int realm_model_at(realm_runtime* runtime, size_t index, char* model_id, size_t capacity,
                   size_t* length, realm_model_info* info) {
  return guard([&] {
    const auto object = object_of(runtime);
    const auto models = object->runtime().list_models();
    REALM_CHECK(index < models.size(), "model ", index, " of ", models.size());
    check_text_room("model_id", model_id, capacity, length);
    if (info != nullptr) give_model(object->runtime(), models[index], info);
    give_text(models[index].id, model_id, capacity, length);
  });
}

int realm_model_describe(realm_runtime* runtime, const char* model_id, size_t model_id_length,
                         realm_model_info* info) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string_view id = text_of("model_id", model_id, model_id_length);
    for (const auto& loaded : object->runtime().list_models()) {
      if (loaded.id == id) return give_model(object->runtime(), loaded, info);
    }
    realm::fail(realm::ErrorCode::kInvalidRequest, "no model ", realm::quoted(id), " is loaded");
  });
}

int realm_decode_tokens(realm_runtime* runtime, const char* model_id, size_t model_id_length,
                        const int32_t* tokens, size_t n_tokens, char* buffer, size_t capacity,
                        size_t* length) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("model_id", model_id, model_id_length));
    const auto ids = array_of("tokens", tokens, n_tokens);
    const auto model = object->runtime().model(id);
    REALM_CHECK(model->vocabulary(), "the model ", realm::quoted(id), " has no vocabulary");
    give_text(decode_tokens(*model->vocabulary(), ids, /*skip_special=*/false), buffer, capacity,
              length);
  });
}

int realm_stats(realm_runtime* runtime, const char* model_id, size_t model_id_length,
                realm_model_usage* out) {
  return guard([&] {
    const auto object = object_of(runtime);
    const std::string id(text_of("model_id", model_id, model_id_length));
    const realm::EngineStats stats = object->runtime().stats(id);
    realm_model_usage usage{};
    usage.total_requests = stats.total_requests;
    usage.waiting = stats.waiting;
    usage.running = stats.running;
    usage.preempted = stats.preempted;
    usage.cancelled = stats.cancelled;
    usage.failed = stats.failed;
    usage.kv_blocks_used = stats.kv_blocks_used;
    usage.kv_blocks_total = stats.kv_blocks_total;
    usage.kv_blocks_cached = stats.kv_blocks_cached;
    usage.prefix_hits = stats.prefix_hits;
    usage.prefix_tokens = stats.prefix_tokens;
    usage.prompt_tokens = stats.prompt_tokens;
    usage.tokens_generated = stats.tokens_generated;
    usage.draft_tokens = stats.draft_tokens;
    usage.accepted_tokens = stats.accepted_tokens;
    usage.steps = stats.steps;
    usage.step_seconds = stats.step_seconds;
    usage.draft_seconds = stats.draft_seconds;
    usage.first_token_seconds_p50 = stats.time_to_first_token.quantile(0.5);
    usage.first_token_seconds_p99 = stats.time_to_first_token.quantile(0.99);
    usage.next_token_seconds_p50 = stats.inter_token_latency.quantile(0.5);
    usage.next_token_seconds_p99 = stats.inter_token_latency.quantile(0.99);
    write_struct("out", usage, out);
  });
}
