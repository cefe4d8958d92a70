// Session: one sequence, step by step. The Python face (realm_ext/session.py) adds text.
#include "engine/session.h"

#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "bindings/bindings.h"
#include "bindings/interruptible.h"
#include "bindings/kv_types.h"

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

std::unique_ptr<Session> make_session(std::shared_ptr<Model> model, const SamplingParams& params,
                                      const std::string& kv_dtype, int64_t max_context) {
  return std::make_unique<Session>(std::move(model),
                                   SessionOptions{params, kv_type_named(kv_dtype), max_context});
}

void prefill(Session& session, const TokenArray& tokens) {
  const std::span<const int32_t> ids(tokens.data(), static_cast<size_t>(tokens.size()));
  run_interruptibly([&](const std::atomic<bool>& cancel) { session.prefill(ids, &cancel); });
}

std::optional<int32_t> next_token(Session& session) {
  std::optional<int32_t> token;
  run_interruptibly([&](const std::atomic<bool>& cancel) { token = session.next_token(&cancel); });
  return token;
}

using Alternatives = std::vector<std::pair<int32_t, float>>;

// Log-probability of the last token, and those of the most likely ones.
std::optional<std::pair<float, Alternatives>> logprobs(const Session& session) {
  if (!session.logprobs()) return std::nullopt;
  Alternatives top;
  for (const TokenLogprob& one : session.logprobs()->top) {
    top.emplace_back(one.token, one.logprob);
  }
  return std::pair(session.logprobs()->chosen, std::move(top));
}

}  // namespace

void bind_session(py::module_& m) {
  py::class_<Session>(m, "Session")
      .def(py::init(&make_session), py::arg("model"), py::arg("params"), py::kw_only(),
           py::arg("kv_dtype") = "f16", py::arg("max_context") = 0)
      .def("prefill", &prefill, py::arg("tokens"))
      .def("next_token", &next_token)
      .def("take_text", [](Session& self) { return py::bytes(self.take_text()); })
      .def("reset", &Session::reset)
      .def_property_readonly("state", [](const Session& self) { return name_of(self.state()); })
      .def_property_readonly("tokens",
                             [](const Session& self) {
                               return std::vector<int32_t>(self.tokens().begin(),
                                                           self.tokens().end());
                             })
      .def_property_readonly("logprobs", &logprobs)
      .def_property_readonly("seed", &Session::seed)
      .def_property_readonly("stop_index", &Session::stop_index);
}

}  // namespace realm::bindings
