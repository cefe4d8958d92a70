// LayerSession: a model's layers one by one, on arrays. The Python face is realm_ext/layers.py.
#include "bindings/layers.h"

#include <optional>
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "bindings/interruptible.h"
#include "bindings/kv_types.h"
#include "runtime/tenant.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using TokenArray = py::array_t<int32_t, py::array::c_style | py::array::forcecast>;
using FloatArray = py::array_t<float, py::array::c_style | py::array::forcecast>;

std::unique_ptr<PyLayerSession> make(std::shared_ptr<Model> model, int64_t max_tokens,
                                     int64_t max_rows, const std::string& kv_dtype,
                                     const AdapterNames& adapters) {
  LayerOptions options;
  options.kv_type = kv_type_named(kv_dtype);
  options.max_tokens = max_tokens;
  options.max_rows = max_rows;
  const Unlocked unlocked;
  options.adapters = model->adapters().set_of(adapters);
  return std::make_unique<PyLayerSession>(
      std::make_unique<LayerSession>(std::move(model), options));
}

std::unique_ptr<PyLayerSession> make_of_tenant(const Tenant& tenant, int64_t max_tokens,
                                               int64_t max_rows) {
  const Unlocked unlocked;
  TenantLayerOptions options;
  options.max_tokens = max_tokens;
  options.max_rows = max_rows;
  return std::make_unique<PyLayerSession>(tenant.layer_session(options));
}

std::span<const float> values_of(const FloatArray& rows, const LayerSession& session) {
  const int64_t width = session.model().config().n_embd;
  REALM_CHECK(rows.ndim() == 2 && rows.shape(1) == width, "rows must be an array [T, ", width, "]");
  return {rows.data(), static_cast<size_t>(rows.size())};
}

std::span<float> values_in(FloatArray& rows) {
  return {rows.mutable_data(), static_cast<size_t>(rows.size())};
}

using MaybeFlag = std::optional<std::shared_ptr<CancelFlag>>;

// Calls work(session, cancel) where Ctrl-C and the flag, if there is one, end it.
template <class Work>
void run(LayerSession& session, const MaybeFlag& flag, Work work) {
  CancelFlag own;
  run_interruptibly((flag ? **flag : own).raised,
                    [&](const std::atomic<bool>& cancel) { work(session, &cancel); });
}

FloatArray embed_tokens(PyLayerSession& self, const TokenArray& tokens, const MaybeFlag& flag) {
  REALM_CHECK(tokens.ndim() == 1, "tokens must be one-dimensional");
  const std::span<const int32_t> ids(tokens.data(), static_cast<size_t>(tokens.size()));
  return self.alone([&](const std::unique_ptr<LayerSession>& session) {
    REALM_CHECK(std::ssize(ids) <= session->max_rows(), "a step of ", ids.size(),
                " rows; this session takes at most ", session->max_rows());
    FloatArray rows({tokens.size(), static_cast<py::ssize_t>(session->model().config().n_embd)});
    const std::span<float> out = values_in(rows);
    run(*session, flag, [&](LayerSession& s, auto* cancel) { s.embed_tokens(ids, out, cancel); });
    return rows;
  });
}

FloatArray forward_layer(PyLayerSession& self, int64_t layer, const FloatArray& rows,
                         const MaybeFlag& flag) {
  return self.alone([&](const std::unique_ptr<LayerSession>& session) {
    const std::span<const float> in = values_of(rows, *session);
    FloatArray result({rows.shape(0), rows.shape(1)});
    const std::span<float> out = values_in(result);
    run(*session, flag,
        [&](LayerSession& s, auto* cancel) { s.forward_layer(layer, in, out, cancel); });
    return result;
  });
}

FloatArray compute_logits(PyLayerSession& self, const FloatArray& rows, const MaybeFlag& flag) {
  return self.alone([&](const std::unique_ptr<LayerSession>& session) {
    const std::span<const float> in = values_of(rows, *session);
    REALM_CHECK(rows.shape(0) <= session->max_rows(), "a step of ", rows.shape(0),
                " rows; this session takes at most ", session->max_rows());
    FloatArray logits({rows.shape(0), static_cast<py::ssize_t>(session->model().config().n_vocab)});
    const std::span<float> out = values_in(logits);
    run(*session, flag, [&](LayerSession& s, auto* cancel) { s.compute_logits(in, out, cancel); });
    return logits;
  });
}

// A read-only property of the session when nobody else is in it.
template <class Value>
auto property(Value (LayerSession::*read)() const) {
  return [read](PyLayerSession& self) {
    return self.alone(
        [read](const std::unique_ptr<LayerSession>& session) { return ((*session).*read)(); });
  };
}

}  // namespace

void bind_layers(py::module_& m) {
  py::class_<CancelFlag, std::shared_ptr<CancelFlag>>(
      m, "CancelFlag", "Ends the calls that it is given to; raised for good.")
      .def(py::init<>())
      .def("raise_", [](CancelFlag& self) { self.raised = true; })
      .def_property_readonly("is_raised",
                             [](const CancelFlag& self) { return self.raised.load(); });
  py::class_<PyLayerSession>(m, "LayerSession")
      .def(py::init(&make), py::arg("model"), py::kw_only(), py::arg("max_tokens") = 0,
           py::arg("max_rows") = 512, py::arg("kv_dtype") = "f16",
           py::arg("adapters") = AdapterNames())
      .def("embed_tokens", &embed_tokens, py::arg("tokens"), py::arg("cancel") = py::none())
      .def("forward_layer", &forward_layer, py::arg("layer"), py::arg("rows"),
           py::arg("cancel") = py::none())
      .def("compute_logits", &compute_logits, py::arg("rows"), py::arg("cancel") = py::none())
      .def(
          "truncate",
          [](PyLayerSession& self, int64_t n) {
            self.alone([n](const std::unique_ptr<LayerSession>& session) { session->truncate(n); });
          },
          py::arg("n"))
      .def_property_readonly("length", property(&LayerSession::length))
      .def_property_readonly("capacity", property(&LayerSession::capacity))
      .def_property_readonly("max_rows", property(&LayerSession::max_rows))
      .def_property_readonly("next_layer", property(&LayerSession::next_layer))
      .def_property_readonly("n_step_rows", property(&LayerSession::n_step_rows))
      .def_property_readonly("bytes", property(&LayerSession::bytes));
  m.def("tenant_layer_session", &make_of_tenant, py::arg("tenant"), py::kw_only(),
        py::arg("max_tokens"), py::arg("max_rows"));
}

}  // namespace realm::bindings
