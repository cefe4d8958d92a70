#include "bindings/gguf_source.h"

#include <utility>

#include "bindings/buffers.h"
#include "bindings/gil.h"

namespace py = pybind11;

namespace realm::bindings {

std::shared_ptr<const gguf::GgufFile> open_gguf(const PathOrBytes& source) {
  if (is_bytes_like(source)) {
    HeldBytes held = hold_bytes(source);
    const Unlocked unlocked;
    return gguf::GgufFile::from_bytes(held.bytes, std::move(held.owner));
  }
  const std::string path = file_path(source);
  const Unlocked unlocked;
  return gguf::GgufFile::open(path);
}

}  // namespace realm::bindings
