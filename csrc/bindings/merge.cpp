// merge_adapter: a model written again with adapters in it.
#include <optional>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>

#include "base/error.h"
#include "bindings/adapter_source.h"
#include "bindings/bindings.h"
#include "bindings/gguf_source.h"
#include "bindings/gil.h"
#include "bindings/progress_call.h"
#include "bindings/shapes.h"
#include "model/merge_adapters.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

lora::MergeReport run_unlocked(const std::shared_ptr<const gguf::GgufFile>& base,
                               const AdapterSources& adapters, const std::string& out_path,
                               const lora::MergeOptions& options) {
  const Unlocked unlocked;
  return merge_adapters(base, adapters, out_path, options);
}

lora::MergeReport merge_adapter(const PathOrBytes& base,
                                const std::vector<std::pair<AdapterLike, float>>& adapters,
                                const std::filesystem::path& out_path,
                                const std::optional<std::string>& dtype, std::optional<int> threads,
                                std::optional<Progress> progress) {
  REALM_CHECK(!threads || *threads >= 1, "threads is ", *threads, "; must be at least 1");
  ProgressCall call(progress.value_or(nullptr));
  lora::MergeOptions options;
  if (dtype) options.type = format_named(*dtype).dtype;
  options.n_threads = threads.value_or(0);
  options.progress = std::ref(call);
  const auto file = open_gguf(base);
  const AdapterSources sources = adapter_sources(adapters);
  try {
    return run_unlocked(file, sources, out_path.string(), options);
  } catch (const Error&) {
    call.rethrow();
    throw;
  }
}

}  // namespace

void bind_merge(py::module_& m) {
  py::class_<lora::MergeReport>(m, "MergeReport", "What merge_adapter did.")
      .def_readonly("tensors", &lora::MergeReport::tensors,
                    "The tensors that changed. Their errors are what encoding them cost, against "
                    "the merged values before.")
      .def_readonly("n_copied", &lora::MergeReport::n_copied,
                    "How many tensors stayed as they were, byte for byte.");
  m.def("merge_adapter", &merge_adapter, py::arg("base"), py::arg("adapters"), py::arg("out_path"),
        py::kw_only(), py::arg("dtype") = py::none(), py::arg("threads") = py::none(),
        py::arg("progress") = py::none());
}

}  // namespace realm::bindings
