// The arguments that name an adapter or are one: a path, the contents of a file, or arrays.
#pragma once

#include <optional>
#include <pybind11/pybind11.h>
#include <string>

#include "lora/adapter_source.h"
#include "model/merge_adapters.h"

namespace realm::bindings {

class AdapterLike : public pybind11::object {
 public:
  static bool accepts(PyObject*) { return true; }
  PYBIND11_OBJECT_DEFAULT(AdapterLike, pybind11::object, accepts)
};

// Reads it with the GIL released; arrays are copied. `config` is the text of an
// adapter_config.json.
lora::AdapterSource adapter_source(const AdapterLike& source,
                                   const std::optional<std::string>& config = {});

// Pairs of an adapter and its scale.
AdapterSources adapter_sources(const std::vector<std::pair<AdapterLike, float>>& adapters);

}  // namespace realm::bindings

template <>
struct pybind11::detail::handle_type_name<realm::bindings::AdapterLike> {
  static constexpr auto name = const_name(
      "str | os.PathLike | typing_extensions.Buffer | "
      "collections.abc.Mapping[str, numpy.typing.NDArray[typing.Any]]");
};
