// Sessions: a model's layers one by one, over floats in the caller's memory.
#include <atomic>

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "capi/options.h"
#include "capi/runtime.h"
#include "model/layer_session.h"

namespace realm::capi {

// A session with a mark of who is in it: a second caller is refused before it touches anything.
class SessionHandle {
 public:
  explicit SessionHandle(std::unique_ptr<LayerSession> session) : session_(std::move(session)) {}

  // Calls use(session) alone.
  template <class Use>
  void alone(Use use) {
    REALM_CHECK(!busy_.test_and_set(), "realm_session is in use by another thread");
    const Leave leave{busy_};
    use(*session_);
  }

 private:
  struct Leave {
    std::atomic_flag& busy;
    ~Leave() { busy.clear(); }
  };

  const std::unique_ptr<LayerSession> session_;
  std::atomic_flag busy_;
};

namespace {

int64_t number_of(const char* name, size_t value) {
  REALM_CHECK(value <= PTRDIFF_MAX, name, " is ", value);
  return static_cast<int64_t>(value);
}

TenantLayerOptions options_of(const TenantHandle& tenant, const realm_session_options* given) {
  TenantLayerOptions options = given != nullptr ? layer_options_of(given) : TenantLayerOptions{};
  options.adapters = tenant.chosen_adapters();
  return options;
}

}  // namespace
}  // namespace realm::capi

using namespace realm::capi;

int realm_session_options_init(realm_session_options* out, size_t struct_size) {
  return guard(
      [&] { init_struct("out", struct_of(realm::TenantLayerOptions{}), out, struct_size); });
}

int realm_session_create(realm_tenant* tenant, const realm_session_options* options,
                         realm_session** out) {
  return guard([&] {
    const auto object = object_of(tenant);
    require("out", out);
    auto session = object->tenant().layer_session(options_of(*object, options));
    *out = give_out<realm_session>(std::make_shared<SessionHandle>(std::move(session)));
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
    object->tenant().prompt_logits(ids, number_of("n_wanted", n_wanted), out,
                                   options_of(*object, options));
  });
}
