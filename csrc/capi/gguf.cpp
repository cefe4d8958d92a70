#include <algorithm>

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "gguf/reader.h"
#include "quant/formats.h"
#include "realm/realm.h"

namespace realm::capi {

class GgufHandle {
 public:
  explicit GgufHandle(std::shared_ptr<const gguf::GgufFile> file) : file_(std::move(file)) {}

  const gguf::GgufFile& file() const { return *file_; }

 private:
  const std::shared_ptr<const gguf::GgufFile> file_;
};

namespace {

realm_tensor_info describe(const gguf::TensorInfo& tensor) {
  realm_tensor_info info{};
  info.name = tensor.name.data();
  info.name_length = tensor.name.size();
  info.format = format_of(tensor.dtype).name;
  info.rank = static_cast<uint32_t>(tensor.shape.rank());
  std::copy_n(tensor.shape.extents().begin(), info.rank, info.shape);
  info.offset = tensor.offset;
  info.bytes = tensor.bytes;
  return info;
}

realm_gguf* give_out_file(std::shared_ptr<const gguf::GgufFile> file) {
  return give_out<realm_gguf>(std::make_shared<GgufHandle>(std::move(file)));
}

}  // namespace
}  // namespace realm::capi

using namespace realm::capi;

int realm_gguf_open(const char* path, size_t path_length, realm_gguf** out) {
  return guard([&] {
    const std::string name = path_of("path", path, path_length);
    require("out", out);
    *out = give_out_file(realm::gguf::GgufFile::open(name));
  });
}

int realm_gguf_open_memory(const void* data, size_t size, realm_gguf** out) {
  return guard([&] {
    const auto bytes = array_of("data", static_cast<const std::byte*>(data), size);
    require("out", out);
    *out = give_out_file(realm::gguf::GgufFile::from_bytes(bytes, nullptr));
  });
}

int realm_gguf_close(realm_gguf* gguf) {
  return guard([&] { take_back(gguf); });
}

int realm_gguf_tensor_count(const realm_gguf* gguf, uint64_t* out) {
  return guard([&] { require("out", out) = object_of(gguf)->file().tensors().size(); });
}

int realm_gguf_tensor(const realm_gguf* gguf, uint64_t index, realm_tensor_info* out) {
  return guard([&] {
    const auto object = object_of(gguf);
    const auto& tensors = object->file().tensors();
    REALM_CHECK(index < tensors.size(), "tensor ", index, " of ", tensors.size());
    write_struct("out", describe(tensors[index]), out);
  });
}

int realm_gguf_metadata_string(const realm_gguf* gguf, const char* key, size_t key_length,
                               const char** text, size_t* length) {
  return guard([&] {
    const auto object = object_of(gguf);
    const std::string_view name = text_of("key", key, key_length);
    require("text", text);
    require("length", length);
    const auto* value = object->file().metadata().find(name);
    REALM_CHECK(value != nullptr, "no metadata key ", realm::quoted(name));
    const auto found = value->text();
    REALM_CHECK(found, "metadata key ", realm::quoted(name), " is ", to_string(*value),
                ", not a text");
    *text = found->data();
    *length = found->size();
  });
}
