// Session: one sequence, step by step. The Python face (realm_ext/session.py) adds text.
#include "engine/session.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/interruptible.h"
#include "bindings/kv_types.h"
#include "bindings/one_at_a_time.h"
#include "bindings/speculation.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using TokenArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;

const char* name_of(SessionState state) {
  switch (state) {
    case SessionState::kReady:
      return "ready";
    case SessionState::kGenerating:
      return "generating";
    case SessionState::kComplete:
      return "complete";
    case SessionState::kStopped:
      return "stopped";
  }
  return "";
}

SessionOptions options_of(const SamplingParams& params, const std::string& kv_dtype,
                          int64_t max_context, std::shared_ptr<const AdapterSet> adapters,
                          DraftModel draft, const std::optional<PySpeculativeConfig>& speculative) {
  SessionOptions options{params, kv_type_named(kv_dtype), max_context};
  options.adapters = std::move(adapters);
  options.draft = std::move(draft);
  if (!speculative) return options;
  options.speculative = speculative->options;
  options.drafter = speculative->custom;
  return options;
}

std::shared_ptr<const AdapterSet> set_of(Model& model, const AdapterNames& names) {
  const Unlocked unlocked;
  return model.adapters().set_of(names);
}

class PySession : public OneAtATime<Session> {
 public:
  PySession(std::shared_ptr<Model> model, const SamplingParams& params, const std::string& kv_dtype,
            int64_t max_context, const AdapterNames& adapters,
            std::optional<std::shared_ptr<Model>> draft, std::string draft_failure,
            const std::optional<PySpeculativeConfig>& speculative)
      : OneAtATime("session", model,
                   options_of(params, kv_dtype, max_context, set_of(*model, adapters),
                              {draft.value_or(nullptr), std::move(draft_failure)}, speculative)) {}
};

void prefill(PySession& self, const TokenArray& tokens) {
  REALM_CHECK(tokens.ndim() == 1, "tokens must be one-dimensional");
  const std::span<const int32_t> ids(tokens.data(), static_cast<size_t>(tokens.size()));
  self.alone([&](Session& session) {
    run_interruptibly([&](const std::atomic<bool>& cancel) { session.prefill(ids, &cancel); });
  });
}

std::optional<int32_t> next_token(PySession& self) {
  std::optional<int32_t> token;
  self.alone([&](Session& session) {
    run_interruptibly(
        [&](const std::atomic<bool>& cancel) { token = session.next_token(&cancel); });
  });
  return token;
}

using Alternatives = std::vector<std::pair<int32_t, float>>;

// Log-probability of the last token, and those of the most likely ones.
std::optional<std::pair<float, Alternatives>> logprobs_of(const Session& session) {
  if (!session.logprobs()) return std::nullopt;
  Alternatives top;
  for (const TokenLogprob& one : session.logprobs()->top) {
    top.emplace_back(one.token, one.logprob);
  }
  return std::pair(session.logprobs()->chosen, std::move(top));
}

std::vector<int32_t> tokens_of(const Session& session) {
  return {session.tokens().begin(), session.tokens().end()};
}

// A read-only property: what `read` finds in the session, when nobody else is in it.
template <class Read>
auto property(Read read) {
  return [read](PySession& self) { return self.alone(read); };
}

}  // namespace

void bind_session(py::module_& m) {
  py::class_<PySession>(m, "Session")
      .def(py::init<std::shared_ptr<Model>, const SamplingParams&, const std::string&, int64_t,
                    const AdapterNames&, std::optional<std::shared_ptr<Model>>, std::string,
                    const std::optional<PySpeculativeConfig>&>(),
           py::arg("model"), py::arg("params"), py::kw_only(), py::arg("kv_dtype") = "f16",
           py::arg("max_context") = 0, py::arg("adapters") = AdapterNames(),
           py::arg("draft") = py::none(), py::arg("draft_failure") = "",
           py::arg("speculative") = py::none())
      .def("prefill", &prefill, py::arg("tokens"))
      .def("next_token", &next_token)
      .def("take_text", property([](Session& s) { return py::bytes(s.take_text()); }))
      .def("reset", property([](Session& s) { s.reset(); }))
      .def_property_readonly("state", property([](Session& s) { return name_of(s.state()); }))
      .def_property_readonly("speculation", property([](Session& s) { return s.speculation(); }))
      .def_property_readonly("tokens", property([](Session& s) { return tokens_of(s); }))
      .def_property_readonly("logprobs", property([](Session& s) { return logprobs_of(s); }))
      .def_property_readonly("seed", property([](Session& s) { return s.seed(); }))
      .def_property_readonly("stop_index", property([](Session& s) { return s.stop_index(); }));
}

}  // namespace realm::bindings
