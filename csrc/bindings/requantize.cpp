// quantize_gguf: the file quantizer, with progress that reaches Python and Ctrl-C that reaches the
// core.
#include "gguf/requantize.h"

#include <optional>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include "base/error.h"
#include "bindings/bindings.h"
#include "bindings/buffers.h"
#include "bindings/gil.h"
#include "bindings/progress_call.h"
#include "bindings/shapes.h"
#include "gguf/mixes.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using gguf::RequantizedTensor;
using gguf::RequantizeOptions;
using gguf::RequantizeReport;

RequantizeReport run_unlocked(const std::string& in, const std::string& out,
                              const RequantizeOptions& options) {
  const Unlocked unlocked;
  return gguf::requantize(in, out, options);
}

RequantizeReport quantize_gguf(const std::filesystem::path& in_path,
                               const std::filesystem::path& out_path, const std::string& target,
                               bool pure, bool allow_requantize, std::optional<int> threads,
                               std::optional<Progress> progress) {
  REALM_CHECK(!threads || *threads >= 1, "threads is ", *threads, "; must be at least 1");
  ProgressCall call(progress.value_or(nullptr));
  RequantizeOptions options;
  options.target = target;
  options.pure = pure;
  options.allow_requantize = allow_requantize;
  options.n_threads = threads.value_or(0);
  options.progress = std::ref(call);
  try {
    return run_unlocked(in_path.string(), out_path.string(), options);
  } catch (const Error&) {
    call.rethrow();
    throw;
  }
}

std::vector<std::string> mix_names() {
  std::vector<std::string> names;
  for (const gguf::Mix& mix : gguf::all_mixes()) names.emplace_back(mix.name);
  return names;
}

}  // namespace

void bind_requantize(py::module_& m) {
  py::class_<RequantizedTensor>(m, "RequantizedTensor", "One tensor of a RequantizeReport.")
      .def_readonly("name", &RequantizedTensor::name)
      .def_property_readonly("from_dtype",
                             [](const RequantizedTensor& t) { return format_of(t.from).name; })
      .def_property_readonly("to_dtype",
                             [](const RequantizedTensor& t) { return format_of(t.to).name; })
      .def_property_readonly("shape",
                             [](const RequantizedTensor& t) { return shape_tuple(t.shape); })
      .def_readonly("bytes_in", &RequantizedTensor::bytes_in)
      .def_readonly("bytes_out", &RequantizedTensor::bytes_out)
      .def_readonly("rms_error", &RequantizedTensor::rms_error,
                    "Root mean square of the change of the decoded values; 0 when copied.")
      .def_readonly("relative_error", &RequantizedTensor::relative_error,
                    "The same over the root mean square of the input.");
  py::class_<RequantizeReport>(m, "RequantizeReport", "What quantize_gguf did.")
      .def_readonly("tensors", &RequantizeReport::tensors)
      .def_readonly("bytes_in", &RequantizeReport::bytes_in)
      .def_readonly("bytes_out", &RequantizeReport::bytes_out);
  m.def("quantize_mixes", &mix_names, "Names of the mixes of formats that quantize_gguf knows.");
  m.def("quantize_gguf", &quantize_gguf, py::arg("in_path"), py::arg("out_path"), py::arg("target"),
        py::kw_only(), py::arg("pure") = false, py::arg("allow_requantize") = false,
        py::arg("threads") = py::none(), py::arg("progress") = py::none(),
        R"(Write a model again with its weights in another format.

On any failure, and on Ctrl-C, the output is as it was before.

Args:
    in_path: A GGUF file; of a split model, the first part.
    out_path: Where to write; an existing file is replaced.
    target: A mix such as "Q4_K_M", or a format such as "Q8_0".
    pure: Every matrix in the target's base format, without the rules of a mix.
    allow_requantize: Accept weights that are quantized already.
    threads: Default: one per processor that this process may use.
    progress: Called with the bytes of input done and in all.)");
}

}  // namespace realm::bindings
