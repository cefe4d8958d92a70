#include "bindings/adapter_source.h"

#include "base/error.h"
#include "bindings/buffers.h"
#include "bindings/gil.h"
#include "bindings/shapes.h"

namespace py = pybind11;

namespace realm::bindings {

namespace {

using Memory = std::vector<std::vector<std::byte>>;

// F16 arrays are taken as they are, other numbers as F32.
lora::SourceTensor tensor_of(const std::string& name, const py::handle& value, Memory& memory) {
  py::array array = py::array::ensure(value, py::array::c_style);
  REALM_CHECK(array, "tensor ", quoted(name), " is no array");
  const bool is_half = array.dtype().kind() == 'f' && array.itemsize() == 2;
  if (!is_half) array = py::array_t<float, py::array::c_style | py::array::forcecast>(array);
  const auto* bytes = static_cast<const std::byte*>(array.data());
  memory.emplace_back(bytes, bytes + array.nbytes());
  return {name, is_half ? DType::kF16 : DType::kF32, shape_of(array), memory.back(), {}};
}

lora::AdapterSource from_arrays(const py::dict& arrays, const std::optional<std::string>& config) {
  const auto memory = std::make_shared<Memory>();
  std::vector<lora::SourceTensor> tensors;
  for (const auto& [name, value] : arrays) {
    tensors.push_back(tensor_of(encode_text(name), value, *memory));
  }
  return lora::adapter_from_tensors(std::move(tensors), memory, config);
}

}  // namespace

lora::AdapterSource adapter_source(const AdapterLike& source,
                                   const std::optional<std::string>& config) {
  if (py::hasattr(source, "keys")) return from_arrays(py::dict(source), config);
  if (is_bytes_like(source)) {
    HeldBytes held = hold_bytes(source);
    const Unlocked unlocked;
    return lora::adapter_from_bytes(held.bytes, std::move(held.owner), config);
  }
  const std::string path = file_path(source);
  const Unlocked unlocked;
  return lora::open_adapter(path, config);
}

AdapterSources adapter_sources(const std::vector<std::pair<AdapterLike, float>>& adapters) {
  AdapterSources sources;
  for (const auto& [source, scale] : adapters) sources.emplace_back(adapter_source(source), scale);
  return sources;
}

}  // namespace realm::bindings
