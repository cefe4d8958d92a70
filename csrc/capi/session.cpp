// Sessions: a model's layers one by one, over floats in the caller's memory.
#include <atomic>

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "capi/options.h"
#include "capi/runtime.h"
#include "model/layer_session.h"
#include "model/solo_sequence.h"

namespace realm::capi {

// A session with a mark of who is in it: a second caller is refused before it touches anything.
class SessionHandle {
 public:
  SessionHandle(std::shared_ptr<Model> model, const LayerOptions& options)
      : session_(std::move(model), options) {}

  // Calls use(session) alone.
  template <class Use>
  void alone(Use use) {
    REALM_CHECK(!busy_.test_and_set(), "realm_session is in use by another thread");
    const Leave leave{busy_};
    use(session_);
  }

 private:
  struct Leave {
    std::atomic_flag& busy;
    ~Leave() { busy.clear(); }
  };

  LayerSession session_;
  std::atomic_flag busy_;
};

namespace {

// What a tenant computes with now, and how.
struct Computation {
  std::shared_ptr<Model> model;
  LayerOptions options;
};

Computation computation_of(const TenantHandle& handle, const realm_session_options* options) {
  Computation one{handle.tenant().model(),
                  options != nullptr ? layer_options_of(options) : LayerOptions{}};
  REALM_CHECK(one.model, "the tenant ", quoted(handle.tenant().id()), " was released");
  const auto chosen = handle.chosen_adapters();
  one.options.adapters =
      chosen ? one.model->adapters().set_of(*chosen) : handle.tenant().adapter_set();
  return one;
}

int64_t length_of(const Computation& one) {
  return one.options.max_tokens > 0 ? one.options.max_tokens : one.model->config().n_ctx;
}

}  // namespace
}  // namespace realm::capi

using namespace realm::capi;

int realm_session_options_init(realm_session_options* out, size_t struct_size) {
  return guard([&] { init_struct("out", struct_of(realm::LayerOptions{}), out, struct_size); });
}

int realm_session_create(realm_tenant* tenant, const realm_session_options* options,
                         realm_session** out) {
  return guard([&] {
    const auto object = object_of(tenant);
    require("out", out);
    const Computation one = computation_of(*object, options);
    *out = give_out<realm_session>(std::make_shared<SessionHandle>(one.model, one.options));
  });
}

int realm_session_free(realm_session* session) {
  return guard([&] { take_back(session); });
}

int realm_session_position(const realm_session* session, int64_t* out) {
  return guard([&] {
    const auto object = object_of(session);
    require("out", out);
    object->alone([&](const realm::LayerSession& one) { *out = one.length(); });
  });
}

int realm_session_truncate(realm_session* session, int64_t position) {
  return guard([&] {
    object_of(session)->alone([&](realm::LayerSession& one) { one.truncate(position); });
  });
}

int realm_embed_tokens(realm_session* session, const int32_t* tokens, size_t n_tokens, float* rows,
                       size_t n_floats) {
  return guard([&] {
    const auto object = object_of(session);
    const auto ids = array_of("tokens", tokens, n_tokens);
    const auto out = array_of("rows", rows, n_floats);
    object->alone([&](realm::LayerSession& one) { one.embed_tokens(ids, out); });
  });
}

int realm_forward_layer(realm_session* session, int64_t layer, float* rows, size_t n_floats) {
  return guard([&] {
    const auto object = object_of(session);
    const auto in_place = array_of("rows", rows, n_floats);
    object->alone([&](realm::LayerSession& one) { one.forward_layer(layer, in_place, in_place); });
  });
}

int realm_compute_logits(realm_session* session, const float* rows, size_t n_floats, float* logits,
                         size_t n_logits) {
  return guard([&] {
    const auto object = object_of(session);
    const auto in = array_of("rows", rows, n_floats);
    const auto out = array_of("logits", logits, n_logits);
    object->alone([&](realm::LayerSession& one) { one.compute_logits(in, out); });
  });
}

int realm_prompt_logits(realm_tenant* tenant, const realm_session_options* options,
                        const int32_t* tokens, size_t n_tokens, size_t n_wanted, float* logits,
                        size_t n_logits) {
  return guard([&] {
    const auto object = object_of(tenant);
    const auto ids = array_of("tokens", tokens, n_tokens);
    const auto out = array_of("logits", logits, n_logits);
    const Computation one = computation_of(*object, options);
    const auto n_vocab = static_cast<size_t>(one.model->config().n_vocab);
    REALM_CHECK(n_wanted <= n_tokens, "n_wanted is ", n_wanted, ", of ", n_tokens, " tokens");
    REALM_CHECK(out.size() % n_vocab == 0 && out.size() / n_vocab == n_wanted, "n_logits is ",
                n_logits, "; must be ", n_wanted, " * ", n_vocab);
    realm::SoloOptions solo{one.options.kv_type, length_of(one)};
    solo.chunk_rows = one.options.max_rows;
    solo.adapters = one.options.adapters;
    realm::SoloSequence(one.model, solo).append(ids, static_cast<int64_t>(n_wanted), out.data());
  });
}
