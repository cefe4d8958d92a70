// Requests: handed in, waited for, and taken from piece by piece.
#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "capi/options.h"
#include "capi/request.h"
#include "capi/runtime.h"

namespace realm::capi {

namespace {

std::shared_ptr<RequestHandle> submit(realm_tenant* tenant, const int32_t* prompt, size_t n_prompt,
                                      const realm_request_options* options) {
  const auto object = object_of(tenant);
  const auto tokens = array_of("prompt", prompt, n_prompt);
  TenantRequest request = options != nullptr ? tenant_request_of(options) : TenantRequest{};
  request.prompt.assign(tokens.begin(), tokens.end());
  if (!request.adapters) request.adapters = object->chosen_adapters();
  return std::make_shared<RequestHandle>(object->tenant().submit(std::move(request)));
}

int32_t number_of(RequestState state) {
  switch (state) {
    case RequestState::kWaiting:
      return REALM_REQUEST_WAITING;
    case RequestState::kRunning:
      return REALM_REQUEST_RUNNING;
    case RequestState::kFinished:
      break;
  }
  return REALM_REQUEST_FINISHED;
}

int32_t number_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return REALM_FINISH_STOP;
    case FinishReason::kLength:
      return REALM_FINISH_LENGTH;
    case FinishReason::kCancelled:
      return REALM_FINISH_CANCELLED;
    case FinishReason::kDeadline:
      return REALM_FINISH_DEADLINE;
    case FinishReason::kError:
      break;
  }
  return REALM_FINISH_ERROR;
}

void describe_finish(const Finish& finish, realm_request_report& out) {
  out.finish = number_of(finish.reason);
  if (finish.stop_token) out.stop_token = *finish.stop_token;
  if (finish.stop_index) out.stop_index = static_cast<int64_t>(*finish.stop_index);
  if (finish.error) out.status = static_cast<int32_t>(finish.error->code());
}

realm_request_report describe(const Request& request) {
  const RequestReport report = request.report();
  realm_request_report out{};
  out.state = number_of(report.state);
  out.stop_token = REALM_NONE;
  out.stop_index = REALM_NONE;
  if (report.finish) describe_finish(*report.finish, out);
  out.seed = request.seed();
  out.logprobs = request.options().params.logprobs.value_or(REALM_NONE);
  out.n_prompt = report.n_prompt;
  out.n_generated = report.n_generated;
  out.n_cached = report.n_cached;
  out.n_preempted = report.n_preempted;
  out.started_ns = report.started_ns;
  out.first_token_ns = report.first_token_ns;
  out.finished_ns = report.finished_ns;
  out.drafted = report.speculation.drafted;
  out.accepted = report.speculation.accepted;
  out.verifications = report.speculation.verifications;
  return out;
}

// A buffer to write to; none at all, if that is what the caller says.
template <class T>
std::optional<std::span<T>> room_of(const char* name, T* data, size_t capacity,
                                    const size_t* count) {
  if (data == nullptr && count == nullptr) {
    REALM_CHECK(capacity == 0, name, " is NULL, with a capacity of ", capacity);
    return std::nullopt;
  }
  REALM_CHECK(count != nullptr, "the count of ", name, " is NULL");
  return array_of(name, data, capacity);
}

}  // namespace
}  // namespace realm::capi

using namespace realm::capi;

int realm_sampling_params_init(realm_sampling_params* out, size_t struct_size) {
  return guard([&] { init_struct("out", struct_of(realm::SamplingParams{}), out, struct_size); });
}

int realm_speculative_config_init(realm_speculative_config* out, size_t struct_size) {
  return guard(
      [&] { init_struct("out", struct_of(realm::SpeculativeConfig{}), out, struct_size); });
}

int realm_request_options_init(realm_request_options* out, size_t struct_size) {
  return guard([&] { init_struct("out", struct_of(realm::TenantRequest{}), out, struct_size); });
}

int realm_request_submit(realm_tenant* tenant, const int32_t* prompt, size_t n_prompt,
                         const realm_request_options* options, realm_request** out) {
  return guard([&] {
    require("out", out);
    *out = give_out<realm_request>(submit(tenant, prompt, n_prompt, options));
  });
}

int realm_generate(realm_tenant* tenant, const int32_t* prompt, size_t n_prompt,
                   const realm_request_options* options, realm_request** out) {
  return guard([&] {
    require("out", out);
    auto object = submit(tenant, prompt, n_prompt, options);
    object->wait_end();
    const auto finish = object->request().report().finish;
    if (finish && finish->error) throw realm::Error(*finish->error);
    *out = give_out<realm_request>(std::move(object));
  });
}

int realm_request_poll(realm_request* request, int32_t* ready) {
  return guard([&] {
    const auto object = object_of(request);
    require("ready", ready) = object->wait(0);
  });
}

int realm_request_wait(realm_request* request, int64_t timeout_ms, int32_t* ready) {
  return guard([&] {
    const bool is_ready = object_of(request)->wait(timeout_ms);
    if (ready != nullptr) *ready = is_ready;
  });
}

int realm_request_take(realm_request* request, int32_t* tokens, size_t token_capacity,
                       size_t* n_tokens, char* bytes, size_t byte_capacity, size_t* n_bytes,
                       int32_t* ended) {
  return guard([&] {
    const auto object = object_of(request);
    const auto token_room = room_of("tokens", tokens, token_capacity, n_tokens);
    const auto byte_room = room_of("bytes", bytes, byte_capacity, n_bytes);
    require("ended", ended);
    const auto taken = object->take(token_room, byte_room);
    if (n_tokens != nullptr) *n_tokens = taken.n_tokens;
    if (n_bytes != nullptr) *n_bytes = taken.n_bytes;
    *ended = taken.ended;
  });
}

int realm_request_take_logprobs(realm_request* request, realm_token_logprob* out, size_t capacity,
                                size_t* count) {
  return guard([&] {
    const auto object = object_of(request);
    const auto room = array_of("out", out, capacity);
    require("count", count) = object->take_logprobs(room);
  });
}

int realm_request_cancel(realm_request* request) {
  return guard([&] { object_of(request)->request().cancel(); });
}

int realm_request_describe(realm_request* request, realm_request_report* out) {
  return guard([&] { write_struct("out", describe(object_of(request)->request()), out); });
}

int realm_request_error(realm_request* request, char* buffer, size_t capacity, size_t* length) {
  return guard([&] {
    const auto finish = object_of(request)->request().report().finish;
    const bool failed = finish && finish->error;
    give_text(failed ? finish->error->what() : "", buffer, capacity, length);
  });
}

int realm_request_speculation(realm_request* request, char* buffer, size_t capacity,
                              size_t* length) {
  return guard([&] {
    const auto report = object_of(request)->request().report();
    give_text(report.speculation.status, buffer, capacity, length);
  });
}

int realm_request_free(realm_request* request) {
  return guard([&] { take_back(request); });
}
