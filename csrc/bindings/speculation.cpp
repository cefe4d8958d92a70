// SpeculativeConfig, with Python functions as drafters, and SpeculationReport.
#include "bindings/speculation.h"

#include <pybind11/numpy.h>
#include <pybind11/operators.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "engine/speculative/call_drafter.h"
#include "engine/speculative/validate_config.h"
#include "realm/speculation_report.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

// A Python function that other threads call and let go of.
class Callable {
 public:
  explicit Callable(py::object function)
      : function_(new py::object(std::move(function)), [](py::object* held) {
          if (!Py_IsInitialized()) return;  // the interpreter has taken it with it
          const Locked locked;
          delete held;
        }) {}

  std::vector<int32_t> operator()(const std::vector<int32_t>& tokens, int64_t n_wanted) const {
    const Locked locked;
    try {
      const py::array_t<int32_t> array(static_cast<py::ssize_t>(tokens.size()), tokens.data());
      const py::object guesses = call_python(*function_, py::make_tuple(array, n_wanted));
      return guesses.cast<std::vector<int32_t>>();
    } catch (py::error_already_set& error) {
      throw std::runtime_error(error.what());
    } catch (const py::cast_error&) {
      throw std::runtime_error("TypeError: it must return a list of token ids");
    }
  }

 private:
  std::shared_ptr<py::object> function_;
};

SpeculativeMethod method_named(const std::string& name) {
  if (name == "coupled") return SpeculativeMethod::kCoupled;
  REALM_CHECK(name == "rejection", "method is ", quoted(name), "; must be coupled or rejection");
  return SpeculativeMethod::kRejection;
}

const char* name_of(SpeculativeMethod method) {
  return method == SpeculativeMethod::kCoupled ? "coupled" : "rejection";
}

DrafterKind kind_of(const py::object& drafter) {
  if (PyCallable_Check(drafter.ptr())) return DrafterKind::kCustom;
  const std::string name = py::str(drafter);
  if (name == "model") return DrafterKind::kModel;
  REALM_CHECK(name == "ngram", "drafter is ", quoted(name), "; must be model, ngram or a function");
  return DrafterKind::kNgram;
}

PySpeculativeConfig make_config(int64_t draft_k, int64_t max_draft_tokens, py::object drafter,
                                bool adaptive, const std::string& method,
                                std::optional<std::string> draft_adapter,
                                int64_t draft_timeout_ms) {
  PySpeculativeConfig config;
  config.options.draft_k = draft_k;
  config.options.max_draft_tokens = max_draft_tokens;
  config.options.drafter = kind_of(drafter);
  config.options.adaptive = adaptive;
  config.options.method = method_named(method);
  config.options.draft_adapter = draft_adapter.value_or("");
  config.options.draft_timeout_ms = draft_timeout_ms;
  validate(config.options);
  if (config.options.drafter == DrafterKind::kCustom) {
    config.custom = std::make_shared<CallDrafter>(Callable(drafter),
                                                  std::chrono::milliseconds(draft_timeout_ms));
  }
  config.drafter = std::move(drafter);
  return config;
}

std::optional<std::string> adapter_of(const PySpeculativeConfig& config) {
  if (config.options.draft_adapter.empty()) return std::nullopt;
  return config.options.draft_adapter;
}

std::string describe(const PySpeculativeConfig& config) {
  const SpeculativeConfig& o = config.options;
  std::string text =
      concat("SpeculativeConfig(draft_k=", o.draft_k, ", max_draft_tokens=", o.max_draft_tokens,
             ", drafter=", std::string(py::repr(config.drafter)),
             ", adaptive=", o.adaptive ? "True" : "False", ", method='", name_of(o.method), "'");
  if (!o.draft_adapter.empty()) text += concat(", draft_adapter=", quoted(o.draft_adapter));
  return text + ")";
}

