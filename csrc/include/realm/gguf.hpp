// GGUF files by themselves: what tensors and metadata are in them. Opening validates the whole
// directory, so every later look-up is within bounds.
//
// Part of realm.hpp. C++17. A Gguf may be read by many threads at once.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "realm/error.hpp"

namespace realm {

struct TensorInfo {
  std::string name;
  std::string format;           // "F32", "Q4_K", ...
  std::vector<uint64_t> shape;  // outermost extent first
  uint64_t offset = 0;          // of the first byte in its file
  uint64_t bytes = 0;           // encoded
};

class Gguf {
 public:
  // Opens a file; of a split model, name the first part. Throws REALM_ERROR_IO, REALM_ERROR_FORMAT.
  static Gguf open(std::string_view path) {
    realm_gguf* handle = nullptr;
    detail::check(realm_gguf_open(path.data(), path.size(), &handle));
    return Gguf(handle);
  }

  // Reads a file in memory without copying it: `data` must stay, unchanged, as long as this object.
  static Gguf from_memory(const void* data, size_t size) {
    realm_gguf* handle = nullptr;
    detail::check(realm_gguf_open_memory(data, size, &handle));
    return Gguf(handle);
  }

  uint64_t n_tensors() const {
    uint64_t count = 0;
    detail::check(realm_gguf_tensor_count(handle_.get(), &count));
    return count;
  }

  // The tensor at `index`, in file order.
  TensorInfo tensor(uint64_t index) const {
    realm_tensor_info info{};
    info.struct_size = sizeof info;
    detail::check(realm_gguf_tensor(handle_.get(), index, &info));
    return {{info.name, info.name_length},
            info.format,
            {info.shape, info.shape + info.rank},
            info.offset,
            info.bytes};
  }

  // The text under `key`; throws if the key is absent or its value is not a text.
  std::string metadata_string(std::string_view key) const {
    const char* text = nullptr;
    size_t length = 0;
    detail::check(
        realm_gguf_metadata_string(handle_.get(), key.data(), key.size(), &text, &length));
    return {text, length};
  }

 private:
  explicit Gguf(realm_gguf* handle) : handle_(handle) {}

  detail::Handle<realm_gguf, realm_gguf_close> handle_;
};

}  // namespace realm
