#include <algorithm>
#include <cstring>

#include "capi/guard.h"
#include "gguf/reader.h"
#include "quant/formats.h"
#include "realm/realm.h"

using realm::capi::guard;

struct realm_gguf {
  std::shared_ptr<const realm::gguf::GgufFile> file;
};

namespace {

realm_tensor_info describe(const realm::gguf::TensorInfo& tensor) {
  realm_tensor_info info{};
  info.name = tensor.name.data();
  info.name_length = tensor.name.size();
  info.format = realm::format_of(tensor.dtype).name;
  info.rank = static_cast<uint32_t>(tensor.shape.rank());
  std::copy_n(tensor.shape.extents().begin(), info.rank, info.shape);
  info.offset = tensor.offset;
  info.bytes = tensor.bytes;
  return info;
}

}  // namespace

int realm_gguf_open(const char* path, size_t path_length, realm_gguf** out) {
  return guard([&] {
    REALM_CHECK(path != nullptr && out != nullptr, "path and out must not be NULL");
    *out = new realm_gguf{realm::gguf::GgufFile::open(std::string(path, path_length))};
  });
}

int realm_gguf_open_memory(const void* data, size_t size, realm_gguf** out) {
  return guard([&] {
    REALM_CHECK((data != nullptr || size == 0) && out != nullptr, "data and out must not be NULL");
    const std::span bytes(static_cast<const std::byte*>(data), size);
    *out = new realm_gguf{realm::gguf::GgufFile::from_bytes(bytes, nullptr)};
  });
}

void realm_gguf_close(realm_gguf* gguf) {
  delete gguf;
}

int realm_gguf_tensor_count(const realm_gguf* gguf, uint64_t* out) {
  return guard([&] {
    REALM_CHECK(gguf != nullptr && out != nullptr, "gguf and out must not be NULL");
    *out = gguf->file->tensors().size();
  });
}

int realm_gguf_tensor(const realm_gguf* gguf, uint64_t index, realm_tensor_info* out) {
  return guard([&] {
    REALM_CHECK(gguf != nullptr && out != nullptr, "gguf and out must not be NULL");
    const auto& tensors = gguf->file->tensors();
    REALM_CHECK(index < tensors.size(), "tensor ", index, " of ", tensors.size());
    const size_t known = out->struct_size;
    REALM_CHECK(known >= sizeof(size_t), "struct_size is ", known, "; set it before the call");
    realm_tensor_info info = describe(tensors[index]);
    info.struct_size = known;
    std::memcpy(out, &info, std::min(known, sizeof info));
  });
}

int realm_gguf_metadata_string(const realm_gguf* gguf, const char* key, size_t key_length,
                               const char** text, size_t* length) {
  return guard([&] {
    REALM_CHECK(gguf != nullptr && key != nullptr && text != nullptr && length != nullptr,
                "gguf, key, text and length must not be NULL");
    const std::string_view name(key, key_length);
    const auto* value = gguf->file->metadata().find(name);
    REALM_CHECK(value != nullptr, "no metadata key ", realm::quoted(name));
    const auto found = value->text();
    REALM_CHECK(found, "metadata key ", realm::quoted(name), " is ", to_string(*value),
                ", not a text");
    *text = found->data();
    *length = found->size();
  });
}