void bind_config(py::module_& m) {
  using C = PySpeculativeConfig;
  const SpeculativeConfig defaults;
  py::class_<C>(m, "SpeculativeConfig", R"(How tokens are guessed ahead and judged.

A drafter guesses the next tokens cheaply, and one pass through the model judges all of them.

Args:
    draft_k: Guesses per pass: at the start when adaptive, else always.
    max_draft_tokens: Upper limit of guesses per pass, at most 16.
    drafter: ``"model"``, the engine's draft model; ``"ngram"``, what followed the last tokens when
        the prompt or the answer had them before; or a function of (token ids so far, number wanted)
        that returns token ids, called on a thread of its own.
    adaptive: Chooses the number of guesses, 0 included, from measured acceptance and cost.
    method: ``"coupled"``: the answer is the one without speculation, whatever is guessed.
        ``"rejection"``: accepts more at high temperatures and is exact in law, but the text that a
        seed gives then depends on what was guessed.
    draft_adapter: The adapter of the draft model.
    draft_timeout_ms: A function that takes longer is given up, for the request that asked.

Example:
    >>> import realm_ext
    >>> realm_ext.SpeculativeConfig(drafter="ngram").draft_k
    4)")
      .def(py::init(&make_config), py::kw_only(), py::arg("draft_k") = defaults.draft_k,
           py::arg("max_draft_tokens") = defaults.max_draft_tokens, py::arg("drafter") = "model",
           py::arg("adaptive") = defaults.adaptive, py::arg("method") = name_of(defaults.method),
           py::arg("draft_adapter") = py::none(),
           py::arg("draft_timeout_ms") = defaults.draft_timeout_ms)
      .def_property_readonly("draft_k", [](const C& c) { return c.options.draft_k; })
      .def_property_readonly("max_draft_tokens",
                             [](const C& c) { return c.options.max_draft_tokens; })
      .def_readonly("drafter", &C::drafter)
      .def_property_readonly("adaptive", [](const C& c) { return c.options.adaptive; })
      .def_property_readonly("method", [](const C& c) { return name_of(c.options.method); })
      .def_property_readonly("draft_adapter", &adapter_of)
      .def_property_readonly("draft_timeout_ms",
                             [](const C& c) { return c.options.draft_timeout_ms; })
      .def("__eq__",
           [](const C& a, const C& b) {
             return a.options == b.options && a.drafter.equal(b.drafter);
           })
      .def("__repr__", &describe);
}

void bind_report(py::module_& m) {
  using R = SpeculationReport;
  py::class_<R>(m, "SpeculationReport", R"(What speculation did for a request.

`status` is "off" where none was asked for, "on", or "failed: " and why; after "on: " stands why
nothing is guessed at the moment. `drafted` guesses were verified in `verifications` passes, which
gave `tokens`; `accepted` of them stand. `acceptance` has the share of judged guesses that stand, for
each place in a pass; `k_history` the guesses asked for in the last steps. The seconds are the
request's share.)")
      .def_readonly("status", &R::status)
      .def_readonly("drafted", &R::drafted)
      .def_readonly("accepted", &R::accepted)
      .def_readonly("verifications", &R::verifications)
      .def_readonly("tokens", &R::tokens)
      .def_property_readonly("tokens_per_verification", &R::tokens_per_verification)
      .def_property_readonly("acceptance", &R::acceptance)
      .def_readonly("judged_at", &R::judged_at)
      .def_readonly("accepted_at", &R::accepted_at)
      .def_readonly("k_history", &R::k_history)
      .def_readonly("draft_seconds", &R::draft_seconds)
      .def_readonly("verify_seconds", &R::verify_seconds)
      .def("__repr__", [](const R& r) {
        return concat("<SpeculationReport '", r.status, "': ", r.accepted, " of ", r.drafted,
                      " accepted, ", r.tokens_per_verification(), " tokens per verification>");
      });
}

}  // namespace

void bind_speculation(py::module_& m) {
  bind_config(m);
  bind_report(m);
}

}  // namespace realm::bindings
