#include "lora/safetensors.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "base/checked_math.h"
#include "base/error.h"
#include "base/json.h"

namespace realm::lora {

namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr uint64_t kMaxHeaderBytes = uint64_t{64} << 20;  // 2^18 tensors with long names

struct ElementType {
  std::string_view name;
  uint64_t bytes;
  std::optional<DType> dtype;  // none: no factors or weights come in it
};

constexpr ElementType kElementTypes[] = {
    {"F32", 4, DType::kF32},   {"F16", 2, DType::kF16},      {"BF16", 2, DType::kBF16},
    {"F64", 8, std::nullopt},  {"I64", 8, std::nullopt},     {"U64", 8, std::nullopt},
    {"I32", 4, std::nullopt},  {"U32", 4, std::nullopt},     {"I16", 2, std::nullopt},
    {"U16", 2, std::nullopt},  {"I8", 1, std::nullopt},      {"U8", 1, std::nullopt},
    {"BOOL", 1, std::nullopt}, {"F8_E4M3", 1, std::nullopt}, {"F8_E5M2", 1, std::nullopt},
};

class Reader {
 public:
  Reader(std::span<const std::byte> file, std::string_view label) : file_(file), label_(label) {}

  Safetensors read() {
    const json::Value header = read_header();
    const json::Object* members = header.object();
    if (!members) refuse("the header is ", json::to_string(header), ", must be an object");
    for (const auto& [name, value] : *members) {
      if (name == "__metadata__") {
        read_metadata(value);
      } else {
        read_tensor(name, value);
      }
    }
    check_cover();
    return std::move(out_);
  }

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... what) const {
    fail(ErrorCode::kFormat, label_, ": ", what...);
  }

  json::Value read_header() {
    if (file_.size() < kLengthBytes)
      refuse("ends at byte ", file_.size(), ", within its length field");
    uint64_t bytes = 0;
    std::memcpy(&bytes, file_.data(), sizeof bytes);
    if (bytes > kMaxHeaderBytes || !range_fits(kLengthBytes, bytes, file_.size())) {
      refuse("the header's length at byte 0 is ", bytes, "; the file has ", file_.size(), " bytes");
    }
    const std::string_view text(reinterpret_cast<const char*>(file_.data()) + kLengthBytes, bytes);
    if (!text.starts_with('{'))
      refuse("the header does not begin with '{': not a safetensors file");
    data_ = file_.subspan(kLengthBytes + bytes);
    return json::parse(text, concat(label_, ": header"), {.max_depth = 4});
  }

  void read_metadata(const json::Value& value) {
    if (!value.object()) refuse("__metadata__ is ", json::to_string(value), ", must be an object");
    for (const auto& [key, entry] : *value.object()) {
      if (!entry.text())
        refuse("__metadata__ ", quoted(key), " is ", json::to_string(entry), ", must be a text");
      out_.metadata.emplace(key, *entry.text());
    }
  }

  void read_tensor(const std::string& name, const json::Value& value) {
    if (!value.object())
      refuse("tensor ", quoted(name), " is ", json::to_string(value), ", must be an object");
    const ElementType& type = element_type(name, member(name, value, "dtype"));
    SourceTensor tensor;
    tensor.name = name;
    tensor.shape = shape(name, member(name, value, "shape"));
    tensor.bytes = range(name, member(name, value, "data_offsets"));
    if (value.object()->size() > 3)
      refuse("tensor ", quoted(name), " has members besides dtype, shape and data_offsets");
    const auto bytes = checked_mul(tensor.shape.elements(), type.bytes);
    if (!bytes || *bytes != tensor.bytes.size()) {
      refuse("tensor ", quoted(name), " of shape ", to_string(tensor.shape), " and type ",
             type.name, " has ", tensor.bytes.size(), " bytes");
    }
    if (type.dtype) {
      tensor.dtype = *type.dtype;
    } else {
      tensor.unreadable = concat("its type is ", type.name, "; F32, F16 and BF16 are read");
    }
    out_.tensors.push_back(std::move(tensor));
  }

  const json::Value& member(const std::string& name, const json::Value& value,
                            const char* key) const {
    const json::Value* found = value.find(key);
    if (!found) refuse("tensor ", quoted(name), " has no ", key);
    return *found;
  }

  const ElementType& element_type(const std::string& name, const json::Value& value) const {
    const auto found = std::ranges::find_if(
        kElementTypes, [&](const ElementType& type) { return value.text() == type.name; });
    if (found == std::end(kElementTypes))
      refuse("tensor ", quoted(name), " has the dtype ", json::to_string(value));
    return *found;
  }

  std::vector<uint64_t> counts(const std::string& name, const char* field,
                               const json::Value& value) const {
    std::vector<uint64_t> numbers;
    if (!value.array())
      refuse("tensor ", quoted(name), ": ", field, " is ", json::to_string(value));
    for (const json::Value& one : *value.array()) {
      const auto number = one.integer();
      if (!number || *number < 0)
        refuse("tensor ", quoted(name), ": ", field, " has ", json::to_string(one));
      numbers.push_back(static_cast<uint64_t>(*number));
    }
    return numbers;
  }

  Shape shape(const std::string& name, const json::Value& value) const {
    const auto extents = counts(name, "shape", value);
    const auto checked = Shape::checked(extents);
    if (!checked)
      refuse("tensor ", quoted(name), " has ", extents.size(), " extents, or too many elements");
    return *checked;
  }

  std::span<const std::byte> range(const std::string& name, const json::Value& value) const {
    const auto offsets = counts(name, "data_offsets", value);
    if (offsets.size() != 2 || offsets[0] > offsets[1] || offsets[1] > data_.size()) {
      refuse("tensor ", quoted(name), ": data_offsets are no range of the ", data_.size(),
             " bytes of data");
    }
    return data_.subspan(offsets[0], offsets[1] - offsets[0]);
  }

  void check_cover() {
    const auto begin = [](const SourceTensor& t) { return t.bytes.data(); };
    const auto size = [](const SourceTensor& t) { return t.bytes.size(); };
    std::ranges::stable_sort(out_.tensors, [&](const SourceTensor& a, const SourceTensor& b) {
      return begin(a) != begin(b) ? begin(a) < begin(b) : size(a) < size(b);
    });
    const std::byte* end = data_.data();
    for (const SourceTensor& tensor : out_.tensors) {
      if (begin(tensor) != end) {
        refuse("tensor ", quoted(tensor.name), " begins at byte ", begin(tensor) - data_.data(),
               " of the data, the one before it ends at ", end - data_.data());
      }
      end = begin(tensor) + size(tensor);
    }
    const auto unclaimed = data_.data() + data_.size() - end;
    if (unclaimed != 0) refuse("the last ", unclaimed, " bytes of the data belong to no tensor");
  }

  const std::span<const std::byte> file_;
  const std::string_view label_;
  std::span<const std::byte> data_;
  Safetensors out_;
};

}  // namespace

Safetensors parse_safetensors(std::span<const std::byte> file, std::string_view label) {
  return Reader(file, label).read();
}

}  // namespace realm::lora
