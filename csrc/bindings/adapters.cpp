// The adapters that a model has loaded. The Python face is realm_ext/model.py.
#include <optional>
#include <pybind11/stl.h>

#include "bindings/adapter_source.h"
#include "bindings/bindings.h"
#include "bindings/gil.h"
#include "model/model.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using lora::AdapterReport;
using lora::AppliedTensor;
using lora::RefusedTensor;

AdapterReport load_adapter(Model& model, const std::string& name, const AdapterLike& source,
                           bool strict, const std::optional<std::string>& config) {
  const lora::AdapterSource opened = adapter_source(source, config);
  const Unlocked unlocked;
  return model.adapters().load(name, opened, strict);
}

void bind_reports(py::module_& m) {
  py::class_<AppliedTensor>(m, "AppliedTensor", "A tensor of an adapter, and where it went.")
      .def_readonly("tensor", &AppliedTensor::tensor, "Its name in the adapter.")
      .def_readonly("base", &AppliedTensor::base, "The tensor of the model that it changes.")
      .def_readonly("part", &AppliedTensor::part,
                    R"("A", "B", "magnitude", "bias", "alpha", "weight", or "base copy".)");
  py::class_<RefusedTensor>(m, "RefusedTensor", "A tensor of an adapter that was not taken.")
      .def_readonly("tensor", &RefusedTensor::tensor, "Its name in the adapter.")
      .def_readonly("reason", &RefusedTensor::reason);
  py::class_<AdapterReport>(m, "AdapterReport", "What became of an adapter's tensors.")
      .def_readonly("applied", &AdapterReport::applied)
      .def_readonly("refused", &AdapterReport::refused)
      .def_readonly("rank", &AdapterReport::rank, "The largest of its modules.")
      .def_readonly("scale", &AdapterReport::scale, "alpha / rank, as most of its modules have it.")
      .def_readonly("content_hash", &AdapterReport::content_hash,
                    "SHA-256 of what it changes, in hexadecimal: its identity.");
  py::class_<LoadedAdapter>(m, "LoadedAdapter", "An adapter that a model has loaded.")
      .def_readonly("name", &LoadedAdapter::name)
      .def_readonly("report", &LoadedAdapter::report)
      .def_readonly("bytes", &LoadedAdapter::bytes)
      .def_readonly("in_use", &LoadedAdapter::is_in_use, "By a request or a session.");
}

}  // namespace

// Called after bind_model(): the functions here belong to its class.
void bind_adapters(py::module_& m) {
  bind_reports(m);
  m.def("load_adapter", &load_adapter, py::arg("model"), py::arg("name"), py::arg("source"),
        py::kw_only(), py::arg("strict") = true, py::arg("config") = py::none());
  m.def(
      "unload_adapter",
      [](Model& model, const std::string& name) { model.adapters().unload(name); },
      py::arg("model"), py::arg("name"), py::call_guard<Unlocked>());
  m.def("loaded_adapters", [](Model& model) { return model.adapters().list(); }, py::arg("model"));
  m.def("adapter_budget", [](Model& model) { return model.adapters().budget(); }, py::arg("model"));
  m.def(
      "set_adapter_budget",
      [](Model& model, uint64_t bytes) { model.adapters().set_budget(bytes); }, py::arg("model"),
      py::arg("bytes"));
}

}  // namespace realm::bindings
